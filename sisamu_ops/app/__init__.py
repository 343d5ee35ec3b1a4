"""The composition root: the only file that knows everyone.

`App` is what a command gets. It ties doors to the services that need them, and imports a door
when a service is first needed, so that `sisamu --help` stays quick.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from sisamu_ops.model.errors import (
    ConfigurationError,
    DiskError,
    LeadershipError,
    RefusedError,
)

if TYPE_CHECKING:
    from sisamu_ops.agent import SiteAgent
    from sisamu_ops.app.signing import Signing
    from sisamu_ops.break_glass import BreakGlass
    from sisamu_ops.desk import Desk
    from sisamu_ops.doctor import Check
    from sisamu_ops.doors.playbooks import AnsiblePlaybooks
    from sisamu_ops.doors.ssh import SshTargets
    from sisamu_ops.failover.answering.in_force import Rules
    from sisamu_ops.failover.asking.submit import Tell
    from sisamu_ops.failover.ports import DatabaseWord, Experiments
    from sisamu_ops.journal.keys import Policy as TrustPolicy
    from sisamu_ops.journal.keys import SiteKeys
    from sisamu_ops.journal.port import ReplicaFiles
    from sisamu_ops.journal.replicate import Replicator
    from sisamu_ops.journal.verify import VerifyReport
    from sisamu_ops.lab.lab import Lab
    from sisamu_ops.leadership.port import Coordination
    from sisamu_ops.model.condition import Problem
    from sisamu_ops.model.platform import Certificate, Credentials, Platform
    from sisamu_ops.quorum.provider import Provider
    from sisamu_ops.record import Record
    from sisamu_ops.term import Neighbours

#: How long a command waits for ZooKeeper before it looks at the replicas, in seconds.
CONNECT_S = 3.0
LOCAL_SITE = "local"
#: What tells the lab's inventory which lab it is about: a line for another shell needs it too.
LAB_VARIABLES = ("SISAMU_LAB_NAME", "SISAMU_LAB_ROOT")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What every command accepts; each also as an environment variable, SISAMU_…."""

    inventory: Path
    coordination: str = ""
    state_dir: Path | None = None
    identity: Path | None = None


def utc_now() -> datetime:
    """Return the time, in UTC."""
    return datetime.now(UTC)


