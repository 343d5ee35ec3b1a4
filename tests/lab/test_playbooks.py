"""The playbooks against the lab: in order, stopped by doubt, never blocked in a rescue."""

from __future__ import annotations

import json
import os
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
ON_DEGRADED = ("degraded", "degraded")
ON_NOMINAL = ("nominal", "nominal")
ARMED, UNARMED = ("armed", "armed"), ("unarmed", "unarmed")
#: Where nobody answers a test call, it is not waited for as long as on the platform.
SOON = {"call_timeout_ms": 1500}


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


def routed(lab: Lab, samu_id: str = "300") -> list[tuple[str, str]]:
    """Return what each router holds for a SAMU: running, durable."""
    return [held(lab, router, samu_id) for router in ROUTERS]


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


def test_a_gateway_tells_the_age_of_its_directory(targets: Lab) -> None:
    """Of the file its desk phones use, which another `up` does not write again."""
    directory = targets.place.host_dir("samu-300") / "directory.csv"
    os.utime(directory, ns=(0, 1_700_000_000_123_000_000))
    targets.up(agents=False)
    assert ask_fence(targets, "samu-300", "read")["directory_at"] == 1_700_000_000_123
    assert ask_fence(targets, "otn-paris", "read")["directory_at"] is None


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
        run = run_playbook(targets, "failover", samus="300", to="backup", token="5.1", **SOON)
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
                targets, "failback", samus="300", to="nominal", token="5.1", **SOON
            )
        assert blocked.code != 0 and blocked.fences() == []
        assert {verdict for _, _, verdict in blocked.calls()} == {"silent"}
        assert "test call for SAMU 300 not answered" in blocked.output
        assert [held(targets, router) for router in ROUTERS] == [ON_BACKUP] * 2
        run = run_playbook(targets, "failback", samus="300", to="nominal", token="5.2", **SOON)
    assert run.code == 0, run.output
    assert [held(targets, router) for router in ROUTERS] == [ON_NOMINAL] * 2


def test_a_switchover_to_degraded_leaves_the_gateway_disarmed(targets: Lab) -> None:
    """From backup to the desks: call servers proved, routers moved and proved, gateways last."""
    run_playbook(targets, "switchover", samus="300,680", to="backup", token="5.1")
    run = run_playbook(
        targets, "switchover", samus="300,680", to="degraded", gateways=["samu-300"], token="5.2"
    )
    assert run.code == 0, run.output
    assert run.fences() == [("otn-paris", "done"), ("otn-lyon", "done"), ("samu-300", "done")]
    servers = [(e["host"], e["samu"], e["result"]["answered_by"])
               for e in run.of("call") if e["via"] == "call-server"]  # fmt: skip
    assert sorted(servers) == [
        (f"ccs-{site}", samu_id, f"degraded;samu={samu_id};site={site}")
        for site in ("lyon", "paris")
        for samu_id in ("300", "680")
    ]
    through = [(e["host"], e["samu"], e["result"]["verdict"])
               for e in run.of("call") if e["via"] == "router"]  # fmt: skip
    assert through == [(r, s, "expected") for r in ROUTERS for s in ("300", "680")]
    assert routed(targets) == routed(targets, "680") == [ON_DEGRADED] * 2
    assert (held(targets, "samu-300"), held(targets, "samu-680", "680")) == (UNARMED, ARMED)


def test_a_switchover_moves_each_samu_to_a_mode_of_its_own(targets: Lab) -> None:
    """`sisamu_moves` names them: every path is proved before the first router is spoken to."""
    moves = {"300": "backup", "680": "degraded"}
    with stopped(targets, "ccs-paris", "ccs-lyon"):
        blocked = run_playbook(targets, "switchover", moves=moves, token="5.1", **SOON)
    assert blocked.code != 0 and blocked.fences() == []
    assert "SAMU 680 not answered" in blocked.output
    with stopped(targets, "ccs-lyon"):
        run = run_playbook(targets, "switchover", moves=moves, token="5.2", **SOON)
    assert run.code == 0, run.output  # one call server is enough
    order = [("samu-300", "done"), *((router, "done") for router in ROUTERS)]
    assert run.fences() == [*order, ("samu-680", "done")]
    assert (routed(targets), routed(targets, "680")) == ([ON_BACKUP] * 2, [ON_DEGRADED] * 2)
    assert routed(targets, "120") == [ON_NOMINAL] * 2


