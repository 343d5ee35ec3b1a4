"""The results as a table (pure): by form and by the manners of loss, how many came as foreseen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def table_of(results: Iterable[Mapping[str, Any]]) -> str:
    """Return a row for each form and its manners, and one for all."""
    every = list(results)
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for one in every:
        groups.setdefault((one["form"], one["manners"]), []).append(one)
    rows = [_row(form, manners, ones) for (form, manners), ones in groups.items()]
    head = ("losses", "manners", "cases", "as foreseen", "went on", "lost", "seconds")
    lines = [head, ("---",) * len(head), *rows, _row("all", "", every)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _row(form: str, manners: str, ones: list[Mapping[str, Any]]) -> tuple[str, ...]:
    went_on = sum(bool(one["truth"]) for one in ones)
    figures = (len(ones), sum(one["ok"] for one in ones), went_on, len(ones) - went_on)
    seconds = sum(one["seconds"] + one["restored_s"] for one in ones)
    return (form, manners, *map(str, figures), f"{seconds:.0f}")
