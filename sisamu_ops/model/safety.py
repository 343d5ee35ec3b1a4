"""The settings of the safety rules an inventory may put in force; without settings, no rule.

What the rules ask is `failover/safety/`; here is what they are measured by. Hours of the day are
UTC: a platform that spans time zones, and twice a year an hour, has no other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta

#: Days as an inventory names them, Monday first (`datetime.weekday`).
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY = timedelta(days=1)
#: Windows that follow each other are one; as many are followed as a fortnight can have.
_MOST_IN_A_ROW = 64


@dataclass(frozen=True, kw_only=True)
class OutsideNominal:
    """How many SAMUs may be outside nominal at once."""

    at_most: int


@dataclass(frozen=True, kw_only=True)
class TelephonySiteActive:
    """A telephony site must stay active; there is nothing to choose."""


@dataclass(frozen=True, kw_only=True)
class TargetCapacity:
    """How many SAMUs a mode, and in an evacuation a site, can carry; None has no limit."""

    degraded: int | None = None
    backup: int | None = None
    site: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class DatedWindow:
    """A freeze from one instant up to another."""

    name: str
    begins: datetime
    ends: datetime

    def end_of(self, now: datetime) -> datetime | None:
        """Return when it ends, None when `now` lies outside."""
        return self.ends if self.begins <= now < self.ends else None


@dataclass(frozen=True, kw_only=True)
class WeeklyWindow:
    """A freeze that begins on some days of the week; it ends on the next day unless later."""

    name: str
    days: tuple[str, ...]
    begins: time
    ends: time

    def end_of(self, now: datetime) -> datetime | None:
        """Return when it ends, None when `now` lies outside."""
        for day in (now - _DAY, now):
            begins = datetime.combine(day, self.begins, now.tzinfo)
            ends = datetime.combine(day, self.ends, now.tzinfo)
            ends += _DAY if self.ends <= self.begins else timedelta()
            if DAYS[day.weekday()] in self.days and begins <= now < ends:
                return ends
        return None


@dataclass(frozen=True, kw_only=True)
class FreezeWindows:
    """When nothing planned is done."""

    windows: tuple[DatedWindow | WeeklyWindow, ...]

    def frozen(self, now: datetime) -> tuple[str, ...]:
        """Return the names of the windows `now` lies in."""
        return tuple(one.name for one in self.windows if one.end_of(now))

    def free_from(self, now: datetime) -> datetime | None:
        """Return when the first instant outside all windows is, None when there is none."""
        for _ in range(_MOST_IN_A_ROW):
            ends = [end for one in self.windows if (end := one.end_of(now))]
            if not ends:
                return now
            now = max(ends)
        return None


@dataclass(frozen=True, kw_only=True)
class MinimumInterval:
    """How long nothing planned is begun after the last planned change."""

    minutes: int


@dataclass(frozen=True, kw_only=True)
class SecondSignature:
    """A change of more SAMUs than these needs two signatures."""

    above: int


@dataclass(frozen=True, kw_only=True)
class BackupProved:
    """How old the proof of a SAMU's other path may be."""

    within_hours: int


@dataclass(frozen=True, kw_only=True)
class ExperimentRunning:
    """Nothing planned is done while faults are injected; there is nothing to choose."""


@dataclass(frozen=True, kw_only=True)
class AgentsConfirmed:
    """How long before a switchover its agents may have been confirmed in place."""

    within_minutes: int


@dataclass(frozen=True, kw_only=True)
class ExitChecklist:
    """What must be ticked before a mode is left: by mode, each item's id and what it says."""

    degraded: Mapping[str, str] = field(default_factory=dict)
    backup: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class DirectoryFresh:
    """How old the telephone directory of a SAMU's desk phones may be."""

    within_hours: int


Settings = (
    OutsideNominal
    | TelephonySiteActive
    | TargetCapacity
    | FreezeWindows
    | MinimumInterval
    | SecondSignature
    | BackupProved
    | ExperimentRunning
    | AgentsConfirmed
    | ExitChecklist
    | DirectoryFresh
)


@dataclass(frozen=True, kw_only=True)
class Safety:
    """What an inventory puts in force: the settings of a rule, None where it is not in force.

    `blocks` names, by rule, the planned verbs it blocks on this platform, where the inventory says
    other than the matrix. The name of a field is its rule's id, with underscores.
    """

    outside_nominal: OutsideNominal | None = None
    telephony_site_active: TelephonySiteActive | None = None
    target_capacity: TargetCapacity | None = None
    freeze_window: FreezeWindows | None = None
    minimum_interval: MinimumInterval | None = None
    second_signature: SecondSignature | None = None
    backup_proved: BackupProved | None = None
    experiment_running: ExperimentRunning | None = None
    agents_confirmed: AgentsConfirmed | None = None
    exit_checklist: ExitChecklist | None = None
    directory_fresh: DirectoryFresh | None = None
    blocks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def checklists(self) -> Mapping[str, Mapping[str, str]]:
        """Return the exit checklist of each mode, by mode, item and what it says."""
        lists = self.exit_checklist
        return {"degraded": lists.degraded, "backup": lists.backup} if lists else {}

    def settings(self, rule_id: str) -> Settings | None:
        """Return the settings of a rule; None when it has none, or is not in force."""
        found: Settings | None = getattr(self, rule_id.replace("-", "_"), None)
        return found
