"""The Merkle tree against published vectors and against brute force."""

from __future__ import annotations

import pytest

from sisamu_ops.journal.merkle import (
    EMPTY_ROOT,
    Frontier,
    check_consistency,
    check_inclusion,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root_of,
)

# The leaves and roots every RFC 6962 implementation is tried on.
LEAVES = [
    bytes.fromhex(text)
    for text in (
        "", "00", "10", "2021", "3031", "40414243", "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]  # fmt: skip
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
SIZES = range(1, 41)
HASHES = [leaf_hash(bytes([number])) for number in range(41)]


def brute_force_root(hashes: list[bytes]) -> bytes:
    """RFC 6962 section 2.1, word for word."""
    if len(hashes) < 2:
        return hashes[0] if hashes else EMPTY_ROOT
    split = 1
    while split * 2 < len(hashes):
        split *= 2
    return node_hash(brute_force_root(hashes[:split]), brute_force_root(hashes[split:]))


def test_published_roots() -> None:
    """The roots of the known test tree come out at every size, and of the empty tree."""
    hashes = [leaf_hash(leaf) for leaf in LEAVES]
    assert [root_of(hashes[:size]).hex() for size in range(1, 9)] == ROOTS
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert root_of([]).hex() == Frontier().root().hex() == empty


@pytest.mark.parametrize("size", SIZES)
def test_the_frontier_agrees_with_the_definition(size: int) -> None:
    """Growing the tree leaf by leaf, from any point on, gives the root of the definition."""
    hashes = HASHES[:size]
    assert root_of(hashes) == brute_force_root(hashes)
    half = Frontier.over(hashes[: size // 2])
    resumed = Frontier(half.size, half.peaks)
    for leaf in hashes[size // 2 :]:
        resumed.append(leaf)
    assert (resumed.size, resumed.root()) == (size, brute_force_root(hashes))


@pytest.mark.parametrize("size", SIZES)
def test_inclusion_proofs_hold_for_their_leaf_only(size: int) -> None:
    """Each proof shows its leaf at its index of its tree, and nothing else."""
    hashes, root = HASHES[:size], brute_force_root(HASHES[:size])
    for index in range(size):
        proof = inclusion_proof(hashes, index)
        fact = {"leaf": hashes[index], "index": index, "size": size, "proof": proof, "root": root}
        assert check_inclusion(**fact)
        for lie in (
            {"leaf": HASHES[40]}, {"root": HASHES[40]}, {"proof": [*proof, root]}, {"index": size},
            {"index": -1}, {"size": 2 * size}, *({"proof": proof[:-1]} for _ in proof[:1]),
            *({"index": other} for other in range(size) if other != index),
        ):  # fmt: skip
            assert not check_inclusion(**(fact | lie))


@pytest.mark.parametrize("size", SIZES)
def test_consistency_proofs_hold_for_their_prefix_only(size: int) -> None:
    """Each proof shows its prefix to be one, and no other root, old or new."""
    hashes, root = HASHES[:size], brute_force_root(HASHES[:size])
    for old_size in range(1, size + 1):
        old_root = brute_force_root(hashes[:old_size])
        proof = consistency_proof(hashes, old_size)
        fact = {
            "old_size": old_size, "old_root": old_root, "size": size, "root": root, "proof": proof
        }  # fmt: skip
        assert check_consistency(**fact)
        for lie in (
            {"old_root": HASHES[40]}, {"root": HASHES[40]}, {"proof": [*proof, root]},
            {"old_size": 0}, {"old_size": size + 1}, {"size": 2 * size},
            *({"proof": proof[:-1]} for _ in proof[:1]),
        ):  # fmt: skip
            assert not check_consistency(**(fact | lie))


def test_what_cannot_be_proved_is_a_callers_mistake() -> None:
    """No proof is made for a leaf or a prefix that is not there."""
    for index in (-1, 3):
        with pytest.raises(ValueError):
            inclusion_proof(HASHES[:3], index)
    for old_size in (0, 4):
        with pytest.raises(ValueError):
            consistency_proof(HASHES[:3], old_size)
    with pytest.raises(ValueError):
        Frontier(3, [HASHES[0]])
