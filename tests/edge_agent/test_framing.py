"""Samples into items: whatever a device gives, the rest of the edge's values go on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent import framing
from edge_agent.framing import DictionaryTooLarge
from telemetry import frame, samples
from telemetry.dictionary import DeviceSpec, Dictionary, TagSpec
from telemetry.samples import Kind, Quality, Reason, reason_name
from telemetry.seal import MAX_SEALED

TAGS = (TagSpec("a", Kind.ARRAY), TagSpec("s", Kind.STRING), TagSpec("n", Kind.INT))
WORDS = Dictionary("E", "e", (DeviceSpec("d", "large_motor", tags=TAGS),))


def noise(size: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(size)


def test_a_value_that_fits_into_no_item_is_bad_with_a_reason_and_the_rest_goes_on() -> None:
    rows = samples.from_rows(
        [
            (0, 1, noise(140_000), 0, Kind.ARRAY),
            (0, 2, noise(1000), 0, Kind.ARRAY),
            (2, 3, 7, 0, Kind.INT),
            (0, 4, np.zeros(140_000), 0, Kind.ARRAY),  # as large, but zstd makes it small
            (1, 5, "x" * 5_000_000, 0, Kind.STRING),
            (0, 6, None, int(Quality.BAD), Kind.ARRAY),
        ]
    )
    fitted, cut = framing.fitting(rows, WORDS)
    assert cut == [0, 1]
    assert [int(q) & 0xFF for q in fitted.quality] == [Reason.TOO_LARGE, 0, 0, 0, Reason.TOO_LARGE, 0]
    assert reason_name(int(fitted.quality[0])) == "too_large" and fitted.value_at(0) is None
    drafts = list(framing.frame_drafts(fitted, WORDS, notes={"a": 1}))
    assert all(len(draft.plaintext) < MAX_SEALED for draft in drafts)
    stored = sum(len(frame.decode(draft.plaintext, WORDS).samples) for draft in drafts)
    assert stored == len(rows)
    assert framing.fitting(fitted, WORDS) == (fitted, [])


@given(st.lists(st.integers(0, 260_000), max_size=4))
def test_whatever_sizes_come_every_item_fits(sizes: list[int]) -> None:
    rows = samples.from_rows([(0, n, noise(size), 0, Kind.ARRAY) for n, size in enumerate(sizes)])
    fitted, cut = framing.fitting(rows, WORDS)
    assert len(cut) >= sum(1 for size in sizes if size >= 140_000)
    assert not any(size < 100_000 for size, code in zip(sizes, fitted.quality, strict=True) if code)
    for draft in framing.frame_drafts(fitted, WORDS, notes={}):
        assert len(draft.plaintext) <= MAX_SEALED - 4096


def test_a_dictionary_that_fits_into_no_item_says_so() -> None:
    devices = tuple(DeviceSpec(f"d{n}", "large_motor", nameplate={"text": "x" * 1000}) for n in range(1100))
    with pytest.raises(DictionaryTooLarge, match=r"1100 devices .* divide the devices"):
        framing.dictionary_draft(Dictionary("E", "e", devices))
