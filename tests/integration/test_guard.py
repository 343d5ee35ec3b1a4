"""The guard as a process: when the right to act ends, so does all that was started under it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sisamu_ops.leadership import guard
from sisamu_ops.leadership.lease import KILL_MS, boottime_ns
from tests.support.waiting import await_gone, await_that, lives
from tests.support.zookeeper import TICK_MS

LONG_S = 30.0

#: Leaves its session, forks twice, ignores every signal that can be, and tells its process id.
STUBBORN = """
import os, signal, sys, time
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    os.setsid()
with open(sys.argv[1], "a") as told:
    told.write(f"{os.getpid()}\\n")
while True:
    time.sleep(60)
"""


class Guarded:
    """A command under a guard, and the pipe that tells the guard of the lease."""

    def __init__(
        self, *command: str, lease_s: float, deadline_s: float = LONG_S, armed: str = "armed"
    ) -> None:
        reader, self._writer = os.pipe()
        self.renew(lease_s)
        deadline_ns = boottime_ns() + int(deadline_s * 1e9)
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(guard.__file__), str(reader), str(deadline_ns), armed,
             *command],
            pass_fds=(reader,), stdin=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(reader)

    def renew(self, lease_s: float) -> None:
        self.end_ns = boottime_ns() + int(lease_s * 1e9)
        os.write(self._writer, b"%d\n" % self.end_ns)

    def close_pipe(self) -> None:
        """Do what the kernel does for an agent that has ended."""
        if self._writer >= 0:
            os.close(self._writer)
            self._writer = -1

    def ends(self) -> int:
        return self.process.wait(timeout=10)


@pytest.fixture
def run() -> Iterator[Callable[..., Guarded]]:
    started: list[Guarded] = []

    def start(*command: str, **limits: Any) -> Guarded:
        started.append(Guarded(*command, **limits))
        return started[-1]

    yield start
    for one in started:
        one.close_pipe()
        for pid in guard.descendants(one.process.pid):
            os.kill(pid, signal.SIGKILL)
        one.process.kill()
        one.process.wait()


def test_a_killed_guard_takes_its_command_with_it(run: Any, tmp_path: Path) -> None:
    """`kill -9` of the guard itself ends the command it started."""
    told = tmp_path / "pid"
    script = f"import os, time; open({str(told)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    guarded = run(sys.executable, "-S", "-c", script, lease_s=LONG_S)
    await_that(lambda: told.exists() and told.read_text() != "")
    guarded.process.kill()
    await_gone(int(told.read_text()))


@pytest.fixture
def stubborn(tmp_path: Path) -> tuple[list[str], Callable[[], list[int]]]:
    """Give a command that resists its end, and what waits for its two processes."""
    told = tmp_path / "pids"

    def pids() -> list[int]:
        await_that(lambda: told.exists() and len(told.read_text().split()) == 2)
        return [int(pid) for pid in told.read_text().split()]

    return [sys.executable, "-S", "-c", STUBBORN, str(told)], pids


def test_nothing_outlives_the_lease(run: Any, stubborn: Any) -> None:
    """A child that left its session, forked twice and ignores signals is dead at lease end.

    Dead within a tick of ZooKeeper after the time kept back for killing: nobody else can lead
    sooner than that.
    """
    command, pids = stubborn
    guarded = run(*command, lease_s=LONG_S)
    alive = pids()
    guarded.renew(0.5)
    assert all(lives(pid) for pid in alive)
    assert guarded.ends() == guard.LEASE_ENDED
    late_ms = (boottime_ns() - guarded.end_ns) / 1e6
    assert not any(lives(pid) for pid in alive)
    assert 0 <= late_ms < KILL_MS + TICK_MS


def test_a_stopped_child_dies_too(run: Any, stubborn: Any) -> None:
    """Processes that are paused at lease end never wake to go on."""
    command, pids = stubborn
    guarded = run(*command, lease_s=LONG_S)
    alive = pids()
    for pid in alive:
        os.kill(pid, signal.SIGSTOP)
    guarded.renew(0.2)
    assert guarded.ends() == guard.LEASE_ENDED
    await_gone(*alive)


def test_an_agent_that_ends_takes_all_with_it(run: Any, stubborn: Any) -> None:
    """The pipe closed, as a kill -9 of the agent closes it: everything is killed at once."""
    command, pids = stubborn
    guarded = run(*command, lease_s=LONG_S)
    alive = pids()
    guarded.close_pipe()
    assert guarded.ends() == guard.AGENT_GONE
    await_gone(*alive)


def test_the_deadline_ends_a_run_whose_lease_goes_on(run: Any, stubborn: Any) -> None:
    """A run that does not end is ended, however long its leader may act."""
    command, pids = stubborn
    guarded = run(*command, lease_s=LONG_S, deadline_s=3.0)
    alive = pids()
    assert guarded.ends() == guard.DEADLINE_PASSED
    await_gone(*alive)


def test_a_renewed_lease_keeps_a_run(run: Any, tmp_path: Path) -> None:
    """Renewed in time, a run goes on past the end it was first given."""
    os.mkfifo(fifo := tmp_path / "fifo")
    guarded = run("sh", "-c", f"read line <{fifo}; exit 7", lease_s=3.0)
    first_ns = guarded.end_ns
    guarded.renew(LONG_S)
    await_that(lambda: boottime_ns() > first_ns + 100_000_000)
    assert guarded.process.poll() is None
    fifo.write_text("go\n")
    assert guarded.ends() == 7


def test_a_lease_taken_back_ends_a_run(run: Any, stubborn: Any) -> None:
    """Leadership known lost is told as a lease of zero: nothing waits for the former end."""
    command, pids = stubborn
    guarded = run(*command, lease_s=LONG_S)
    alive = pids()
    guarded.renew(-1.0)
    assert guarded.ends() == guard.LEASE_ENDED
    await_gone(*alive)


@pytest.mark.parametrize(
    ("script", "status"), [("exit 0", 0), ("exit 3", 3), ("kill -9 $$", 137), ("kill -15 $$", 143)]
)
def test_the_exit_status_is_passed_through(script: str, status: int, run: Any) -> None:
    """Whoever started the guard learns how the command ended, as a shell would say it."""
    assert run("sh", "-c", script, lease_s=LONG_S).ends() == status


def test_what_a_finished_command_left_behind_is_killed(run: Any, tmp_path: Path) -> None:
    """A worker left running by a command that has ended does not go on alone."""
    told = tmp_path / "pid"
    script = f"setsid sleep 60 & echo $! >{told}; exit 4"
    assert run("sh", "-c", script, lease_s=LONG_S).ends() == 4
    await_gone(int(told.read_text()))


def test_a_command_that_is_not_there_is_told(run: Any) -> None:
    """What cannot be started ends as a shell would end it."""
    assert run("/no/such/command", lease_s=LONG_S).ends() == 127


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"lease_s": -1.0}, guard.LEASE_ENDED),
        ({"lease_s": LONG_S, "deadline_s": -1.0}, guard.DEADLINE_PASSED),
    ],
)
def test_nothing_is_started_without_the_right(
    limits: dict[str, float], reason: int, run: Any, tmp_path: Path
) -> None:
    """A guard that is late itself starts nothing at all."""
    marker = tmp_path / "started"
    assert run("touch", str(marker), **limits).ends() == reason
    assert not marker.exists()


def test_disarmed_it_kills_nobody(run: Any, tmp_path: Path) -> None:
    """For the one test of the fence: past its lease and its deadline the command goes on."""
    os.mkfifo(fifo := tmp_path / "fifo")
    command = ("sh", "-c", f"read line <{fifo}; exit 9")
    guarded = run(*command, lease_s=0.1, deadline_s=0.1, armed="disarmed")
    await_that(lambda: boottime_ns() > guarded.end_ns + 200_000_000)
    guarded.close_pipe()
    assert guarded.process.poll() is None
    fifo.write_text("go\n")
    assert guarded.ends() == 9
