"""The three playbooks against the lab: in order, stopped by doubt, never blocked in a rescue."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from sisamu_ops.lab import Lab
from tests.support.lab import stopped
from tests.support.playbooks import (
    TARGETS,
    Run,
    ask_fence,
    fence_directory,
    forget_fence,
    held,
    reset_targets,
    run_playbook,
)

ROUTERS = ("otn-paris", "otn-lyon")
ON_BACKUP = ("backup", "backup")
ON_NOMINAL = ("nominal", "nominal")


@pytest.fixture(scope="module")
def fenced(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The session's lab; its fences are as they were when the module ends."""
    kept = tmp_path_factory.mktemp("fences")
    for host in TARGETS:
        shutil.copytree(fence_directory(lab, host), kept / host)
    yield lab
    reset_targets(lab)
    for host in TARGETS:
        put_back(kept / host, fence_directory(lab, host))


def put_back(kept: Path, directory: Path) -> None:
    shutil.rmtree(directory)
    shutil.copytree(kept, directory)


@pytest.fixture(autouse=True)
def targets(fenced: Lab) -> Lab:
    reset_targets(fenced)
    return fenced


def tokens_taken(lab: Lab, host: str) -> bool:
    """Whether a host's fence has accepted anything since the test began."""
    last = ask_fence(lab, host, "read")["last"]
    return bool(last != {"epoch": 0, "index": 2})


def test_a_switchover_and_its_failback(targets: Lab) -> None:
    """Arm, prove, move each router and prove it, in that order; and back, disarming last."""
    there = run_playbook(targets, "switchover", samus="300", to="backup", token="5.1")
    assert there.code == 0, there.output
    check_events(there)
    order = [("samu-300", "done"), ("otn-paris", "done"), ("otn-lyon", "done")]
    assert there.fences() == order
    assert there.calls() == [
        ("samu-300", "gateway", "expected"),
        ("otn-paris", "router", "expected"),
        ("otn-lyon", "router", "expected"),
    ]
    assert [event["result"]["answered_by"] for event in there.of("call")] == ["backup;samu=300"] * 3
    assert [held(targets, router) for router in ROUTERS] == [ON_BACKUP] * 2
    assert held(targets, "samu-300") == ("armed", "armed")

    back = run_playbook(targets, "failback", samus=["300"], to="nominal", token="5.2")
    assert back.code == 0, back.output
    assert back.fences() == [*order[1:], order[0]]
    assert sorted(back.calls()[:2]) == [
        ("npl-lyon", "platform", "expected"),
        ("npl-paris", "platform", "expected"),
    ]
    assert [held(targets, router) for router in ROUTERS] == [ON_NOMINAL] * 2
    assert held(targets, "samu-300") == ("unarmed", "unarmed")
    assert [held(targets, router, "680") for router in ROUTERS] == [ON_NOMINAL] * 2


def check_events(run: Run) -> None:
    """Each kind of event has its fields, the last one is `end`, and no number called appears."""
    starts = [(e["host"], e["module"]) for e in run.of("start")]
    assert ("samu-300", "sisamu_fence") in starts and ("otn-paris", "sisamu_test_call") in starts
    assert {frozenset(event) for event in run.of("start")} == {
        frozenset(["event", "host", "task", "module"])
    }
    for event in run.of("call"):
        assert set(event["result"]) >= {"answered", "status", "answered_by", "pdd_ms"}
        assert event["result"]["status"] == 200 and event["samu"] == "300"
    assert run.of("fence")[0]["result"]["values"] == {"300": "armed"}
    assert run.events[-1]["event"] == "end" and len(run.of("end")) == 1
    counted = run.events[-1]["stats"]["otn-paris"]
    assert counted == {"ok": 2, "changed": 1, "failed": 0, "unreachable": 0}
    assert "0465719300" not in str(run.events)


def test_a_gateway_that_cannot_be_armed_stops_a_switchover(targets: Lab) -> None:
    """With the gateway down, or its fence not enrolled, no router is spoken to."""
    with stopped(targets, "samu-300"):
        down = run_playbook(targets, "switchover", samus="300", to="backup", token="5.1")
    assert down.code != 0 and down.fences() == [("samu-300", "unknown")]
    forget_fence(targets, "samu-300")
    strange = run_playbook(targets, "switchover", samus="300,680", to="backup", token="5.2")
    assert strange.code != 0 and ("samu-300", "not-enrolled") in strange.fences()
    assert "sisamu target enrol" in strange.output
    assert not any(tokens_taken(targets, router) for router in ROUTERS)


def test_a_gateway_that_is_armed_and_silent_stops_a_switchover(targets: Lab) -> None:
    """Arming is not proof: without an answer to the test call no router is spoken to."""
    with stopped(targets, "phones"):
        run = run_playbook(targets, "switchover", samus="300", to="backup", token="5.1")
    assert run.code != 0 and run.fences() == [("samu-300", "done")]
    assert [verdict for _, _, verdict in run.calls()] != ["expected"]
    assert not any(tokens_taken(targets, router) for router in ROUTERS)


