"""SAMU 300 moved, rescued, and finished by the next leader, under real calls."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import pytest

from sisamu_ops.leadership.guard import descendants
from tests.support.desk import (
    ROOT,
    SISAMU,
    Desk,
    await_mode,
    family,
    load,
    modes,
    paused,
    resume,
)
from tests.support.lab import invite, kamcmd, transactions
from tests.support.waiting import await_that

REASON = ("--reason", "a test of the lab")
SWITCHOVER = ("switchover", "start", "--samu", "300", *REASON)
FAILOVER = ("failover", "start", "--samu", "300", *REASON)
FAILBACK = ("failback", "start", "--samu", "300", *REASON)
SESSION_TIMEOUT_S = 4.0
BACKUP = ["backup", "backup"]
NOMINAL = ["nominal", "nominal"]


@pytest.fixture(autouse=True)
def whole(desk: Desk) -> Iterator[None]:
    """Every test finds every program running, and leaves no link cut."""
    desk.lab.start(("*",))
    yield
    desk.lab.heal()


@pytest.fixture
def nominal(desk: Desk, whole: None) -> None:
    """The lab is led, and SAMU 300 is nominal."""
    desk.settle("nominal")


@pytest.fixture
def on_backup(desk: Desk, whole: None) -> None:
    """The lab is led, and SAMU 300 is on backup."""
    desk.settle("backup")


def other(site: str) -> str:
    return {"paris": "lyon", "lyon": "paris"}[site]


def test_there_and_back_loses_no_call(desk: Desk, nominal: None) -> None:
    """Switchover and failback at 20 calls a second: 0 lost, 0 misrouted, 0 cut."""
    with load(desk) as placed:
        there = desk.read(*SWITCHOVER)
        assert (there["outcome"], modes(desk.lab)) == ("done", BACKUP)
        back = desk.read(*FAILBACK)
        assert (back["outcome"], modes(desk.lab)) == ("done", NOMINAL)
    assert placed.clean == (0, 0, 0)
    assert placed.figures["answered_backup"] > 0
    assert placed.figures["answered_nominal"] > 0


def test_a_plan_tells_what_check_mode_foresees_and_what_it_cannot(
    desk: Desk, nominal: None
) -> None:
    """Ansible's check mode reads every target; what depends on a call is listed, and exits 6."""
    plan = desk.read("switchover", "plan", "--samu", "300", "--check", code=6)
    check = plan["check"]
    assert plan["allowed"] and check["complete"] and not check["problems"]
    assert {one["host"] for one in check["changes"]} == {"otn-paris", "otn-lyon", "samu-300"}
    assert {one["what"] for one in check["not_evaluated"]} == {
        f"test calls by {via} for SAMU 300" for via in ("gateway", "router")
    }
    assert modes(desk.lab) == NOMINAL


def test_a_broken_gateway_stops_the_switchover(desk: Desk, nominal: None) -> None:
    """Arming broken: exit 5 or 6, and no routing has moved."""
    desk.lab.stop(("samu-300",), kill=True)
    process = desk.start(*SWITCHOVER)
    process.communicate(timeout=90)
    assert process.returncode in (5, 6)
    assert modes(desk.lab) == NOMINAL
    operation = desk.last_operation()
    routed = [t["outcome"] for h, t in operation["steps"][0]["targets"].items() if "otn" in h]
    assert routed == ["failed", "failed"]


def test_a_dead_platform_is_left_for_backup(desk: Desk, nominal: None) -> None:
    """With every platform instance killed, failover ends done and calls are answered again."""
    desk.lab.stop(("npl-*",), kill=True)
    assert desk.read(*FAILOVER)["outcome"] == "done"
    with load(desk) as placed:
        answered = transactions(desk.lab, "otn-paris") + 30
        await_that(lambda: transactions(desk.lab, "otn-paris") > answered)
    assert placed.clean == (0, 0, 0)
    assert placed.figures["answered_backup"] == placed.figures["attempted"]


@contextmanager
def half_way(desk: Desk) -> Iterator[subprocess.Popen[str]]:
    """Yield a switchover whose first router has changed and whose second cannot be reached yet.

    The routers change one after the other, paris first: the sshd of lyon's is stopped, once
    the gateway is armed, so after the leader has read every target. The body has two seconds:
    then the leader's SSH gives lyon's router up.
    """
    sshd = desk.pid("sshd-otn-lyon")
    process = desk.start(*SWITCHOVER, "-o", "json")
    try:
        await_armed(desk)
        with paused(sshd):
            await_mode(desk.lab, "otn-paris", "backup")
            yield process
    finally:
        process.kill()
        process.wait()


def await_armed(desk: Desk) -> None:
    """Wait until the leader has armed SAMU 300's gateway."""
    await_that(
        lambda: "armed" in kamcmd(desk.lab, "samu-300", "htable.dump", "samu_gateway").split(), 30
    )


