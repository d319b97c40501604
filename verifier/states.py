"""How a statement can end, and how strong the evidence is that it rests on.

The states are those of XCCDF and SARIF under the names of the verifier's contract; the grades are ordered, so that a
verdict can ask for the least one it needs.
"""

from enum import IntEnum, StrEnum


class State(StrEnum):
    """not_applicable: no such thing is declared. not_checked: declared, but could not be tried or seen. error: the
    verifier itself failed."""

    PASS = "pass"
    FAIL = "fail"
    REVIEW = "review"
    NOT_CHECKED = "not_checked"
    NOT_APPLICABLE = "not_applicable"
    ERROR = "error"


class Grade(IntEnum):
    """Strength of evidence, weakest first."""

    SELF_DECLARED = 1
    RECORDED = 2  # signed and anchored
    CHALLENGED_LIVE = 3
    MACHINE_WITNESSED = 4


STATE_ZH = {
    State.PASS: "通过",
    State.FAIL: "不通过",
    State.REVIEW: "待人工复核",
    State.NOT_CHECKED: "未检查",
    State.NOT_APPLICABLE: "不适用",
    State.ERROR: "核验程序出错",
}

GRADE_TEXT = {
    Grade.SELF_DECLARED: ("自行申报或书面材料", "self-declared or by document"),
    Grade.RECORDED: ("有签名并已锚定的记录", "recorded, signed and anchored"),
    Grade.CHALLENGED_LIVE: ("现场质询", "challenged live"),
    Grade.MACHINE_WITNESSED: ("见证实体设备", "machine witnessed"),
}

# Worst first: what a criterion takes from its statements, a star from its terms.
WORST_FIRST = (State.ERROR, State.FAIL, State.REVIEW, State.NOT_CHECKED, State.PASS, State.NOT_APPLICABLE)


def worst(states: "list[State]") -> State:
    """The worst of some states; not_applicable where there are none."""
    return min(states, key=WORST_FIRST.index, default=State.NOT_APPLICABLE)
