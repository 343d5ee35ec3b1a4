"""Taking the log of a site that acted alone into the journal: whole, once, never executed again.

Its leaves wait in the inbox, each signed by the site. Nothing is written before all that is new of
a log is there and is what the request claims: a fork is refused, never taken in half.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sisamu_ops.failover.fold.known import Merge
from sisamu_ops.failover.fold.merged_log import FORK, MergedLog
from sisamu_ops.failover.fold.state import State
from sisamu_ops.failover.request import LogClaim
from sisamu_ops.journal.canonical import parse_canonical
from sisamu_ops.journal.entry import MAX_LEAF_BYTES, open_entry
from sisamu_ops.journal.glass_log import (
    CLOSED,
    MERGED,
    check_log_entry,
    log_policy,
    log_site,
    started_from,
)
from sisamu_ops.journal.keys import Policy
from sisamu_ops.journal.merkle import leaf_hash
from sisamu_ops.journal.port import InboxItem
from sisamu_ops.journal.reader import ReplicaReader
from sisamu_ops.journal.writer import Writer
from sisamu_ops.model.errors import IntegrityError, RefusedError
from sisamu_ops.model.outcome import Outcome

#: Inbox names of leaves begin with this, then the claimed root, then their index.
LEAF = "leaf."
#: What wrapping a leaf in an entry of the journal adds to it, at most.
WRAPPING_BYTES = 1_024
#: Leaves written in one transaction.
_BATCH_BYTES = 256 * 1024

Leaves = Mapping[str, bytes]


class MergeError(RefusedError):
    """A log that is not taken in, and the rule that says so."""

    def __init__(self, message: str, *, remedy: str, rule: str = "break-glass-log") -> None:
        """Refuse under a rule's name."""
        super().__init__(message, remedy=remedy)
        self.rules = (rule,)


def read_log(reader: ReplicaReader, policy: Policy, *, place: str) -> tuple[LogClaim, list[bytes]]:
    """Read the whole log of a site that acted alone: what it claims to be, and its leaves.

    IntegrityError when it is empty, not a log of this platform, or an entry is not the site's.
    """
    leaves = reader.read(0, reader.size())
    origin = open_entry(leaves[0]).entry.origin if leaves else ""
    if log_site(origin, policy.origin.rpartition("/")[0]) is None:
        raise IntegrityError(
            f"no log of a site that acted alone ({origin or 'no entries'})",
            place=place,
            remedy="name the site's HOME/break-glass/NUMBER, or a copy of it",
        )
    _check(origin, leaves, MergedLog(), policy)
    root = reader.root(len(leaves)).hex()
    return LogClaim(origin=origin, size=len(leaves), root=root), leaves


def leaf_item(root: str, index: int, leaf: bytes) -> InboxItem:
    """Return the inbox item of one leaf; MergeError when it cannot be wrapped in an entry."""
    if len(leaf) + WRAPPING_BYTES > MAX_LEAF_BYTES:
        raise MergeError(
            f"entry {index} has {len(leaf)} bytes: too large to be merged",
            remedy=f"keep the log; at most {MAX_LEAF_BYTES - WRAPPING_BYTES} bytes can be wrapped",
        )
    return InboxItem(name=leaf_name(root, index), payload=leaf)


def leaf_name(root: str, index: int) -> str:
    """Name the inbox item of one leaf of the log with this root."""
    return f"{LEAF}{root[:16]}.{index:06d}"


def new_leaves(
    claim: LogClaim | Merge, merged: MergedLog, waiting: Leaves, policy: Policy
) -> list[bytes]:
    """Return the leaves a claim adds to what is merged, every one verified.

    MergeError for a fork, a leaf that is missing, too large or not the site's; `policy` is the
    journal's.
    """
    wanted = range(merged.size, claim.size)
    missing = [i for i in wanted if leaf_name(claim.root, i) not in waiting]
    if missing:
        raise MergeError(
            f"{len(missing)} entries of {claim.origin} are not in the inbox",
            remedy="ask again: sisamu journal merge DIR",
        )
    leaves = [waiting[leaf_name(claim.root, i)] for i in wanted]
    for index, leaf in zip(wanted, leaves, strict=True):
        leaf_item(claim.root, index, leaf)
    try:
        if merged.root(leaves, claim.size) != claim.root:
            raise MergeError(
                f"{claim.origin} is not the log that was merged, or not the one signed: a fork",
                remedy="keep both copies: sisamu audit verify DIR",
                rule=FORK,
            )
        _check(claim.origin, leaves, merged, policy)
    except IntegrityError as error:
        raise MergeError(
            f"{claim.origin}: {error.message}", remedy="sisamu audit verify DIR"
        ) from error
    return leaves


def _check(origin: str, leaves: Sequence[bytes], merged: MergedLog, policy: Policy) -> None:
    started = merged.started
    if leaves and not merged.size:
        started = started_from(open_entry(leaves[0]).entry.data, policy)
    own = log_policy(policy, origin, at=started)
    if own is None:
        raise IntegrityError("no site of this platform keeps such a log")
    for index, leaf in enumerate(leaves, start=merged.size):
        check_log_entry(leaf, index=index, policy=own)


def is_leaf(item: InboxItem, policy: Policy) -> bool:
    """Say whether an inbox item is a leaf that a site has signed for a log of its own."""
    try:
        entry = open_entry(item.payload).entry
        own = log_policy(policy, entry.origin)
        if own is None:
            return False
        check_log_entry(item.payload, index=entry.index, policy=own)
    except IntegrityError:
        return False
    return True


@dataclass(frozen=True, kw_only=True)
class Merging:
    """Writes the logs asked to be merged, for one tenure."""

    state: State
    writer: Writer
    policy: Policy
    waiting: Callable[[], Leaves]

    def advance(self) -> None:
        """Carry out every merge accepted and not finished; an earlier leader may have begun it."""
        for request_id, merge in list(self.state.merges.items()):
            if request_id not in self.state.finished:
                outcome = self._merge(merge)
                self.writer.write(
                    "request.finished", {"request": request_id, "outcome": outcome.value}
                )

    def is_merged(self, leaf: bytes) -> bool:
        """Say whether a leaf that waits is in the journal already."""
        digest = leaf_hash(leaf)
        return any(digest in log.hashes for log in self.state.merged.values())

    def _merge(self, merge: Merge) -> Outcome:
        log = self.state.merged.get(merge.origin, MergedLog())
        try:
            leaves = new_leaves(merge, log, self.waiting(), self.policy)
        except MergeError:
            return Outcome.FAILED
        for batch in _batches(leaves, log.size):
            entries = [(MERGED, _wrapped(merge.origin, index, leaf)) for index, leaf in batch]
            names = [leaf_name(merge.root, index) for index, _ in batch]
            self.writer.write_all(entries, consume=names)
        log = self.state.merged[merge.origin]
        if log.closed_size < merge.size:
            data: dict[str, Any] = {"origin": merge.origin, "size": merge.size, "root": merge.root}
            self.writer.write(CLOSED, data | {"epoch": log.epoch})
        return Outcome.DONE


def _wrapped(origin: str, index: int, leaf: bytes) -> dict[str, Any]:
    return {"origin": origin, "index": index, "leaf": parse_canonical(leaf)}


def _batches(leaves: Iterable[bytes], start: int) -> Iterator[list[tuple[int, bytes]]]:
    batch: list[tuple[int, bytes]] = []
    for index, leaf in enumerate(leaves, start=start):
        if batch and sum(len(one) for _, one in batch) + len(leaf) > _BATCH_BYTES:
            yield batch
            batch = []
        batch.append((index, leaf))
    if batch:
        yield batch
