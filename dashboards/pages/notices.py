"""Notices: where they go (channels), and what was sent."""

from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from cloud.auth import Principal, needs
from cloud.errors import ApiError
from dashboards import api, i18n, sending
from dashboards.pages.alarms import Csrf, context
from dashboards.render import page
from telemetry import clock

router = APIRouter()

AlarmReader = Annotated[Principal, needs("alarms.read")]
ChannelWriter = Annotated[Principal, needs("channels.write")]
Name = Annotated[str, Form(max_length=400)]
SPANS = {1: "1 小时", 8: "8 小时", 12: "12 小时", 168: "7 天", 720: "30 天"}  # hours
TOLD = {"added": "渠道已添加", "tested": "测试通知已排队，结果见发送记录", "removed": "渠道已删除"}
_LIMIT, _ALARMS = 200, 400
_NAME, _URL = "请填写名称", "请填写通知地址"


@router.get("/notices")
async def notices(
    request: Request, caller: AlarmReader, done: Annotated[str, Query(max_length=16)] = ""
) -> HTMLResponse:
    """Channels and notices."""
    return await _shown(request, caller, done=done)


async def _shown(
    request: Request,
    caller: Principal,
    *,
    done: str = "",
    problem: str = "",
    errors: dict[str, str] | None = None,
    typed: dict[str, str] | None = None,
    status: int = 200,
) -> HTMLResponse:
    channels = await _channels(request)
    answer = await api.get(request, "/notices", limit=_LIMIT)
    told_of = await api.get(request, "/alarms", state="all", limit=_ALARMS) if answer["notices"] else {"alarms": []}
    now = clock.now_ms()
    for one in channels or []:
        one["url_shown"] = one["url_shown"].partition("?")[0]  # what follows are apprise's own settings
        one["ended"] = one["until_ms"] is not None and one["until_ms"] <= now
    return page(
        request,
        caller,
        "notices.html",
        status=status,
        place="notices",
        channels=channels,
        channel_names={one["id"]: one["name"] for one in channels or []},
        notices=answer["notices"],
        alarm=None,
        alarm_names={one["id"]: one for one in told_of["alarms"]},
        told=TOLD.get(done, ""),
        problem=problem,
        errors=errors or {},
        typed=typed or {"name": "", "url": "", "hours": ""},
        spans=SPANS,
        **context(),
    )


async def _channels(request: Request) -> list[dict[str, Any]] | None:
    try:
        return list((await api.get(request, "/channels"))["channels"])
    except ApiError as error:
        if error.status == 403:
            return None
        raise


@router.post("/notices/channels")
async def add(
    request: Request,
    caller: ChannelWriter,
    csrf: Csrf = "",
    name: Name = "",
    url: Annotated[str, Form(max_length=4000)] = "",
    hours: Annotated[str, Form(pattern=r"^\d{0,4}$")] = "",
) -> Response:
    """Enter a channel."""
    typed = {"name": name.strip(), "url": url.strip(), "hours": hours}
    errors = {} if typed["name"] else {"name": _NAME}
    errors |= {} if typed["url"] else {"url": _URL}
    if errors:
        return await _shown(request, caller, errors=errors, typed=typed, status=422)
    until = clock.now_ms() + int(hours) * 3_600_000 if hours else None
    body = {"name": typed["name"], "url": typed["url"], "until_ms": until}
    try:
        await sending.send(request, "POST", "/channels", body, csrf=csrf)
    except ApiError as error:
        if error.code in ("no_csrf", "not_allowed") or error.status not in (400, 403, 409, 422):
            raise
        place = "url" if error.code in ("bad_url", "only_web_hooks") else "hours" if "until_ms" in error.en else "name"
        errors = {place: error.en if i18n.language_of(request) == "en" else error.zh}
        return await _shown(request, caller, errors=errors, typed=typed, status=error.status)
    return RedirectResponse("/notices?done=added", status_code=303)


@router.post("/notices/channels/{channel}/test")
async def test(request: Request, channel: str, caller: ChannelWriter, csrf: Csrf = "") -> Response:
    """Send a notice that says it is a test."""
    await sending.send(request, "POST", f"/channels/{channel}/test", csrf=csrf)
    return RedirectResponse("/notices?done=tested", status_code=303)


@router.post("/notices/channels/{channel}/remove")
async def remove(request: Request, channel: str, caller: ChannelWriter, csrf: Csrf = "") -> Response:
    """End a channel."""
    await sending.send(request, "DELETE", f"/channels/{channel}", csrf=csrf)
    return RedirectResponse("/notices?done=removed", status_code=303)
