"""Every fault of the catalogue takes effect on real servers, and its cure undoes it."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import permutations
from pathlib import Path
from time import monotonic

import pytest

from sisamu_ops.chaos import heal_all, healer, injected, parse_fault, standing
from sisamu_ops.journal.reader import LocalFiles, ReplicaReader
from sisamu_ops.lab import Lab
from sisamu_ops.lab.readiness import ask_zookeeper, await_ensemble
from sisamu_ops.lab.topology import SITE_HOSTS, SITES
from tests.support.chaos import injector
from tests.support.commands import ROOT
from tests.support.desk import Desk
from tests.support.lab import delivers, from_network
from tests.support.waiting import await_that, lives

ADDRESSES = {host.name: host for host in SITE_HOSTS}
LINKS = frozenset(permutations(SITES, 2))


@pytest.fixture(autouse=True)
def whole(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test finds the programs it needs running, and leaves no fault behind."""
    name = "desk" if "desk" in request.fixturenames else "lab"
    found = request.getfixturevalue(name)
    lab = found.lab if isinstance(found, Desk) else found
    if isinstance(found, Desk):
        lab.start(("*",))
    yield
    heal_all(lab)


def address(lab: Lab, site: str) -> str:
    return ADDRESSES[site].address(lab.place.prefix)


def dead_links(lab: Lab) -> set[tuple[str, str]]:
    """Return the links between sites that carry no datagram now."""
    return {(a, b) for a, b in LINKS if not delivers(lab, a, b, address(lab, b))}


def pid(lab: Lab, program: str) -> int:
    return next(one.pid for one in lab.status().programs if one.name == program)


# --- links ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "cut"),
    [
        ("cut-site paris", {link for link in LINKS if "paris" in link}),
        ("cut-one-way lyon paris", {("lyon", "paris")}),
        ("cut-pair lyon lille", {("lyon", "lille"), ("lille", "lyon")}),
        ("cut-arbiter", {link for link in LINKS if "lille" in link}),
    ],
)
def test_a_cut_stops_its_links_and_no_other(
    fault: str, cut: set[tuple[str, str]], lab: Lab
) -> None:
    """Datagrams pass or not exactly as declared; healing joins every link."""
    with injected(lab, parse_fault(fault), 20):
        assert dead_links(lab) == cut
    assert dead_links(lab) == set()


def test_a_killed_injector_is_healed_after(lab: Lab) -> None:
    """The process that cut the links is killed by SIGKILL: the healer joins them in time."""
    with injector(f"Lab({lab.place.name!r})", "cut-one-way lyon paris", 4) as process:
        assert lab.status().one_way == (("lyon", "paris"),)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert lab.status().one_way == (("lyon", "paris"),)
    await_that(lambda: lab.status().one_way == (), 4 + 3.5)
    await_that(lambda: standing(lab) == ())


# --- ZooKeeper ------------------------------------------------------------------------------


def answer_s(lab: Lab, site: str) -> float:
    """Return the seconds a server took to say its mode; fails when it does not."""

    def ask() -> float:
        began = monotonic()
        if b"Mode:" not in ask_zookeeper(lab.place, address(lab, site)):
            raise ConnectionError("it serves nobody")
        return monotonic() - began

    return from_network(lab, "ops", ask)


def test_a_lost_server_serves_again_after_healing(lab: Lab) -> None:
    """Its port refuses while the fault stands; the others go on; healed, it joins them."""
    with injected(lab, parse_fault("lose-zookeeper lyon"), 20):
        with pytest.raises(ConnectionError):
            answer_s(lab, "lyon")
        await_that(lambda: serves(lab, "paris"))
    await_ensemble(lab.place, 20)


def serves(lab: Lab, site: str) -> bool:
    try:
        return answer_s(lab, site) > 0
    except OSError:
        return False


def test_a_restarted_server_is_another_process(lab: Lab) -> None:
    """The server was killed and runs again when the injection returns; it serves soon after."""
    before = pid(lab, "zookeeper-lille")
    with injected(lab, parse_fault("restart-zookeeper lille"), 20):
        assert not lives(before)
        assert pid(lab, "zookeeper-lille") not in (0, before)
    await_ensemble(lab.place, 20)


def test_a_slow_server_answers_late(lab: Lab) -> None:
    """Some answers take a fifth of a second and more, all come; healed, ten in a row do not."""
    with injected(lab, parse_fault("slow-zookeeper paris"), 20):
        await_that(lambda: answer_s(lab, "paris") > 0.2)
    # Well before the fault would end by itself.
    await_that(lambda: max(answer_s(lab, "paris") for _ in range(10)) < 0.2, 12)


# --- disk -----------------------------------------------------------------------------------


