"""Opening a shard: what is committed, and index and levels made to say so. The rules stand in the package's docstring."""

import os
from dataclasses import dataclass
from pathlib import Path

from ingest.ledger import LedgerCorrupt, layout, records, tree
from ingest.ledger.layout import INDEX
from telemetry.proof import leaf_hash, node_hash


@dataclass(frozen=True, slots=True)
class Recovered:
    """`leaves` committed; the last `segment` and its good `length`; `cut` bytes of a torn tail taken off."""

    leaves: int
    segment: int
    length: int
    cut: int


def recover(folder: Path) -> Recovered:
    """Bring a shard's folder into order. Raises LedgerCorrupt; then nothing but index and levels has been touched."""
    numbers = sorted(n for n in map(layout.segment_number, os.listdir(folder)) if n is not None)
    if numbers != list(range(len(numbers))):
        missing = next(i for i, n in enumerate(numbers) if i != n)
        raise LedgerCorrupt(f"{folder / layout.segment_file(missing)} is missing")
    index_path = folder / layout.INDEX_FILE
    first_segment, first_leaf = 0, 0
    if len(numbers) > 1:
        before = leaves_before(folder, numbers[-1])
        if before is not None and tree.covers(folder, before) and _sound(folder, numbers[-1], before):
            first_segment, first_leaf = numbers[-1], before
    index = _read_from(index_path, INDEX.size * first_leaf)
    leaves, length, cut = first_leaf, 0, 0
    writer = tree.TreeWriter(folder, first_leaf)
    file = os.open(index_path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        for segment in numbers[first_segment:]:
            path = folder / layout.segment_file(segment)
            data = path.read_bytes()
            offsets, entries = _entries(data)
            length = offsets[-1] + records.HEADER.size + len(entries[-1]) if entries else 0
            named = _named(index[INDEX.size * (leaves - first_leaf) :], segment, offsets)
            if length < len(data) or named > len(entries):
                _check_torn(path, data, length, segment == numbers[-1], named - len(entries), leaves + len(entries))
                cut = len(data) - length
            lines = [INDEX.pack(segment, offset, len(entry)) for offset, entry in zip(offsets, entries, strict=True)]
            writer.append([leaf_hash(entry) for entry in entries])
            tree.write_at(file, b"".join(lines), INDEX.size * leaves)
            leaves += len(entries)
        if cut:
            _truncate(folder / layout.segment_file(numbers[-1]), length)
        os.ftruncate(file, INDEX.size * leaves)
        writer.trim()
        writer.sync()
        os.fsync(file)
    finally:
        os.close(file)
        writer.close()
    return Recovered(leaves, numbers[-1] if numbers else 0, length, cut)


def leaves_before(folder: Path, segment: int) -> int | None:
    """How many leaves lie before a segment, by the index; None if the index does not say so beyond doubt."""
    path = folder / layout.INDEX_FILE
    if not path.exists():
        return None
    with path.open("rb") as file:

        def entry(leaf: int) -> tuple[int, int, int]:
            file.seek(INDEX.size * leaf)
            return INDEX.unpack(file.read(INDEX.size))

        low, high = 0, path.stat().st_size // INDEX.size
        while low < high:
            middle = (low + high) // 2
            if entry(middle)[0] < segment:
                low = middle + 1
            else:
                high = middle
        if low == 0:
            return None
        number, offset, length = entry(low - 1)
    size = (folder / layout.segment_file(segment - 1)).stat().st_size
    return low if number == segment - 1 and offset + records.HEADER.size + length == size else None


def _sound(folder: Path, segment: int, leaves: int) -> bool:
    """Whether the nodes on which all later ones build are what their children, or the last entry, say that they are."""
    node = tree.nodes(lambda name, start, end: _read_part(folder / name, start, end))
    last = INDEX.unpack(_read_part(folder / layout.INDEX_FILE, INDEX.size * (leaves - 1), INDEX.size * leaves))
    end = last[1] + records.HEADER.size + last[2]
    entry = records.at(_read_part(folder / layout.segment_file(segment - 1), last[1], end), 0)
    if entry is None or node(0, leaves - 1) != leaf_hash(entry):
        return False
    for level in range(1, leaves.bit_length()):
        if leaves >> level & 1:
            index = (leaves >> level) - 1
            if node(level, index) != node_hash(node(level - 1, 2 * index), node(level - 1, 2 * index + 1)):
                return False
    return True


def _entries(data: bytes) -> tuple[list[int], list[bytes]]:
    pairs = list(records.scan(data))
    return [offset for offset, _ in pairs], [entry for _, entry in pairs]


def _named(index: bytes, segment: int, offsets: list[int]) -> int:
    """How many entries of a segment the index names. Lines that do not continue one another (a page that never reached
    the disk) name nothing."""
    count, expected = 0, 0
    whole = len(index) // INDEX.size * INDEX.size
    for number, offset, length in INDEX.iter_unpack(index[:whole]):
        if number != segment or offset != expected or not length:
            break
        if count < len(offsets) and offsets[count] != offset:
            break
        count += 1
        expected = offset + records.HEADER.size + length
    return count


def _check_torn(path: Path, data: bytes, bad: int, last: bool, named: int, leaf: int) -> None:
    """Raises LedgerCorrupt unless what follows `bad` can only be a batch that was never committed."""
    place = f"{path} at offset {bad} (leaf {leaf})"
    if named > 0:
        raise LedgerCorrupt(f"{place}: the index names {named} more committed entries")
    if not last:
        raise LedgerCorrupt(f"{place}: not a good record, and later segments follow")
    following = records.good_after(data, bad)
    if following is not None:
        raise LedgerCorrupt(f"{place}: not a good record, but a good one follows at {following}")


def _truncate(path: Path, length: int) -> None:
    with path.open("r+b") as file:
        file.truncate(length)
        os.fsync(file.fileno())


def _read_from(path: Path, start: int) -> bytes:
    return _read_part(path, start, path.stat().st_size) if path.exists() else b""


def _read_part(path: Path, start: int, end: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return file.read(max(0, end - start))
