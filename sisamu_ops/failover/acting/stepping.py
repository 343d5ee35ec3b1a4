"""One fenced step: a playbook run between two entries, and what is left open sealed and judged.

`step.started` comes before the change, an outcome per target after it. The token of a step is
(epoch, index of its `started` entry). What a run leaves open, or a leader that died, is sealed
before it is judged: the new token is shown to the fence of every target, then all is read.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sisamu_ops.failover.acting.launching import Launcher, deadline_s
from sisamu_ops.failover.acting.ledger import RunLedger, TargetResult, judge_sealed
from sisamu_ops.failover.acting.recorder import NewEntry, Recorder
from sisamu_ops.failover.acting.sealing import Sealer, newly_held
from sisamu_ops.failover.fold.operation import Operation, Step
from sisamu_ops.failover.fold.state import State
from sisamu_ops.failover.planning.evacuation import asked_first, playbook_facts
from sisamu_ops.failover.planning.plan import PLAYBOOKS, UNARMED
from sisamu_ops.failover.ports import PlaybookRun
from sisamu_ops.failover.reading import DEFAULT_MODE, Reading
from sisamu_ops.journal.entry import Entry
from sisamu_ops.journal.privacy import for_the_journal
from sisamu_ops.journal.writer import Writer
from sisamu_ops.model.outcome import Outcome
from sisamu_ops.model.platform import Platform, router_of, site_target
from sisamu_ops.model.token import Token

#: Characters of detail an entry has room for, of each of a hundred SAMUs.
DETAIL = 300

Report = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True, kw_only=True)
class Stepper:
    """Runs the steps of operations, for one tenure."""

    platform: Platform
    state: State
    writer: Writer
    launcher: Launcher
    sealer: Sealer
    report: Report
    #: Says of routers which are not to be tried at all, and why.
    out_of_reach: Callable[[Collection[str]], Mapping[str, str]] = lambda _: {}

    def run(
        self, operation: Operation, wave: int, changes: Mapping[str, Mapping[str, str]]
    ) -> None:
        """Change some targets in one run of a playbook, between an entry before and one of each."""
        entry = self._write_started(operation, wave, changes)
        step = operation.steps[-1]
        left = self._left_out(step)
        for host, why in left.items():
            result = TargetResult(outcome=Outcome.FAILED, detail=f"left where it is: {why}")
            self._write_outcome(operation, step, host, result)
        trying = [host for host in changes if host not in left]
        if self.routers_of(trying):
            self._try(operation, step, entry, trying)
        else:
            # Without a router to move there is no reason to touch the rest.
            self._leave(operation, step, trying, "no router to move")

    def _write_started(
        self, operation: Operation, wave: int, changes: Mapping[str, Mapping[str, str]]
    ) -> Entry:
        data: dict[str, Any] = {
            "operation": operation.operation_id, "playbook": PLAYBOOKS[operation.verb],
            "wave": wave, "targets": {host: dict(change) for host, change in changes.items()},
        }  # fmt: skip
        return self.writer.write("step.started", data)

    def _try(self, operation: Operation, step: Step, entry: Entry, hosts: Sequence[str]) -> None:
        """Run the playbook on some targets of a step, and write what it tells while it runs."""
        ledger = RunLedger(
            targets={h: c for h, c in step.targets.items() if h in hosts},
            routers=self.platform.routers,
        )
        recorder = Recorder(writer=self.writer, samus=len(self._samus_of(operation, step)))

        def on_event(event: Mapping[str, Any]) -> None:
            told = _of_target(operation, event)
            recorder.take(self._entries_of(operation, step, told, ledger.take(told)))

        problem = self.launcher.launch(self._run_of(operation, step, entry, hosts), on_event)
        if problem:
            self._leave(operation, step, hosts, problem)
            return
        recorder.flush()
        self._report_refusals(operation, step, ledger)
        recorder.check()
        recorder.take(_fallen(operation, step, ledger))
        missing = ledger.missing().items()
        recorder.take([e for h, r in missing for e in self._outcome_of(operation, step, h, r)])
        recorder.flush()
        recorder.check()

    def _left_out(self, step: Step) -> dict[str, str]:
        """Say which routers of a step are not tried: held, or out of a lone site's reach."""
        routers = self.routers_of(step.targets)
        held = {
            host: f"held by token {self.state.held[host]}"
            for host in routers
            if host in self.state.held
        }
        return held | dict(self.out_of_reach([r for r in routers if r not in held]))

    def _leave(self, operation: Operation, step: Step, hosts: Collection[str], why: str) -> None:
        """Send nothing, and say so of every host."""
        for host in hosts:
            result = TargetResult(outcome=Outcome.FAILED, detail=f"not begun: {why}")
            self._write_outcome(operation, step, host, result)

    def _run_of(
        self, operation: Operation, step: Step, entry: Entry, hosts: Collection[str]
    ) -> PlaybookRun:
        samus = self._samus_of(operation, step)
        extra: dict[str, Any] = {"sisamu_order": list(operation.order)} if operation.order else {}
        if operation.evacuates:
            extra = self.evacuation(operation, samus)
        return PlaybookRun(
            playbook=step.playbook, operation=operation.operation_id,
            token=Token(entry.epoch, entry.index), samus=samus, to=operation.to,
            routers=tuple(router_of(h) for h in self.routers_of(hosts)),
            deadline_s=deadline_s(len(samus)), extra=extra,
        )  # fmt: skip

    def _samus_of(self, operation: Operation, step: Step) -> tuple[str, ...]:
        return tuple(s for s in operation.waves[step.wave] if step.carries(s))

    def _entries_of(
        self,
        operation: Operation,
        step: Step,
        event: Mapping[str, Any],
        result: TargetResult | None,
    ) -> list[NewEntry]:
        """Return what an event of a run adds to the journal."""
        if result is not None:
            return self._outcome_of(operation, step, str(event["host"]), result)
        if event.get("event") == "call":
            return [("call.proved", _call(operation, step, event))]
        return []

    def _write_outcome(
        self, operation: Operation, step: Step, host: str, result: TargetResult
    ) -> None:
        self.writer.write_all(self._outcome_of(operation, step, host, result))

    def _outcome_of(
        self, operation: Operation, step: Step, host: str, result: TargetResult
    ) -> list[NewEntry]:
        data: dict[str, Any] = {
            "operation": operation.operation_id, "step": step.index, "target": host,
            "outcome": result.outcome.value, "detail": for_the_journal(result.detail),
        }  # fmt: skip
        # Named only where a SAMU fared otherwise than its target.
        if result.left:
            data["left"] = list(result.left)
        if result.took:
            data["took"] = dict(result.took)
        newer = {host: result.newer}
        held = newly_held(self.state, self.writer.epoch, operation.operation_id, newer)
        return [("step.outcome", data), *held]

    def _report_refusals(self, operation: Operation, step: Step, ledger: RunLedger) -> None:
        refused = {h: r.detail for h, r in ledger.results.items() if r.refused}
        if refused and not self.launcher.tenure.may_start():
            self.report(
                {
                    "operation": operation.operation_id,
                    "token": str(step.token),
                    "refused": refused,
                }
            )

    def settle(self, operation: Operation, *, cause: str) -> Mapping[str, Reading]:
        """Seal and read every target of an open intent; write what that proves."""
        open_steps = [s for s in operation.steps if s.open_targets()]
        hosts = sorted({h for s in open_steps for h in s.open_targets()})
        if not hosts:
            return {}
        readings = self.sealer.seal(operation.operation_id, hosts, cause)
        for step in open_steps:
            for host in step.open_targets():
                result = self._judge(operation, step, readings[host])
                if step.outcomes.get(host) is not result.outcome:
                    self._write_outcome(operation, step, host, result)
        return readings

    def _judge(self, operation: Operation, step: Step, reading: Reading) -> TargetResult:
        wanted = step.targets[reading.host]
        if operation.evacuates:
            return judge_sealed(reading, wanted, asked_first(self.platform, reading.host))
        is_router = reading.host in self.platform.routers
        default, order = (DEFAULT_MODE, operation.order) if is_router else (UNARMED, ())
        return judge_sealed(reading, wanted, default, order)

    def evacuation(self, operation: Operation, samus: Collection[str]) -> dict[str, Any]:
        """Return what the playbook of an evacuation is told besides."""
        served = {s: self.state.intended_mode(s) for s in operation.samus}
        modes = {s: served[s] for s in samus}
        return playbook_facts(operation.changes_of(samus), modes, served)

    def routers_of(self, hosts: Collection[str]) -> list[str]:
        """Return which of some targets say where calls go: the routers' modes, or their sites."""
        routing = (*self.platform.routers, *self.platform.site_targets.values())
        return [h for h in routing if h in hosts]


