"""The rules that a machine comes with: those of its equipment type, and one that says when nothing comes from it any more.

They are entered once. Whatever people make of them afterwards stays: changed, disabled or retired.
"""

import hashlib
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from sqlalchemy import Connection

from cloud.alarms import rules
from cloud.alarms.rules import RuleBody
from telemetry.dictionary import DeviceSpec
from telemetry.equipment import Alarm, EquipmentType, Tag, equipment_types

BY = "equipment"
_HYSTERESIS = Decimal("0.01")  # of the tag's range: enough for noise, too little to hide a return to normal
_STALE_S = 30.0  # edges repeat a steady value every 10 s
_STALE_PERIODS = 3


def ensure(db: Connection, enterprise: str, devices: tuple[DeviceSpec, ...], *, now_ms: int) -> None:
    """Enter what is missing of the first rules of these machines."""
    for type_id in dict.fromkeys(device.type for device in devices):
        kind = equipment_types().get(type_id)
        for alarm in kind.alarms if kind is not None else ():
            assert kind is not None
            _enter(db, enterprise, alarm.id, of_alarm(kind, alarm), now_ms)
    for device in devices:
        if device.tags:
            _enter(db, enterprise, stale_id(device.uid), stale(device), now_ms)


def _enter(db: Connection, enterprise: str, rule_id: str, body: RuleBody, now_ms: int) -> None:
    rules.create(db, enterprise, body, source="equipment", by=BY, now_ms=now_ms, rule_id=rule_id)


def of_alarm(kind: EquipmentType, alarm: Alarm) -> RuleBody:
    """A rule out of an alarm of the equipment file: `warn` is the first level, `trip` the second (or the only one)."""
    tag = kind.tag(alarm.tag)
    first, second = (alarm.warn, alarm.trip) if alarm.warn is not None else (alarm.trip, None)
    what: dict[str, Any] = {}
    word = "abnormal"
    if alarm.op in (">", "abs>"):
        what, word = {"high": first, "high_high": second, "absolute": alarm.op == "abs>"}, "high"
    elif alarm.op == "<":
        what, word = {"low": first, "low_low": second}, "low"
    elif alarm.op.startswith("ratio<"):
        what, word = {"low": first, "low_low": second, "divisor": alarm.op.removeprefix("ratio<")}, "low"
    else:
        what = {"kind": "state", "states": [int(x) for x in (alarm.warn, alarm.trip) if x is not None]}
    if "kind" not in what:
        what["hysteresis"] = _hysteresis(tag, ratio="divisor" in what)
    urgent = {"state": 1}.get(str(what.get("kind", "")), 2 if alarm.trip is not None else 3)
    return RuleBody.model_validate(
        {
            "type": kind.id,
            "tag": alarm.tag,
            "zh": alarm.zh,
            "en": f"{alarm.tag.replace('_', ' ')} {word}",
            "delay_s": alarm.delay_s,
            "priority": urgent,
            "inhibit": None if alarm.inhibit is None else str(alarm.inhibit),
            "inhibit_s": alarm.inhibit_s,
            "related": list(alarm.pack),
            **what,
        }
    )


def stale_id(uid: str) -> str:
    """What a machine's rule of silence is called: by its uid where that can stand in an address, else by its hash."""
    plain = f"stale-{uid}"
    return plain if rules.usable_id(plain) else f"stale-{hashlib.sha256(uid.encode()).hexdigest()[:32]}"


def stale(device: DeviceSpec) -> RuleBody:
    """The rule that a machine must be heard."""
    fastest_s = min(tag.period_ms for tag in device.tags) / 1000
    return RuleBody(
        device=device.uid,
        zh="数据中断",
        en="no data",
        kind="stale",
        stale_s=max(_STALE_S, _STALE_PERIODS * fastest_s),
        priority=2,
    )


def _hysteresis(tag: Tag, *, ratio: bool) -> float:
    if ratio:
        return float(_HYSTERESIS)
    step = Decimal(repr(tag.resolution))
    width = (Decimal(repr(tag.hi)) - Decimal(repr(tag.lo))) * _HYSTERESIS
    return float(max(step, (width / step).quantize(Decimal(1), rounding=ROUND_HALF_UP) * step))
