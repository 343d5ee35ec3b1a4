"""SAMU 30 to backup and back under live calls, then rescued when its platform dies.

Drives the product as an operator does: through the `sisamu` command and its JSON. The figures
are counted here, from the ledger of calls and the journal's times, and held against the
product's own. Exit 0 only when every promise held.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
SISAMU = Path(sys.executable).with_name("sisamu")
SAMU = "300"
RATE = 20
HOLD_S = 2
#: Longer than any phase: the calls are stopped when there is nothing left to see.
LONGEST_S = 90
ANSWER_LIMIT_MS = 5000
#: Calls placed before the first command and after the last outcome, in seconds.
LEAD_S = 2.0
TAIL_S = 2.5
STOPPED = 9

Call = dict[str, Any]
Facts = dict[str, Any]


class DemoError(Exception):
    """A command did not do what the demonstration needs to go on."""


@dataclass(kw_only=True)
class Phase:
    """One operation and the calls placed while it was what happened."""

    command_ms: int
    operation: Facts
    calls: list[Call] = field(default_factory=list)

    @property
    def accepted_ms(self) -> int:
        """Return when the request was accepted, in POSIX milliseconds."""
        return _ms(self.operation["accepted_at"])

    @property
    def ended_ms(self) -> int:
        """Return when the outcome was journalled, in POSIX milliseconds."""
        return _ms(self.operation["ended_at"])

    def count(self, flaw: str, *, after_done: bool | None = None) -> int:
        """Count calls with a flaw: all, or those placed after (or before) the outcome."""
        return sum(
            _FLAWS[flaw](call, self)
            for call in self.calls
            if after_done is None or (call["invited_at_ms"] > self.ended_ms) == after_done
        )

    @property
    def first_answer_s(self) -> float | None:
        """Return the seconds from the command to the first call answered on the new path."""
        answers = [
            call["answered_at_ms"]
            for call in self.calls
            if _path(call) == self.operation["to"] and call["answered_at_ms"] > self.command_ms
        ]
        return (min(answers) - self.command_ms) / 1000 if answers else None


def _ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def _path(call: Call) -> str:
    return str(call["answered_by"]).partition(";")[0]


def _lost(call: Call, phase: Phase) -> bool:
    del phase
    return call["pdd_ms"] is None or call["pdd_ms"] > ANSWER_LIMIT_MS


def _cut(call: Call, phase: Phase) -> bool:
    return not _lost(call, phase) and not call["ended"]


def _misrouted(call: Call, phase: Phase) -> bool:
    """Judge by the operation alone: old path before it, both during it, the new one after it."""
    if call["answered_at_ms"] is None:
        return False
    if f"samu={SAMU}" not in call["answered_by"] and _path(call) == "backup":
        return True
    new = phase.operation["to"]
    old = "nominal" if new == "backup" else "backup"
    if call["invited_at_ms"] < phase.accepted_ms:
        return _path(call) != old
    allowed = {new} if call["invited_at_ms"] >= phase.ended_ms else {old, new}
    return _path(call) not in allowed


_FLAWS = {"lost": _lost, "cut": _cut, "misrouted": _misrouted}


def say(message: str) -> None:
    """Tell who watches what happens now."""
    sys.stderr.write(f"\n== {message}\n")


def sisamu(*arguments: str) -> None:
    """Run a command that must succeed; what it tells goes to the terminal."""
    done = subprocess.run([SISAMU, *arguments], cwd=ROOT, stdout=sys.stderr, check=False)
    if done.returncode != 0:
        raise DemoError(f"sisamu {' '.join(arguments)}: exit {done.returncode}")


def ask(*arguments: str, good: tuple[int, ...] = (0,)) -> Any:
    """Run a command and return its JSON."""
    command = [SISAMU, *arguments, "-o", "json"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=False)
    if done.returncode not in good or not done.stdout:
        raise DemoError(f"sisamu {' '.join(arguments)}: exit {done.returncode}")
    return json.loads(done.stdout)


@contextmanager
def own_lab() -> Iterator[None]:
    """Bring a lab of its own up, and take it down whatever happens."""
    os.environ.setdefault("SISAMU_LAB_NAME", "demo")
    # Set by hand: a shell starts its background jobs deaf to SIGINT.
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        sisamu("lab", "up")
        yield
    finally:
        say("the lab is taken down")
        # A second Ctrl-C must not leave half a lab behind.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        sisamu("lab", "down")


def _interrupt(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise KeyboardInterrupt


class Callers:
    """`sisamu lab calls` in the background; `hang_up` brings the calls and the tally back."""

    def __init__(self, directory: Path, name: str) -> None:
        """Begin to place calls."""
        self._ledger = directory / f"{name}.jsonl"
        command = [
            *(SISAMU, "lab", "calls", "--samu", SAMU, "--rate", str(RATE)),
            *("--duration", str(LONGEST_S), "--hold", str(HOLD_S)),
            *("--ledger", str(self._ledger), "-o", "json"),
        ]
        self._said = directory / f"{name}.err"
        with self._said.open("wb") as said:
            # A session of its own: a Ctrl-C of the terminal is for the demonstration.
            self.process = subprocess.Popen(
                command, cwd=ROOT, stdout=subprocess.PIPE, stderr=said, start_new_session=True
            )

    def hang_up(self) -> tuple[list[Call], Facts]:
        """Place no more calls, wait for those in progress; return every call and the tally."""
        self.process.send_signal(signal.SIGINT)
        output, _ = self.process.communicate(timeout=60)
        if self.process.returncode not in (0, STOPPED):
            raise DemoError(f"sisamu lab calls: {self._said.read_text()}")
        calls = [json.loads(line) for line in self._ledger.read_text().splitlines()]
        return calls, json.loads(output)


@contextmanager
def calling(directory: Path, name: str) -> Iterator[Callers]:
    """Place calls meanwhile; none goes on when this ends."""
    callers = Callers(directory, name)
    try:
        time.sleep(LEAD_S)
        yield callers
    finally:
        if callers.process.poll() is None:
            callers.process.send_signal(signal.SIGINT)
            callers.process.wait(60)


def move(verb: str, reason: str, *more: str) -> Phase:
    """Run one operation to its end, as an operator would."""
    say(f"sisamu {verb} start --samu 30 {' '.join(more)}")
    began_ms = round(time.time() * 1000)
    # Whatever it comes to is judged at the end, from the journal.
    line = ask(verb, "start", "--samu", "30", *more, "--reason", reason, good=(0, 5, 6))
    return Phase(command_ms=began_ms, operation=ask("operation", "show", line["id"]))


def enrol_targets() -> None:
    """Enrol the targets that have no fence file yet; `lab up` normally has."""
    missing = [t["host"] for t in ask("target", "list") if not t["enrolled"]]
    if missing:
        sisamu("target", "enrol", *missing, "--reason", "demonstration")


def planned(directory: Path) -> tuple[list[Phase], Facts]:
    """Move to backup and back while calls arrive."""
    say(f"{RATE} calls a second to SAMU {SAMU}, through both routers")
    with calling(directory, "planned") as callers:
        to_backup = move("switchover", "demonstration: planned move", "--to", "backup")
        time.sleep(TAIL_S)
        back = move("failback", "demonstration: planned return")
        time.sleep(TAIL_S)
        calls, tally = callers.hang_up()
    middle_ms = (to_backup.ended_ms + back.accepted_ms) // 2
    to_backup.calls = [c for c in calls if c["invited_at_ms"] < middle_ms]
    back.calls = [c for c in calls if c["invited_at_ms"] >= middle_ms]
    return [to_backup, back], tally


def rescue(directory: Path) -> tuple[Phase, Facts]:
    """Kill every instance of the national platform while calls arrive, then fail over."""
    say(f"{RATE} calls a second again; every instance of the national platform is killed")
    with calling(directory, "rescue") as callers:
        sisamu("lab", "stop", "npl-*", "--kill")
        phase = move("failover", "demonstration: the platform is dead", "--to", "backup")
        time.sleep(TAIL_S)
        phase.calls, tally = callers.hang_up()
    return phase, tally


def verify_journal() -> list[Facts]:
    """Verify every site's replica, once all that was written is agreed (a second or two)."""
    say("every site's replica of the journal is copied and verified")
    for _ in range(5):
        reports: list[Facts] = ask("audit", "verify", good=(0, 8))
        if all(r["size"] == r["entries"] for r in reports):
            break
        time.sleep(0.5)
    return reports


