"""The windows of raw rows that an edge sealed around alarms, opened by the verifier itself.

What the cloud hands over is the sealed item and the key of that item alone. The signature is checked with the pinned key,
the plaintext against the signed hash, and the item's place in the ledger by its proof.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import cbor2

from telemetry import dictionary, frame, plain
from telemetry.dictionary import Dictionary, DictionaryError
from telemetry.frame import FrameError
from telemetry.keys import verifying_key
from telemetry.seal import Item, SealError, check, unseal_with
from telemetry.topics import Address, Channel
from verifier.evidence import EvidenceError, from_b64
from verifier.judging.case import dicts, mapping
from verifier.judging.proofs import check_inclusion

MAX_ITEMS = 256
UNANSWERED = (0, 401, 403, 429, 503)  # says nothing about what there is


@dataclass(frozen=True, slots=True)
class SealedWindow:
    """A part of a window as the edge sealed it. `id` hex; `rows` by tag, [t, v, q]; `proved`: it stands in the ledger."""

    stream: str
    sequence: int
    id: str
    device: str
    span: tuple[int, int]
    ring_from_ms: int
    part: int
    parts: int
    truncated: bool
    rows: Mapping[str, list[list[Any]]]
    proved: bool


@dataclass
class SealedWindows:
    """`faults` are (reason, what); `unread` says why the cloud's answers could not be used, "" where they could; `refused`
    with which status it refused them."""

    windows: list[SealedWindow] = field(default_factory=list[SealedWindow])
    faults: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    unread: str = ""
    refused: str = ""

    def of(self, alarm: str) -> list[SealedWindow]:
        """The parts of the window of an alarm, each once, in order."""
        found = {w.part: w for w in self.windows if w.id == alarm.replace("-", "").lower()}
        return [found[n] for n in sorted(found)]


def read_windows(raw: Mapping[str, Any] | None, *, edge: Address, public: bytes, head_key: bytes) -> SealedWindows:
    """The windows out of an observation {"answers": [answer, …], "proofs": [{stream, sequence, answer}, …]}."""
    out = SealedWindows()
    answers = [mapping(a) for a in (raw or {}).get("answers") or []]
    if not answers:
        out.unread = "no_frames_asked"
    for answer in answers:
        body = mapping(answer.get("body"))
        if answer.get("status") != 200:
            code = mapping(body.get("error")).get("code")
            out.unread = "keys_not_here" if code == "keys_not_here" else "frames_unanswered"
            if code != "keys_not_here" and answer.get("status") not in UNANSWERED:
                out.refused = f"{answer.get('status')} {code or ''}".strip()
    words = _dictionaries(answers, edge)
    proofs = {(str(p["stream"]), int(p["sequence"])): p["answer"] for p in (raw or {}).get("proofs") or []}
    taken = 0
    for answer in answers:
        for one in dicts(mapping(answer.get("body")).get("items")):
            taken += 1
            if taken <= MAX_ITEMS:
                _take(out, one, words, proofs, edge, public, head_key)
    return out


def _dictionaries(answers: Iterable[Mapping[str, Any]], edge: Address) -> dict[bytes, Dictionary]:
    out: dict[bytes, Dictionary] = {}
    for answer in answers:
        for data in list(mapping(mapping(answer.get("body")).get("dictionaries")).values())[:64]:
            try:
                found = dictionary.decode(plaintext := from_b64(data))
            except (EvidenceError, DictionaryError):
                continue
            if (found.enterprise, found.edge) == (edge.enterprise, edge.edge):
                out[dictionary.digest(plaintext)] = found
    return out


def _take(
    out: SealedWindows,
    one: Mapping[str, Any],
    words: Mapping[bytes, Dictionary],
    proofs: Mapping[tuple[str, int], Any],
    edge: Address,
    public: bytes,
    head_key: bytes,
) -> None:
    name = f"{str(one.get('stream'))[:8]}/{one.get('sequence')}"
    try:
        sealed = from_b64(one.get("sealed"))
        item = check(sealed, key=verifying_key(public), topic=edge.topic(Channel.UP))
        if str(item.header.kind.name) != "WINDOW":
            return
        if not one.get("key"):
            out.unread = out.unread or "keys_not_here"
            return
        place = (item.header.stream.hex(), item.header.sequence)
        proved = _proved(out, proofs.get(place), sealed, edge, head_key, name)
        found = _opened(item, from_b64(one["key"]), words, proved=proved)
    except SealError as error:
        out.faults.append((f"frame_{error.code}", name))
    except (EvidenceError, ValueError, TypeError, KeyError) as error:
        out.faults.append(("window_malformed", f"{name} {type(error).__name__}"))
    else:
        out.windows.append(found)


def _proved(out: SealedWindows, answer: Any, sealed: bytes, edge: Address, head_key: bytes, name: str) -> bool:
    """Whether the ledger has it. Where no proof came, that is left open; a proof that does not hold is a fault."""
    said = mapping(answer)
    if said.get("status") == 404:
        out.faults.append(("frame_not_in_ledger", name))
    if said.get("status") != 200:
        return False
    found = check_inclusion(said.get("body"), sealed=sealed, edge=edge, head_key=head_key)
    if found.fault:
        out.faults.append((f"proof_{found.fault}", name))
    return not found.fault


def _opened(item: Item, key: bytes, words: Mapping[bytes, Dictionary], *, proved: bool) -> SealedWindow:
    """Raises SealError, and ValueError for anything that is no window."""
    plaintext = unseal_with(item, key=key)
    try:
        raw = cbor2.loads(plaintext)
    except Exception as error:  # whatever cbor2 raises on hostile bytes means the same
        raise ValueError("not CBOR") from error
    if not isinstance(raw, dict):
        raise ValueError("not a map")
    whole = ("from_ms", "to_ms", "ring_from_ms", "part", "parts")
    if not all(type(raw.get(k)) is int for k in whole) or not isinstance(raw.get("device"), str):
        raise ValueError("not a window")
    spoken = words.get(item.header.dictionary)
    if spoken is None:
        raise ValueError("no dictionary")
    try:
        samples = frame.decode(raw["frame"], spoken).samples
    except (FrameError, AttributeError) as error:
        raise ValueError("not a frame") from error
    rows: dict[str, list[list[Any]]] = {}
    for uid, found in plain.rows_by_device(samples, spoken).items():
        if uid == raw["device"]:
            for tag, t, v, q in found:
                rows.setdefault(tag, []).append([t, v, q])
    return SealedWindow(
        stream=item.header.stream.hex(),
        sequence=item.header.sequence,
        id=bytes(raw["id"]).hex(),
        device=raw["device"],
        span=(raw["from_ms"], raw["to_ms"]),
        ring_from_ms=raw["ring_from_ms"],
        part=raw["part"],
        parts=raw["parts"],
        truncated=raw.get("truncated") is not False,
        rows=rows,
        proved=proved,
    )
