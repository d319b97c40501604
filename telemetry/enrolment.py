"""Enrolment: how an edge and the cloud come to know each other's keys.

The edge makes its key and a one-time code. The request names the public key and carries an HMAC under the code; a person
takes the code from the edge's screen to the administrator, who approves. The grant carries the cloud's keys, again under
an HMAC of the code. So neither side can be given a false key by whoever carries the files. The code has 80 random bits
and is good for one request.
"""

import base64
import hashlib
import hmac
import json
import os
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from telemetry import keys


class EnrolmentError(ValueError):
    """A request or grant cannot be used: damaged, not made with this code, or not a file of this kind."""


class _Signed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    mac: str = ""

    def _mac(self, code: str) -> str:
        body = self.model_dump(exclude={"mac"})
        text = json.dumps([type(self).__name__, body], sort_keys=True, ensure_ascii=False)
        return hmac.new(_normal(code).encode(), text.encode(), hashlib.sha256).hexdigest()


_S = TypeVar("_S", bound=_Signed)


class Request(_Signed):
    """What the edge asks for. `public_key` is base64 of 32 raw bytes (Ed25519)."""

    enterprise: str
    edge: str
    public_key: str


class Grant(_Signed):
    """What the cloud answers: the keys an edge pins. Base64 of 32 raw bytes each."""

    enterprise: str
    edge: str
    receipt_key: str
    command_key: str
    exchange_key: str


def make_code() -> str:
    """A one-time code: 16 characters in groups of four."""
    text = base64.b32encode(os.urandom(10)).decode()
    return "-".join(text[i : i + 4] for i in range(0, 16, 4))


def with_mac(message: _S, code: str) -> _S:
    """The message with its HMAC under the code."""
    return message.model_copy(update={"mac": message._mac(code)})  # pyright: ignore[reportPrivateUsage]


def read(path: Path, model: type[_S]) -> _S:
    """Read a file, not yet checked. Raises EnrolmentError."""
    try:
        message = model.model_validate_json(path.read_text(encoding="utf-8"))
        for name, value in message.model_dump().items():
            if name.endswith("_key"):
                keys.from_text(value)
    except OSError as error:
        raise EnrolmentError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValidationError, ValueError) as error:
        raise EnrolmentError(f"{path}: not an enrolment {model.__name__.lower()}") from error
    return message


def check(message: _Signed, code: str) -> None:
    """Raises EnrolmentError unless the message was made with this code."""
    if not hmac.compare_digest(message._mac(code), message.mac):  # pyright: ignore[reportPrivateUsage]
        raise EnrolmentError("the one-time code does not fit this file: mistyped, or the file was changed on the way")


def write(message: _Signed, path: Path) -> None:
    """Write a message as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(message.model_dump_json(indent=2) + "\n", encoding="utf-8")


def _normal(code: str) -> str:
    return "".join(c for c in code.upper() if c.isalnum())
