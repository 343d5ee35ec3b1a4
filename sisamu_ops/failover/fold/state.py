"""The fold: what the journal says of requests, operations, targets and leadership (pure).

`State.apply` takes the entries in order and never reads a clock. Kinds it does not know are
counted and otherwise ignored; whoever means to lead looks at `unknown_kinds` first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sisamu_ops.failover.fold.incidents import Signal, group
from sisamu_ops.failover.fold.known import (
    Alarm,
    Answer,
    Check,
    Handover,
    Known,
    Loss,
    Merge,
    Waiting,
)
from sisamu_ops.failover.fold.merged_log import MergedLog
from sisamu_ops.failover.fold.modes import Confirmation, SamuMode, Tick, entered
from sisamu_ops.failover.fold.operation import NOTHING, Operation, SamuEnd, Soak, Step
from sisamu_ops.failover.request import Verb, accepted_envelope
from sisamu_ops.journal.canonical import canonical_bytes
from sisamu_ops.journal.entry import Entry, open_entry
from sisamu_ops.journal.merkle import leaf_hash
from sisamu_ops.model.errors import IntegrityError
from sisamu_ops.model.outcome import Outcome
from sisamu_ops.model.token import Token

#: Paths that no caller takes while all is well: whether they work must be proved.
_PROVABLE = ("degraded", "backup")


@dataclass(kw_only=True)
class State(Known):
    """What is known, brought up to date entry by entry."""

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
        # An evacuation has ended before leadership follows it.
        state.finished.setdefault(state.handover.request_id, outcome)
    state.handover, state.asked_for, state.left_by = None, "", ""
    state.leader_site = entry.site
    state.held = {host: token for host, token in state.held.items() if token.epoch >= entry.epoch}
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
    data = _data(entry)
    state.triggers.add(data["id"])
    signal = Signal(
        signal_id=data["id"], samus=frozenset(data["would"]["samus"]), time=entry.time,
        is_trigger=True, what=f"trigger of {data['site']}: {data['reason']}",
    )  # fmt: skip
    group(state.incidents, signal, entry.index)


def _acknowledged(state: State, entry: Entry) -> None:
    data = _data(entry)
    incident = next(i for i in state.incidents if i.incident_id == data["about"])
    incident.acknowledged_by = data["request"]["principal"]
    incident.acknowledged_at = entry.time


def _accepted(state: State, entry: Entry) -> None:
    data = _data(entry)
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
        _begin(state, entry, verb)


def _awaits_second(state: State, entry: Entry) -> None:
    data = _data(entry)
    state.waiting[data["id"]] = Waiting(
        request_id=data["id"], digest=data["digest"], index=entry.index, verb=Verb(data["verb"]),
        samus=tuple(data["samus"]), to=data["to"], principal=data["request"]["principal"],
        reason=data["reason"], until=data["until"], needs=data["needs"],
        envelope=accepted_envelope(entry),
    )  # fmt: skip


def _withdrawn(state: State, entry: Entry) -> None:
    waiting = state.waiting.pop(_data(entry)["about"])
    state.answers[waiting.request_id] = Answer(
        request_id=waiting.request_id, digest=waiting.digest, index=entry.index, accepted=False,
        reason=f"withdrawn by {waiting.principal}", remedy="make a new request",
    )  # fmt: skip


def _confirmed(state: State, entry: Entry) -> None:
    data = _data(entry)
    for samu_id in data["samus"]:
        state.confirmations[samu_id] = Confirmation(
            by=data["by"], channel=data["channel"], at=data["at"],
            principal=data["request"]["principal"], time=entry.time,
        )  # fmt: skip


def _ticked(state: State, entry: Entry) -> None:
    data = _data(entry)
    tick = Tick(principal=data["request"]["principal"], time=entry.time)
    for samu_id in data["samus"]:
        state.mode_of(samu_id).ticked.update(dict.fromkeys(data["items"], tick))


def _drift_accepted(state: State, entry: Entry) -> None:
    """What was read is what is intended from now on, whoever moved it."""
    data, token = _data(entry), Token(entry.epoch, entry.index)
    for samu_id in data["samus"]:
        state.intended[samu_id], state.intents[samu_id] = data["to"], token
        mode = SamuMode(
            mode=data["to"], since=entry.time, reason=data["reason"],
            owner=data["request"]["principal"], operation=data["id"],
        )  # fmt: skip
        state.enter(samu_id, mode)


#: What is said of something the journal holds already.
_ABOUT = {Verb.WITHDRAW: _withdrawn, Verb.ACKNOWLEDGE: _acknowledged}
#: What people say of SAMUs; nothing is sent to any target.
_OF_PEOPLE = {
    Verb.CONFIRM: _confirmed, Verb.TICK: _ticked, Verb.ACCEPT: _drift_accepted,
}  # fmt: skip


def _hold(operation: Operation, entry: Entry) -> None:
    data = _data(entry)
    operation.held = f"by {data['request']['principal']}: {data['reason']}"
    operation.held_at = entry.time


def _go_on(operation: Operation, entry: Entry) -> None:
    """What is in doubt has been seen by whoever says so; what comes after holds it again."""
    operation.held, operation.went_on = "", entry.index
    for outcome in (Outcome.FAILED, Outcome.UNKNOWN):
        operation.excused |= set(operation.samus_with(outcome))
    operation.excused_soaks |= {wave for wave, soak in operation.soaks.items() if soak.bad}


def _abort(operation: Operation, entry: Entry) -> None:
    operation.held, operation.aborted_by = "", _data(entry)["request"]["principal"]


#: What an operator may say of an operation under way.
_STEERING = {Verb.HOLD: _hold, Verb.GO_ON: _go_on, Verb.ABORT: _abort}


def _begin(state: State, entry: Entry, verb: Verb) -> None:
    data = _data(entry)
    samus, token = tuple(data["samus"]), Token(entry.epoch, entry.index)
    request = data["request"]
    state.operations[data["id"]] = Operation(
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


def _approved(state: State, entry: Entry) -> None:
    operation = state.operations[_data(entry)["id"]]
    if _data(entry)["principal"] not in (operation.principal, *operation.approvers):
        operation.approvers = (*operation.approvers, _data(entry)["principal"])


def _refused(state: State, entry: Entry) -> None:
    data = _data(entry)
    state.waiting.pop(data["id"], None)
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
        targets=data["targets"], wave=int(data.get("wave", 0)),
    )  # fmt: skip
    state.operations[data["operation"]].steps.append(step)


def _outcome(state: State, entry: Entry) -> None:
    data = _data(entry)
    steps = {step.index: step for step in state.operations[data["operation"]].steps}
    step, host = steps[data["step"]], data["target"]
    step.outcomes[host] = Outcome(data["outcome"])
    step.details[host] = data["detail"]
    step.left[host] = tuple(data.get("left", ()))
    step.took[host] = dict(data.get("took", {}))


def _called(state: State, entry: Entry) -> None:
    operation = state.operations[_data(entry)["operation"]]
    operation.calls.append(_data(entry))
    _prove(state, operation, _data(entry), entry.time)


def _prove(state: State, operation: Operation, call: Mapping[str, Any], answered_at: str) -> None:
    """Note which path an answered call proves: the answerer says its mode, and whose it is.

    Answered by another SAMU than the one called, or by none of the operation's, it proves nothing.
    """
    mode, _, rest = str(call["result"]["answered_by"]).partition(";")
    samu_id = rest.partition(";")[0].removeprefix("samu=")
    called = operation.samus if "samu" not in call else (call["samu"],)
    if call["result"]["answered"] and mode in _PROVABLE and samu_id in called:
        times = state.proved.setdefault(samu_id, {})
        times[mode] = max(answered_at, times.get(mode, ""))


def _path_chosen(state: State, entry: Entry) -> None:
    data = _data(entry)
    chosen = state.operations[data["operation"]].chosen
    chosen |= {samu_id: said["why"] for samu_id, said in data["samus"].items()}


def _wave_ended(state: State, entry: Entry) -> None:
    data = _data(entry)
    operation = state.operations[data["operation"]]
    operation.waves_ended.setdefault(data["wave"], entry.time)
    for samu_id, said in data["samus"].items():
        end = SamuEnd(
            outcome=Outcome(said["outcome"]), to=said["to"], moved=bool(said["moved"]),
            detail=said["detail"], time=entry.time,
        )  # fmt: skip
        _end_samu(state, operation, samu_id, end)


def _end_samu(state: State, operation: Operation, samu_id: str, end: SamuEnd) -> None:
    """Note what became of a SAMU, and what is intended for it from now on.

    Nothing moved: what was wanted before is wanted again, unless asked anew since. A rescue that
    fell to another mode of its order wants that one.
    """
    operation.ends[samu_id] = end
    if state.intents.get(samu_id) != operation.token:
        return
    state.enter(samu_id, entered(state.mode_of(samu_id), operation, end))
    if end.outcome is Outcome.FAILED and not end.moved:
        state.intended[samu_id] = operation.previous[samu_id]
    elif end.outcome is Outcome.DONE:
        state.intended[samu_id] = end.to


def _probed(state: State, entry: Entry) -> None:
    data = _data(entry)
    operation = state.operations[data["operation"]]
    soak = operation.soaks.setdefault(data["wave"], Soak())
    soak.probes, soak.last_at = soak.probes + 1, entry.time
    soak.over = bool(data["last"])
    soak.bad |= data["bad"]


def _operation_held(state: State, entry: Entry) -> None:
    operation = state.operations[_data(entry)["operation"]]
    operation.held, operation.held_at = _data(entry)["cause"], entry.time


def _ended(state: State, entry: Entry) -> None:
    data = _data(entry)
    operation = state.operations[data["operation"]]
    operation.outcome = Outcome(data["outcome"])
    operation.detail = data["detail"]
    operation.ended_at = entry.time
    operation.moved = bool(data["moved"])
    operation.ended_index = entry.index
    operation.held = ""
    state.finished[operation.operation_id] = operation.outcome
    if operation.evacuates:
        _evacuated(state, operation)
    not_begun = data.get("not_begun", ())
    for samu_id in operation.samus:
        if samu_id in not_begun:
            _take_back(state, operation, samu_id)
        elif not operation.waves_ended:
            # Entries written before waves existed tell of all SAMUs at once.
            end = SamuEnd(
                outcome=operation.outcome, to=operation.to, moved=operation.moved,
                detail=operation.detail, time=entry.time,
            )  # fmt: skip
            _end_samu(state, operation, samu_id, end)


def _evacuated(state: State, operation: Operation) -> None:
    """Note where a site's calls go once all of it is done; leadership follows them, last."""
    if operation.outcome is not Outcome.DONE:
        return
    if operation.site == operation.to:
        state.evacuated.pop(operation.site, None)
        return
    state.evacuated[operation.site] = operation.to
    if state.leader_site == operation.site:
        state.handover = Handover(request_id=operation.operation_id, to=operation.to)