def _of_target(operation: Operation, event: Mapping[str, Any]) -> Mapping[str, Any]:
    """Name the target an event is of: an evacuation asks the second fence of a router.

    A call is placed through the router, whatever was changed there.
    """
    target = site_target(str(event.get("host", "")))
    if operation.evacuates and event.get("event") != "call" and target in operation.targets:
        return {**event, "host": target}
    return event


def _fallen(operation: Operation, step: Step, ledger: RunLedger) -> list[NewEntry]:
    """Return the entry that says which SAMUs a rescue takes elsewhere, and why."""
    fallen = ledger.fallen(operation.to)
    samus = {
        s: {"to": f["to"], "why": for_the_journal(f["why"])[:DETAIL]} for s, f in fallen.items()
    }
    data: dict[str, Any] = {"operation": operation.operation_id, "step": step.index}
    return [("path.chosen", data | {"samus": samus})] if samus else []


def _call(operation: Operation, step: Step, event: Mapping[str, Any]) -> dict[str, Any]:
    result = event["result"]
    return {
        "operation": operation.operation_id,
        "step": step.index,
        "host": str(event["host"]),
        "via": str(event["via"]),
        "samu": str(event.get("samu", "")) or operation.samus[0],
        "result": {
            "answered": bool(result.get("answered")),
            "status": int(result.get("status") or 0),
            "answered_by": for_the_journal(str(result.get("answered_by") or "")),
            "pdd_ms": int(result.get("pdd_ms") or 0),
        },
    }