def choices(run: Run) -> dict[str, str]:
    return {event["samu"]: event["to"] for event in run.of("choice")}


OUT, IN = ["backup", "degraded"], ["degraded", "backup"]


@pytest.mark.parametrize(
    ("order", "dead", "well", "refusing", "silent"),
    [
        (OUT, (), "backup is proved",
         "backup refuses calls; degraded is proved", "backup is silent; degraded is proved"),
        (OUT, ("desks",), "backup is proved",
         "backup refuses calls; degraded refuses calls; left where it is",
         "backup is silent; degraded refuses calls; backup is taken unproved"),
        (IN, (), *["degraded is proved"] * 3),
        (IN, ("ccs-*",), "degraded is silent; backup is proved",
         "degraded is silent; backup refuses calls; degraded is taken unproved",
         "degraded is silent; backup is silent; backup is taken unproved"),
        (["nominal", "backup"], ("npl-*", "phones"),
         *["nominal is silent; backup refuses calls; nominal is taken unproved"] * 2,
         "nominal is silent; backup is silent; backup is taken unproved"),
    ],
    ids=["out", "out, no desks", "in", "in, no call servers", "no platform"],
)  # fmt: skip
def test_a_rescue_takes_the_first_path_that_each_samus_own_calls_prove(
    order: list[str], dead: tuple[str, ...], well: str, refusing: str, silent: str, targets: Lab
) -> None:
    """Else the last that does not refuse calls; a SAMU whose every path refuses stays.

    SAMU 300's gateway is well, that of 680 refuses for want of a fence, that of 120 is dead: no
    SAMU holds up another.
    """
    forget_fence(targets, "samu-680")
    expected = {"300": well, "680": refusing, "120": silent}
    with stopped(targets, "samu-120", *dead):
        run = run_playbook(
            targets, "failover", samus=list(expected), order=order, token="5.1", **SOON
        )
    told = {e["samu"]: e["why"].removesuffix(" by a test call") for e in run.of("choice")}
    assert told == expected
    assert {(e["samu"], e["host"]) for e in run.of("choice")} == {
        (s, f"samu-{s}") for s in expected
    }
    taken = {
        s: "" if "left" in why else why.split("; ")[-1].split()[0] for s, why in expected.items()
    }
    assert choices(run) == taken
    for samu_id, to in taken.items():
        assert routed(targets, samu_id) == [(to or "nominal",) * 2] * 2
    assert (run.code == 0) is all(why.endswith("is proved") for why in expected.values()), (
        run.output
    )
    if set(taken.values()) == {"degraded"} == {order[0]}:
        assert not [host for host, _ in run.fences() if host not in ROUTERS]  # none was needed
    assert run.seconds < 15


def test_a_failover_to_central_telephony_does_not_touch_gateways(targets: Lab) -> None:
    """An armed gateway stays armed: what is not needed is not waited for."""
    run_playbook(targets, "switchover", samus="300", to="backup", token="5.1")
    run = run_playbook(targets, "failover", samus="300", to="nominal", token="5.2")
    assert run.code == 0, run.output
    assert run.fences() == [(router, "done") for router in ROUTERS] or run.fences() == [
        (router, "done") for router in reversed(ROUTERS)
    ]
    assert (routed(targets), held(targets, "samu-300")) == ([ON_NOMINAL] * 2, ARMED)


def test_prove_calls_every_samu_through_every_router(targets: Lab) -> None:
    """Nothing is changed; what is answered elsewhere than expected fails, and is named."""
    for router in ROUTERS:
        ask_fence(targets, router, "apply", "1.1", {"300": "degraded"})
    run = run_playbook(targets, "prove", expected={"300": "degraded", "680": "nominal"})
    assert run.code == 0, run.output
    told = {(e["host"], e["via"], e["samu"], e["result"]["verdict"]) for e in run.of("call")}
    assert told == {(r, "router", s, "expected") for r in ROUTERS for s in ("300", "680")}
    ask_fence(targets, "otn-lyon", "apply", "1.2", {"300": "nominal"})
    deviating = run_playbook(targets, "prove", expected={"300": "degraded", "680": "nominal"})
    assert deviating.code != 0
    assert {(e["host"], e["samu"]) for e in deviating.of("call")
            if e["result"]["verdict"] == "elsewhere"} == {("otn-lyon", "300")}  # fmt: skip
    assert run.fences() == deviating.fences() == []


