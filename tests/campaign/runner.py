"""Running schedules: one life of a lab carries many, each judged with all that was before it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any

from sisamu_ops.app import App, Options
from sisamu_ops.chaos import heal, heal_all, inject
from sisamu_ops.failover.fold.state import State
from sisamu_ops.failover.request import Verb
from sisamu_ops.journal.reader import LocalFiles, ReplicaReader
from sisamu_ops.lab import Lab
from sisamu_ops.lab.topology import SITES
from sisamu_ops.leadership.lease import heartbeat_interval_s
from sisamu_ops.model.errors import LeadershipError, SisamuError
from tests.campaign.checker import Finding, Verdict, check
from tests.campaign.evidence import gather, read_history
from tests.campaign.history import History
from tests.campaign.recorder import Recorder
from tests.campaign.schedule import PlannedFault, Schedule, aimed
from tests.campaign.workload import Client, Ledger, ask

ROOT = Path(__file__).resolve().parents[2]
#: Sightings, requests and journal grow with a lab's life, and so does judging them.
SCHEDULES_A_LIFE = 12
#: One for each SAMU, and one that asks to reconcile: a request that is answered quickly.
_CLIENTS = 4
#: What a fault may stand longer than planned before its own healer heals it, in seconds.
_OVERDUE_S = 5.0
#: How long a healed lab may take to be led, to answer, and to have the same everywhere.
_SETTLE_S = 45.0
#: How long work may stand open without one new entry: a playbook is ended after 60 s.
_STILL_S = 75.0
#: How long the queue that the schedule left, and what is asked then, may take altogether.
_CLOSE_S = 300.0
_POLL_S = 0.2
#: Findings kept in a result.
_TOLD = 30

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class FaultDone:
    """What became of one planned fault: `problem` is empty when it was injected and healed."""

    fault: str
    at_ms: int
    for_ms: int
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class Result:
    """One schedule run and judged; `verdict` is `passed`, `violation` or `unknown`."""

    seed: int
    verdict: str
    faults: tuple[FaultDone, ...] = ()
    takeovers: int = 0
    requests: int = 0
    acknowledged: int = 0
    done: int = 0
    entries: int = 0
    seconds: float = 0
    findings: tuple[str, ...] = field(default=())
    commit: str = ""

    def facts(self) -> dict[str, Any]:
        """Return the result as data."""
        return asdict(self)


class Life:
    """One lab from up to down, with its recorder, its apps and its evidence."""

    def __init__(self, name: str, directory: Path, say: Say) -> None:
        """Bring the lab up afresh; what an earlier one of this name left is removed."""
        self.lab = Lab(name)
        self.directory = directory
        self.schedules = 0
        self._say = say
        say(f"a fresh lab {name}")
        self.lab.down()
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        try:
            self._sisamu("lab", "up")
        except RuntimeError:
            self.lab.down()
            raise
        self.lab = Lab(name)
        inventory = ROOT / "inventories/lab"
        self.apps = [App(Options(inventory=inventory)) for _ in range(_CLIENTS + 2)]
        self.samus = sorted(self.app.platform.samus)
        self.ledger = Ledger(directory / "requests.jsonl")
        self.recorder = Recorder(self.apps[-1], directory)
        #: How many entries the journal had when a client last looked.
        self._told = 0
        for app in self.apps:
            assert app.platform  # read here, once: the inventory is not read by several threads
        self.recorder.start()

    @property
    def app(self) -> App:
        """Return the app of whoever closes a schedule."""
        return self.apps[0]

    def end(self) -> None:
        """Take the lab down."""
        self.ledger.close()
        self.recorder.stop()
        with suppress(SisamuError):
            heal_all(self.lab)
        self.lab.down()

    def _sisamu(self, *words: str) -> None:
        command = [str(Path(sys.executable).parent / "sisamu"), *words]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"sisamu {' '.join(words)}: exit {done.returncode}\n{done.stderr}")

    def run(self, schedule: Schedule) -> Result:
        """Run one schedule and judge all that this life has seen."""
        began, before, asked = monotonic(), self.recorder.size, len(self.ledger.made)
        self.schedules += 1
        faults, clients = self._disturbed(schedule)
        settled = self._settle(clients)
        history = self._history(settled, [c.name for c in clients if c.is_alive()])
        findings = check(history)
        made = history.requests[asked:]
        result = Result(
            seed=schedule.seed, verdict=verdict_of(findings), faults=tuple(faults),
            takeovers=_takeovers(history, before), requests=len(made),
            acknowledged=sum(one.acknowledged for one in made),
            done=sum(one.outcome == "done" for one in made),
            entries=len(history.journal) - before,
            seconds=round(monotonic() - began, 1), findings=_told(findings),
        )  # fmt: skip
        return with_problems(result)

    # --- the faults ----------------------------------------------------------------------

    def _disturbed(self, schedule: Schedule) -> tuple[list[FaultDone], list[Client]]:
        """Let clients ask while the faults come and go; everything is healed on return."""
        clients = [self._client(schedule, number) for number in range(_CLIENTS)]
        for client in clients:
            client.start()
        try:
            return self._trouble(schedule), clients
        finally:
            for client in clients:
                client.finish()

    def _trouble(self, schedule: Schedule) -> list[FaultDone]:
        """Inject and heal every fault at its time, each track in its own thread."""
        began, done = monotonic(), list[FaultDone]()
        tracks = [
            threading.Thread(target=lambda t=track: done.extend(self._inject_all(t, began)))
            for track in schedule.tracks
        ]
        for thread in tracks:
            thread.start()
        for thread in tracks:
            thread.join()
        heal_all(self.lab)
        return sorted(done, key=lambda one: one.at_ms)

    def _client(self, schedule: Schedule, number: int) -> Client:
        reconciles = number >= len(self.samus)
        samus = [] if reconciles else self.samus[number:] + self.samus[:number]
        random = Random(f"{schedule.seed} {number}")
        return Client(self.apps[1 + number], self.ledger, samus, random)

    def _inject_all(self, track: tuple[PlannedFault, ...], began: float) -> list[FaultDone]:
        return [self._inject(one, began) for one in track]

    def _inject(self, planned: PlannedFault, began: float) -> FaultDone:
        length_s = planned.for_ms / 1000
        _wait_until(began + planned.at_ms / 1000)
        aim = aimed(planned.fault, self.recorder.leader)
        fault = FaultDone(fault=str(aim), at_ms=planned.at_ms, for_ms=planned.for_ms)
        try:
            injection = inject(self.lab, aim, min(20.0, length_s + _OVERDUE_S))
        except SisamuError as error:
            return replace(fault, problem=f"not injected: {error.message}")
        _wait_until(monotonic() + length_s)
        try:
            heal(injection)
        except SisamuError as error:
            return replace(fault, problem=f"not healed: {error.message}")
        return fault

    # --- settling ------------------------------------------------------------------------

    def _settle(self, clients: list[Client]) -> bool:
        """Give the healed lab its time; ask what must be carried out now; wait for replicas.

        False when nothing could be asked: then nobody knows whether the lab settles.
        """
        deadline = monotonic() + _SETTLE_S
        for client in clients:
            client.join(max(0.0, deadline - monotonic()))
        asked: list[bool] = []
        closing = threading.Thread(target=lambda: asked.append(self._close()), daemon=True)
        closing.start()
        closing.join(_CLOSE_S)
        return asked == [True]

    def _close(self) -> bool:
        """Settle what is unknown, then bring every SAMU back by one planned request."""
        self.app.enter()
        try:
            with self.app.record.session() as session:
                _await(lambda: session.leader() is not None, _SETTLE_S)
            # What was asked in trouble is finished first, one thing after the other.
            self._await_idle()
            if self.app.record.journal().state.unknown():
                self.ledger.note(ask(self.app, Verb.RECONCILE, ()))
            self.ledger.note(ask(self.app, Verb.FAILBACK, self.samus, closing=True))
            self._told = self.app.record.journal().state.size
        except LeadershipError as error:
            self._say(f"cannot be settled: {error.message}")
            return False
        return True

    def _await_idle(self) -> None:
        """Wait while work is open and the journal grows; the checker judges what stands still."""
        size, grew = 0, monotonic()
        while is_busy(state := self.app.record.journal().state):
            if state.size > size:
                size, grew = state.size, monotonic()
            if monotonic() - grew > _STILL_S:
                return
            threading.Event().wait(_POLL_S)

    # --- the evidence --------------------------------------------------------------------

    def _history(self, settled: bool, waiting: list[str]) -> History:
        """Gather until the copies show one journal: an entry may come while they are made."""
        timeout_ms = self.app.platform.policy.session_timeout_ms
        renewal_ns = round(heartbeat_interval_s(timeout_ms) * 1e9)
        missing = [f"{client} still waits for an answer" for client in waiting]

        def gathered() -> bool:
            gather(
                self.lab, self.directory, renewal_ns=renewal_ns, settled=settled, missing=missing
            )
            sizes = {_replica_size(self.directory / "replicas" / site) for site in SITES}
            return len(sizes) == 1 and sizes.pop() >= max(self.recorder.size, self._told)

        deadline = monotonic() + _SETTLE_S / 2
        while True:
            _await(gathered, deadline - monotonic())
            history = read_history(self.directory)
            if _is_whole(history) or monotonic() > deadline:
                return history


def is_busy(state: State) -> bool:
    """Say whether something accepted waits for its end: a move, or a reconcile."""
    return bool(state.running()) or any(r not in state.finished for r in state.reconciles)


def _is_whole(history: History) -> bool:
    """Say whether the copies hold what was seen: an entry may be noted after they were made."""
    seen = max((one.index + 1 for one in history.sightings), default=0)
    return all(len(copy.hashes) >= seen for copy in history.replicas.values())


def _replica_size(directory: Path) -> int:
    return ReplicaReader(LocalFiles(directory)).size()


def verdict_of(findings: list[Finding]) -> str:
    """Sum up: one violation is a violation, else one unknown is unknown."""
    verdicts = {finding.verdict for finding in findings}
    return next((one.value for one in Verdict if one in verdicts), "passed")


def _told(findings: list[Finding]) -> tuple[str, ...]:
    """Write findings down, as many as one reads; the evidence has them all."""
    told = tuple(map(str, findings[:_TOLD]))
    left = len(findings) - len(told)
    return (
        (*told, f"{findings[-1].verdict.value}: {left} more: --check shows all") if left else told
    )


def with_problems(result: Result) -> Result:
    """A fault that could not be healed leaves nothing to be called a pass."""
    broken = [one for one in result.faults if one.problem.startswith("not healed")]
    if broken and result.verdict == "passed":
        said = tuple(f"unknown: {one.fault}: {one.problem}" for one in broken)
        return replace(result, verdict=Verdict.UNKNOWN.value, findings=said)
    return result


def _takeovers(history: History, before: int) -> int:
    """Count how often leadership was taken since an index."""
    return sum(entry.kind == "leadership.taken" for entry in history.journal[before:])


def _wait_until(instant: float) -> None:
    threading.Event().wait(max(0.0, instant - monotonic()))


def _await(holds: Callable[[], bool], timeout_s: float) -> bool:
    deadline = monotonic() + timeout_s
    while not holds():
        if monotonic() > deadline:
            return False
        threading.Event().wait(_POLL_S)
    return True


def run_schedule(life: Life, schedule: Schedule) -> Result:
    """Run one schedule; what the lab itself could not do makes the result unknown."""
    try:
        return life.run(schedule)
    except (SisamuError, OSError) as error:
        said = f"unknown: the schedule could not be run: {error}"
        return Result(seed=schedule.seed, verdict=Verdict.UNKNOWN.value, findings=(said,))


def result_of(facts: Mapping[str, Any]) -> Result:
    """Read a result back; the inverse of `facts`."""
    faults = tuple(FaultDone(**one) for one in facts["faults"])
    return Result(**{**facts, "faults": faults, "findings": tuple(facts["findings"])})
