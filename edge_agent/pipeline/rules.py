"""What the pipeline's steps go by: one number per tag, in columns by tag number."""

from dataclasses import dataclass

from telemetry.samples import Bools, Float64s


@dataclass(frozen=True, slots=True)
class Rules:
    """`source_time`: its times are the source's own. lo..hi: physically possible values (infinite where not known).
    `deadband`: absolute, 0 for none. The rest holds for all tags."""

    source_time: Bools
    lo: Float64s
    hi: Float64s
    deadband: Float64s
    max_interval_ms: int = 10_000
    max_future_ms: int = 5_000
    max_past_ms: int = 30 * 86_400_000

    def __len__(self) -> int:
        return len(self.deadband)
