"""Turning accepted requests into fenced playbook runs, and open intents into outcomes.

Every change stands between two entries: `step.started` before it, an outcome per target after
it. The token of a step is (epoch, index of its `started` entry). A new leader seals before it
judges: it shows its own token to the fence of every target of an open intent, then reads. A
target that has taken a higher token, from a site that acted alone, is held: it is left where it
is, known not done, and everything else goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from sisamu_ops.failover.acting.caretaking import Caretaker
from sisamu_ops.failover.acting.checking import Checker
from sisamu_ops.failover.acting.ledger import (
    RunLedger,
    TargetResult,
    judge_preference,
    judge_probe,
    judge_samu,
    judge_sealed,
)
from sisamu_ops.failover.acting.recorder import NewEntry, Recorder
from sisamu_ops.failover.acting.sealing import Sealer, newly_held
from sisamu_ops.failover.fold.modes import unconfirmed
from sisamu_ops.failover.fold.operation import Operation, SamuEnd, Step, summary
from sisamu_ops.failover.fold.state import State
from sisamu_ops.failover.planning.evacuation import (
    asked_first,
    playbook_facts,
    signature,
    signatures,
)
from sisamu_ops.failover.planning.pacing import Act, Next, what_next
from sisamu_ops.failover.planning.plan import PLAYBOOKS, UNARMED
from sisamu_ops.failover.ports import PlaybookRun, PlaybookRunner, Targets
from sisamu_ops.failover.reading import DEFAULT_MODE, Reading
from sisamu_ops.failover.request import Verb, parse_rfc3339
from sisamu_ops.failover.safety import AGENTS_CONFIRMED
from sisamu_ops.journal.entry import Entry
from sisamu_ops.journal.privacy import for_the_journal
from sisamu_ops.journal.writer import Writer
from sisamu_ops.leadership.port import LeasedTenure
from sisamu_ops.model.errors import DiskError, LeadershipError
from sisamu_ops.model.outcome import Outcome, worst
from sisamu_ops.model.platform import Platform, router_of, site_target
from sisamu_ops.model.token import Token

#: After this a playbook is ended and what gave no answer is unknown: for one SAMU, and for each.
_RUN_S, _SAMU_S = 60.0, 1.0
#: Characters of detail an entry has room for, of each of a hundred SAMUs.
_DETAIL = 300
#: The playbook that places test calls and changes nothing.
PROVE = "samu_prove.yml"

Report = Callable[[Mapping[str, Any]], None]


def deadline_s(samus: int) -> float:
    """Return how long a playbook may run that moves so many SAMUs, in seconds."""
    return _RUN_S + _SAMU_S * samus


@dataclass(kw_only=True)
class Executor:
    """Carries out what the journal says is accepted, for one tenure."""

    platform: Platform
    state: State
    writer: Writer
    tenure: LeasedTenure
    targets: Targets
    runner: PlaybookRunner
    report: Report
    now: Callable[[], datetime]
    #: Puts artifacts beside the replicas; returns the sites that have them all, durably.
    keep: Callable[[Collection[bytes]], frozenset[str]] = lambda _: frozenset()
    documents: Callable[[], Mapping[str, bytes]] = dict
    majority: int = 1
    #: Says whether another site stands that could go on instead.
    elsewhere: Callable[[], bool] = lambda: False
    #: Says of routers which are not to be tried at all, and why.
    out_of_reach: Callable[[Collection[str]], Mapping[str, str]] = lambda _: {}

    @cached_property
    def sealer(self) -> Sealer:
        """Return who shows fences a new token."""
        return Sealer(
            state=self.state, writer=self.writer, targets=self.targets, may_start=self._may_start
        )

    @cached_property
    def caretaker(self) -> Caretaker:
        """Return who adopts rules and enrols targets."""
        return Caretaker(
            state=self.state, writer=self.writer, targets=self.targets, keep=self.keep,
            documents=self.documents, majority=self.majority, may_start=self._may_start,
        )  # fmt: skip

    @cached_property
    def checker(self) -> Checker:
        """Return who proves paths without moving anybody."""
        return Checker(
            platform=self.platform, state=self.state, writer=self.writer, sealer=self.sealer,
            run=self._run_playbook,
        )  # fmt: skip

    def take_over(self) -> None:
        """Seal, read and settle what earlier leaders left open; then it can be finished."""
        for operation in self.state.running():
            self._settle(operation, cause="takeover")
        self.checker.take_over()

    def advance(self) -> bool:
        """Do the next thing accepted and not finished; False when there is nothing to do now."""
        for operation in self.state.running():
            dispatched = operation.verb is Verb.FAILOVER or not self.state.paused
            if dispatched and self._act(operation, self._next(operation)):
                return True
        if self.caretaker.adopt():
            return True
        if self.state.paused:
            return False
        if self.caretaker.enrol():
            return True
        for request_id in self.state.reconciles:
            if request_id not in self.state.finished:
                self._reconcile(request_id)
                return True
        return self.checker.advance(deadline_s)

    def waits_until(self) -> datetime | None:
        """Return when the next thing falls due that waits for nothing but time."""
        due = [self._next(operation).until for operation in self.state.running()]
        return min((at for at in due if at is not None), default=None)

    def _next(self, operation: Operation) -> Next:
        rescue = self.state.rescue_since(operation)
        waiting = self._unconfirmed(operation)
        return what_next(operation, self.now(), rescue=rescue, unconfirmed=waiting)

    def _unconfirmed(self, operation: Operation) -> list[str]:
        """Return the SAMUs of a switchover whose agents it waits for."""
        rule = self.platform.policy.safety.agents_confirmed
        waits = operation.verb is Verb.SWITCHOVER and AGENTS_CONFIRMED not in operation.overrides
        if rule is None or not waits:
            return []
        since = parse_rfc3339(operation.accepted_at)
        return unconfirmed(operation.samus, self.state.confirmations, since, rule.within_minutes)

    def _act(self, operation: Operation, coming: Next) -> bool:
        """Do what comes next for an operation; False when it waits."""
        if coming.act is Act.RUN:
            self._run_wave(operation, coming.wave)
        elif coming.act is Act.PROBE:
            self._probe(operation, coming)
        elif coming.act is Act.HOLD:
            data = {"operation": operation.operation_id, "cause": for_the_journal(coming.cause)}
            self.writer.write("operation.held", data)
        elif coming.act is Act.END:
            self._end(operation)
        return coming.act is not Act.WAIT

    def _run_wave(self, operation: Operation, wave: int) -> None:
        """Run the playbook on every target of a wave, or on those that can be sealed when resuming.

        What a later request has superseded is settled and never run: a failback that a dead
        leader left half done must not undo the rescue asked for since.
        """
        readings: Mapping[str, Reading] = {}
        if operation.steps_of(wave):
            readings = self._settle(operation, cause="resume")
        samus = operation.remaining(wave)
        wanted = [s for s in samus if self.state.wants(operation, s)]
        if not operation.aborted_by:
            self._try(operation, wave, wanted, but=_not_sealed(readings))
        self._end_wave(operation, wave, samus)

    def _try(
        self, operation: Operation, wave: int, samus: Collection[str], *, but: Collection[str] = ()
    ) -> None:
        """Run a step for some SAMUs of a wave, where there is a router to move.

        `but` are the targets that could not be sealed: what is there cannot be told from what may
        still arrive.
        """
        changes = operation.changes_of(samus)
        hosts = {host: change for host, change in changes.items() if host not in but}
        if self._routers(hosts):
            self._run_step(operation, wave, hosts)

    def _end_wave(self, operation: Operation, wave: int, samus: Collection[str]) -> None:
        """Write what became of each SAMU of a wave."""
        ends = {s: self._judge_end(operation, s) for s in samus}
        said = {
            s: {"outcome": end.outcome.value, "to": end.to, "moved": end.moved,
                "detail": for_the_journal(end.detail)[:_DETAIL]}
            for s, end in ends.items()
        }  # fmt: skip
        data: dict[str, Any] = {"operation": operation.operation_id, "wave": wave, "samus": said}
        self.writer.write("wave.ended", data)

    def _judge_end(self, operation: Operation, samu_id: str) -> SamuEnd:
        wanted = self.state.wants(operation, samu_id)
        if operation.evacuates:
            mode = self.state.intended_mode(samu_id)
            return judge_preference(operation, samu_id, mode, wanted=wanted)
        return judge_samu(operation, samu_id, self.platform.routers, wanted=wanted)

    def _probe(self, operation: Operation, coming: Next) -> None:
        """Place a test call through every router to each SAMU the wave has moved, and judge."""
        modes = {
            s: self._mode_after(operation, s)
            for s in operation.waves[coming.wave]
            if operation.ends[s].outcome is Outcome.DONE and self.state.wants(operation, s)
        }
        calls, problem = self._place_calls(operation, modes) if modes else ([], "")
        routers = self.platform.routers
        expected = {
            s: signatures(operation, s, mode) if operation.evacuates
            else dict.fromkeys(routers, signature(s, mode))
            for s, mode in modes.items()
        }  # fmt: skip
        bad = dict.fromkeys(modes, problem) if problem else judge_probe(expected, calls)
        data: dict[str, Any] = {"operation": operation.operation_id, "wave": coming.wave}
        data |= {"calls": len(calls), "last": coming.is_last or bool(bad)}
        data["bad"] = {s: for_the_journal(why)[:_DETAIL] for s, why in bad.items()}
        self.writer.write("soak.probed", data)

    def _mode_after(self, operation: Operation, samu_id: str) -> str:
        """Return the mode a SAMU was brought to; an evacuation leaves it in the one it is in."""
        if operation.evacuates:
            return self.state.intended_mode(samu_id)
        return operation.ends[samu_id].to

    def _place_calls(
        self, operation: Operation, modes: Mapping[str, str]
    ) -> tuple[list[Mapping[str, Any]], str]:
        """Place test calls through every router; return them, or why none could be placed.

        Nothing is changed, so no fence is asked.
        """
        calls: list[Mapping[str, Any]] = []

        def on_event(event: Mapping[str, Any]) -> None:
            if event.get("event") == "call":
                calls.append(event)

        run = PlaybookRun(
            playbook=PROVE, operation=operation.operation_id,
            token=Token(self.writer.epoch, self.state.size), samus=tuple(modes),
            to=operation.to, routers=self.platform.routers, deadline_s=deadline_s(len(modes)),
            extra=self._evacuation(operation, modes)
            if operation.evacuates else {"sisamu_expected": dict(modes)},
        )  # fmt: skip
        return calls, self._run_playbook(run, on_event)

    def _run_playbook(self, run: PlaybookRun, on_event: Callable[[Mapping[str, Any]], None]) -> str:
        """Run a playbook to its end; say why nothing was begun, if nobody else could begin it.

        DiskError where this machine's disk is in the way and another site can go on.
        """
        self._may_start()
        try:
            self.runner.run(run, self.tenure, on_event)
        except DiskError as error:
            if self.elsewhere():
                raise
            return error.message
        return ""

    def _routers(self, hosts: Collection[str]) -> list[str]:
        """Return which of some targets say where calls go: the routers' modes, or their sites."""
        routing = (*self.platform.routers, *self.platform.site_targets.values())
        return [h for h in routing if h in hosts]

    def _run_step(
        self, operation: Operation, wave: int, changes: Mapping[str, Mapping[str, str]]
    ) -> None:
        playbook = PLAYBOOKS[operation.verb]
        entry = self.writer.write(
            "step.started",
            {
                "operation": operation.operation_id,
                "playbook": playbook,
                "wave": wave,
                "targets": {host: dict(change) for host, change in changes.items()},
            },
        )
        step = operation.steps[-1]
        left = self._left_out(step)
        for host, why in left.items():
            result = TargetResult(outcome=Outcome.FAILED, detail=f"left where it is: {why}")
            self._write_outcome(operation, step, host, result)
        trying = [host for host in changes if host not in left]
        if not self._routers(trying):
            # Without a router to move there is no reason to touch the rest.
            self._leave(operation, step, trying, "no router to move")
            return
        ledger = RunLedger(
            targets={h: c for h, c in step.targets.items() if h in trying},
            routers=self.platform.routers,
        )
        recorder = Recorder(writer=self.writer, samus=len(self._samus_of(operation, step)))

        def on_event(event: Mapping[str, Any]) -> None:
            told = _of_target(operation, event)
            recorder.take(self._entries_of(operation, step, told, ledger.take(told)))

        problem = self._run_playbook(self._run_of(operation, step, entry, trying), on_event)
        if problem:
            self._leave(operation, step, trying, problem)
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
        routers = self._routers(step.targets)
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
            extra = self._evacuation(operation, samus)
        return PlaybookRun(
            playbook=step.playbook, operation=operation.operation_id,
            token=Token(entry.epoch, entry.index), samus=samus, to=operation.to,
            routers=tuple(router_of(h) for h in self._routers(hosts)),
            deadline_s=deadline_s(len(samus)), extra=extra,
        )  # fmt: skip

    def _evacuation(self, operation: Operation, samus: Collection[str]) -> dict[str, Any]:
        served = {s: self.state.intended_mode(s) for s in operation.samus}
        modes = {s: served[s] for s in samus}
        return playbook_facts(operation.changes_of(samus), modes, served)

    def _samus_of(self, operation: Operation, step: Step) -> tuple[str, ...]:
        return tuple(s for s in operation.waves[step.wave] if step.carries(s))

    def _may_start(self) -> None:
        if not self.tenure.may_start():
            raise LeadershipError(
                f"{self.tenure.site} may start nothing new under epoch {self.tenure.epoch}",
                remedy="the next leader goes on from the journal",
            )

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
        if refused and not self.tenure.may_start():
            self.report(
                {
                    "operation": operation.operation_id,
                    "token": str(step.token),
                    "refused": refused,
                }
            )

    def _settle(self, operation: Operation, *, cause: str) -> Mapping[str, Reading]:
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

    def _end(self, operation: Operation) -> None:
        """Write the operation's outcome: that of its SAMUs, and which were never begun."""
        left = operation.not_begun()
        data: dict[str, Any] = {
            "operation": operation.operation_id, "outcome": operation.overall().value,
            "moved": any(end.moved for end in operation.ends.values()),
            "detail": for_the_journal(summary(operation)),
        }  # fmt: skip
        if left:
            data["not_begun"] = left
        self.writer.write("operation.ended", data)

    def _reconcile(self, request_id: str) -> None:
        """Settle every operation of unknown outcome: seal, read, complete what is still wanted."""
        outcomes = [self._complete(operation) for operation in self.state.unknown()]
        self.caretaker.finish(request_id, outcomes or [Outcome.DONE])

    def _complete(self, operation: Operation) -> Outcome:
        """Settle the SAMUs nobody knows of; an operation that is held stays so."""
        readings = self._settle(operation, cause="reconcile")
        sealed = not _not_sealed(readings)
        for wave in sorted({operation.wave_of(s) for s in operation.samus_with(Outcome.UNKNOWN)}):
            samus = [s for s in operation.samus_with(Outcome.UNKNOWN) if s in operation.waves[wave]]
            # What was aborted is settled, and not completed: nothing more of it begins.
            if sealed and not operation.aborted_by:
                self._try(operation, wave, [s for s in samus if self.state.wants(operation, s)])
            self._end_wave(operation, wave, samus)
        if operation.outcome is not None:
            self._end(operation)
        return worst(end.outcome for end in operation.ends.values())


def _of_target(operation: Operation, event: Mapping[str, Any]) -> Mapping[str, Any]:
    """Name the target an event is of: an evacuation asks the second fence of a router.

    A call is placed through the router, whatever was changed there.
    """
    target = site_target(str(event.get("host", "")))
    if operation.evacuates and event.get("event") != "call" and target in operation.targets:
        return {**event, "host": target}
    return event


def _not_sealed(readings: Mapping[str, Reading]) -> list[str]:
    return [host for host, reading in readings.items() if not reading.sealed]


def _fallen(operation: Operation, step: Step, ledger: RunLedger) -> list[NewEntry]:
    """Return the entry that says which SAMUs a rescue takes elsewhere, and why."""
    fallen = ledger.fallen(operation.to)
    samus = {
        s: {"to": f["to"], "why": for_the_journal(f["why"])[:_DETAIL]} for s, f in fallen.items()
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
