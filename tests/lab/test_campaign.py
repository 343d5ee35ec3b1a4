"""The short form of the campaign: two schedules on a lab of its own, judged like all others."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sisamu_ops.lab import Lab
from tests.campaign.__main__ import read_results

ROOT = Path(__file__).resolve().parents[2]
#: Between them: a site cut off whose agent is killed, a leader paused past its lease while a
#: ZooKeeper server is lost.
SEEDS = (149, 348)


@pytest.fixture
def lab_name() -> Iterator[str]:
    """Name a lab that is not there, and is gone again afterwards."""
    name = os.environ.get("SISAMU_LAB_NAME", "test") + "Camp"
    try:
        yield name
    finally:
        Lab(name).down()


def test_two_schedules_of_faults_break_no_rule(tmp_path: Path, lab_name: str) -> None:
    """Under both seeds leadership changes hands, requests are acknowledged, and every rule of the
    checker is shown to hold by what clients, journal, replicas, targets and leases recorded.
    """
    command = [sys.executable, "-m", "tests.campaign", "--lab-name", lab_name, "--short"]
    seeds = [word for seed in SEEDS for word in ("--seed", str(seed))]
    run = subprocess.run(
        [*command, "--directory", str(tmp_path), *seeds],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    results = read_results(tmp_path)
    assert [(one.seed, one.verdict) for one in results] == [(s, "passed") for s in sorted(SEEDS)]
    assert sum(one.takeovers for one in results) >= len(SEEDS)
    assert all(one.acknowledged > 1 and one.done > 0 for one in results)
    assert not any(fault.problem for one in results for fault in one.faults)