def test_a_full_disk_takes_nothing_and_loses_nothing(lab: Lab) -> None:
    """New files, longer files, removals: ENOSPC; what is there can be read, and stays.

    ZooKeeper of the same site writes on: its disk is another.
    """
    home = lab.place.host_dir("lyon")
    known = home / "journal" / "known"
    known.write_text("kept")
    with injected(lab, parse_fault("disk-full lyon"), 20):
        for change in (
            lambda: (home / "journal" / "new").write_text("x"),
            lambda: known.open("a"),
            lambda: known.unlink(),
            lambda: (home / "runs" / "new").mkdir(),
        ):
            with pytest.raises(OSError, match="No space") as caught:
                change()
            assert caught.value.errno == errno.ENOSPC
        assert known.read_text() == "kept"
        (home / "zookeeper" / "probe").write_text("written")
    assert (home / "zookeeper" / "probe").read_text() == "written"
    assert {one.name for one in (home / "journal").iterdir()} == {"known"}
    for path in (known, home / "zookeeper" / "probe"):
        path.unlink()
    assert f" {lab.place.root}/" not in Path("/proc/mounts").read_text()


# --- agents ---------------------------------------------------------------------------------


def test_a_paused_leader_is_replaced_and_goes_on(desk: Desk) -> None:
    """Paused past its lease another site leads; healed, the same process follows."""
    leader = str(desk.await_leader()["leader"]["site"])
    agent = pid(desk.lab, f"agent-{leader}")
    with injected(desk.lab, parse_fault(f"pause-agent {leader}"), 20):
        assert healer.state_of(agent)[0] == "T"
        status = desk.await_leader(other_than=leader)
    assert healer.state_of(agent)[0] != "T"
    assert pid(desk.lab, f"agent-{leader}") == agent
    assert status["leader"]["site"] != leader


def test_a_clock_that_jumps_costs_requests_not_leadership(desk: Desk) -> None:
    """Two hours ahead the leader finds a request expired, and leads on: its lease knows no date.

    Healed, the same request is accepted under the same epoch.
    """
    leader = desk.await_leader()["leader"]["site"]
    ask = ("target", "enrol", "otn-paris", "--reason", "a clock that jumps")
    with injected(desk.lab, parse_fault(f"clock-jump {leader} 7200"), 20):
        assert "expired" in desk.run(*ask, code=3).stderr
    desk.run(*ask)
    # A site may have had something to say meanwhile: an alarm, a report.
    newest = desk.read("audit", "show", "--last", "9")
    answers = [e for e in newest if e["kind"] in ("request.refused", "request.accepted")]
    refused, accepted = answers[-2:]
    assert [refused["kind"], accepted["kind"]] == ["request.refused", "request.accepted"]
    assert refused["epoch"] == accepted["epoch"] == newest[-1]["epoch"]
    apart = datetime.fromisoformat(refused["time"]) - datetime.fromisoformat(accepted["time"])
    assert timedelta(hours=1, minutes=59) < apart < timedelta(hours=2)


def test_a_site_with_a_full_disk_falls_behind_and_catches_up(desk: Desk) -> None:
    """Its replica stands still while the others grow; healed, the same agent fetches the rest."""

    def size(site: str) -> int:
        return ReplicaReader(LocalFiles(desk.lab.place.host_dir(site) / "journal")).size()

    desk.await_leader()
    agent = pid(desk.lab, "agent-lille")
    with injected(desk.lab, parse_fault("disk-full lille"), 20):
        before = size("lille")
        desk.run("target", "enrol", "otn-paris", "--reason", "a full disk")
        await_that(lambda: size("paris") == size("lyon") > before)
        assert size("lille") == before
    await_that(lambda: size("lille") >= size("paris"))
    assert pid(desk.lab, "agent-lille") == agent


def test_the_experiment_runs_under_plain_chaos_run(desk: Desk, tmp_path: Path) -> None:
    """`chaos run chaos/lose_leader.json`: the leader's agent is killed, another leads, healed."""
    before = desk.await_leader()["leader"]["site"]
    agent = pid(desk.lab, f"agent-{before}")
    binaries = Path(sys.executable).parent
    done = subprocess.run(
        [binaries / "chaos", "run", "--journal-path", tmp_path / "journal.json",
         ROOT / "chaos/lose_leader.json"],
        cwd=tmp_path, capture_output=True, text=True, timeout=90, check=False,
        env=os.environ | {
            "SISAMU_LAB_NAME": desk.lab.place.name, "PATH": f"{binaries}:{os.environ['PATH']}",
            "SISAMU_INVENTORY": str(ROOT / "inventories/lab"),
        },
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    journal = json.loads((tmp_path / "journal.json").read_text())
    assert (journal["status"], journal["deviated"]) == ("completed", False)
    steps = {
        run["activity"]["name"]: run["output"] for run in journal["run"] + journal["rollbacks"]
    }
    assert {name: output["status"] for name, output in steps.items()} == {
        "kill-the-leading-agent": 0, "heal": 0,
    }  # fmt: skip
    assert json.loads(steps["kill-the-leading-agent"]["stdout"])["fault"] == f"kill-agent {before}"
    assert len(json.loads(steps["heal"]["stdout"])["healed"]) == 1
    assert not lives(agent)
    assert lives(pid(desk.lab, f"agent-{before}"))
    after = journal["steady_states"]["after"]["probes"][0]["output"]["stdout"]
    assert json.loads(after)["site"] not in (before, None)
