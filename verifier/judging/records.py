"""The signed record of an edge for some windows of time, read by the verifier itself.

Out of what the cloud handed over (sealed items, the keys of these items alone, dictionaries, proofs) come the raw rows as
the edge signed them. Nothing is taken from the cloud's own words but the keys, and a key either opens what was signed or
does not. Completeness comes from the numbers of each stream and from each item naming the hash of the one before.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from telemetry import dictionary, frame, plain
from telemetry.dictionary import Dictionary, DictionaryError
from telemetry.entry import EntryError
from telemetry.entry import decode as decode_entry
from telemetry.frame import FrameError
from telemetry.items import ItemError, decode_losses
from telemetry.keys import verifying_key
from telemetry.seal import Item, ItemKind, SealError, check, unseal_with
from telemetry.streams import FIRST_PREVIOUS
from telemetry.topics import Address, Channel
from verifier.evidence import EvidenceError, from_b64
from verifier.judging.case import dicts, mapping
from verifier.judging.proofs import check_inclusion

Place = tuple[str, int]
Span = tuple[int, int]
Signed = tuple[Any, int]  # value and quality
MAX_ITEMS = 4000


@dataclass(frozen=True, slots=True)
class Kept:
    """One item of the record. `rows` by machine and tag, [t, v, q]; `arrival_ms` is the ledger's where `proved`, else what
    the cloud says."""

    item: Item
    arrival_ms: int | None
    rows: Mapping[str, Mapping[str, list[list[Any]]]]
    proved: bool = False

    @property
    def place(self) -> Place:
        return self.item.header.stream.hex(), self.item.header.sequence


@dataclass
class Record:
    """`faults` are (reason, what) in the order found; `losses` (stream, low, high, first_ms, last_ms) as the edge signed
    them; `proofs` how many items have a proof that holds, `asked` for how many one was asked; `neighbours` items that the
    ledger showed beside these, still closed."""

    items: dict[Place, Kept] = field(default_factory=dict[Place, Kept])
    faults: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    losses: list[tuple[str, int, int, int, int]] = field(default_factory=list[tuple[str, int, int, int, int]])
    proofs: int = 0
    asked: int = 0
    neighbours: dict[Place, Item] = field(default_factory=dict[Place, Item])

    def fault(self, reason: str, what: str) -> None:
        self.faults.append((reason, what))

    def rows_of(self, uid: str, span: Span) -> dict[str, dict[int, list[Signed]]]:
        """What was signed of a machine in a window: by tag and time, every (value, quality)."""
        out: dict[str, dict[int, list[Signed]]] = {}
        for kept in self.items.values():
            for tag, rows in kept.rows.get(uid, {}).items():
                for t, v, q in rows:
                    if span[0] <= t < span[1]:
                        out.setdefault(tag, {}).setdefault(t, []).append((v, q))
        return out


def read_record(raw: Mapping[str, Any], *, edge: Address, public: bytes, head_key: bytes) -> Record:
    """The record of an edge out of an observation {"windows", "frames": {window: [answer, …]}, "losses": [answer, …],
    "proofs": [{stream, sequence, answer}, …]}."""
    record = Record()
    answers = [answer for pages in mapping(raw.get("frames")).values() for answer in pages]
    answers += list(raw.get("losses") or [])
    words = _dictionaries(answers, edge)
    for answer in answers:
        for one in dicts(mapping(answer.get("body")).get("items")):
            if len(record.items) >= MAX_ITEMS:
                break
            _take(record, one, words, edge, public)
    neighbours = _prove(record, raw, edge, public, head_key)
    record.neighbours = {place: item for place, item in neighbours.items() if item is not None}
    _complete(record, neighbours, [(int(a), int(b)) for a, b in raw.get("windows") or []])
    return record


def _dictionaries(answers: Iterable[Mapping[str, Any]], edge: Address) -> dict[bytes, Dictionary]:
    """Dictionaries by their own hash, whatever the cloud calls them."""
    out: dict[bytes, Dictionary] = {}
    for answer in answers:
        for data in list(mapping(mapping(answer.get("body")).get("dictionaries")).values())[:64]:
            try:
                plaintext = from_b64(data)
                key = dictionary.digest(plaintext)
                if key not in out:
                    found = dictionary.decode(plaintext)
                    if (found.enterprise, found.edge) == (edge.enterprise, edge.edge):
                        out[key] = found
            except (EvidenceError, DictionaryError):
                continue
    return out


def _take(
    record: Record, one: Mapping[str, Any], words: Mapping[bytes, Dictionary], edge: Address, public: bytes
) -> None:
    name = f"{str(one.get('stream'))[:8]}/{str(one.get('sequence'))[:12]}"
    try:
        item = check(from_b64(one.get("sealed")), key=verifying_key(public), topic=edge.topic(Channel.UP))
    except EvidenceError:
        return record.fault("frame_malformed", name)
    except SealError as error:
        return record.fault(f"frame_{error.code}", name)
    header = item.header
    place = (header.stream.hex(), header.sequence)
    held = record.items.get(place)
    if held is not None:
        return None if held.item.hash == item.hash else record.fault("frame_forked", name)
    arrival = one.get("arrival_ms")
    rows: dict[str, dict[str, list[list[Any]]]] = {}
    if header.kind in (ItemKind.DATA, ItemKind.LOSS):
        fault = _open(record, item, one.get("key"), words, rows)
        if fault:
            record.fault(fault, f"{place[0][:8]}/{place[1]}")
    record.items[place] = Kept(item, arrival if type(arrival) is int else None, rows)
    return None


def _open(
    record: Record,
    item: Item,
    key: Any,
    words: Mapping[bytes, Dictionary],
    rows: dict[str, dict[str, list[list[Any]]]],
) -> str:
    """Fill in what an item says; why that could not be, "" where it could."""
    if not key:
        return "frame_without_key"
    try:
        plaintext = unseal_with(item, key=from_b64(key))
        if item.header.kind is ItemKind.LOSS:
            record.losses += [(one.stream.hex(), *one[1:]) for one in decode_losses(plaintext)]
            return ""
        spoken = words.get(item.header.dictionary)
        if spoken is None:
            return "frame_without_dictionary"
        samples = frame.decode(plaintext, spoken).samples
    except SealError as error:
        return f"frame_{error.code}"
    except (EvidenceError, ItemError):
        return "frame_malformed"
    except FrameError:
        return "frame_undecodable"
    for uid, found in plain.rows_by_device(samples, spoken).items():
        for tag, t, v, q in found:
            rows.setdefault(uid, {}).setdefault(tag, []).append([t, v, q])
    return ""


def _prove(
    record: Record, raw: Mapping[str, Any], edge: Address, public: bytes, head_key: bytes
) -> dict[Place, Item | None]:
    """Check the proofs. Items that were asked for only as neighbours come back, None where the ledger has none such."""
    neighbours: dict[Place, Item | None] = {}
    for one in raw.get("proofs") or []:
        place = (str(one["stream"]), int(one["sequence"]))
        answer = one["answer"]
        kept = record.items.get(place)
        name = f"{place[0][:8]}/{place[1]}"
        record.asked += kept is not None
        if answer["status"] != 200:
            if answer["status"] != 404:
                record.fault("proof_unanswered", name)
            elif kept is None:
                neighbours[place] = None
            else:
                record.fault("frame_not_in_ledger", name)
            continue
        try:
            entry = decode_entry(from_b64(mapping(answer.get("body")).get("entry")))
            item = check(entry.sealed, key=verifying_key(public), topic=edge.topic(Channel.UP))
        except (EvidenceError, EntryError):
            record.fault("proof_malformed", name)
            continue
        except SealError as error:
            record.fault(f"frame_{error.code}", name)
            continue
        if (item.header.stream.hex(), item.header.sequence) != place:
            record.fault("proof_not_this_frame", name)
            continue
        found = check_inclusion(answer["body"], sealed=entry.sealed, edge=edge, head_key=head_key)
        fault = found.fault or ("" if kept is None or item.hash == kept.item.hash else "not_this_frame")
        if fault:
            record.fault(f"proof_{fault}", name)
            continue
        if kept is None:
            neighbours[place] = item
            continue
        if kept.arrival_ms != found.arrival_ms:
            record.fault("arrival_differs", name)
        record.proofs += 1
        record.items[place] = Kept(kept.item, found.arrival_ms, kept.rows, proved=True)
    return neighbours


def _complete(record: Record, neighbours: Mapping[Place, Item | None], windows: Sequence[Span]) -> None:
    """No number may be missing between the items of a stream, each names the one before, and none that touches a window
    was kept back."""
    lost = {(stream, n) for stream, low, high, _, _ in record.losses for n in range(low, min(high, low + 100_000) + 1)}
    known: dict[Place, Item] = {place: kept.item for place, kept in record.items.items()}
    known |= {place: item for place, item in neighbours.items() if item is not None}
    highest: dict[str, int] = {}
    for stream, number in known:
        highest[stream] = max(number, highest.get(stream, 0))
    for place, item in neighbours.items():
        if item is None:
            if place not in lost and place[1] < highest.get(place[0], 0):  # beyond the end of a stream there is nothing
                record.fault("frame_missing", f"{place[0][:8]}/{place[1]}")
            continue
        if item.header.kind is ItemKind.DATA and any(_touches(item.header.span, w) for w in windows):
            record.fault("frame_kept_back", f"{place[0][:8]}/{place[1]}")
    for (stream, number), item in known.items():
        before = known.get((stream, number - 1))
        if before is not None and item.header.previous != before.hash:
            record.fault("chain_broken", f"{stream[:8]}/{number}")
        if number == 0 and item.header.previous != FIRST_PREVIOUS:
            record.fault("chain_broken", f"{stream[:8]}/{number}")


def _touches(span: Span, window: Span) -> bool:
    return span[0] < window[1] and span[1] >= window[0]


RUN = 16  # numbers between two items that still belong to one run: further apart lie two windows


def gaps_in(places: Iterable[Place]) -> list[Place]:
    """Numbers that are not among some places though close ones before and after them are."""
    by_stream: dict[str, list[int]] = {}
    for stream, number in places:
        by_stream.setdefault(stream, []).append(number)
    out: list[Place] = []
    for stream, numbers in by_stream.items():
        numbers.sort()
        for a, b in itertools.pairwise(numbers):
            if 1 < b - a <= RUN:
                out += [(stream, n) for n in range(a + 1, b)]
    return out


def edges_of_runs(places: Iterable[Place], beyond: int = 2) -> list[Place]:
    """The numbers just before and after each run of neighbouring items."""
    held = set(places)
    out: dict[Place, None] = {}
    for stream, number in sorted(held):
        if (stream, number - 1) not in held:
            out |= {(stream, number - k): None for k in range(1, beyond + 1) if number - k >= 0}
        if (stream, number + 1) not in held:
            out |= {(stream, number + k): None for k in range(1, beyond + 1)}
    return [p for p in out if p not in held]