def broken_promises(phases: list[Phase], tallies: list[Facts], reports: list[Facts]) -> list[str]:
    """Name everything that did not hold."""
    broken = []
    for phase in phases:
        verb, outcome = phase.operation["verb"], phase.operation["outcome"]
        if outcome != "done":
            broken.append(f"{verb}: the outcome is {outcome}")
        rescued = True if verb == "failover" else None
        for flaw in ("lost", "cut"):
            if count := phase.count(flaw, after_done=rescued):
                broken.append(f"{verb}: {count} calls {flaw}{' after done' if rescued else ''}")
        if count := phase.count("misrouted"):
            broken.append(f"{verb}: {count} calls misrouted")
        if phase.first_answer_s is None or len(phase.calls) < RATE:
            broken.append(f"{verb}: no call was answered on the new path")
    return broken + _disagreements(phases, tallies) + _unverified(reports)


def _disagreements(phases: list[Phase], tallies: list[Facts]) -> list[str]:
    """Hold our count against the product's."""
    ours = {flaw: sum(phase.count(flaw) for phase in phases) for flaw in _FLAWS}
    ours["attempted"] = sum(len(phase.calls) for phase in phases)
    theirs = {name: sum(tally[name] for tally in tallies) for name in ours}
    return [] if ours == theirs else [f"two counts of the calls: {ours} here, {theirs} there"]


