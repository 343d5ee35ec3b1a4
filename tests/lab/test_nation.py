"""Many SAMUs at once: rescued together, brought back in waves, stopped at the first doubt.

Twelve of them in the suite; the long form takes the whole nation, and some ten minutes:

    SISAMU_NATION=102 .venv/bin/python -m pytest tests/lab/test_nation.py
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.support.desk import Desk, hung, load, running_modes
from tests.support.lab import ROUTER_NAMES
from tests.support.waiting import await_that

REASON = ("--reason", "a test of the lab")
ALL = ("--all", "--confirm", "sisamu-lab")
RESCUE = ("failover", "start", *ALL, "--now", *REASON)
BACK = ("failback", "start", *ALL, *REASON)
AWAY = ("switchover", "start", *ALL, *REASON)


@pytest.fixture(autouse=True)
def whole(nation: Desk) -> Iterator[None]:
    """Every test finds every program running and a leader, nothing under way, no link cut."""
    nation.lab.start(("*",))
    under_way = nation.await_leader()["operations"]
    for operation in under_way:
        nation.run("operation", "abort", operation["id"], *REASON)
        nation.start("operation", "follow", operation["id"]).wait(timeout=60)
    if under_way:
        nation.run("reconcile", *REASON)
    yield
    nation.lab.heal()


# The tests stand in an order in which each leaves the mode that the next one asks for.


@pytest.fixture
def nominal(nation: Desk, whole: None) -> None:
    """Every SAMU is nominal, whatever a test did."""
    found = set(modes(nation).values())
    if not found <= {"nominal", "backup"}:
        nation.run(*RESCUE)
    if found != {"nominal"}:
        nation.run(*BACK)


@pytest.fixture
def on_backup(nation: Desk, whole: None) -> None:
    """Every SAMU is on backup, whatever a test did."""
    if set(modes(nation).values()) != {"backup"}:
        nation.run(*RESCUE)


def samus(nation: Desk) -> list[str]:
    return sorted(samu.samu_id for samu in nation.lab.place.samus)


def modes(nation: Desk) -> dict[str, str]:
    """Return each SAMU's mode by its running routers, without the product."""
    held = [running_modes(nation.lab, router) for router in ROUTER_NAMES]
    found = {}
    for samu in samus(nation):
        values = {modes.get(samu, "nominal") for modes in held}
        found[samu] = values.pop() if len(values) == 1 else "?"
    return found


def outcomes(operation: dict[str, Any]) -> dict[str, str]:
    """Return what became of each SAMU by the summary that was printed."""
    return {one["samu"]: one["outcome"] for one in operation["outcomes"]}


def applied(nation: Desk) -> dict[str, list[tuple[int, int]]]:
    """Return the tokens of the changes each target began, by its own record."""
    found = {}
    for host in nation.lab.place.fenced_hosts:
        path = nation.lab.place.host_dir(host) / "fence/accepted.jsonl"
        records = [json.loads(line) for line in path.read_text().splitlines()]
        tokens = [r["token"] for r in records if r["what"] == "apply"]
        found[host.name] = [(t["epoch"], t["index"]) for t in tokens]
    return found


def check_once(nation: Desk) -> None:
    """Check that no step took effect twice at any target, nor an older one after a newer."""
    for host, tokens in applied(nation).items():
        assert [t for t, times in Counter(tokens).items() if times > 1] == [], host
        assert tokens == sorted(tokens), host


def test_a_lab_keeps_its_size(nation: Desk) -> None:
    """It has an inventory of its own; another `up` of another size is refused, and says why."""
    many = os.environ.get("SISAMU_NATION", "12")
    assert len(samus(nation)) == int(many)
    assert nation.lab.inventory == nation.lab.place.root / "inventory"
    refused = nation.run("lab", "up", "--samus", "5", code=3).stderr
    assert f"has {many} SAMUs" in refused


def test_a_canary_that_fails_stops_it_before_anybody_else(nation: Desk, nominal: None) -> None:
    """The first SAMU's gateway refuses calls: held, and no other target was sent anything."""
    canary, *others = samus(nation)
    before = applied(nation)
    nation.lab.stop((f"samu-{canary}",), kill=True)
    held = nation.read(*AWAY, code=9)
    nation.lab.start((f"samu-{canary}",))
    ends = outcomes(held)
    assert (held["outcome"], ends[canary] in ("failed", "unknown")) == ("held", True)
    assert {ends[s] for s in others} == {"not begun"}
    after = applied(nation)
    assert [h for h in after if after[h] != before[h] and h != f"samu-{canary}"] == []
    nation.run("operation", "abort", held["id"], *REASON)
    if ends[canary] == "unknown":
        nation.run("reconcile", *REASON, code=5)
    ended = nation.read("operation", "show", held["id"])
    assert (ended["outcome"], ended["aborted_by"]) == ("failed", "oncall@sisamu-lab")
    assert f"1 failed: {canary}" in ended["detail"]
    assert set(modes(nation).values()) == {"nominal"}


