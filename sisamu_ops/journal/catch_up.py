"""Catching up from a peer: what was trimmed is taken from another site's replica.

Nothing of the peer is trusted. A majority must have cosigned its checkpoint; its hashes must give
that checkpoint's root and, for the entries already here, ours; each entry must have its hash, and
the signature of its site. Only then it is kept.
"""

from __future__ import annotations

from sisamu_ops.journal.checkpoint import Checkpoint, agreed, parse_checkpoint
from sisamu_ops.journal.keys import Policy
from sisamu_ops.journal.merkle import leaf_hash, root_of
from sisamu_ops.journal.reader import ReplicaReader
from sisamu_ops.journal.replica import Replica
from sisamu_ops.journal.replicate import BATCH, read_entry
from sisamu_ops.journal.tiles import WIDTH, Tile
from sisamu_ops.model.errors import IntegrityError


def catch_up(replica: Replica, peer: ReplicaReader, policy: Policy, *, beyond: bool = False) -> int:
    """Take the entries up to the peer's agreed checkpoint; return how many there were.

    With `beyond`, then those after it too: for a service rebuilt from nothing, where what was
    acknowledged and not yet agreed is nowhere else. IntegrityError when the peer's copy does not
    hold: a batch that does not is not kept.
    """
    before = replica.size
    if not beyond or peer.checkpoint() is not None:
        _take_agreed(replica, peer, policy)
    if beyond:
        _take(replica, peer, policy, peer.size(), hashes=None)
    return replica.size - before


def _take_agreed(replica: Replica, peer: ReplicaReader, policy: Policy) -> None:
    checkpoint = _agreed(peer, policy)
    size, before = checkpoint.head.size, replica.size
    if size <= before:
        return
    hashes = _hashes(peer, size)
    if root_of(hashes) != checkpoint.head.root or root_of(hashes[:before]) != replica.root():
        raise IntegrityError("the peer's hashes are not those that were agreed, or not ours")
    _take(replica, peer, policy, size, hashes=hashes)
    replica.write_checkpoint(checkpoint.note)


def _take(
    replica: Replica, peer: ReplicaReader, policy: Policy, size: int, hashes: list[bytes] | None
) -> None:
    for start in range(replica.size, size, BATCH):
        leaves = peer.read(start, min(size, start + BATCH))
        for index, leaf in enumerate(leaves, start=start):
            if hashes is not None and leaf_hash(leaf) != hashes[index]:
                raise IntegrityError(f"the peer's entry {index} is not the one that was agreed")
            read_entry(leaf, index=index, policy=policy)
        replica.append(leaves)


def _agreed(peer: ReplicaReader, policy: Policy) -> Checkpoint:
    note = peer.checkpoint()
    if note is None:
        raise IntegrityError("the peer has no checkpoint")
    checkpoint = parse_checkpoint(note)
    if checkpoint.head.origin != policy.origin or not agreed(checkpoint, policy):
        raise IntegrityError("the peer's checkpoint is not agreed on by a majority")
    return checkpoint


def _hashes(peer: ReplicaReader, size: int) -> list[bytes]:
    """Give the peer's leaf hashes, tile by tile: 32 bytes an entry."""
    widths = [min(WIDTH, size - start) for start in range(0, size, WIDTH)]
    return [
        one
        for index, width in enumerate(widths)
        for one in peer.hashes(Tile(level=0, index=index, width=width))
    ]
