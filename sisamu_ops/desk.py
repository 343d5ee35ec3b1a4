"""The operator's desk: what a command may ask of the platform, and of the leader."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sisamu_ops.failover.acting.launching import deadline_s
from sisamu_ops.failover.answering.in_force import Rules, differing
from sisamu_ops.failover.asking.review import plan_item
from sisamu_ops.failover.asking.selection import MatchHosts, Selection, select_samus
from sisamu_ops.failover.asking.submit import Serve, Tell, follow, submit
from sisamu_ops.failover.break_glass import LEADER_REACHABLE
from sisamu_ops.failover.fold.merged_log import MergedLog
from sisamu_ops.failover.fold.timeline import paths_allowed
from sisamu_ops.failover.merging import leaf_item, read_log
from sisamu_ops.failover.planning.evacuation import SITE, check_refuge, check_sites, playbook_facts
from sisamu_ops.failover.planning.plan import PLAYBOOKS, UNARMED, Plan, build_plan, check_direction
from sisamu_ops.failover.planning.snapshot import experiments_to_judge, hosts_to_read, read_snapshot
from sisamu_ops.failover.ports import (
    AskDatabase,
    CheckMode,
    Experiments,
    NoExperiments,
    PlaybookRun,
    Targets,
    no_database,
)
from sisamu_ops.failover.reading import ModeReading, Reading, judge_mode
from sisamu_ops.failover.request import (
    Envelope,
    LogClaim,
    Request,
    Verb,
    accepted_envelope,
    new_request,
    rfc3339,
)
from sisamu_ops.failover.safety import judge_overrides
from sisamu_ops.failover.telling.card import card_facts, hand_token
from sisamu_ops.failover.telling.guidance import guidance
from sisamu_ops.failover.telling.overview import (
    alarm_facts,
    checklist_facts,
    drift_facts,
    due_facts,
    incident_facts,
    incident_line,
    operation_line,
    samu_facts,
    second_due_facts,
    site_facts,
    to_call_facts,
    waiting_facts,
)
from sisamu_ops.failover.telling.preview import Preview
from sisamu_ops.journal.port import InboxItem
from sisamu_ops.journal.reader import ReplicaReader, journal_files
from sisamu_ops.leadership.contending import check_leader_site
from sisamu_ops.model.errors import ConfigurationError, FailedError
from sisamu_ops.model.platform import Platform, Samu
from sisamu_ops.model.token import Token
from sisamu_ops.record import JournalView, Record


@dataclass(frozen=True, kw_only=True)
class Desk:
    """The services a command calls; `serve` is given where this process carries out itself."""

    platform: Platform
    record: Record
    targets: Targets
    sign: Callable[[Request], Envelope]
    now: Callable[[], datetime]
    ansible_playbook: str = "ansible-playbook"
    serve: Serve | None = None
    rules: Callable[[], Rules] = lambda: Rules(documents={}, version="0")
    database: AskDatabase = no_database
    match: MatchHosts = lambda _: ()
    check_mode: CheckMode | None = None
    #: Where this operator's reviewed plans are kept, by digest.
    plans: Path | None = None
    experiments: Experiments = field(default_factory=NoExperiments)

    # --- reading ------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """Return the platform at a glance; never fails for want of a leader or ZooKeeper."""
        facts = self._glance()
        return facts | {"now": guidance(facts, self.platform)}

    def _glance(self) -> dict[str, Any]:
        samus = list(self.platform.samus.values())
        # Whatever cannot be reached is waited for once, not one after the other.
        with ThreadPoolExecutor(max_workers=1) as aside:
            read = aside.submit(self._read_modes, samus)
            glance = self.record.glance()
        view, leader, modes = glance.view, glance.leader, read.result()
        return {
            "platform": self.platform.policy.platform,
            "embedded": self.serve is not None,
            "leader": {
                "site": leader.site if leader else None,
                "epoch": leader.epoch if leader else view.state.epoch,
            },
            "sites": site_facts(
                self.platform,
                self.record.trust.sites,
                leader=leader.site if leader else "",
                present=glance.contenders,
                cosigned=glance.cosigned,
                conditions=glance.conditions,
                now=self.now(),
            ),
            "paused": view.state.paused,
            "evacuated": [{"site": site, "to": to} for site, to in view.state.evacuated.items()],
            "alarms": [alarm_facts(alarm) for alarm in view.state.alarms.values()][-5:],
            "held": [
                {"target": host, "token": str(token)} for host, token in view.state.held.items()
            ],
            "second_due": second_due_facts(view.state, self.now()),
            "incidents": [
                incident_line(one) for one in view.state.incidents if not one.acknowledged_by
            ][-5:],
            "to_call": to_call_facts(self.platform, view.state),
            "journal": {
                "size": view.state.size,
                "agreed_size": glance.agreed_size,
                "source": view.source,
                "first": glance.first,
                "live": view.live,
                "newest_at": view.entries[-1].time if view.entries else None,
            },
            "operations": [operation_line(o) for o in view.state.running()],
            "samus": [samu_facts(s, view.state, modes[s.samu_id]) for s in samus],
        }

    def samu(self, wanted: str) -> dict[str, Any]:
        """Return one SAMU as read now, beside what the journal intends."""
        samu = self.platform.samu(wanted)
        state = self.record.glance().view.state
        readings = self.targets.read([*self.platform.routers, samu.gateway])
        mode = judge_mode(samu.samu_id, self.platform.routers, readings, self.now())
        reading = readings[samu.gateway]
        at = reading.directory_at
        return samu_facts(samu, state, mode) | {
            "gateway": reading.describe(samu.samu_id, UNARMED),
            "directory_at": rfc3339(datetime.fromtimestamp(at / 1000, UTC)) if at else None,
            "checklist": checklist_facts(state, samu.samu_id, self.platform.policy.safety),
        }

    def checklists(self, samus: Sequence[str]) -> list[dict[str, Any]]:
        """Return the exit checklist of some SAMUs, each with what was ticked."""
        state, safety = self.record.glance().view.state, self.platform.policy.safety
        return [
            {"samu": s, "mode": state.mode_of(s).mode, "items": checklist_facts(state, s, safety)}
            for s in samus
        ]

    def drift(self, samus: Sequence[str]) -> list[dict[str, Any]]:
        """Return which of some SAMUs are not where the journal intends them, as read now."""
        state = self.record.journal().state
        modes = self._read_modes([self.platform.samus[s] for s in samus])
        return drift_facts(self.platform, state, modes)

    def card(self, wanted: str) -> dict[str, Any]:
        """Return what one needs to act by hand on a SAMU, with a break-glass token."""
        samu = self.platform.samu(wanted)
        state = self.record.glance().view.state
        readings = self.targets.read([*self.platform.routers, samu.gateway])
        mode = judge_mode(samu.samu_id, self.platform.routers, readings, self.now())
        token = hand_token(state.epoch, readings.values())
        facts = samu_facts(samu, state, mode)
        facts |= card_facts(self.platform, samu, token, self.ansible_playbook)
        return facts | {"printed_at": rfc3339(self.now())}

    def select(self, selection: Selection) -> tuple[str, ...]:
        """Return the SAMUs meant; ConfigurationError for a name that means none."""
        return select_samus(self.platform, selection, self.match)

    def plan(
        self,
        verb: Verb,
        samus: Sequence[str],
        to: str,
        *,
        overrides: Sequence[str] = (),
        pace: str = "",
        site: str = "",
    ) -> Plan:
        """Plan a move from one snapshot, as the leader will judge it; `site` is what is evacuated.

        ConfigurationError for what the platform does not have.
        """
        check_overrides(verb, overrides)
        platform = self.platform
        wanted = self._direction(verb, to, site)
        state = self.record.journal().state
        if verb is Verb.EVACUATE:
            check_refuge(state.evacuated, site, wanted)
        hosts = hosts_to_read(platform, verb, samus)
        read = read_snapshot(self.targets, hosts, self.database, verb)
        return build_plan(
            platform=platform,
            state=state,
            verb=verb,
            samus=samus,
            to=wanted,
            site=site,
            readings=read.readings,
            read_at=self.now(),
            database=read.database,
            pace=pace,
            overrides=overrides,
            experiments=experiments_to_judge(platform.policy.safety, self.experiments),
        )

    def preview(self, plan: Plan) -> Preview:
        """Run the plan's playbook in Ansible's check mode, on all its SAMUs at once."""
        if self.check_mode is None:
            raise ValueError("this desk has no playbooks")
        touched = [*self.platform.routers, *(plan.changes if plan.site else ())]
        lasts = [r.last.epoch for r in self.targets.read(touched).values() if r.last]
        extra: dict[str, Any] = {"sisamu_order": list(plan.order)} if plan.order else {}
        if plan.site:
            modes = {s: plan.modes[s].mode.value for s in plan.samus}
            extra = playbook_facts(plan.changes, modes, modes)
        run = PlaybookRun(
            playbook=PLAYBOOKS[plan.verb], operation="check", samus=plan.samus, to=plan.to,
            token=Token(max([self.record.journal().state.epoch, *lasts]) + 1, 0),
            routers=self.platform.routers, deadline_s=deadline_s(len(plan.samus)),
            extra=extra,
        )  # fmt: skip
        preview = Preview()
        self.check_mode(run, preview.take)
        return preview

    def keep_plan(self, plan: Plan) -> None:
        """Keep a plan that is reviewed, for the start that names it; best effort."""
        if self.plans is not None:
            with suppress(OSError):  # without it a changed plan is refused by digest alone
                self.plans.mkdir(parents=True, exist_ok=True)
                (self.plans / plan.digest).write_bytes(plan.document())

    def reviewed(self, digest: str) -> list[InboxItem]:
        """Return the reviewed plan as an inbox item; nothing where this machine has it not."""
        path = self.plans / digest if self.plans and digest else None
        if path is None or not path.is_file():
            return []
        item = plan_item(path.read_bytes())
        return [item] if item.name.endswith(digest) else []

    def read_targets(self, hosts: Collection[str]) -> Mapping[str, Reading]:
        """Read the fences of these targets now."""
        return self.targets.read(hosts)

    def held_targets(self) -> Mapping[str, Token]:
        """Return the targets the journal says are held, each with the token it has taken."""
        return self.record.glance().view.state.held

    def allowed_paths(self) -> Callable[[str, int], frozenset[str]]:
        """Return which paths a SAMU's calls may take at an instant, by the journal."""
        return paths_allowed(self.record.glance().view.state)

    def _read_modes(self, samus: Collection[Samu]) -> Mapping[str, ModeReading]:
        readings, routers = self.targets.read(self.platform.routers), self.platform.routers
        now = self.now()
        return {s.samu_id: judge_mode(s.samu_id, routers, readings, now) for s in samus}

    # --- asking -------------------------------------------------------------------------

    def new_request(
        self,
        verb: Verb,
        *,
        reason: str,
        lifetime: timedelta,
        samus: Sequence[str] = (),
        to: str = "",
        targets: Sequence[str] = (),
        plan: str = "",
        site: str = "",
        overrides: Sequence[str] = (),
        log: LogClaim | None = None,
        about: str = "",
        pace: str = "",
        details: Mapping[str, str] | None = None,
    ) -> Request:
        """Make a request for this platform; ConfigurationError for what it does not have."""
        check_overrides(verb, overrides, also=[LEADER_REACHABLE] if site else [])
        if verb.operates:
            to = self._direction(verb, to, (details or {}).get(SITE, ""))
        if verb is Verb.TRANSFER:
            check_leader_site(self.platform, to)
        return new_request(
            platform=self.platform.policy.platform,
            verb=verb,
            reason=reason,
            now=self.now(),
            lifetime=lifetime,
            samus=[self.platform.samu(s).samu_id for s in samus],
            to=to,
            targets=[self.platform.host(t).host for t in targets],
            plan=plan,
            rules=self.rules().digests() if verb is Verb.ADOPT else None,
            site=site,
            overrides=overrides,
            log=log,
            about=about,
            pace=pace,
            details=details,
        )

    def _direction(self, verb: Verb, to: str, site: str) -> str:
        if verb is not Verb.EVACUATE:
            return check_direction(verb, to, self.platform.policy.mode_order)
        check_sites(self.platform, site, to)
        return to

    def read_log(self, directory: Path) -> tuple[LogClaim, list[InboxItem]]:
        """Read the log of a site that acted alone, and what of it the journal does not have yet.

        IntegrityError when an entry is not the site's, or the log not one of this platform's.
        """
        reader = ReplicaReader(journal_files(directory))
        claim, leaves = read_log(reader, self.record.trust, place=str(directory))
        merged = self.record.journal().state.merged.get(claim.origin, MergedLog())
        new = enumerate(leaves[merged.size :], start=merged.size)
        return claim, [leaf_item(claim.root, index, leaf) for index, leaf in new]

    def incidents(self) -> list[dict[str, Any]]:
        """Return every incident of the journal, oldest first."""
        return [incident_facts(one) for one in self.record.journal().state.incidents]

    def unapproved(self) -> list[dict[str, Any]]:
        """Return the requests that wait for a second signature, and those whose second is due."""
        state, now = self.record.journal().state, self.now()
        waiting = [waiting_facts(one, now) for one in state.waiting.values()]
        return [*waiting, *(due_facts(o, now) for o in state.operations.values() if o.second_due)]

    def find_request(self, request_id: str) -> Envelope:
        """Return a request of the journal, as it was signed; ConfigurationError when none is it."""
        for entry in reversed(self.record.journal().entries):
            kinds = ("request.accepted", "request.waiting")
            if entry.kind in kinds and entry.data["id"] == request_id:
                return accepted_envelope(entry)
        raise ConfigurationError(
            f"the journal has no request {request_id}, and there is no such file",
            place="REQUEST",
            remedy="sisamu request list",
        )

    def rules_in_force(self) -> dict[str, Any]:
        """Return each rule document's digest, as adopted and as this machine has it."""
        in_force, here = self.record.journal().state.rules, self.rules().digests()
        return {
            name: {"in_force": in_force.get(name), "here": here.get(name)}
            for name in sorted({*in_force, *here})
        } | {"differing": differing(here, in_force)}

    def adopt_missing(self, reason: str, tell: Tell) -> None:
        """Adopt this machine's rules unless just these are in force."""
        if self.record.journal().state.rules == self.rules().digests():
            return
        request = self.new_request(Verb.ADOPT, reason=reason, lifetime=timedelta(minutes=5))
        view = self.submit(request.request_id, self.sign(request), tell)
        if view.state.finished[request.request_id].value != "done":
            raise FailedError("the rules could not be adopted", remedy="sisamu journal rules")

    def submit(
        self,
        request_id: str,
        envelope: Envelope,
        tell: Tell,
        leaves: Sequence[InboxItem] = (),
    ) -> JournalView:
        """Submit a request and follow it to its end; RefusedError when it is refused.

        `leaves` are put into the inbox first: what a merge takes in.
        """
        with (
            self.record.session() as coordination,
            self.record.whole(coordination) as reader,
        ):
            for leaf in leaves:
                coordination.put(leaf)
            state, entries = submit(
                coordination,
                reader,
                self.record.trust,
                request_id,
                envelope,
                tell=tell,
                serve=self.serve,
                session_timeout_s=self.platform.policy.session_timeout_ms / 1000,
            )
        return JournalView(entries=entries, state=state, source=self.record.source, live=True)

    def follow(self, request_id: str, tell: Tell) -> JournalView:
        """Follow an operation or request to its end, from its first entry."""
        with (
            self.record.session() as coordination,
            self.record.whole(coordination) as reader,
        ):
            state, entries = follow(coordination, reader, self.record.trust, request_id, tell=tell)
        return JournalView(entries=entries, state=state, source=self.record.source, live=True)

    def enrol_missing(self, reason: str, tell: Tell) -> None:
        """Enrol every target that has no fence file yet; nothing is asked when all have one."""
        readings = self.read_targets(self.platform.targets)
        missing = [host for host, reading in readings.items() if not reading.enrolled]
        if not missing:
            return
        request = self.new_request(
            Verb.ENROL, reason=reason, lifetime=timedelta(minutes=5), targets=missing
        )
        view = self.submit(request.request_id, self.sign(request), tell)
        if view.state.finished[request.request_id].value != "done":
            raise FailedError(
                "not every target could be enrolled", remedy="sisamu target list; sisamu lab up"
            )


def check_overrides(verb: Verb, overrides: Sequence[str], also: Sequence[str] = ()) -> None:
    """Refuse, before anything is signed, to set aside what is no rule; ConfigurationError."""
    for finding in judge_overrides(verb, overrides, also=also):
        raise ConfigurationError(finding.message, place="--override", remedy=finding.remedy)
