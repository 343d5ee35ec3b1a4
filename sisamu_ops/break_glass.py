"""Breaking the glass: a site that reaches no leader acts alone, in a log of its own.

The log lives below the site's home, `break-glass/<n>/`, on the embedded coordination. What the
site knows of the journal is its replica; what it does is for the leader to merge later. Nothing is
begun, and nothing signed for, while a leader can be reached.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sisamu_ops.doors.local import LocalCoordination, read_epoch
from sisamu_ops.failover.asking.submit import Tell, submit
from sisamu_ops.failover.break_glass import Alone, judge_alone, own_epoch
from sisamu_ops.failover.fold.folding import Folding
from sisamu_ops.failover.fold.state import State
from sisamu_ops.failover.ports import Targets
from sisamu_ops.failover.request import Envelope, Request, accepted_envelope, parse_request
from sisamu_ops.failover.telling.overview import ALONE_DUE, second_due_facts
from sisamu_ops.journal.checkpoint import parse_checkpoint
from sisamu_ops.journal.glass_log import BEGUN, log_keys, log_number, log_origin, log_policy
from sisamu_ops.journal.keys import Policy, SiteKeys
from sisamu_ops.journal.reader import LocalFiles, ReplicaReader
from sisamu_ops.journal.replica import Replica
from sisamu_ops.journal.replicate import Replicator
from sisamu_ops.leadership.port import Coordination, Leadership
from sisamu_ops.model.errors import ConfigurationError, LeadershipError, RefusedError
from sisamu_ops.model.platform import Platform
from sisamu_ops.record import JournalView
from sisamu_ops.term import Neighbours, Term, serve_until_idle

#: Where a site keeps its own logs, below its home.
LOGS = "break-glass"


@dataclass(frozen=True, kw_only=True)
class OwnLog:
    """One log of a site: where it is, its origin, and how much of it the journal has closed."""

    directory: Path
    origin: str
    merged_size: int

    @property
    def number(self) -> int:
        """Return its number at the site."""
        return log_number(self.origin)


@dataclass(frozen=True)
class Outlook:
    """What a site sees: whether another leads, and the highest epoch in use, 0 if unread."""

    alone: Alone
    epoch: int


@dataclass(frozen=True, kw_only=True)
class BreakGlass:
    """What a site can do alone; `neighbours` opens its doors for runs kept in a directory.

    `targets` are those of its neighbours, too.
    """

    platform: Platform
    keys: SiteKeys
    trust: Policy
    home: Path
    targets: Targets
    neighbours: Callable[[Path], Neighbours]
    connect: Callable[[], Coordination]
    now: Callable[[], datetime]

    # --- reading ------------------------------------------------------------------------

    def logs(self) -> list[OwnLog]:
        """Return this site's logs, oldest first."""
        return self._logs(self._journal())

    def facts(self, log: OwnLog) -> dict[str, Any]:
        """Return what a log holds, how far it is merged, and whose second signature is due."""
        view = self.view(log)
        return {
            "number": log.number,
            "origin": log.origin,
            "begun_at": view.entries[0].time if view.entries else None,
            "size": view.state.size,
            "epoch": view.state.epoch,
            "merged_size": log.merged_size,
            "operations": list(view.state.operations),
            "second_due": self._due(view),
        }

    def view(self, log: OwnLog) -> JournalView:
        """Read a log, every entry verified."""
        folding = Folding(self._policy(log.origin))
        entries = folding.pull(ReplicaReader(LocalFiles(log.directory / "journal")))
        return JournalView(entries=entries, state=folding.state, source=log.origin, live=True)

    def due(self, log: OwnLog) -> Envelope:
        """Return the first request of a log that still lacks its second signature."""
        view = self.view(log)
        due = {one["operation"] for one in self._due(view)}
        for entry in view.entries:
            if entry.kind == "request.accepted" and entry.data["id"] in due:
                return accepted_envelope(entry)
        raise ConfigurationError(
            "no second signature is due", place=log.origin, remedy="leave --out out"
        )

    def _due(self, view: JournalView) -> list[dict[str, Any]]:
        """Return whose second signature is due, by the log and by what the journal took since."""
        merged = self._journal().operations
        return [
            one | {"rule": ALONE_DUE}
            for one in second_due_facts(view.state, self.now())
            if one["operation"] not in merged or merged[one["operation"]].second_due
        ]

    def find(self, number: int) -> OwnLog:
        """Return one of this site's logs; ConfigurationError when there is none of that number."""
        for log in self.logs():
            if log.number == number:
                return log
        raise ConfigurationError(
            f"this site has no log {number}",
            place=str(self.home / LOGS),
            remedy=f"list them: sisamu break-glass list --site {self.keys.site}",
        )

    def _logs(self, journal: State) -> list[OwnLog]:
        parent = self.home / LOGS
        names = [p.name for p in parent.iterdir()] if parent.is_dir() else []
        return [self._log(n, journal) for n in sorted(int(n) for n in names if n.isdigit())]

    def _log(self, number: int, journal: State) -> OwnLog:
        platform = self.platform.policy.platform
        origin = log_origin(platform, self.keys.site, number)
        merged = journal.merged.get(origin)
        return OwnLog(
            directory=self.home / LOGS / str(number), origin=origin,
            merged_size=merged.closed_size if merged else 0,
        )  # fmt: skip

    def _journal(self) -> State:
        """Fold the site's replica; IntegrityError when it does not verify."""
        folding = Folding(self.trust)
        folding.pull(self._replica())
        return folding.state

    def _replica(self) -> ReplicaReader:
        return ReplicaReader(LocalFiles(self.home / "journal"))

    def _policy(self, origin: str) -> Policy:
        policy = log_policy(self.trust, origin)
        if policy is None:
            raise ConfigurationError(
                f"the policy does not know {self.keys.site}",
                place=str(self.home),
                remedy="give the site the policy of its platform",
            )
        return policy

    # --- acting -------------------------------------------------------------------------

    def look(self, request: Request) -> Outlook:
        """Look for a leader, and at the fences of what a request moves, at the same time.

        A leader is waited for as long as a takeover lasts, where one may be elected.
        """
        with ThreadPoolExecutor(max_workers=1) as aside:
            fenced = aside.submit(self._fenced, request)
            leader, epoch = self._look_for_leader()
        alone = Alone(site=self.keys.site, leader=leader.site if leader else "")
        return Outlook(alone, max(epoch, fenced.result()))

    def _look_for_leader(self) -> tuple[Leadership | None, int]:
        """Return who leads, and the counter of epochs: nobody and 0 where the site is cut off."""
        with suppress(LeadershipError):
            coordination = self.connect()
            try:
                return self._await_leader(coordination), coordination.epoch()
            finally:
                coordination.close()
        return None, 0

    def _fenced(self, request: Request) -> int:
        """Return the highest epoch that the fences within reach have taken."""
        gateways = [self.platform.samu(s).gateway for s in request.samus]
        readings = self.targets.read([*self.platform.routers, *gateways])
        return max((r.last.epoch for r in readings.values() if r.last), default=0)

    def check(self, request: Request, approvers: tuple[str, ...], outlook: Outlook) -> None:
        """Refuse what would be refused, before anything is signed or begun."""
        found = judge_alone(request, request.to, approvers, outlook.alone)
        blocking = [f for f in found if f.blocks]
        if blocking:
            raise RefusedError(
                "; ".join(f.message for f in blocking),
                place=f"rule {', '.join(f.rule for f in blocking)}",
                remedy="; ".join(dict.fromkeys(f.remedy for f in blocking)),
            )

    def start(self, envelope: Envelope, outlook: Outlook, tell: Tell) -> JournalView:
        """Carry a request out here and now; RefusedError, or LeadershipError when one runs."""
        request = parse_request(envelope.document.encode())
        self.check(request, envelope.approvers(), outlook)
        log = self._open_log()
        coordination = LocalCoordination(log.directory)
        policy = self._policy(log.origin)
        state, entries = submit(
            coordination, coordination, policy, request.request_id, envelope, tell=tell,
            serve=lambda _, told: self._serve(log, coordination, outlook, told),
            session_timeout_s=0,
        )  # fmt: skip
        return JournalView(entries=entries, state=state, source=log.origin, live=True)

    def _await_leader(self, coordination: Coordination) -> Leadership | None:
        deadline = time.monotonic() + 2 * self.platform.policy.session_timeout_ms / 1000 + 2
        while (leader := coordination.leader()) is None and time.monotonic() < deadline:
            coordination.await_change(0.5)
        return leader

    def _open_log(self) -> OwnLog:
        """Return the newest log, a new one once the journal has closed it."""
        journal = self._journal()
        logs = self._logs(journal)
        if logs and not logs[-1].merged_size:
            return logs[-1]
        return self._log(logs[-1].number + 1 if logs else 1, journal)

    def _serve(
        self, log: OwnLog, coordination: LocalCoordination, outlook: Outlook, told: Tell
    ) -> None:
        """Lead this log as long as there is something to do, then sign it."""
        folding = self._fold_on(log, coordination)
        seen = [outlook.epoch, *self._seen(folding.state)]
        floor = own_epoch(self.keys.site, tuple(self.platform.sites), seen) - 1
        contention = coordination.contend(self.keys.site)
        tenure = contention.try_lead(floor=floor)
        if tenure is None:
            raise LeadershipError(
                "another process acts in this log", remedy="wait until it ends, then ask again"
            )
        try:
            term = Term(
                platform=self.platform, keys=self.keys, policy=self._policy(log.origin),
                neighbours=self.neighbours(log.directory), tenure=tenure,
                submit=coordination.put, folding=folding, alone=outlook.alone, on_entry=told,
            )  # fmt: skip
            self._begin(term)
            serve_until_idle(term, coordination)
            term.leave()
        finally:
            contention.close()
        self._sign(log, coordination)

    def _fold_on(self, log: OwnLog, coordination: Coordination) -> Folding:
        """Fold the replica, then this log: what a site alone knows."""
        state = self._journal()
        state.begin_own_log()
        folding = Folding(self._policy(log.origin), state)
        folding.pull(coordination)
        return folding

    def _seen(self, state: State) -> Iterator[int]:
        """Give every epoch this site knows of: by the journal and by its own logs."""
        yield state.floor
        yield from (token.epoch for token in state.held.values())
        yield from (read_epoch(log.directory) for log in self._logs(state))

    def _begin(self, term: Term) -> None:
        """Write what the log starts from, once; then settle what an earlier run left open."""
        if not term.state.size:
            note = self._replica().checkpoint() or b""
            size = parse_checkpoint(note).head.size if note else 0
            data: dict[str, Any] = {"site": self.keys.site, "checkpoint": note.decode()}
            term.writer.write(BEGUN, data | {"size": size})
        term.begin()

    def _sign(self, log: OwnLog, coordination: Coordination) -> None:
        """Sign the log as far as it is; it is this site's word alone."""
        replica = Replica(log.directory / "journal")
        try:
            Replicator(
                replica=replica, keys=log_keys(self.keys, log.origin),
                policy=self._policy(log.origin), now_s=lambda: int(self.now().timestamp()),
            ).endorse(coordination, leads=True)  # fmt: skip
        finally:
            replica.close()
