"""Healing happens whatever becomes of the injector: real processes, no lab."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sisamu_ops.chaos import (
    Injection,
    heal,
    heal_all,
    healer,
    inject,
    injected,
    injection,
    parse_fault,
    standing,
)
from sisamu_ops.lab.clock import clock_environment, clock_file, furnish_clocks, remove_clocks
from sisamu_ops.lab.topology import LabPlace
from sisamu_ops.model.errors import FailedError, RefusedError
from tests.support.chaos import FakeGround, injector, sleeper
from tests.support.commands import ROOT
from tests.support.terminal import Terminal, open_terminal
from tests.support.waiting import await_that, lives
from tests.unit.test_docs import documented_keys, paths

CUT = parse_fault("cut-pair paris lyon")
ONE_WAY = parse_fault("cut-one-way lille paris")


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[FakeGround]:
    """A ground that is left with no fault and no healer."""
    made = FakeGround(root=tmp_path)
    yield made
    heal_all(made)


def links(ground: FakeGround) -> str:
    return ground.links.read_text() if ground.links.exists() else "whole"


def healer_pid(one: Injection) -> int:
    return int(healer.healer_file(one.record).read_text().split()[0])


def test_a_fault_stands_until_it_is_healed(ground: FakeGround) -> None:
    """Within the block it stands, armed; after it nothing of it is left."""
    with injected(ground, CUT, 20) as one:
        assert links(ground) == "lyon>paris paris>lyon"
        assert [s.injection_id for s in standing(ground)] == [one.injection_id]
        assert one.armed
        pid = healer_pid(one)
    assert (links(ground), standing(ground)) == ("whole", ())
    assert not lives(pid)


def test_the_deadline_heals(ground: FakeGround) -> None:
    """Nobody asks, and it is healed."""
    inject(ground, CUT, 2)
    await_that(lambda: standing(ground) == (), 2 + 2.7)
    assert links(ground) == "whole"


def test_a_killed_injector_leaves_a_healer(ground: FakeGround) -> None:
    """The injector's whole process group killed by SIGKILL: the healer is in another, and heals."""
    make = f"FakeGround(root=Path({str(ground.root)!r}))"
    with injector(make, str(CUT), 3) as process:
        assert links(ground) != "whole"
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert standing(ground)[0].armed
    await_that(lambda: links(ground) == "whole", 3 + 3)
    await_that(lambda: standing(ground) == ())


def test_with_injector_and_healer_killed_the_cure_is_on_the_disk(ground: FakeGround) -> None:
    """Nobody is left who knows: `heal_all` of any process heals."""
    one = inject(ground, CUT, 20)
    os.kill(healer_pid(one), signal.SIGKILL)
    await_that(lambda: not one.armed)
    assert links(ground) != "whole"
    assert [healed.injection_id for healed in heal_all(ground)] == [one.injection_id]
    assert (links(ground), standing(ground)) == ("whole", ())


