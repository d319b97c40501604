"""Logging in and out.

The form of /login carries the value of a cookie of its own, so that no other site can log a browser in as somebody else.
"""

import asyncio
import hmac
import secrets
from typing import Annotated
from urllib.parse import urlencode, urlsplit

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse

from cloud import auth, people
from cloud.auth import Caller, House, authenticate
from cloud.errors import ApiError
from cloud.people import LogInRefused
from dashboards import i18n
from dashboards.render import page
from telemetry import clock

router = APIRouter()

_COOKIE = "starproof_login"
Text = Annotated[str, Form(max_length=1024)]


def login_address(request: Request) -> str:
    """/login, with the way back to this page (or, for a part of a page, to the page it is on)."""
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    if "hx-request" in request.headers:
        shown = urlsplit(request.headers.get("hx-current-url", "/"))
        here = shown.path + (f"?{shown.query}" if shown.query else "")
    return "/login" if here == "/" else f"/login?{urlencode({'next': here})}"


def safe_next(wanted: str) -> str:
    """An address on this site, or /. Browsers take \\\\ for / and skip tabs and newlines."""
    plain = wanted.startswith("/") and not wanted.startswith("//") and "\\" not in wanted
    return wanted if plain and wanted.isprintable() else "/"


@router.get("/login")
async def login_form(request: Request, next: str = "/") -> Response:
    """The form; whoever is logged in already goes on."""
    try:
        await asyncio.to_thread(authenticate, request)
    except ApiError:
        return _form(request, next=next)
    return RedirectResponse(safe_next(next), status_code=303)


@router.post("/login")
async def log_in(
    request: Request, house: House, username: Text = "", password: Text = "", csrf: Text = "", next: Text = "/"
) -> Response:
    """A session, or the form again with what was wrong."""
    own = request.cookies.get(_COOKIE, "")
    if not own or not hmac.compare_digest(own.encode(), csrf.encode()):
        return _form(request, next=next, username=username, status=403, wrong="页面已过期，请再试一次")
    address = request.client.host if request.client else ""
    try:
        secret = await asyncio.to_thread(people.log_in, house.database, username, password, address=address)
    except LogInRefused as refused:
        said = refused.zh if i18n.language_of(request) == "zh" else refused.en
        return _form(request, next=next, username=username, status=refused.status, wrong=said, wait=refused.wait_s)
    answer = RedirectResponse(safe_next(next), status_code=303)
    answer.delete_cookie(_COOKIE, path="/login")
    expires_ms = clock.now_ms() + people.SESSION_MS
    auth.set_cookie(answer, secret, expires_ms=expires_ms, https=request.url.scheme == "https")
    return answer


@router.post("/logout")
async def log_out(request: Request, caller: Caller, house: House) -> Response:
    """End the session."""
    await asyncio.to_thread(people.log_out, house.database, request.cookies.get(auth.SESSION_COOKIE, ""))
    answer = RedirectResponse("/login", status_code=303)
    auth.clear_cookie(answer, https=request.url.scheme == "https")
    return answer


def _form(
    request: Request, *, next: str, username: str = "", status: int = 200, wrong: str = "", wait: int = 0
) -> Response:
    token = secrets.token_urlsafe(24)
    context = {"login_csrf": token, "next": next, "username": username, "wrong": wrong, "wait": wait}
    answer = page(request, None, "login.html", status=status, **context)
    if wait:
        answer.headers["Retry-After"] = str(wait)
    answer.set_cookie(
        _COOKIE, token, httponly=True, samesite="strict", secure=request.url.scheme == "https", path="/login"
    )
    return answer