def test_check_proves_a_gateway_and_leaves_it_as_it_was(targets: Lab) -> None:
    """Armed, called, disarmed again; what was armed before stays armed. No router is touched."""
    ask_fence(targets, "samu-680", "apply", "1.1", {"680": "armed"})
    tokens = {"token": "5.1", "token_after": "5.2"}
    run = run_playbook(targets, "check", samus="300,680", to="backup", **tokens)
    assert run.code == 0, run.output
    assert {(e["samu"], e["result"]["answered_by"]) for e in run.of("call")} == {
        ("300", "backup;samu=300"), ("680", "backup;samu=680"),
    }  # fmt: skip
    assert sorted(run.fences()) == [("samu-300", "done")] * 2 + [("samu-680", "done")]
    assert (held(targets, "samu-300"), held(targets, "samu-680", "680")) == (UNARMED, ARMED)
    assert not any(tokens_taken(targets, router) for router in ROUTERS)


def test_check_disarms_whatever_came_of_its_calls(targets: Lab) -> None:
    """A gateway that cannot serve is told, and is not left armed."""
    with stopped(targets, "phones"):
        run = run_playbook(
            targets, "check", samus="300", to="backup", token="5.1", token_after="5.2"
        )
    assert run.code != 0 and run.calls() == [("samu-300", "gateway", "refused")]
    assert "SAMU 300 refused with 503" in run.output
    assert held(targets, "samu-300") == UNARMED


def test_check_of_degraded_calls_the_call_servers(targets: Lab) -> None:
    """No token is needed where nothing is changed."""
    run = run_playbook(targets, "check", samus="300", to="degraded")
    assert run.code == 0, run.output
    assert sorted(run.calls()) == [
        ("ccs-lyon", "call-server", "expected"),
        ("ccs-paris", "call-server", "expected"),
    ]
    with stopped(targets, "desks"):
        assert run_playbook(targets, "check", samus="300", to="degraded").code != 0


def test_check_mode_tells_and_changes_nothing(targets: Lab) -> None:
    """`--check` reads every fence, says what would change and lists the calls as not evaluated."""
    run = run_playbook(
        targets, "switchover", "--check", "--diff", samus="300", to="backup", token="5.1"
    )
    assert run.code == 0, run.output
    assert run.of("call") == run.of("fence") == [] and '"backup"' in run.output
    assert [(e["host"], e["before"]["300"], e["after"]["300"]) for e in run.of("preview")] == [
        ("samu-300", ["unarmed"] * 2, ["armed"] * 2),
        *((router, ["nominal"] * 2, ["backup"] * 2) for router in ROUTERS),
    ]
    assert [(e["host"], e["what"]) for e in run.of("not-evaluated")] == [
        ("localhost", "test calls by gateway for SAMU 300"),
        *((router, "test calls by router for SAMU 300") for router in ROUTERS),
    ]
    back = run_playbook(targets, "failback", "--check", samus="300", to="nominal", token="5.1")
    assert back.code == 0, back.output
    assert [e["host"] for e in back.of("preview")] == [*ROUTERS, "samu-300"]
    assert not any(tokens_taken(targets, host) for host in TARGETS)
    stale = run_playbook(targets, "switchover", "--check", samus="300", to="backup", token="0.1")
    assert stale.code != 0 and "older-token" in stale.output
    assert "older-token" in stale.of("preview")[0]["problem"]


def test_check_mode_of_a_rescue_says_that_its_choice_depends_on_calls(targets: Lab) -> None:
    """It shows the first mode of the order, and chooses nothing."""
    order = ["degraded", "backup"]
    run = run_playbook(targets, "failover", "--check", samus="300", order=order, token="5.1")
    assert run.code == 0, run.output
    assert run.of("choice") == run.of("call") == []
    told = [e["what"] for e in run.of("not-evaluated") if e["host"] == "samu-300"]
    assert len(told) == 1 and told[0].startswith("SAMU 300: which path is taken depends on")
    shown = {e["host"]: e["after"]["300"][0] for e in run.of("preview")}
    assert shown == {"samu-300": "armed", "otn-paris": "degraded", "otn-lyon": "degraded"}
    assert not any(tokens_taken(targets, host) for host in TARGETS)


