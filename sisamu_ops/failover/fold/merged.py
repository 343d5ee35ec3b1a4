"""What another log tells, entry by entry: a site acted alone, and its log came home (pure)."""

from __future__ import annotations

from sisamu_ops.failover.fold import asked, carried_out
from sisamu_ops.failover.fold.handler import Handlers, data_of
from sisamu_ops.failover.fold.known import Answer, Known
from sisamu_ops.failover.fold.merged_log import MergedLog
from sisamu_ops.failover.fold.operation import Operation, SamuEnd
from sisamu_ops.failover.request import Verb
from sisamu_ops.journal.canonical import canonical_bytes
from sisamu_ops.journal.entry import Entry, open_entry
from sisamu_ops.journal.merkle import leaf_hash
from sisamu_ops.model.outcome import Outcome

#: What a merged log may tell of its own operations.
_OF_ITS_OWN: Handlers = {
    "request.approved": asked.HANDLERS["request.approved"], **carried_out.HANDLERS,
}  # fmt: skip


def _merged(state: Known, entry: Entry) -> None:
    """Take in what another log's entry says happened there, as far as it concerns that log only.

    An inner entry that is not what its kind promises is kept, counted and otherwise passed over:
    a cut-off site's slip must not keep everybody from leading.
    """
    data = data_of(entry)
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


def _take_in(state: Known, log: MergedLog, inner: Entry, outer: Entry) -> None:
    data = data_of(inner)
    if inner.kind == "break-glass.begun":
        log.started = int(data["size"])
    operation_id = data.get("operation", data.get("id"))
    if inner.kind == "request.accepted":
        if operation_id in state.operations or not Verb(data["verb"]).moves:
            raise ValueError("a site alone begins operations of its own, and nothing else")
        asked.begin(state, inner, Verb(data["verb"]))
        answer = Answer(
            request_id=operation_id, digest=data["digest"], index=outer.index, accepted=True
        )
        state.answers[operation_id] = answer
        log.operations.add(operation_id)
        state.elsewhere.add(operation_id)
    elif inner.kind not in _OF_ITS_OWN:
        return
    elif operation_id not in log.operations:
        raise ValueError("an operation of another log")
    else:
        _OF_ITS_OWN[inner.kind](state, inner)
    _place(state.operations[operation_id], inner, outer)


def _place(operation: Operation, inner: Entry, outer: Entry) -> None:
    """Say where in this journal a merged operation stands."""
    operation.origin = inner.origin
    if inner.kind == "request.accepted":
        operation.index = outer.index
    if inner.kind == "operation.ended":
        operation.ended_index = outer.index


def _closed(state: Known, entry: Entry) -> None:
    """What a closed log left open is unknown: nobody goes on with it there."""
    data = data_of(entry)
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


HANDLERS: Handlers = {
    "break-glass.merged": _merged,
    "break-glass.closed": _closed,
}