def _take_back(state: State, operation: Operation, samu_id: str) -> None:
    """Want again what was wanted before for a SAMU that was never begun."""
    if state.intents.get(samu_id) == operation.token:
        state.intended[samu_id] = operation.previous[samu_id]


def _settled(state: State, entry: Entry) -> None:
    state.finished[_data(entry)["request"]] = Outcome(_data(entry)["outcome"])


def _enrolled(state: State, entry: Entry) -> None:
    if _data(entry)["outcome"] == Outcome.DONE.value:
        token = _data(entry)["token"]
        state.enrolled[_data(entry)["target"]] = Token(token["epoch"], token["index"])
        if token["epoch"] > entry.epoch:
            state.epoch_floor = max(state.epoch_floor, token["epoch"])


def _check_started(state: State, entry: Entry) -> None:
    state.checks[_data(entry)["request"]].began = True


def _check_ended(state: State, entry: Entry) -> None:
    data = _data(entry)
    check = state.checks[data["request"]]
    check.failed, check.left_armed = data["failed"], data["left_armed"]
    for samu_id in data["proved"]:
        state.proved.setdefault(samu_id, {})[data["to"]] = entry.time


def _adopted(state: State, entry: Entry) -> None:
    state.rules = dict(_data(entry)["rules"])


def _held(state: State, entry: Entry) -> None:
    token = _data(entry)["token"]
    state.held[_data(entry)["target"]] = Token(token["epoch"], token["index"])


