"""The alarm routes: rules, alarms, notices, channels. What changes something is written to the audit log in the same
transaction as the change."""

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Path, Query, Response
from pydantic import ValidationError
from sqlalchemy import Connection

from cloud import audit
from cloud.alarms import channels, models, raising, rules, store
from cloud.alarms.channels import ChannelError
from cloud.alarms.rules import RuleBody, RuleError
from cloud.alarms.store import AlarmError
from cloud.auth import House, Principal, needs
from cloud.errors import ApiError, Json, invalid
from cloud.services import Services
from telemetry import clock
from telemetry.equipment import equipment_types
from telemetry.expression import Expression

_ERRORS: dict[int | str, dict[str, Any]] = {
    code: {"model": models.ErrorAnswer} for code in (400, 401, 403, 404, 409, 422, 500)
}
router = APIRouter(responses=_ERRORS)

RuleReader = Annotated[Principal, needs("rules.read")]
RuleWriter = Annotated[Principal, needs("rules.write")]
AlarmReader = Annotated[Principal, needs("alarms.read")]
AlarmKeeper = Annotated[Principal, needs("alarms.acknowledge")]
AlarmShelver = Annotated[Principal, needs("alarms.shelve")]
ChannelReader = Annotated[Principal, needs("channels.read")]
ChannelWriter = Annotated[Principal, needs("channels.write")]

Id = Annotated[str, Path(pattern=r"^[A-Za-z0-9_.\-]+$", max_length=128)]
Name = Annotated[str | None, Query(pattern=r"^[^\x00]*$", max_length=128)]
Time = Annotated[int | None, Query(ge=0, le=1 << 53)]
FromTime = Annotated[int | None, Query(alias="from", ge=0, le=1 << 53)]
ToTime = Annotated[int | None, Query(alias="to", ge=0, le=1 << 53)]

T = TypeVar("T")
_STATUS = {
    "unknown_rule": 404,
    "unknown_alarm": 404,
    "unknown_channel": 404,
    "changed_meanwhile": 409,
    "retired": 409,
    "already_acknowledged": 409,
    "not_shelved": 409,
}


def _reading(house: Services, work: Callable[[Connection], T]) -> T:
    try:
        with house.database.connect() as db:
            return work(db)
    except (RuleError, AlarmError, ChannelError) as error:
        raise ApiError(_STATUS.get(error.code, 400), error.code, error.zh, error.en) from error


def _writing(house: Services, caller: Principal, work: Callable[[Connection], T]) -> T:
    try:
        with house.database.begin() as db:
            audit.lock(db, caller.enterprise)
            return work(db)
    except (RuleError, AlarmError, ChannelError) as error:
        raise ApiError(_STATUS.get(error.code, 400), error.code, error.zh, error.en) from error


def _answer(status: int = 200, **content: Any) -> Json:
    return Json({"server_ms": clock.now_ms(), **content}, status_code=status)


# ---- rules


@router.get("/rules", response_model=models.RulesAnswer)
def list_rules(caller: RuleReader, house: House, device: Name = None, retired: bool = False) -> Response:
    """Rules, each in its newest version; of one machine with `device`; ended ones too with `retired`."""
    found = _reading(house, lambda db: rules.newest(db, caller.enterprise, retired=retired))
    if device is not None:
        found = rules.of_device(found, device, _type_of(house, caller.enterprise, device))
    return _answer(rules=[one.model_dump() for one in found])


@router.get("/rules/{rule}", response_model=models.RuleHistory)
def get_rule(rule: Id, caller: RuleReader, house: House) -> Response:
    """A rule with all its versions."""
    found = _reading(house, lambda db: rules.versions(db, caller.enterprise, rule))
    return _answer(rule=found[-1].model_dump(), versions=[one.model_dump() for one in found])


