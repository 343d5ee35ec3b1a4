"""The fault catalogue and its blast radius, judged on a scene nobody has to run."""

from __future__ import annotations

import itertools
import json
import re
import sys
from pathlib import Path

import pytest
from chaoslib.experiment import ensure_experiment_is_valid

from sisamu_ops.chaos import catalogue, healer, parse_fault
from sisamu_ops.chaos.fault import Disturbance, Effect
from sisamu_ops.chaos.radius import BlastRadius, check_radius, has_majority
from sisamu_ops.model.errors import ConfigurationError, RefusedError
from tests.support.chaos import SITES, FakeGround, quiet_scene
from tests.support.commands import ROOT, problem_of

WORDS = {"SITE": "paris", "FROM": "paris", "TO": "lyon", "A": "lyon", "B": "lille", "SECONDS": "-9"}
EVERY = [" ".join([k.name, *map(WORDS.__getitem__, k.parameters)]) for k in catalogue().values()]


def declared(text: str) -> Disturbance:
    fault = parse_fault(text)
    return catalogue()[fault.kind].disturbance(quiet_scene(), fault)


def breaches(text: str, *standing: str, deadline_s: float = 20, **radius: bool) -> list[str]:
    """Return what is said against one more fault beside those that stand."""
    found = check_radius(
        declared(text).effect, [declared(one).effect for one in standing],
        deadline_s=deadline_s, sites=SITES, radius=BlastRadius(**radius),
    )  # fmt: skip
    assert all(one.remedy for one in found)
    return [one.message for one in found]


def test_the_catalogue_holds_the_kinds_schedules_name() -> None:
    """Names are an interface: schedules and documents use them."""
    assert set(catalogue()) == {
        "cut-site", "cut-one-way", "cut-pair", "cut-arbiter", "kill-agent", "pause-agent",
        "restart-zookeeper", "lose-zookeeper", "clock-jump", "disk-full", "slow-zookeeper",
    }  # fmt: skip


@pytest.mark.parametrize("text", EVERY)
def test_every_fault_declares_its_cure_and_what_it_touches(text: str) -> None:
    """No kind can be injected without something to heal it, in words the healer knows."""
    disturbance = declared(text)
    assert disturbance.heal
    assert disturbance.effect.touches
    assert disturbance.inject or disturbance.pulse
    doings = {action["do"] for action in (*disturbance.inject, *disturbance.heal)}
    assert doings <= set(healer._DOINGS)
    assert json.loads(json.dumps(disturbance.heal)) == list(disturbance.heal)


@pytest.mark.parametrize("text", EVERY)
def test_a_fault_says_itself_in_the_words_it_is_read_from(text: str) -> None:
    """What a schedule names comes back from the record."""
    assert str(parse_fault(text)) == text


@pytest.mark.parametrize(
    "text",
    ["", "flood paris", "cut-site", "cut-site paris lyon", "cut-site nice", "cut-pair paris paris",
     "clock-jump paris soon", "clock-jump paris 0", "clock-jump paris 99999999999"],
)  # fmt: skip
def test_what_is_no_fault_is_a_configuration_error(text: str) -> None:
    """Unknown kinds, wrong counts, unknown sites and impossible jumps are told with a remedy."""
    with pytest.raises(ConfigurationError) as caught:
        declared(text)
    assert caught.value.remedy


def test_what_does_not_run_cannot_be_killed() -> None:
    """A fault without effect would prove nothing: it is refused."""
    scene = FakeGround(root=ROOT).scene()
    for name in ("kill-agent", "pause-agent", "lose-zookeeper", "slow-zookeeper"):
        with pytest.raises(RefusedError, match="does not run"):
            catalogue()[name].disturbance(scene, parse_fault(f"{name} paris"))


# --- the blast radius ---------------------------------------------------------------------


@pytest.mark.parametrize("text", EVERY)
def test_each_fault_alone_is_within_the_radius(text: str) -> None:
    """One site of three may lose anything, for at most 20 s."""
    assert breaches(text) == []


@pytest.mark.parametrize("deadline_s", [0, -1, 20.1, float("nan"), float("inf")])
def test_a_fault_stands_at_most_twenty_seconds(deadline_s: float) -> None:
    """Neither no time nor too long."""
    assert len(breaches("cut-pair paris lyon", deadline_s=deadline_s)) == 1


@pytest.mark.parametrize(
    ("second", "first"),
    [
        ("lose-zookeeper lyon", "lose-zookeeper paris"),
        ("restart-zookeeper lille", "slow-zookeeper paris"),
        ("cut-site lyon", "lose-zookeeper paris"),
        ("cut-arbiter", "lose-zookeeper lyon"),
        ("cut-one-way paris lyon", "lose-zookeeper lille"),
    ],
)
def test_no_majority_is_lost_in_combination(second: str, first: str) -> None:
    """Two servers lost, or the two that are left cut from each other, even one way."""
    assert breaches(second, first) == [
        "no majority of ZooKeeper servers would serve and reach each other"
    ]
    assert breaches(second, first, keeps_majority=False) == []


def test_a_whole_site_may_be_lost() -> None:
    """Agent, server, disk, clock and links of one site together leave the other two whole."""
    standing = ["lose-zookeeper paris", "kill-agent paris", "clock-jump paris 60", "cut-site paris"]
    assert breaches("disk-full paris", *standing) == []


@pytest.mark.parametrize(
    ("second", "first"),
    [
        ("cut-site paris", "cut-pair paris lyon"),
        ("pause-agent paris", "kill-agent paris"),
        ("slow-zookeeper paris", "restart-zookeeper paris"),
        ("clock-jump paris 5", "clock-jump paris -5"),
    ],
)
def test_what_one_fault_touches_no_other_may(second: str, first: str) -> None:
    """Healing one would heal the other, or break it."""
    assert [m.partition(" touches ")[0] for m in breaches(second, first)] == [
        "a standing fault already"
    ]


def test_a_majority_is_two_sites_that_reach_each_other_both_ways() -> None:
    """Over all sets of cut links: exactly when some pair of sites has both its links."""
    links = list(itertools.permutations(SITES, 2))
    for size in range(len(links) + 1):
        for cut in itertools.combinations(links, size):
            whole = [(a, b) for a, b in links if (a, b) not in cut and (b, a) not in cut]
            effect = Effect(touches=frozenset(), cut=frozenset(cut))
            assert has_majority([effect], SITES) == bool(whole)


# --- the experiment -----------------------------------------------------------------------

EXPERIMENTS = sorted((ROOT / "chaos").glob("*.json"))


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_every_experiment_can_be_run(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chaos Toolkit finds it valid, every command of it can be typed, and it heals at the end."""
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    experiment = json.loads(path.read_text("utf-8"))
    ensure_experiment_is_valid(experiment)
    probes = experiment["steady-state-hypothesis"]["probes"]
    steps = [*probes, *experiment["method"], *experiment["rollbacks"]]
    lines = [f"{s['provider']['path']} {s['provider']['arguments']}" for s in steps]
    assert {line: problem_of(line) for line in lines if problem_of(line)} == {}
    faults = [m[1] for line in lines if (m := re.search(r"chaos inject (.*?) --for", line))]
    assert [parse_fault(fault).kind for fault in faults] == ["kill-agent"]
    assert "sisamu chaos heal" in lines[-1]
