"""What is known from the journal, and the questions asked of it (pure).

How the entries make it is `state.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sisamu_ops.failover.fold.incidents import Incident
from sisamu_ops.failover.fold.merged_log import MergedLog
from sisamu_ops.failover.fold.modes import Confirmation, SamuMode
from sisamu_ops.failover.fold.operation import Operation, SamuEnd
from sisamu_ops.failover.reading import DEFAULT_MODE
from sisamu_ops.failover.request import Envelope, Verb
from sisamu_ops.model.outcome import Outcome
from sisamu_ops.model.token import Token


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The entry that answered a request: accepted, or refused and why."""

    request_id: str
    digest: str
    index: int
    accepted: bool
    reason: str = ""
    remedy: str = ""
    rules: tuple[str, ...] = ()


@dataclass(kw_only=True)
class Check:
    """Paths to be proved without moving anybody: of which SAMUs, and what came of it."""

    request_id: str
    samus: tuple[str, ...]
    to: str
    began: bool = False
    failed: Mapping[str, str] = field(default_factory=dict)
    left_armed: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """A request that is good but for a second signature; `envelope` is what was signed once."""

    request_id: str
    digest: str
    index: int
    verb: Verb
    samus: tuple[str, ...]
    to: str
    principal: str
    reason: str
    until: str
    needs: str
    envelope: Envelope


@dataclass(frozen=True, kw_only=True)
class Handover:
    """Leadership asked to be given up, to a site (a transfer) or to whoever is next."""

    request_id: str
    to: str


@dataclass(frozen=True, kw_only=True)
class Loss:
    """Leadership lost without having been given up."""

    site: str
    time: str


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """What a site told that must not be forgotten."""

    site: str
    about: str
    message: str
    time: str


@dataclass(frozen=True, kw_only=True)
class Merge:
    """A break-glass log asked to be merged: how many entries, and the root over them in hex."""

    origin: str
    size: int
    root: str