@router.post("/rules", status_code=201, response_model=models.RuleAnswer)
def create_rule(body: RuleBody, caller: RuleWriter, house: House) -> Response:
    """Enter a rule. It holds from the next row on."""
    _check(house, caller.enterprise, body)
    source = "inspector" if caller.role == "inspector" else "user"

    def work(db: Connection) -> rules.Rule:
        made = rules.create(db, caller.enterprise, body, source=source, by=caller.name, now_ms=clock.now_ms())
        assert made is not None  # its id is new
        audit.record(db, caller, "rule.create", made.id, None, made.model_dump())
        return made

    return _answer(201, rule=_writing(house, caller, work).model_dump())


@router.put("/rules/{rule}", response_model=models.RuleAnswer)
def change_rule(rule: Id, body: models.RuleChange, caller: RuleWriter, house: House) -> Response:
    """A new version of a rule. It holds from the next row on."""
    try:
        wanted = body.body
    except ValidationError as error:
        raise invalid("rule", "无法使用", str(rules.complaint(error))) from error

    def work(db: Connection) -> rules.Rule:
        known = rules.get(db, caller.enterprise, rule)
        if not wanted.enabled and known.enabled:
            _may_end(known, caller)
        _check(house, caller.enterprise, wanted)
        before, after = rules.change(
            db, caller.enterprise, rule, wanted, by=caller.name, now_ms=clock.now_ms(), if_version=body.if_version
        )
        audit.record(db, caller, "rule.change", rule, before.model_dump(), after.model_dump())
        return after

    return _answer(rule=_writing(house, caller, work).model_dump())


def _may_end(rule: rules.Rule, caller: Principal) -> None:
    """Raises ApiError for an inspector who would end a rule of the plant's: he may move its limit for a test, no more."""
    if caller.role == "inspector" and rule.source != "inspector":
        raise ApiError(
            403, "not_yours", "核验员不得停用企业的报警规则", "an inspector may not end a rule of the plant's"
        )


@router.post("/rules/{rule}/retire", response_model=models.RuleAnswer)
def retire_rule(rule: Id, caller: RuleWriter, house: House) -> Response:
    """End a rule for good; its active alarms end with it. Its versions stay."""

    def work(db: Connection) -> rules.Rule:
        _may_end(rules.get(db, caller.enterprise, rule), caller)
        before, after = rules.retire(db, caller.enterprise, rule, by=caller.name, now_ms=clock.now_ms())
        if after != before:
            audit.record(db, caller, "rule.retire", rule, before.model_dump(), after.model_dump())
        return after

    return _answer(rule=_writing(house, caller, work).model_dump())


def _type_of(house: Services, enterprise: str, uid: str) -> str:
    return next((spec.type for spec in _specs(house, enterprise) if spec.uid == uid), "")


def _specs(house: Services, enterprise: str) -> list[Any]:
    return [spec for words in house.catalogue.dictionaries(enterprise) for spec in words.devices]


def _check(house: Services, enterprise: str, body: RuleBody) -> None:
    """Raises ApiError where a rule names what is not there."""
    if body.device is not None:
        specs = [spec for spec in _specs(house, enterprise) if spec.uid == body.device]
        if not specs:
            raise ApiError(404, "unknown_device", f"没有设备 {body.device}", f"there is no device {body.device}")
        known = {tag.id for tag in specs[-1].tags}
    else:
        kind = equipment_types().get(body.type or "")
        if kind is None:
            raise invalid("type", "没有该设备类型", "there is no such equipment type")
        known = set(kind.tag_by_id)
    named = {body.tag, *body.related} | ({body.divisor} if body.divisor else set())
    named |= set(Expression.parse(body.inhibit).names) if body.inhibit else set()
    unknown = sorted(named - known - {""})
    if unknown:
        raise invalid("rule", f"没有测点 {unknown[0]}", f"there is no tag {unknown[0]}")


# ---- alarms


@router.get("/alarms", response_model=models.AlarmsAnswer)
def list_alarms(
    caller: AlarmReader,
    house: House,
    state: Annotated[str, Query(pattern="^(open|all)$")] = "open",
    device: Name = None,
    rule: Name = None,
    from_: FromTime = None,
    to: ToTime = None,
    limit: Annotated[int, Query(ge=1, le=store.MAX_ALARMS)] = 200,
    before: Time = None,
) -> Response:
    """Alarms. `open`: active or not yet acknowledged, worst first, then newest; `all`: newest first."""
    found = _reading(
        house,
        lambda db: store.listed(
            db,
            caller.enterprise,
            now_ms=clock.now_ms(),
            only_open=state == "open",
            device=device,
            rule=rule,
            from_ms=from_,
            to_ms=to,
            limit=limit + 1,
            before_ms=before,
        ),
    )
    return _answer(alarms=found[:limit], more=len(found) > limit)


