"""What one playbook run proves of each target: done, failed, or unknown."""

from __future__ import annotations

from typing import Any

import pytest

from sisamu_ops.failover.acting.ledger import (
    RunLedger,
    TargetResult,
    judge_calls,
    judge_fence,
    judge_probe,
    judge_samu,
    judge_sealed,
)
from sisamu_ops.failover.reading import Reading
from sisamu_ops.model.outcome import Outcome
from tests.support.told import ID, folded

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
        ([call("backup;samu=680")], Outcome.FAILED),
        ([call(), call() | {"host": "otn-paris"}], Outcome.FAILED),
        ([call(answered=False, answered_by="", status=503)], Outcome.FAILED),
        ([], Outcome.UNKNOWN),
        ([call() | {"via": "gateway"}], Outcome.UNKNOWN),
    ],
    ids=[
        "answered",
        "old path",
        "another SAMU",
        "another router",
        "no answer",
        "no call",
        "gateway only",
    ],
)
def test_a_path_is_proved_by_calls_through_its_routers(
    calls: list[dict[str, Any]], outcome: Outcome
) -> None:
    """Each call must be answered on the wanted path; no call at all proves nothing."""
    judged, detail = judge_calls(calls, {"otn-lyon": "backup;samu=300"})
    assert judged is outcome
    assert bool(detail) is (outcome is not Outcome.DONE)


# --- after a seal ----------------------------------------------------------------------------


def read(running: str | None, durable: str | None = None, *, sealed: bool = True) -> Reading:
    listed = running if durable is None else durable
    return Reading(
        host="otn", reachable=True, sealed=sealed, values={"300": running} if running else {},
        durable={"300": listed} if listed else {},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("reading", "wanted", "outcome"),
    [
        (read("backup"), "backup", Outcome.DONE),
        (read("nominal"), "backup", Outcome.FAILED),
        (read(None), "nominal", Outcome.DONE),
        (read("backup", "nominal"), "backup", Outcome.UNKNOWN),
        (read("backup", sealed=False), "backup", Outcome.UNKNOWN),
        (Reading(host="otn", reachable=False), "backup", Outcome.UNKNOWN),
    ],
    ids=["as wanted", "otherwise", "by default", "half", "not sealed", "cut off"],
)
def test_only_what_is_sealed_is_judged(reading: Reading, wanted: str, outcome: Outcome) -> None:
    """Without a seal, something older may still arrive: even the wanted value is unknown."""
    assert judge_sealed(reading, {"300": wanted}, "nominal").outcome is outcome


def test_sealed_each_samu_of_a_step_is_told() -> None:
    """One of two SAMUs moved: the target did what it was sent for that one, and left the other."""
    result = judge_sealed(read("backup"), {"300": "backup", "680": "backup"}, "nominal")
    assert (result.outcome, result.left) == (Outcome.DONE, ("680",))
    assert "680 reads nominal" in result.detail


def test_sealed_another_mode_of_the_rescue_order_is_done() -> None:
    """A rescue may have fallen to another mode before its leader died."""
    result = judge_sealed(read("degraded"), {"300": "backup"}, "nominal", ("backup", "degraded"))
    assert (result.outcome, result.took) == (Outcome.DONE, {"300": "degraded"})
    assert judge_sealed(read("degraded"), {"300": "backup"}, "nominal").outcome is Outcome.FAILED


# --- what a rescue chose ----------------------------------------------------------------------


def chosen(to: str) -> TargetResult:
    """Return what is known of a router after a rescue chose for SAMU 680."""
    wanted = {"300": "backup", "680": "backup"}
    ledger = RunLedger(targets={"otn-lyon": wanted}, routers=("otn-lyon",))
    ledger.take({"event": "choice", "host": "samu-680", "samu": "680", "to": to, "why": "silent"})
    values = {"300": "backup", "680": "degraded"}
    result = ledger.take(fence(outcome="done", values=values, durable=values))
    assert result is not None
    return result


def test_the_chosen_mode_is_what_must_show() -> None:
    """A SAMU that fell to the next mode is done there, and said to have taken it."""
    result = chosen("degraded")
    assert (result.outcome, result.left, result.took) == (Outcome.DONE, (), {"680": "degraded"})


@pytest.mark.parametrize("to", ["", "backup"])
def test_what_was_left_out_is_left(to: str) -> None:
    """No path may be taken, or the router does not show it: left, whatever it holds otherwise."""
    result = chosen(to)
    assert (result.outcome, result.left) == (Outcome.DONE, ("680",))


