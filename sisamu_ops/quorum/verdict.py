"""Verdict and findings (pure): what can be said of a cluster, and on whose word.

A verdict is the conclusion of its findings and of nothing else: whoever disagrees with it can
point at the finding. `LOST` and `UNKNOWN` stand in the way of planned changes, never of a rescue.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Any


class Verdict(Enum):
    """What can be said of a cluster's quorum."""

    QUORATE = "QUORATE"
    DEGRADED = "DEGRADED"
    LOST = "LOST"
    UNKNOWN = "UNKNOWN"


class Severity(IntEnum):
    """What a finding does to the verdict; the gravest decides.

    `UNKNOWN` stands below `LOST`: what is proved lost stays lost, whatever else cannot be told.
    """

    INFO = 0
    WARNING = 1
    DEGRADED = 2
    UNKNOWN = 3
    LOST = 4


_CONCLUSION: Mapping[Severity, Verdict] = {
    Severity.INFO: Verdict.QUORATE,
    Severity.WARNING: Verdict.QUORATE,
    Severity.DEGRADED: Verdict.DEGRADED,
    Severity.UNKNOWN: Verdict.UNKNOWN,
    Severity.LOST: Verdict.LOST,
}


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Where something was read: which host, which output, which line of it."""

    host: str
    command: str
    line: str = ""

    def to_json(self) -> dict[str, str]:
        """Return it as data."""
        return {"host": self.host, "command": self.command, "line": self.line}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing seen: `finding_id` is stable, `message` and `remedy` are for people."""

    finding_id: str
    severity: Severity
    message: str
    remedy: str
    evidence: tuple[Evidence, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return it as data; keys as in docs/json.md."""
        return {
            "id": self.finding_id,
            "severity": self.severity.name.lower(),
            "message": self.message,
            "remedy": self.remedy,
            "evidence": [one.to_json() for one in self.evidence],
        }


def conclude(findings: Iterable[Finding]) -> Verdict:
    """Return the verdict of the gravest finding; QUORATE when there is none."""
    return _CONCLUSION[max((one.severity for one in findings), default=Severity.INFO)]


def gravest_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings in the order they should be read."""
    return tuple(sorted(findings, key=lambda one: -one.severity))
