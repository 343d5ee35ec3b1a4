"""One journal out of two halves: a replica for the old entries, the service for the newest."""

from __future__ import annotations

from dataclasses import dataclass

from sisamu_ops.journal.port import JournalReader
from sisamu_ops.model.errors import IntegrityError


@dataclass(frozen=True, kw_only=True)
class Spliced:
    """Reads from `tail` what it still has, and from `base` what was trimmed there."""

    base: JournalReader
    tail: JournalReader

    def first(self) -> int:
        """Give the oldest index of the base."""
        return self.base.first()

    def size(self) -> int:
        """Count the entries, as the tail has them."""
        return self.tail.size()

    def read(self, start: int, stop: int) -> list[bytes]:
        """Give the leaves from `start` up to `stop`; IntegrityError when some are in neither."""
        seam = min(max(self.tail.first(), start), stop)
        return [*self._old(start, seam), *self.tail.read(seam, stop)]

    def _old(self, start: int, seam: int) -> list[bytes]:
        if start == seam:
            return []
        if self.base.size() < seam:
            raise IntegrityError(
                f"entries {self.base.size()} to {seam - 1} are in neither half",
                remedy="wait until this site has caught up, or read another site's replica",
            )
        return self.base.read(start, seam)
