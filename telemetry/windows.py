"""Windows: raw rows of one machine around a moment, asked of its edge by the cloud.

The request is a message under the cloud's command key. The answer travels like any data: one or more sealed WINDOW items
of the edge's stream, each with a part of the rows as a frame of the dictionary that its header names.
"""

from dataclasses import dataclass
from typing import Annotated, Any

import cbor2
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from telemetry import frame
from telemetry.dictionary import Dictionary
from telemetry.frame import FrameError
from telemetry.messages import Id16, Message
from telemetry.samples import Samples

MAX_TIME = 1 << 53
MAX_PARTS = 4096

Millis = Annotated[int, Field(ge=0, lt=MAX_TIME)]


class WindowError(ValueError):
    """Not the body of a WINDOW item."""


class WindowRequest(Message):
    """The raw rows of `device` with times `from_ms` to `to_ms` (its own time, both included) are wanted; `tags` () for all.
    `id` is the asker's name for the window and stands in the answer."""

    kind = "window"
    id: Id16
    device: Annotated[str, Field(min_length=1, max_length=128)]
    tags: tuple[Annotated[str, Field(min_length=1, max_length=128)], ...] = ()
    from_ms: Millis
    to_ms: Millis
    sent_ms: Millis


@dataclass(frozen=True, slots=True)
class Window:
    """Part `part` (from 0) of `parts` of a window. `ring_from_ms`: since then, by the machine's own time, the edge holds every
    row of it; what is older it has given up, or it was started since. `truncated`: it gave up rows of the window early, for
    want of room. Rows are by tag and of one tag in the order in which they were acquired."""

    id: bytes
    device: str
    from_ms: int
    to_ms: int
    ring_from_ms: int
    part: int
    parts: int
    truncated: bool
    samples: Samples
    dictionary: Dictionary


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    id: Id16
    device: Annotated[str, Field(max_length=128)]
    from_ms: Millis
    to_ms: Millis
    ring_from_ms: Millis
    part: Annotated[int, Field(ge=0, lt=MAX_PARTS)]
    parts: Annotated[int, Field(ge=1, le=MAX_PARTS)]
    truncated: bool
    frame: bytes


def encode(window: Window, framed: bytes) -> bytes:
    """The plaintext of a WINDOW item. `framed` is `window.samples` as a frame."""
    named = ("id", "device", "from_ms", "to_ms", "ring_from_ms", "part", "parts", "truncated")
    return cbor2.dumps({**{name: getattr(window, name) for name in named}, "frame": framed})


def decode(plaintext: bytes, words: Dictionary) -> Window:
    """Inverse of `encode`. Raises WindowError, also for rows of another machine or another time than it says."""
    body = _body(plaintext)
    if body.from_ms > body.to_ms or body.part >= body.parts:
        raise WindowError("a window that ends before it begins, or a part that is none of it")
    try:
        samples = frame.decode(body.frame, words).samples
    except FrameError as error:
        raise WindowError(f"its rows are no frame: {error}") from error
    if all(device.uid != body.device for device in words.devices):
        raise WindowError("a device that its dictionary does not have")
    if any(words.tags[number][0].uid != body.device for number in set(samples.tag.tolist())):
        raise WindowError("rows of another device")
    if len(samples) and not body.from_ms <= int(samples.time.min()) <= int(samples.time.max()) <= body.to_ms:
        raise WindowError("rows of another time")
    return Window(**body.model_dump(exclude={"frame"}), samples=samples, dictionary=words)


def _body(plaintext: bytes) -> _Body:
    try:
        raw: Any = cbor2.loads(plaintext)
    except Exception as error:  # whatever cbor2 raises on hostile bytes means the same
        raise WindowError("not CBOR") from error
    try:
        body = _Body.model_validate(raw)
    except ValidationError as error:
        raise WindowError("not the body of a WINDOW item") from error
    if cbor2.dumps(body.model_dump()) != plaintext:
        raise WindowError("not the one encoding of its content")
    return body
