"""Merkle proofs after RFC 6962, section 2.1: what makes the ledger append-only to someone who holds only its root.

    leaf hash   SHA-256(0x00 || data)          node hash   SHA-256(0x01 || left || right)

A tree of n leaves is never stored as such: every complete subtree of 2^l leaves is one *node* (level l, index i, over the
leaves i·2^l … (i+1)·2^l - 1) and never changes again. `root`, `inclusion` and `consistency` need only a function that
fetches nodes, and ask it for O(log n) of them. The two `verify_…` functions need nothing but what they are given, return
False for whatever does not fit, and never raise for bytes of any length.

A proof says nothing about the size by itself: the size must come, with the root, from a signed head.
"""

import hashlib
from collections.abc import Callable, Sequence

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()  # RFC 6962, 2.1: the hash of an empty list

Nodes = Callable[[int, int], bytes]


class ProofError(ValueError):
    """A proof was asked for that cannot exist: a leaf beyond the tree, or a tree that shrinks."""


def leaf_hash(data: bytes) -> bytes:
    """Hash of a leaf."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def levels(leaves: Sequence[bytes]) -> list[list[bytes]]:
    """All nodes over some leaf hashes, by level: level 0 is the leaves themselves."""
    out = [list(leaves)]
    while len(out[-1]) > 1:
        below = out[-1]
        out.append([node_hash(below[i], below[i + 1]) for i in range(0, len(below) - 1, 2)])
    return out


def in_memory(leaves: Sequence[bytes]) -> Nodes:
    """Nodes over leaf hashes held in memory."""
    kept = levels(leaves)
    return lambda level, index: kept[level][index]


def root_of(leaves: Sequence[bytes]) -> bytes:
    """Root over leaf hashes."""
    return root(len(leaves), in_memory(leaves))


def root(size: int, nodes: Nodes) -> bytes:
    """Root of the first `size` leaves."""
    return EMPTY_ROOT if size == 0 else _range(0, size, nodes)


def inclusion(leaf: int, size: int, nodes: Nodes) -> list[bytes]:
    """The audit path of a leaf in the tree of the first `size` leaves (2.1.1), from the leaf up. Raises ProofError."""
    if not 0 <= leaf < size:
        raise ProofError(f"leaf {leaf} is not in a tree of {size}")
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if leaf < middle:
            path.append(_range(middle, end, nodes))
            end = middle
        else:
            path.append(_range(start, middle, nodes))
            start = middle
    return path[::-1]


def consistency(old: int, new: int, nodes: Nodes) -> list[bytes]:
    """Proof that the first `old` leaves are the beginning of the first `new` (2.1.2). Empty where old is 0 or equals new.

    Raises ProofError where old exceeds new.
    """
    if not 0 <= old <= new:
        raise ProofError(f"a tree of {new} does not continue one of {old}")
    path: list[bytes] = []
    if old in (0, new):
        return path
    start, end, whole = 0, new, True
    while old < end:
        middle = start + _split(end - start)
        if old <= middle:
            path.append(_range(middle, end, nodes))
            end = middle
        else:
            path.append(_range(start, middle, nodes))
            start, whole = middle, False
    if not whole:
        path.append(_range(start, end, nodes))
    return path[::-1]


def verify_inclusion(leaf_digest: bytes, leaf: int, size: int, path: Sequence[bytes], expected_root: bytes) -> bool:
    """Whether a leaf hash stands at number `leaf` in the tree of `size` leaves with this root (RFC 9162, 2.1.3.2)."""
    if not 0 <= leaf < size or len(leaf_digest) != HASH_BYTES or not _well_formed(path):
        return False
    at, last, digest = leaf, size - 1, leaf_digest
    for sibling in path:
        if last == 0:
            return False
        if at & 1 or at == last:
            digest = node_hash(sibling, digest)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            digest = node_hash(digest, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and digest == expected_root


def verify_consistency(old: int, new: int, old_root: bytes, new_root: bytes, path: Sequence[bytes]) -> bool:
    """Whether the tree of `old` leaves is the beginning of the tree of `new` (RFC 9162, 2.1.4.2)."""
    if not 0 <= old <= new or not _well_formed(path) or len(new_root) != HASH_BYTES:
        return False
    if old == new:
        return not path and old_root == new_root and (old > 0 or old_root == EMPTY_ROOT)
    if old == 0:
        return not path and old_root == EMPTY_ROOT
    steps = list(path)
    if old & (old - 1) == 0:  # a complete subtree: its root is the old root and is left out of the proof
        steps.insert(0, old_root)
    if not steps:
        return False
    at, last = old - 1, new - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    was = now = steps[0]
    for sibling in steps[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            was, now = node_hash(sibling, was), node_hash(sibling, now)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            now = node_hash(now, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and was == old_root and now == new_root


def _well_formed(path: Sequence[bytes]) -> bool:
    return all(len(step) == HASH_BYTES for step in path)


def _split(size: int) -> int:
    """The largest power of two smaller than `size` (2.1)."""
    return 1 << ((size - 1).bit_length() - 1)


def _range(start: int, end: int, nodes: Nodes) -> bytes:
    """Root over the leaves start … end - 1, where `start` is a multiple of the power of two that holds the range."""
    complete: list[bytes] = []
    while start < end:
        level = (end - start).bit_length() - 1
        complete.append(nodes(level, start >> level))
        start += 1 << level
    digest = complete.pop()
    while complete:
        digest = node_hash(complete.pop(), digest)
    return digest
