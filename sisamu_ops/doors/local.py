"""One directory as the coordination service: a laptop, CI, training, a cut-off site.

The process that holds `lock` leads; `epoch` is a counter raised under the lock; the journal
is the replica itself, so an entry acknowledged is an entry on disk. `inbox/` holds one file
an item. There is one site: checkpoints are signed by itself, and `verify` says so.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from sisamu_ops.journal.port import InboxItem
from sisamu_ops.journal.reader import LocalFiles, ReplicaReader
from sisamu_ops.journal.replica import Replica
from sisamu_ops.leadership.lease import Lease
from sisamu_ops.leadership.port import Leadership
from sisamu_ops.model.errors import ConfigurationError, LeadershipError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_EPOCH = "epoch"
#: How often a follower looks at the directory, in seconds.
_LOOK_S = 0.1
#: The lock does not expire: it is held until the process ends.
_UNENDING = Lease(2**63 - 1)


def read_epoch(directory: Path) -> int:
    """Return the counter kept in a directory; 0 before the first leader."""
    counter = directory / _EPOCH
    return int(counter.read_bytes()) if counter.exists() else 0


def _replace(path: Path, data: bytes) -> None:
    """Write a whole file so that a crash leaves the old or the new one."""
    temporary = path.with_name(f".{path.name}.new")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not an inbox name")
    return name


class LocalCoordination:
    """Journal, inbox and lock below one directory."""

    def __init__(self, directory: Path) -> None:
        """Open the directory, making it when absent; ConfigurationError when it cannot be."""
        self._directory = directory
        self._awake = threading.Event()
        try:
            for part in ("inbox", "published", "journal"):
                (directory / part).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"cannot keep a journal here ({error.strerror})",
                place=str(directory),
                remedy="name a writable directory with --state-dir",
            ) from error

    def _reader(self) -> ReplicaReader:
        return ReplicaReader(LocalFiles(self._directory / "journal"))

    def founded(self) -> bool:
        """Say that it is: the journal here is the replica itself."""
        return True

    def first(self) -> int:
        """Return 0: nothing is trimmed here."""
        return 0

    def size(self) -> int:
        """Return the number of entries on disk."""
        return self._reader().size()

    def read(self, start: int, stop: int) -> list[bytes]:
        """Return the leaves [start, stop)."""
        return self._reader().read(start, stop)

    def put(self, item: InboxItem) -> None:
        """Submit a document; the same name with other bytes is a ValueError."""
        path = self._directory / "inbox" / _checked(item.name)
        if not path.exists():
            _replace(path, item.payload)
        elif path.read_bytes() != item.payload:
            raise ValueError(f"{item.name} is in the inbox with other bytes")

    def items(self) -> list[InboxItem]:
        """Return what waits in the inbox, in order of name."""
        paths = sorted(p for p in (self._directory / "inbox").iterdir() if p.name[0] != ".")
        return [InboxItem(name=p.name, payload=p.read_bytes()) for p in paths]

    def epoch(self) -> int:
        """Return the highest epoch anybody has led under."""
        return read_epoch(self._directory)

    def leader(self) -> Leadership | None:
        """Return who holds the lock, or None when nobody does."""
        with (self._directory / "lock").open("a+b") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                lock.seek(0)
                held = lock.read()
                return Leadership(**json.loads(held)) if held else None
        return None

    def contenders(self) -> frozenset[str]:
        """Return who holds the lock: nobody stands and waits here."""
        holder = self.leader()
        return frozenset({holder.site} if holder else ())

    def contend(self, site: str) -> LocalContention:
        """Stand for the lock in the name of `site`."""
        return LocalContention(self._directory, site)

    def await_change(self, timeout_s: float) -> bool:
        """Return soon: another process may have written, and a directory tells nobody."""
        self._awake.wait(min(timeout_s, _LOOK_S))
        self._awake.clear()
        return True

    def wake(self) -> None:
        """End a wait from another thread."""
        self._awake.set()

    def publish(self, name: str, note: bytes) -> None:
        """Keep a note under `name`."""
        _replace(self._directory / "published" / _checked(name), note)

    def published(self) -> Mapping[str, bytes]:
        """Return every note kept."""
        paths = (p for p in (self._directory / "published").iterdir() if p.name[0] != ".")
        return {p.name: p.read_bytes() for p in paths}

    def close(self) -> None:
        """Nothing is held between calls."""


class LocalContention:
    """One process's standing for the lock."""

    def __init__(self, directory: Path, site: str) -> None:
        """Stand in the name of `site`."""
        self._directory = directory
        self._site = site
        self._tenure: LocalTenure | None = None

    def present(self) -> frozenset[str]:
        """Return the only site there is."""
        return frozenset({self._site})

    def try_lead(self, *, floor: int = 0, size: int = 0) -> LocalTenure | None:
        """Take the lock and raise the epoch under it, or None when another holds it.

        `size` is of no use here: the journal is the replica.
        """
        del size
        lock = (self._directory / "lock").open("a+b")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            return None
        self._tenure = LocalTenure(
            self._directory, self._site, self._raise_epoch(lock, floor), lock
        )
        return self._tenure

    def _raise_epoch(self, lock: IO[bytes], floor: int) -> int:
        epoch = max(floor, read_epoch(self._directory)) + 1
        _replace(self._directory / _EPOCH, b"%d\n" % epoch)
        lock.truncate(0)
        lock.write(json.dumps({"site": self._site, "epoch": epoch}).encode())
        lock.flush()
        return epoch

    def close(self) -> None:
        """Give the lock back if held."""
        if self._tenure is not None:
            self._tenure.leave()


class LocalTenure:
    """Leadership held as a locked file."""

    def __init__(self, directory: Path, site: str, epoch: int, lock: IO[bytes]) -> None:
        """Hold `lock` until `leave`, or the end of the process."""
        self.site = site
        self.epoch = epoch
        self._inbox = directory / "inbox"
        self._lock = lock
        self.replica = Replica(directory / "journal")

    def first(self) -> int:
        """Return 0: nothing is trimmed here."""
        return 0

    def size(self) -> int:
        """Return the number of entries."""
        return self.replica.size

    def read(self, start: int, stop: int) -> list[bytes]:
        """Return the leaves [start, stop)."""
        return self.replica.read(start, stop)

    def lease(self) -> Lease:
        """Return an unending lease while the lock is held."""
        return Lease(0) if self._lock.closed else _UNENDING

    def may_start(self) -> bool:
        """Say whether the lock is held."""
        return not self._lock.closed

    def on_lease(self, listener: Callable[[Lease], None]) -> Callable[[], None]:
        """Call `listener` once: this lease is not renewed."""
        listener(self.lease())
        return lambda: None

    def trim(self, stop: int) -> None:
        """Keep everything: the journal is the replica."""

    def append(self, leaves: Sequence[bytes], *, index: int, consume: Sequence[str] = ()) -> None:
        """Write the entries to disk, then remove the inbox items they answer.

        A crash in between leaves the items; the next leader knows their digests.
        """
        if self._lock.closed or index != self.replica.size:
            raise LeadershipError(
                f"{self.site} may not append entry {index} under epoch {self.epoch}",
                remedy="see who leads: sisamu leader show",
            )
        self.replica.append(leaves)
        for name in consume:
            (self._inbox / name).unlink(missing_ok=True)

    def leave(self) -> None:
        """Give the lock back."""
        self.replica.close()
        self._lock.close()