@router.get("/alarms/{alarm}", response_model=models.AlarmHistory)
def get_alarm(alarm: Id, caller: AlarmReader, house: House) -> Response:
    """An alarm, all that happened to it, and its rule as it was in force."""

    def work(db: Connection) -> dict[str, Any]:
        one = store.get(db, caller.enterprise, alarm, now_ms=clock.now_ms())
        by = rules.version(db, caller.enterprise, one["rule"], one["rule_version"])
        return {"alarm": one, "events": store.log(db, alarm), "rule": None if by is None else by.model_dump()}

    return _answer(**_reading(house, work))


@router.post("/alarms/{alarm}/acknowledge", response_model=models.AlarmAnswer)
def acknowledge(alarm: Id, body: models.Acknowledgement, caller: AlarmKeeper, house: House) -> Response:
    """Say that it has been seen."""

    def work(db: Connection, now: int) -> None:
        store.acknowledge(db, caller.enterprise, alarm, by=caller.name, note=body.note, now_ms=now)

    return _done_to(house, caller, alarm, "alarm.acknowledge", work)


@router.post("/alarms/{alarm}/shelve", response_model=models.AlarmAnswer)
def shelve(alarm: Id, body: models.Shelving, caller: AlarmShelver, house: House) -> Response:
    """Put the alarm's rule on its machine aside for a time: nobody is told meanwhile."""

    def work(db: Connection, now: int) -> None:
        if not now < body.until_ms <= now + store.MAX_SHELVED_MS:
            raise AlarmError("invalid_time", "搁置时间须在今后七天内", "until_ms must lie within the next seven days")
        store.shelve(
            db, caller.enterprise, alarm, by=caller.name, until_ms=body.until_ms, reason=body.reason, now_ms=now
        )

    return _done_to(house, caller, alarm, "alarm.shelve", work)


@router.post("/alarms/{alarm}/unshelve", response_model=models.AlarmAnswer)
def unshelve(alarm: Id, caller: AlarmShelver, house: House) -> Response:
    """End that before its time."""

    def work(db: Connection, now: int) -> None:
        store.unshelve(db, caller.enterprise, alarm, by=caller.name, now_ms=now)

    return _done_to(house, caller, alarm, "alarm.unshelve", work)


def _done_to(
    house: Services, caller: Principal, alarm: str, action: str, what: Callable[[Connection, int], None]
) -> Json:
    def work(db: Connection) -> dict[str, Any]:
        now = clock.now_ms()
        before = store.get(db, caller.enterprise, alarm, now_ms=now)
        what(db, now)
        after = store.get(db, caller.enterprise, alarm, now_ms=now)
        kept = ("acknowledged", "shelved")
        audit.record(db, caller, action, alarm, {k: before[k] for k in kept}, {k: after[k] for k in kept})
        return after

    return _answer(alarm=_writing(house, caller, work))


@router.get(
    "/alarms/{alarm}/package",
    response_class=Response,
    responses={200: {"content": {"application/zip": {}}, "description": "The package."}},
)
def get_package(alarm: Id, caller: AlarmReader, house: House) -> Response:
    """The alarm's package: raw rows around it, what they show, and what that rests on."""

    def work(db: Connection) -> tuple[bytes, str] | None:
        store.get(db, caller.enterprise, alarm, now_ms=clock.now_ms())
        return store.package(db, alarm)

    found = _reading(house, work)
    if found is None:
        raise ApiError(404, "no_package", "该报警没有数据包", "the alarm has no package")
    headers = {"Content-Disposition": f'attachment; filename="alarm-{alarm}.zip"', "ETag": f'"{found[1]}"'}
    return Response(found[0], media_type="application/zip", headers=headers)


