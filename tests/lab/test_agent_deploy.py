"""A newer release of the agent, brought to the sites of a running lab by the playbook."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import pytest

from sisamu_ops.lab import Lab
from sisamu_ops.lab.supervisor import read_programs
from sisamu_ops.lab.topology import SITES
from tests.support.desk import ROOT, Desk
from tests.support.lab import from_network
from tests.support.playbooks import environment
from tests.support.wheels import broken, gather, gather_borrowing

VERSION = "0.2.0"


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    """A led lab of its own whose agents run from the environment of the test."""
    lab = Lab(os.environ.get("SISAMU_LAB_NAME", "test") + "Dep")
    lab.down()
    led = Desk(lab=lab)
    try:
        led.run("lab", "up")
        yield led
    finally:
        lab.down()


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheels of a newer version: with SISAMU_ALL_WHEELS all of them, as for production."""
    whole = bool(os.environ.get("SISAMU_ALL_WHEELS"))
    directory = tmp_path_factory.mktemp("newer") / "wheels"
    return (gather if whole else gather_borrowing)(directory, VERSION)


def deploy(desk: Desk, wheels: Path, deadline_s: int = 60) -> subprocess.CompletedProcess[str]:
    """Run the playbook as an operator would, from the operators' network."""
    command = ["ansible-playbook", "-i", "inventories/lab", "playbooks/agent_deploy.yml"]
    command += ["-e", f"sisamu_wheels={wheels}", "-e", f"sisamu_deadline_s={deadline_s}"]
    name = desk.lab.place.name
    return from_network(
        desk.lab, "ops",
        lambda: subprocess.run(
            command, cwd=ROOT, env=environment(SISAMU_LAB_NAME=name), capture_output=True,
            text=True, check=False, timeout=300,
        ),
    )  # fmt: skip


def agents(lab: Lab) -> dict[str, int]:
    """Return each site's agent by its process; 0 where none runs."""
    programs = read_programs(lab.place)
    return {site: programs[f"agent-{site}"].pid for site in SITES}


@contextmanager
def watching(lab: Lab) -> Iterator[list[dict[str, int]]]:
    """Note the agents' processes again and again while the body runs, each change once."""
    seen, ended = [agents(lab)], Event()

    def watch() -> None:
        while not ended.wait(0.2):
            now = agents(lab)
            if now != seen[-1]:
                seen.append(now)

    with ThreadPoolExecutor(max_workers=1) as watcher:
        watched = watcher.submit(watch)
        try:
            yield seen
        finally:
            ended.set()
            watched.result()


def told(desk: Desk) -> tuple[str, dict[str, tuple[str, str]]]:
    """Return who leads, and what each site's agent says it runs: version and release."""
    status = desk.read("status")
    runs = {site["id"]: (site["version"], site["release"]) for site in status["sites"]}
    return status["leader"]["site"], runs


def in_turn(leader: str) -> list[str]:
    """Return the order of a deployment: the arbiter, the follower, the leader."""
    return ["lille", *sorted({"paris", "lyon"} - {leader}), leader]


def changed(run: subprocess.CompletedProcess[str]) -> dict[str, int]:
    """Return how much Ansible says it changed, by host."""
    return {host: int(n) for host, n in re.findall(r"^(\S+) .* changed=(\d+) ", run.stdout, re.M)}


def test_a_release_that_does_not_run_stops_at_the_first_site(desk: Desk, tmp_path: Path) -> None:
    """Its command ends at once: the arbiter gets its former release back and is well, the message
    says so, and neither the other sites nor their agents are touched; the leader leads on.
    """
    before, running = told(desk), agents(desk.lab)
    _, *others = in_turn(before[0])
    run = deploy(desk, broken(tmp_path / "wheels", "9.9.9"), deadline_s=8)
    said = " ".join((run.stdout + run.stderr).split())
    assert run.returncode == 2, said
    for words in (
        "lille did not come back with 9.9.9-", "its former release is current again",
        ", and well", f"not touched: {', '.join(others)}",
    ):  # fmt: skip
        assert words in said
    # The former agent may have said a last word; the supervisor may see the new one end first.
    reasons = "nothing since its restart|not from 9.9.9-|abnormal termination"
    assert re.search(f"within 8 s: .*?({reasons}).* its former", said), said
    assert told(desk) == before
    after = agents(desk.lab)
    assert all(after.values()) and after["lille"] != running["lille"]
    assert (after["lyon"], after["paris"]) == (running["lyon"], running["paris"])
    for site in ("lyon", "paris"):
        installed = list((desk.lab.place.host_dir(site) / "opt").iterdir())
        assert [one.name for one in installed] == ["current"]


def test_a_newer_release_reaches_every_site_in_turn(desk: Desk, wheels: Path) -> None:
    """Arbiter, follower, leader: one agent is down at a time, leadership is handed over before the
    leader's turn, and the platform works under the new version, by its own playbooks.
    """
    before, sites = agents(desk.lab), in_turn(told(desk)[0])
    with watching(desk.lab) as seen:
        run = deploy(desk, wheels)
    assert run.returncode == 0, run.stdout + run.stderr
    replaced = [site for now in seen for site in SITES if now[site] not in (0, before[site])]
    assert list(dict.fromkeys(replaced)) == sites
    assert all(list(now.values()).count(0) <= 1 for now in seen)
    leader, runs = told(desk)
    ((version, release),) = set(runs.values())
    assert (leader, version) == (sites[1], VERSION) and release.startswith(VERSION)
    left = [e for e in desk.read("audit", "show") if e["kind"] == "leadership.left"]
    assert [(e["site"], e["data"]["cause"]) for e in left] == [(sites[2], "step-down")]
    moved = desk.read("switchover", "start", "--samu", "300", "--reason", "by the new release")
    assert moved["outcome"] == "done"
    desk.run("audit", "verify")


def test_the_same_release_again_changes_nothing(desk: Desk, wheels: Path) -> None:
    """A second run finds every site running it: nothing is installed, no agent is restarted."""
    before = agents(desk.lab)
    run = deploy(desk, wheels)
    assert run.returncode == 0, run.stdout + run.stderr
    assert set(changed(run).values()) == {0}
    assert agents(desk.lab) == before
