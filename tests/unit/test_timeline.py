"""Which path a call may take at an instant: what the ledger of calls is judged by."""

from __future__ import annotations

from typing import Any

import pytest

from sisamu_ops.failover.fold.state import State
from sisamu_ops.failover.fold.timeline import paths_allowed
from tests.support.told import START, folded

OTHER = "failback-abcdef012345"
STARTED: tuple[str, dict[str, Any]] = ("step.started", {})
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


def test_between_start_and_outcome_both_are_right() -> None:
    """While it moves, a call may meet either path; before it, only the old one.

    An operation of many waves moves a SAMU when its wave begins, not when it is accepted.
    """
    state = folded(("request.accepted", {}), STARTED)
    assert (at(state, 0.999), at(state, 1), at(state, 99)) == (NOMINAL, BOTH, BOTH)
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
    state = folded(("request.accepted", {}), STARTED, ended(word, moved))
    assert (at(state, 1.999), at(state, 2)) == (BOTH, allowed)


def test_there_and_back() -> None:
    """Backup after the first `done`, both on the way back, nominal after the second."""
    state = folded(
        ("request.accepted", {}), STARTED, ended("done", True),
        ("request.accepted", {"id": OTHER, "verb": "failback", "to": "nominal"}),
        ("step.started", {"operation": OTHER}), ended("done", True, OTHER),
    )  # fmt: skip
    assert [at(state, s) for s in (1, 2, 3, 4, 5)] == [BOTH, BACKUP, BACKUP, BOTH, NOMINAL]


def test_a_rescue_may_meet_any_mode_of_its_order() -> None:
    """Until it has ended nobody knows which it takes; then only the one it took is right."""
    fell = {"300": {"outcome": "done", "to": "degraded", "moved": True, "detail": ""}}
    state = folded(
        ("request.accepted", {"order": ["backup", "degraded"]}), STARTED,
        ("wave.ended", {"samus": fell}),
    )  # fmt: skip
    assert at(state, 1.5) == frozenset({"nominal", "degraded", "backup"})
    assert at(state, 2) == frozenset({"degraded"})