def _merged(state: State, entry: Entry) -> None:
    """Take in what another log's entry says happened there, as far as it concerns that log only.

    An inner entry that is not what its kind promises is kept, counted and otherwise passed over:
    a cut-off site's slip must not keep everybody from leading.
    """
    data = _data(entry)
    leaf = canonical_bytes(data["leaf"])
    inner = open_entry(leaf).entry
    log = state.merged.setdefault(data["origin"], MergedLog())
    if (inner.origin, inner.index) != (data["origin"], log.size) or data["index"] != log.size:
        raise ValueError("a merged entry is the next one of its log")
    log.hashes.append(leaf_hash(leaf))
    log.epoch = max(log.epoch, inner.epoch)
    state.epoch_floor = max(state.epoch_floor, inner.epoch)
    try:
        _take_in(state, log, inner, entry)
    except (KeyError, TypeError, ValueError):
        log.odd.add(inner.index)


def _take_in(state: State, log: MergedLog, inner: Entry, outer: Entry) -> None:
    data = _data(inner)
    if inner.kind == "break-glass.begun":
        log.started = int(data["size"])
    operation_id = data.get("operation", data.get("id"))
    if inner.kind == "request.accepted":
        if operation_id in state.operations or not Verb(data["verb"]).moves:
            raise ValueError("a site alone begins operations of its own, and nothing else")
        _begin(state, inner, Verb(data["verb"]))
        answer = Answer(
            request_id=operation_id, digest=data["digest"], index=outer.index, accepted=True
        )
        state.answers[operation_id] = answer
        log.operations.add(operation_id)
        state.elsewhere.add(operation_id)
    elif inner.kind not in _CARRIED_OUT:
        return
    elif operation_id not in log.operations:
        raise ValueError("an operation of another log")
    else:
        _HANDLERS[inner.kind](state, inner)
    _place(state.operations[operation_id], inner, outer)


