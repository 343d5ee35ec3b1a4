"""What one playbook run proves of each target: done, failed, or unknown."""

from __future__ import annotations

from typing import Any

import pytest

from sisamu_ops.failover.ledger import RunLedger, judge_calls, judge_fence
from sisamu_ops.model.outcome import Outcome

BEGIN = {"event": "start", "host": "otn-lyon", "module": "sisamu_fence"}
END = {"event": "end", "stats": {}}


def fence(**answer: Any) -> dict[str, Any]:
    shown = {"accepted": True, "values": {"300": "backup"}, "durable": {"300": "backup"}}
    return {"event": "fence", "host": "otn-lyon", "result": shown | answer}


def after(*events: dict[str, Any]) -> tuple[Outcome, str]:
    """Return what is known of otn-lyon once the run is over."""
    ledger = RunLedger(targets={"otn-lyon": {"300": "backup"}})
    for event in events:
        ledger.take(event)
    result = ledger.results.get("otn-lyon") or ledger.missing()["otn-lyon"]
    return result.outcome, result.detail


@pytest.mark.parametrize("word", ["done", "failed", "unknown"])
def test_a_target_is_what_its_fence_says(word: str) -> None:
    """The helper's own outcome is taken as it is, with its detail."""
    said = after(BEGIN, fence(outcome=word, detail="read back"), END)
    assert said == (Outcome(word), "read back")


@pytest.mark.parametrize("place", ["values", "durable"])
def test_a_samu_left_out_is_not_done(place: str) -> None:
    """`done` of what was sent is not `done` of what was wanted: both readings must show it.

    A rescue leaves a SAMU out whose gateway refuses calls; its router did what it was sent.
    """
    left = {"300": "nominal", "680": "backup"}
    outcome, detail = after(BEGIN, fence(outcome="done", **{place: left}), END)
    assert outcome is Outcome.FAILED
    assert "300" in detail


@pytest.mark.parametrize("word", [None, "", "DONE", "perhaps", 1])
def test_a_word_that_is_no_outcome_is_unknown(word: object) -> None:
    """Unknown is never rounded up, whatever a later helper may answer."""
    assert after(BEGIN, fence(outcome=word), END)[0] is Outcome.UNKNOWN


def test_a_refusal_is_failed_and_names_the_newer_token() -> None:
    """A target that took a newer token did nothing: failed, refused, and by which token."""
    answer = {"accepted": False, "reason": "older-token", "last": {"epoch": 9, "index": 4}}
    result = judge_fence(answer, {})
    assert (result.outcome, result.refused) == (Outcome.FAILED, True)
    assert "older-token" in result.detail
    assert "9.4" in result.detail


def test_a_refusal_without_fence_is_failed() -> None:
    """A target that is not enrolled refuses too, and has no token to name."""
    result = judge_fence({"accepted": False, "reason": "not-enrolled", "last": None}, {})
    assert (result.outcome, result.refused) == (Outcome.FAILED, True)
    assert "not-enrolled" in result.detail


def test_never_begun_is_failed_when_the_run_told_its_end() -> None:
    """A run that ended by itself without sending anything to a target did nothing there."""
    assert after({"event": "unreachable", "host": "otn-lyon", "message": "cut off"}, END) == (
        Outcome.FAILED,
        "not begun cut off",
    )


@pytest.mark.parametrize(
    "events",
    [
        (),
        (BEGIN,),
        (BEGIN, END),
        (BEGIN, {"event": "unreachable", "host": "otn-lyon", "message": "lost"}, END),
        (BEGIN, {"event": "failed", "host": "otn-lyon", "message": "lost"}, END),
        ({"event": "failed", "host": "otn-lyon", "message": "lost"},),
        ({"event": "start", "host": "otn-paris", "module": "sisamu_fence"},),
    ],
    ids=["cut short", "begun", "no answer", "unreachable", "failed", "no end", "other host"],
)
def test_silence_is_unknown(events: tuple[dict[str, Any], ...]) -> None:
    """Whatever was begun, or may have been, and gave no answer is unknown."""
    assert after(*events)[0] is Outcome.UNKNOWN


def test_other_modules_begin_no_change() -> None:
    """A test call is not a change of its host."""
    start = {"event": "start", "host": "otn-lyon", "module": "sisamu_test_call"}
    assert after(start, END)[0] is Outcome.FAILED


def test_a_module_is_known_by_its_full_name_too() -> None:
    """Ansible may give a module's name with its collection."""
    start = {"event": "start", "host": "otn-lyon", "module": "ansible.legacy.sisamu_fence"}
    assert after(start, END)[0] is Outcome.UNKNOWN


def test_hosts_of_no_concern_settle_nothing() -> None:
    """An answer of a host the step does not name is not an outcome of the step."""
    ledger = RunLedger(targets={"otn-paris": {}})
    assert ledger.take(fence(outcome="done")) is None
    assert set(ledger.missing()) == {"otn-paris"}


def call(answered_by: str = "backup;samu=300", **result: Any) -> dict[str, Any]:
    said = {"answered": True, "status": 200, "answered_by": answered_by, "pdd_ms": 5}
    return {"event": "call", "via": "router", "host": "otn-lyon", "result": said | result}


@pytest.mark.parametrize(
    ("calls", "outcome"),
    [
        ([call()], Outcome.DONE),
        ([call(), call("nominal;instance=paris")], Outcome.FAILED),
        ([call(answered=False, answered_by="", status=503)], Outcome.FAILED),
        ([], Outcome.UNKNOWN),
        ([call() | {"via": "gateway"}], Outcome.UNKNOWN),
    ],
    ids=["answered", "old path", "no answer", "no call", "gateway only"],
)
def test_a_path_is_proved_by_calls_through_routers(
    calls: list[dict[str, Any]], outcome: Outcome
) -> None:
    """Each call must be answered on the wanted path; no call at all proves nothing."""
    judged, detail = judge_calls(calls, "backup")
    assert judged is outcome
    assert bool(detail) is (outcome is not Outcome.DONE)