def test_the_next_leader_finishes(desk: Desk, nominal: None) -> None:
    """The leading agent killed between two routers: the next seals, reads, finishes; 0 lost."""
    leader, sshd = desk.leader(), desk.pid("sshd-otn-lyon")
    agent = desk.pid(f"agent-{leader}")
    with load(desk) as placed, half_way(desk) as process:
        os.kill(agent, signal.SIGKILL)
        assert modes(desk.lab) == ["backup", "nominal"]
        resume(sshd)
        process.wait(timeout=60)
    operation = desk.last_operation()
    assert (process.returncode, operation["outcome"]) == (0, "done")
    assert modes(desk.lab) == BACKUP
    assert desk.leader() == other(leader)
    assert placed.clean == (0, 0, 0)
    kinds = [e["kind"] for e in desk.read("audit", "story", operation["id"])]
    assert kinds.index("seal.started") < kinds.index("operation.ended")


def test_a_cut_off_leader_is_finished_elsewhere(desk: Desk, nominal: None) -> None:
    """The leader's site cut off: finished where reachable, unknown there, settled after heal."""
    leader, sshd = desk.leader(), desk.pid("sshd-otn-lyon")
    cut_off, reached = f"otn-{leader}", f"otn-{other(leader)}"
    with load(desk) as placed:
        with half_way(desk) as process:
            desk.lab.partition(leader)
            assert modes(desk.lab) == ["backup", "nominal"]
            resume(sshd)
            process.wait(timeout=90)
        operation = desk.last_operation()
        assert (operation["outcome"], operation["unsettled"]) == ("unknown", [cut_off])
        assert process.returncode == 6
        assert operation["steps"][-1]["targets"][reached]["outcome"] == "done"
        assert f"{cut_off} is unknown" in desk.run("status").stdout
        desk.lab.heal()
        desk.run("reconcile", *REASON)
        samu = desk.samu()
        assert (samu["operation"]["outcome"], samu["mode"]) == ("done", "backup")
    assert placed.clean == (0, 0, 0)


def test_nothing_runs_past_the_lease(desk: Desk, nominal: None) -> None:
    """The leading agent stopped past its lease: its guard has killed every descendant by then."""
    agent, sshd = desk.pid(f"agent-{desk.leader()}"), desk.pid("sshd-otn-lyon")
    with half_way(desk) as process:
        running = descendants(agent)
        with paused(agent):
            stopped_at = monotonic()
            assert len(running) > 1
            await_that(lambda: not _alive(agent), SESSION_TIMEOUT_S)
            assert monotonic() - stopped_at < SESSION_TIMEOUT_S
            resume(sshd)
            process.wait(timeout=60)
    assert process.returncode == 0
    assert modes(desk.lab) == BACKUP


def _alive(agent: int) -> list[int]:
    """Return the descendants that are more than the record of how they ended."""
    found = []
    for pid in descendants(agent):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state != "Z":
            found.append(pid)
    return found


def test_a_woken_leader_is_refused_by_the_target(desk: Desk, nominal: None) -> None:
    """Agent, disarmed guard and children stopped together, woken after another took over.

    The target refuses what they then send, the refusal is reported through the inbox and
    journalled by the new leader, and nothing they tried takes effect.
    """
    desk.lab.stop(("agent-*",))
    place = desk.lab.place
    home = place.root / "hosts/paris"
    agent = subprocess.Popen(
        ["ip", "netns", "exec", f"{place.name}-paris", str(SISAMU), "-i", "inventories/lab",
         "agent", "run", "--site", "paris", "--home", str(home)],
        cwd=ROOT, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env=os.environ | desk.environment | {"SISAMU_GUARD_DISARMED": "1"},
    )  # fmt: skip
    try:
        assert desk.await_leader()["leader"]["site"] == "paris"
        desk.lab.start(("agent-lyon", "agent-lille"))
        sshd = desk.pid("sshd-otn-lyon")
        process = desk.start(*SWITCHOVER, "-o", "json")
        await_armed(desk)
        with paused(sshd):
            await_mode(desk.lab, "otn-paris", "backup")
            await_that(lambda: _waits_for_lyon(agent.pid))
            tree = family(agent.pid)
            with paused(*tree):
                resume(sshd)
                assert desk.await_leader(other_than="paris")["leader"]["site"] == "lyon"
                process.wait(timeout=60)
                assert process.returncode == 0
                assert modes(desk.lab) == BACKUP
        await_that(lambda: bool(_reports(desk)), 60)
        report = _reports(desk)[-1]
        assert (report["site"], report["data"]["site"]) == ("lyon", "paris")
        assert "older-token" in report["data"]["refused"]["otn-lyon"]
        assert modes(desk.lab) == BACKUP
    finally:
        agent.kill()
        agent.wait()


def _waits_for_lyon(agent: int) -> bool:
    """Say whether an ssh to lyon's router is among the descendants."""
    for pid in descendants(agent):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if words.startswith(b"ssh\0") and b"198.18.2.11" in words:
            return True
    return False


