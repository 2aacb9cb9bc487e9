"""The log against a naive tree: roots, paths and consistency proofs for every size up to 70."""

import hashlib

import pytest

from yilian.base.codec import Malformed
from yilian.base.merkle import EMPTY_ROOT, inclusion_path, is_consistent, is_included, leaf_hash, root
from yilian.ledger.log import Frontier, consistency, frontier_of, inclusion, root_at

LEAVES = [leaf_hash(number.to_bytes(2, "big")) for number in range(70)]


class Nodes:
    def __init__(self):
        self.kept = {}

    def add(self, nodes):
        for level, index, value in nodes:
            assert (level, index) not in self.kept  # a full node comes to be once
            self.kept[level, index] = value

    def node(self, level, index):
        return self.kept[level, index]


def naive_root(leaves):
    """RFC 9162 section 2.1.1, word for word: the split is the largest power of two below n."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + naive_root(leaves[:k]) + naive_root(leaves[k:])).digest()


@pytest.fixture(scope="module")
def grown():
    nodes, frontier, frontiers = Nodes(), Frontier(), [Frontier()]
    for leaf in LEAVES:
        frontier, new = frontier.grown([leaf])
        nodes.add(new)
        frontiers.append(frontier)
    return nodes, frontiers


def test_every_root_is_the_naive_root_however_it_is_made(grown):
    nodes, frontiers = grown
    for size in range(len(LEAVES) + 1):
        expected = naive_root(LEAVES[:size])
        assert (root(LEAVES[:size]), frontiers[size].root(), root_at(nodes, size)) == (expected, expected, expected)


def test_growing_by_one_or_by_many_is_the_same(grown):
    _, frontiers = grown
    for start in (0, 1, 7, 8, 33):
        assert frontiers[start].grown(LEAVES[start:])[0] == frontiers[-1]


def test_every_leaf_is_proven_in_every_tree_and_nowhere_else(grown):
    nodes, _ = grown
    for size in range(1, len(LEAVES) + 1):
        expected = naive_root(LEAVES[:size])
        for index in range(size):
            path = inclusion(nodes, index, size)
            assert path == inclusion_path(LEAVES[:size], index)
            assert is_included(LEAVES[index], index, size, path, expected)
            assert not is_included(LEAVES[index], index ^ 1, size, path, expected) or size == 1
            assert not is_included(leaf_hash(b"other"), index, size, path, expected)
            assert not is_included(LEAVES[index], index, size, [*path, bytes(32)], expected)
            assert not path or not is_included(LEAVES[index], index, size, path[:-1], expected)


def test_every_older_log_is_proven_to_be_the_beginning_of_every_newer(grown):
    nodes, _ = grown
    for new in range(1, len(LEAVES) + 1):
        for old in range(new + 1):
            path = consistency(nodes, old, new)
            old_root, new_root = naive_root(LEAVES[:old]), naive_root(LEAVES[:new])
            assert is_consistent(old, old_root, new, new_root, path)
            assert not is_consistent(old, leaf_hash(b"forged"), new, new_root, path)
            assert not is_consistent(old, old_root, new, leaf_hash(b"forged"), path) or old == 0
            assert not is_consistent(old, old_root, new, new_root, [*path, bytes(32)])
            if path:
                assert not is_consistent(old, old_root, new, new_root, path[:-1])
                assert not is_consistent(old, old_root, new, new_root, [bytes(32), *path[1:]])


def test_a_frontier_has_a_peak_for_each_bit_of_its_size():
    with pytest.raises(Malformed):
        Frontier(3, (bytes(32),))
    for peaks in ((), (bytes(32),)):  # Python counts one bit in -1
        with pytest.raises(Malformed):
            Frontier(-1, peaks)
    assert Frontier().root() == EMPTY_ROOT


@pytest.mark.parametrize("peak", [bytes(31), bytes(33), "p" * 32, 32, None])
def test_a_peak_is_a_digest_and_nothing_else(peak):
    assert frontier_of(1, [bytes(32)]) == Frontier(1, (bytes(32),))
    with pytest.raises(Malformed, match="NOT_A_FRONTIER"):
        frontier_of(1, [peak])


@pytest.mark.parametrize(("index", "size"), [(-1, 3), (3, 3), (0, 0)])
def test_no_path_for_a_leaf_that_is_not_there(grown, index, size):
    with pytest.raises(ValueError, match="no such leaf"):
        inclusion(grown[0], index, size)


@pytest.mark.parametrize(("old", "new"), [(-1, 3), (4, 3)])
def test_no_proof_that_a_log_shrank(grown, old, new):
    with pytest.raises(ValueError, match="does not shrink"):
        consistency(grown[0], old, new)
    assert not is_consistent(old, EMPTY_ROOT, new, EMPTY_ROOT, [])
