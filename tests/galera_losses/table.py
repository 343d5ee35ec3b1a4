"""The results as a table (pure): by form and by the manners of loss, how many came as foreseen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

_HEAD = (
    "losses", "manners", "cases", "as foreseen", "of these a race", "went on",
    "lost", "seconds",
)  # fmt: skip


def table_of(results: Iterable[Mapping[str, Any]]) -> str:
    """Return a row for each form and its manners, and one for all."""
    every = list(results)
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for one in every:
        groups.setdefault((one["form"], one["manners"]), []).append(one)
    rows = [_row(form, manners, ones) for (form, manners), ones in groups.items()]
    lines = [_HEAD, ("---",) * len(_HEAD), *rows, _row("all", "", every)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _row(form: str, manners: str, ones: list[Mapping[str, Any]]) -> tuple[str, ...]:
    went_on = sum(bool(one["truth"]) for one in ones)
    figures = (
        len(ones), sum(one["ok"] for one in ones), sum(one["is_race"] for one in ones), went_on,
        len(ones) - went_on,
    )  # fmt: skip
    seconds = sum(one["seconds"] + one["restored_s"] for one in ones)
    return (form, manners, *map(str, figures), f"{seconds:.0f}")
