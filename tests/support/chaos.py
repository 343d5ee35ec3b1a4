"""Somewhere to inject faults without a lab: links are one file, programs are sleeping processes."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sisamu_ops.chaos import Scene, actions
from sisamu_ops.chaos.healer import state_of
from sisamu_ops.chaos.scene import Action, Link, Process
from tests.support.commands import ROOT
from tests.support.waiting import await_that

SITES = ("paris", "lyon", "lille")


@dataclass(kw_only=True)
class FakeGround:
    """A ground whose links are the words of one file."""

    root: Path
    processes: dict[str, Process] = field(default_factory=dict)

    @property
    def cures(self) -> Path:
        return self.root / "chaos"

    @property
    def links(self) -> Path:
        return self.root / "links"

    def scene(self) -> Scene:
        return Scene(
            directory=self.cures, sites=SITES, arbiter="lille", supervisor=self.root / "socket",
            processes=self.processes, homes={site: self.root / site for site in SITES},
            clocks={site: self.root / "clocks" / site for site in SITES},
            cut=self._cut, join=self._join,
        )  # fmt: skip

    def _cut(self, links: frozenset[Link]) -> Action:
        return actions.write(self.links, " ".join(f"{a}>{b}" for a, b in sorted(links)))

    def _join(self, links: frozenset[Link]) -> Action:
        return actions.write(self.links, "whole")


def quiet_scene() -> Scene:
    """Return a scene where every program runs; nothing of it exists."""
    names = [f"{kind}-{site}" for kind in ("agent", "zookeeper") for site in SITES]
    processes = {name: Process(pid=2**22 + i, started=i) for i, name in enumerate(names)}
    return FakeGround(root=Path("/nowhere"), processes=processes).scene()


@contextmanager
def sleeper() -> Iterator[Process]:
    """Run a process that does nothing; it is reaped at the end."""
    running = subprocess.Popen(["sleep", "600"])
    try:
        await_that(lambda: state_of(running.pid)[0] == "S")
        yield Process(pid=running.pid, started=state_of(running.pid)[1])
    finally:
        running.send_signal(signal.SIGCONT)
        running.kill()
        running.wait()


#: Injects into the ground below its first argument, says so, and waits to be killed.
_INJECTOR = """
import sys, time
from pathlib import Path
from sisamu_ops.chaos import inject, parse_fault
from sisamu_ops.lab import Lab
from tests.support.chaos import FakeGround
ground = {make}
inject(ground, parse_fault(sys.argv[1]), float(sys.argv[2]))
print("injected", flush=True)
time.sleep(600)
"""


@contextmanager
def injector(make: str, fault: str, deadline_s: float) -> Iterator[subprocess.Popen[str]]:
    """Inject from a session of its own; the body begins once the fault stands.

    `make` is a Python expression for the ground.
    """
    command = [sys.executable, "-c", _INJECTOR.format(make=make), fault, str(deadline_s)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=ROOT, start_new_session=True
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "injected\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
