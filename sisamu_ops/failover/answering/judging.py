"""What a request is worth: judged by its verb, against what is known and what is read now.

What is returned of a request is what is to be journalled of it if it is accepted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sisamu_ops.failover.acting.sealing import newly_held
from sisamu_ops.failover.answering.in_force import NAMES, Rules
from sisamu_ops.failover.answering.people import check_revert, judge_people
from sisamu_ops.failover.answering.refusal import AdmissionRefusedError, SecondSignatureMissing
from sisamu_ops.failover.answering.steering import acknowledgeable, steerable, withdrawable
from sisamu_ops.failover.asking.review import differences, read_plan
from sisamu_ops.failover.break_glass import Alone, judge_alone, second_due
from sisamu_ops.failover.fold.state import State
from sisamu_ops.failover.planning.evacuation import SITE, check_refuge, check_sites
from sisamu_ops.failover.planning.plan import Plan, build_plan, check_direction
from sisamu_ops.failover.planning.snapshot import experiments_to_judge, hosts_to_read, read_snapshot
from sisamu_ops.failover.ports import AskDatabase, Experiments, NoExperiments, Targets, no_database
from sisamu_ops.failover.reading import ModeReading, Reading, judge_mode
from sisamu_ops.failover.request import Envelope, LogClaim, Request, Verb, rfc3339
from sisamu_ops.failover.safety import EXPERIMENT_RUNNING, SECOND_SIGNATURE, Finding
from sisamu_ops.journal.glass_log import log_site
from sisamu_ops.journal.privacy import for_the_journal
from sisamu_ops.journal.writer import Writer
from sisamu_ops.model.platform import Platform

#: Details of a move journalled beside it: who answers for the mode, and the bridge that is open.
_ANSWERABLE = ("owner", "bridge")


@dataclass(frozen=True, kw_only=True)
class Judge:
    """Judges what is asked for, for one tenure."""

    platform: Platform
    state: State
    writer: Writer
    targets: Targets
    now: Callable[[], datetime]
    present: Callable[[], frozenset[str]] = frozenset
    untrimmed: Callable[[], int] = int
    rules: Callable[[], Rules] = lambda: Rules(documents={}, version="0")
    database: AskDatabase = no_database
    experiments: Experiments = field(default_factory=NoExperiments)
    #: Given where this site is cut off and acts alone.
    alone: Alone | None = None
    #: Raises RefusedError unless all that is new of a log to merge waits in the inbox, and holds.
    check_log: Callable[[LogClaim], object] = lambda _: None
    #: Reviewed plans that wait in the inbox, by digest.
    reviewed: Callable[[], Mapping[str, bytes]] = dict
    #: Keeps the plan beside the replicas; raises RefusedError where planned work finds no majority.
    keep_plan: Callable[[bytes, Verb], object] = lambda _document, _verb: None

    def judged(self, request: Request, envelope: Envelope) -> dict[str, Any]:
        """Judge by its verb what is asked; return what is journalled of it besides.

        RefusedError says why it is not accepted, SecondSignatureMissing that it may wait.
        """
        return self._judged(request, self._scope(request, envelope), envelope)

    def _scope(self, request: Request, envelope: Envelope) -> dict[str, Any]:
        """Judge whether it is for this leader, or for this site alone; return what to journal."""
        to = request.to
        if request.verb.moves:
            to = check_direction(request.verb, to, self.platform.policy.mode_order)
        found = judge_alone(request, to, envelope.approvers(), self.alone)
        _refuse_blocked([finding for finding in found if finding.blocks])
        if self.alone is None:
            return {}
        due = second_due(envelope.approvers(), self.now())
        said = [finding.told for finding in found]
        return {"second_due": rfc3339(due) if due else "", "findings": said}

    def _judged(
        self, request: Request, scope: dict[str, Any], envelope: Envelope
    ) -> dict[str, Any]:
        """Judge by its verb what is asked; return what is journalled of it besides."""
        if request.verb.operates:
            return self._begun(request, scope, envelope.approvers())
        if request.verb.of_people:
            return judge_people(request, self.platform, self.state, self._read_modes)
        told = self._told(request, envelope.principal)
        if told is not None:
            return told
        if self.state.paused:
            raise AdmissionRefusedError(
                "the leader is paused", remedy="sisamu leader resume", rules=["leader-paused"]
            )
        if request.verb is Verb.CHECK:
            return self._checkable(request, envelope.approvers())
        return {"targets": self._enrollable(request)} if request.verb is Verb.ENROL else {}

    def _told(self, request: Request, principal: str) -> dict[str, Any] | None:
        """Judge what a pause does not keep from being said; None for any other verb."""
        if request.verb.leads:
            return self._about_leadership(request)
        if request.verb is Verb.ADOPT:
            return {"rules": self._adoptable(request)}
        if request.verb is Verb.MERGE:
            return {"log": self._mergeable(request)}
        if request.verb is Verb.ACKNOWLEDGE:
            return {"about": acknowledgeable(self.state, request)}
        if request.verb is Verb.WITHDRAW:
            return {"about": withdrawable(self.state, request, principal)}
        return (
            {"about": steerable(self.state, request).operation_id} if request.verb.steers else None
        )

    def _checkable(self, request: Request, approvers: Sequence[str]) -> dict[str, Any]:
        plan = self.plan(request, approvers)
        _refuse_blocked(plan.blocked_by)
        found = [finding.told for finding in plan.findings]
        return {"samus": list(plan.samus), "to": plan.to, "findings": found}

    def _begun(
        self, request: Request, scope: dict[str, Any], approvers: Sequence[str]
    ) -> dict[str, Any]:
        """Judge an operation by its plan; return what the leader is to carry out."""
        if request.verb is Verb.REVERT:
            check_revert(request, self.platform, self.state)
        if request.verb is Verb.EVACUATE:
            self._check_evacuation(request)
        plan = self.plan(request, approvers)
        self._compare(request, plan)
        if {f.rule for f in plan.blocked_by} == {SECOND_SIGNATURE}:
            raise SecondSignatureMissing(request, plan.samus, plan.to, plan.blocked_by[0].message)
        _refuse_blocked(plan.blocked_by)
        self.keep_plan(plan.document(), request.verb)
        found = [finding.told for finding in plan.findings]
        answerable = {n: said for n, said in request.details.items() if n in _ANSWERABLE}
        findings = [*scope.get("findings", ()), *found, *self._stopped(plan)]
        return self._second(plan) | scope | plan.accepted() | answerable | {"findings": findings}

    def _check_evacuation(self, request: Request) -> None:
        """Refuse what cannot be evacuated: half a site, to one that is gone, led by nobody."""
        site, to = request.details.get(SITE, ""), request.to
        check_sites(self.platform, site, to)
        check_refuge(self.state.evacuated, site, to)
        if set(request.samus) != set(self.platform.samus):
            raise AdmissionRefusedError(
                "a site is evacuated of every SAMU, or not at all",
                remedy=f"ask with: sisamu switchover start --site {site} --to {to}",
            )
        if site == self.state.leader_site and to not in (site, *self.present()):
            raise AdmissionRefusedError(
                f"{site} leads, and {to} does not stand for leader",
                remedy="bring its agent back: sisamu doctor", rules=["contender-present"],
            )  # fmt: skip

    def _second(self, plan: Plan) -> dict[str, Any]:
        """Return until when the second signature is due that was not waited for."""
        due = second_due((), self.now()) if plan.lacks_second else None
        return {"second_due": rfc3339(due)} if due else {}

    def _stopped(self, plan: Plan) -> list[str]:
        """Stop the experiments that run before a rescue begins, and say which were."""
        running = any(finding.rule == EXPERIMENT_RUNNING for finding in plan.findings)
        if not running or plan.verb.planned:
            return []
        stopped = for_the_journal(", ".join(self.experiments.stop()))
        return [f"{EXPERIMENT_RUNNING}: {f'stopped {stopped}' if stopped else 'not stopped yet'}"]

    def _compare(self, request: Request, plan: Plan) -> None:
        """Refuse a plan that is not the one reviewed, and say what differs."""
        if not request.plan or request.plan == plan.digest:
            return
        reviewed = read_plan(self.reviewed().get(request.plan, b""))
        said = f"now {plan.digest[:16]}…, reviewed {request.plan[:16]}…, which nobody here has"
        if reviewed:
            said = differences(reviewed, read_plan(plan.document()))
        raise AdmissionRefusedError(
            f"the plan has changed since it was reviewed: {said}",
            remedy=f"review it again: sisamu {request.verb.value} plan",
            rules=["plan-digest", *dict.fromkeys(f.rule for f in plan.blocked_by)],
        )

    def _read_modes(self, samus: Sequence[str]) -> Mapping[str, ModeReading]:
        routers = self.platform.routers
        readings, now = self.targets.read(routers), self.now()
        return {s: judge_mode(s, routers, readings, now) for s in samus}

    def _mergeable(self, request: Request) -> dict[str, Any]:
        """Refuse a log that is not a site's of this platform, or not the one merged before."""
        claim = request.log
        if claim is None or log_site(claim.origin, self.platform.policy.platform) is None:
            raise AdmissionRefusedError(
                "the request names no break-glass log of this platform",
                remedy="ask with: sisamu journal merge DIR",
            )
        self.check_log(claim)
        return claim.to_json()

    def _about_leadership(self, request: Request) -> dict[str, Any]:
        if request.verb in (Verb.PAUSE, Verb.RESUME):
            return {}
        if request.to == self.state.leader_site:
            raise AdmissionRefusedError(f"{request.to} leads already", remedy="sisamu leader show")
        others = self.present() - {self.state.leader_site}
        if not others or (request.verb is Verb.TRANSFER and request.to not in others):
            known = ", ".join(sorted(others)) or "no other site"
            raise AdmissionRefusedError(
                f"{request.to or 'another site'} does not stand for leader",
                remedy=f"{known} stands: sisamu leader contenders",
                rules=["contender-present"],
            )
        return {"to": request.to}

    def _adoptable(self, request: Request) -> dict[str, str]:
        here = self.rules().digests()
        others = [n for n in NAMES if request.rules.get(n) != here.get(n)]
        if others or set(request.rules) != set(here):
            raise AdmissionRefusedError(
                f"the leader's copy is another: {', '.join(others) or 'names'}",
                remedy="give it that copy, then ask again: sisamu journal rules",
                rules=["rules-copy"],
            )
        return dict(request.rules)

    def _enrollable(self, request: Request) -> list[str]:
        if not request.targets:
            raise AdmissionRefusedError(
                "the request names no target", remedy="name one: target enrol HOST"
            )
        return sorted({self.platform.host(t).host for t in request.targets})

    def plan(self, request: Request, approvers: Sequence[str] = ()) -> Plan:
        """Plan a request from what every target says now."""
        policy = self.platform.policy
        if not request.samus:
            raise AdmissionRefusedError("the request names no SAMU", remedy="name one with --samu")
        site, to = request.details.get(SITE, ""), request.to
        if request.verb is not Verb.EVACUATE:
            site, to = "", check_direction(request.verb, to, policy.mode_order)
        hosts = hosts_to_read(self.platform, request.verb, request.samus)
        read = read_snapshot(self.targets, hosts, self.database, request.verb)
        self._note_held(request, read.readings)
        return build_plan(
            platform=self.platform, state=self.state, verb=request.verb, samus=request.samus,
            to=to, readings=read.readings, read_at=self.now(), untrimmed=self.untrimmed(),
            alone=self.alone is not None, database=read.database, approvers=approvers,
            overrides=request.overrides, pace=request.pace, site=site,
            experiments=experiments_to_judge(policy.safety, self.experiments),
        )  # fmt: skip

    def _note_held(self, request: Request, readings: Mapping[str, Reading]) -> None:
        """Journal which targets have taken a token above this epoch: no leader moves them."""
        taken = {host: reading.last for host, reading in readings.items()}
        for held in newly_held(self.state, self.writer.epoch, request.request_id, taken):
            self.writer.write(*held)


def _refuse_blocked(blocking: Sequence[Finding]) -> None:
    if blocking:
        raise AdmissionRefusedError(
            "; ".join(f.message for f in blocking),
            remedy="; ".join(dict.fromkeys(f.remedy for f in blocking)),
            rules=[f.rule for f in blocking],
        )
