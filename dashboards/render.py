"""Pages out of templates.

For a page: `return page(request, caller, "machine.html", place="overview", …)`. Every template extends base.html and has in
its context: `_` (msgid → text), `lang`, `caller` (Principal or None), `may("permission")`, `csrf`, `server_ms`, `place`
(which entry of the navigation is lit), `static("css/x.css")`, and the filters `unit`, `chem` (formulas), `utc`, `lasting`,
`figure` (six figures), `exact` (as it is), `json` (into a <script type="application/json">).
"""

import asyncio
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any

import orjson
from fastapi import Request, Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from cloud.auth import Principal, authenticate
from cloud.errors import ApiError
from dashboards import i18n, markup
from telemetry import clock

_TEMPLATES = Path(__file__).parent / "templates"
_YEAR_S = 31_536_000
_SECOND, _DAY = 1000, 86_400_000
_STEPS = ((_SECOND, "s", 120_000), (60_000, "min", 7_200_000), (3_600_000, "h", 2 * _DAY))  # size, name, used below


def page(
    request: Request, caller: Principal | None, template: str, *, status: int = 200, **context: Any
) -> HTMLResponse:
    """A whole page, or a part of one for htmx."""
    language = i18n.language_of(request)
    answer = HTMLResponse(text(request, caller, template, language=language, **context), status_code=status)
    if request.query_params.get(i18n.COOKIE) in ("zh", "en"):
        answer.set_cookie(i18n.COOKIE, language, max_age=_YEAR_S, samesite="lax", httponly=True)
    return answer


def text(request: Request, caller: Principal | None, template: str, *, language: i18n.Language, **context: Any) -> str:
    """A template's text."""
    return (
        environment()
        .get_template(template)
        .render(
            {
                "_": i18n.translator(language),
                "lang": language,
                "caller": caller,
                "may": partial(_may, caller),
                "csrf": (caller.csrf if caller else None) or "",
                "server_ms": clock.now_ms(),
                "place": "",
                "path": request.url.path,
                "other_language": str(request.url.include_query_params(lang="zh" if language == "en" else "en").query),
                **context,
            }
        )
    )


async def page_error(request: Request, answer: Response) -> HTMLResponse:
    """An error of the API as a page (or a line, where htmx asked for a part)."""
    body = orjson.loads(answer.body)["error"]
    try:
        caller = await asyncio.to_thread(authenticate, request)
    except ApiError:
        caller = None
    template = "error_part.html" if "hx-request" in request.headers else "error.html"
    return page(request, caller, template, status=answer.status_code, error=body)


@cache
def environment() -> Environment:
    """The templates."""
    env = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.do"],
    )
    env.filters |= {
        "unit": markup.unit,
        "chem": markup.chemical,
        "utc": utc,
        "lasting": lasting,
        "figure": figure,
        "number": figure,
        "time": time_element,
        "exact": exact,
        "json": _json,
    }
    env.globals["static"] = _static  # type: ignore[assignment]
    return env


def _static(path: str) -> str:
    return f"/static/{path}"


def _may(caller: Principal | None, permission: str) -> bool:
    return caller is not None and caller.may(permission)


def utc(ms: int | None) -> str:
    """A time in UTC, to seconds; the browser writes it anew by its own clock."""
    return "—" if ms is None else datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def time_element(ms: int | None, *, millis: bool = False) -> Markup:
    """A time that the browser writes anew by its own clock; until then UTC."""
    if ms is None:
        return Markup("—")
    mark = Markup(" data-millis") if millis else Markup("")
    return Markup('<time data-ms="{}" datetime="{}"{}>{}</time>').format(ms, utc(ms), mark, utc(ms))


def lasting(ms: float | None) -> str:
    """How long: 250 ms, 12.5 s, 8 min, 3 h, 2 d."""
    if ms is None:
        return "—"
    if abs(ms) < _SECOND:
        return f"{ms:.0f} ms"
    for size, name, most in _STEPS:
        if abs(ms) < most:
            return f"{ms / size:.3g} {name}"
    return f"{ms / _DAY:.3g} d"


def figure(value: Any) -> str:
    """Six figures at most; a dash for none."""
    if value is None or value == "":
        return "—"
    if isinstance(value, bool):
        return "1" if value else "0"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def exact(value: Any) -> str:
    """A number so that reading it gives the same number; nothing for none."""
    return "" if value is None else repr(value)


def _json(value: Any) -> Markup:
    """A value inside <script type="application/json">: it can end no element."""
    raw = orjson.dumps(value).decode()
    return Markup(raw.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))


def may(caller: Principal, permission: str) -> bool:
    """Whether a caller has a permission."""
    return caller.may(permission)
