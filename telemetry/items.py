"""What OPEN and LOSS items say, as CBOR. Strict both ways: a body that is not exactly this is refused before it is committed,
whoever signed it.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, NamedTuple, Self

import cbor2
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from telemetry.seal import EPOCH_BYTES, STREAM_BYTES

MAX_LOSSES = 4096

Millis = Annotated[int, Field(ge=0, lt=1 << 53)]
Number = Annotated[int, Field(ge=0, lt=1 << 53)]
StreamId = Annotated[bytes, Field(min_length=STREAM_BYTES, max_length=STREAM_BYTES)]


class ItemError(ValueError):
    """These bytes are not the body of such an item."""


class Opening(BaseModel):
    """A process of the edge began, or a new stream. `parent`: (stream, sequence) at which this stream leaves another;
    `idle_since_ms`: when the last item before was stored (0: there was none), so nothing was acquired from then to
    `wall_ms`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    epoch: Annotated[bytes, Field(min_length=EPOCH_BYTES, max_length=EPOCH_BYTES)]
    key: Annotated[bytes, Field(min_length=32, max_length=32, repr=False)]
    boot: Annotated[bytes, Field(min_length=16, max_length=16)]
    wall_ms: Millis
    reason: Literal["start", "fork"]
    parent: tuple[StreamId, Number] | None
    idle_since_ms: Millis
    version: Annotated[str, Field(max_length=64)]

    def encode(self) -> bytes:
        """The plaintext of the item."""
        return cbor2.dumps(self.model_dump())

    @classmethod
    def decode(cls, plaintext: bytes) -> Self:
        """Inverse of `encode`. Raises ItemError."""
        try:
            return cls.model_validate(_tuples(cbor2.loads(plaintext)))
        except ValidationError as error:
            raise ItemError("not the body of an OPEN item") from error
        except Exception as error:  # whatever cbor2 raises on hostile bytes means the same
            raise ItemError("not CBOR") from error


class Lost(NamedTuple):
    """Items `low`..`high` of `stream` will never come; their samples spanned `first_ms`..`last_ms`."""

    stream: StreamId
    low: Number
    high: Number
    first_ms: Millis
    last_ms: Millis


_LOSSES = TypeAdapter(Annotated[tuple[Lost, ...], Field(min_length=1, max_length=MAX_LOSSES)])


def encode_losses(losses: Sequence[Lost]) -> bytes:
    """The plaintext of a LOSS item."""
    return cbor2.dumps([list(one) for one in losses])


def decode_losses(plaintext: bytes) -> tuple[Lost, ...]:
    """Inverse of `encode_losses`. Raises ItemError."""
    try:
        losses = _LOSSES.validate_python(_tuples(cbor2.loads(plaintext)), strict=True)
    except ValidationError as error:
        raise ItemError("not a list of lost ranges") from error
    except Exception as error:  # whatever cbor2 raises on hostile bytes means the same
        raise ItemError("not CBOR") from error
    if any(one.low > one.high or one.first_ms > one.last_ms for one in losses):
        raise ItemError("a range that ends before it begins")
    return losses


def _tuples(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_tuples(v) for v in value)
    return {k: _tuples(v) for k, v in value.items()} if isinstance(value, dict) else value
