"""Incidents: triggers and rescues that belong together, and what was acknowledged (pure).

Folded from the journal alone, so a change of leader loses neither an acknowledgement nor the memory
that a SAMU was rescued a moment ago. A trigger never asks twice within the same incident; a person
always may.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sisamu_ops.failover.request import parse_rfc3339

#: Signals about the same SAMUs within this time of the last one are of one incident, and a trigger
#: does not ask again for a SAMU rescued within it; as long as orchestrator's default.
WINDOW = timedelta(hours=1)
ANTI_FLAP = "anti-flap"


@dataclass(frozen=True, kw_only=True)
class Signal:
    """A site's trigger, or an operator's rescue: which SAMUs it is about, and when it came."""

    signal_id: str
    samus: frozenset[str]
    time: str
    is_trigger: bool
    what: str


@dataclass(kw_only=True)
class Incident:
    """Signals that belong together."""

    incident_id: str
    opened_at: str
    last_at: str
    samus: set[str] = field(default_factory=set)
    signals: list[Signal] = field(default_factory=list)
    acknowledged_by: str = ""
    acknowledged_at: str = ""

    @property
    def triggers(self) -> int:
        """Return how many triggers it groups."""
        return sum(signal.is_trigger for signal in self.signals)

    @property
    def rescues(self) -> list[str]:
        """Return the rescues asked for in it."""
        return [signal.signal_id for signal in self.signals if not signal.is_trigger]

    def takes(self, signal: Signal) -> bool:
        """Say whether a signal belongs to it: the same SAMUs, soon after the last, not settled."""
        late = parse_rfc3339(signal.time) - parse_rfc3339(self.last_at) > WINDOW
        return not self.acknowledged_by and not late and bool(self.samus & signal.samus)


def group(incidents: list[Incident], signal: Signal, index: int) -> None:
    """Put a signal into the incident it belongs to, or open one named by the entry that did."""
    for incident in reversed(incidents):
        if incident.takes(signal):
            incident.signals.append(signal)
            incident.samus |= signal.samus
            incident.last_at = signal.time
            return
    opened = Incident(
        incident_id=f"incident-{index}", opened_at=signal.time, last_at=signal.time,
        samus=set(signal.samus), signals=[signal],
    )  # fmt: skip
    incidents.append(opened)


def flapping(incidents: Iterable[Incident], samus: Collection[str], now: datetime) -> list[str]:
    """Return the SAMUs a trigger must not ask a rescue for: rescued within the hour already.

    An acknowledgement takes it away: somebody has seen the incident, and it may trigger anew.
    """
    recent = {
        samu_id
        for incident in incidents
        if not incident.acknowledged_by
        for signal in incident.signals
        if not signal.is_trigger and now - parse_rfc3339(signal.time) <= WINDOW
        for samu_id in signal.samus
    }
    return [samu_id for samu_id in samus if samu_id in recent]
