"""What the alarm routes take and give, as the API's schema says it."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from cloud.alarms.rules import Rule, RuleBody, Source

Text = Annotated[str, Field(max_length=1000, pattern=r"^[^\x00]*$")]
Milliseconds = Annotated[int, Field(ge=0, le=1 << 53)]


class Given(BaseModel):
    """Base of what callers send."""

    model_config = ConfigDict(extra="forbid")


class RuleChange(RuleBody):
    """A whole rule. `if_version`: only if that is the version in force. What a rule as it was read has besides (its source,
    when it was changed …) may be sent along and changes nothing."""

    if_version: int | None = Field(default=None, ge=1, le=1 << 31)
    id: str | None = Field(default=None, max_length=128)
    version: int | None = None
    source: Source | None = None
    retired_ms: int | None = None
    changed_ms: int | None = None
    changed_by: str | None = Field(default=None, max_length=200)

    @property
    def body(self) -> RuleBody:
        """What is to be kept."""
        return RuleBody.model_validate(self.model_dump(include=set(RuleBody.model_fields)))


class Acknowledgement(Given):
    """A word on it."""

    note: Text = ""


class Shelving(Given):
    """Until when nobody is to be told, and why."""

    until_ms: Milliseconds
    reason: Annotated[Text, Field(min_length=1)]


class NewChannel(Given):
    """`url` is an address as apprise writes them."""

    name: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^\x00]+$")]
    url: Annotated[str, Field(min_length=3, max_length=2000, pattern=r"^[^\x00]+$")]
    until_ms: Milliseconds | None = None


class Answer(BaseModel):
    """Base of answers."""

    server_ms: int


class RulesAnswer(Answer):
    """Rules, each in its newest version."""

    rules: list[Rule]


class RuleAnswer(Answer):
    """One rule."""

    rule: Rule


class RuleHistory(RuleAnswer):
    """A rule and all its versions, oldest first."""

    versions: list[Rule]


class Trigger(BaseModel):
    """The row at which the condition began to hold; for a silent machine its last row's time and no value."""

    t: int
    v: float | None
    q: int


class Acknowledged(BaseModel):
    """Who has seen it."""

    by: str
    at_ms: int
    note: str | None


class Shelved(BaseModel):
    """Who has put it aside."""

    by: str
    until_ms: int
    reason: str


class PackageState(BaseModel):
    """How far the package is; size and SHA-256 once it is there."""

    state: Literal["none", "asked", "ready", "incomplete", "failed"]
    bytes: int | None
    sha256: str | None


class NoticeShown(BaseModel):
    """One notice to one channel, with its times (ms, the cloud's clock; t_sample the machine's)."""

    id: str
    alarm: str | None
    what: Literal["raised", "escalated", "cleared", "test"]
    channel: str
    t_sample: int
    t_detect: int
    t_send: int | None
    t_accepted: int | None
    attempts: int
    error: str | None


class AlarmShown(BaseModel):
    """An alarm. `limit` is that of `level`; None for a state."""

    id: str
    rule: str
    rule_version: int
    device: str
    tag: str
    zh: str
    en: str
    priority: int
    level: Literal["high", "high_high", "low", "low_low", "state", "rate", "stale"]
    state: Literal["active", "cleared", "retired"]
    limit: float | None
    trigger: Trigger
    t_sample: int
    raised_ms: int
    detected_ms: int
    cleared_ms: int | None
    acknowledged: Acknowledged | None
    shelved: Shelved | None
    late: bool
    simulated: bool
    package: PackageState
    notices: list[NoticeShown]


class AlarmsAnswer(Answer):
    """Alarms; `more` if there are older ones."""

    alarms: list[AlarmShown]
    more: bool


class AlarmAnswer(Answer):
    """One alarm."""

    alarm: AlarmShown


class LogLine(BaseModel):
    """What happened to an alarm."""

    t_ms: int
    what: str
    by: str | None
    note: str | None


class AlarmHistory(AlarmAnswer):
    """One alarm, all that happened to it, and the version of its rule that it was raised by."""

    events: list[LogLine]
    rule: Rule | None


class NoticesAnswer(Answer):
    """Notices, newest first."""

    notices: list[NoticeShown]


class NoticeAnswer(Answer):
    """The id of a notice that was queued."""

    notice: str


class ChannelShown(BaseModel):
    """A channel; of its address only what is no secret."""

    id: str
    name: str
    url_shown: str
    until_ms: int | None
    owner: str
    enabled: bool


class ChannelsAnswer(Answer):
    """Channels."""

    channels: list[ChannelShown]


class ChannelAnswer(Answer):
    """One channel."""

    channel: ChannelShown


class ErrorShown(BaseModel):
    """`code` for programs, the rest for people."""

    code: str
    zh: str
    en: str


class ErrorAnswer(BaseModel):
    """An error."""

    error: ErrorShown
