"""The composition root: the only file that knows everyone.

`App` is what a command gets: the platform, and the few services it may call. Doors are
imported when a service is first needed, so that `sisamu --help` stays quick.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sisamu_ops.model.errors import ConfigurationError, FailedError, LeadershipError, SisamuError

if TYPE_CHECKING:
    from sisamu_ops.agent import Neighbours, SiteAgent
    from sisamu_ops.doctor import Check
    from sisamu_ops.doors.playbooks import AnsiblePlaybooks
    from sisamu_ops.doors.ssh import SshTargets
    from sisamu_ops.failover.plan import Plan
    from sisamu_ops.failover.reading import ModeReading, Reading
    from sisamu_ops.failover.request import Envelope, Request, Verb
    from sisamu_ops.failover.state import State
    from sisamu_ops.journal.entry import Entry
    from sisamu_ops.journal.keys import Policy as TrustPolicy
    from sisamu_ops.journal.keys import SiteKeys
    from sisamu_ops.journal.port import JournalReader
    from sisamu_ops.journal.replicate import Replicator
    from sisamu_ops.journal.verify import VerifyReport
    from sisamu_ops.lab.lab import Lab
    from sisamu_ops.leadership.port import Coordination, Leadership
    from sisamu_ops.model.platform import Platform, Samu
    from sisamu_ops.model.token import Token

#: How long a command waits for ZooKeeper before it looks at the replicas, in seconds.
CONNECT_S = 3.0
LOCAL_SITE = "local"
#: The site number of tokens typed by hand: the highest there is, no site's own.
HAND_SLOT = 15


@dataclass(frozen=True, kw_only=True)
class Options:
    """What every command accepts; each also as an environment variable, SISAMU_…."""

    inventory: Path
    coordination: str = ""
    state_dir: Path | None = None
    identity: Path | None = None


@dataclass(frozen=True, kw_only=True)
class JournalView:
    """The journal as it could be read: its entries, their fold, and where from."""

    entries: Sequence[Entry]
    state: State
    source: str
    live: bool


def utc_now() -> datetime:
    """Return the time, in UTC."""
    return datetime.now(UTC)


class App:
    """The platform of one inventory and the services on it."""

    def __init__(self, options: Options) -> None:
        """Keep the options; nothing is read yet."""
        self.options = options

    @cached_property
    def platform(self) -> Platform:
        """Read the inventory; ConfigurationError with every problem at once."""
        from sisamu_ops.doors.inventory import load_platform

        return load_platform(self.options.inventory)

    @cached_property
    def trust(self) -> TrustPolicy:
        """Read whose signatures count."""
        from sisamu_ops.journal.keys import load_policy

        if self.is_local:
            self._make_local_trust()
            return load_policy(self.state_dir / "policy.json")
        return load_policy(self.platform.policy.verify_policy)

    @property
    def is_local(self) -> bool:
        """Say whether the coordination is one directory."""
        chosen = self.options.coordination or self.platform.policy.coordination
        if chosen not in ("local", "zookeeper"):
            raise ConfigurationError(
                f"sisamu_coordination is {chosen!r}",
                place=str(self.options.inventory),
                remedy="use zookeeper or local",
            )
        return chosen == "local"

    @property
    def state_dir(self) -> Path:
        """Return the directory of the local coordination."""
        return self.options.state_dir or Path.home() / ".local/state/sisamu"

    @property
    def identity(self) -> Path:
        """Return the operator's SSH key; ConfigurationError when none is named."""
        chosen = self.options.identity or self.platform.policy.identity
        if chosen is None:
            raise ConfigurationError(
                "no identity: requests are signed with your SSH key",
                remedy="name it with --identity or SISAMU_IDENTITY",
            )
        return chosen

    def enter(self) -> App:
        """Stand at the operator's desk when the platform lives in namespaces."""
        from sisamu_ops.doors.namespace import enter_namespace

        if self.platform.policy.network_namespace:
            enter_namespace(self.platform.policy.network_namespace)
        return self

    def connect(self, wait_s: float = CONNECT_S) -> Coordination:
        """Open the coordination service; LeadershipError when it cannot be reached."""
        if self.is_local:
            from sisamu_ops.doors.local import LocalCoordination

            return LocalCoordination(self.state_dir)
        from sisamu_ops.doors.zookeeper import ZooKeeperCoordination

        policy = self.platform.policy
        return ZooKeeperCoordination(
            policy.zookeeper,
            policy.platform,
            timeout_ms=policy.session_timeout_ms,
            tick_ms=policy.tick_ms,
            wait_s=wait_s,
        )

    @contextmanager
    def coordination(self) -> Iterator[Coordination]:
        """Open the coordination service for a while."""
        coordination = self.connect()
        try:
            yield coordination
        finally:
            coordination.close()

    def targets(self, key: Path | None = None) -> SshTargets:
        """Reach the fences over SSH, with the operator's key unless another is given."""
        from sisamu_ops.doors.ssh import SshTargets

        policy = self.platform.policy
        return SshTargets(
            self.platform.targets, key=key or self.identity, known_hosts=policy.known_hosts
        )

    def playbooks(self, home: Path, key: Path) -> AnsiblePlaybooks:
        """Run playbooks, keeping their logs below `home`."""
        from sisamu_ops.doors.playbooks import AnsiblePlaybooks

        return AnsiblePlaybooks(
            playbooks=playbook_directory(),
            inventory=self.options.inventory.resolve(),
            home=home,
            ssh_key=key,
        )

    # --- reading the journal ------------------------------------------------------------

    def journal(self) -> JournalView:
        """Read the journal: from the coordination service, else from any replica reached."""
        try:
            with self.coordination() as coordination:
                source = "local directory" if self.is_local else "ZooKeeper"
                return self._view(coordination, source, live=True)
        except LeadershipError as error:
            with tempfile.TemporaryDirectory(prefix="sisamu-") as directory:
                copies = self.copy_replicas(Path(directory))
                if not copies:
                    raise error
                return self._newest(copies)

    def _view(self, reader: JournalReader, source: str, *, live: bool) -> JournalView:
        from sisamu_ops.failover.state import State
        from sisamu_ops.journal.replicate import read_entry

        entries, state = [], State()
        for index, leaf in enumerate(reader.read(0, reader.size())):
            entry = read_entry(leaf, index=index, policy=self.trust)
            state.apply(entry)
            entries.append(entry)
        return JournalView(entries=entries, state=state, source=source, live=live)

    def _newest(self, copies: Mapping[str, Path]) -> JournalView:
        from sisamu_ops.journal.reader import LocalFiles, ReplicaReader

        views = [
            self._view(ReplicaReader(LocalFiles(path)), f"replica of {site}", live=False)
            for site, path in copies.items()
        ]
        return max(views, key=lambda view: view.state.size)

    def copy_replicas(self, destination: Path) -> dict[str, Path]:
        """Copy the replica of every site that answers; return where each copy is."""
        if self.is_local:
            return {LOCAL_SITE: self.state_dir / "journal"}
        from sisamu_ops.doors.ssh import fetch_directory

        found = {}
        for site in self.platform.sites.values():
            copy = destination / site.site_id
            with suppress(SisamuError):
                fetch_directory(
                    site.address,
                    "root",
                    str(site.home / "journal"),
                    copy,
                    key=self.identity,
                    known_hosts=self.platform.policy.known_hosts,
                )
                found[site.site_id] = copy
        return found

    def verify_replicas(
        self, policy: TrustPolicy, known: Sequence[bytes]
    ) -> dict[str, VerifyReport]:
        """Copy the replica of every site that answers, and verify each copy."""
        with tempfile.TemporaryDirectory(prefix="sisamu-") as directory:
            copies = self.copy_replicas(Path(directory))
            return {site: verify_copy(copy, policy, known) for site, copy in copies.items()}

    # --- reading the platform -----------------------------------------------------------

    def read_modes(self, samus: Collection[Samu]) -> Mapping[str, ModeReading]:
        """Read every router now and judge each SAMU's mode; unreachable routers say so."""
        from sisamu_ops.failover.reading import judge_mode

        readings = self.targets().read(self.platform.routers)
        now = utc_now()
        return {
            s.samu_id: judge_mode(s.samu_id, self.platform.routers, readings, now) for s in samus
        }

    def read_targets(self, hosts: Collection[str]) -> Mapping[str, Reading]:
        """Read the fences of these targets now."""
        return self.targets().read(hosts)

    def status(self) -> dict[str, Any]:
        """Return the platform at a glance; never fails for want of a leader or ZooKeeper."""
        from sisamu_ops.failover.overview import samu_facts, site_facts

        view, leader, notes, present = self._glance()
        samus = list(self.platform.samus.values())
        modes = self.read_modes(samus)
        cosigned, agreed_size = self._endorsed(notes)
        return {
            "platform": self.platform.policy.platform,
            "leader": {
                "site": leader.site if leader else None,
                "epoch": leader.epoch if leader else view.state.epoch,
            },
            "sites": site_facts(
                self.platform,
                leader=leader.site if leader else "",
                present=present,
                cosigned=cosigned,
            ),
            "journal": {
                "size": view.state.size,
                "agreed_size": agreed_size,
                "source": view.source,
                "live": view.live,
                "newest_at": view.entries[-1].time if view.entries else None,
            },
            "samus": [samu_facts(s, view.state, modes[s.samu_id]) for s in samus],
        }

    def _glance(
        self,
    ) -> tuple[JournalView, Leadership | None, Mapping[str, bytes], frozenset[str]]:
        """Read journal, leader and notes in one session; without one, the newest replica."""
        try:
            with self.coordination() as coordination:
                source = "local directory" if self.is_local else "ZooKeeper"
                view = self._view(coordination, source, live=True)
                present = coordination.contenders()
                return view, coordination.leader(), coordination.published(), present
        except LeadershipError:
            with tempfile.TemporaryDirectory(prefix="sisamu-") as directory:
                copies = self.copy_replicas(Path(directory))
                notes = {site: _checkpoint_of(path) for site, path in copies.items()}
                view = self._newest(copies) if copies else self._nothing()
                return view, None, notes, frozenset()

    def _nothing(self) -> JournalView:
        from sisamu_ops.failover.state import State

        return JournalView(entries=[], state=State(), source="nowhere", live=False)

    def _endorsed(self, notes: Mapping[str, bytes]) -> tuple[dict[str, int], int]:
        """Return how far each site cosigned, and the largest size a majority did."""
        from sisamu_ops.journal.replicate import cosigned_sizes

        sizes = cosigned_sizes(notes.values(), self.trust)
        ranked = sorted(sizes.values(), reverse=True)
        enough = self.trust.threshold
        return sizes, ranked[enough - 1] if len(ranked) >= enough else 0

    def samu_facts(self, wanted: str) -> dict[str, Any]:
        """Return one SAMU as read now, beside what the journal intends."""
        from sisamu_ops.failover.overview import samu_facts

        samu = self.platform.samu(wanted)
        view = self._glance()[0]
        mode = self.read_modes([samu])[samu.samu_id]
        gateway = self.read_targets([samu.gateway])[samu.gateway]
        facts = samu_facts(samu, view.state, mode)
        return facts | {"gateway": gateway.describe(samu.samu_id, "unarmed")}

    def card(self, wanted: str) -> dict[str, Any]:
        """Return what one needs to act by hand on a SAMU, with a break-glass token."""
        from sisamu_ops.failover.request import rfc3339
        from sisamu_ops.model.token import Token, break_glass_epoch

        samu = self.platform.samu(wanted)
        readings = self.read_targets([*self.platform.routers, samu.gateway])
        facts = self.samu_facts(wanted)
        epochs = [r.last.epoch for r in readings.values() if r.last]
        highest = max([self._glance()[0].state.epoch, *epochs])
        token = Token(break_glass_epoch(highest, HAND_SLOT), 1)
        return facts | {
            "printed_at": rfc3339(utc_now()),
            "fallback_numbers": list(samu.fallback_numbers),
            "bridge": samu.bridge or self.platform.policy.bridge,
            "token": str(token),
            "to_backup": self._by_hand("samu_failover.yml", samu, "backup", token),
            "to_nominal": self._by_hand(
                "samu_failback.yml", samu, "nominal", Token(token.epoch, 2)
            ),
        }

    def _by_hand(self, playbook: str, samu: Samu, to: str, token: Token) -> str:
        """Return the plain command line, broken to fit a page."""
        namespace = self.platform.policy.network_namespace
        enter = f"ip netns exec {namespace} " if namespace else ""
        return " \\\n    ".join(
            [
                f"{enter}ansible-playbook",
                f"-i {self.options.inventory} playbooks/{playbook}",
                f"-e sisamu_samus={samu.samu_id} -e sisamu_to={to}",
                f"-e sisamu_token={token}",
            ]
        )

    def diagnose(self) -> list[Check]:
        """Check key, authorisation, leader, replicas and targets."""
        from sisamu_ops.doctor import Doctor

        with tempfile.TemporaryDirectory(prefix="sisamu-") as directory:
            return Doctor(
                platform=self.platform,
                principal=self._principal,
                connect=self.connect,
                sites_reached=lambda: self.copy_replicas(Path(directory)),
                read_targets=lambda: self.read_targets(self.platform.targets),
            ).examine()

    def _principal(self) -> str:
        """Return who the operator's key signs as, or an empty string."""
        from sisamu_ops.doors import openssh
        from sisamu_ops.failover.request import NAMESPACE

        probe = b"sisamu doctor"
        signature = openssh.sign(probe, self.identity, NAMESPACE)
        return openssh.find_principal(probe, signature, self.platform.policy.allowed_signers)

    def allowed_paths(self) -> Callable[[str, int], frozenset[str]]:
        """Return which paths a SAMU's calls may take at an instant, by the journal."""
        from sisamu_ops.failover.timeline import paths_allowed

        return paths_allowed(self._glance()[0].state)

    def plan(self, verb: Verb, samus: Sequence[str], to: str) -> Plan:
        """Plan a move from one snapshot, as the leader will judge it."""
        from sisamu_ops.failover.plan import build_plan, check_direction

        platform = self.platform
        chosen = [platform.samu(s) for s in samus]
        wanted = check_direction(verb, to, platform.policy.mode_order)
        state = self.journal().state
        readings = self.read_targets([*platform.routers, *(s.gateway for s in chosen)])
        return build_plan(
            platform=platform,
            state=state,
            verb=verb,
            samus=[s.samu_id for s in chosen],
            to=wanted,
            readings=readings,
            read_at=utc_now(),
        )

    # --- requests -----------------------------------------------------------------------

    def sign(self, request: Request) -> Envelope:
        """Sign a request with the operator's key."""
        from sisamu_ops.doors import openssh
        from sisamu_ops.failover.request import NAMESPACE, Envelope

        document = request.document()
        signature = openssh.sign(document, self.identity, NAMESPACE)
        principal = openssh.find_principal(
            document, signature, self.platform.policy.allowed_signers
        )
        return Envelope(document=document.decode(), signature=signature, principal=principal)

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
    ) -> Request:
        """Make a request for this platform."""
        from sisamu_ops.failover.request import new_request

        return new_request(
            platform=self.platform.policy.platform,
            verb=verb,
            reason=reason,
            now=utc_now(),
            lifetime=lifetime,
            samus=[self.platform.samu(s).samu_id for s in samus],
            to=to,
            targets=[self.platform.host(t).host for t in targets],
            plan=plan,
        )

    def submit(
        self, request_id: str, envelope: Envelope, tell: Callable[[Entry], None]
    ) -> JournalView:
        """Submit a request and follow it to its end; RefusedError when it is refused."""
        from sisamu_ops.failover.submit import submit

        self.trust  # noqa: B018 - a missing policy is said before anything is sent
        with self.coordination() as coordination:
            serve = self._local_service(coordination) if self.is_local else None
            state, entries = submit(
                coordination,
                self.trust,
                request_id,
                envelope,
                tell=tell,
                serve=serve,
                session_timeout_s=self.platform.policy.session_timeout_ms / 1000,
            )
        return JournalView(entries=entries, state=state, source="live", live=True)

    def enrol_missing(self, reason: str, tell: Callable[[Entry], None]) -> None:
        """Enrol every target that has no fence file yet; nothing is asked when all have one."""
        from sisamu_ops.failover.request import Verb

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

    def follow(self, request_id: str, tell: Callable[[Entry], None]) -> JournalView:
        """Follow an operation or request to its end from what is journalled already."""
        from sisamu_ops.failover.submit import follow

        with self.coordination() as coordination:
            state, entries = follow(coordination, self.trust, request_id, tell=tell)
        return JournalView(entries=entries, state=state, source="live", live=True)

    # --- the site daemon ----------------------------------------------------------------

    def neighbours(self, home: Path, key: Path) -> Neighbours:
        """Open the doors an agent acts through."""
        from sisamu_ops.agent import Neighbours
        from sisamu_ops.doors import openssh

        allowed = self.platform.policy.allowed_signers

        def signatures(document: bytes, signature: str, principal: str, namespace: str) -> bool:
            return openssh.verify(document, signature, principal, namespace, allowed)

        return Neighbours(
            connect=lambda: self.connect(self.platform.policy.session_timeout_ms / 1000),
            targets=self.targets(key),
            runner=self.playbooks(home, key),
            signatures=signatures,
            now=utc_now,
        )

    @contextmanager
    def site_agent(self, site: str, home: Path) -> Iterator[SiteAgent]:
        """Compose the daemon of one site."""
        from sisamu_ops.agent import SiteAgent
        from sisamu_ops.journal.keys import load_site_keys
        from sisamu_ops.leadership.contending import check_votes

        check_votes(self.platform)
        keys = load_site_keys(home / "keys")
        if keys.site != site or site not in self.platform.sites:
            raise ConfigurationError(
                f"the keys are those of {keys.site}, not of {site}",
                place=str(home / "keys"),
                remedy="start the agent of a site with that site's home",
            )
        with self._replicator(home, keys) as replicator:
            yield SiteAgent(
                platform=self.platform,
                keys=keys,
                policy=self.trust,
                replicator=replicator,
                neighbours=self.neighbours(home, home / "ssh/id_ed25519"),
            )

    @contextmanager
    def _replicator(self, home: Path, keys: SiteKeys) -> Iterator[Replicator]:
        """Open a site's replica for writing, for a while."""
        from sisamu_ops.journal.replica import Replica
        from sisamu_ops.journal.replicate import Replicator

        replica = Replica(home / "journal")
        try:
            yield Replicator(
                replica=replica,
                keys=keys,
                policy=self.trust,
                now_s=lambda: int(utc_now().timestamp()),
            )
        finally:
            replica.close()

    def _make_local_trust(self) -> None:
        """Make the one site of a local journal its keys and its policy, once."""
        from sisamu_ops.journal.keys import make_site_keys, write_policy

        origin = self.platform.policy.origin
        publics = make_site_keys(self.state_dir / "keys", LOCAL_SITE, origin)
        policy = self.state_dir / "policy.json"
        if not policy.exists():
            signers = self.platform.policy.allowed_signers
            text = signers.read_text() if signers.is_file() else ""
            write_policy(
                policy, origin=origin, publics=[publics], threshold=1, allowed_signers=text
            )

    def _local_service(self, coordination: Coordination) -> Callable[[], None]:
        """Return what carries out everything accepted, in this process, under the lock."""
        from sisamu_ops.agent import serve_once
        from sisamu_ops.journal.keys import load_site_keys

        keys = load_site_keys(self.state_dir / "keys")
        neighbours = self.neighbours(self.state_dir, self.identity)

        def serve() -> None:
            serve_once(
                platform=self.platform,
                keys=keys,
                policy=self.trust,
                neighbours=neighbours,
                coordination=coordination,
            )
            with self._replicator(self.state_dir, keys) as replicator:
                replicator.endorse(coordination, leads=True)

        return serve


