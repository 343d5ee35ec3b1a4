"""The lease: how long a leader may act after its last acknowledged heartbeat (pure).

The heartbeat is a write to ZooKeeper, one in flight. Its session cannot expire sooner than
T minus one tick after the write was *sent* (the server rounds expiry to ticks), so the lease
is counted from before sending, and leaves the time needed to kill what runs.
All instants are nanoseconds of CLOCK_BOOTTIME, which neither stops in suspend nor jumps.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

#: Time kept back at the end of a lease for killing every descendant of the guard.
KILL_MS = 300
_NS_PER_MS = 1_000_000


def boottime_ns() -> int:
    """Return CLOCK_BOOTTIME in nanoseconds."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, order=True)
class Lease:
    """A time-bounded right to act; `end_ns` is on CLOCK_BOOTTIME."""

    end_ns: int

    def holds(self, now_ns: int) -> bool:
        """Say whether the holder may still act."""
        return now_ns < self.end_ns

    def remaining_s(self, now_ns: int) -> float:
        """Return the seconds left, never below zero."""
        return max(0, self.end_ns - now_ns) / 1e9


def lease_from(sent_ns: int, *, timeout_ms: int, tick_ms: int, kill_ms: int = KILL_MS) -> Lease:
    """Return the lease that a heartbeat sent at `sent_ns` and acknowledged since gives.

    ValueError when the session time-out leaves no time to act.
    """
    length_ms = timeout_ms - tick_ms - kill_ms
    if length_ms <= 0:
        raise ValueError(f"session time-out {timeout_ms} ms leaves no lease")
    return Lease(sent_ns + length_ms * _NS_PER_MS)


def heartbeat_interval_s(timeout_ms: int) -> float:
    """Return the seconds between two heartbeats: a sixth of the session time-out."""
    return timeout_ms / 6000
