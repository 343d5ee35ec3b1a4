"""Waiting for what gives no event, with an end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep


def await_that(holds: Callable[[], bool], timeout_s: float = 30) -> float:
    """Return, as soon as it holds, the seconds that took; fail the test after the time-out.

    What is looked at last is looked at after the time-out: a machine that stands still in between
    fails no test.
    """
    began = monotonic()
    late = False
    while not holds():
        assert not late, "it did not come about"
        sleep(0.01)
        late = monotonic() - began >= timeout_s
    return monotonic() - began


def lives(pid: int) -> bool:
    """Say whether a process runs: one that has ended and waits to be reaped does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def await_gone(*pids: int, timeout_s: float = 30) -> None:
    """Wait until none of these processes runs."""
    await_that(lambda: not any(lives(pid) for pid in pids), timeout_s)
