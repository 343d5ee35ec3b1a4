"""Which paths a SAMU's calls may take at which instant, by the journal (pure).

From the moment a step that carries the SAMU begins until the SAMU's outcome both the old and the
new path are right; after `done` only the one it was brought to. After a failure that moved nothing,
only the old one again; after any other end, both, until something is done. An evacuation changes
which site answers, and no path.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from sisamu_ops.failover.fold.operation import SamuEnd
from sisamu_ops.failover.fold.state import State
from sisamu_ops.failover.reading import DEFAULT_MODE
from sisamu_ops.failover.request import parse_rfc3339
from sisamu_ops.model.outcome import Outcome


def paths_allowed(state: State) -> Callable[[str, int], frozenset[str]]:
    """Return what maps a SAMU and an instant (POSIX milliseconds) to its allowed paths."""
    spans = {samu: _spans(state, samu) for samu in state.by_samu}

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
    moves = state.operations_of(samu_id, evacuates=False)
    for operation in sorted(moves, key=lambda o: o.accepted_at):
        began = operation.started_at(samu_id)
        end = operation.ends.get(samu_id)
        if not began:
            continue
        before = paths
        paths = before | {operation.to, *operation.order}
        spans.append((_ms(began), paths))
        if end is not None:
            paths = _after(end, before)
            spans.append((_ms(end.time), paths))
    return spans


def _after(end: SamuEnd, before: frozenset[str]) -> frozenset[str]:
    if end.outcome is Outcome.DONE:
        return frozenset({end.to})
    if end.outcome is Outcome.FAILED and not end.moved:
        return before
    return before | {end.to}


def _ms(text: str) -> int:
    moment: datetime = parse_rfc3339(text)
    return round(moment.timestamp() * 1000)
