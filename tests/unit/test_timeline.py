"""Which path a call may take at an instant: what the ledger of calls is judged by."""

from __future__ import annotations

from typing import Any

import pytest

from sisamu_ops.failover.state import State
from sisamu_ops.failover.timeline import paths_allowed
from tests.support.told import START, folded

OTHER = "failback-abcdef012345"
BOTH = frozenset({"nominal", "backup"})
NOMINAL, BACKUP = frozenset({"nominal"}), frozenset({"backup"})


def at(state: State, second: float, samu: str = "300") -> frozenset[str]:
    """Return the paths allowed `second` seconds after the first entry."""
    return paths_allowed(state)(samu, round((START.timestamp() + second) * 1000))


def ended(word: str, moved: bool, operation: str = "failover-0123456789ab") -> tuple[str, Any]:
    return "operation.ended", {"operation": operation, "outcome": word, "moved": moved}


def test_nominal_is_allowed_when_nothing_was_asked() -> None:
    """A SAMU the journal does not mention takes its calls on the nominal path."""
    assert at(State(), 0) == NOMINAL


def test_between_acceptance_and_outcome_both_are_right() -> None:
    """While it moves, a call may meet either path; before it, only the old one."""
    state = folded(("request.accepted", {}), ("step.started", {}))
    assert (at(state, -0.001), at(state, 0), at(state, 99)) == (NOMINAL, BOTH, BOTH)
    assert at(state, 99, samu="680") == NOMINAL


@pytest.mark.parametrize(
    ("word", "moved", "allowed"),
    [
        ("done", True, BACKUP),
        ("failed", False, NOMINAL),
        ("failed", True, BOTH),
        ("unknown", True, BOTH),
        ("unknown", False, BOTH),
    ],
)
def test_the_outcome_says_what_is_right_after(
    word: str, moved: bool, allowed: frozenset[str]
) -> None:
    """After `done` the new path only; after a failure that moved nothing the old one only."""
    state = folded(("request.accepted", {}), ended(word, moved))
    assert (at(state, 0.999), at(state, 1)) == (BOTH, allowed)


def test_there_and_back() -> None:
    """Backup after the first `done`, both on the way back, nominal after the second."""
    state = folded(
        ("request.accepted", {}), ended("done", True),
        ("request.accepted", {"id": OTHER, "verb": "failback", "to": "nominal"}),
        ended("done", True, OTHER),
    )  # fmt: skip
    assert [at(state, s) for s in (0, 1, 2, 3)] == [BOTH, BACKUP, BOTH, NOMINAL]
