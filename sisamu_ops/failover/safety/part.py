"""One mapping of an inventory's settings, read member by member (pure)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, time, timedelta
from typing import Any

_HOUR = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")


class Part:
    """One mapping of the settings: gives its members by name, and notes all that is wrong."""

    def __init__(self, where: str, value: object, problems: list[str]) -> None:
        self.where = where
        self._problems = problems
        self._values: dict[str, Any] = {}
        if isinstance(value, Mapping):
            self._values = {str(name): member for name, member in value.items()}
        elif value is not None:
            self.note(f"must be a mapping of settings, not {value!r}")

    def note(self, what: str) -> None:
        self._problems.append(f"{self.where}: {what}")

    def only(self, *known: str, what: str = "setting of it") -> None:
        """Note every member that is none of these."""
        for name in self._values:
            if name not in known:
                self.note(f"{name} is no {what}: use {', '.join(known)}")

    def has(self, name: str) -> bool:
        return name in self._values

    def lists(self, name: str) -> bool:
        return isinstance(self._values.get(name), list | tuple)

    def count(self, name: str, *, least: int = 0) -> int:
        value = self._values.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value >= least:
            return value
        self.note(f"{name} must be a whole number of at least {least}, not {value!r}")
        return least

    def count_if_any(self, name: str) -> int | None:
        return self.count(name) if self.has(name) else None

    def part(self, name: str) -> Part:
        return self.member(name, self._values.get(name))

    def member(self, name: str, value: object) -> Part:
        return Part(f"{self.where}.{name}", value, self._problems)

    def names(self) -> tuple[str, ...]:
        return tuple(self._values)

    def text(self, name: str) -> str:
        value = self._values.get(name)
        if isinstance(value, str) and value:
            return value
        self.note(f"{name} must be a text, not {value!r}")
        return ""

    def items(self, name: str, *, least: int = 1) -> list[Any]:
        value = self._values.get(name)
        if isinstance(value, list | tuple) and len(value) >= least:
            return list(value)
        self.note(f"{name} must be a list{' of at least one' if least else ''}, not {value!r}")
        return []

    def hour(self, name: str) -> time:
        value = self._values.get(name)
        found = _HOUR.fullmatch(value) if isinstance(value, str) else None
        if found:
            return time(int(found[1]), int(found[2]))
        self.note(f'{name} must be an hour of the day in quotes, such as "18:00", not {value!r}')
        return time()

    def instant(self, name: str) -> datetime | None:
        value = self._values.get(name)
        # YAML reads an instant without quotes as one.
        moment = _instant(value) if isinstance(value, str) else value
        if isinstance(moment, datetime) and moment.utcoffset() == timedelta():
            return moment
        self.note(
            f'{name} must be an instant in UTC, such as "2026-07-14T00:00:00Z", not {value!r}'
        )
        return None


def _instant(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
