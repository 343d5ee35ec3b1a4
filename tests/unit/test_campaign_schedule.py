"""Schedules: a seed is a list of faults, the same every time, within the bounds."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from sisamu_ops.chaos import Fault, catalogue, parse_fault
from tests.campaign.__main__ import main, read_results
from tests.campaign.runner import FaultDone, Result, with_problems
from tests.campaign.schedule import (
    LEADER,
    SHORT_WINDOW_MS,
    SITES,
    WINDOW_MS,
    aimed,
    plan_schedule,
)
from tests.campaign.table import page_of

SEEDS = range(200)
RESULT = Result(
    seed=4, verdict="passed", faults=(FaultDone(fault="cut-site lyon", at_ms=1, for_ms=2),),
    takeovers=3, requests=7, acknowledged=5, done=4, entries=90, seconds=22.5, commit="1a2b3c4",
)  # fmt: skip


def test_a_seed_is_replayed_and_another_seed_is_another_schedule() -> None:
    """Nothing but the seed decides; two hundred seeds are two hundred schedules."""
    schedules = [str(plan_schedule(seed).tracks) for seed in SEEDS]
    assert schedules == [str(plan_schedule(seed).tracks) for seed in SEEDS]
    assert len(set(schedules)) == len(SEEDS)


def test_every_fault_is_short_and_of_the_catalogue() -> None:
    """At most 20 s, all healed by the end of the window, none overlapping in its track, each
    one the catalogue takes; and every kind and every site comes up in 200 seeds.
    """
    planned = [one for seed in SEEDS for one in plan_schedule(seed).faults]
    assert all(0 < one.for_ms <= 20_000 and one.at_ms + one.for_ms <= WINDOW_MS for one in planned)
    for track in (track for seed in SEEDS for track in plan_schedule(seed).tracks):
        assert all(one.at_ms + one.for_ms < after.at_ms for one, after in pairwise(track))
    faults = [parse_fault(str(aimed(one.fault, "paris"))) for one in planned]
    assert {fault.kind for fault in faults} == set(catalogue())
    words = {word for one in planned for word in one.fault.parameters}
    assert {*SITES, LEADER} <= words


def test_the_short_form_ends_sooner() -> None:
    """All faults of a short schedule are healed by the end of the shorter window."""
    short = [plan_schedule(seed, window_ms=SHORT_WINDOW_MS).faults for seed in SEEDS]
    assert all(one.at_ms + one.for_ms <= SHORT_WINDOW_MS for faults in short for one in faults)


def test_every_seed_troubles_something() -> None:
    """No schedule is empty."""
    assert all(plan_schedule(seed).faults for seed in SEEDS)


def test_a_fault_at_the_leader_is_aimed_at_who_leads() -> None:
    """Only the word `leader` is replaced."""
    fault = Fault(kind="clock-jump", parameters=("leader", "-240"))
    assert str(aimed(fault, "lyon")) == "clock-jump lyon -240"


def test_results_are_kept_and_a_seed_run_anew_counts_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The newest result of a seed holds, the page is made of those, and names what they replace."""
    lines = [replace(RESULT, verdict="unknown", findings=("unknown: one valid lease: x: y",))]
    lines += [RESULT, replace(RESULT, seed=2, verdict="violation",
                              findings=("violation: one valid lease: leases: a: b",))]  # fmt: skip
    (tmp_path / "results.jsonl").write_text("".join(json.dumps(r.facts()) + "\n" for r in lines))
    assert read_results(tmp_path) == [lines[2], RESULT]
    page = tmp_path / "page.md"
    assert main(["--directory", str(tmp_path), "--table", str(page)]) == 0
    rows = [line.strip("| ").split(" | ") for line in page.read_text().splitlines()]
    assert ["schedules run", "2"] in rows and ["passed", "1"] in rows
    assert ["with a violation", "1"] in rows and ["unknown (not a pass)", "0"] in rows
    assert ["cut-site", "2", "0"] in rows and ["one valid lease", "1", "0"] in rows
    assert ["schedules at commit 1a2b3c4", "2"] in rows
    superseded = str(RESULT.seed), "1a2b3c4", "unknown", "one valid lease"
    assert list(superseded) in rows and ["2", "1a2b3c4", "violation"] not in [r[:3] for r in rows]
    assert ["takeovers seen", "6"] in rows and ["requests acknowledged", "10"] in rows


def test_a_fault_that_was_not_healed_is_no_pass() -> None:
    """What stays broken says nothing of the product: unknown. One not injected harmed nothing."""
    faults = (FaultDone(fault="cut-site lyon", at_ms=1, for_ms=2, problem="not healed: why"),)
    assert with_problems(replace(RESULT, faults=faults)).verdict == "unknown"
    faults = (replace(faults[0], problem="not injected: why"),)
    assert with_problems(replace(RESULT, faults=faults)).verdict == "passed"
    assert "| cut-site | 0 | 1 |" in page_of([replace(RESULT, faults=faults)])


def test_the_faults_of_a_seed_can_be_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """One line a fault: when, how long, what; nothing is run."""
    assert main(["--print", "7"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown == ["seed 7", *(f"  {one}" for one in plan_schedule(7).faults)]
