"""What Ansible's check mode foresees of a plan, and what it cannot say (pure).

Check mode reads every target through its fence and compares; a call is never placed. What depends
on a call is not evaluated, and said to be: an honest dry run says where it is blind.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(kw_only=True)
class Preview:
    """What one run in check mode told."""

    changes: list[dict[str, Any]] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)
    not_evaluated: list[dict[str, str]] = field(default_factory=list)
    complete: bool = False

    @property
    def unproved(self) -> int:
        """How many things check mode could not say: not evaluated, or with a problem."""
        return len(self.problems) + len(self.not_evaluated)

    def take(self, event: Mapping[str, Any]) -> None:
        """Take one event of the run."""
        kind, host = event.get("event"), str(event.get("host", ""))
        if kind == "preview":
            self._compare(host, event)
        elif kind == "not-evaluated":
            self._leave_out(host, str(event.get("what", "")))
        elif kind in ("failed", "unreachable"):
            self.problems.setdefault(host, str(event.get("message", "")))
        elif kind == "end":
            self.complete = True

    def _compare(self, host: str, event: Mapping[str, Any]) -> None:
        if event.get("problem"):
            self.problems[host] = str(event["problem"])
        before, after = event["before"], event["after"]
        moved = {s: [before.get(s), after[s]] for s in after if before.get(s) != after[s]}
        if moved:
            self.changes.append({"host": host, "samus": sorted(moved)})

    def _leave_out(self, host: str, what: str) -> None:
        fact = {"host": host, "what": what}
        if fact not in self.not_evaluated:
            self.not_evaluated.append(fact)

    def to_json(self) -> dict[str, Any]:
        """Return it as data."""
        return {
            "complete": self.complete,
            "changes": self.changes,
            "problems": [{"host": h, "message": m} for h, m in self.problems.items()],
            "not_evaluated": self.not_evaluated,
        }
