"""`python -m tests.campaign`: run schedules, go on where an earlier run stopped, show the table.

    python -m tests.campaign --schedules 200                  seeds 0 to 199, those not yet done
    python -m tests.campaign --schedules 100 --first 100 --lab-name second     beside another run
    python -m tests.campaign --seed 17                        one schedule, on a fresh lab
    python -m tests.campaign --seed 17 --short                its shorter schedule
    python -m tests.campaign --print 17                       its faults; nothing is run
    python -m tests.campaign --check DIRECTORY                judge kept evidence again
    python -m tests.campaign --table docs/campaign.md         write the page

Results are lines of `results.jsonl` below --directory; the evidence of every schedule that did not
pass is kept beside it. Exit 0 when all that was run passed, 8 otherwise.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from tests.campaign.checker import check
from tests.campaign.evidence import read_history
from tests.campaign.runner import (
    ROOT,
    SCHEDULES_A_LIFE,
    Life,
    Result,
    result_of,
    run_schedule,
    verdict_of,
)
from tests.campaign.schedule import SHORT_WINDOW_MS, WINDOW_MS, Schedule, plan_schedule
from tests.campaign.table import newest, page_of

_NOT_PASSED = 8


def say(text: str) -> None:
    """Tell whoever watches."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def show_schedule(schedule: Schedule) -> None:
    """Print the faults of a schedule."""
    say(f"seed {schedule.seed}")
    for planned in schedule.faults:
        say(f"  {planned}")


def read_results(directory: Path) -> list[Result]:
    """Return the results recorded, the newest of each seed, in order of seeds."""
    return list(newest(read_record(directory)).values())


def read_record(directory: Path) -> list[Result]:
    """Return all that was recorded, in the order in which it was."""
    path = directory / "results.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [result_of(json.loads(line)) for line in lines]


def running_commit() -> str:
    """Return the commit under trial; a `+` says that files differ from it."""
    told = subprocess.run(
        ["git", "describe", "--always", "--dirty=+", "--exclude=*"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return told.stdout.strip() or "no commit"


def run_all(schedules: list[Schedule], directory: Path, lab_name: str) -> list[Result]:
    """Run schedules one after the other, each recorded as it ends."""
    os.environ["SISAMU_LAB_NAME"] = lab_name
    results, commit = [], running_commit()
    with _lives(directory / f"life-{lab_name}", lab_name) as lives:
        for schedule in schedules:
            show_schedule(schedule)
            life = next(lives)
            result = replace(run_schedule(life, schedule), commit=commit)
            results.append(result)
            _record(result, directory, life)
            if result.verdict != "passed":
                life.schedules = SCHEDULES_A_LIFE  # a damaged lab says nothing of the next seed
    return results


@contextmanager
def _lives(directory: Path, lab_name: str) -> Iterator[Iterator[Life]]:
    """Give a lab for each schedule: the same until it has had enough."""
    life: list[Life] = []

    def lives() -> Iterator[Life]:
        while True:
            if life and life[0].schedules >= SCHEDULES_A_LIFE:
                life.pop().end()
            if not life:
                life.append(Life(lab_name, directory, say))
            yield life[0]

    try:
        yield lives()
    finally:
        for one in life:
            one.end()


def _record(result: Result, directory: Path, life: Life) -> None:
    with (directory / "results.jsonl").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # another lab's run may end a schedule just now
        file.write(json.dumps(result.facts()) + "\n")
    say(
        f"  {result.verdict}: {result.takeovers} takeovers, {result.acknowledged} of "
        f"{result.requests} requests acknowledged, {result.done} done, {result.seconds} s"
    )
    for problem in (f"{one.fault}: {one.problem}" for one in result.faults if one.problem):
        say(f"  {problem}")
    for finding in result.findings:
        say(f"  {finding}")
    if result.verdict != "passed":
        kept = directory / f"seed-{result.seed}"
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(life.directory, kept)
        shutil.copytree(life.lab.place.root / "logs", kept / "logs", dirs_exist_ok=True)


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaign")
    parser.add_argument("--schedules", type=int, default=0, help="how many seeds")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, action="append", default=[], help="one seed, anew")
    parser.add_argument("--short", action="store_true", help="shorter schedules, as in the suite")
    parser.add_argument("--print", type=int, dest="shown", help="show a seed's faults")
    parser.add_argument("--check", type=Path, help="judge a directory of evidence again")
    parser.add_argument("--table", type=Path, help="write the page of all results here")
    parser.add_argument("--lab-name", default=os.environ.get("SISAMU_LAB_NAME", "campaign"))
    parser.add_argument("--directory", type=Path, default=Path("campaign-results"))
    chosen = parser.parse_args(arguments)
    window_ms = SHORT_WINDOW_MS if chosen.short else WINDOW_MS
    if chosen.shown is not None:
        show_schedule(plan_schedule(chosen.shown, window_ms=window_ms))
        return 0
    if chosen.check is not None:
        return _judge(chosen.check)
    chosen.directory.mkdir(parents=True, exist_ok=True)
    done = {one.seed for one in read_results(chosen.directory)}
    wanted = range(chosen.first, chosen.first + chosen.schedules)
    seeds = [*chosen.seed, *(seed for seed in wanted if seed not in done)]
    schedules = [plan_schedule(seed, window_ms=window_ms) for seed in seeds]
    results = run_all(schedules, chosen.directory, chosen.lab_name) if seeds else []
    if chosen.table is not None:
        chosen.table.write_text(page_of(read_record(chosen.directory)) + "\n")
    return 0 if all(one.verdict == "passed" for one in results) else _NOT_PASSED


def _judge(directory: Path) -> int:
    findings = check(read_history(directory))
    for finding in findings:
        say(str(finding))
    say(verdict_of(findings))
    return _NOT_PASSED if findings else 0


if __name__ == "__main__":
    sys.exit(main())
