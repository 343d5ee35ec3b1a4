"""The site daemon: fold, decide, act.

Two loops, each with a session of its own. One follows: every entry is verified, kept on the
site's replica and cosigned. The other stands for leader where the site may, and while it
leads answers the inbox and carries out what is accepted. Losing leadership ends the second
loop's turn, never the first's. With no agent at all every SAMU keeps its mode.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from sisamu_ops.failover.admission import Admission
from sisamu_ops.failover.execute import Executor
from sisamu_ops.failover.ports import PlaybookRunner, SignatureCheck, Targets
from sisamu_ops.failover.report import PREFIX, make_report, open_report
from sisamu_ops.failover.request import digest_of
from sisamu_ops.failover.state import State
from sisamu_ops.journal.keys import Policy, SiteKeys
from sisamu_ops.journal.port import InboxItem, JournalReader
from sisamu_ops.journal.privacy import for_the_journal
from sisamu_ops.journal.replicate import Replicator, read_entry
from sisamu_ops.journal.writer import Writer
from sisamu_ops.leadership.contending import judge_standing
from sisamu_ops.leadership.lease import boottime_ns
from sisamu_ops.leadership.port import Contention, Coordination, LeasedTenure
from sisamu_ops.model.errors import IntegrityError, LeadershipError, RefusedError
from sisamu_ops.model.platform import Platform

_log = logging.getLogger(__name__)

#: How long a loop waits for a change before it looks anyway, in seconds.
_LOOK_S = 1.0
_RETRY_S = 0.5


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


def fold_journal(reader: JournalReader, policy: Policy) -> State:
    """Fold every entry, each verified; IntegrityError when one does not verify."""
    state = State()
    size = reader.size()
    for index, leaf in enumerate(reader.read(0, size)):
        state.apply(read_entry(leaf, index=index, policy=policy))
    return state


@dataclass(kw_only=True)
class Term:
    """One tenure at work: the state folded, the pen, and what they serve."""

    platform: Platform
    keys: SiteKeys
    policy: Policy
    neighbours: Neighbours
    tenure: LeasedTenure
    submit: Callable[[InboxItem], None]
    state: State = field(init=False)
    writer: Writer = field(init=False)
    admission: Admission = field(init=False)
    executor: Executor = field(init=False)

    def __post_init__(self) -> None:
        """Fold the journal as the tenure reads it, which is complete."""
        self.state = fold_journal(self.tenure, self.policy)
        if self.state.unknown_kinds:
            raise IntegrityError(
                f"entries of unknown kinds: {', '.join(sorted(self.state.unknown_kinds))}",
                remedy="upgrade this site's agent; it follows meanwhile, and does not lead",
            )
        self.writer = Writer(
            tenure=self.tenure, key=self.keys.entry, origin=self.policy.origin,
            size=self.state.size, now=self.neighbours.now, follow=self.state.apply,
        )  # fmt: skip
        self.admission = Admission(
            platform=self.platform, state=self.state, writer=self.writer,
            targets=self.neighbours.targets, signatures=self.neighbours.signatures,
            now=self.neighbours.now,
        )  # fmt: skip
        self.executor = Executor(
            platform=self.platform, state=self.state, writer=self.writer, tenure=self.tenure,
            targets=self.neighbours.targets, runner=self.neighbours.runner, report=self._report,
        )  # fmt: skip

    def begin(self) -> None:
        """Journal the new leadership, then seal and settle what was left open."""
        self.writer.write("leadership.taken", {"site": self.tenure.site})
        self.executor.take_over()

    def serve(self, inbox: Coordination) -> bool:
        """Answer the inbox and do one thing accepted; False when there was nothing to do."""
        if not self._may_go_on():
            return False
        for item in inbox.items():
            if not self._may_go_on():
                return False
            if item.name.startswith(PREFIX):
                self._receive(item)
            else:
                self.admission.answer(item)
        return self._may_go_on() and self.executor.advance()

    def leave(self) -> None:
        """Journal that leadership is given up, when it still can be."""
        if self.tenure.may_start():
            self.writer.write("leadership.left", {"site": self.tenure.site})

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


def serve_once(
    *,
    platform: Platform,
    keys: SiteKeys,
    policy: Policy,
    neighbours: Neighbours,
    coordination: Coordination,
) -> None:
    """Take leadership, do all that waits, and give it up: the embedded way of `local`.

    LeadershipError when another process leads.
    """
    contention = coordination.contend(keys.site)
    tenure = contention.try_lead()
    if tenure is None:
        raise LeadershipError(
            "another process holds the lock of this journal",
            remedy="wait until it ends, or name another --state-dir",
        )
    try:
        term = Term(
            platform=platform, keys=keys, policy=policy, neighbours=neighbours, tenure=tenure,
            submit=coordination.put,
        )  # fmt: skip
        term.begin()
        while term.serve(coordination):
            pass
        term.leave()
    finally:
        contention.close()


class SiteAgent:
    """One site's daemon; `run` returns when stopped, or raises what made it unfit to go on."""

    def __init__(
        self,
        *,
        platform: Platform,
        keys: SiteKeys,
        policy: Policy,
        replicator: Replicator,
        neighbours: Neighbours,
    ) -> None:
        """Serve the site the keys are of."""
        self._platform = platform
        self._keys = keys
        self._policy = policy
        self._replicator = replicator
        self._neighbours = neighbours
        self._stop = threading.Event()
        self._leads = threading.Event()
        self._settled = False
        self._unfit = threading.Event()
        self._awake: list[Coordination] = []

    @property
    def site(self) -> str:
        """Return the site served."""
        return self._keys.site

    def stop(self) -> None:
        """Ask both loops to end: leadership, if held, is given up in the journal."""
        self._stop.set()
        for coordination in self._awake:
            coordination.wake()

    def run(self) -> None:
        """Follow and contend until stopped; what ends one loop ends the other, and is raised."""
        with ThreadPoolExecutor(max_workers=2, thread_name_prefix="agent") as pool:
            loops = [pool.submit(self._sessions, loop) for loop in (self._follow, self._contend)]
            for loop in loops:
                loop.add_done_callback(lambda _: self.stop())
            for loop in loops:
                loop.result()

    def _sessions(self, loop: Callable[[Coordination], None]) -> None:
        """Run a loop over sessions: one that is lost is opened again."""
        while not self._stop.is_set():
            try:
                with self._session() as coordination:
                    loop(coordination)
            except LeadershipError as error:
                _log.warning("%s", error.message)
                self._stop.wait(_RETRY_S)

    @contextmanager
    def _session(self) -> Iterator[Coordination]:
        """Open the coordination service for a while, woken when the agent stops."""
        coordination = self._neighbours.connect()
        self._awake.append(coordination)
        try:
            yield coordination
        finally:
            self._awake.remove(coordination)
            coordination.close()

    def _follow(self, coordination: Coordination) -> None:
        while not self._stop.is_set():
            try:
                self._replicator.pull(coordination)
                self._replicator.endorse(coordination, leads=self._leads.is_set())
            except IntegrityError as error:
                # What does not verify is neither kept nor cosigned; the others are not held up.
                _log.error("%s", error)
                self._stop.wait(_LOOK_S)
            coordination.await_change(_LOOK_S)

    def _contend(self, coordination: Coordination) -> None:
        if self.site in self._platform.arbiters() or self._unfit.is_set():
            self._stop.wait()
            return
        self._let_preferred_go_first()
        contention = coordination.contend(self.site)
        try:
            while not self._stop.is_set():
                tenure = self._try_lead(coordination, contention)
                if tenure is not None:
                    self._lead(coordination, tenure)
                    return
                coordination.await_change(_LOOK_S)
        finally:
            contention.close()

    def _let_preferred_go_first(self) -> None:
        """When the sites start together, the first in order may need a moment to be there."""
        policy = self._platform.policy
        if not self._settled and self.site != policy.site_order[0]:
            self._stop.wait(policy.hold_off_ms / 1000)
        self._settled = True

    def _try_lead(self, coordination: Coordination, contention: Contention) -> LeasedTenure | None:
        if coordination.leader() is not None:
            return None
        standing = judge_standing(
            self.site, order=self._platform.policy.site_order,
            arbiters=self._platform.arbiters(), present=contention.present() - {self.site},
            gap_free=True, hold_off_ms=self._platform.policy.hold_off_ms,
        )  # fmt: skip
        if standing.wait_ms and self._stop.wait(standing.wait_ms / 1000):
            return None
        return contention.try_lead() if standing.stands else None

    def _lead(self, coordination: Coordination, tenure: LeasedTenure) -> None:
        _log.info("%s leads under epoch %d", self.site, tenure.epoch)
        try:
            term = Term(
                platform=self._platform, keys=self._keys, policy=self._policy,
                neighbours=self._neighbours, tenure=tenure, submit=self._submit,
            )  # fmt: skip
            term.begin()
            self._leads.set()
            while not self._stop.is_set():
                if not term.serve(coordination):
                    coordination.await_change(_LOOK_S)
            term.leave()
        except IntegrityError as error:
            # Standing again would keep a site that can fold this journal from leading.
            self._unfit.set()
            _log.error("%s; this site follows, and leads no more until restarted", error)
        finally:
            self._leads.clear()
            tenure.leave()

    def _submit(self, item: InboxItem) -> None:
        """Put a report into the inbox, on a session of its own: ours may have ended."""
        while not self._stop.is_set():
            try:
                with self._session() as coordination:
                    coordination.put(item)
                return
            except LeadershipError as error:
                _log.warning("report not delivered yet: %s", error.message)
                self._stop.wait(_RETRY_S)