def verify_copy(
    directory: Path, policy: TrustPolicy | None, known: Sequence[bytes]
) -> VerifyReport:
    """Verify a copied journal: needs the directory and the policy, and nothing else."""
    from sisamu_ops.doors import openssh
    from sisamu_ops.journal.reader import LocalFiles
    from sisamu_ops.journal.verify import verify_directory

    return verify_directory(
        LocalFiles(directory),
        policy,
        known_checkpoints=known,
        check_sshsig=openssh.verify_with_text,
    )


def _checkpoint_of(replica: Path) -> bytes:
    """Return the checkpoint in a copied replica, or nothing."""
    path = replica / "checkpoint"
    return path.read_bytes() if path.is_file() else b""


def playbook_directory() -> Path:
    """Find the playbooks: SISAMU_PLAYBOOKS, else beside the package's checkout."""
    chosen = os.environ.get("SISAMU_PLAYBOOKS")
    directory = Path(chosen) if chosen else Path(__file__).resolve().parent.parent / "playbooks"
    if not (directory / "samu_failover.yml").is_file():
        raise ConfigurationError(
            "no playbooks here",
            place=str(directory),
            remedy="name their directory in SISAMU_PLAYBOOKS",
        )
    return directory


def open_lab() -> Lab:
    """Return the lab of this machine, by its name in SISAMU_LAB_NAME."""
    from sisamu_ops.lab.lab import Lab

    return Lab()
