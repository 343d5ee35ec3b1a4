"""The guard: runs one command and ends all of it when the right to act ends.

A paused or dead agent kills nobody, and Ansible's workers call setsid, so neither a signal to
a process group nor the agent itself can be relied on. The guard is the subreaper of all that
the command starts (prctl(2), PR_SET_CHILD_SUBREAPER): whatever loses its parent becomes its
child, so every descendant can be found. It learns the end of the lease, in nanoseconds of
CLOCK_BOOTTIME, one line a renewal, through a pipe; at that instant, at end of file, or at
the deadline it kills every descendant.

Standard library only: it is started once a run and must be up in milliseconds.

Usage: guard.py LEASE_FD DEADLINE_NS armed|disarmed COMMAND [ARGUMENT ...]
`disarmed` exists for the one test that proves the fence alone holds.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import sys
import time
from pathlib import Path

DEADLINE_PASSED = 124
LEASE_ENDED = 125
AGENT_GONE = 126
KILLED = (DEADLINE_PASSED, LEASE_ENDED, AGENT_GONE)
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def _now_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def _parents() -> dict[int, int]:
    """Map every process to its parent, from /proc/PID/stat (proc(5))."""
    found: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                stat = (entry / "stat").read_text()
                # The second field, the name, may hold anything, parentheses and blanks too.
                found[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    return found


def descendants(root: int) -> set[int]:
    """Return every living process below `root`."""
    parents = _parents()
    found = {root}
    while True:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        if not more:
            return found - {root}
        found |= more


def kill_descendants() -> None:
    """Kill until nobody is left; a process that forks meanwhile is met in the next round."""
    while True:
        alive = descendants(os.getpid())
        if not alive:
            return
        for pid in alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        _reap()
        time.sleep(0.002)  # waits for the kernel to end what was killed; no event tells of all


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


class _Lease:
    """The end of the lease as last told through the pipe."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.end_ns = 0
        self.gone = False
        self._rest = b""

    def take(self) -> None:
        chunk = os.read(self.descriptor, 4096)
        self.gone = not chunk
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if lines:
            self.end_ns = int(lines[-1])


def _start(command: list[str], lease_fd: int) -> int:
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            # The guard itself may be killed: then what it started goes with it.
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            os.close(lease_fd)
            os.execvp(command[0], command)
        finally:
            os._exit(127)
    return child


def _over(lease: _Lease, deadline_ns: int) -> int | None:
    """Return why nothing may run any more, None while it may."""
    if lease.gone:
        return AGENT_GONE
    if _now_ns() >= min(lease.end_ns, deadline_ns):
        return LEASE_ENDED if lease.end_ns <= deadline_ns else DEADLINE_PASSED
    return None


def _watch(child: int, lease: _Lease, deadline_ns: int) -> int | None:
    """Wait for the child or for a reason to kill it; return the reason, None when it ended."""
    exited = os.pidfd_open(child)
    while True:
        if (reason := _over(lease, deadline_ns)) is not None:
            return reason
        wait_s = (min(lease.end_ns, deadline_ns) - _now_ns()) / 1e9
        ready, _, _ = select.select([exited, lease.descriptor], [], [], max(0.0, wait_s))
        if exited in ready:
            return None
        if lease.descriptor in ready:
            lease.take()


def main(arguments: list[str]) -> int:
    """Run the command under the lease; return its exit status, or why it was killed."""
    lease_fd, deadline_ns, armed, *command = arguments
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        print("guard: cannot become subreaper", file=sys.stderr)  # noqa: T201 - own process
        return AGENT_GONE
    lease = _Lease(int(lease_fd))
    lease.take()
    if armed != "disarmed" and (reason := _over(lease, int(deadline_ns))) is not None:
        return reason
    child = _start(command, lease.descriptor)
    if armed == "disarmed":
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    reason = _watch(child, lease, int(deadline_ns))
    if reason is not None:
        kill_descendants()
        return reason
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    kill_descendants()
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
