"""Naming a few of many, the same way wherever it is said."""

from __future__ import annotations

from collections.abc import Sequence


def name_few(names: Sequence[str], few: int = 5) -> str:
    """Name a few, and say how many more there are."""
    more = len(names) - few
    return ", ".join(names[:few]) + (f" and {more} more" if more > 0 else "")
