"""Waiting for what gives no event, with an end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep


def await_that(holds: Callable[[], bool], timeout_s: float = 30) -> float:
    """Return, as soon as it holds, the seconds that took; fail the test after the time-out."""
    began = monotonic()
    while not holds():
        assert monotonic() - began < timeout_s, "it did not come about"
        sleep(0.01)
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
