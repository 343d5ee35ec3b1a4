"""What the journal needs of its neighbours: a reader, an inbox, and the right to append."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class InboxItem:
    """A signed document waiting for the leader; the name is a unique id its sender chose."""

    name: str
    payload: bytes


class JournalReader(Protocol):
    """The leaves of a journal, in order, as bytes."""

    def first(self) -> int:
        """Give the index of the oldest entry that can be read here; older ones were trimmed."""
        ...

    def size(self) -> int:
        """Count the entries of the journal, those that were trimmed here too."""
        ...

    def read(self, start: int, stop: int) -> list[bytes]:
        """Give the leaves from index `start` up to, not including, `stop`."""
        ...


class Inbox(Protocol):
    """Where everybody but the leader puts what should become an entry."""

    def put(self, item: InboxItem) -> None:
        """Add an item; the same name with the same bytes again is harmless.

        Raises ValueError when the name is taken by other bytes.
        """
        ...

    def items(self) -> list[InboxItem]:
        """Give the items that wait."""
        ...


class Tenure(Protocol):
    """One epoch of leadership: as long as it stands, its holder may append."""

    @property
    def epoch(self) -> int:
        """Give the number of this leadership, ever increasing."""
        ...

    @property
    def site(self) -> str:
        """Give the site that leads."""
        ...

    def append(self, leaves: Sequence[bytes], *, index: int, consume: Sequence[str] = ()) -> None:
        """Commit leaves from `index` on and remove the named inbox items.

        One transaction, or several where the leaves are too large for one: then a prefix may be
        committed, the items with its first part. Raises LeadershipError when the epoch no longer
        stands; never returns unless all is committed.
        """
        ...


class ReplicaFiles(Protocol):
    """The files of a replica wherever it is: a local directory, a site reached over SFTP."""

    def names(self) -> list[str]:
        """Give the relative path of every file, with `/` between its parts."""
        ...

    def read(self, name: str) -> bytes:
        """Give the content of a file; raises OSError (FileNotFoundError when it is not there)."""
        ...


class CheckSshsig(Protocol):
    """Judges an operator's SSHSIG signature, as `ssh-keygen -Y verify` does."""

    def __call__(
        self,
        document: bytes,
        signature: str,
        principal: str,
        namespace: str,
        allowed_signers: str,
        moment: datetime,
    ) -> bool:
        """Say whether who was an allowed signer of that principal at `moment` signed it."""
        ...


#: Opens the replica of another site, by its name, for as long as it is read.
OpenPeer = Callable[[str], AbstractContextManager[ReplicaFiles]]
