"""Mounts the pages on the API's application.

Invariant: a page shows what the API answers to the same caller (dashboards/api.py), so nobody sees on a page what the
API would refuse.
"""

from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import RedirectResponse

from cloud.errors import ApiError, respond
from dashboards import assets, live, sessions
from dashboards.pages import ROUTERS
from dashboards.render import page_error
from dashboards.security import PageHeaders
from dashboards.state import PageState

_API = "/api/"


def extend(app: FastAPI, settings: Any = None) -> None:
    """Add the pages. `settings` are the web service's (None in tests that need none). Raises assets.AssetsMissing if the
    browser's libraries are not there."""
    assets.check()
    app.state.pages = PageState(settings)
    app.mount("/static", assets.Static(), name="static")
    for router in (sessions.router, live.router, *ROUTERS):
        app.include_router(router, include_in_schema=False)
    _handle_errors(app)
    app.add_middleware(PageHeaders)


def _handle_errors(app: FastAPI) -> None:
    """Errors as pages, except below /api/; who has not logged in is sent to do so."""
    before = dict(app.exception_handlers)

    def handler(kind: Any) -> Any:
        for base in getattr(kind, "__mro__", (kind,)):
            if base in before:
                return before[base]
        raise KeyError(kind)

    async def handle(request: Request, error: Exception) -> Response:
        answer: Response = handler(type(error))(request, error)
        if request.url.path.startswith(_API) or request.url.path.startswith("/static/"):
            return answer
        if answer.status_code == 401:
            return _to_login(request)
        return await page_error(request, answer)

    for kind in before:
        app.add_exception_handler(kind, handle)


def _to_login(request: Request) -> Response:
    """To the login page and back afterwards. htmx would put a login page into a part of this one: it is told to leave."""
    if request.method not in ("GET", "HEAD"):
        return respond(ApiError(401, "no_login", "请先登录", "log in first"))
    target = sessions.login_address(request)
    if "hx-request" in request.headers:
        return Response(status_code=401, headers={"HX-Redirect": target})
    return RedirectResponse(target, status_code=303)