def _unverified(reports: list[Facts]) -> list[str]:
    broken = [f"journal of {r['journal']} does not verify" for r in reports if not r["ok"]]
    if len(reports) < 3 or len({r["size"] for r in reports}) > 1:
        broken.append("not all three sites hold the same agreed journal")
    return broken


def show(phases: list[Phase], reports: list[Facts], leader: Facts, spent_s: float) -> None:
    """Print the one table."""
    sizes = {r["size"] for r in reports if r["ok"]}
    table = Table(
        title=f"SAMU {SAMU} moved under {RATE} calls a second",
        caption=(
            f"leader {leader['site']}, epoch {leader['epoch']}; journal verified: "
            f"{', '.join(map(str, sizes)) or 'no'} entries on "
            f"{sum(r['ok'] for r in reports)} sites; {spent_s:.0f} s"
        ),
        box=box.SIMPLE_HEAD,
        caption_justify="left",
        title_justify="left",
    )
    table.add_column("")
    for phase in phases:
        table.add_column(phase.operation["verb"], justify="right")
    for name, value in _ROWS.items():
        table.add_row(name, *(value(phase) for phase in phases))
    Console(width=80, highlight=False).print(table)


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.1f} s"


_ROWS = {
    "to": lambda p: p.operation["to"],
    "outcome": lambda p: p.operation["outcome"],
    "leader's epoch": lambda p: p.operation["steps"][-1]["token"].partition(".")[0],
    "command to verified": lambda p: _seconds((p.ended_ms - p.command_ms) / 1000),
    "command to first call on new path": lambda p: _seconds(p.first_answer_s),
    "calls placed": lambda p: str(len(p.calls)),
    "lost before the outcome": lambda p: str(p.count("lost", after_done=False)),
    "lost after it": lambda p: str(p.count("lost", after_done=True)),
    "misrouted": lambda p: str(p.count("misrouted")),
    "cut before the outcome": lambda p: str(p.count("cut", after_done=False)),
    "cut after it": lambda p: str(p.count("cut", after_done=True)),
}


def demonstrate(began_s: float) -> list[str]:
    """Live through it all; return the promises that were broken."""
    with tempfile.TemporaryDirectory(prefix="sisamu-demo-") as directory, own_lab():
        enrol_targets()
        phases, planned_tally = planned(Path(directory))
        rescued, rescue_tally = rescue(Path(directory))
        phases.append(rescued)
        reports = verify_journal()
        leader = ask("leader", "show")
    show(phases, reports, leader, time.monotonic() - began_s)
    return broken_promises(phases, [planned_tally, rescue_tally], reports)


def main() -> int:
    """Return 0 when every promise held, 1 when one did not, 9 when stopped."""
    try:
        broken = demonstrate(time.monotonic())
    except DemoError as error:
        broken = [str(error)]
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        return STOPPED
    for promise in broken:
        sys.stderr.write(f"NOT KEPT: {promise}\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
