"""A site's copy of the journal: verify, keep, sign as the log, cosign what it computed itself.

The leader's site signs checkpoints with its log key; every site, the arbiter too, cosigns the
root it computed from its own disk, after fsync. What a majority cosigned is agreed, and each
replica keeps the newest agreed checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from sisamu_ops.journal.checkpoint import (
    Checkpoint,
    TreeHead,
    agreed,
    cosign_head,
    parse_checkpoint,
    sign_head,
    weigh,
)
from sisamu_ops.journal.entry import Entry, check_entry, open_entry
from sisamu_ops.journal.keys import Policy, SiteKeys
from sisamu_ops.journal.port import JournalReader
from sisamu_ops.journal.replica import Replica, set_aside
from sisamu_ops.journal.tiles import WIDTH
from sisamu_ops.model.condition import Problem, ProblemError, ProblemKind
from sisamu_ops.model.errors import IntegrityError

#: How many entries are taken from the coordination service at once.
BATCH = 512


class Noticeboard(Protocol):
    """Where sites show each other checkpoints and cosignatures."""

    def publish(self, name: str, note: bytes) -> None:
        """Show a note under a name."""

    def published(self) -> Mapping[str, bytes]:
        """Return every note shown."""


def read_entry(leaf: bytes, *, index: int, policy: Policy) -> Entry:
    """Open a leaf and check origin, index and the signature by the key of its site."""
    signed = open_entry(leaf)
    entry = signed.entry
    if entry.origin != policy.origin or entry.index != index:
        raise IntegrityError(
            f"entry {index} says it is {entry.origin} {entry.index}",
            remedy="compare the replicas: sisamu audit verify",
        )
    if entry.site not in policy.sites:
        raise IntegrityError(f"entry {index} is from an unknown site {entry.site!r}")
    check_entry(signed, *policy.sites[entry.site].entry_keys(index))
    return entry


@dataclass(kw_only=True)
class Replicator:
    """Keeps one site's replica in step with the coordination service."""

    replica: Replica
    keys: SiteKeys
    policy: Policy
    now_s: Callable[[], int]
    _next_tile: int = 0

    def pull(self, reader: JournalReader) -> int:
        """Take, verify and keep the entries not yet here; return how many there were.

        IntegrityError when an entry does not verify: nothing of its batch is kept, and what
        is not kept is not cosigned.
        """
        size = reader.size()
        self._check_overlap(reader, size)
        taken = 0
        while self.replica.size < size:
            start = self.replica.size
            leaves = reader.read(start, min(size, start + BATCH))
            for index, leaf in enumerate(leaves, start=start):
                read_entry(leaf, index=index, policy=self.policy)
            self.replica.append(leaves)
            taken += len(leaves)
        return taken

    def _check_overlap(self, reader: JournalReader, size: int) -> None:
        """Compare the newest entry here with the journal's; ProblemError when it is another."""
        here = self.replica.size
        if here > size:
            message = f"{here} entries are kept here, the journal has {size}"
            raise ProblemError(Problem(kind=ProblemKind.AHEAD, message=message))
        if reader.first() < here and reader.read(here - 1, here) != self.replica.read(
            here - 1, here
        ):
            message = f"the journal's entry {here - 1} is not the one kept here"
            raise ProblemError(Problem(kind=ProblemKind.DIVERGED, message=message))

    def scrub(self) -> None:
        """Check the next full tile, one a time, round and round; ProblemError when damaged.

        A damaged replica is set aside, whole, and an empty one begun.
        """
        full = self.replica.size // WIDTH
        if not full:
            return
        try:
            self.replica.check_tile(self._next_tile % full)
        except IntegrityError as error:
            self._begin_again(error)
        self._next_tile = (self._next_tile + 1) % full

    def _begin_again(self, damage: IntegrityError) -> None:
        directory = self.replica.directory
        self.replica.close()
        aside = set_aside(directory)
        self.replica = Replica(directory)
        message = f"{damage.place}: {damage.message}; set aside as {aside.name}"
        raise ProblemError(Problem(kind=ProblemKind.DAMAGED, message=message)) from damage

    def endorse(self, board: Noticeboard, *, leads: bool) -> None:
        """Sign as the log when leading, cosign what agrees, keep what is agreed.

        ProblemError when the log signed another root than this replica gives, or when this site
        has cosigned more than its replica holds: then nothing is signed here.
        """
        notes = self._trusted(board.published().values())
        self._refuse_to_contradict(notes)
        if leads:
            notes += self._sign(board, notes)
        self._cosign(board, notes)
        self._keep_agreed(notes)

    def _refuse_to_contradict(self, notes: list[Checkpoint]) -> None:
        for note in notes:
            head = note.head
            if weigh(note, self.policy).logs and head.size <= self.replica.size:
                if self.replica.root(head.size) != head.root:
                    message = f"the journal's first {head.size} entries are not those kept here"
                    raise ProblemError(Problem(kind=ProblemKind.DIVERGED, message=message))
            elif self._cosigned_here(note) and head.size > self.replica.size:
                message = f"{head.size} entries were cosigned here, {self.replica.size} are left"
                raise ProblemError(Problem(kind=ProblemKind.ROLLED_BACK, message=message))

    def _trusted(self, notes: Iterable[bytes]) -> list[Checkpoint]:
        found = []
        for note in notes:
            with suppress(IntegrityError):  # an unreadable note proves nothing and stops nothing
                if note:
                    found.append(parse_checkpoint(note))
        # A forged line spoils the note it stands in, and must not spoil those it would join.
        return [
            c
            for c in found
            if c.head.origin == self.policy.origin and not weigh(c, self.policy).forged
        ]

    def _sign(self, board: Noticeboard, notes: list[Checkpoint]) -> list[Checkpoint]:
        size = self.replica.size
        newest = max((c.head.size for c in notes if weigh(c, self.policy).logs), default=0)
        if size <= newest:
            return []
        head = TreeHead(origin=self.policy.origin, size=size, root=self.replica.root())
        checkpoint = sign_head(head, self.keys.log)
        board.publish(f"log.{self.keys.site}", checkpoint.note)
        return [checkpoint]

    def _cosign(self, board: Noticeboard, notes: list[Checkpoint]) -> None:
        """Cosign the newest head the log signed that this site's own copy confirms."""
        signed = [c for c in notes if weigh(c, self.policy).logs and self._confirms(c.head)]
        if not signed:
            return
        newest = max(signed, key=lambda c: c.head.size)
        mine = [c for c in notes if self._cosigned_here(c)]
        if any(c.head == newest.head for c in mine):
            return
        cosigned = newest.with_signature(
            cosign_head(newest.head, self.keys.cosign, at=self.now_s())
        )
        board.publish(f"cosign.{self.keys.site}", cosigned.note)
        notes.append(cosigned)

    def _cosigned_here(self, checkpoint: Checkpoint) -> bool:
        return self.keys.site in weigh(checkpoint, self.policy).cosigned

    def _confirms(self, head: TreeHead) -> bool:
        return 0 < head.size <= self.replica.size and self.replica.root(head.size) == head.root

    def _keep_agreed(self, notes: list[Checkpoint]) -> None:
        """Join the signatures of equal heads; keep the newest head a majority cosigned."""
        joined: dict[TreeHead, Checkpoint] = {}
        for checkpoint in notes:
            known = joined.setdefault(checkpoint.head, checkpoint)
            for signature in checkpoint.signatures:
                known = known.with_signature(signature)
            joined[checkpoint.head] = known
        kept = self.replica.checkpoint()
        kept_size = parse_checkpoint(kept).head.size if kept else 0
        ready = [
            c
            for c in joined.values()
            if c.head.size > kept_size and self._confirms(c.head) and agreed(c, self.policy)
        ]
        if ready:
            newest = max(ready, key=lambda c: c.head.size)
            self.replica.write_checkpoint(newest.note)


def cosigned_sizes(notes: Iterable[bytes], policy: Policy) -> dict[str, int]:
    """Return the largest size each site has cosigned, by the notes shown."""
    sizes: dict[str, int] = {}
    for note in notes:
        with suppress(IntegrityError):  # an unreadable note proves nothing
            if note:
                checkpoint = parse_checkpoint(note)
                for site in weigh(checkpoint, policy).cosigned:
                    sizes[site] = max(sizes.get(site, 0), checkpoint.head.size)
    return sizes
