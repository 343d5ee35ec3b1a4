"""What was asked, and what the leader answered: requests, approvals, words of people (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sisamu_ops.failover.fold.handler import Handlers, data_of
from sisamu_ops.failover.fold.incidents import Signal, group
from sisamu_ops.failover.fold.known import Answer, Check, Handover, Known, Merge, Waiting
from sisamu_ops.failover.fold.modes import Confirmation, SamuMode, Tick
from sisamu_ops.failover.fold.operation import NOTHING, Operation
from sisamu_ops.failover.request import Verb, accepted_envelope
from sisamu_ops.journal.entry import Entry
from sisamu_ops.model.outcome import Outcome
from sisamu_ops.model.token import Token


def _accepted(state: Known, entry: Entry) -> None:
    data = data_of(entry)
    request_id = data["id"]
    state.waiting.pop(request_id, None)
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
    elif verb is Verb.MERGE:
        state.merges[request_id] = Merge(**data["log"])
    elif verb in (Verb.TRANSFER, Verb.STEP_DOWN):
        state.handover = Handover(request_id=request_id, to=data["to"])
    elif verb in (Verb.PAUSE, Verb.RESUME):
        state.paused = verb is Verb.PAUSE
        state.finished[request_id] = Outcome.DONE
    elif verb is Verb.CHECK:
        state.checks[request_id] = Check(
            request_id=request_id, samus=tuple(data["samus"]), to=data["to"]
        )
    elif verb in _ABOUT:
        _ABOUT[verb](state, entry)
        state.finished[request_id] = Outcome.DONE
    elif verb in _STEERING:
        _STEERING[verb](state.operations[data["about"]], entry)
        state.finished[request_id] = Outcome.DONE
    elif verb in _OF_PEOPLE:
        _OF_PEOPLE[verb](state, entry)
        state.finished[request_id] = Outcome.DONE
    else:
        begin(state, entry, verb)


def _refused(state: Known, entry: Entry) -> None:
    data = data_of(entry)
    state.waiting.pop(data["id"], None)
    answer = Answer(
        request_id=data["id"], digest=data["digest"], index=entry.index, accepted=False,
        reason=data["reason"], remedy=data["remedy"], rules=tuple(data["rules"]),
    )  # fmt: skip
    # The first answer to an id stands; what came later under it is told by its digest.
    state.answers.setdefault(data["id"], answer)
    state.answers[data["digest"]] = answer


def begin(state: Known, entry: Entry, verb: Verb) -> None:
    """Note an operation that was accepted, and what it intends for its SAMUs."""
    data = data_of(entry)
    samus, token = tuple(data["samus"]), Token(entry.epoch, entry.index)
    request = data["request"]
    operation = Operation(
        operation_id=data["id"], verb=verb, samus=samus, to=data["to"],
        principal=request["principal"], reason=data["reason"], plan=data["plan"],
        index=entry.index, accepted_at=entry.time, targets=data["changes"],
        previous={s: state.intended_mode(s) for s in samus}, findings=tuple(data["findings"]),
        waves=tuple(tuple(wave) for wave in data.get("waves", ())),
        soak_ms=int(data.get("soak_ms", 0)), order=tuple(data.get("order", ())),
        token=token, second_by=data.get("second_due", ""), approvers=_approvers(request),
        went_on=entry.index, owner=data.get("owner", request["principal"]),
        bridge=data.get("bridge", ""), overrides=tuple(data.get("overrides", ())),
        site=data.get("site", ""),
    )  # fmt: skip
    state.add_operation(operation)
    if verb is Verb.EVACUATE:
        return  # no mode is meant to change
    if verb is Verb.FAILOVER:
        signal = Signal(
            signal_id=data["id"], samus=frozenset(samus), time=entry.time, is_trigger=False,
            what=f"{request['principal']}: {data['reason']}",
        )  # fmt: skip
        group(state.incidents, signal, entry.index)
    for samu_id in samus:
        if token > state.intents.get(samu_id, NOTHING):
            state.intended[samu_id], state.intents[samu_id] = data["to"], token


def _approvers(request: Mapping[str, Any]) -> tuple[str, ...]:
    """Return who approved a request, each once; who asked is not one of them."""
    names = dict.fromkeys(approval["principal"] for approval in request.get("approvals", ()))
    return tuple(name for name in names if name != request["principal"])


def _approved(state: Known, entry: Entry) -> None:
    operation = state.operations[data_of(entry)["id"]]
    if data_of(entry)["principal"] not in (operation.principal, *operation.approvers):
        operation.approvers = (*operation.approvers, data_of(entry)["principal"])


def _awaits_second(state: Known, entry: Entry) -> None:
    data = data_of(entry)
    state.waiting[data["id"]] = Waiting(
        request_id=data["id"], digest=data["digest"], index=entry.index, verb=Verb(data["verb"]),
        samus=tuple(data["samus"]), to=data["to"], principal=data["request"]["principal"],
        reason=data["reason"], until=data["until"], needs=data["needs"],
        envelope=accepted_envelope(entry),
    )  # fmt: skip


def _withdrawn(state: Known, entry: Entry) -> None:
    waiting = state.waiting.pop(data_of(entry)["about"])
    state.answers[waiting.request_id] = Answer(
        request_id=waiting.request_id, digest=waiting.digest, index=entry.index, accepted=False,
        reason=f"withdrawn by {waiting.principal}", remedy="make a new request",
    )  # fmt: skip


def _acknowledged(state: Known, entry: Entry) -> None:
    data = data_of(entry)
    incident = next(i for i in state.incidents if i.incident_id == data["about"])
    incident.acknowledged_by = data["request"]["principal"]
    incident.acknowledged_at = entry.time


def _confirmed(state: Known, entry: Entry) -> None:
    data = data_of(entry)
    for samu_id in data["samus"]:
        state.confirmations[samu_id] = Confirmation(
            by=data["by"], channel=data["channel"], at=data["at"],
            principal=data["request"]["principal"], time=entry.time,
        )  # fmt: skip


def _ticked(state: Known, entry: Entry) -> None:
    data = data_of(entry)
    tick = Tick(principal=data["request"]["principal"], time=entry.time)
    for samu_id in data["samus"]:
        state.mode_of(samu_id).ticked.update(dict.fromkeys(data["items"], tick))


def _drift_accepted(state: Known, entry: Entry) -> None:
    """What was read is what is intended from now on, whoever moved it."""
    data, token = data_of(entry), Token(entry.epoch, entry.index)
    for samu_id in data["samus"]:
        state.intended[samu_id], state.intents[samu_id] = data["to"], token
        mode = SamuMode(
            mode=data["to"], since=entry.time, reason=data["reason"],
            owner=data["request"]["principal"], operation=data["id"],
        )  # fmt: skip
        state.enter(samu_id, mode)


def _hold(operation: Operation, entry: Entry) -> None:
    data = data_of(entry)
    operation.held = f"by {data['request']['principal']}: {data['reason']}"
    operation.held_at = entry.time


def _go_on(operation: Operation, entry: Entry) -> None:
    """What is in doubt has been seen by whoever says so; what comes after holds it again."""
    operation.held, operation.went_on = "", entry.index
    for outcome in (Outcome.FAILED, Outcome.UNKNOWN):
        operation.excused |= set(operation.samus_with(outcome))
    operation.excused_soaks |= {wave for wave, soak in operation.soaks.items() if soak.bad}


def _abort(operation: Operation, entry: Entry) -> None:
    operation.held, operation.aborted_by = "", data_of(entry)["request"]["principal"]


#: What is said of something the journal holds already.
_ABOUT = {Verb.WITHDRAW: _withdrawn, Verb.ACKNOWLEDGE: _acknowledged}


#: What people say of SAMUs; nothing is sent to any target.
_OF_PEOPLE = {
    Verb.CONFIRM: _confirmed, Verb.TICK: _ticked, Verb.ACCEPT: _drift_accepted,
}  # fmt: skip


#: What an operator may say of an operation under way.
_STEERING = {Verb.HOLD: _hold, Verb.GO_ON: _go_on, Verb.ABORT: _abort}


HANDLERS: Handlers = {
    "request.accepted": _accepted,
    "request.refused": _refused,
    "request.waiting": _awaits_second,
    "request.approved": _approved,
}
