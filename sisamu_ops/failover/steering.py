"""What an operator may say of an operation under way: hold it, go on with it, abort it (pure)."""

from __future__ import annotations

from sisamu_ops.failover.operation import Operation
from sisamu_ops.failover.refusal import AdmissionRefusedError
from sisamu_ops.failover.request import Request, Verb
from sisamu_ops.failover.state import State


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
