"""Three site agents in this process on a real ensemble, each with a replica of its own."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Lock, Thread
from typing import Any

from sisamu_ops.agent import SiteAgent
from sisamu_ops.doors.zookeeper import ZooKeeperCoordination
from sisamu_ops.failover.answering.in_force import Rules
from sisamu_ops.failover.ports import PlaybookRun, PlaybookRunner, RunEnd
from sisamu_ops.failover.request import Envelope, Verb, inbox_name, new_request
from sisamu_ops.failover.telling.overview import site_facts
from sisamu_ops.journal.durable import Disk
from sisamu_ops.journal.keys import (
    Policy,
    load_policy,
    load_site_keys,
    make_site_keys,
    write_policy,
)
from sisamu_ops.journal.port import InboxItem, ReplicaFiles
from sisamu_ops.journal.reader import LocalFiles, ReplicaReader
from sisamu_ops.journal.replica import Replica, open_or_set_aside
from sisamu_ops.journal.replicate import Replicator, cosigned_sizes
from sisamu_ops.leadership.port import Coordination, LeasedTenure
from sisamu_ops.model.condition import Problem, ProblemKind, read_conditions
from sisamu_ops.model.errors import DiskError, UnknownOutcomeError
from sisamu_ops.model.platform import Certificate, Platform, Site, SiteRole
from tests.support.waiting import await_that
from tests.support.world import ON_CALL, World, make_world, some_rules
from tests.support.zookeeper import TICK_MS

SITES = ("paris", "lyon", "lille")
TIMEOUT_MS = 2000


class FillableDisk(Disk):
    """A real disk that can be full, or read only."""

    def __init__(self) -> None:
        self.refuses = 0
        #: How many more writes there is room for; any number while None.
        self.room: int | None = None
        self._lock = Lock()

    def write(self, path: Path, content: bytes, mode: int = 0o644) -> None:
        with self._lock:
            if self.room is not None:
                self.room -= 1
                self.refuses = errno.ENOSPC if self.room < 0 else 0
            refuses = self.refuses
        if refuses:
            raise OSError(refuses, os.strerror(refuses), str(path))
        super().write(path, content, mode)

    def empty(self) -> None:
        """Make room for any number of writes, at once for the agent that writes meanwhile."""
        with self._lock:
            self.room, self.refuses = None, 0

    @property
    def full(self) -> bool:
        return self.refuses == errno.ENOSPC


@dataclass(kw_only=True)
class RunsOnDisk:
    """Playbooks that need the disk of their site before they begin, as the real ones do."""

    disk: FillableDisk
    playbooks: PlaybookRunner

    def run(
        self,
        run: PlaybookRun,
        tenure: LeasedTenure,
        on_event: Callable[[Mapping[str, Any]], None],
    ) -> RunEnd:
        if self.disk.refuses:
            raise DiskError(OSError(self.disk.refuses, os.strerror(self.disk.refuses), "runs"))
        return self.playbooks.run(run, tenure, on_event)


@dataclass(kw_only=True)
class Member:
    """One site: its home, its disk, its clock, and its agent while it runs."""

    site: str
    home: Path
    disk: FillableDisk = field(default_factory=FillableDisk)
    ahead: timedelta = timedelta()
    rules: Rules = field(default_factory=some_rules)
    certificate: Certificate | None = None
    agent: SiteAgent | None = None
    replica: Replica | None = None
    replicator: Replicator | None = None
    thread: Thread | None = None

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@dataclass(kw_only=True)
class Sites:
    """The platform of a `World`, led by three agents over ZooKeeper."""

    world: World
    platform: Platform
    trust: Policy
    members: dict[str, Member]
    hosts: str
    agent_type: type[SiteAgent] = SiteAgent
    reachable: bool = True

    def connect(self) -> ZooKeeperCoordination:
        return ZooKeeperCoordination(
            self.hosts.split(","), self.world.directory.name, timeout_ms=TIMEOUT_MS,
            tick_ms=TICK_MS, wait_s=5,
        )  # fmt: skip

    def start(self, *sites: str) -> None:
        for site in sites or SITES:
            self._start(self.members[site])

    def _start(self, member: Member) -> None:
        replica, aside = open_or_set_aside(member.home / "journal")
        replica.close()
        replica = Replica(member.home / "journal", disk=member.disk)
        keys = load_site_keys(member.home / "keys")
        found = (Problem(kind=ProblemKind.DAMAGED, message="set aside"),) if aside else ()
        member.replicator = Replicator(
            replica=replica, keys=keys, policy=self.trust,
            now_s=lambda: int(member.now().timestamp()),
        )  # fmt: skip
        neighbours = replace(
            self.world.neighbours(), runner=RunsOnDisk(
                disk=member.disk, playbooks=self.world.playbooks
            ), connect=self.connect, now=member.now, open_peer=self.open_peer,
            certificate=lambda: member.certificate,
            rules=lambda: member.rules, keep=lambda contents: frozenset({"paris", "lyon"}),
        )  # fmt: skip
        member.agent = self.agent_type(
            platform=self.platform, keys=keys, policy=self.trust, replicator=member.replicator,
            neighbours=neighbours, found=found,
        )  # fmt: skip
        member.thread = Thread(target=member.agent.run)
        member.thread.start()

    def stop(self, *sites: str) -> None:
        for site in sites or SITES:
            member = self.members[site]
            if member.agent is not None and member.thread is not None:
                member.agent.stop()
                member.thread.join()
                assert member.replicator is not None
                member.replicator.replica.close()
                member.agent = None

    @contextmanager
    def open_peer(self, site: str) -> Iterator[ReplicaFiles]:
        if not self.reachable:
            raise UnknownOutcomeError(f"{site}: no answer over SSH in time")
        yield LocalFiles(self.members[site].home / "journal")

    def replica(self, site: str) -> ReplicaReader:
        return ReplicaReader(LocalFiles(self.members[site].home / "journal"))

    def ask(self, service: Coordination, verb: Verb, **fields: object) -> str:
        """Put a request of the on-call engineer into the inbox; return its id."""
        request = new_request(
            platform=self.platform.policy.platform, verb=verb, reason="a test",
            now=datetime.now(UTC), lifetime=timedelta(minutes=5), **fields,
        )  # type: ignore[arg-type]  # fmt: skip
        document = request.document().decode()
        payload = Envelope(document=document, signature="signed", principal=ON_CALL).payload()
        name = inbox_name(request.request_id, payload)
        service.put(InboxItem(name=name, payload=payload))
        return request.request_id

    def write(self, service: Coordination, entries: int) -> None:
        """Have that many requests answered: each is at least one entry."""
        before = service.size()
        for number in range(entries):
            self.ask(service, Verb.PAUSE if number % 2 else Verb.RESUME)
        await_that(lambda: service.size() >= before + entries and not service.items())

    def await_agreed(self, service: Coordination, *sites: str) -> int:
        """Wait until these sites have cosigned all there is; return the size."""

        def holds() -> bool:
            sizes = cosigned_sizes(service.published().values(), self.trust)
            return all(sizes.get(site) == service.size() for site in sites or SITES)

        await_that(holds)
        return service.size()

    def problems(self, service: Coordination, site: str) -> set[str]:
        """Return what `status` shows of a site: the kinds of its problems."""
        facts = site_facts(
            self.platform, self.trust.sites, leader="", present=frozenset(), cosigned={},
            conditions=read_conditions(service.published()), now=datetime.now(UTC),
        )  # fmt: skip
        shown = next(one for one in facts if one["id"] == site)
        assert all(problem["remedy"] and problem["message"] for problem in shown["problems"])
        return {problem["kind"] for problem in shown["problems"]}


def make_sites(
    directory: Path, hosts: str, *, keep: int = 1000, agent_type: type[SiteAgent] = SiteAgent
) -> Sites:
    """Give a world's platform three sites, their keys and their policy.

    `hosts` is where ZooKeeper listens. Made twice in one directory, they are the same sites.
    """
    world = make_world(directory)
    homes = {site: directory / "sites" / site for site in SITES}
    origin = world.platform.policy.origin
    publics = [make_site_keys(homes[site] / "keys", site, origin) for site in SITES]
    policy = directory / "sites/policy.json"
    write_policy(policy, origin=origin, publics=publics, threshold=2, allowed_signers="")
    role = {"lille": SiteRole.ARBITER}
    platform = replace(
        world.platform,
        sites={
            site: Site(
                site_id=site, role=role.get(site, SiteRole.TELEPHONY), address="127.0.0.1",
                home=homes[site],
            )
            for site in SITES
        },
        policy=replace(
            world.platform.policy, coordination="zookeeper", site_order=("paris", "lyon"),
            hold_off_ms=200, session_timeout_ms=TIMEOUT_MS, tick_ms=TICK_MS, journal_keep=keep,
        ),
    )  # fmt: skip
    return Sites(
        world=world, platform=platform, trust=load_policy(policy), hosts=hosts,
        agent_type=agent_type,
        members={site: Member(site=site, home=homes[site]) for site in SITES},
    )  # fmt: skip
