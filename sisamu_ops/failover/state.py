"""The fold: what the journal says of requests, operations, targets and leadership (pure).

`State.apply` takes the entries in order and never reads a clock. Kinds it does not know are
counted and otherwise ignored; whoever means to lead looks at `unknown_kinds` first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sisamu_ops.failover.reading import DEFAULT_MODE
from sisamu_ops.failover.request import Verb
from sisamu_ops.journal.entry import Entry
from sisamu_ops.model.errors import IntegrityError
from sisamu_ops.model.outcome import Outcome, worst
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
class Step:
    """One run of a playbook: which targets it means to change, and what is known of each."""

    index: int
    epoch: int
    time: str
    playbook: str
    targets: Mapping[str, Mapping[str, str]]
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    details: dict[str, str] = field(default_factory=dict)

    @property
    def token(self) -> Token:
        """Return the fencing token: the epoch and index of the `started` entry."""
        return Token(self.epoch, self.index)

    def open_targets(self) -> list[str]:
        """Return the targets with no outcome, or an unknown one."""
        known = (Outcome.DONE, Outcome.FAILED)
        return [host for host in self.targets if self.outcomes.get(host) not in known]


@dataclass(kw_only=True)
class Operation:
    """One accepted request to move SAMUs, from its acceptance to its outcome."""

    operation_id: str
    verb: Verb
    samus: tuple[str, ...]
    to: str
    principal: str
    reason: str
    plan: str
    index: int
    accepted_at: str
    targets: Mapping[str, Mapping[str, str]]
    previous: Mapping[str, str]
    findings: tuple[str, ...] = ()
    steps: list[Step] = field(default_factory=list)
    calls: list[Mapping[str, Any]] = field(default_factory=list)
    outcome: Outcome | None = None
    detail: str = ""
    moved: bool = False
    ended_at: str = ""
    ended_index: int = -1

    def target_outcomes(self) -> dict[str, Outcome]:
        """Return what is known of each target after all steps, latest word last."""
        found: dict[str, Outcome] = {}
        for step in self.steps:
            for host in step.targets:
                found[host] = step.outcomes.get(host, Outcome.UNKNOWN)
        return found

    def unsettled(self) -> list[str]:
        """Return the targets of which nobody knows whether they were changed."""
        return [h for h, o in self.target_outcomes().items() if o is Outcome.UNKNOWN]

    def overall(self) -> Outcome:
        """Sum up the targets' outcomes; no step at all is failed: nothing went out."""
        return worst(self.target_outcomes().values()) if self.steps else Outcome.FAILED


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


@dataclass(kw_only=True)
class State:
    """All that follows from the entries so far."""

    size: int = 0
    epoch: int = 0
    leader_site: str = ""
    answers: dict[str, Answer] = field(default_factory=dict)
    operations: dict[str, Operation] = field(default_factory=dict)
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

    def apply(self, entry: Entry) -> None:
        """Take the next entry; ValueError when it is not the next one."""
        if entry.index != self.size:
            raise ValueError(f"entry {entry.index} where {self.size} is next")
        self.size += 1
        self.epoch = max(self.epoch, entry.epoch)
        handler = _HANDLERS.get(entry.kind)
        if handler is None:
            self.unknown_kinds.add(entry.kind)
        else:
            try:
                handler(self, entry)
            except (KeyError, TypeError, ValueError) as error:
                raise IntegrityError(
                    f"entry {entry.index} ({entry.kind}) is not what its kind promises",
                    remedy="verify the journal: sisamu audit verify",
                ) from error

    def losses_of(self, site: str, *, since: datetime) -> int:
        """Count how often a site lost leadership since an instant."""
        return sum(
            one.site == site and datetime.fromisoformat(one.time) >= since for one in self.losses
        )

    def intended_mode(self, samu_id: str) -> str:
        """Return the mode the journal says a SAMU should be in."""
        return self.intended.get(samu_id, DEFAULT_MODE)

    def open_operation(self, samu_id: str) -> Operation | None:
        """Return the newest operation on a SAMU that has not ended, or ended unknown."""
        for operation in reversed(self.operations.values()):
            if samu_id in operation.samus:
                return None if operation.outcome in (Outcome.DONE, Outcome.FAILED) else operation
        return None

    def running(self) -> list[Operation]:
        """Return the operations accepted and not ended: rescues first, then oldest first."""
        waiting = [o for o in self.operations.values() if o.outcome is None]
        return sorted(waiting, key=lambda o: (o.verb is not Verb.FAILOVER, o.index))

    def unknown(self) -> list[Operation]:
        """Return the operations whose outcome is unknown, newest word on each SAMU only."""
        return [
            o
            for o in self.operations.values()
            if o.outcome is Outcome.UNKNOWN and any(self.open_operation(s) is o for s in o.samus)
        ]


def fold(entries: Iterable[Entry]) -> State:
    """Return the state after all entries."""
    state = State()
    for entry in entries:
        state.apply(entry)
    return state


def _data(entry: Entry) -> Mapping[str, Any]:
    """Return an entry's data as the fold reads it: by the names its kind promises."""
    return entry.data


def _took(state: State, entry: Entry) -> None:
    if state.leader_site:
        state.losses.append(Loss(site=state.leader_site, time=entry.time))
    if state.handover is not None:
        wanted = state.handover.to in ("", entry.site)
        outcome = Outcome.DONE if wanted else Outcome.FAILED
        state.finished[state.handover.request_id] = outcome
    state.handover, state.asked_for, state.left_by = None, "", ""
    state.leader_site = entry.site
    state.leaderships.append((entry.site, entry.epoch, entry.time))