def test_without_a_healer_nothing_is_injected(
    ground: FakeGround, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cure that could not be armed: refused, and nothing has been disturbed."""
    monkeypatch.setattr(injection.healer, "__file__", "/no/such/healer.py")
    with pytest.raises(FailedError, match="nothing was injected"):
        inject(ground, CUT, 20)
    assert (links(ground), standing(ground)) == ("whole", ())


@pytest.mark.parametrize("error", [healer.NotPerformedError("broken"), KeyboardInterrupt()])
def test_half_an_injection_is_healed(
    error: BaseException, ground: FakeGround, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether an action fails or a Ctrl-C arrives: what was done before it is undone."""
    perform = healer.perform

    def break_afterwards(action: healer.Action) -> None:
        perform(action)
        assert links(ground) != "whole"
        raise error

    monkeypatch.setattr(injection.healer, "perform", break_afterwards)
    with pytest.raises((FailedError, KeyboardInterrupt)):
        inject(ground, CUT, 20)
    assert (links(ground), standing(ground)) == ("whole", ())


def test_nobody_heals_what_is_being_injected(
    ground: FakeGround, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An injection that outlasts its own deadline is healed after it, not in its midst."""
    perform = healer.perform

    def dawdle(action: healer.Action) -> None:
        await_that(lambda: standing(ground)[0].remaining_s < -0.2)
        assert standing(ground)[0].armed
        perform(action)

    monkeypatch.setattr(injection.healer, "perform", dawdle)
    inject(ground, CUT, 3)
    await_that(lambda: standing(ground) == (), 5)
    assert links(ground) == "whole"


def test_a_fault_beyond_the_radius_is_not_injected(ground: FakeGround) -> None:
    """What stands is judged with what is wanted, from the disk."""
    with injected(ground, CUT, 20):
        with pytest.raises(RefusedError, match="majority"):
            inject(ground, parse_fault("cut-arbiter"), 20)
        with pytest.raises(RefusedError, match="already touches link lyon>paris"):
            inject(ground, parse_fault("cut-one-way lyon paris"), 20)
        assert len(standing(ground)) == 1
    with pytest.raises(RefusedError, match="at most 20 s"):
        inject(ground, CUT, 21)


def test_a_cure_that_fails_is_kept_and_said(ground: FakeGround) -> None:
    """What is not healed is neither forgotten nor called healed; the next `heal` may do it."""
    one = inject(ground, CUT, 20)
    os.kill(healer_pid(one), signal.SIGKILL)
    ground.links.unlink()
    ground.links.mkdir()
    (ground.links / "in-the-way").touch()
    with pytest.raises(FailedError, match="not healed") as caught:
        heal_all(ground)
    assert "chaos heal" in caught.value.remedy
    assert len(standing(ground)) == 1
    (ground.links / "in-the-way").unlink()
    ground.links.rmdir()
    heal(one)
    assert (links(ground), standing(ground)) == ("whole", ())


def test_a_paused_process_stands_still_and_goes_on(ground: FakeGround) -> None:
    """SIGSTOP is there when the injection returns, and gone when the healing does."""
    with sleeper() as process:
        ground.processes["agent-paris"] = process
        with injected(ground, parse_fault("pause-agent paris"), 20):
            assert healer.state_of(process.pid)[0] == "T"
        await_that(lambda: healer.state_of(process.pid)[0] == "S")


def test_a_slow_process_stands_still_in_turns(ground: FakeGround) -> None:
    """It is seen stopped and seen running, both more than once, and runs in the end."""
    with sleeper() as process:
        ground.processes["zookeeper-paris"] = process
        with injected(ground, parse_fault("slow-zookeeper paris"), 20):
            for state in "TSTS":
                await_that(lambda wanted=state: healer.state_of(process.pid)[0] == wanted)
        assert healer.state_of(process.pid)[0] != "T"


def test_another_process_of_the_same_number_is_left_alone(ground: FakeGround) -> None:
    """A process that is not the one that was read is neither stopped nor killed."""
    with sleeper() as process:
        later = type(process)(pid=process.pid, started=process.started - 1)
        ground.processes["agent-paris"] = later
        with pytest.raises(FailedError, match="is gone"):
            inject(ground, parse_fault("pause-agent paris"), 20)
        assert healer.state_of(process.pid)[0] == "S"


# --- the command line -----------------------------------------------------------------------


@pytest.fixture
def terminal(
    ground: FakeGround, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Terminal:
    """A terminal whose lab is the fake ground."""
    monkeypatch.setenv("SISAMU_INVENTORY", str(ROOT / "inventories/lab"))
    monkeypatch.setattr("sisamu_ops.app.open_lab", lambda: ground)
    return open_terminal(monkeypatch, capsys)


def test_a_fault_is_injected_listed_and_healed_by_commands(
    ground: FakeGround, terminal: Terminal
) -> None:
    """`inject` returns while the fault stands; `list` shows it; `heal` ends it. Keys as told."""
    shown = json.loads(
        terminal("chaos", "inject", *str(CUT).split(), "--for", "9", "-o", "json").out
    )
    assert (shown["fault"], shown["armed"]) == (str(CUT), True)
    listed = json.loads(terminal("chaos", "list", "-o", "json").out)
    assert listed["standing"] == [shown | {"heals_by": listed["standing"][0]["heals_by"]}]
    told = {
        key.removesuffix("[]") for key in documented_keys("chaos list, chaos inject, chaos heal")
    }
    assert set(paths(listed)) == told
    assert f"standing: {CUT}" in terminal("chaos", "list").out
    assert json.loads(terminal("chaos", "heal", "-o", "json").out) == {"healed": [shown["id"]]}
    assert links(ground) == "whole"
    assert terminal("chaos", "heal").out == "healed: nothing\n"


def test_a_clock_may_jump_back(ground: FakeGround, terminal: Terminal) -> None:
    """A number below zero is a parameter, not an option; a true option's slip is still told."""
    words = ("chaos", "inject", "clock-jump", "paris")
    assert terminal(*words, "-30", "--for", "9").code == 0
    assert (ground.root / "clocks/paris").read_text() == "-30\n"
    assert terminal(*words, "-30", "--fro", "9").code == 2


def test_what_is_refused_leaves_nothing(ground: FakeGround, terminal: Terminal) -> None:
    """Too long, two on one thing, or a platform that is no lab: exit 3, and what would mend it."""
    words = ("chaos", "inject", *str(CUT).split(), "--for")
    assert terminal(*words, "21").code == 3
    assert terminal(*words, "9").code == 0
    again = terminal(*words, "9")
    assert (again.code, "sisamu chaos heal" in again.err) == (3, True)
    assert len(standing(ground)) == 1


def test_only_a_lab_is_disturbed(ground: FakeGround, terminal: Terminal, tmp_path: Path) -> None:
    """Where the inventory does not say so nothing is injected or healed; the list can be read."""
    shutil.copytree(ROOT / "inventories/lab", copy := tmp_path / "inventory")
    everywhere = copy / "group_vars/all.yml"
    everywhere.write_text(everywhere.read_text().replace("sisamu_lab: true\n", ""))
    inject_words = ("chaos", "inject", *str(CUT).split(), "--for", "9")
    for words in (inject_words, ("chaos", "heal")):
        refused = terminal("-i", copy, *words)
        assert (refused.code, "is not a lab" in refused.err) == (3, True)
        assert "remedy: " in refused.err
    assert terminal("-i", copy, "chaos", "list").code == 0
    assert (links(ground), standing(ground)) == ("whole", ())


_CLOCKS = """
import sys, time
clocks = [time.time, time.monotonic, lambda: time.clock_gettime(time.CLOCK_BOOTTIME)]
for line in sys.stdin:
    print(*(clock() for clock in clocks), flush=True)
"""


def test_a_clock_jumps_while_its_process_runs(tmp_path: Path) -> None:
    """The wall clock follows the file at once; CLOCK_MONOTONIC and CLOCK_BOOTTIME stay true.

    Killed by SIGKILL, the process leaves nothing behind in shared memory.
    """
    place = LabPlace(name=f"clock{os.getpid()}", root=tmp_path, prefix="198.18")
    shared = set(os.listdir("/dev/shm"))  # noqa: PTH208
    furnish_clocks(place)
    environment = os.environ | dict(clock_environment(place, "paris"))
    with subprocess.Popen(
        [sys.executable, "-c", _CLOCKS], env=environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        try:
            assert [round(off) for off in clocks_off(process)] == [0, 0, 0]
            for jump in (7200, -86_400, 0):
                healer.perform(
                    {"do": "write", "path": str(clock_file(place, "paris")), "text": f"{jump:+d}\n"}
                )
                assert [round(off) for off in clocks_off(process)] == [jump, 0, 0]
        finally:
            process.kill()
    remove_clocks(place)
    assert set(os.listdir("/dev/shm")) == shared  # noqa: PTH208


_THREADS = """
import ctypes, threading
libc = ctypes.CDLL(None)  # its calls let other threads run, as waits with a time-out do
def look():
    for _ in range(5_000):
        libc.time(None)
threads = [threading.Thread(target=look) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


def test_many_threads_may_look_at_the_clock_at_once(tmp_path: Path) -> None:
    """An agent has a dozen threads: no look at the clock ends the process."""
    place = LabPlace(name=f"clock{os.getpid()}", root=tmp_path, prefix="198.18")
    furnish_clocks(place)
    environment = os.environ | dict(clock_environment(place, "paris"))
    try:
        subprocess.run([sys.executable, "-c", _THREADS], env=environment, check=True, timeout=60)
    finally:
        remove_clocks(place)


def clocks_off(process: subprocess.Popen[str]) -> list[float]:
    """Return how far the process's wall, monotonic and boot clocks are from ours, in seconds."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    theirs = [float(word) for word in process.stdout.readline().split()]
    ours = [time.time(), time.monotonic(), time.clock_gettime(time.CLOCK_BOOTTIME)]
    return [a - b for a, b in zip(theirs, ours, strict=True)]
