"""Messages between edge, cloud and inspector. Each is CBOR in a COSE_Sign1 (RFC 9052) bound to its topic and its kind, so
that a message of one kind or topic never passes for another. Unknown fields are refused.
"""

from typing import Annotated, Any, ClassVar, Self, TypeVar, cast

import cbor2
from cwt import COSE
from cwt.exceptions import CWTError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from telemetry.keys import SigningKey, VerifyingKey, key_id, verifying_key
from telemetry.seal import NONCE_BYTES

_ALG, _KID, _EDDSA = 1, 4, -8
_SIGN1 = 18
MAX_MESSAGE = 64 << 10

Id16 = Annotated[bytes, Field(min_length=16, max_length=16)]
Key32 = Annotated[bytes, Field(min_length=32, max_length=32)]


class MessageError(ValueError):
    """Not a message of this kind, topic and key."""


class Message(BaseModel):
    """Base of all messages."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    kind: ClassVar[str]

    def sign(self, signer: SigningKey, topic: str) -> bytes:
        """The signed message for a topic."""
        protected = {_ALG: _EDDSA, _KID: signer.id}
        signed = COSE.new().encode_and_sign(
            cbor2.dumps(self.model_dump()), signer.cose, protected=protected, external_aad=self._bound(topic)
        )
        return cast(bytes, signed)  # a CBORTag only where one is asked for

    @classmethod
    def verify(cls, data: bytes, key: VerifyingKey, topic: str) -> Self:
        """Check signature, topic and shape. Raises MessageError."""
        if len(data) > MAX_MESSAGE:
            raise MessageError("too large")
        try:
            payload = COSE.new().decode(data, key.cose, external_aad=cls._bound(topic))
            return cls.model_validate(_tuples(cbor2.loads(payload)))
        except (CWTError, ValidationError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise MessageError(f"not a {cls.kind} signed with this key for this topic") from error

    @classmethod
    def _bound(cls, topic: str) -> bytes:
        return f"{cls.kind} {topic}".encode()


def _tuples(value: Any) -> Any:
    """CBOR arrays come back as lists; strict models of tuples want tuples."""
    if isinstance(value, list):
        return tuple(_tuples(v) for v in value)
    return {k: _tuples(v) for k, v in value.items()} if isinstance(value, dict) else value


def signer_id(data: bytes) -> bytes:
    """Key id that a message claims, unchecked. Raises MessageError."""
    try:
        tag = cbor2.loads(data[:MAX_MESSAGE])
        kid = cbor2.loads(tag.value[0])[_KID]
    except Exception as error:  # whatever cbor2 raises on hostile bytes means the same
        raise MessageError("not a signed message") from error
    if not isinstance(kid, bytes):
        raise MessageError("no key id")
    return kid


BIRTH_EVERY_MS = 15_000


class Birth(Message):
    """An edge's process is there: said at every connection and every BIRTH_EVERY_MS, never retained. `simulated`: at least
    one of its machines says that it is."""

    kind = "birth"
    enterprise: str
    edge: str
    boot: Id16
    wall_ms: int
    mono_ms: int
    synchronised: bool
    version: str
    stream: Id16
    dictionary: Id16
    simulated: bool


class Will(Message):
    """Signed at connect; the broker publishes it when the connection breaks, the edge itself when it stops."""

    kind = "will"
    enterprise: str
    edge: str
    boot: Id16
    connected_ms: int


class Receipt(Message):
    """What ingest has committed of a stream: everything up to and including `contiguous` (-1: nothing), above it all but
    `missing` up to `highest`. Numbers alone prove nothing to an edge that was restored from a copy, so items are named by
    hash: `hash` is that of item `contiguous` (zeros for -1), `taken` those of the items just received that are committed.
    `forked`: (sequence, hash) of the first item just received that is not the committed one of its number: news for whoever
    sent that very item, not for another process that speaks for the same edge."""

    kind = "receipt"
    edge: str
    stream: Id16
    contiguous: int
    hash: Id16
    highest: int
    missing: tuple[tuple[int, int], ...] = ()
    taken: tuple[Id16, ...] = ()
    forked: tuple[int, Id16] | None = None
    time_ms: int


class Certificate(Message):
    """The cloud's word that a key is an inspector's, for hours. Bound to no topic."""

    kind = "certificate"
    TOPIC: ClassVar[str] = "inspector"
    public: Key32
    name: str
    enterprise: str
    not_before_ms: int
    not_after_ms: int


class Challenge(Message):
    """An inspector's nonce for an edge: it must stand in the signed header of the edge's next frames while it is open."""

    kind = "challenge"
    nonce: Annotated[bytes, Field(min_length=NONCE_BYTES, max_length=NONCE_BYTES)]
    sent_ms: int
    open_s: Annotated[float, Field(gt=0, le=600)]
    certificate: bytes


class Echo(Message):
    """The edge's answer: its clocks, and where the nonce will stand."""

    kind = "echo"
    nonce: Annotated[bytes, Field(min_length=NONCE_BYTES, max_length=NONCE_BYTES)]
    edge: str
    boot: Id16
    wall_ms: int
    mono_ms: int
    synchronised: bool
    stream: Id16
    sequence: int


_M = TypeVar("_M", bound=Message)


def certified(
    data: bytes, model: type[_M], *, command_key: VerifyingKey, topic: str, now_ms: int, enterprise: str
) -> tuple[_M, Certificate]:
    """A message from an inspector: its certificate checked against the cloud's command key, the message against the
    certificate. Raises MessageError."""
    kid = signer_id(data)
    try:
        blob = cbor2.loads(cbor2.loads(data).value[2])["certificate"]
    except Exception as error:  # whatever cbor2 raises on hostile bytes means the same
        raise MessageError("no certificate") from error
    if not isinstance(blob, bytes):
        raise MessageError("no certificate")
    certificate = Certificate.verify(blob, command_key, Certificate.TOPIC)
    if key_id(certificate.public) != kid:
        raise MessageError("signed by another key than the certified one")
    if not certificate.not_before_ms <= now_ms < certificate.not_after_ms:
        raise MessageError("the inspector's certificate is not valid now")
    if certificate.enterprise != enterprise:
        raise MessageError("the inspector's certificate is for another enterprise")
    return model.verify(data, verifying_key(certificate.public), topic), certificate
