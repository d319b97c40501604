"""How far noise between two of the verifier's own reads may reach."""

import pytest

from tests.verifier.noisy import LIMITS, questions
from verifier.judging.reads import noise_floor
from verifier.readers.base import TagRead


def reads(*values: float) -> tuple[TagRead, ...]:
    return tuple(TagRead(i * 500, i * 500 + 20, value) for i, value in enumerate(values))


@pytest.mark.parametrize(
    ("values", "floor"),
    [
        ((1.0, 1.0, 1.0, 1.0), 0.0),
        ((1.0, 3.0, 1.0, 3.0), 2.0),
        # A detector whose noise is cut off at zero rests more often than it moves.
        ((0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 3.0, 0.0, 0.0, 0.0, 0.0), 2.5),
        # What was set and set back again is no noise, nor is what counts.
        ((50.0, 50.0, 50.0, 55.0, 55.0, 55.0, 50.0, 50.0, 50.0), 0.0),
        ((1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 3.0, 3.0, 3.0, 4.0, 4.0, 4.0, 5.0, 5.0, 5.0), 0.0),
    ],
)
def test_noise_is_what_goes_to_and_fro(values: tuple[float, ...], floor: float) -> None:
    assert noise_floor(reads(*values), 1.0, LIMITS["noise_reversals"].value)[1] == floor


@pytest.mark.parametrize(
    ("kind", "seed"),
    [
        # The tail of noise: three times the median step would not hold it.
        ("cnc_machine", 328),
        ("cnc_machine", 1009),
        # Torque of a spindle that speeds up between two reads: only the steps around the sample tell.
        ("cnc_machine", 55),
        ("cnc_machine", 86),
        # Neither, as it was: one step, and three times the median.
        ("industrial_boiler", 533),
        ("industrial_boiler", 1350),
    ],
)
def test_an_honest_machine_leaves_no_question(kind: str, seed: int) -> None:
    assert questions(kind, seed) == {}
