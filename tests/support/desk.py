"""The operator's desk of a led lab: the `sisamu` command as a subprocess, agents as processes."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sisamu_ops.lab import Lab
from sisamu_ops.leadership.guard import descendants
from tests.support.lab import ROUTER_NAMES, kamcmd, transactions
from tests.support.waiting import await_that

ROOT = Path(__file__).resolve().parents[2]
SISAMU = Path(sys.executable).parent / "sisamu"


@dataclass(frozen=True, kw_only=True)
class Desk:
    """What the on-call engineer has: a terminal in a lab that is led."""

    lab: Lab
    #: What the lab's inventory reads from the environment besides.
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """Return what tells a command which lab it is about."""
        name, inventory = self.lab.place.name, self.lab.inventory
        return {"SISAMU_LAB_NAME": name, "SISAMU_INVENTORY": str(inventory)} | self.settings

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Begin a command."""
        return subprocess.Popen(
            [str(SISAMU), *arguments], cwd=ROOT, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=os.environ | self.environment | environment,
        )  # fmt: skip

    def run(
        self, *arguments: str, code: int = 0, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; fail the test on another exit code, or on a traceback."""
        process = self.start(*arguments, **environment)
        out, err = process.communicate(timeout=300)
        assert "Traceback" not in out + err, err
        assert process.returncode == code, f"exit {process.returncode}\n{out}\n{err}"
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def read(self, *arguments: str, code: int = 0) -> Any:
        """Run a command and return what it printed as JSON."""
        return json.loads(self.run(*arguments, "-o", "json", code=code).stdout)

    def samu(self, samu_id: str = "300") -> dict[str, Any]:
        """Return what `status` says of a SAMU."""
        found: list[dict[str, Any]] = self.read("status")["samus"]
        return next(samu for samu in found if samu["id"] == samu_id)

    def last_operation(self) -> dict[str, Any]:
        """Return the newest operation in full."""
        newest = self.read("operation", "list")[-1]["id"]
        found: dict[str, Any] = self.read("operation", "show", newest)
        return found

    def leader(self) -> str:
        """Return the leading site."""
        return str(self.read("leader", "show")["site"])

    def settle(self, mode: str = "nominal") -> None:
        """Wait for a leader, and have SAMU 300 in a mode, whatever a test did."""
        samu = next(s for s in self.await_leader()["samus"] if s["id"] == "300")
        if samu["operation"] and samu["operation"]["outcome"] in ("unknown", "running"):
            self.run("reconcile", "--reason", "between tests")
            samu = self.samu()
        if (samu["mode"], samu["intended_mode"]) != (mode, mode):
            verb = {"nominal": "failback", "backup": "switchover"}[mode]
            self.run(verb, "start", "--samu", "300", "--reason", "between tests")

    def await_leader(self, other_than: str = "") -> dict[str, Any]:
        """Wait until a site other than the given one leads; return the status that says so."""
        found: list[dict[str, Any]] = []

        def led() -> bool:
            found.append(self.read("status"))
            return found[-1]["leader"]["site"] not in (None, other_than)

        await_that(led)
        return found[-1]

    def pid(self, program: str) -> int:
        """Return the process of a program."""
        return next(p.pid for p in self.lab.status().programs if p.name == program)


def running_modes(lab: Lab, router: str) -> dict[str, str]:
    """Ask a running router for the modes it holds, without the product."""
    dump = kamcmd(lab, router, "htable.dump", "samu_mode")
    lines = [line.strip() for line in dump.splitlines()]
    return {
        name.removeprefix("name: "): value.removeprefix("value: ")
        for name, value in itertools.pairwise(lines)
        if name.startswith("name: ")
    }


def running_mode(lab: Lab, router: str, samu_id: str = "300") -> str:
    """Ask a running router for a SAMU's mode, without the product."""
    return running_modes(lab, router).get(samu_id, "nominal")


def await_mode(lab: Lab, router: str, mode: str, timeout_s: float = 30) -> None:
    """Wait until a running router has a mode for SAMU 300."""
    await_that(lambda: running_mode(lab, router) == mode, timeout_s)


@contextmanager
def paused(*pids: int) -> Iterator[None]:
    """Stop processes with SIGSTOP; let them go on afterwards, those that still live."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            resume(pid)


def resume(pid: int) -> None:
    """Let a stopped process go on, if it still lives."""
    try:
        os.kill(pid, signal.SIGCONT)
    except ProcessLookupError:
        return


def family(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    return [pid, *sorted(descendants(pid))]


def modes(lab: Lab) -> list[str]:
    """Return what each running router has for SAMU 300."""
    return [running_mode(lab, router) for router in ROUTER_NAMES]


@contextmanager
def hung(lab: Lab, router: str) -> Iterator[None]:
    """Have a running router answer nobody, neither calls nor commands, and then go on.

    Its timers run on. A Kamailio that stood still with them finds its clock behind when it goes on,
    and within 5 s makes it up in one leap: every INVITE without an answer in that instant, a test
    call too, times out at once and is refused (503).
    """
    listed = re.findall(r"^(\d+)\n(.+)$", kamcmd(lab, router, "core.ps"), re.MULTILINE)
    assert len([what for _, what in listed if "timer" in what]) > 1, listed
    with paused(*(int(pid) for pid, what in listed if "timer" not in what)):
        yield


@dataclass(kw_only=True)
class Load:
    """Calls placed meanwhile by `sisamu lab calls`; `figures` once they have ended."""

    figures: dict[str, int]

    @property
    def clean(self) -> tuple[int, int, int]:
        """Return lost, misrouted and cut."""
        return (self.figures["lost"], self.figures["misrouted"], self.figures["cut"])


@contextmanager
def load(desk: Desk, rate: int = 20, *whom: str) -> Iterator[Load]:
    """Place calls to SAMU 300 for as long as the body lasts, begun once both routers had some.

    `whom` names others, as `lab calls` does: `--all`.
    """
    before = {router: transactions(desk.lab, router) for router in ROUTER_NAMES}
    process = desk.start(
        "lab", "calls", "--rate", str(rate), "--duration", "600", "--hold", "1", *whom, "-o", "json"
    )
    placed = Load(figures={})
    try:
        await_that(lambda: all(transactions(desk.lab, r) > before[r] + 5 for r in ROUTER_NAMES))
        yield placed
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 9, err
        placed.figures.update(json.loads(out))
    finally:
        process.kill()
        process.wait()