def _reports(desk: Desk) -> list[dict[str, dict[str, dict[str, str]]]]:
    entries = desk.read("audit", "show", "--kind", "report.received")
    return [e for e in entries if e["data"]["refused"]]


def test_calls_flow_without_us(desk: Desk, on_backup: None) -> None:
    """Every agent and all of ZooKeeper killed under load: the mode holds, 0 lost."""
    with load(desk) as placed:
        desk.lab.stop(("agent-*", "zookeeper-*"), kill=True)
        status = desk.read("status")
        assert status["leader"]["site"] is None
        assert status["journal"]["source"].startswith("replica of")
        assert {s["id"]: s["mode"] for s in status["samus"]}["300"] == "backup"
        assert desk.run("leader", "show", code=4).stderr.count("remedy")
        desk.run(*FAILBACK, code=4)
    assert placed.clean == (0, 0, 0)
    assert placed.figures["answered_backup"] == placed.figures["attempted"]


def test_a_restarted_router_knows_its_mode(desk: Desk, on_backup: None) -> None:
    """A router killed and started again routes its first call to backup.

    The platform is dead, so that only the gateway can answer it.
    """
    desk.lab.stop(("otn-paris", "npl-*"), kill=True)
    desk.lab.start(("otn-paris",))
    assert " 200 " in invite(desk.lab, "198.18.1.11", "0465719300")
    assert desk.samu()["mode"] == "backup"


def test_a_stranger_is_refused(desk: Desk) -> None:
    """A key that allowed_signers does not name: exit 3, journalled, nothing changed."""
    stranger = desk.lab.place.root / "operator/stranger"
    before, size = modes(desk.lab), desk.await_leader()["journal"]["size"]
    said = desk.run("--identity", str(stranger), *SWITCHOVER, code=3)
    assert "remedy" in said.stderr
    # A site may have had something to say meanwhile: an alarm, a report.
    since = [e for e in desk.read("audit", "show", "--last", "9") if e["index"] >= size]
    assert [e["kind"] for e in since if e["kind"].startswith("request.")] == ["request.refused"]
    assert modes(desk.lab) == before


def test_the_replicas_of_all_sites_verify(desk: Desk) -> None:
    """The three replicas hold the same journal, agreed, and verify."""
    reports = desk.read("audit", "verify")
    assert {r["journal"] for r in reports} == {"paris", "lyon", "lille"}
    assert all(r["ok"] for r in reports)


def test_a_lone_site_acts_and_comes_home(desk: Desk, nominal: None, tmp_path: Path) -> None:
    """Paris cut off acts by break-glass, the majority goes on beside it, the log is merged.

    Under calls throughout: the leader holds what paris has moved, a leader above all epochs
    follows the merge, the way back works for both, and an auditor verifies every copy.
    """
    log = desk.lab.place.root / "hosts/paris/break-glass" / "1"
    with load(desk) as placed:
        desk.run("break-glass", "start", "failover", "--site", "paris", "--samu", "300", *REASON,
                 code=3)  # fmt: skip
        desk.lab.partition("paris")
        desk.await_leader(other_than="paris")
        alone = desk.read("break-glass", "start", "failover", "--site", "paris", "--samu", "300",
                          *REASON, code=5)  # fmt: skip
        assert (modes(desk.lab), alone["second_due"] is None) == (["backup", "nominal"], False)
        desk.lab.heal()
        moved = desk.read("failover", "start", "--samu", "680", *REASON, code=5)
        outcomes = {h: t["outcome"] for h, t in moved["steps"][-1]["targets"].items()}
        assert outcomes == {"otn-paris": "failed", "otn-lyon": "done", "samu-680": "done"}
        assert [one["target"] for one in desk.read("status")["held"]] == ["otn-paris"]
        approved = tmp_path / "approved.json"
        desk.run("break-glass", "show", "1", "--site", "paris", "--out", str(approved))
        second = str(desk.lab.place.root / "operator/second")
        desk.run("--identity", second, "request", "approve", str(approved))
        desk.run("audit", "verify", str(log))
        desk.run("journal", "merge", str(log), *REASON)
        status = desk.await_leader()
        await_that(lambda: desk.read("status")["leader"]["epoch"] > 2**32)
        desk.run("request", "submit", str(approved), code=5)
        both = ("--samu", "300", "--samu", "680", *REASON)
        assert "failover start" in desk.run("failback", "start", *both, code=3).stderr
        desk.run("failover", "start", *both)
        back = desk.read("failback", "start", *both)
        assert (back["outcome"], modes(desk.lab)) == ("done", NOMINAL)
    assert placed.clean == (0, 0, 0)
    status = desk.read("status")
    assert (status["held"], status["second_due"]) == ([], [])
    assert all(one["ok"] for one in desk.read("audit", "verify"))
    assert desk.read("break-glass", "list", "--site", "paris")[0]["merged_size"] > 0