class App:
    """The platform of one inventory, and the services on it."""

    def __init__(self, options: Options) -> None:
        """Keep the options; nothing is read yet."""
        self.options = options

    def with_inventory(self, inventory: Path) -> App:
        """Return the same command's services on the platform of another inventory."""
        return App(replace(self.options, inventory=inventory))

    # --- what commands call -------------------------------------------------------------

    def enter(self) -> App:
        """Stand at the operator's desk when the platform lives in namespaces."""
        return self._enter(self.platform.policy.network_namespace)

    def _enter(self, namespace: str) -> App:
        from sisamu_ops.doors.namespace import enter_namespace

        if namespace:
            enter_namespace(namespace)
        return self

    @cached_property
    def platform(self) -> Platform:
        """Read the inventory; ConfigurationError with every problem at once."""
        _give_ansible_room()
        from sisamu_ops.doors.inventory import load_platform

        return load_platform(self.options.inventory)

    def open_record(self) -> Record:
        """Return the journal, from where it can be read: a local one needs no network."""
        return self.record if self.is_local else self.enter().record

    @cached_property
    def record(self) -> Record:
        """Return the journal, for reading."""
        from sisamu_ops.record import Record

        return Record(
            trust=self.trust,
            source="local directory" if self.is_local else "ZooKeeper",
            connect=self.connect,
            copy_replicas=self.copy_replicas,
            open_replicas=self._replicas(),
        )

    @cached_property
    def desk(self) -> Desk:
        """Return the operator's services."""
        from sisamu_ops.desk import Desk

        return Desk(
            platform=self.platform,
            record=self.record,
            targets=self.targets(self.identity),
            sign=self.signing.sign,
            now=utc_now,
            ansible_playbook=self._ansible_playbook(),
            rules=self.rules,
            database=partial(self._database_word, self.identity),
            match=self._match_hosts,
            plans=self.state_dir / "plans",
            check_mode=self._playbooks(self.state_dir, self.identity).check,
            experiments=self.experiments(),
            serve=self._serve_here if self.is_local else None,
        )

    def chaos_ground(self) -> Lab:
        """Return where faults may be injected: the lab; RefusedError on any other platform."""
        if not self.platform.policy.is_lab:
            raise RefusedError(
                f"{self.platform.policy.platform} is not a lab: no fault is injected there",
                place=str(self.options.inventory),
                remedy="name the lab's inventory: sisamu -i inventories/lab (sisamu_lab: true)",
            )
        return open_lab()

    def leading_site(self) -> str:
        """Return the site that leads now; LeadershipError when none does."""
        leader = self.open_record().glance().leader
        if leader is None:
            raise LeadershipError("nobody leads", remedy="name a site, or sisamu doctor")
        return leader.site

    def await_leader(self, timeout_s: float) -> str:
        """Return the site that leads, once one does; LeadershipError when none has in time."""
        deadline = monotonic() + timeout_s
        while True:
            try:
                return self.leading_site()
            except LeadershipError:
                if monotonic() > deadline:
                    raise
                sleep(0.2)

    def diagnose(self) -> list[Check]:
        """Check key, authorisation, leader, replicas and targets."""
        from sisamu_ops.doctor import Doctor

        with tempfile.TemporaryDirectory(prefix="sisamu-") as directory:
            return Doctor(
                platform=self.platform,
                principal=self.signing.principal,
                connect=self.connect,
                sites_reached=lambda: self.copy_replicas(Path(directory)),
                read_targets=lambda: self.targets(self.identity).read(self.platform.targets),
                embedded=self.is_local,
                certificate=self._certificate,
                database=self._database_facts,
                now=utc_now,
            ).examine()

    @contextmanager
    def site_agent(self, site: str, home: Path) -> Iterator[SiteAgent]:
        """Compose the daemon of one site."""
        from sisamu_ops.agent import SiteAgent
        from sisamu_ops.leadership.contending import check_votes

        check_votes(self.platform)
        keys = self._keys_of(site, home)
        with self._replicator(home, keys) as (replicator, found):
            yield SiteAgent(
                platform=self.platform,
                keys=keys,
                policy=self.trust,
                replicator=replicator,
                neighbours=self._neighbours(home, home / "ssh/id_ed25519"),
                found=found,
            )

    def break_glass(self, site_id: str, home: Path | None) -> BreakGlass:
        """Stand at a site, and return what it can do alone; its home is the inventory's by default.

        ConfigurationError on a platform of one directory, and for keys that are another site's.
        """
        from sisamu_ops.break_glass import BreakGlass
        from sisamu_ops.doors.silence import ImpatientTargets

        if self.is_local:
            raise ConfigurationError(
                "this platform is one directory: nothing in it can be cut off",
                place=str(self.options.inventory),
                remedy="act with switchover, failover or failback",
            )
        site = self.platform.site(site_id)
        where = home or site.home
        self._enter(site.network_namespace)
        key = where / "ssh/id_ed25519"
        targets = ImpatientTargets(targets=self.targets(key))
        return BreakGlass(
            platform=self.platform,
            keys=self._keys_of(site_id, where),
            trust=self.trust,
            home=where,
            targets=targets,
            neighbours=lambda at: replace(self._neighbours(at, key), targets=targets),
            connect=self.connect,
            now=utc_now,
        )

    def _keys_of(self, site: str, home: Path) -> SiteKeys:
        from sisamu_ops.journal.keys import load_site_keys

        keys = load_site_keys(home / "keys")
        if keys.site != site or site not in self.platform.sites:
            raise ConfigurationError(
                f"the keys are those of {keys.site}, not of {site}",
                place=str(home / "keys"),
                remedy="name a site and that site's own home",
            )
        return keys

    def status(self) -> dict[str, Any]:
        """Return the platform at a glance, its database among it; both are read meanwhile."""
        with ThreadPoolExecutor(max_workers=1) as aside:
            database = aside.submit(self._database_facts)
            return self.desk.status() | {"database": database.result()}

    def _match_hosts(self, pattern: str) -> Collection[str]:
        """Return the hosts an Ansible pattern means in this inventory."""
        from sisamu_ops.doors.inventory import match_hosts

        return match_hosts(self.options.inventory, pattern)

    def _database_facts(self) -> Mapping[str, Any] | None:
        from sisamu_ops.app.clusters import glance_at_database

        return glance_at_database(self.platform, key=lambda: self.identity)

    def _database_word(self, key: Path) -> DatabaseWord | None:
        """Return what the rules of planned work hear of the database, asked with a key."""
        from sisamu_ops.app.clusters import hear_database

        return hear_database(self.platform, key)

    def quorum(self, kind: str = "") -> Provider:
        """Return who asks and judges a cluster: the platform's database, or the one of a kind.

        ConfigurationError when the inventory declares no such cluster.
        """
        from sisamu_ops.app.clusters import open_provider

        return open_provider(self.platform, kind, key=lambda: self.identity)

    # --- who and where ------------------------------------------------------------------

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

    @cached_property
    def trust(self) -> TrustPolicy:
        """Read whose signatures count."""
        from sisamu_ops.journal.keys import load_policy

        if self.is_local:
            self.connect()  # makes the directory, or says why it cannot be one
            self._make_local_trust()
        return load_policy(self.policy_path)

    @property
    def policy_path(self) -> Path:
        """Return the file that says whose signatures count."""
        if self.is_local:
            return self.state_dir / "policy.json"
        return self.platform.policy.verify_policy

    # --- doors --------------------------------------------------------------------------

    def connect(self, wait_s: float = CONNECT_S, home: Path | None = None) -> Coordination:
        """Open the coordination service as an operator, or as the site whose home is named.

        LeadershipError when it cannot be reached.
        """
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
            credentials=self._credentials(home),
        )

    def _credentials(self, home: Path | None) -> Credentials | None:
        """Return what one is to the coordination service: an operator, or a site."""
        mine = self.platform.policy.zookeeper_credentials
        if home is None or mine is None:
            return mine
        tls = home / "tls"
        return replace(mine, certificate=tls / "certificate.pem", key=tls / "key.pem")

    def experiments(self) -> Experiments:
        """Return what tells of the experiments on this platform, and stops them."""
        from sisamu_ops.app.experiments import find_experiments

        return find_experiments(self.platform, open_lab)

    def _certificate(self, home: Path | None = None) -> Certificate | None:
        """Read what one shows to the coordination service; None where nothing is asked for."""
        from sisamu_ops.doors.certificate import read_certificate

        credentials = None if self.is_local else self._credentials(home)
        return read_certificate(credentials.certificate) if credentials else None

    def targets(self, key: Path) -> SshTargets:
        """Reach the fences over SSH with a private key."""
        from sisamu_ops.doors.ssh import SshTargets

        known_hosts = self.platform.policy.known_hosts
        return SshTargets(self.platform.targets, key=key, known_hosts=known_hosts)

    def copy_replicas(self, destination: Path) -> Mapping[str, Path]:
        """Copy the replica of every site that answers; return where each copy is."""
        if self.is_local:
            return {LOCAL_SITE: self.state_dir / "journal"}
        from sisamu_ops.app.replicas import copy_replicas

        return copy_replicas(self.platform, self.identity, destination)

    def _replicas(self) -> dict[str, Callable[[], AbstractContextManager[ReplicaFiles]]]:
        """Return, by site, how its replica is read where it is."""
        from sisamu_ops.journal.reader import LocalFiles

        if self.is_local:
            local = LocalFiles(self.state_dir / "journal")
            return {LOCAL_SITE: lambda: nullcontext(local)}
        return {site: partial(self._open_as_operator, site) for site in self.platform.sites}

    def _open_as_operator(self, site_id: str) -> AbstractContextManager[ReplicaFiles]:
        return self.open_replica(site_id, self.identity)

    def open_replica(self, site_id: str, key: Path) -> AbstractContextManager[ReplicaFiles]:
        """Read the replica of a site over SFTP, file by file as they are needed."""
        from sisamu_ops.app.replicas import open_replica

        return open_replica(self.platform, site_id, key)

    @cached_property
    def signing(self) -> Signing:
        """Return what signs as the operator, and knows who signed."""
        from sisamu_ops.app.signing import Signing

        allowed = self.platform.policy.allowed_signers
        return Signing(identity=lambda: self.identity, allowed_signers=allowed)

    def _ansible_playbook(self) -> str:
        """Return how another shell on this machine calls ansible-playbook."""
        kept = [f"{n}={v}" for n in LAB_VARIABLES if (v := os.environ.get(n))]
        beside = Path(sys.executable).with_name("ansible-playbook")
        program = shutil.which("ansible-playbook") or str(beside)
        return " ".join(["env", *kept, program]) if kept else program

    def _playbooks(self, home: Path, key: Path) -> AnsiblePlaybooks:
        from sisamu_ops.doors.playbooks import AnsiblePlaybooks

        inventory = self.options.inventory.resolve()
        return AnsiblePlaybooks(
            playbooks=playbook_directory(), inventory=inventory, home=home, ssh_key=key
        )

    def _neighbours(self, home: Path, key: Path) -> Neighbours:
        """Open the doors an agent acts through."""
        from sisamu_ops.leadership import lease_record
        from sisamu_ops.term import Neighbours

        return Neighbours(
            connect=lambda: self.connect(self.platform.policy.session_timeout_ms / 1000, home),
            targets=self.targets(key),
            runner=self._playbooks(home, key),
            signatures=self.signing.verifies,
            now=utc_now,
            open_peer=lambda site: self.open_replica(site, key),
            certificate=partial(self._certificate, home),
            on_tenure=lease_record.LeaseRecord(home / lease_record.NAME).follow,
            rules=self.rules,
            database=partial(self._database_word, key),
            experiments=self.experiments(),
            keep=partial(self._keep_artifacts, home, key),
        )

    def rules(self) -> Rules:
        """Return what this process works by: policy, signers, trust, version."""
        from sisamu_ops.failover.answering.in_force import (
            POLICY,
            SIGNERS,
            TRUST,
            Rules,
            platform_document,
        )

        signers = self.platform.policy.allowed_signers
        documents = {
            POLICY: platform_document(self.platform),
            SIGNERS: signers.read_bytes() if signers.is_file() else b"",
            TRUST: self._trust_document,
        }
        return Rules(documents=documents, version=version("sisamu-ops"))

    @cached_property
    def _trust_document(self) -> bytes:
        """Return the policy file as it was when this process began to work by it."""
        self.trust  # noqa: B018 - a local journal's policy file is made when first needed
        return self.policy_path.read_bytes()

    def _keep_artifacts(self, home: Path, key: Path, contents: Collection[bytes]) -> frozenset[str]:
        """Keep artifacts beside this replica and those of the other sites."""
        from sisamu_ops.journal.artifacts import keep_artifact

        for content in contents:
            keep_artifact(home / "journal", content)
        if self.is_local:
            return frozenset({LOCAL_SITE})
        from sisamu_ops.app.replicas import put_artifacts

        return put_artifacts(self.platform, home, key, contents)

    @contextmanager
    def _replicator(
        self, home: Path, keys: SiteKeys
    ) -> Iterator[tuple[Replicator, tuple[Problem, ...]]]:
        """Open a site's replica for writing, for a while; and say what was wrong with it.

        DiskError when this machine's disk does not let it be opened.
        """
        from sisamu_ops.journal.replica import open_or_set_aside
        from sisamu_ops.journal.replicate import Replicator
        from sisamu_ops.model.condition import Problem, ProblemKind

        try:
            replica, aside = open_or_set_aside(home / "journal")
        except OSError as error:
            raise DiskError(error) from error
        replicator = Replicator(
            replica=replica,
            keys=keys,
            policy=self.trust,
            now_s=lambda: int(utc_now().timestamp()),
        )
        message = f"the replica did not hold: set aside as {aside.name}" if aside else ""
        found = (Problem(kind=ProblemKind.DAMAGED, message=message),) if aside else ()
        try:
            yield replicator, found
        finally:
            replicator.replica.close()

    # --- the embedded coordination ------------------------------------------------------

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

    def _serve_here(self, coordination: Coordination, on_entry: Tell) -> None:
        """Carry out everything accepted, in this process, under the lock; then sign it."""
        from sisamu_ops.journal.keys import load_site_keys
        from sisamu_ops.term import serve_once

        keys = load_site_keys(self.state_dir / "keys")
        serve_once(
            platform=self.platform,
            keys=keys,
            policy=self.trust,
            neighbours=self._neighbours(self.state_dir, self.identity),
            coordination=coordination,
            on_entry=on_entry,
        )
        with self._replicator(self.state_dir, keys) as (replicator, _):
            replicator.endorse(coordination, leads=True)


