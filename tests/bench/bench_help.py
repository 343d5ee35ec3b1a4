"""What `sisamu --help` costs beside Python that only imports Click.

.venv/bin/python -m tests.bench.bench_help [ROUNDS]
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.bench.timing import report, run, seconds_of

SISAMU = str(Path(sys.executable).with_name("sisamu"))
COMMANDS = {
    "sisamu --help": [SISAMU, "--help"],
    'python -c "import click"': [sys.executable, "-c", "import click"],
}


def main(rounds: int) -> None:
    """Time both in turn; the first round only warms the disk's cache."""
    samples: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for number in range(rounds + 1):
        for name, command in COMMANDS.items():
            spent_s = seconds_of(lambda command=command: run(command))
            if number:
                samples[name].append(spent_s)
    report("help", samples)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