# --- a site evacuated by hand ------------------------------------------------------------------

WHERE = {"300": "nominal", "680": "degraded", "120": "backup"}


@pytest.fixture
def two_sites(targets: Lab) -> Iterator[Lab]:
    """Each router asks its own site first, by its second fence; the SAMUs are in three modes."""
    for host, change in {**dict.fromkeys(ROUTERS, WHERE), "samu-120": {"120": "armed"}}.items():
        assert ask_fence(targets, host, "apply", "4.1", change)["outcome"] == "done"
    own_sites(targets)
    yield targets
    own_sites(targets)


def own_sites(lab: Lab) -> None:
    for router in ROUTERS:
        fence, site = f"{router}/site", router.removeprefix("otn-")
        forget_fence(lab, fence)
        ask_fence(lab, fence, "enrol", "0.1")
        assert ask_fence(lab, fence, "apply", "0.2", dict.fromkeys(WHERE, site))["accepted"]


def first_sites(lab: Lab) -> list[set[str]]:
    """Return by router whom it asks first, in the running table and in the durable list."""
    told = [ask_fence(lab, f"{router}/site", "read") for router in ROUTERS]
    return [{*one["values"].values(), *one["durable"].values()} for one in told]


def test_a_site_is_evacuated_by_hand(two_sites: Lab) -> None:
    """Lyon's servers are proved in both central modes, then router by router; nothing is armed."""
    run = run_playbook(two_sites, "evacuate", expected=WHERE, to="lyon", token="5.1")
    assert run.code == 0, run.output
    assert sorted(run.calls()[:2]) == [
        ("ccs-lyon", "call-server", "expected"), ("npl-lyon", "platform", "expected"),
    ]  # fmt: skip
    assert run.fences() == [("otn-paris", "done"), ("otn-lyon", "done")]
    through = [(e["host"], e["result"]["answered_by"]) for e in run.of("call")[2:]]
    said = ("nominal;instance=lyon", "degraded;samu=680;site=lyon", "backup;samu=120")
    assert through == [(router, one) for router in ROUTERS for one in said]
    assert first_sites(two_sites) == [{"lyon"}] * 2
    assert [held(two_sites, router, "680") for router in ROUTERS] == [ON_DEGRADED] * 2
    late = run_playbook(two_sites, "evacuate", expected=WHERE, to="paris", token="4.9")
    assert (late.code, late.fences()) == (2, [("otn-paris", "older-token")])
    sites = {"otn-paris": dict.fromkeys(WHERE, "paris"), "otn-lyon": dict.fromkeys(WHERE, "lyon")}
    home = run_playbook(two_sites, "evacuate", expected=WHERE, to="paris", sites=sites, token="5.2")
    assert home.code == 0, home.output
    assert first_sites(two_sites) == [{"paris"}, {"lyon"}]


@pytest.mark.parametrize(
    ("dead", "to", "said"),
    [
        ("ccs-lyon", "lyon", "SAMU 680 not answered"), ("npl-lyon", "lyon", "not answered"),
        ("ccs-paris", "lille", "lille has no central server for nominal and degraded"),
    ],
)  # fmt: skip
def test_no_router_is_turned_to_a_site_that_cannot_serve(
    dead: str, to: str, said: str, two_sites: Lab
) -> None:
    """Every path that any SAMU is on must be proved there, though only one SAMU is turned."""
    served = {"sisamu_served": WHERE}
    one = {"300": "nominal"}
    with stopped(two_sites, dead):
        run = run_playbook(
            two_sites, "evacuate", "-e", json.dumps(served), expected=one, to=to, token="5.1",
            **SOON,
        )  # fmt: skip
    assert (run.code, run.fences()) == (2, [])
    assert said in " ".join(run.output.split())
    assert first_sites(two_sites) == [{"paris"}, {"lyon"}]
