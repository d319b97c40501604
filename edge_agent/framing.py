"""Samples into drafts of items: as many frames as it takes to stay within the size of an item. What fits into no item at all
does not stop the rest: a value is replaced by the statement that there was one, a dictionary is refused at once.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from edge_agent import machine_clock
from edge_agent.outbox import Draft
from telemetry import clock, frame
from telemetry.dictionary import Dictionary
from telemetry.frame import Frame, FrameError
from telemetry.samples import BLOB_KINDS, Quality, Reason, Samples, quality
from telemetry.seal import MAX_SEALED, ItemKind

MAX_PLAIN = MAX_SEALED - 4096
_SURELY_FITS = MAX_PLAIN // 2  # bytes of a value for which nothing need be tried
_TOO_LARGE = quality(Quality.BAD, Reason.TOO_LARGE, has_value=False)


class DictionaryTooLarge(ValueError):
    """The tags and nameplates of this edge do not fit into one item."""


def dictionary_draft(words: Dictionary) -> Draft:
    """The item that carries a dictionary. Raises DictionaryTooLarge."""
    encoded = words.encode()
    if len(encoded) > MAX_PLAIN:
        raise DictionaryTooLarge(
            f"the dictionary of {len(words.devices)} devices and {len(words.tags)} tags takes {len(encoded)} bytes; "
            f"an edge can say {MAX_PLAIN}: divide the devices between several edges"
        )
    now = clock.now_ms()
    return Draft(ItemKind.DICTIONARY, encoded, words.hash, (now, now))


def fitting(samples: Samples, words: Dictionary) -> tuple[Samples, list[int]]:
    """The samples with every value that fits into no item replaced by bad quality TOO_LARGE, no value; and the numbers of
    the tags of those rows."""
    referring = np.isin(samples.kind, BLOB_KINDS) & ((samples.quality & Quality.NO_VALUE) == 0)
    large = [row for row in np.flatnonzero(referring).tolist() if _bytes_of(samples, row) > _SURELY_FITS]
    cut = np.array([row for row in large if not _fits(samples.where(np.array([row])), words)], dtype=np.int64)
    if not len(cut):
        return samples, []
    value, codes = samples.value.copy(), samples.quality.copy()
    value[cut], codes[cut] = 0, _TOO_LARGE
    return replace(samples, value=value, quality=codes), samples.tag[cut].tolist()


def _bytes_of(samples: Samples, row: int) -> int:
    blob = samples.blobs[int(samples.value[row])]
    return 4 * len(blob) if isinstance(blob, str) else blob.nbytes  # at most four bytes a character


def _fits(samples: Samples, words: Dictionary) -> bool:
    try:
        return len(frame.encode(Frame(0, 0, bytes(16), samples), words)) < MAX_PLAIN - frame.MAX_NOTES
    except FrameError:
        return False


def frame_drafts(
    samples: Samples, words: Dictionary, *, notes: dict[str, Any], nonces: tuple[bytes, ...] = ()
) -> Iterator[Draft]:
    """The items that carry these samples; the first has the notes and the nonces. Raises FrameError where a single row
    does not fit (see `fitting`)."""
    head = Frame(
        wall_ms=clock.now_ms(),
        mono_ms=clock.mono_ms(),
        boot=machine_clock.boot_id(),
        samples=samples,
        synchronised=machine_clock.synchronised(),
        notes=notes,
    )
    try:
        plaintext = frame.encode(head, words)
        if len(plaintext) > MAX_PLAIN:
            raise FrameError("larger than an item")
    except FrameError:
        half = len(samples) // 2
        if half == 0:
            raise
        rows = np.arange(len(samples))
        yield from frame_drafts(samples.where(rows[:half]), words, notes=notes, nonces=nonces)
        yield from frame_drafts(samples.where(rows[half:]), words, notes={})
        return
    span = (int(samples.time.min()), int(samples.time.max())) if len(samples) else (head.wall_ms, head.wall_ms)
    yield Draft(ItemKind.DATA, plaintext, words.hash, span, nonces)
