"""Turning accepted operations into waves of steps, and what they did into the SAMUs' ends.

Every change stands between two entries (`stepping`). A new leader seals before it judges: it shows
its own token to the fence of every target of an open step, then reads. A target that has taken a
higher token, from a site that acted alone, is held: it is left where it is, known not done, and
everything else goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from sisamu_ops.failover.acting.caretaking import Caretaker
from sisamu_ops.failover.acting.checking import Checker
from sisamu_ops.failover.acting.launching import Launcher, deadline_s
from sisamu_ops.failover.acting.ledger import judge_preference, judge_probe, judge_samu
from sisamu_ops.failover.acting.sealing import Sealer
from sisamu_ops.failover.acting.stepping import DETAIL, Report, Stepper
from sisamu_ops.failover.fold.modes import unconfirmed
from sisamu_ops.failover.fold.operation import Operation, SamuEnd, summary
from sisamu_ops.failover.fold.state import State
from sisamu_ops.failover.planning.evacuation import signature, signatures
from sisamu_ops.failover.planning.pacing import Act, Next, what_next
from sisamu_ops.failover.ports import PlaybookRun, PlaybookRunner, Targets
from sisamu_ops.failover.reading import Reading
from sisamu_ops.failover.request import Verb, parse_rfc3339
from sisamu_ops.failover.safety import AGENTS_CONFIRMED
from sisamu_ops.journal.privacy import for_the_journal
from sisamu_ops.journal.writer import Writer
from sisamu_ops.leadership.port import LeasedTenure
from sisamu_ops.model.outcome import Outcome, worst
from sisamu_ops.model.platform import Platform
from sisamu_ops.model.token import Token

#: The playbook that places test calls and changes nothing.
PROVE = "samu_prove.yml"


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
    def launcher(self) -> Launcher:
        """Return who starts playbooks."""
        return Launcher(tenure=self.tenure, runner=self.runner, elsewhere=self.elsewhere)

    @cached_property
    def sealer(self) -> Sealer:
        """Return who shows fences a new token."""
        return Sealer(
            state=self.state, writer=self.writer, targets=self.targets,
            may_start=self.launcher.may_start,
        )  # fmt: skip

    @cached_property
    def stepper(self) -> Stepper:
        """Return who changes targets, and settles what was left open."""
        return Stepper(
            platform=self.platform, state=self.state, writer=self.writer, launcher=self.launcher,
            sealer=self.sealer, report=self.report, out_of_reach=self.out_of_reach,
        )  # fmt: skip

    @cached_property
    def caretaker(self) -> Caretaker:
        """Return who adopts rules and enrols targets."""
        return Caretaker(
            state=self.state, writer=self.writer, targets=self.targets, keep=self.keep,
            documents=self.documents, majority=self.majority, may_start=self.launcher.may_start,
        )  # fmt: skip

    @cached_property
    def checker(self) -> Checker:
        """Return who proves paths without moving anybody."""
        return Checker(
            platform=self.platform, state=self.state, writer=self.writer, sealer=self.sealer,
            run=self.launcher.launch,
        )  # fmt: skip

    def take_over(self) -> None:
        """Seal, read and settle what earlier leaders left open; then it can be finished."""
        for operation in self.state.running():
            self.stepper.settle(operation, cause="takeover")
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
            readings = self.stepper.settle(operation, cause="resume")
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
        if self.stepper.routers_of(hosts):
            self.stepper.run(operation, wave, hosts)

    def _end_wave(self, operation: Operation, wave: int, samus: Collection[str]) -> None:
        """Write what became of each SAMU of a wave."""
        ends = {s: self._judge_end(operation, s) for s in samus}
        said = {
            s: {"outcome": end.outcome.value, "to": end.to, "moved": end.moved,
                "detail": for_the_journal(end.detail)[:DETAIL]}
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
        data["bad"] = {s: for_the_journal(why)[:DETAIL] for s, why in bad.items()}
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
            extra=self.stepper.evacuation(operation, modes)
            if operation.evacuates else {"sisamu_expected": dict(modes)},
        )  # fmt: skip
        return calls, self.launcher.launch(run, on_event)

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
        readings = self.stepper.settle(operation, cause="reconcile")
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


def _not_sealed(readings: Mapping[str, Reading]) -> list[str]:
    return [host for host, reading in readings.items() if not reading.sealed]
