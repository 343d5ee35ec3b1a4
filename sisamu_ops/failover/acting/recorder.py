"""Writing what a run tells while it tells it: an entry each, or many at the cost of one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from sisamu_ops.journal.writer import Writer
from sisamu_ops.model.errors import LeadershipError

#: An entry to be written: its kind and its data.
NewEntry = tuple[str, Mapping[str, Any]]
#: A run that moves more SAMUs than these tells so much that entries are written together.
_FEW = 12
#: So many are written at once, or what has come within this time, in seconds.
_AT_ONCE = 40
_SOON_S = 0.2


@dataclass(kw_only=True)
class Recorder:
    """Writes the entries of one run.

    Leadership lost while a playbook runs must not lose what the playbook still tells: nothing more
    is written then, and `check` says why once the run has ended. What a leader that dies had not
    written yet is unknown, and settled by the next one as everything is.
    """

    writer: Writer
    samus: int
    pending: list[NewEntry] = field(default_factory=list)
    lost: LeadershipError | None = None
    _written_at: float = 0.0

    def take(self, entries: Iterable[NewEntry]) -> None:
        """Take entries; they are written now, or together with the next when there are many."""
        self.pending += entries
        late = monotonic() - self._written_at > _SOON_S
        if self.samus <= _FEW or late or len(self.pending) >= _AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        waiting, self.pending = self.pending, []
        if not waiting or self.lost is not None:
            return
        try:
            self.writer.write_all(waiting)
        except LeadershipError as error:
            self.lost = error
        self._written_at = monotonic()

    def check(self) -> None:
        """Raise the LeadershipError met on the way, if any."""
        if self.lost is not None:
            raise self.lost
