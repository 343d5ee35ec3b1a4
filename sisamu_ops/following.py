"""Following: a site's replica kept in step, and the site's word on how it is doing.

Whatever is wrong is caught here once, named, shown to the other sites and to `status`, and looked
at again the next time round: what mends by itself goes on by itself.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from time import monotonic

from sisamu_ops.failover.asking.report import make_alarm
from sisamu_ops.journal.catch_up import catch_up
from sisamu_ops.journal.keys import Policy, SiteKeys
from sisamu_ops.journal.port import OpenPeer
from sisamu_ops.journal.reader import ReplicaReader
from sisamu_ops.journal.replicate import Replicator
from sisamu_ops.leadership.port import Coordination
from sisamu_ops.model.condition import (
    PREFIX,
    Condition,
    Problem,
    ProblemError,
    ProblemKind,
    read_conditions,
)
from sisamu_ops.model.errors import ConfigurationError, IntegrityError, SisamuError, said_of
from sisamu_ops.model.platform import Certificate

_log = logging.getLogger(__name__)

#: An unchanged condition is shown again after this; three times this without one is silence.
_SHOW_S = 5.0
_SILENT_AFTER_S = 15
#: Clocks further apart than this are told.
CLOCK_TOLERANCE_S = 5.0
_ALARMING = (ProblemKind.DAMAGED, ProblemKind.ROLLED_BACK, ProblemKind.DIVERGED)


class Following:
    """One site's following of the journal; `problems` is what was wrong last time round."""

    def __init__(
        self,
        *,
        keys: SiteKeys,
        policy: Policy,
        replicator: Replicator,
        open_peer: OpenPeer,
        now: Callable[[], datetime],
        slow_after_s: float,
        certificate: Callable[[], Certificate | None] = lambda: None,
        found: tuple[Problem, ...] = (),
    ) -> None:
        """Follow with this replica; `found` is what was wrong when it was opened."""
        self._keys = keys
        self._policy = policy
        self._replicator = replicator
        self._open_peer = open_peer
        self._now = now
        self._slow_after_s = slow_after_s
        self._certificate = certificate
        self._found = found
        self._shown: tuple[float, Condition] | None = None
        self._alarmed: set[ProblemKind] = set()
        self._others: dict[str, str] = {}
        self._clocks: dict[str, float] = {}
        self._slow_s = 0.0
        self._size = 0
        self.problems: tuple[Problem, ...] = found
        self.extra: tuple[Problem, ...] = ()

    @property
    def size(self) -> int:
        """Return the size of the replica: as last known, where it cannot be told now.

        After a write that failed the replica is looked at again, and mended, which may fail too.
        """
        with suppress(OSError, IntegrityError):  # `step` names it, when it tries to write
            self._size = self._replicator.replica.size
        return self._size

    @property
    def fit(self) -> bool:
        """Say whether nothing keeps the site from leading."""
        return not any(problem.kind.unfit for problem in (*self.problems, *self.extra))

    def open_own(self) -> ReplicaReader:
        """Return a reader of this site's replica, for another thread."""
        return ReplicaReader(self._replicator.replica.files())

    def step(self, coordination: Coordination, *, leads: bool) -> None:
        """Follow once: take what is new, cosign it, and show how the site is."""
        notes = coordination.published()
        self._watch_clocks(notes)
        problems = [
            *self._follow(coordination, notes, leads=leads),
            *self._about_time(),
            *self._about_certificate(),
        ]
        self.problems = tuple(sorted(problems))
        self._raise_alarms(coordination)
        self._show(coordination)

    def _follow(
        self, coordination: Coordination, notes: Mapping[str, bytes], *, leads: bool
    ) -> Iterator[Problem]:
        try:
            self._fill_gap(coordination, notes)
            if coordination.founded():
                self._replicator.pull(coordination)
            self._replicator.scrub()
            self._replicator.endorse(coordination, leads=leads)
            self._found = ()
        except ProblemError as error:
            yield error.problem
        except IntegrityError as error:
            yield Problem(kind=ProblemKind.UNVERIFIED, message=error.message)
        except OSError as error:
            yield Problem(kind=ProblemKind.DISK, message=said_of(error))
        yield from self._found

    def _fill_gap(self, coordination: Coordination, notes: Mapping[str, bytes]) -> None:
        """Take from a peer what this site lacks and the service has no more."""
        sizes = {s: c.size for s, c in read_conditions(notes).items() if s != self._keys.site}
        if coordination.founded():
            wanted, beyond = coordination.first(), False
        else:
            wanted, beyond = max(sizes.values(), default=0), True
        for site in sorted(sizes, key=lambda s: -sizes[s]):
            if self.size >= wanted:
                return
            self._take_from(site, beyond=beyond)
        if self.size < wanted:
            message = f"entries {self.size} to {wanted - 1} are only at sites out of reach"
            raise ProblemError(Problem(kind=ProblemKind.GAP, message=message))

    def _take_from(self, site: str, *, beyond: bool) -> None:
        replica = self._replicator.replica
        try:
            with self._open_peer(site) as files:
                taken = catch_up(replica, ReplicaReader(files), self._policy, beyond=beyond)
            _log.info("took %d entries from %s", taken, site)
        except SisamuError as error:
            _log.warning("cannot catch up from %s: %s", site, error.message)

    def _watch_clocks(self, notes: Mapping[str, bytes]) -> None:
        """Compare another site's time with ours when it has just arrived."""
        for site, condition in read_conditions(notes).items():
            seen = self._others.get(site)
            self._others[site] = condition.time
            if site != self._keys.site and seen not in (None, condition.time):
                apart = datetime.fromisoformat(condition.time) - self._now()
                self._clocks[site] = apart.total_seconds()

    def _about_time(self) -> Iterator[Problem]:
        far = {s: d for s, d in self._clocks.items() if abs(d) > CLOCK_TOLERANCE_S}
        if far:
            said = ", ".join(f"{site}'s clock is {_apart(d)}" for site, d in sorted(far.items()))
            yield Problem(kind=ProblemKind.CLOCK, message=said)
        if self._slow_s > self._slow_after_s:
            message = f"a write took {self._slow_s * 1000:.0f} ms"
            yield Problem(kind=ProblemKind.SLOW, message=message)

    def _about_certificate(self) -> Iterator[Problem]:
        try:
            certificate = self._certificate()
        except ConfigurationError as error:
            yield Problem(kind=ProblemKind.CERTIFICATE, message=error.message)
            return
        if certificate is not None and certificate.ends_soon(self._now()):
            message = f"its certificate is that of {certificate}"
            yield Problem(kind=ProblemKind.CERTIFICATE, message=message)

    def _raise_alarms(self, coordination: Coordination) -> None:
        """Have the leader journal what must not be forgotten, once each time it begins."""
        kinds = {p.kind for p in self.problems if p.kind in _ALARMING}
        for problem in self.problems:
            if problem.kind in kinds - self._alarmed:
                facts = {"about": problem.kind.value, "message": problem.message}
                facts["time"] = self._now().isoformat(timespec="milliseconds")
                coordination.put(make_alarm(self._keys.site, facts, self._keys.entry))
                _log.error("%s: %s", problem.kind.value, problem.message)
        self._alarmed = kinds

    def _show(self, coordination: Coordination) -> None:
        condition = Condition(
            site=self._keys.site, version=version("sisamu-ops"), size=self.size,
            time=self._now().isoformat(timespec="milliseconds"), silent_after_s=_SILENT_AFTER_S,
            problems=(*self.problems, *self.extra), release=Path(sys.prefix).resolve().name,
        )  # fmt: skip
        if self._shown is not None:
            at, before = self._shown
            same = (before.problems, before.version) == (condition.problems, condition.version)
            if same and monotonic() - at < _SHOW_S:
                return
        began = monotonic()
        coordination.publish(PREFIX + condition.site, condition.to_bytes())
        self._slow_s = monotonic() - began
        self._shown = (began, condition)


def _apart(seconds: float) -> str:
    return f"{abs(seconds):.0f} s {'ahead' if seconds > 0 else 'behind'}"
