"""A rule as a form: what the fields hold, and what is wrong with each, in words a person can act on.

Messages are msgids (Chinese); the page translates them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from cloud.alarms.rules import Rule, RuleBody
from telemetry.expression import Expression, ExpressionError

LIMITS = ("high_high", "high", "low", "low_low")
KINDS = {"limit": "限值", "state": "状态", "rate": "变化率", "stale": "无数据"}
PRIORITIES = {1: "紧急", 2: "高", 3: "中", 4: "低"}

LABELS = {
    "device": "设备",
    "type": "设备类型",
    "scope": "适用于",
    "tag": "测点",
    "zh": "名称（中文）",
    "en": "名称（英文）",
    "kind": "类别",
    "high_high": "高高限",
    "high": "高限",
    "low": "低限",
    "low_low": "低低限",
    "absolute": "按绝对值比较",
    "divisor": "与另一测点之比",
    "states": "报警状态值",
    "rate_per_s": "变化率限值（每秒）",
    "stale_s": "无数据时长（秒）",
    "delay_s": "延时（秒）",
    "hysteresis": "回差",
    "priority": "优先级",
    "inhibit": "抑制条件",
    "inhibit_s": "抑制解除后延时（秒）",
    "related": "相关测点",
    "channels": "通知渠道",
    "enabled": "启用",
}

NUMBER, WHOLE, NEEDED = "请填写数字", "请填写整数，多个以逗号分隔", "此项必填"
NOT_NEGATIVE, ABOVE_ZERO, ONE_DAY = "不能小于 0", "须大于 0", "须在 0 到 86400 之间"
STALE_RANGE, TOO_LONG = "须在 1 秒到 30 天之间", "文字过长"
NO_TAG, NO_SCOPE, NO_KIND = "该设备没有此测点", "请选择设备或设备类型", "没有此类别"
NO_LIMIT, ORDER_HIGH, ORDER_LOW, ORDER_BOTH = "至少填写一个限值", "须大于高限", "须小于低限", "须小于高限"
BAD_INHIBIT, BAD_CHANNEL, BAD_PRIORITY = "表达式无法解析", "没有此通知渠道", "优先级为 1 到 4"
CANNOT_USE = "此项无法使用"

_NUMBERS = (*LIMITS, "rate_per_s", "stale_s", "delay_s", "hysteresis", "inhibit_s")
_OPTIONAL = (*LIMITS, "rate_per_s", "stale_s")
_TEXTS = ("zh", "en")
_MOST_STATES, _MOST_NAMES, _MOST_TEXT = 64, 64, 200

Errors = dict[str, str]
Form = Mapping[str, Sequence[str]]


def fields_of(rule: RuleBody | None) -> dict[str, Any]:
    """What the form shows of a rule (of a new one with None): text as a person would type it."""
    if rule is None:
        empty: dict[str, Any] = dict.fromkeys((*LABELS, "scope"), "")
        return empty | {
            "kind": "limit",
            "priority": "3",
            "enabled": True,
            "absolute": False,
            "related": [],
            "channels": [],
        }
    shown: dict[str, Any] = {name: text_of(getattr(rule, name)) for name in RuleBody.model_fields}
    for name in ("enabled", "absolute", "related", "channels"):
        shown[name] = getattr(rule, name)
    shown["states"] = ", ".join(map(str, rule.states))
    shown["scope"] = f"device:{rule.device}" if rule.device is not None else f"type:{rule.type}"
    return shown


def text_of(value: Any) -> str:
    """A value as it stands in a field or a table."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "是" if value else "否"
    if isinstance(value, float):
        return repr(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, list):
        return ", ".join(map(str, value))  # pyright: ignore[reportUnknownArgumentType]
    return str(value)


def as_typed(form: Form) -> dict[str, Any]:
    """The fields as they were sent, to be shown again."""
    shown: dict[str, Any] = {name: (form.get(name) or [""])[0] for name in (*LABELS, "scope")}
    for name in ("related", "channels"):
        shown[name] = list(form.get(name, []))
    for name in ("enabled", "absolute"):
        shown[name] = bool(form.get(name))
    return shown


def read(form: Form, *, tags: Sequence[str], channels: Sequence[str]) -> tuple[RuleBody | None, Errors]:
    """The rule that a form says, or what is wrong at which field. `tags`: of the machine or type that it is for."""
    typed, errors = as_typed(form), Errors()
    values: dict[str, Any] = {name: typed[name].strip() for name in _TEXTS}
    values |= {"enabled": typed["enabled"], "absolute": typed["absolute"]}
    values |= _scope(typed["scope"], errors)
    kind = typed["kind"] or "limit"
    if kind not in KINDS:
        errors["kind"] = NO_KIND
    values |= {"kind": kind, "tag": "" if kind == "stale" else typed["tag"].strip()}
    for name in _NUMBERS:
        values[name] = _number(typed[name], name, errors)
    values["states"] = _whole_numbers(typed["states"], errors)
    values["priority"] = _priority(typed["priority"], errors)
    values["divisor"] = typed["divisor"].strip() or None
    values["inhibit"] = typed["inhibit"].strip() or None
    values |= {"related": typed["related"], "channels": typed["channels"]}
    _forget_other_kinds(values, kind)
    _check(values, errors, tags=tags, channels=channels)
    if errors:
        return None, errors
    try:
        return RuleBody.model_validate(values), errors
    except ValidationError as error:
        for one in error.errors():
            place = str(one["loc"][0]) if one["loc"] else ""
            errors[place if place in LABELS else ""] = CANNOT_USE
        return None, errors


