"""Merkle proofs against the recursive definitions of RFC 6962, 2.1, written down as they stand there."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry import proof


def mth(data: list[bytes]) -> bytes:
    if not data:
        return sha256(b"").digest()
    if len(data) == 1:
        return sha256(b"\x00" + data[0]).digest()
    k = split(len(data))
    return sha256(b"\x01" + mth(data[:k]) + mth(data[k:])).digest()


def path(m: int, data: list[bytes]) -> list[bytes]:
    if len(data) == 1:
        return []
    k = split(len(data))
    return [*path(m, data[:k]), mth(data[k:])] if m < k else [*path(m - k, data[k:]), mth(data[:k])]


def subproof(m: int, data: list[bytes], whole: bool) -> list[bytes]:
    if m == len(data):
        return [] if whole else [mth(data)]
    k = split(len(data))
    if m <= k:
        return [*subproof(m, data[:k], whole), mth(data[k:])]
    return [*subproof(m - k, data[k:], False), mth(data[:k])]


def split(n: int) -> int:
    k = 1
    while 2 * k < n:
        k *= 2
    return k


def data_of(n: int) -> list[bytes]:
    return [i.to_bytes(4, "big") * (i % 3 + 1) for i in range(n)]


def nodes_of(n: int) -> proof.Nodes:
    return proof.in_memory([proof.leaf_hash(d) for d in data_of(n)])


SIZES = st.integers(1, 200)


@pytest.mark.parametrize("n", range(70))
def test_roots_and_paths_follow_the_definitions(n: int):
    data, nodes = data_of(n), nodes_of(n)
    assert proof.root(n, nodes) == mth(data) == proof.root_of([proof.leaf_hash(d) for d in data])
    for m in range(n):
        steps = proof.inclusion(m, n, nodes)
        assert steps == path(m, data)
        assert proof.verify_inclusion(proof.leaf_hash(data[m]), m, n, steps, mth(data))
    for m in range(n + 1):
        steps = proof.consistency(m, n, nodes)
        assert steps == (subproof(m, data, True) if m else [])
        assert proof.verify_consistency(m, n, mth(data[:m]), mth(data), steps)


@given(n=SIZES, extra=st.integers(0, 100))
def test_an_earlier_root_is_found_again_in_a_larger_tree(n: int, extra: int):
    assert proof.root(n, nodes_of(n + extra)) == mth(data_of(n))


@given(n=SIZES, choice=st.data())
def test_any_flipped_bit_breaks_inclusion(n: int, choice: st.DataObject):
    m = choice.draw(st.integers(0, n - 1))
    nodes = nodes_of(n)
    parts = [proof.leaf_hash(data_of(n)[m]), proof.root(n, nodes), *proof.inclusion(m, n, nodes)]
    broken = choice.draw(st.integers(0, len(parts) - 1))
    bit = choice.draw(st.integers(0, 255))
    parts[broken] = flip(parts[broken], bit)
    assert not proof.verify_inclusion(parts[0], m, n, parts[2:], parts[1])


@given(n=SIZES, choice=st.data())
def test_no_other_place_is_proved(n: int, choice: st.DataObject):
    m = choice.draw(st.integers(0, n - 1))
    other = choice.draw(st.integers(-1, n + 1).filter(lambda x: x != m))
    nodes = nodes_of(n)
    steps = proof.inclusion(m, n, nodes)
    leaf, root = proof.leaf_hash(data_of(n)[m]), proof.root(n, nodes)
    assert not proof.verify_inclusion(leaf, other, n, steps, root)
    assert not proof.verify_inclusion(leaf, m, n, [*steps, leaf], root)
    if steps:
        assert not proof.verify_inclusion(leaf, m, n, steps[:-1], root)


@given(n=st.integers(2, 200), choice=st.data())
def test_any_flipped_bit_breaks_consistency(n: int, choice: st.DataObject):
    m = choice.draw(st.integers(1, n - 1))
    nodes = nodes_of(n)
    parts = [proof.root(m, nodes), proof.root(n, nodes), *proof.consistency(m, n, nodes)]
    broken = choice.draw(st.integers(0, len(parts) - 1))
    parts[broken] = flip(parts[broken], choice.draw(st.integers(0, 255)))
    assert not proof.verify_consistency(m, n, parts[0], parts[1], parts[2:])


@given(n=st.integers(2, 100), choice=st.data())
def test_a_rewritten_past_is_not_consistent(n: int, choice: st.DataObject):
    m = choice.draw(st.integers(1, n - 1))
    changed = choice.draw(st.integers(0, m - 1))
    leaves = [proof.leaf_hash(d) for d in data_of(n)]
    old = proof.root(m, proof.in_memory(leaves))
    leaves[changed] = flip(leaves[changed], 0)
    nodes = proof.in_memory(leaves)
    assert not proof.verify_consistency(m, n, old, proof.root(n, nodes), proof.consistency(m, n, nodes))


@given(st.integers(-3, 20), st.integers(-3, 20), st.binary(max_size=40), st.lists(st.binary(max_size=40), max_size=6))
def test_nonsense_is_refused_without_an_error(a: int, b: int, digest: bytes, steps: list[bytes]):
    assert not proof.verify_inclusion(digest, a, b, steps, b"\x00" * 32)
    assert not proof.verify_consistency(a, b, digest, b"\x00" * 31, steps)


def test_proofs_that_cannot_exist_are_refused():
    nodes = nodes_of(5)
    for leaf, size in ((5, 5), (-1, 5), (0, 0)):
        with pytest.raises(proof.ProofError):
            proof.inclusion(leaf, size, nodes)
    for old, new in ((6, 5), (-1, 5)):
        with pytest.raises(proof.ProofError):
            proof.consistency(old, new, nodes)


@given(n=st.integers(1, 1 << 20), leaf=st.floats(0, 0.999))
def test_a_proof_asks_for_few_nodes(n: int, leaf: float):
    asked: list[tuple[int, int]] = []

    def nodes(level: int, index: int) -> bytes:
        asked.append((level, index))
        assert (index + 1) << level <= n
        return bytes(32)

    proof.root(n, nodes)
    proof.inclusion(int(leaf * n), n, nodes)
    proof.consistency(max(1, int(leaf * n)), n, nodes)
    assert len(asked) <= 6 * 21


def flip(data: bytes, bit: int) -> bytes:
    raw = bytearray(data)
    raw[bit // 8] ^= 1 << bit % 8
    return bytes(raw)
