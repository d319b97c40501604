"""What time alone brings about: machines that are silent too long, and alarms whose rule is no longer in use."""

from cloud.alarms import evaluate, raising, rules
from cloud.alarms.evaluate import Event
from cloud.alarms.memory import DeviceMemory, Row, RuleMemory
from cloud.alarms.rules import Rule


def silences(device: str, remembered: DeviceMemory, in_use: list[Rule], *, listening_ms: int, now: int) -> list[Event]:
    """Alarms of a machine that has not been heard for too long. `listening_ms`: since when anybody listens."""
    events: list[Event] = []
    for rule in rules.of_device(in_use, device, remembered.type):
        state = remembered.live.rules.get(rule.id)
        if rule.stale_s is None or remembered.heard_ms == 0 or (state is not None and state.alarm is not None):
            continue
        since = max(remembered.heard_ms, listening_ms, rule.changed_ms)
        raised_ms = since + round(rule.stale_s * 1000)
        if now <= raised_ms:
            continue
        state = RuleMemory(rule.version, alarm=raising.new_id(), level="stale")
        remembered.live.rules[rule.id] = state
        last = Row(remembered.live.watermark, 0.0, 0)
        events.append(
            Event(
                "raised",
                state.alarm or "",
                rule,
                "stale",
                rule.stale_s,
                last,
                since,
                raised_ms,
                last.t,
                raised_ms,
            )
        )
    return events


def heard(remembered: DeviceMemory, stale: tuple[Rule, ...], arrival_ms: int) -> list[Event]:
    """A machine that was silent is heard again."""
    events: list[Event] = []
    for rule in stale:
        state = remembered.live.rules.get(rule.id)
        if state is not None and state.alarm is not None:
            row = Row(arrival_ms, 0.0, 0)
            at = arrival_ms
            events.append(Event("cleared", state.alarm, rule, "stale", rule.stale_s, row, at, at, at, at))
            state.alarm = state.level = None
    return events


def retired(remembered: DeviceMemory, in_use: set[str]) -> list[Event]:
    """Ends alarms whose rule was disabled or retired: they end without waiting for a row."""
    events: list[Event] = []
    for name, state in list(remembered.live.rules.items()):
        if name not in in_use and state.alarm is not None:
            events.append(evaluate.ended(state, remembered.live))
            del remembered.live.rules[name]
    return events
