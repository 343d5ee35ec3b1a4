"""The lease: it ends before anybody else can lead, whatever the answer's delay."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sisamu_ops.leadership.lease import (
    KILL_MS,
    Lease,
    boottime_ns,
    heartbeat_interval_s,
    lease_from,
)

MS = 1_000_000


def test_a_lease_is_counted_from_before_sending() -> None:
    """T minus one tick minus the time to kill, from the instant the heartbeat was sent."""
    lease = lease_from(5_000 * MS, timeout_ms=4000, tick_ms=500, kill_ms=300)
    assert lease.end_ns == (5_000 + 3_200) * MS


@given(
    sent_ms=st.integers(0, 10**9),
    timeout_ms=st.integers(1_000, 60_000),
    tick_ms=st.integers(1, 500),
)
def test_a_lease_and_the_killing_end_before_the_session(
    sent_ms: int, timeout_ms: int, tick_ms: int
) -> None:
    """Lease end plus the killing never outlasts T minus one tick after the sending."""
    lease = lease_from(sent_ms * MS, timeout_ms=timeout_ms, tick_ms=tick_ms)
    assert lease.end_ns + KILL_MS * MS <= (sent_ms + timeout_ms - tick_ms) * MS


def test_the_right_ends_at_its_end() -> None:
    """At the last nanosecond it holds, at the end it does not; what remains is never negative."""
    lease = Lease(1_000)
    assert (lease.holds(999), lease.holds(1_000), lease.holds(2_000)) == (True, False, False)
    assert lease.remaining_s(2_000) == 0
    assert Lease(3 * 10**9).remaining_s(10**9) == 2


@pytest.mark.parametrize(("timeout_ms", "tick_ms"), [(800, 500), (500, 500), (0, 500)])
def test_a_time_out_too_short_to_act_is_a_bug(timeout_ms: int, tick_ms: int) -> None:
    """Where nothing remains after tick and killing, no lease is given."""
    with pytest.raises(ValueError, match="leaves no lease"):
        lease_from(0, timeout_ms=timeout_ms, tick_ms=tick_ms)


def test_six_heartbeats_a_time_out() -> None:
    """A heartbeat is sent every sixth of the time-out."""
    assert heartbeat_interval_s(6000) == 1


def test_the_clock_never_goes_back() -> None:
    """Instants are of CLOCK_BOOTTIME, which no setting of the date moves."""
    assert boottime_ns() <= boottime_ns()