# ---- notices and channels


@router.get("/notices", response_model=models.NoticesAnswer)
def list_notices(
    caller: AlarmReader,
    house: House,
    alarm: Name = None,
    from_: FromTime = None,
    limit: Annotated[int, Query(ge=1, le=5000)] = 500,
) -> Response:
    """Notices, newest first; of one alarm with `alarm`."""
    some = None if alarm is None else [alarm]
    found = _reading(house, lambda db: store.notices(db, caller.enterprise, alarms=some, from_ms=from_, limit=limit))
    return _answer(notices=found)


@router.get("/channels", response_model=models.ChannelsAnswer)
def list_channels(caller: ChannelReader, house: House) -> Response:
    """Where notices go. Secrets of addresses are cut out."""
    found = _reading(house, lambda db: channels.listed(db, caller.enterprise))
    return _answer(channels=[_channel(one) for one in found])


@router.post("/channels", status_code=201, response_model=models.ChannelAnswer)
def create_channel(body: models.NewChannel, caller: ChannelWriter, house: House) -> Response:
    """Enter a channel. An inspector may enter web hooks (json, jsons) for at most twelve hours."""
    now = clock.now_ms()
    if body.until_ms is not None and body.until_ms <= now:
        raise invalid("until_ms", "须在今后", "must lie in the future")
    if caller.role == "inspector":
        if channels.scheme(body.url) not in channels.SHORT_LIVED or "?" in body.url:
            raise ApiError(
                403,
                "only_web_hooks",
                "核验员只能使用不带参数的 json:// 或 jsons://",
                "json:// or jsons:// without parameters only",
            )
        if body.until_ms is None or body.until_ms > now + channels.MAX_SHORT_MS:
            raise invalid("until_ms", "核验员的渠道至多 12 小时", "an inspector's channel needs an end within 12 hours")

    def work(db: Connection) -> channels.Channel:
        made = channels.create(
            db, caller.enterprise, name=body.name, url=body.url, owner=caller.name, until_ms=body.until_ms
        )
        audit.record(db, caller, "channel.create", made.id, None, _channel(made))
        return made

    return _answer(201, channel=_channel(_writing(house, caller, work)))


@router.post("/channels/{channel}/test", response_model=models.NoticeAnswer)
def test_channel(channel: Id, caller: ChannelWriter, house: House) -> Response:
    """Send a notice that says it is a test."""

    def work(db: Connection) -> str:
        found = _own(channels.get(db, caller.enterprise, channel), caller)
        now = clock.now_ms()
        nothing = {"alarm": None, "rule": None, "rule_version": None, "device": "", "tag": "", "level": "test"}
        body = {**nothing, "what": "test", "value": None, "limit": None, "simulated": False}
        queued = {**body, "t_sample": now, "t_detect": now, "zh": found.name, "en": found.name, "priority": 4}
        audit.record(db, caller, "channel.test", channel, None, None)
        return raising.queue(db, caller.enterprise, channel, "", "test", queued)

    return _answer(notice=_writing(house, caller, work))


@router.delete("/channels/{channel}", response_model=models.ChannelAnswer)
def remove_channel(channel: Id, caller: ChannelWriter, house: House) -> Response:
    """End a channel; its address is forgotten."""

    def work(db: Connection) -> channels.Channel:
        found = _own(channels.get(db, caller.enterprise, channel), caller)
        channels.remove(db, caller.enterprise, channel, now_ms=clock.now_ms())
        audit.record(db, caller, "channel.remove", channel, _channel(found), None)
        return found

    return _answer(channel=_channel(_writing(house, caller, work)))


def _own(found: channels.Channel, caller: Principal) -> channels.Channel:
    if caller.role == "inspector" and found.owner != caller.name:
        raise ApiError(403, "not_yours", "只能操作自己建立的渠道", "an inspector may touch only channels of his own")
    return found


def _channel(one: channels.Channel) -> dict[str, Any]:
    return {
        "id": one.id,
        "name": one.name,
        "url_shown": one.url_shown,
        "until_ms": one.until_ms,
        "owner": one.owner,
        "enabled": one.enabled,
    }
