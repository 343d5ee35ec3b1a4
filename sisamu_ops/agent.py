"""The site daemon: fold, decide, act.

Two loops, each with a session of its own. One follows: every entry is verified, kept on the
site's replica and cosigned. The other keeps a fold of the journal warm, stands for leader where
the site may and is fit to, and while it leads answers the inbox and carries out what is accepted.
Losing leadership ends the second loop's turn, never the first's. With no agent at all every SAMU
keeps its mode.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from time import monotonic

from sisamu_ops.failover.answering.in_force import Rules, differing
from sisamu_ops.failover.fold.folding import Folding
from sisamu_ops.failover.request import (
    NAMESPACE,
    open_envelope,
    parse_request,
)
from sisamu_ops.following import Following
from sisamu_ops.journal.keys import Policy, SiteKeys
from sisamu_ops.journal.port import InboxItem
from sisamu_ops.journal.replicate import Replicator
from sisamu_ops.journal.splice import Spliced
from sisamu_ops.leadership.contending import judge_founding, judge_standing
from sisamu_ops.leadership.lease import heartbeat_interval_s
from sisamu_ops.leadership.port import Contention, Coordination, LeasedTenure
from sisamu_ops.model.condition import Problem, ProblemKind, read_conditions
from sisamu_ops.model.errors import (
    ConfigurationError,
    DiskError,
    IntegrityError,
    LeadershipError,
    said_of,
)
from sisamu_ops.model.platform import Platform
from sisamu_ops.term import ADOPTION, Neighbours, Term

_log = logging.getLogger(__name__)

#: How long a loop waits for a change before it looks anyway, in seconds.
_LOOK_S = 1.0
_RETRY_S = 0.5
#: How long all sites are waited for before a majority founds the journal, in seconds.
_ALL_SITES_S = 10.0
#: Leadership lost within this time makes a site wait longer before it stands again.
FLAPPING = timedelta(minutes=10)


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
        found: tuple[Problem, ...] = (),
    ) -> None:
        """Serve the site the keys are of; `found` is what was wrong with its replica."""
        self._platform = platform
        self._keys = keys
        self._policy = policy
        self._neighbours = neighbours
        self._following = Following(
            keys=keys, policy=policy, replicator=replicator, open_peer=neighbours.open_peer,
            now=neighbours.now, found=found,
            certificate=neighbours.certificate,
            slow_after_s=heartbeat_interval_s(platform.policy.session_timeout_ms),
        )  # fmt: skip
        self._own = self._following.open_own()
        self._folding = Folding(policy)
        self._stop = threading.Event()
        self._leads = threading.Event()
        self._settled = False
        self._unfounded_since = 0.0
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
            self._following.step(coordination, leads=self._leads.is_set())
            coordination.await_change(_LOOK_S)

    def _contend(self, coordination: Coordination) -> None:
        """Stand as long as the site is fit to; lead when it is its turn."""
        if self.site in self._platform.arbiters():
            self._stop.wait()
            return
        if not self._fit(coordination):
            coordination.await_change(_LOOK_S)
            return
        self._let_preferred_go_first()
        contention = coordination.contend(self.site)
        try:
            while not self._stop.is_set() and self._fit(coordination):
                tenure = self._try_lead(coordination, contention)
                if tenure is not None:
                    self._lead(coordination, tenure)
                    return
                coordination.await_change(_LOOK_S)
        finally:
            contention.close()

    def _fit(self, coordination: Coordination) -> bool:
        """Bring the fold up to date, and say whether this site may lead with it."""
        founded = coordination.founded()
        try:
            # Where no journal is founded yet, what this site holds is what it would go on from.
            self._folding.pull(Spliced(base=self._own, tail=coordination) if founded else self._own)
            self._following.extra = tuple(self._about_rules(coordination))
        except IntegrityError as error:
            self._unfold(error)
        except OSError as error:
            problem = Problem(kind=ProblemKind.DISK, message=said_of(error))
            self._following.extra = (problem,)
        return self._following.fit

    def _about_rules(self, coordination: Coordination) -> Iterator[Problem]:
        """Name what keeps a site from leading by the rules in force, if anything."""
        state, here = self._folding.state, self._neighbours.rules()
        if state.unknown_kinds:
            message = f"entries of unknown kinds: {', '.join(sorted(state.unknown_kinds))}"
            yield Problem(kind=ProblemKind.UPGRADE, message=message)
        others = differing(here.digests(), state.rules)
        if others and not self._is_asked_for(here, coordination):
            message = f"not the copy in force: {', '.join(others)}"
            yield Problem(kind=ProblemKind.RULES, message=message)

    def _is_asked_for(self, here: Rules, coordination: Coordination) -> bool:
        """Say whether an operator's adoption of just this copy waits in the inbox."""
        for item in coordination.items():
            if item.name.startswith(ADOPTION):
                with suppress(ConfigurationError):  # what is no request asks for nothing
                    envelope = open_envelope(item.payload)
                    document = envelope.document.encode()
                    asked = dict(parse_request(document).rules) == here.digests()
                    who = (envelope.signature, envelope.principal, NAMESPACE)
                    if asked and self._neighbours.signatures(document, *who):
                        return envelope.principal in self._platform.policy.operators
        return False

    def _unfold(self, error: IntegrityError) -> None:
        """Begin the fold again: what did not verify may have been folded half."""
        self._folding = Folding(self._policy)
        problem = Problem(kind=ProblemKind.UNVERIFIED, message=error.message)
        self._following.extra = (problem,)
        _log.error("%s; this site follows and does not lead", error)

    @property
    def _order(self) -> tuple[str, ...]:
        return self._folding.state.standing_order(self._platform.policy.site_order)

    def _let_preferred_go_first(self) -> None:
        """When the sites start together, the first in order may need a moment to be there."""
        policy = self._platform.policy
        if not self._settled and self.site != self._order[0]:
            self._stop.wait(policy.hold_off_ms / 1000)
        self._settled = True

    def _try_lead(self, coordination: Coordination, contention: Contention) -> LeasedTenure | None:
        if coordination.leader() is not None or not self._may_found(coordination):
            return None
        state, policy = self._folding.state, self._platform.policy
        standing = judge_standing(
            self.site, order=self._order, arbiters=self._platform.arbiters(),
            present=contention.present() - {self.site}, gap_free=True,
            hold_off_ms=policy.hold_off_ms, asked_for=state.asked_for, left_by=state.left_by,
            losses=state.losses_of(self.site, since=self._neighbours.now() - FLAPPING),
        )  # fmt: skip
        if standing.wait_ms and self._stop.wait(standing.wait_ms / 1000):
            return None
        if not standing.stands:
            return None
        return contention.try_lead(floor=state.floor, size=state.size)

    def _may_found(self, coordination: Coordination) -> bool:
        """Say whether a journal stands, or this site is the one to found it."""
        if coordination.founded():
            return True
        self._unfounded_since = self._unfounded_since or monotonic()
        conditions = read_conditions(coordination.published())
        return judge_founding(
            self.site, sizes={site: c.size for site, c in conditions.items()},
            sites=len(self._policy.sites), threshold=self._policy.threshold,
            waited=monotonic() - self._unfounded_since > _ALL_SITES_S,
        )  # fmt: skip

    def _lead(self, coordination: Coordination, tenure: LeasedTenure) -> None:
        _log.info("%s leads under epoch %d", self.site, tenure.epoch)
        self._neighbours.on_tenure(tenure)
        try:
            term = Term(
                platform=self._platform, keys=self._keys, policy=self._policy,
                neighbours=self._neighbours, tenure=tenure, submit=self._submit,
                folding=self._folding, base=self._own, present=coordination.contenders,
            )  # fmt: skip
            term.begin()
            self._leads.set()
            self._serve(term, coordination)
        except IntegrityError as error:
            self._unfold(error)
        finally:
            self._leads.clear()
            tenure.leave()

    def _serve(self, term: Term, coordination: Coordination) -> None:
        """Work until stopped, asked to hand over, or unfit while another could lead."""
        cause = "stop"
        while not self._stop.is_set():
            worked, able = self._work(term, coordination)
            if term.state.handover:
                cause = "transfer" if term.state.handover.to else "step-down"
                break
            unsuited = term.gives_way or not (able and self._following.fit)
            if unsuited and coordination.contenders() - {self.site}:
                cause = "adopt" if term.gives_way else "unfit"
                break
            if term.outgrown:
                cause = "merge"
                break
            term.trim(coordination.published().values())
            if not worked:
                coordination.await_change(term.patience_s(_LOOK_S))
        term.leave(cause)

    def _work(self, term: Term, coordination: Coordination) -> tuple[bool, bool]:
        """Serve once; say whether there was something to do, and whether this site is able to."""
        try:
            return term.serve(coordination), True
        except DiskError as error:
            _log.error("%s", error)
            return False, False

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
