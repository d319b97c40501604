"""Alarm rules: the list by machine, one rule with its versions, and changing it. The API decides; the form says what is
wrong at which field before it is asked."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from cloud.alarms.rules import Rule, RuleBody
from cloud.auth import House, Principal, needs
from cloud.errors import ApiError, Json
from cloud.fleet import Carried
from dashboards import api, i18n, sending
from dashboards.pages import machines_list, rule_form
from dashboards.pages.machines_list import TagShown
from dashboards.render import lasting, page

router = APIRouter()

RuleReader = Annotated[Principal, needs("rules.read")]
RuleWriter = Annotated[Principal, needs("rules.write")]
SOURCES = {"equipment": "设备类型自带", "user": "用户建立", "inspector": "核验员建立"}
_FALSE = ("", "0")

Machines = Mapping[str, Carried]


@router.get("/rules")
async def rules(
    request: Request,
    caller: RuleReader,
    house: House,
    device: Annotated[str, Query(max_length=128)] = "",
    retired: bool = False,
) -> HTMLResponse:
    """All rules, or those of one machine."""
    answer = await api.get(request, "/rules", device=device or None, retired=retired)
    found = await machines_list.machines(house, caller)
    return page(
        request,
        caller,
        "rules.html",
        place="rules",
        groups=_groups([Rule.model_validate(one) for one in answer["rules"]], found),
        machines=machines_list.options(found.values()),
        device=device,
        retired=retired,
        words=rule_form,
    )


@router.get("/rules/new")
async def new_rule(
    request: Request, caller: RuleWriter, house: House, scope: Annotated[str, Query(max_length=160)] = ""
) -> HTMLResponse:
    """An empty form."""
    fields = rule_form.fields_of(None) | {"scope": scope}
    return await _shown(request, caller, house, None, fields=fields)


@router.get("/rules/tags")
async def tags(caller: RuleReader, house: House, scope: Annotated[str, Query(max_length=160)]) -> Json:
    """The tags of a machine ("device:uid") or an equipment type ("type:id")."""
    return Json({"tags": machines_list.plain(_tags(scope, await machines_list.machines(house, caller)))})


@router.get("/rules/{rule}")
async def one_rule(request: Request, rule: str, caller: RuleReader, house: House, saved: bool = False) -> HTMLResponse:
    """One rule with its versions."""
    return await _shown(request, caller, house, rule, saved=saved)


@router.post("/rules")
async def create(request: Request, caller: RuleWriter, house: House) -> Response:
    """Enter a rule."""
    return await _save(request, caller, house, None)


@router.post("/rules/{rule}")
async def change(request: Request, rule: str, caller: RuleWriter, house: House) -> Response:
    """A new version of a rule."""
    return await _save(request, caller, house, rule)


@router.post("/rules/{rule}/enabled")
async def enable(request: Request, rule: str, caller: RuleWriter, house: House) -> Response:
    """Let it raise alarms, or not for now."""
    form = await _form(request)
    now = (await api.get(request, f"/rules/{rule}"))["rule"]
    body = RuleBody.model_validate({name: now[name] for name in RuleBody.model_fields}).model_dump()
    body |= {"enabled": form.get("enabled", [""])[0] not in _FALSE, "if_version": now["version"]}
    return await _send(request, caller, house, rule, "PUT", f"/rules/{rule}", body, form)


@router.post("/rules/{rule}/retire")
async def retire(request: Request, rule: str, caller: RuleWriter, house: House) -> Response:
    """End it for good."""
    return await _send(request, caller, house, rule, "POST", f"/rules/{rule}/retire", None, await _form(request))


async def _form(request: Request) -> dict[str, list[str]]:
    form = await request.form()
    out: dict[str, list[str]] = {}
    for name, value in form.multi_items():
        if isinstance(value, str):
            out.setdefault(name, []).append(value)
    return out


async def _save(request: Request, caller: Principal, house: Any, rule: str | None) -> Response:
    form = await _form(request)
    scope = (form.get("scope") or [""])[0]
    known = [tag.id for tag in _tags(scope, await machines_list.machines(house, caller))]
    channels = [name for name, _ in await _channels(request)]
    body, errors = rule_form.read(form, tags=known, channels=channels)
    version = (form.get("if_version") or [""])[0]
    if body is None:
        fields = rule_form.as_typed(form)
        return await _shown(request, caller, house, rule, fields=fields, errors=errors, if_version=version, status=422)
    wanted: dict[str, Any] = body.model_dump()
    if rule is None:
        return await _send(request, caller, house, None, "POST", "/rules", wanted, form)
    if version.isdecimal():
        wanted["if_version"] = int(version)
    return await _send(request, caller, house, rule, "PUT", f"/rules/{rule}", wanted, form)


async def _send(
    request: Request,
    caller: Principal,
    house: Any,
    rule: str | None,
    method: str,
    path: str,
    body: dict[str, Any] | None,
    form: dict[str, list[str]],
) -> Response:
    try:
        answer = await sending.send(request, method, path, body, csrf=(form.get("csrf") or [""])[0])
    except ApiError as error:
        if error.status not in (400, 404, 409, 422):
            raise
        told = error.en if i18n.language_of(request) == "en" else error.zh
        fields = rule_form.as_typed(form) if "scope" in form else None
        return await _shown(request, caller, house, rule, fields=fields, problem=told, status=error.status)
    return RedirectResponse(f"/rules/{answer['rule']['id']}?saved=true", status_code=303)


async def _channels(request: Request) -> list[tuple[str, str]]:
    try:
        answer = await api.get(request, "/channels")
    except ApiError as error:
        if error.status == 403:
            return []
        raise
    return [(one["id"], one["name"]) for one in answer["channels"]]


async def _shown(
    request: Request,
    caller: Principal,
    house: Any,
    rule: str | None,
    *,
    fields: dict[str, Any] | None = None,
    errors: dict[str, str] | None = None,
    problem: str = "",
    if_version: str = "",
    saved: bool = False,
    status: int = 200,
) -> HTMLResponse:
    versions: list[Rule] = []
    if rule is not None:
        answer = await api.get(request, f"/rules/{rule}")
        versions = [Rule.model_validate(one) for one in answer["versions"]]
    newest = versions[-1] if versions else None
    found = await machines_list.machines(house, caller)
    shown = fields if fields is not None else rule_form.fields_of(newest)
    translate = i18n.translator(i18n.language_of(request))
    tags = [(tag.id, _tag_text(tag)) for tag in _tags(str(shown["scope"]), found)]
    return page(
        request,
        caller,
        "rule.html",
        status=status,
        place="rules",
        rule=newest,
        fields=shown,
        errors=errors or {},
        problem=problem,
        saved=saved,
        if_version=if_version or (newest.version if newest else ""),
        locked=not caller.may("rules.write") or (newest is not None and newest.retired_ms is not None),
        action="/rules" if newest is None else f"/rules/{newest.id}",
        scopes=_scopes(found, translate, str(shown["scope"])),
        kinds=[(name, translate(text)) for name, text in rule_form.KINDS.items()],
        tags=tags,
        priorities=[(n, f"{n} {translate(text)}") for n, text in rule_form.PRIORITIES.items()],
        channels=await _channels(request),
        versions=rule_form.changes(versions),
        sources=SOURCES,
        words=rule_form,
    )


def _tags(scope: str, found: Machines) -> list[TagShown]:
    kind, _, name = scope.partition(":")
    if kind == "device":
        return machines_list.tags_of(found[name]) if name in found else []
    return machines_list.tags_of_type(name) if kind == "type" else []


def _tag_text(tag: TagShown) -> str:
    return f"{tag.name} — {tag.id}{f' ({tag.unit})' if tag.unit else ''}"


def _scopes(found: Machines, translate: i18n.Translate, chosen: str) -> list[tuple[str, str]]:
    """Machines, and the equipment types that there are machines of."""
    names = machines_list.type_names()
    types = sorted({one.spec.type for one in found.values() if one.spec.type in names})
    out = [(f"device:{uid}", f"{uid} {one.spec.name}".strip()) for uid, one in found.items()]
    out += [(f"type:{name}", f"{translate('所有')} {names[name]}") for name in types]
    known = {value for value, _ in out}
    return [("", "—"), *out] if chosen not in known or not chosen else out


def _groups(rules: Sequence[Rule], found: Machines) -> list[dict[str, Any]]:
    """Rules by machine or equipment type."""
    names = machines_list.type_names()
    groups: dict[tuple[str, str], list[Rule]] = {}
    for rule in rules:
        key = ("device", rule.device) if rule.device is not None else ("type", rule.type or "")
        groups.setdefault(key, []).append(rule)
    out: list[dict[str, Any]] = []
    for (kind, name), some in sorted(groups.items(), key=lambda one: (one[0][0] == "device", one[0][1])):
        tags = {tag.id: tag for tag in _tags(f"{kind}:{name}", found)}
        carried = [uid for uid, one in found.items() if one.spec.type == name]
        named = found[name].spec.name if kind == "device" and name in found else ", ".join(carried)
        out.append(
            {
                "title": name if kind == "device" else names.get(name, name),
                "sub": named,
                "simulated": kind == "device" and name in found and found[name].spec.simulated,
                "rules": [_row(rule, tags) for rule in sorted(some, key=lambda one: (one.priority, one.id))],
            }
        )
    return out


def _row(rule: Rule, tags: Mapping[str, TagShown]) -> dict[str, Any]:
    tag = tags.get(rule.tag)
    unit = tag.unit if tag is not None and rule.divisor is None and rule.kind in ("limit", "rate") else ""
    name = tag.name if tag is not None else rule.tag
    return {"rule": rule, "tag_name": name, "condition": condition(rule), "unit": unit}


def condition(rule: RuleBody) -> str:
    """What a rule waits for, in short: `> 90 · >> 95`."""
    match rule.kind:
        case "stale":
            return f"> {lasting((rule.stale_s or 0) * 1000)}"
        case "state":
            return f"= {rule_form.text_of(rule.states)}"
        case "rate":
            return f"|Δ| > {rule_form.text_of(rule.rate_per_s)}"
        case _:
            marks = (("high", ">"), ("high_high", ">>"), ("low", "<"), ("low_low", "<<"))
            limits = [(mark, getattr(rule, name)) for name, mark in marks]
            parts = [f"{mark} {rule_form.text_of(limit)}" for mark, limit in limits if limit is not None]
            what = f"/ {rule.divisor} " if rule.divisor else "|x| " if rule.absolute else ""
            return what + " · ".join(parts)
