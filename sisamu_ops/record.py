"""Reading the journal from wherever it can be read: the coordination service, else a replica."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sisamu_ops.failover.fold.folding import Folding
from sisamu_ops.failover.fold.state import State
from sisamu_ops.journal.entry import Entry
from sisamu_ops.journal.keys import Policy
from sisamu_ops.journal.port import JournalReader, ReplicaFiles
from sisamu_ops.journal.reader import LocalFiles, ReplicaReader
from sisamu_ops.journal.replicate import cosigned_sizes
from sisamu_ops.journal.splice import Spliced
from sisamu_ops.journal.verify import VerifyReport
from sisamu_ops.leadership.port import Coordination, Leadership
from sisamu_ops.model.condition import Condition, read_conditions
from sisamu_ops.model.errors import LeadershipError, SisamuError


@dataclass(frozen=True, kw_only=True)
class JournalView:
    """The journal as it could be read: its entries, their fold, and where from."""

    entries: Sequence[Entry]
    state: State
    source: str
    live: bool


@dataclass(frozen=True, kw_only=True)
class Glance:
    """Everything one session tells: journal, leader, who stands, how far sites cosigned."""

    view: JournalView
    leader: Leadership | None
    contenders: frozenset[str]
    cosigned: Mapping[str, int]
    agreed_size: int
    #: The oldest entry the coordination service still has, and each site's own word on itself.
    first: int
    conditions: Mapping[str, Condition]


@dataclass(frozen=True, kw_only=True)
class Record:
    """The journal of a platform, for whoever only reads it."""

    trust: Policy
    source: str
    connect: Callable[[], Coordination]
    copy_replicas: Callable[[Path], Mapping[str, Path]]
    open_replicas: Mapping[str, Callable[[], AbstractContextManager[ReplicaFiles]]]

    def journal(self) -> JournalView:
        """Read the journal; LeadershipError when neither the service nor a replica answers."""
        glance = self.glance()
        if not glance.view.live and not glance.view.entries:
            raise LeadershipError(
                "neither ZooKeeper nor any replica can be read",
                remedy="sisamu doctor says what stands in the way",
            )
        return glance.view

    def glance(self) -> Glance:
        """Read all that one session tells; without the service, the newest replica reached."""
        try:
            with self.session() as coordination:
                published = coordination.published()
                with self.whole(coordination) as reader:
                    view = self._view(reader, self.source, live=True)
                return self._glance(
                    view,
                    published.values(),
                    leader=coordination.leader(),
                    contenders=coordination.contenders(),
                    first=coordination.first(),
                    conditions=read_conditions(published),
                )
        except LeadershipError:
            return self._glance_at_replicas()

    @contextmanager
    def session(self) -> Iterator[Coordination]:
        """Open the coordination service for a while; LeadershipError when it is out of reach."""
        coordination = self.connect()
        try:
            yield coordination
        finally:
            coordination.close()

    @contextmanager
    def whole(self, coordination: Coordination) -> Iterator[JournalReader]:
        """Read the whole journal: what the service has trimmed from the first site that has it.

        LeadershipError when no replica that reaches far enough can be reached.
        """
        first = coordination.first()
        with ExitStack() as stack:
            yield self._spliced(stack, coordination, first) if first else coordination

    def _spliced(self, stack: ExitStack, tail: JournalReader, first: int) -> JournalReader:
        for open_replica in self.open_replicas.values():
            with suppress(SisamuError, OSError):  # the next site may answer
                base = ReplicaReader(stack.enter_context(open_replica()))
                if base.size() >= first:
                    return Spliced(base=base, tail=tail)
        raise LeadershipError(
            f"the first {first} entries are at the sites, and none of them can be read",
            remedy="sisamu doctor says what stands in the way",
        )

    def verify_replicas(self, verify: Callable[[Path], VerifyReport]) -> dict[str, VerifyReport]:
        """Copy the replica of every site that answers, and verify each copy."""
        with self._copies() as copies:
            return {site: verify(copy) for site, copy in copies.items()}

    @contextmanager
    def _copies(self) -> Iterator[Mapping[str, Path]]:
        with tempfile.TemporaryDirectory(prefix="sisamu-") as directory:
            yield self.copy_replicas(Path(directory))

    def _glance_at_replicas(self) -> Glance:
        with self._copies() as copies:
            notes = [note for path in copies.values() if (note := _checkpoint_of(path))]
            views = [
                self._view(ReplicaReader(LocalFiles(path)), f"replica of {site}", live=False)
                for site, path in copies.items()
            ]
        nothing = JournalView(entries=[], state=State(), source="nowhere", live=False)
        newest = max(views, key=lambda view: view.state.size, default=nothing)
        return self._glance(
            newest, notes, leader=None, contenders=frozenset(), first=0, conditions={}
        )

    def _glance(
        self,
        view: JournalView,
        notes: Iterable[bytes],
        *,
        leader: Leadership | None,
        contenders: frozenset[str],
        first: int,
        conditions: Mapping[str, Condition],
    ) -> Glance:
        sizes = cosigned_sizes(notes, self.trust)
        ranked = sorted(sizes.values(), reverse=True)
        enough = self.trust.threshold
        return Glance(
            view=view,
            leader=leader,
            contenders=contenders,
            cosigned=sizes,
            first=first,
            conditions=conditions,
            agreed_size=ranked[enough - 1] if len(ranked) >= enough else 0,
        )

    def _view(self, reader: JournalReader, source: str, *, live: bool) -> JournalView:
        folding = Folding(self.trust)
        entries = folding.pull(reader)
        return JournalView(entries=entries, state=folding.state, source=source, live=live)


def _checkpoint_of(replica: Path) -> bytes:
    """Return the checkpoint in a copied replica, or nothing."""
    path = replica / "checkpoint"
    return path.read_bytes() if path.is_file() else b""
