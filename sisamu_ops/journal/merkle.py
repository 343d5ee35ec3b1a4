"""The Merkle tree over the journal's leaves: roots, inclusion proofs, consistency proofs.

Source: RFC 6962 section 2.1 (hashing, proofs) and RFC 9162 sections 2.1.3.2 and 2.1.4.2
(verification). Leaves and nodes are hashed with different prefixes (0x00, 0x01), so neither can be
passed off as the other. Everything here is pure and works on leaf hashes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256

HASH_BYTES = 32
EMPTY_ROOT = sha256(b"").digest()


def leaf_hash(leaf: bytes) -> bytes:
    """Hash one leaf: SHA-256 of 0x00 and its bytes."""
    return sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash an inner node: SHA-256 of 0x01 and its two children."""
    return sha256(b"\x01" + left + right).digest()


def root_of(hashes: Iterable[bytes]) -> bytes:
    """Give the root of a tree over these leaf hashes; the empty tree has the hash of nothing."""
    return Frontier.over(hashes).root()


class Frontier:
    """The right edge of a growing tree: enough to append and to know the root, in O(log n)."""

    def __init__(self, size: int = 0, peaks: Sequence[bytes] = ()) -> None:
        """Start from a known size and the roots of its complete subtrees, largest first.

        Raises ValueError unless there is one peak for each bit set in the size.
        """
        if size < 0 or len(peaks) != size.bit_count():
            raise ValueError(f"{len(peaks)} peaks do not describe a tree of {size} leaves")
        self._size = size
        self._peaks = list(peaks)

    @classmethod
    def over(cls, hashes: Iterable[bytes]) -> Frontier:
        """Give the frontier of a tree over these leaf hashes."""
        frontier = cls()
        for item in hashes:
            frontier.append(item)
        return frontier

    @property
    def size(self) -> int:
        """Count the leaves appended so far."""
        return self._size

    @property
    def peaks(self) -> tuple[bytes, ...]:
        """Give the roots of the complete subtrees, largest first."""
        return tuple(self._peaks)

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash at the right."""
        height = self._size
        while height & 1:
            leaf = node_hash(self._peaks.pop(), leaf)
            height >>= 1
        self._peaks.append(leaf)
        self._size += 1

    def root(self) -> bytes:
        """Give the root of the tree so far."""
        if not self._peaks:
            return EMPTY_ROOT
        *others, root = self._peaks
        for peak in reversed(others):
            root = node_hash(peak, root)
        return root


def inclusion_proof(hashes: Sequence[bytes], index: int) -> list[bytes]:
    """Make the proof that the leaf at `index` is in the tree over `hashes` (RFC 6962, 2.1.1).

    Raises ValueError when there is no such leaf.
    """
    if not 0 <= index < len(hashes):
        raise ValueError(f"no leaf {index} in a tree of {len(hashes)}")
    if len(hashes) == 1:
        return []
    split = _split(len(hashes))
    if index < split:
        return [*inclusion_proof(hashes[:split], index), root_of(hashes[split:])]
    return [*inclusion_proof(hashes[split:], index - split), root_of(hashes[:split])]


def consistency_proof(hashes: Sequence[bytes], old_size: int) -> list[bytes]:
    """Make the proof that the first `old_size` leaves are a prefix of the tree (RFC 6962, 2.1.2).

    Raises ValueError unless 0 < old_size <= len(hashes).
    """
    if not 0 < old_size <= len(hashes):
        raise ValueError(f"no prefix of {old_size} in a tree of {len(hashes)}")
    return _subproof(hashes, old_size, whole=True)


def check_inclusion(
    *, leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> bool:
    """Say whether the proof shows this leaf hash at `index` of the tree (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    node, last, computed = index, size - 1, leaf
    for step in proof:
        if last == 0:
            return False
        if node & 1 or node == last:
            computed = node_hash(step, computed)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            computed = node_hash(computed, step)
        node, last = node >> 1, last >> 1
    return last == 0 and computed == root


def check_consistency(
    *, old_size: int, old_root: bytes, size: int, root: bytes, proof: Sequence[bytes]
) -> bool:
    """Say whether the proof shows the old tree as a prefix of the new one (RFC 9162, 2.1.4.2)."""
    if not 0 < old_size <= size:
        return False
    if old_size == size:
        return not proof and old_root == root
    steps = [old_root, *proof] if old_size.bit_count() == 1 else list(proof)
    if not steps:
        return False
    node, last = old_size - 1, size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old = new = steps[0]
    for step in steps[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            old, new = node_hash(step, old), node_hash(step, new)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            new = node_hash(new, step)
        node, last = node >> 1, last >> 1
    return last == 0 and old == old_root and new == root


def _subproof(hashes: Sequence[bytes], old_size: int, *, whole: bool) -> list[bytes]:
    if old_size == len(hashes):
        return [] if whole else [root_of(hashes)]
    split = _split(len(hashes))
    if old_size <= split:
        left = _subproof(hashes[:split], old_size, whole=whole)
        return [*left, root_of(hashes[split:])]
    right = _subproof(hashes[split:], old_size - split, whole=False)
    return [*right, root_of(hashes[:split])]


def _split(size: int) -> int:
    """Give the largest power of two below `size`."""
    return 1 << (size - 1).bit_length() - 1
