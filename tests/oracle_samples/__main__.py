"""Compare what is read in real samples with the reviewed table.

`python -m tests.oracle_samples DIR`:
DIR holds one output a file, its source in the first line. Exits 1 on any difference, on a sample
that is not in the table, and when a sample in place of any output raises or makes good news.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from sisamu_ops.quorum.capture import HostCapture, Output
from sisamu_ops.quorum.rac.assess import assess_rac
from sisamu_ops.quorum.verdict import Verdict
from tests.oracle_samples.readings import reading_of
from tests.support.rac import healthy

TABLE = Path(__file__).parent / "reviewed.tsv"


def reviewed() -> dict[str, tuple[str, str]]:
    """Return, by sample, what our parsers read and what a DBA reads."""
    rows = (line.split("\t") for line in TABLE.read_text("utf-8").splitlines()[1:])
    return {name: (reading, dba) for name, reading, dba in rows}


def raised_by(content: bytes, outputs: tuple[str, ...]) -> list[str]:
    """Put a sample in place of each output of a node; say what goes wrong."""
    capture, problems = healthy(offline=frozenset({1, 2})).capture(), []
    for name in outputs:
        said = {**capture.hosts["rac1"].outputs, name: Output(content=content)}
        hosts = {**capture.hosts, "rac1": HostCapture(outputs=said)}
        if assess_rac(replace(capture, hosts=hosts)).verdict not in (Verdict.LOST, Verdict.UNKNOWN):
            problems.append(f"as {name} it makes a lost cluster look better")
    return problems


def main() -> int:
    """Compare every sample of the directory named."""
    table = reviewed()
    samples = sorted(Path(sys.argv[1]).glob("*.txt"))
    outputs = tuple(healthy().outputs("rac1"))
    wrong = [f"{name}: not there" for name in set(table) - {one.name for one in samples}]
    for sample in samples:
        content = sample.read_bytes()
        reading = reading_of(sample.name, content)
        wanted = table.get(sample.name, ("(not in the table)", ""))[0]
        if reading != wanted:
            wrong.append(f"{sample.name}\n  read     {reading}\n  reviewed {wanted}")
        wrong += [f"{sample.name}: {problem}" for problem in raised_by(content, outputs)]
    sys.stdout.write("\n".join(wrong) or f"{len(samples)} samples read as reviewed\n")
    return bool(wrong) or not samples


if __name__ == "__main__":
    sys.exit(main())
