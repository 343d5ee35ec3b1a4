"""Timing commands against each other: interleaved, so that a busy moment meets all of them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from time import monotonic


def seconds_of(action: Callable[[], object]) -> float:
    """Return how long an action takes."""
    began = monotonic()
    action()
    return monotonic() - began


def run(command: Sequence[str], **options: object) -> None:
    """Run a command that must succeed; what it says is kept from the terminal."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}{done.stderr}")


def report(title: str, samples: Mapping[str, Sequence[float]]) -> None:
    """Print each series' median and range in milliseconds, and its ratio to the last one."""
    base = median(list(samples.values())[-1])
    sys.stdout.write(f"{title}\n")
    for name, values in samples.items():
        low, middle, high = (round(1000 * v) for v in (min(values), median(values), max(values)))
        sys.stdout.write(
            f"  {name:<44} median {middle:>6} ms  ({low}-{high}, n={len(values)})"
            f"  x{median(values) / base:.2f}\n"
        )
