"""The leader's answer to what waits in the inbox: accepted, or refused and why.

A refusal is an entry too, holding the digest of the refused bytes, never the bytes. Expiry
is judged here, once. The same bytes again get no second entry: the first one answers them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from sisamu_ops.failover.acting.sealing import newly_held
from sisamu_ops.failover.answering.in_force import NAMES, Rules
from sisamu_ops.failover.answering.people import check_revert, judge_people
from sisamu_ops.failover.answering.refusal import AdmissionRefusedError, SecondSignatureMissing
from sisamu_ops.failover.answering.steering import acknowledgeable, steerable, withdrawable
from sisamu_ops.failover.asking.report import open_report
from sisamu_ops.failover.asking.review import differences, read_plan
from sisamu_ops.failover.break_glass import Alone, judge_alone, second_due
from sisamu_ops.failover.fold.incidents import ANTI_FLAP, flapping
from sisamu_ops.failover.fold.state import State
from sisamu_ops.failover.planning.evacuation import SITE, check_refuge, check_sites
from sisamu_ops.failover.planning.plan import Plan, build_plan, check_direction
from sisamu_ops.failover.planning.snapshot import experiments_to_judge, hosts_to_read, read_snapshot
from sisamu_ops.failover.ports import (
    AskDatabase,
    Experiments,
    NoExperiments,
    SignatureCheck,
    Targets,
    no_database,
)
from sisamu_ops.failover.reading import ModeReading, Reading, judge_mode
from sisamu_ops.failover.request import (
    NAMESPACE,
    REQUEST_FIELDS,
    VOTE_NAMESPACE,
    Envelope,
    LogClaim,
    Request,
    Verb,
    digest_of,
    open_envelope,
    parse_request,
    rfc3339,
)
from sisamu_ops.failover.safety import EXPERIMENT_RUNNING, SECOND_SIGNATURE, Finding
from sisamu_ops.journal.canonical import canonical_bytes
from sisamu_ops.journal.glass_log import log_site
from sisamu_ops.journal.keys import Policy as TrustPolicy
from sisamu_ops.journal.port import InboxItem
from sisamu_ops.journal.privacy import for_the_journal, refuse_phone_numbers
from sisamu_ops.journal.writer import Writer
from sisamu_ops.model.errors import ConfigurationError, RefusedError
from sisamu_ops.model.platform import Platform

#: How far ahead of this site's clock a request may have been made.
CLOCK_TOLERANCE = timedelta(minutes=5)
#: Requests of one principal that may wait at once.
INBOX_LIMIT = 20
#: Unsigned documents removed with one entry: their digests must fit into it.
FLOOD_AT_ONCE = 500
LONGEST_LIFETIME = timedelta(hours=24)
#: Details of a move journalled beside it: who answers for the mode, and the bridge that is open.
_ANSWERABLE = ("owner", "bridge")


@dataclass(kw_only=True)
class Admission:
    """Judges requests for one tenure."""

    platform: Platform
    state: State
    writer: Writer
    targets: Targets
    signatures: SignatureCheck
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

    def __post_init__(self) -> None:
        """Remember the duplicates to remove with the next entry."""
        self._duplicates: set[str] = set()
        self._waiting: Counter[str] = Counter()
        self._flood: dict[str, str] = {}

    def begin_sweep(self) -> None:
        """Count what each principal has waiting anew: the inbox is looked at from the start."""
        self._waiting.clear()
        self._flood.clear()

    def end_sweep(self) -> None:
        """Write one entry for all that nobody signed, beyond the first few.

        A flood must not make the journal grow as fast as the inbox.
        """
        flood = list(islice(self._flood.items(), FLOOD_AT_ONCE))
        if flood:
            data: dict[str, Any] = {"count": len(flood), "digests": [digest for _, digest in flood]}
            names = [name for name, _ in flood]
            self.writer.write("inbox.overflowed", data, consume=names)

    def discard(self, item: InboxItem) -> None:
        """Remove with the next entry what needs none of its own."""
        self._duplicates.add(item.name)

    def observe(self, item: InboxItem, policy: TrustPolicy) -> None:
        """Journal what a site's trigger would have done, and why: nothing is dispatched.

        Automatic triggers are observed only; requests signed by operators are armed.
        """
        trigger_id = digest_of(item.payload)
        if trigger_id in self.state.triggers:
            self._duplicates.add(item.name)
            return
        try:
            facts = open_report(item.payload, policy)
            data: dict[str, Any] = {"id": trigger_id, "site": str(facts["site"])}
            data["mode"] = "observe"
            data["reason"] = for_the_journal(str(facts["reason"]))
            request = parse_request(canonical_bytes({k: facts[k] for k in REQUEST_FIELDS}))
            data["would"] = self._would(request)
        except KeyError as error:
            refusal = AdmissionRefusedError(
                f"the trigger lacks {error}", remedy="see the site's agent"
            )
            self._refuse(item, None, refusal)
        except (RefusedError, ConfigurationError) as refusal:
            self._refuse(item, None, refusal)
        else:
            self._write("trigger.observed", data, item)

    def _would(self, request: Request) -> dict[str, Any]:
        """Say what the request would have become at this moment."""
        self._check_time(request)
        if request.verb is not Verb.FAILOVER:
            raise AdmissionRefusedError(
                f"a trigger may not ask for a {request.verb.value}",
                remedy="a site's trigger asks for a failover",
            )
        plan = self._plan(request)
        return {
            "verb": request.verb.value,
            "samus": list(plan.samus),
            "to": plan.to,
            "plan": plan.digest,
            "findings": [finding.told for finding in plan.findings],
            "blocked_by": [ANTI_FLAP]
            if flapping(self.state.incidents, plan.samus, self.now())
            else [],
        }

    def answer(self, item: InboxItem) -> None:
        """Write the entry that answers a request, unless an earlier one already does."""
        if item.name in self._duplicates:
            return
        request: Request | None = None
        try:
            envelope, request = self._authenticated(item)
            if self._answered_before(request, envelope):
                self._take_approval(item, envelope, request)
                return
            if self._waits_already(request, envelope):
                self._duplicates.add(item.name)
                return
            self._limit(envelope.principal)
            self._accept(item, envelope, request)
        except SecondSignatureMissing as missing:
            self._await_second(item, envelope, missing)
        except (RefusedError, ConfigurationError) as refusal:
            self._refuse(item, request, refusal)

    def _authenticated(self, item: InboxItem) -> tuple[Envelope, Request]:
        envelope = open_envelope(item.payload)
        document = envelope.document.encode()
        request = parse_request(document)
        if not envelope.signature:
            raise AdmissionRefusedError(
                "the request is not signed", remedy="sign it: sisamu --identity KEY …"
            )
        if not self.signatures(document, envelope.signature, envelope.principal, NAMESPACE):
            raise AdmissionRefusedError(
                "the signature does not verify for an allowed signer",
                remedy="check your key with `sisamu doctor`; allowed_signers must name it",
            )
        if envelope.principal not in self.platform.policy.operators:
            raise AdmissionRefusedError(
                f"{envelope.principal} is not authorised to ask for a {request.verb.value}",
                remedy="ask for the role operator in the inventory's sisamu_roles",
            )
        self._check_approvals(envelope)
        return envelope, request

    def must_wait(self, item: InboxItem) -> bool:
        """Say whether an adoption names another copy than this leader's, and is good otherwise.

        It then waits for a leader that works by that copy.
        """
        try:
            _, request = self._authenticated(item)
            self._check_time(request)
        except (RefusedError, ConfigurationError):
            return False
        return request.verb is Verb.ADOPT and dict(request.rules) != self.rules().digests()

    def _check_approvals(self, envelope: Envelope) -> None:
        """Refuse the whole for one bad approval, and name it."""
        document = envelope.document.encode()
        for approval in envelope.approvals:
            who = approval.principal
            if who == envelope.principal:
                problem = f"{who} asked for it, and does not count as approver"
            elif not self.signatures(document, approval.signature, who, VOTE_NAMESPACE):
                problem = f"the approval by {who or 'nobody'} does not verify"
            elif who not in self.platform.policy.operators:
                problem = f"{who} is not authorised to approve"
            else:
                continue
            raise AdmissionRefusedError(
                problem, remedy="take it out, or have another operator approve: request approve",
                rules=["approvals"],
            )  # fmt: skip

    def _take_approval(self, item: InboxItem, envelope: Envelope, request: Request) -> None:
        """Journal a second signature that was still due; anything else adds nothing."""
        operation = self.state.operations.get(request.request_id)
        new = [
            a for a in envelope.approvals if operation and a.principal not in operation.approvers
        ]
        if operation is None or not operation.second_due or not new:
            self._duplicates.add(item.name)
            return
        data = {"id": request.request_id, **new[0].to_json()}
        self._write("request.approved", data, item)

    def _limit(self, principal: str) -> None:
        """Refuse what one principal, proved by signature, has put in beyond measure."""
        self._waiting[principal] += 1
        if self._waiting[principal] > INBOX_LIMIT:
            raise AdmissionRefusedError(
                f"{principal} has over {INBOX_LIMIT} requests waiting",
                remedy="wait for their answers, then ask again",
                rules=["inbox-limit"],
            )

    def _waits_already(self, request: Request, envelope: Envelope) -> bool:
        """Say whether a request waits for a second signature, and this brings none."""
        waiting = self.state.waiting.get(request.request_id)
        if waiting is None:
            return False
        if waiting.digest != digest_of(envelope.document.encode()):
            raise AdmissionRefusedError(
                f"id {request.request_id} was used for other content (entry {waiting.index})",
                remedy="make a new request; an id is used once",
            )
        return not envelope.approvers()

    def _await_second(
        self, item: InboxItem, envelope: Envelope, missing: SecondSignatureMissing
    ) -> None:
        """Journal that a request is good but for the second signature; nothing is changed."""
        request = missing.request
        data = self._asked(envelope, request) | {
            "samus": list(missing.samus), "to": missing.to, "until": rfc3339(request.expires),
            "needs": for_the_journal(missing.message), "rules": [SECOND_SIGNATURE],
        }  # fmt: skip
        self._write("request.waiting", data, item)

    def _answered_before(self, request: Request, envelope: Envelope) -> bool:
        first = self.state.answers.get(request.request_id)
        if first is None:
            return False
        if first.digest == digest_of(envelope.document.encode()):
            return True
        raise AdmissionRefusedError(
            f"id {request.request_id} was used for other content (entry {first.index})",
            remedy="make a new request; an id is used once",
        )

    def _accept(self, item: InboxItem, envelope: Envelope, request: Request) -> None:
        self._check_time(request)
        if request.platform != self.platform.policy.platform:
            raise AdmissionRefusedError(
                f"the request is for platform {request.platform!r}",
                remedy=f"this platform is {self.platform.policy.platform!r}",
            )
        refuse_phone_numbers(request.reason, place="reason")
        for name, said in request.details.items():
            refuse_phone_numbers(said, place=name)
        scope = self._scope(request, envelope)
        judged = self._judged(request, scope, envelope)
        self._write("request.accepted", self._asked(envelope, request) | judged, item)

    def _asked(self, envelope: Envelope, request: Request) -> dict[str, Any]:
        """Return what is journalled of every request that is not refused: all of it."""
        asked: dict[str, Any] = {
            "document": envelope.document,
            "signature": envelope.signature,
            "principal": envelope.principal,
            "namespace": NAMESPACE,
        }
        if envelope.approvals:
            asked["approvals"] = [approval.to_json() for approval in envelope.approvals]
        return {
            "id": request.request_id,
            "digest": digest_of(envelope.document.encode()),
            "verb": request.verb.value,
            "reason": request.reason,
            "request": asked,
        }

    def _scope(self, request: Request, envelope: Envelope) -> dict[str, Any]:
        """Judge whether it is for this leader, or for this site alone; return what to journal."""
        to = request.to
        if request.verb.moves:
            to = check_direction(request.verb, to, self.platform.policy.mode_order)
        found = judge_alone(request, to, envelope.approvers(), self.alone)
        self._refuse_blocked([finding for finding in found if finding.blocks])
        if self.alone is None:
            return {}
        due = second_due(envelope.approvers(), self.now())
        said = [finding.told for finding in found]
        return {"second_due": rfc3339(due) if due else "", "findings": said}

    def _refuse_blocked(self, blocking: Sequence[Finding]) -> None:
        if blocking:
            raise AdmissionRefusedError(
                "; ".join(f.message for f in blocking),
                remedy="; ".join(dict.fromkeys(f.remedy for f in blocking)),
                rules=[f.rule for f in blocking],
            )

    def _check_time(self, request: Request) -> None:
        now = self.now()
        if now >= request.expires:
            raise AdmissionRefusedError(
                "the request has expired", remedy="make and sign it anew; nothing was changed"
            )
        if request.created > now + CLOCK_TOLERANCE:
            raise AdmissionRefusedError("the request is from the future", remedy="check the clocks")
        if request.expires - request.created > LONGEST_LIFETIME:
            raise AdmissionRefusedError(
                "the request lives over 24 hours", remedy="choose a nearer expiry"
            )

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
        plan = self._plan(request, approvers)
        self._refuse_blocked(plan.blocked_by)
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
        plan = self._plan(request, approvers)
        self._compare(request, plan)
        if {f.rule for f in plan.blocked_by} == {SECOND_SIGNATURE}:
            raise SecondSignatureMissing(request, plan.samus, plan.to, plan.blocked_by[0].message)
        self._refuse_blocked(plan.blocked_by)
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

    def _plan(self, request: Request, approvers: Sequence[str] = ()) -> Plan:
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

    def _refuse(
        self, item: InboxItem, request: Request | None, refusal: RefusedError | ConfigurationError
    ) -> None:
        digest = digest_of(item.payload)
        if digest in self.state.answers:
            self._duplicates.add(item.name)
            return
        if request is None and self._waiting[""] >= INBOX_LIMIT:
            self._flood[item.name] = digest
            return
        if request is None:
            self._waiting[""] += 1
        reason = for_the_journal(f"{refusal.place}: " if refusal.place else "")
        data = {
            # Only who proved who they are may take an id for good.
            "id": request.request_id if request else "",
            "name": for_the_journal(item.name),
            "digest": digest,
            "reason": reason + for_the_journal(refusal.message),
            "remedy": for_the_journal(refusal.remedy),
            "rules": list(getattr(refusal, "rules", ())),
        }
        self._write("request.refused", data, item)

    def _write(self, kind: str, data: dict[str, Any], item: InboxItem) -> None:
        self.writer.write(kind, data, consume=[item.name, *sorted(self._duplicates)])
        self._duplicates.clear()
