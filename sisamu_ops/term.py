"""A term: what one tenure of leadership does, from its first entry to its last.

It answers the inbox, carries out what is accepted, trims what is kept elsewhere, and gives the
leadership up. Who may lead, and for how long, is not its affair: `agent` and `break_glass` begin
terms, and end them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from sisamu_ops.failover.acting.execute import Executor
from sisamu_ops.failover.answering.admission import Admission
from sisamu_ops.failover.answering.gate import Gate
from sisamu_ops.failover.answering.in_force import Rules
from sisamu_ops.failover.answering.judging import Judge
from sisamu_ops.failover.asking.report import ALARM, PREFIX, TRIGGER, make_report, open_report
from sisamu_ops.failover.asking.review import PLAN, is_plan
from sisamu_ops.failover.break_glass import Alone
from sisamu_ops.failover.fold.folding import Folding
from sisamu_ops.failover.fold.merged_log import MergedLog
from sisamu_ops.failover.fold.state import State
from sisamu_ops.failover.merging import LEAF, Merging, is_leaf, new_leaves
from sisamu_ops.failover.ports import (
    AskDatabase,
    Experiments,
    NoExperiments,
    PlaybookRunner,
    SignatureCheck,
    Targets,
    no_database,
)
from sisamu_ops.failover.request import LogClaim, Verb, digest_of
from sisamu_ops.journal.entry import Entry
from sisamu_ops.journal.keys import Policy, SiteKeys
from sisamu_ops.journal.port import InboxItem, JournalReader, OpenPeer
from sisamu_ops.journal.privacy import for_the_journal
from sisamu_ops.journal.replicate import cosigned_sizes
from sisamu_ops.journal.splice import Spliced
from sisamu_ops.journal.writer import Writer
from sisamu_ops.leadership.lease import boottime_ns
from sisamu_ops.leadership.port import Coordination, LeasedTenure
from sisamu_ops.model.errors import IntegrityError, LeadershipError, RefusedError
from sisamu_ops.model.platform import Certificate, Platform

_log = logging.getLogger(__name__)

#: Reviewed plans remembered at once.
_PLANS = 20
#: How the inbox names of adoptions begin.
ADOPTION = f"{Verb.ADOPT.value}-"


class Clock(Protocol):
    """Wall-clock time in UTC."""

    def __call__(self) -> Any:
        """Return an aware datetime."""


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """The doors an agent acts through."""

    connect: Callable[[], Coordination]
    targets: Targets
    runner: PlaybookRunner
    signatures: SignatureCheck
    now: Clock
    open_peer: OpenPeer
    rules: Callable[[], Rules] = lambda: Rules(documents={}, version="0")
    keep: Callable[[Collection[bytes]], frozenset[str]] = lambda _: frozenset()
    database: AskDatabase = no_database
    experiments: Experiments = field(default_factory=NoExperiments)
    #: What this site shows to the coordination service; None where nothing is asked for.
    certificate: Callable[[], Certificate | None] = lambda: None
    #: Is shown each tenure as it begins: who keeps the evidence of leases listens to it.
    on_tenure: Callable[[LeasedTenure], None] = lambda _: None


@dataclass(kw_only=True)
class Term:
    """One tenure at work: the state folded, the pen, and what they serve."""

    platform: Platform
    keys: SiteKeys
    policy: Policy
    neighbours: Neighbours
    tenure: LeasedTenure
    submit: Callable[[InboxItem], None]
    folding: Folding
    base: JournalReader | None = None
    present: Callable[[], frozenset[str]] = frozenset
    #: An adoption waits for a leader that works by another copy of the rules.
    gives_way: bool = False
    #: Given where this site is cut off and acts alone, in a log of its own.
    alone: Alone | None = None
    #: Hears of every entry once it is written and folded.
    on_entry: Callable[[Entry], None] = lambda _: None
    state: State = field(init=False)
    writer: Writer = field(init=False)
    admission: Admission = field(init=False)
    executor: Executor = field(init=False)
    merging: Merging = field(init=False)

    def __post_init__(self) -> None:
        """Fold the journal as the tenure reads it, which is complete."""
        complete = Spliced(base=self.base, tail=self.tenure) if self.base else self.tenure
        self.folding.pull(complete)
        self.state = self.folding.state
        if self.state.unknown_kinds:
            raise IntegrityError(
                f"entries of unknown kinds: {', '.join(sorted(self.state.unknown_kinds))}",
                remedy="upgrade this site's agent; it follows meanwhile, and does not lead",
            )
        self.writer = Writer(
            tenure=self.tenure, key=self.keys.entry, origin=self.policy.origin,
            size=self.state.size, now=self.neighbours.now, follow=self._follow,
        )  # fmt: skip
        self.admission = Admission(
            state=self.state, writer=self.writer, judge=self._judge(),
            gate=Gate(
                platform=self.platform, signatures=self.neighbours.signatures,
                now=self.neighbours.now,
            ),
        )  # fmt: skip
        self._leaves: dict[str, bytes] = {}
        self._plans: dict[str, bytes] = {}
        self._unkept: list[bytes] = []
        self.merging = Merging(
            state=self.state, writer=self.writer, policy=self.policy, waiting=lambda: self._leaves
        )
        self._first = self.tenure.first()
        self.executor = Executor(
            platform=self.platform, state=self.state, writer=self.writer, tenure=self.tenure,
            targets=self.neighbours.targets, runner=self.neighbours.runner, report=self._report,
            now=self.neighbours.now,
            keep=self.neighbours.keep, majority=self.policy.threshold,
            documents=lambda: self.neighbours.rules().documents,
            elsewhere=lambda: bool(self.present() - {self.tenure.site}),
            out_of_reach=self._out_of_reach,
        )  # fmt: skip

    def _follow(self, entry: Entry) -> None:
        self.state.apply(entry)
        self.on_entry(entry)

    def _judge(self) -> Judge:
        return Judge(
            platform=self.platform, state=self.state, writer=self.writer,
            targets=self.neighbours.targets, now=self.neighbours.now, present=self.present,
            untrimmed=lambda: self.state.size - self._first, rules=self.neighbours.rules,
            alone=self.alone, check_log=self._check_log, database=self.neighbours.database,
            reviewed=lambda: self._plans, keep_plan=self._keep_plan,
            experiments=self.neighbours.experiments,
        )  # fmt: skip

    @property
    def outgrown(self) -> bool:
        """Say whether what was merged is of epochs above this tenure's: another must begin."""
        return self.state.epoch_floor >= self.tenure.epoch

    def begin(self) -> None:
        """Journal the new leadership, then seal and settle what was left open."""
        self.writer.write("leadership.taken", {"site": self.tenure.site})
        self.executor.take_over()

    def serve(self, inbox: Coordination) -> bool:
        """Answer the inbox and do one thing accepted; False when there was nothing to do."""
        if not self._may_go_on():
            return False
        self.admission.begin_sweep()
        items = inbox.items()
        self._leaves = {item.name: item.payload for item in items if item.name.startswith(LEAF)}
        self._note_plans(items)
        for item in items:
            if not self._may_go_on():
                return False
            self._take(item)
        self.admission.end_sweep()
        self.merging.advance()
        idle = self.state.handover or self.outgrown
        if not self._may_go_on() or idle:
            return False
        return self.executor.advance() or self._keep_late()

    def _take(self, item: InboxItem) -> None:
        if item.name.startswith(PREFIX):
            self._receive(item)
        elif item.name.startswith(ALARM):
            self._note_alarm(item)
        elif item.name.startswith(TRIGGER):
            self.admission.observe(item, self.policy)
        elif item.name.startswith(ADOPTION) and self.admission.must_wait(item):
            self.gives_way = True
        elif item.name.startswith(PLAN):
            # What it serves comes with it, and has been answered by now or never will be.
            self.admission.discard(item)
        elif item.name.startswith(LEAF) and is_leaf(item, self.policy):
            # It waits for the request that names it, unless an earlier one did.
            if self.merging.is_merged(item.payload):
                self.admission.discard(item)
        else:
            self.admission.answer(item)

    def _note_plans(self, items: Iterable[InboxItem]) -> None:
        """Remember the reviewed plans that wait, the newest few: their requests follow them."""
        for item in items:
            if item.name.startswith(PLAN) and is_plan(item):
                self._plans[item.name.removeprefix(PLAN)] = item.payload
        for digest in list(self._plans)[:-_PLANS]:
            del self._plans[digest]

    def _keep_plan(self, document: bytes, verb: Verb) -> None:
        """Keep a plan on a majority of sites; a rescue does not wait for that."""
        if not verb.planned or self.alone is not None:
            self._unkept.append(document)
            return
        held = self.neighbours.keep([document])
        if len(held) < self.policy.threshold:
            raise RefusedError(
                f"the plan is kept at {', '.join(sorted(held)) or 'no site'} only: no majority",
                remedy="bring the sites back: sisamu doctor",
            )

    def _keep_late(self) -> bool:
        """Keep the plans of rescues, once there is nothing else to do; best effort."""
        if self._unkept:
            self.neighbours.keep([self._unkept.pop()])
        return bool(self._unkept)

    def _check_log(self, claim: LogClaim) -> None:
        merged = self.state.merged.get(claim.origin, MergedLog())
        new_leaves(claim, merged, self._leaves, self.policy)

    def _out_of_reach(self, routers: Collection[str]) -> dict[str, str]:
        """Say which routers a site that acts alone does not try, and leaves to the others."""
        if self.alone is None:
            return {}
        readings = self.neighbours.targets.read(routers)
        return {h: r.problem or "out of reach" for h, r in readings.items() if not r.reachable}

    def patience_s(self, most_s: float) -> float:
        """Return how long nothing needs to be looked at: until what falls due, `most_s` at most."""
        due = self.executor.waits_until()
        if due is None:
            return most_s
        left_s: float = (due - self.neighbours.now()).total_seconds()
        return min(most_s, max(0.0, left_s))

    def trim(self, notes: Iterable[bytes]) -> None:
        """Forget in the service what a majority of replicas keeps, but for the newest entries."""
        keep = self.platform.policy.journal_keep
        sizes = sorted(cosigned_sizes(notes, self.policy).values(), reverse=True)
        threshold = self.policy.threshold
        agreed_size = sizes[threshold - 1] if len(sizes) >= threshold else 0
        agreed_size = min(agreed_size, self.state.size)
        if agreed_size - self._first >= 2 * keep and self._may_go_on():
            self.tenure.trim(agreed_size - keep)
            self._first = agreed_size - keep

    def leave(self, cause: str = "stop") -> None:
        """Journal that leadership is given up, and to whom, when it still can be."""
        if self.tenure.may_start():
            to = self.state.handover.to if self.state.handover else ""
            data = {"site": self.tenure.site, "to": to, "cause": cause}
            self.writer.write("leadership.left", data)

    def _note_alarm(self, item: InboxItem) -> None:
        data: dict[str, Any] = {"id": digest_of(item.payload), "site": "", "about": ""}
        data["message"] = "an alarm that is not signed by a site"
        try:
            facts = open_report(item.payload, self.policy)
            data |= {"site": str(facts["site"]), "about": for_the_journal(str(facts["about"]))}
            data["message"] = for_the_journal(str(facts["message"]))
        except (RefusedError, KeyError):
            _log.warning("%s cannot be read as an alarm", item.name)
        self.writer.write("alarm.raised", data, consume=[item.name])

    def _may_go_on(self) -> bool:
        """Say whether something new may be started; LeadershipError when the lease has ended."""
        if not self.tenure.lease().holds(boottime_ns()):
            raise LeadershipError(f"the lease of {self.tenure.site} has ended")
        return self.tenure.may_start()

    def _receive(self, item: InboxItem) -> None:
        data: dict[str, Any] = {
            "id": digest_of(item.payload),
            "name": for_the_journal(item.name),
        }
        try:
            facts = open_report(item.payload, self.policy)
            refused = {h: for_the_journal(str(d)) for h, d in dict(facts["refused"]).items()}
            data |= {"site": str(facts["site"]), "token": str(facts["token"])}
            data |= {"operation": str(facts["operation"]), "refused": refused}
        except (RefusedError, KeyError, TypeError, ValueError):
            data |= {"site": "", "token": "", "operation": "", "refused": {}}
        self.writer.write("report.received", data, consume=[item.name])

    def _report(self, facts: Mapping[str, Any]) -> None:
        self.submit(make_report(self.keys.site, facts, self.keys.entry))