def _give_ansible_room() -> None:
    """Name another directory where the usual one cannot be written: Ansible needs one to begin.

    A full disk must not keep an agent from reading where everything is.
    """
    usual = Path.home() / ".ansible"
    try:
        usual.mkdir(exist_ok=True)
        tempfile.TemporaryDirectory(dir=usual).cleanup()
    except OSError:
        os.environ.setdefault("ANSIBLE_LOCAL_TEMP", tempfile.gettempdir())


def verify_copy(
    directory: Path, policy: TrustPolicy | None, known: Sequence[bytes]
) -> VerifyReport:
    """Verify a copied journal: needs the directory and the policy, and nothing else.

    The log of a site that acted alone is verified as what it says it is, by that site's keys.
    """
    from sisamu_ops.doors import openssh
    from sisamu_ops.journal.glass_log import policy_for
    from sisamu_ops.journal.reader import ReplicaReader, journal_files
    from sisamu_ops.journal.verify import verify_directory

    files = journal_files(directory)
    return verify_directory(
        files,
        policy and policy_for(ReplicaReader(files), policy),
        known_checkpoints=known,
        check_sshsig=openssh.verify_with_text,
    )


def playbook_directory() -> Path:
    """Find the playbooks: SISAMU_PLAYBOOKS, else those of this release, else of the checkout.

    A release holds its own: an agent works by them to its end, whatever is installed meanwhile.
    """
    released, checkout = Path(sys.prefix), Path(__file__).resolve().parents[2]
    beside = released if (released / "playbooks").is_dir() else checkout
    directory = Path(os.environ.get("SISAMU_PLAYBOOKS") or beside / "playbooks")
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
