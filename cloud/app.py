"""The application: the API's routes over the services they answer from."""

from fastapi import APIRouter, FastAPI, Request

from cloud import (
    audit_api,
    coverage,
    devices,
    edges,
    enterprise_api,
    errors,
    export,
    features,
    frames,
    history,
    ledger,
    live_socket,
    tokens_api,
    trend,
    users_api,
)
from cloud.alarms import api as alarms_api
from cloud.auth import Caller
from cloud.errors import Json
from cloud.services import Services

BASE = "/api/v1"
MAX_BODY = 1 << 20  # bytes of a request

ROUTERS = (
    devices.router,
    history.router,
    features.router,
    coverage.router,
    trend.router,
    export.router,
    frames.router,
    ledger.router,
    edges.router,
    live_socket.router,
    alarms_api.router,
    users_api.router,
    tokens_api.router,
    audit_api.router,
    enterprise_api.router,
)


_described = APIRouter(include_in_schema=False)


@_described.get("/openapi.json")
def openapi(request: Request, _: Caller) -> Json:
    """The API's description (OpenAPI)."""
    return Json(request.app.openapi())


def create_app(services: Services) -> FastAPI:
    """The API at /api/v1. Pages may be added to it."""
    app = FastAPI(title="starproof", docs_url=None, redoc_url=None, openapi_url=None, max_body_size=MAX_BODY)
    app.state.services = services
    errors.install(app)
    for router in (*ROUTERS, _described):
        app.include_router(router, prefix=BASE, responses=errors.DOCUMENTED)
    return app
