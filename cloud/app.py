"""The application: the API's routes over the services they answer from."""

from fastapi import FastAPI

from cloud import devices, edges, errors, history, ledger, live_socket
from cloud.services import Services

BASE = "/api/v1"


def create_app(services: Services) -> FastAPI:
    """The API at /api/v1. Pages may be added to it."""
    app = FastAPI(title="starproof", docs_url=None, redoc_url=None, openapi_url=f"{BASE}/openapi.json")
    app.state.services = services
    errors.install(app)
    for part in (devices, history, ledger, edges, live_socket):
        app.include_router(part.router, prefix=BASE)
    return app
