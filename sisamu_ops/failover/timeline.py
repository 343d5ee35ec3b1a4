"""Which paths a SAMU's calls may take at which instant, by the journal (pure).

From the acceptance of a request until its outcome both the old and the new path are right;
after `done` only the new one. After a failure that moved nothing, only the old one again;
after any other end, both, until something is done.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from sisamu_ops.failover.reading import DEFAULT_MODE
from sisamu_ops.failover.request import parse_rfc3339
from sisamu_ops.failover.state import Operation, State
from sisamu_ops.model.outcome import Outcome


def paths_allowed(state: State) -> Callable[[str, int], frozenset[str]]:
    """Return what maps a SAMU and an instant (POSIX milliseconds) to its allowed paths."""
    spans = {samu: _spans(state, samu) for o in state.operations.values() for samu in o.samus}

    def allowed(samu_id: str, at_ms: int) -> frozenset[str]:
        paths = frozenset({DEFAULT_MODE})
        for begins_ms, then in spans.get(samu_id, []):
            if begins_ms <= at_ms:
                paths = then
        return paths

    return allowed


def _spans(state: State, samu_id: str) -> list[tuple[int, frozenset[str]]]:
    """Return from which instant which paths are allowed, oldest first."""
    paths = frozenset({DEFAULT_MODE})
    spans = []
    # A merged log's operations come late into the journal, and were earlier.
    for operation in sorted(state.operations.values(), key=lambda o: o.accepted_at):
        if samu_id not in operation.samus:
            continue
        before = paths
        paths = before | {operation.to}
        spans.append((_ms(operation.accepted_at), paths))
        if operation.ended_at:
            paths = _after(operation, before)
            spans.append((_ms(operation.ended_at), paths))
    return spans


def _after(operation: Operation, before: frozenset[str]) -> frozenset[str]:
    if operation.outcome is Outcome.DONE:
        return frozenset({operation.to})
    if operation.outcome is Outcome.FAILED and not operation.moved:
        return before
    return before | {operation.to}


def _ms(text: str) -> int:
    moment: datetime = parse_rfc3339(text)
    return round(moment.timestamp() * 1000)
