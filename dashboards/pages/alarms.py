"""Alarms: the list, one alarm with all that happened to it, and what people do to it."""

from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from cloud.auth import House, Principal, needs
from cloud.errors import ApiError
from dashboards import api, i18n, sending
from dashboards.pages import alarm_package, alarm_words, machines_list, rule_form
from dashboards.pages.trend import lasting_ms
from dashboards.render import page
from telemetry import clock

router = APIRouter()

LASTS = {"1h": "最近 1 小时", "8h": "最近 8 小时", "1d": "最近 1 天", "7d": "最近 7 天", "30d": "最近 30 天"}
_LIMIT = 200
_AROUND_MS = 600_000
_PICTURE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"

AlarmReader = Annotated[Principal, needs("alarms.read")]
AlarmKeeper = Annotated[Principal, needs("alarms.acknowledge")]
AlarmShelver = Annotated[Principal, needs("alarms.shelve")]
Csrf = Annotated[str, Form(max_length=200)]
Words = Annotated[str, Form(max_length=1000)]


def context() -> dict[str, Any]:
    """What every page of alarms has in its context."""
    return {"words": alarm_words}


@router.get("/alarms")
async def alarms(
    request: Request,
    caller: AlarmReader,
    house: House,
    state: Annotated[str, Query(pattern="^(open|all)$")] = "open",
    device: Annotated[str, Query(max_length=128)] = "",
    last: Annotated[str, Query(max_length=8)] = "",
    before: Annotated[int | None, Query(ge=0, le=1 << 53)] = None,
) -> HTMLResponse:
    """Alarms, open ones unless all are asked for, worst first."""
    span = lasting_ms(last)
    from_ms = clock.now_ms() - span if span else None
    params: dict[str, Any] = {"state": state, "device": device or None, "from_": from_ms, "before": before}
    answer = await api.get(request, "/alarms", limit=_LIMIT, **params)
    found = answer["alarms"]
    kept = {"state": state, "device": device, "last": last}
    older = urlencode(kept | {"before": found[-1]["raised_ms"]}) if found else ""
    return page(
        request,
        caller,
        "alarms.html",
        place="alarms",
        alarms=found,
        more=answer["more"],
        counts=alarm_words.by_priority([one for one in found if one["state"] == "active"]),
        machines=machines_list.options((await machines_list.machines(house, caller)).values()),
        state=state,
        device=device,
        last=last,
        lasts=LASTS,
        older=f"?{older}",
        here=f"/alarms?{urlencode(kept)}",
        **context(),
    )


@router.get("/alarms/{alarm}")
async def alarm(request: Request, alarm: str, caller: AlarmReader, house: House) -> HTMLResponse:
    """One alarm."""
    return await _shown(request, alarm, caller, house)


async def _shown(
    request: Request, alarm: str, caller: Principal, house: Any, *, problem: str = "", status: int = 200
) -> HTMLResponse:
    answer = await api.get(request, f"/alarms/{alarm}")
    one, rule = answer["alarm"], answer["rule"]
    manifest = None
    if one["package"]["sha256"]:
        code, data = await api.raw(request, f"/alarms/{alarm}/package")
        manifest = alarm_package.manifest_of(data) if code == 200 else None
    found = await machines_list.machines(house, caller)
    tag = machines_list.tag_names(found.values()).get((one["device"], one["tag"]))
    around = {"from": one["trigger"]["t"] - _AROUND_MS, "to": (one["cleared_ms"] or one["raised_ms"]) + _AROUND_MS}
    return page(
        request,
        caller,
        "alarm.html",
        status=status,
        place="alarms",
        alarm=one,
        events=answer["events"],
        rule=rule,
        rule_facts=_facts(rule) if rule else [],
        manifest=manifest,
        tag_name=tag.name if tag else one["tag"],
        tag_unit=tag.unit if tag else "",
        trend=f"/trend?{urlencode({'s': one['device'] + ':' + one['tag']} | around, safe=':')}",
        channel_names=await channel_names(request),
        alarm_names={},
        problem=problem,
        **context(),
    )


async def channel_names(request: Request) -> dict[str, str]:
    """Channels' names by id; none for who may not see channels."""
    try:
        answer = await api.get(request, "/channels")
    except ApiError as error:
        if error.status == 403:
            return {}
        raise
    return {one["id"]: one["name"] for one in answer["channels"]}


def _facts(rule: dict[str, Any]) -> list[tuple[str, str]]:
    """What a rule says, without what it does not use."""
    shown = [
        *rule_form.LIMITS,
        *("hysteresis", "divisor", "states", "rate_per_s", "stale_s", "delay_s", "inhibit", "inhibit_s"),
    ]
    return [
        (rule_form.LABELS[name], rule_form.text_of(rule[name])) for name in shown if rule[name] not in (None, [], 0)
    ]


@router.get("/alarms/{alarm}/chart.svg")
async def chart(request: Request, alarm: str, caller: AlarmReader) -> Response:
    """The picture of the alarm's package."""
    code, data = await api.raw(request, f"/alarms/{alarm}/package")
    picture = alarm_package.file_of(data, "chart.svg") if code == 200 else None
    if picture is None:
        raise ApiError(404, "no_package", "该报警没有曲线图", "the alarm has no picture")
    return Response(picture, media_type="image/svg+xml", headers={"Content-Security-Policy": _PICTURE_POLICY})


@router.post("/alarms/{alarm}/acknowledge")
async def acknowledge(
    request: Request,
    alarm: str,
    caller: AlarmKeeper,
    house: House,
    csrf: Csrf = "",
    note: Words = "",
    back: Annotated[str, Form(max_length=400)] = "",
) -> Response:
    """Say that it has been seen."""
    return await _do(request, alarm, caller, house, "acknowledge", {"note": note.strip()}, csrf=csrf, back=back)


@router.post("/alarms/{alarm}/shelve")
async def shelve(
    request: Request,
    alarm: str,
    caller: AlarmShelver,
    house: House,
    csrf: Csrf = "",
    reason: Words = "",
    hours: Annotated[int, Form(ge=1, le=168)] = 8,
) -> Response:
    """Put it aside for some hours."""
    if not reason.strip():
        translate = i18n.translator(i18n.language_of(request))
        return await _shown(request, alarm, caller, house, problem=translate("请填写搁置原因"), status=422)
    until = clock.now_ms() + hours * 3_600_000 - 1000  # the API's clock is a little later: seven days are the most
    body = {"until_ms": until, "reason": reason.strip()}
    return await _do(request, alarm, caller, house, "shelve", body, csrf=csrf)


@router.post("/alarms/{alarm}/unshelve")
async def unshelve(request: Request, alarm: str, caller: AlarmShelver, house: House, csrf: Csrf = "") -> Response:
    """End that before its time."""
    return await _do(request, alarm, caller, house, "unshelve", None, csrf=csrf)


async def _do(
    request: Request,
    alarm: str,
    caller: Principal,
    house: Any,
    what: str,
    body: dict[str, Any] | None,
    *,
    csrf: str,
    back: str = "",
) -> Response:
    try:
        await sending.send(request, "POST", f"/alarms/{alarm}/{what}", body, csrf=csrf)
    except ApiError as error:
        if error.status not in (400, 409, 422):
            raise
        told = error.en if i18n.language_of(request) == "en" else error.zh
        return await _shown(request, alarm, caller, house, problem=told, status=error.status)
    target = back if back.startswith("/alarms?") else f"/alarms/{alarm}"
    return RedirectResponse(target, status_code=303)
