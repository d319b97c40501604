"""What the codes of alarms and notices are called, as msgids (Chinese), and how an alarm's figures are read."""

from collections.abc import Mapping, Sequence
from typing import Any

LEVELS = {
    "high_high": "高高限",
    "high": "高限",
    "low": "低限",
    "low_low": "低低限",
    "state": "状态异常",
    "rate": "变化过快",
    "stale": "无数据",
}
STATES = {"active": "未恢复", "cleared": "已恢复", "retired": "规则已停用"}
PACKAGES = {
    "none": "未生成",
    "asked": "等待边缘网关应答",
    "ready": "完整",
    "incomplete": "不完整",
    "failed": "未能生成",
}
EVENTS = {
    "raised": "报警产生",
    "escalated": "升级",
    "cleared": "恢复",
    "retired": "规则已停用",
    "acknowledged": "确认",
    "shelved": "搁置",
    "unshelved": "取消搁置",
    "package ready": "数据包完整",
    "package incomplete": "数据包不完整",
    "package failed": "数据包未能生成",
    "package asked": "已索取数据包",
}
NOTICES = {"raised": "报警产生", "escalated": "升级", "cleared": "恢复", "test": "测试"}
FIRST_OUT = {"limit": "越过限值", "left_normal_band": "离开正常波动范围"}
_BELOW = ("low", "low_low")
SHELVES = {1: "1 小时", 8: "8 小时", 24: "1 天", 72: "3 天", 168: "7 天"}  # hours


def condition(alarm: Mapping[str, Any]) -> str:
    """`92.3 > 90`, or the value alone where there is no limit to compare with; "" for a silent machine."""
    value, limit = alarm["trigger"]["v"], alarm["limit"]
    if value is None:
        return ""
    if limit is None:
        return f"{value:.6g}"
    return f"{value:.6g} {'<' if alarm['level'] in _BELOW else '>'} {limit:.6g}"


def lags(notice: Mapping[str, Any]) -> dict[str, int | None]:
    """Milliseconds from one of a notice's four times to the next, and in all; None where it has not come so far."""
    times = [notice["t_sample"], notice["t_detect"], notice["t_send"], notice["t_accepted"]]

    def between(a: int | None, b: int | None) -> int | None:
        return None if a is None or b is None else b - a

    return {
        "detect": between(times[0], times[1]),
        "send": between(times[1], times[2]),
        "accept": between(times[2], times[3]),
        "total": between(times[0], times[3]),
    }


def by_priority(alarms: Sequence[Mapping[str, Any]]) -> dict[int, int]:
    """How many alarms there are of each priority, those that occur, worst first."""
    found = [int(alarm["priority"]) for alarm in alarms]
    return {priority: found.count(priority) for priority in (1, 2, 3, 4) if priority in found}
