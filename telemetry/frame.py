"""The frame: one edge, one batch.

Layout: magic, then one zstd frame of

    head      wall_ms, mono_ms, boot id, flags, notes (CBOR)
    axes      which tags, how many rows each, at which times      (frame_axes)
    values    tag by tag, then quality and origin where they differ  (frame_values)

Lossless at each tag's declared resolution (float64 where none is declared); rows keep their order within each tag. All
work is done by numpy over whole columns, so a frame costs much the same whatever it holds. A decoder given any bytes
returns a Frame or raises FrameError, and holds at most MAX_BODY bytes and MAX_ROWS rows.
"""

from dataclasses import dataclass, field
from typing import Any

import cbor2
import numpy as np
import zstandard

from telemetry import columns, frame_axes, frame_values
from telemetry.dictionary import Dictionary
from telemetry.samples import Samples, empty

MAGIC = b"SPF1"
MAX_BODY = 4 << 20
MAX_ROWS = 1_000_000
MAX_NOTES = 64 << 10


class FrameError(ValueError):
    """These bytes are not a frame, or these samples cannot be one."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A batch. `wall_ms` UTC, `mono_ms` monotonic since boot `boot` (16 bytes), both when the frame was closed; `notes`
    holds counters and records (a step of the clock) as plain CBOR values."""

    wall_ms: int
    mono_ms: int
    boot: bytes
    samples: Samples
    synchronised: bool = False
    notes: dict[str, Any] = field(default_factory=dict[str, Any])


def encode(frame: Frame, dictionary: Dictionary) -> bytes:
    """Bytes of a frame. Raises FrameError for a tag the dictionary does not have or a kind it does not declare."""
    samples = frame.samples
    _check(samples, dictionary)
    out = columns.Writer()
    out.signed(np.array([frame.wall_ms, frame.mono_ms], dtype=np.int64))
    out.raw(frame.boot)
    out.number(int(frame.synchronised))
    notes = cbor2.dumps(frame.notes)
    if len(notes) > MAX_NOTES:
        raise FrameError("notes too large")
    out.raw(notes)
    out.number(len(samples))
    if len(samples):
        order, tags, counts = frame_axes.write(out, samples, frame.wall_ms)
        frame_values.write(out, samples.where(order), tags, counts, dictionary)
    body = out.bytes()
    if len(body) > MAX_BODY:
        raise FrameError(f"frame of {len(body)} bytes exceeds {MAX_BODY}")
    return MAGIC + zstandard.ZstdCompressor(level=3).compress(body)


def decode(data: bytes, dictionary: Dictionary) -> Frame:
    """Inverse of `encode`; rows come back sorted by tag, in their order within each tag. Raises FrameError."""
    if not data.startswith(MAGIC):
        raise FrameError("not a frame")
    try:
        parameters = zstandard.get_frame_parameters(data[len(MAGIC) :])
        if parameters.content_size > MAX_BODY or parameters.window_size > 2 * MAX_BODY:
            raise FrameError(f"announces more than {MAX_BODY} bytes")
        body = zstandard.ZstdDecompressor().decompress(data[len(MAGIC) :], allow_extra_data=False)
        return _decode_body(columns.Reader(body), dictionary)
    except FrameError:
        raise
    except zstandard.ZstdError as error:
        raise FrameError(f"not compressed as a frame is: {error}") from error
    except (columns.ColumnError, ValueError, OverflowError, UnicodeDecodeError) as error:
        raise FrameError(str(error)) from error


def _decode_body(body: columns.Reader, dictionary: Dictionary) -> Frame:
    wall_ms, mono_ms = (int(x) for x in body.signed(2))
    boot = body.raw()
    if len(boot) != 16:
        raise FrameError("boot id is not 16 bytes")
    synchronised = bool(body.number(1))
    notes = _notes(body.raw())
    rows = body.number(MAX_ROWS)
    samples = empty()
    if rows:
        tags, counts, times = frame_axes.read(body, rows, wall_ms, len(dictionary.tags))
        samples = frame_values.read(body, tags, counts, times, dictionary)
        samples = samples.where(np.argsort(samples.tag, kind="stable"))
    body.end()
    return Frame(wall_ms, mono_ms, boot, samples, synchronised, notes)


def _notes(data: bytes) -> dict[str, Any]:
    if len(data) > MAX_NOTES:
        raise FrameError("notes too large")
    try:
        notes = cbor2.loads(data)
    except Exception as error:
        raise FrameError("notes are not CBOR") from error
    if not isinstance(notes, dict) or not all(isinstance(key, str) for key in notes):
        raise FrameError("notes are not keys and values")
    return notes


def _check(samples: Samples, dictionary: Dictionary) -> None:
    if len(samples) > MAX_ROWS:
        raise FrameError(f"{len(samples)} rows exceed {MAX_ROWS}")
    if len(samples) and not (int(samples.tag.min()) >= 0 and int(samples.tag.max()) < len(dictionary.tags)):
        raise FrameError("a tag is not in the dictionary")
    wrong = np.flatnonzero(samples.kind != dictionary.kinds[samples.tag])
    if len(wrong):
        device, tag = dictionary.tags[int(samples.tag[wrong[0]])]
        raise FrameError(f"{device.uid}/{tag.id}: kind {samples.kind[wrong[0]]} is not the declared {int(tag.kind)}")
