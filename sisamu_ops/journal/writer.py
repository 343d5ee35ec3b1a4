"""The leader's pen: gives each entry its index, epoch, site and time, signs it, appends it.

An entry that could not be acknowledged ends the writer: what follows might skip an index.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

from sisamu_ops.journal.canonical import Json
from sisamu_ops.journal.entry import Entry, seal_entry
from sisamu_ops.journal.port import Tenure
from sisamu_ops.journal.signing import EntryKey
from sisamu_ops.model.errors import LeadershipError


class Writer:
    """Appends for one tenure; safe to call from several threads."""

    def __init__(
        self,
        *,
        tenure: Tenure,
        key: EntryKey,
        origin: str,
        size: int,
        now: Callable[[], datetime],
        follow: Callable[[Entry], None],
    ) -> None:
        """Continue at index `size`; `follow` is called with every entry acknowledged."""
        self._tenure = tenure
        self._key = key
        self._origin = origin
        self._size = size
        self._now = now
        self._follow = follow
        self._broken = False
        self._lock = threading.RLock()

    @property
    def epoch(self) -> int:
        """Return the epoch of the tenure."""
        return self._tenure.epoch

    def write(self, kind: str, data: Mapping[str, Json], *, consume: Sequence[str] = ()) -> Entry:
        """Append one entry and remove the inbox items it answers; LeadershipError otherwise."""
        return self.write_all([(kind, data)], consume=consume)[0]

    def write_all(
        self, entries: Iterable[tuple[str, Mapping[str, Json]]], *, consume: Sequence[str] = ()
    ) -> list[Entry]:
        """Append entries, each its kind and data, at the cost of one; LeadershipError otherwise."""
        with self._lock:
            if self._broken:
                raise LeadershipError(f"{self._tenure.site} stopped appending after a failure")
            start = self._size
            made = [self._entry(at, *entry) for at, entry in enumerate(entries, start=start)]
            leaves = [seal_entry(entry, self._key) for entry in made]
            try:
                self._tenure.append(leaves, index=start, consume=consume)
            except LeadershipError:
                self._broken = True
                raise
            self._size += len(made)
            for entry in made:
                self._follow(entry)
            return made

    def _entry(self, index: int, kind: str, data: Mapping[str, Json]) -> Entry:
        moment = self._now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return Entry(
            origin=self._origin, index=index, epoch=self._tenure.epoch,
            site=self._tenure.site, time=moment, kind=kind, data=data,
        )  # fmt: skip
