"""A break-glass log as the journal has taken it in so far (pure)."""

from __future__ import annotations

from dataclasses import dataclass, field

from sisamu_ops.journal.merkle import leaf_hash, root_of

#: The rule that refuses a log which is not the one merged before.
FORK = "break-glass-fork"


@dataclass(kw_only=True)
class MergedLog:
    """What was merged of one log: its leaves' hashes, the operations it began, how it closed."""

    hashes: list[bytes] = field(default_factory=list)
    operations: set[str] = field(default_factory=set)
    epoch: int = 0
    #: The size of the journal it started from.
    started: int = 0
    #: Entries there were when it was closed last, 0 before; and those of no form the fold knows.
    closed_size: int = 0
    odd: set[int] = field(default_factory=set)

    @property
    def size(self) -> int:
        """Count the entries merged."""
        return len(self.hashes)

    def root(self, more: list[bytes], size: int) -> str:
        """Return the root, in hex, of the first `size` entries with these leaves after our own."""
        hashes = [*self.hashes, *(leaf_hash(leaf) for leaf in more)]
        return root_of(hashes[:size]).hex()