def _place(operation: Operation, inner: Entry, outer: Entry) -> None:
    """Say where in this journal a merged operation stands."""
    operation.origin = inner.origin
    if inner.kind == "request.accepted":
        operation.index = outer.index
    if inner.kind == "operation.ended":
        operation.ended_index = outer.index


def _closed(state: State, entry: Entry) -> None:
    """What a closed log left open is unknown: nobody goes on with it there."""
    data = _data(entry)
    state.epoch_floor = max(state.epoch_floor, data["epoch"])
    log = state.merged.setdefault(data["origin"], MergedLog())
    log.closed_size = data["size"]
    for operation_id in log.operations:
        operation = state.operations[operation_id]
        if operation.outcome is None:
            operation.outcome = Outcome.UNKNOWN
            state.finished[operation_id] = Outcome.UNKNOWN
            _leave_open(operation, entry.time)


def _leave_open(operation: Operation, time: str) -> None:
    for samu_id in operation.samus:
        end = SamuEnd(outcome=Outcome.UNKNOWN, to=operation.to, moved=True, time=time)
        operation.ends.setdefault(samu_id, end)


def _reported(state: State, entry: Entry) -> None:
    state.reports.add(_data(entry)["id"])


def _noted(state: State, entry: Entry) -> None:
    """Known, and changes nothing that is folded."""


#: What a merged log may tell of its own operations.
_CARRIED_OUT = (
    "request.approved", "step.started", "step.outcome", "call.proved", "path.chosen", "wave.ended",
    "soak.probed", "operation.held", "operation.ended",
)  # fmt: skip

_HANDLERS = {
    "leadership.taken": _took,
    "leadership.left": _left,
    "request.accepted": _accepted,
    "request.refused": _refused,
    "request.waiting": _awaits_second,
    "request.finished": _settled,
    "step.started": _started,
    "step.outcome": _outcome,
    "call.proved": _called,
    "path.chosen": _path_chosen,
    "wave.ended": _wave_ended,
    "soak.probed": _probed,
    "operation.held": _operation_held,
    "operation.ended": _ended,
    "seal.started": _noted,
    "seal.outcome": _noted,
    "enrol.started": _noted,
    "enrol.outcome": _enrolled,
    "check.started": _check_started,
    "check.ended": _check_ended,
    "report.received": _reported,
    "rules.adopted": _adopted,
    "alarm.raised": _alarmed,
    "request.approved": _approved,
    "target.held": _held,
    "break-glass.begun": _noted,
    "break-glass.merged": _merged,
    "break-glass.closed": _closed,
    "trigger.observed": _observed,
    "inbox.overflowed": _noted,
}
