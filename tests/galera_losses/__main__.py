"""`python -m tests.galera_losses`: try every single and double loss on a real cluster.

    python -m tests.galera_losses                       all 90, those that did not pass before
    python -m tests.galera_losses --only 'kill db-paris'    those whose name holds it, or a glob
    python -m tests.galera_losses --only 'stop*then*' --again   passed or not
    python -m tests.galera_losses --table               what the file says; nothing is run

The lab is named by SISAMU_LAB_NAME (`losses` unless set), brought up afresh and taken down at the
end. One line of JSON a case goes to --out. Exit 1 when a prediction and what came differ.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from time import monotonic
from typing import Any

from sisamu_ops.lab import Lab
from tests.campaign.__main__ import running_commit, say
from tests.galera_losses.cases import Case, all_cases
from tests.galera_losses.restoring import make_whole
from tests.galera_losses.table import table_of
from tests.galera_losses.trial import Result, Trial

_OUT = Path("campaign-results/galera-losses.jsonl")
_DIFFERS = 1


def read_results(path: Path) -> dict[str, dict[str, Any]]:
    """Return the newest result of each case."""
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    return {one["case"]: one for one in map(json.loads, lines)}


def chosen(pattern: str) -> tuple[Case, ...]:
    """Return the cases meant: a glob of the whole name, or a part of it."""
    return tuple(
        case for case in all_cases() if pattern in case.name or fnmatchcase(case.name, pattern)
    )


def run_all(cases: Sequence[Case], out: Path) -> bool:
    """Try cases one after the other, each recorded as it ends; say whether all passed."""
    if not cases:
        return True
    lab, commit, passed = Lab(), running_commit(), True
    lab.down()
    try:
        lab.up(agents=False)
        trial = Trial(lab)
        for case in cases:
            result = _restored(lab, trial.run(case))
            _record(result, out, commit)
            passed &= result.ok
    finally:
        lab.down()
    return passed


def _restored(lab: Lab, result: Result) -> Result:
    began = monotonic()
    means = make_whole(lab)
    return replace(result, restored_by=means, restored_s=round(monotonic() - began, 1))


def _record(result: Result, out: Path, commit: str) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("a", encoding="utf-8") as file:
        file.write(json.dumps({**result.facts(), "commit": commit}) + "\n")
    one = result.outcome
    say(
        f"{'ok' if result.ok else 'DIFFERS':8}{result.case}: foreseen {one.predicted}, checked "
        f"{one.checked}, commits: {', '.join(one.truth) or 'nobody'}; {result.seconds} s, "
        f"{result.restored_by} in {result.restored_s} s"
    )
    for said in result.differences:
        say(f"        {said}")


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.galera_losses")
    parser.add_argument("--only", default="", help="a part of a case's name, or a glob of it")
    parser.add_argument("--out", type=Path, default=_OUT, help="where results are kept")
    parser.add_argument("--again", action="store_true", help="also what has passed before")
    parser.add_argument("--table", action="store_true", help="show the table; run nothing")
    options = parser.parse_args(arguments)
    if not chosen(options.only):
        parser.error(f"no case is meant by {options.only!r}")
    os.environ.setdefault("SISAMU_LAB_NAME", "losses")
    known = read_results(options.out)
    done = {name for name, one in known.items() if one["ok"] and not options.again}
    passed = True
    if not options.table:
        passed = run_all([one for one in chosen(options.only) if one.name not in done], options.out)
    say(table_of(read_results(options.out).values()))
    return 0 if passed else _DIFFERS


if __name__ == "__main__":
    sys.exit(main())