def serve_until_idle(term: Term, coordination: Coordination) -> None:
    """Do all that waits, and what will fall due by itself: a soak is waited for to its end."""
    while True:
        while term.serve(coordination):
            pass
        due = term.executor.waits_until()
        if due is None:
            return
        coordination.await_change(max(0.0, (due - term.neighbours.now()).total_seconds()))


def serve_once(
    *,
    platform: Platform,
    keys: SiteKeys,
    policy: Policy,
    neighbours: Neighbours,
    coordination: Coordination,
    on_entry: Callable[[Entry], None],
) -> None:
    """Take leadership, do all that waits, and give it up: the embedded way of `local`.

    `on_entry` hears of every entry as it is written. LeadershipError when another process leads.
    """
    contention = coordination.contend(keys.site)
    folding = Folding(policy)
    folding.pull(coordination)
    tenure = contention.try_lead(floor=folding.state.floor)
    if tenure is None:
        raise LeadershipError(
            "another process holds the lock of this journal",
            remedy="wait until it ends, or name another --state-dir",
        )
    try:
        term = Term(
            platform=platform, keys=keys, policy=policy, neighbours=neighbours, tenure=tenure,
            submit=coordination.put, folding=folding, on_entry=on_entry,
        )  # fmt: skip
        term.begin()
        serve_until_idle(term, coordination)
        term.leave("merge" if term.outgrown else "stop")
    finally:
        contention.close()