def _left(state: State, entry: Entry) -> None:
    if entry.site == state.leader_site:
        state.leader_site = ""
    # Entries written before transfers existed name no site and no cause.
    state.asked_for, state.left_by = _data(entry).get("to", ""), entry.site


def _alarmed(state: State, entry: Entry) -> None:
    data = _data(entry)
    state.alarms[data["id"]] = Alarm(
        site=data["site"], about=data["about"], message=data["message"], time=entry.time
    )


def _observed(state: State, entry: Entry) -> None:
    state.triggers.add(_data(entry)["id"])


def _accepted(state: State, entry: Entry) -> None:
    data = _data(entry)
    request_id = data["id"]
    state.answers[request_id] = Answer(
        request_id=request_id, digest=data["digest"], index=entry.index, accepted=True
    )
    verb = Verb(data["verb"])
    if verb is Verb.RECONCILE:
        state.reconciles[request_id] = entry.index
    elif verb is Verb.ENROL:
        state.enrolments[request_id] = tuple(data["targets"])
    elif verb is Verb.ADOPT:
        state.adoptions[request_id] = data["rules"]
    elif verb in (Verb.TRANSFER, Verb.STEP_DOWN):
        state.handover = Handover(request_id=request_id, to=data["to"])
    elif verb in (Verb.PAUSE, Verb.RESUME):
        state.paused = verb is Verb.PAUSE
        state.finished[request_id] = Outcome.DONE
    else:
        _begin(state, entry, verb)


def _begin(state: State, entry: Entry, verb: Verb) -> None:
    data = _data(entry)
    samus = tuple(data["samus"])
    state.operations[data["id"]] = Operation(
        operation_id=data["id"], verb=verb, samus=samus, to=data["to"],
        principal=data["request"]["principal"], reason=data["reason"], plan=data["plan"],
        index=entry.index, accepted_at=entry.time, targets=data["changes"],
        previous={s: state.intended_mode(s) for s in samus}, findings=tuple(data["findings"]),
    )  # fmt: skip
    state.intended |= dict.fromkeys(samus, data["to"])


def _refused(state: State, entry: Entry) -> None:
    data = _data(entry)
    answer = Answer(
        request_id=data["id"], digest=data["digest"], index=entry.index, accepted=False,
        reason=data["reason"], remedy=data["remedy"], rules=tuple(data["rules"]),
    )  # fmt: skip
    # The first answer to an id stands; what came later under it is told by its digest.
    state.answers.setdefault(data["id"], answer)
    state.answers[data["digest"]] = answer


def _started(state: State, entry: Entry) -> None:
    data = _data(entry)
    step = Step(
        index=entry.index, epoch=entry.epoch, time=entry.time, playbook=data["playbook"],
        targets=data["targets"],
    )  # fmt: skip
    state.operations[data["operation"]].steps.append(step)


def _outcome(state: State, entry: Entry) -> None:
    data = _data(entry)
    steps = {step.index: step for step in state.operations[data["operation"]].steps}
    step = steps[data["step"]]
    step.outcomes[data["target"]] = Outcome(data["outcome"])
    step.details[data["target"]] = data["detail"]


def _called(state: State, entry: Entry) -> None:
    state.operations[_data(entry)["operation"]].calls.append(_data(entry))


def _ended(state: State, entry: Entry) -> None:
    operation = state.operations[_data(entry)["operation"]]
    operation.outcome = Outcome(_data(entry)["outcome"])
    operation.detail = _data(entry)["detail"]
    operation.ended_at = entry.time
    operation.moved = bool(_data(entry)["moved"])
    operation.ended_index = entry.index
    state.finished[operation.operation_id] = operation.outcome
    if operation.outcome is Outcome.FAILED and not operation.moved:
        # Nothing was moved: what was wanted before is wanted again, unless asked anew since.
        for samu_id, before in operation.previous.items():
            if state.intended_mode(samu_id) == operation.to:
                state.intended[samu_id] = before


def _settled(state: State, entry: Entry) -> None:
    state.finished[_data(entry)["request"]] = Outcome(_data(entry)["outcome"])


def _enrolled(state: State, entry: Entry) -> None:
    if _data(entry)["outcome"] == Outcome.DONE.value:
        token = _data(entry)["token"]
        state.enrolled[_data(entry)["target"]] = Token(token["epoch"], token["index"])


def _adopted(state: State, entry: Entry) -> None:
    state.rules = dict(_data(entry)["rules"])


def _reported(state: State, entry: Entry) -> None:
    state.reports.add(_data(entry)["id"])


def _noted(state: State, entry: Entry) -> None:
    """Known, and changes nothing that is folded."""


_HANDLERS = {
    "leadership.taken": _took,
    "leadership.left": _left,
    "request.accepted": _accepted,
    "request.refused": _refused,
    "request.finished": _settled,
    "step.started": _started,
    "step.outcome": _outcome,
    "call.proved": _called,
    "operation.ended": _ended,
    "seal.started": _noted,
    "seal.outcome": _noted,
    "enrol.started": _noted,
    "enrol.outcome": _enrolled,
    "report.received": _reported,
    "rules.adopted": _adopted,
    "alarm.raised": _alarmed,
    "trigger.observed": _observed,
    "inbox.overflowed": _noted,
}
