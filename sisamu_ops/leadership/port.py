"""What leadership needs of the coordination service; two adapters, one contract suite."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from sisamu_ops.journal.port import Inbox, JournalReader, Tenure
from sisamu_ops.leadership.lease import Lease


@dataclass(frozen=True, kw_only=True)
class Leadership:
    """The site that leads and the epoch it leads under."""

    site: str
    epoch: int


class LeasedTenure(Tenure, JournalReader, Protocol):
    """A tenure with its lease; it ends by itself when the lease cannot be renewed.

    What it reads is complete: it sees every entry of the epochs before its own.
    """

    def lease(self) -> Lease:
        """Return the right to act as last acknowledged."""

    def may_start(self) -> bool:
        """Say whether something new may be started: lease valid and connection not suspended."""

    def on_lease(self, listener: Callable[[Lease], None]) -> Callable[[], None]:
        """Call `listener` at once and at every renewal, until the returned function is called."""

    def trim(self, stop: int) -> None:
        """Forget the entries before `stop` here: a majority of replicas has them."""

    def leave(self) -> None:
        """Give leadership up (or acknowledge its loss) and free what it held."""


class Contention(Protocol):
    """One site's standing for leader: visible to others until closed."""

    def present(self) -> frozenset[str]:
        """Return the sites that stand now."""

    def try_lead(self, *, floor: int = 0, size: int = 0) -> LeasedTenure | None:
        """Take leadership with a new epoch above `floor`, or None when another leads.

        Where no journal has been founded yet, it begins at index `size`: so indexes and epochs go
        on after the coordination service was rebuilt from nothing.
        """

    def close(self) -> None:
        """Stand no more."""


class Coordination(JournalReader, Inbox, Protocol):
    """The journal's newest entries, the inbox, and the election."""

    def founded(self) -> bool:
        """Say whether anybody has led here since the service was set up."""

    def epoch(self) -> int:
        """Return the highest epoch anybody has led under, as last read; 0 before the first."""

    def leader(self) -> Leadership | None:
        """Return who leads as last read, or None."""

    def contenders(self) -> frozenset[str]:
        """Return the sites that stand now."""

    def contend(self, site: str) -> Contention:
        """Stand for leader in the name of `site`; LeadershipError when unreachable."""

    def await_change(self, timeout_s: float) -> bool:
        """Wait until an entry, an inbox item or the leadership changed; False on time-out."""

    def publish(self, name: str, note: bytes) -> None:
        """Show a checkpoint or a cosignature to the other sites under `name`."""

    def published(self) -> Mapping[str, bytes]:
        """Return all checkpoints and cosignatures shown."""

    def wake(self) -> None:
        """End an `await_change` from another thread."""

    def close(self) -> None:
        """Leave the service."""