def test_a_switchover_stops_at_the_first_router_that_fails(targets: Lab) -> None:
    """A router that cannot be read back stops the move before the next router."""
    with stopped(targets, "otn-paris"):
        run = run_playbook(targets, "switchover", samus="300", to="backup", token="5.1")
    assert run.code != 0 and run.fences() == [("samu-300", "done"), ("otn-paris", "unknown")]
    assert not tokens_taken(targets, "otn-lyon") and held(targets, "otn-lyon") == ON_NOMINAL
    assert held(targets, "otn-paris") == ON_BACKUP  # it came back with the durable list


def test_a_stale_token_moves_nothing(targets: Lab) -> None:
    """A run whose token was overtaken is refused by the targets themselves."""
    for host in TARGETS:
        ask_fence(targets, host, "seal", "6.0")
    run = run_playbook(targets, "failover", samus="300", to="backup", token="5.9")
    assert run.code != 0 and {told for _, told in run.fences()} == {"older-token"}
    assert [held(targets, router) for router in ROUTERS] == [ON_NOMINAL] * 2


def test_a_failover_goes_on_without_an_unreachable_router(targets: Lab) -> None:
    """The router that can be reached is moved and proved; the other one is told unreachable."""
    if not targets.place.isolated:
        pytest.fail("this machine has no namespaces: links cannot be cut")
    targets.partition("paris", "ops")
    try:
        run = run_playbook(targets, "failover", samus="300", to="backup", token="5.1")
    finally:
        targets.heal("paris", "ops")
    assert run.code != 0 and [event["host"] for event in run.of("unreachable")] == ["otn-paris"]
    assert run.fences() == [("samu-300", "done"), ("otn-lyon", "done")]
    assert ("otn-lyon", "router", "expected") in run.calls()
    assert held(targets, "otn-lyon") == ON_BACKUP and held(targets, "otn-paris") == ON_NOMINAL


def test_a_failover_does_not_move_to_a_gateway_that_refuses(targets: Lab) -> None:
    """A gateway that answers 503 after arming is left out; the other SAMU is rescued."""
    forget_fence(targets, "samu-300")
    run = run_playbook(targets, "failover", samus="300,680", to="backup", token="5.1")
    assert run.code == 0, run.output
    assert ("samu-300", "gateway", "refused") in run.calls()
    assert [held(targets, router) for router in ROUTERS] == [ON_NOMINAL] * 2
    assert [held(targets, router, "680") for router in ROUTERS] == [ON_BACKUP] * 2
    alone = run_playbook(targets, "failover", samus="300", to="backup", token="5.2")
    assert alone.code != 0 and "no routing was moved" in alone.output


def test_a_failover_moves_to_a_silent_gateway_unproved(targets: Lab) -> None:
    """A gateway that nobody can ask is still better than a path that is known to be broken."""
    with stopped(targets, "samu-300"):
        run = run_playbook(targets, "failover", samus="300", to="backup", token="5.1")
    assert ("samu-300", "gateway", "silent") in run.calls()
    assert [held(targets, router) for router in ROUTERS] == [ON_BACKUP] * 2
    assert run.code != 0  # the call through each router proved nothing, and that is said


def test_a_missing_test_number_blocks_only_what_is_planned(targets: Lab) -> None:
    """Test calls go to the test number or nowhere: a switchover is refused, a rescue goes on."""
    planned = run_playbook(
        targets, "switchover", "-e", "samu_test_number=", samus="300", to="backup", token="5.1"
    )
    assert planned.code != 0 and planned.fences() == []
    assert "SAMU 300 has no samu_test_number" in planned.output
    rescue = run_playbook(
        targets, "failover", "-e", "samu_test_number=", samus="300", to="backup", token="5.2"
    )
    assert rescue.code == 0 and rescue.calls() == []
    assert [held(targets, router) for router in ROUTERS] == [ON_BACKUP] * 2


def test_a_failback_proves_the_platform_first(targets: Lab) -> None:
    """With no instance answering nothing moves; one of two is enough."""
    for router in ROUTERS:
        ask_fence(targets, router, "apply", "1.1", {"300": "backup"})
    with stopped(targets, "npl-paris"):
        with stopped(targets, "npl-lyon"):
            blocked = run_playbook(
                targets, "failback", samus="300", to="nominal", token="5.1", call_timeout_ms=1000
            )
        assert blocked.code != 0 and blocked.fences() == []
        assert "the national platform is not proved" in blocked.output
        assert [held(targets, router) for router in ROUTERS] == [ON_BACKUP] * 2
        run = run_playbook(
            targets, "failback", samus="300", to="nominal", token="5.2", call_timeout_ms=2000
        )
    assert run.code == 0, run.output
    assert [held(targets, router) for router in ROUTERS] == [ON_NOMINAL] * 2


def test_check_mode_tells_and_changes_nothing(targets: Lab) -> None:
    """`--check` reads every fence, says what would change and lists the calls as not evaluated."""
    run = run_playbook(
        targets, "switchover", "--check", "--diff", samus="300", to="backup", token="5.1"
    )
    assert run.code == 0, run.output
    assert run.of("call") == [] and '"backup"' in run.output
    assert run.output.count("not evaluated in check mode") == 3
    back = run_playbook(targets, "failback", "--check", samus="300", to="nominal", token="5.1")
    assert back.code == 0, back.output
    assert not any(tokens_taken(targets, host) for host in TARGETS)
    stale = run_playbook(targets, "switchover", "--check", samus="300", to="backup", token="0.1")
    assert stale.code != 0 and "older-token" in stale.output