def test_a_gateway_holds_no_mode() -> None:
    """What a rescue chose is a router's value: a gateway that was armed is done all the same."""
    ledger = RunLedger(targets={"samu-300": {"300": "armed"}}, routers=("otn-lyon",))
    ledger.take({"event": "choice", "samu": "300", "to": "degraded"})
    armed = {"300": "armed"}
    result = ledger.take(fence(outcome="done", values=armed, durable=armed) | {"host": "samu-300"})
    assert result is not None
    assert (result.outcome, result.took) == (Outcome.DONE, {})


# --- one SAMU ---------------------------------------------------------------------------------

ROUTERS = ("otn-paris", "otn-lyon")
CHANGES = {
    "samu-300": {"300": "armed"}, "samu-680": {"680": "armed"},
    "otn-paris": {"300": "backup", "680": "backup"}, "otn-lyon": {"300": "backup", "680": "backup"},
}  # fmt: skip


def end_of(
    samu: str, calls: dict[str, str] | None = None, **said: Any
) -> tuple[Outcome, str, bool]:
    """Return outcome, mode and whether it moved; `said` changes what a target's entry says."""
    answered = {"300": "backup;samu=300", "680": "backup;samu=680"} | (calls or {})
    outcomes = [
        ("step.outcome", {"target": host, "outcome": "done"} | said.get(host.replace("-", "_"), {}))
        for host in CHANGES
    ]
    proved = [
        ("call.proved", {"samu": s, "host": h, "result": {"answered": bool(by), "answered_by": by}})
        for s, by in answered.items() for h in ROUTERS
    ]  # fmt: skip
    both = {"samus": ["300", "680"], "changes": CHANGES, "order": ["backup", "degraded"]}
    state = folded(
        ("request.accepted", both), ("step.started", {"targets": CHANGES}), *outcomes, *proved
    )
    end = judge_samu(state.operations[ID], samu, ROUTERS, wanted=True)
    return end.outcome, end.to, end.moved


def test_a_samu_is_done_by_its_targets_and_its_calls() -> None:
    """Gateway armed, every router moved, a call through each answered on the path."""
    assert end_of("300") == (Outcome.DONE, "backup", True)


def test_samus_of_one_step_end_apart() -> None:
    """One gateway that failed is its SAMU's failure alone."""
    failed = {"samu_680": {"outcome": "failed", "detail": "not begun"}}
    assert end_of("300", **failed)[0] is Outcome.DONE
    assert end_of("680", **failed)[0] is Outcome.FAILED


def test_a_samu_left_on_every_router_is_not_moved() -> None:
    """Left where it was everywhere: failed, and nothing moved; the other is done."""
    left = {"otn_paris": {"left": ["680"]}, "otn_lyon": {"left": ["680"]}}
    assert end_of("680", **left) == (Outcome.FAILED, "backup", False)
    assert end_of("300", **left) == (Outcome.DONE, "backup", True)


def test_a_samu_that_fell_to_another_mode_needs_no_gateway() -> None:
    """On degraded the gateway carries nothing: that it was not armed does not count."""
    fell = {
        "samu_680": {"outcome": "unknown"},
        "otn_paris": {"took": {"680": "degraded"}}, "otn_lyon": {"took": {"680": "degraded"}},
    }  # fmt: skip
    end = end_of("680", {"680": "degraded;samu=680"}, **fell)
    assert end == (Outcome.DONE, "degraded", True)
    assert end_of("680", **fell)[0] is Outcome.FAILED  # answered by the gateway all the same


def test_routers_that_differ_are_not_done() -> None:
    """One router on degraded, one on backup: nobody calls that done."""
    assert end_of("680", otn_paris={"took": {"680": "degraded"}})[0] is Outcome.FAILED


def test_a_call_of_one_samu_does_not_speak_for_another() -> None:
    """A bad call is its own SAMU's failure."""
    assert end_of("680", {"680": ""})[0] is Outcome.FAILED
    assert end_of("300", {"680": ""})[0] is Outcome.DONE


def test_a_probe_must_reach_every_samu_through_every_router() -> None:
    """Silence through one router is as bad as a wrong answer."""
    expected = {s: dict.fromkeys(ROUTERS, f"backup;samu={s}") for s in ("300", "680")}
    calls = [
        {"samu": s, "host": r, "via": "router", "result": {"answered": True, "answered_by": said}}
        for s, answers in expected.items() for r, said in answers.items()
    ]  # fmt: skip
    assert judge_probe(expected, calls) == {}
    assert judge_probe(expected, calls[:-1]) == {"680": f"no test call through {ROUTERS[-1]}"}
    assert list(judge_probe({"300": dict.fromkeys(ROUTERS, "nominal")}, calls)) == ["300"]
    assert set(judge_probe(expected, [])) == {"300", "680"}
