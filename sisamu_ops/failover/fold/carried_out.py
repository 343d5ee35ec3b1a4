"""What an operation did, and what came of it: steps, calls, waves, ends (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sisamu_ops.failover.fold.handler import Handlers, data_of
from sisamu_ops.failover.fold.known import Handover, Known
from sisamu_ops.failover.fold.modes import entered
from sisamu_ops.failover.fold.operation import Operation, SamuEnd, Soak, Step
from sisamu_ops.journal.entry import Entry
from sisamu_ops.model.outcome import Outcome

#: Paths that no caller takes while all is well: whether they work must be proved.
_PROVABLE = ("degraded", "backup")


def _started(state: Known, entry: Entry) -> None:
    data = data_of(entry)
    step = Step(
        index=entry.index, epoch=entry.epoch, time=entry.time, playbook=data["playbook"],
        targets=data["targets"], wave=int(data.get("wave", 0)),
    )  # fmt: skip
    state.operations[data["operation"]].steps.append(step)


def _outcome(state: Known, entry: Entry) -> None:
    data = data_of(entry)
    steps = {step.index: step for step in state.operations[data["operation"]].steps}
    step, host = steps[data["step"]], data["target"]
    step.outcomes[host] = Outcome(data["outcome"])
    step.details[host] = data["detail"]
    step.left[host] = tuple(data.get("left", ()))
    step.took[host] = dict(data.get("took", {}))


def _called(state: Known, entry: Entry) -> None:
    operation = state.operations[data_of(entry)["operation"]]
    operation.calls.append(data_of(entry))
    _prove(state, operation, data_of(entry), entry.time)


def _prove(state: Known, operation: Operation, call: Mapping[str, Any], answered_at: str) -> None:
    """Note which path an answered call proves: the answerer says its mode, and whose it is.

    Answered by another SAMU than the one called, or by none of the operation's, it proves nothing.
    """
    mode, _, rest = str(call["result"]["answered_by"]).partition(";")
    samu_id = rest.partition(";")[0].removeprefix("samu=")
    called = operation.samus if "samu" not in call else (call["samu"],)
    if call["result"]["answered"] and mode in _PROVABLE and samu_id in called:
        times = state.proved.setdefault(samu_id, {})
        times[mode] = max(answered_at, times.get(mode, ""))


def _path_chosen(state: Known, entry: Entry) -> None:
    data = data_of(entry)
    chosen = state.operations[data["operation"]].chosen
    chosen |= {samu_id: said["why"] for samu_id, said in data["samus"].items()}


def _wave_ended(state: Known, entry: Entry) -> None:
    data = data_of(entry)
    operation = state.operations[data["operation"]]
    operation.waves_ended.setdefault(data["wave"], entry.time)
    for samu_id, said in data["samus"].items():
        end = SamuEnd(
            outcome=Outcome(said["outcome"]), to=said["to"], moved=bool(said["moved"]),
            detail=said["detail"], time=entry.time,
        )  # fmt: skip
        _end_samu(state, operation, samu_id, end)


def _end_samu(state: Known, operation: Operation, samu_id: str, end: SamuEnd) -> None:
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


def _probed(state: Known, entry: Entry) -> None:
    data = data_of(entry)
    operation = state.operations[data["operation"]]
    soak = operation.soaks.setdefault(data["wave"], Soak())
    soak.probes, soak.last_at = soak.probes + 1, entry.time
    soak.over = bool(data["last"])
    soak.bad |= data["bad"]


def _operation_held(state: Known, entry: Entry) -> None:
    operation = state.operations[data_of(entry)["operation"]]
    operation.held, operation.held_at = data_of(entry)["cause"], entry.time


def _ended(state: Known, entry: Entry) -> None:
    data = data_of(entry)
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


def _evacuated(state: Known, operation: Operation) -> None:
    """Note where a site's calls go once all of it is done; leadership follows them, last."""
    if operation.outcome is not Outcome.DONE:
        return
    if operation.site == operation.to:
        state.evacuated.pop(operation.site, None)
        return
    state.evacuated[operation.site] = operation.to
    if state.leader_site == operation.site:
        state.handover = Handover(request_id=operation.operation_id, to=operation.to)


def _take_back(state: Known, operation: Operation, samu_id: str) -> None:
    """Want again what was wanted before for a SAMU that was never begun."""
    if state.intents.get(samu_id) == operation.token:
        state.intended[samu_id] = operation.previous[samu_id]


HANDLERS: Handlers = {
    "step.started": _started,
    "step.outcome": _outcome,
    "call.proved": _called,
    "path.chosen": _path_chosen,
    "wave.ended": _wave_ended,
    "soak.probed": _probed,
    "operation.held": _operation_held,
    "operation.ended": _ended,
}
