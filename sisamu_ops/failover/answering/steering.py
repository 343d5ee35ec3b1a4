"""What an operator may say of what was asked before: hold it, go on, abort, withdraw it (pure)."""

from __future__ import annotations

from sisamu_ops.failover.answering.refusal import AdmissionRefusedError
from sisamu_ops.failover.fold.operation import Operation
from sisamu_ops.failover.fold.state import State
from sisamu_ops.failover.request import Request, Verb


def steerable(state: State, request: Request) -> Operation:
    """Return the operation a request is about; refused unless it makes sense now."""
    operation = state.operations.get(request.about)
    if operation is None:
        raise AdmissionRefusedError(
            f"there is no operation {request.about}", remedy="sisamu operation list"
        )
    problem = _problem(state, operation, request.verb)
    if problem:
        raise AdmissionRefusedError(
            f"{operation.operation_id} {problem}",
            remedy=f"sisamu operation show {operation.operation_id}",
        )
    return operation


def _problem(state: State, operation: Operation, verb: Verb) -> str:
    if operation.outcome is not None or operation.operation_id in state.elsewhere:
        return "has ended"
    if operation.aborted_by:
        return f"is being aborted, by {operation.aborted_by}"
    if verb is Verb.HOLD and operation.held:
        return f"is held already: {operation.held}"
    return "is not held" if verb is Verb.GO_ON and not operation.held else ""


def withdrawable(state: State, request: Request, principal: str) -> str:
    """Return the waiting request that is withdrawn: by whoever asked for it, and nobody else."""
    waiting = state.waiting.get(request.about)
    if waiting is None:
        raise AdmissionRefusedError(
            f"{request.about} does not wait for a second signature",
            remedy="sisamu request list; what is under way: sisamu operation abort",
        )
    if waiting.principal != principal:
        raise AdmissionRefusedError(
            f"{waiting.principal} asked for it, not {principal}",
            remedy="leave it: unapproved it expires by itself",
        )
    return waiting.request_id


def acknowledgeable(state: State, request: Request) -> str:
    """Return the incident that is acknowledged; refused when there is none, or it is already."""
    found = next((i for i in state.incidents if i.incident_id == request.about), None)
    if found is None or found.acknowledged_by:
        by = f"was acknowledged by {found.acknowledged_by}" if found else "is no incident"
        raise AdmissionRefusedError(f"{request.about} {by}", remedy="sisamu incident list")
    return found.incident_id