@dataclass(kw_only=True)
class Known:
    """All that follows from the entries so far, and what is asked of it."""

    size: int = 0
    epoch: int = 0
    leader_site: str = ""
    answers: dict[str, Answer] = field(default_factory=dict)
    operations: dict[str, Operation] = field(default_factory=dict)
    #: The operations each SAMU is part of, in the order of the journal.
    by_samu: dict[str, list[Operation]] = field(default_factory=dict)
    reconciles: dict[str, int] = field(default_factory=dict)
    enrolments: dict[str, tuple[str, ...]] = field(default_factory=dict)
    intended: dict[str, str] = field(default_factory=dict)
    enrolled: dict[str, Token] = field(default_factory=dict)
    finished: dict[str, Outcome] = field(default_factory=dict)
    reports: set[str] = field(default_factory=set)
    leaderships: list[tuple[str, int, str]] = field(default_factory=list)
    unknown_kinds: set[str] = field(default_factory=set)
    paused: bool = False
    handover: Handover | None = None
    #: The site a transfer names, and the one that left of its own accord, until one has taken over.
    asked_for: str = ""
    left_by: str = ""
    losses: list[Loss] = field(default_factory=list)
    alarms: dict[str, Alarm] = field(default_factory=dict)
    triggers: set[str] = field(default_factory=set)
    #: Adoptions accepted, by request; and the rules in force: digests and a version, by name.
    adoptions: dict[str, Mapping[str, str]] = field(default_factory=dict)
    rules: dict[str, str] = field(default_factory=dict)
    #: Where each SAMU's intended mode comes from, as a token: the highest wins.
    intents: dict[str, Token] = field(default_factory=dict)
    #: Operations carried out in another log: never by whoever folds this.
    elsewhere: set[str] = field(default_factory=set)
    #: Targets that refuse an elected leader, with the token they have taken.
    held: dict[str, Token] = field(default_factory=dict)
    merges: dict[str, Merge] = field(default_factory=dict)
    merged: dict[str, MergedLog] = field(default_factory=dict)
    #: Sites evacuated, each with the one that took over.
    evacuated: dict[str, str] = field(default_factory=dict)
    #: When a test call last proved each SAMU's path, by its mode.
    proved: dict[str, dict[str, str]] = field(default_factory=dict)
    #: Requests that wait for a second signature; whether they have expired no fold can say.
    waiting: dict[str, Waiting] = field(default_factory=dict)
    checks: dict[str, Check] = field(default_factory=dict)
    incidents: list[Incident] = field(default_factory=list)
    #: The mode each SAMU was brought to, and who said that its agents are in place.
    modes: dict[str, SamuMode] = field(default_factory=dict)
    confirmations: dict[str, Confirmation] = field(default_factory=dict)
    #: The highest epoch of merged entries: the next leader's is above it.
    epoch_floor: int = 0

    @property
    def floor(self) -> int:
        """Return what the next epoch must be above."""
        return max(self.epoch, self.epoch_floor)

    def begin_own_log(self) -> None:
        """Go on with the entries of a site that acts alone, counted from 0.

        What is under way in the journal is known, and not for that site to finish.
        """
        self.size = 0
        self.elsewhere |= set(self.operations)
        self.reconciles.clear()
        self.checks.clear()
        self.enrolments.clear()
        self.merges.clear()
        self.handover, self.leader_site, self.asked_for, self.left_by = None, "", "", ""

    def losses_of(self, site: str, *, since: datetime) -> int:
        """Count how often a site lost leadership since an instant."""
        return sum(
            one.site == site and datetime.fromisoformat(one.time) >= since for one in self.losses
        )

    def intended_mode(self, samu_id: str) -> str:
        """Return the mode the journal says a SAMU should be in."""
        return self.intended.get(samu_id, DEFAULT_MODE)

    def mode_of(self, samu_id: str) -> SamuMode:
        """Return the mode the journal says a SAMU is in: nominal where nothing moved it."""
        return self.modes.get(samu_id, SamuMode())

    def enter(self, samu_id: str, mode: SamuMode) -> None:
        """Note that a SAMU is in a mode; back at nominal its agents are at their consoles again."""
        self.modes[samu_id] = mode
        if mode.mode == DEFAULT_MODE:
            self.confirmations.pop(samu_id, None)

    def add_operation(self, operation: Operation) -> None:
        """Note an operation, by its id and by each of its SAMUs."""
        self.operations[operation.operation_id] = operation
        for samu_id in operation.samus:
            self.by_samu.setdefault(samu_id, []).append(operation)

    def operations_of(self, samu_id: str, *, evacuates: bool) -> list[Operation]:
        """Return the moves a SAMU is part of, or its evacuations, in the order of the journal."""
        return [o for o in self.by_samu.get(samu_id, ()) if o.evacuates == evacuates]

    def last_end(self, samu_id: str, *, evacuates: bool) -> SamuEnd | None:
        """Return what became of a SAMU in its last move, or evacuation, that told."""
        operations = reversed(self.operations_of(samu_id, evacuates=evacuates))
        return next((o.ends[samu_id] for o in operations if samu_id in o.ends), None)

    def open_operation(self, samu_id: str) -> Operation | None:
        """Return the newest operation that has not settled a SAMU, or left it unknown.

        One that ended without having begun the SAMU says nothing of it. A move does not settle
        which site is asked first, nor an evacuation a mode.
        """
        return self._open(samu_id, evacuates=False) or self._open(samu_id, evacuates=True)

    def _open(self, samu_id: str, *, evacuates: bool) -> Operation | None:
        for operation in reversed(self.operations_of(samu_id, evacuates=evacuates)):
            end = operation.ends.get(samu_id)
            if end or operation.outcome is None:
                return operation if end is None or end.outcome is Outcome.UNKNOWN else None
        return None

    def running(self) -> list[Operation]:
        """Return the operations accepted and not ended: rescues first, then oldest first."""
        waiting = [
            o
            for o in self.operations.values()
            if o.outcome is None and o.operation_id not in self.elsewhere
        ]
        return sorted(waiting, key=lambda o: (o.verb is not Verb.FAILOVER, o.index))

    def unknown(self) -> list[Operation]:
        """Return the operations with a SAMU nobody knows of, newest word on each SAMU only."""
        return [
            o
            for o in self.operations.values()
            if any(self._open(s, evacuates=o.evacuates) is o for s in o.samus_with(Outcome.UNKNOWN))
        ]

    def wants(self, operation: Operation, samu_id: str) -> bool:
        """Say whether the journal still intends for a SAMU what an operation was asked for."""
        if operation.evacuates:
            others = self.operations_of(samu_id, evacuates=True)
            return not any(_supersedes(o, operation, samu_id) for o in others)
        return self.intended_mode(samu_id) == operation.to

    def standing_order(self, order: Sequence[str]) -> tuple[str, ...]:
        """Return sites in order of preference as leaders: one that is evacuated comes last."""
        stay = [site for site in order if site not in self.evacuated]
        return (*stay, *(site for site in order if site in self.evacuated))

    def rescue_since(self, operation: Operation) -> str:
        """Return a rescue asked for since an operation last went on, an empty text for none."""
        return next(
            (
                o.operation_id
                for o in self.operations.values()
                if o.verb is Verb.FAILOVER and o.index > operation.went_on
            ),
            "",
        )


def _supersedes(later: Operation, operation: Operation, samu_id: str) -> bool:
    """Say whether a later evacuation has its own word on a SAMU, begun or still to come."""
    speaks = later.outcome is None or later.started_at(samu_id)
    return bool(later.index > operation.index and speaks)