def test_all_are_rescued_at_once_and_come_back_in_waves(nation: Desk, nominal: None) -> None:
    """Under 20 calls a second to all: 0 lost, 0 misrouted, 0 cut; each SAMU's end is told."""
    with load(nation, 20, "--all") as placed:
        there = nation.read(*RESCUE)
        assert set(modes(nation).values()) == {"backup"}
        back = nation.read(*BACK)
        assert set(modes(nation).values()) == {"nominal"}
    assert placed.clean == (0, 0, 0)
    assert placed.figures["answered_backup"] > 0
    assert (len(there["waves"]), set(outcomes(there).values())) == (1, {"done"})
    sizes = [len(wave) for wave in back["waves"]]
    assert (sizes[:3], sum(sizes)) == ([1, 3, min(9, len(samus(nation)) - 4)], len(samus(nation)))
    told = nation.read("audit", "story", there["id"])
    ended = {
        s: end for e in told if e["kind"] == "wave.ended" for s, end in e["data"]["samus"].items()
    }
    assert {s: end["outcome"] for s, end in ended.items()} == outcomes(there)


@contextmanager
def dark(nation: Desk, some: list[str]) -> Iterator[None]:
    """Make some gateways unreachable, and the central call servers too: no path is left to them."""
    programs = [*(f"sshd-samu-{samu}" for samu in some), "ccs-*"]
    nation.lab.stop(tuple(programs), kill=True)
    try:
        yield
    finally:
        nation.lab.start(tuple(programs))


def test_those_that_cannot_be_reached_are_told_and_touched_again_alone(
    nation: Desk, nominal: None
) -> None:
    """A tenth unreachable: known not done, in time; the others done; again, only they are moved."""
    some = samus(nation)[: max(2, len(samus(nation)) // 10)]
    with dark(nation, some):
        first = nation.read(*RESCUE, code=5)
    ends = outcomes(first)
    assert [s for s, word in ends.items() if word != "done"] == some
    assert {ends[s] for s in some} == {"failed"}
    assert nation.read("operation", "show", first["id"])["outcomes"] == first["outcomes"]
    again = nation.read(*RESCUE)
    assert (again["samus"], again["outcome"]) == (some, "done")
    assert set(modes(nation).values()) == {"backup"}


def test_a_target_that_hangs_in_the_midst_is_unknown_and_settled(nation: Desk) -> None:
    """One router stands still: nobody can say, and nothing is called done; reconcile settles it."""
    with hung(nation.lab, "otn-lyon"):
        operation = nation.read(*RESCUE, code=6)
        assert set(outcomes(operation).values()) == {"unknown"}
        assert operation["unsettled"] == ["otn-lyon"]
    nation.run("reconcile", *REASON)
    settled = nation.read("operation", "show", operation["id"])
    assert (settled["outcome"], set(outcomes(settled).values())) == ("done", {"done"})
    assert set(modes(nation).values()) == {"backup"}


def test_the_leader_killed_in_every_wave_is_replaced_and_nothing_takes_twice(
    nation: Desk, on_backup: None
) -> None:
    """At a seeded moment of each wave the leading agent is killed: the next one completes it."""
    seed = int(os.environ.get("SISAMU_SEED") or random.randrange(10_000))
    sys_print(f"SISAMU_SEED={seed}")
    chance = random.Random(seed)
    with load(nation, 20, "--all") as placed:
        process = nation.start("failback", "start", *ALL, *REASON, "-o", "json")
        try:
            operation_id = await_begun(nation, process)
            waves = kill_in_every_wave(nation, operation_id, chance)
            out, err = process.communicate(timeout=300)
        finally:
            process.kill()
    assert process.returncode == 0, err
    operation = json.loads(out)
    assert (len(operation["waves"]), operation["outcome"]) == (waves, "done")
    assert set(modes(nation).values()) == {"nominal"}
    assert placed.clean == (0, 0, 0)
    check_once(nation)


def sys_print(text: str) -> None:
    """Say how to replay; pytest shows it when the test fails."""
    print(text)  # noqa: T201 - a test's own output


def await_begun(nation: Desk, process: subprocess.Popen[str]) -> str:
    """Wait until what a command asks for is under way; return the operation's id."""
    found: list[str] = []

    def begun() -> bool:
        assert process.poll() is None, process.communicate()[1]
        found.extend(one["id"] for one in nation.read("status")["operations"])
        return bool(found)

    await_that(begun)
    return found[0]


def kill_in_every_wave(nation: Desk, operation_id: str, chance: random.Random) -> int:
    """Kill the leading agent once in each wave, when one or two more targets have begun."""
    wave, waves = 1, 2
    while wave <= waves:
        waves = await_wave(nation, operation_id, wave)
        await_changes(nation, operation_id, wave, chance.randrange(1, 3))
        leader = nation.leader()
        os.kill(nation.pid(f"agent-{leader}"), signal.SIGKILL)
        nation.await_leader(other_than=leader)
        nation.lab.start((f"agent-{leader}",))
        wave += 1
    return waves


def await_changes(nation: Desk, operation_id: str, wave: int, more: int) -> None:
    """Wait until some more targets have begun, or the wave is over."""
    before = changes(nation)

    def come() -> bool:
        if changes(nation) >= before + more:
            return True
        ended = nation.read("operation", "show", operation_id)["outcomes"]
        return all(one["ended_at"] for one in ended if one["wave"] == wave)

    await_that(come, 60)


def changes(nation: Desk) -> int:
    """Count the changes all targets have begun so far."""
    return sum(len(tokens) for tokens in applied(nation).values())


def await_wave(nation: Desk, operation_id: str, wave: int) -> int:
    """Wait until a wave has begun; return how many there are."""
    found: list[dict[str, Any]] = []

    def begun() -> bool:
        found.append(nation.read("operation", "show", operation_id))
        return any(step["wave"] == wave for step in found[-1]["steps"])

    await_that(begun, 120)
    return len(found[-1]["waves"])
