"""Reading on: every entry verified, then folded, from wherever the journal can be read."""

from __future__ import annotations

from sisamu_ops.failover.fold.state import State
from sisamu_ops.journal.entry import Entry
from sisamu_ops.journal.keys import Policy
from sisamu_ops.journal.port import JournalReader
from sisamu_ops.journal.replicate import BATCH, read_entry


class Folding:
    """A state, and the way to bring it up to date."""

    def __init__(self, policy: Policy, state: State | None = None) -> None:
        """Begin before the first entry, or after `state`; `policy` says whose signatures count."""
        self._policy = policy
        self.state = state or State()

    def pull(self, reader: JournalReader) -> list[Entry]:
        """Fold the entries not yet folded, and return them; IntegrityError for a bad one."""
        size, new = reader.size(), []
        while (start := self.state.size) < size:
            leaves = reader.read(start, min(size, start + BATCH))
            for index, leaf in enumerate(leaves, start=start):
                entry = read_entry(leaf, index=index, policy=self._policy)
                self.state.apply(entry)
                new.append(entry)
        return new
