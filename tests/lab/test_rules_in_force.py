"""Rules in force: what they refuse, what they never hold up, and an engineer alone at night."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path

import pytest

from sisamu_ops.lab.database import missing_from_cluster
from sisamu_ops.model.platform import TelephonyMode
from tests.support.desk import Desk, running_mode
from tests.support.waiting import await_that

REASON = ("--reason", "a test of the lab")
ALL = ("--all", "--confirm", "sisamu-lab")
SAMUS = ("120", "300", "680")
#: What the lab's rules hold against planned work while its database is lost and a fault stands.
BROKEN = ("database-quorum", "freeze-window", "experiment-running", "second-signature")
ASIDE = tuple(word for rule in BROKEN for word in ("--override", rule))


@pytest.fixture(autouse=True)
def whole(ruled: Desk) -> None:
    """Every test finds every program running, no link cut and a leader."""
    ruled.lab.heal()
    ruled.lab.start(("*",))
    await_that(lambda: missing_from_cluster(ruled.lab.place) == "")
    ruled.await_leader()


def modes(ruled: Desk, router: str = "otn-paris") -> set[str]:
    return {running_mode(ruled.lab, router, samu) for samu in SAMUS}


def test_people_are_waited_for_and_asked_before_they_go_back(ruled: Desk) -> None:
    """Out: accepted, and waiting until agents are in place. Back: only with the list checked."""
    one, aside = ("--samu", "300"), ("--override", "freeze-window")
    process = ruled.start("switchover", "start", *one, *aside, "--owner", "shift lead",
                          "--bridge", "national", *REASON, "-o", "json")  # fmt: skip
    try:
        await_that(lambda: bool(ruled.read("status")["operations"]))
        assert mode(ruled) == "nominal"
        ruled.run("samu", "confirm", *one, "--by", "shift lead", "--channel", "phone", *REASON)
        out, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 0, err
    assert (json.loads(out)["outcome"], mode(ruled)) == ("done", "backup")
    facts = ruled.read("samu", "show", *one)
    assert (facts["owner"], facts["bridge"]) == ("shift lead", "national")
    assert facts["confirmed"]["by"] == "shift lead"
    assert facts["directory_at"]
    refused = ruled.run("failback", "start", *one, *ASIDE, *REASON, code=3).stderr
    assert "exit-checklist" in refused
    ruled.run("samu", "checklist", *one, "--tick", "agents-back", *REASON)
    ruled.run("failback", "start", *one, *ASIDE, *REASON)
    assert mode(ruled) == "nominal"


def mode(ruled: Desk) -> str:
    return running_mode(ruled.lab, "otn-paris")


def test_drift_is_shown_and_reverted_by_hand_only(ruled: Desk) -> None:
    """A router moved behind everybody's back: shown as unknown; reverted when somebody signs."""
    for router in ("otn-paris", "otn-lyon"):
        move_by_hand(ruled, router, "300", "degraded")
    drifted = ruled.read("samu", "drift")
    assert [(one["id"], one["mode"], one["intended_mode"]) for one in drifted] == [
        ("300", TelephonyMode.DEGRADED.value, "nominal")
    ]
    assert "sisamu samu drift" in ruled.run("status").stdout
    aside = ("--override", "freeze-window")
    ruled.run("samu", "drift", "--samu", "300", "--revert", *aside, *REASON)
    assert ruled.read("samu", "drift") == []
    assert running_mode(ruled.lab, "otn-lyon") == "nominal"


def move_by_hand(ruled: Desk, router: str, samu: str, mode: str) -> None:
    """Change a router's durable list and its running Kamailio, past its fence."""
    home = ruled.lab.place.host_dir(router)
    table = home / "dbtext/samu_mode"
    lines = table.read_text().splitlines()
    moved = [
        line.replace(":nominal:", f":{mode}:") if line.split(":")[1:2] == [samu] else line
        for line in lines
    ]
    table.write_text("\n".join(moved) + "\n")
    control = f"unix:{home}/kamailio.sock"
    words = ["kamcmd", "-s", control, "htable.sets", "samu_mode", f"s:{samu}", f"s:{mode}"]
    subprocess.run(words, check=True, capture_output=True)


def test_what_refuses_planned_work_is_told_to_a_rescue(ruled: Desk) -> None:
    """Database lost, a freeze, an experiment, one signature: the rescue goes on, told of each."""
    ruled.lab.stop(("galera-lyon", "garbd-lille"), kill=True)
    await_that(lambda: "database LOST" in ruled.run("status").stdout)
    ruled.run("chaos", "inject", "kill-agent", "lille", "--for", "20")
    for verb in ("switchover", "failback"):
        refused = ruled.run(verb, "start", *ALL, *REASON, code=3).stderr
        assert [rule for rule in BROKEN if rule not in refused] == []
    assert modes(ruled) == {"nominal"}
    rescue = ruled.read("failover", "start", *ALL, "--now", *REASON)
    found = " ".join(rescue["findings"])
    assert [rule for rule in BROKEN if rule not in found] == []
    assert "experiment-running: stopped" in found
    assert (rescue["outcome"], modes(ruled)) == ("done", {"backup"})
    assert ruled.read("chaos", "list")["standing"] == []
    assert rescue["second_due"]
    second = str(ruled.lab.place.root / "operator/second")
    ruled.run("--identity", second, "request", "approve", rescue["id"])
    assert ruled.read("status")["second_due"] == []


def back(ruled: Desk) -> None:
    """Check the list, and go back to nominal."""
    ruled.run("samu", "checklist", "--all", "--tick", "agents-back", *REASON)
    ruled.run("failback", "start", *ALL, *ASIDE, *REASON)
    assert modes(ruled) == {"nominal"}


def test_an_engineer_alone_at_three_in_the_morning(ruled: Desk, tmp_path: Path) -> None:
    """No majority, one site reachable: what is printed is typed, and three SAMUs are on backup."""
    if modes(ruled) != {"nominal"}:
        back(ruled)
    ruled.lab.stop(("zookeeper-lyon", "zookeeper-lille"), kill=True)
    for one in ("paris", "ops", "samus"):
        for other in ("lyon", "lille"):
            ruled.lab.partition(one, other)
    command = printed(ruled.run("status").stdout, "break-glass start")
    done = ruled.run(*command, code=5)
    assert modes(ruled) == {"backup"}
    assert "otn-lyon" in done.stdout + done.stderr
    # The second signature is due: what is printed says how another operator gives it.
    assert "second signature due" in done.stderr
    showing = printed(done.stderr, "break-glass show")
    file = tmp_path / "FILE"
    ruled.run(*[str(file) if word == "FILE" else word for word in showing])
    second = str(ruled.lab.place.root / "operator/second")
    ruled.run("--identity", second, "request", "approve", str(file))
    listed = ruled.read("break-glass", "list", "--site", "paris")
    assert [one["rule"] for one in listed[-1]["second_due"]] == ["break-glass.second-due"]
    ruled.run("break-glass", "run", str(file), code=5)
    assert ruled.read("break-glass", "list", "--site", "paris")[-1]["second_due"] == []


def printed(text: str, start: str) -> list[str]:
    """Return a command that was printed, as one types it after `sisamu`."""
    lines = [line.strip() for line in text.splitlines()]
    command = next(line for line in lines if line.startswith(f"sisamu {start}"))
    return shlex.split(command)[1:]