def _scope(text: str, errors: Errors) -> dict[str, str | None]:
    kind, _, name = text.partition(":")
    if kind not in ("device", "type") or not name:
        errors["scope"] = NO_SCOPE
    return {"device": name if kind == "device" else None, "type": name if kind == "type" else None}


def _number(text: str, name: str, errors: Errors) -> float | None:
    text = text.strip().replace("．", ".").replace("－", "-")
    if not text:
        return None if name in _OPTIONAL else 0.0
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if value != value or value in (float("inf"), float("-inf")):
        errors[name] = NUMBER
        return None
    if name in ("delay_s", "inhibit_s") and not 0 <= value <= 86_400:
        errors[name] = ONE_DAY
    elif name == "hysteresis" and value < 0:
        errors[name] = NOT_NEGATIVE
    elif name == "rate_per_s" and value <= 0:
        errors[name] = ABOVE_ZERO
    elif name == "stale_s" and not 1 <= value <= 30 * 86_400:
        errors[name] = STALE_RANGE
    return value


def _whole_numbers(text: str, errors: Errors) -> list[int]:
    parts = [part for part in text.replace("，", ",").replace("、", ",").replace(" ", ",").split(",") if part]
    try:
        values = [int(part) for part in parts]
    except ValueError:
        errors["states"] = WHOLE
        return []
    if len(values) > _MOST_STATES or any(abs(value) > 1 << 53 for value in values):
        errors["states"] = CANNOT_USE
    return values


def _priority(text: str, errors: Errors) -> int:
    if text not in ("1", "2", "3", "4"):
        errors["priority"] = BAD_PRIORITY
        return 3
    return int(text)


def _forget_other_kinds(values: dict[str, Any], kind: str) -> None:
    """What belongs to another kind of rule is not kept: a limit that decides nothing would mislead."""
    if kind != "limit":
        values |= dict.fromkeys(LIMITS) | {"divisor": None, "absolute": False, "hysteresis": 0.0}
    if kind != "state":
        values["states"] = []
    if kind != "rate":
        values["rate_per_s"] = None
    if kind != "stale":
        values["stale_s"] = None


def _check(values: dict[str, Any], errors: Errors, *, tags: Sequence[str], channels: Sequence[str]) -> None:
    if not values["zh"]:
        errors["zh"] = NEEDED
    for name in _TEXTS:
        if len(values[name]) > _MOST_TEXT:
            errors[name] = TOO_LONG
    if values["kind"] != "stale" and not values["tag"]:
        errors["tag"] = NEEDED
    known = set(tags)
    if "scope" not in errors:
        for name in ("tag", "divisor"):
            if values[name] and values[name] not in known:
                errors[name] = NO_TAG
        if len(values["related"]) > _MOST_NAMES or not set(values["related"]) <= known:
            errors["related"] = NO_TAG
    if not set(values["channels"]) <= set(channels):
        errors["channels"] = BAD_CHANNEL
    _check_limits(values, errors)
    if values["inhibit"]:
        _check_inhibit(values["inhibit"], known, errors)


def _check_limits(values: dict[str, Any], errors: Errors) -> None:
    match values["kind"]:
        case "limit" if not errors.keys() & set(LIMITS) and all(values[name] is None for name in LIMITS):
            errors["high"] = NO_LIMIT
        case "state" if not values["states"]:
            errors.setdefault("states", NEEDED)
        case "rate" if values["rate_per_s"] is None:
            errors.setdefault("rate_per_s", NEEDED)
        case "stale" if values["stale_s"] is None:
            errors.setdefault("stale_s", NEEDED)
        case _:
            pass
    orders = (("high", "high_high", "high_high", ORDER_HIGH), ("low_low", "low", "low_low", ORDER_LOW))
    for below, above, place, message in (*orders, ("low", "high", "low", ORDER_BOTH)):
        if values[below] is not None and values[above] is not None and not values[below] < values[above]:
            errors.setdefault(place, message)


def _check_inhibit(text: str, known: set[str], errors: Errors) -> None:
    try:
        names = Expression.parse(text).names
    except ExpressionError:
        errors["inhibit"] = BAD_INHIBIT
        return
    if not set(names) <= known:
        errors["inhibit"] = NO_TAG


def changes(versions: Sequence[Rule]) -> list[dict[str, Any]]:
    """Versions, newest first, each with what differs from the one before: (label, before, after)."""
    out: list[dict[str, Any]] = []
    for before, after in zip([None, *versions], versions, strict=False):
        found: list[tuple[str, str, str]] = []
        if before is not None:
            for name in RuleBody.model_fields:
                old, new = getattr(before, name), getattr(after, name)
                if old != new:
                    found.append((LABELS[name], text_of(old), text_of(new)))
            if before.retired_ms is None and after.retired_ms is not None:
                found.append(("停用", "否", "是"))
        out.append({"rule": after, "changes": found})
    return out[::-1]
