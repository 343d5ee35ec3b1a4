"""What a room of the fold gives: by kind of entry, what follows from one (pure)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sisamu_ops.failover.fold.known import Known
from sisamu_ops.journal.entry import Entry

Handlers = Mapping[str, Callable[[Known, Entry], None]]


def data_of(entry: Entry) -> Mapping[str, Any]:
    """Return an entry's data as the fold reads it: by the names its kind promises."""
    return entry.data
