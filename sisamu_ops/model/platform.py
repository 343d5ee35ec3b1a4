"""The platform as its inventory declares it: sites, SAMUs, targets, policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path

from sisamu_ops.model.errors import ConfigurationError
from sisamu_ops.model.safety import Safety

#: How long before its end a certificate is asked to be renewed.
_RENEWED_BEFORE = timedelta(days=30)


class TelephonyMode(Enum):
    """How a SAMU's calls are distributed; `unknown` is read, never guessed."""

    NOMINAL = "nominal"
    DEGRADED = "degraded"
    BACKUP = "backup"
    UNKNOWN = "unknown"


class SiteRole(Enum):
    """What a site is for: telephony sites may lead, the arbiter votes and witnesses."""

    TELEPHONY = "telephony"
    ARBITER = "arbiter"


@dataclass(frozen=True, kw_only=True)
class Site:
    """One datacentre."""

    site_id: str
    role: SiteRole
    address: str
    home: Path
    #: Where whoever stands at the site works from, when it lives in a namespace of this machine.
    network_namespace: str = ""


@dataclass(frozen=True, kw_only=True)
class Samu:
    """One emergency-call centre (SAMU-Centre 15); `samu_id` is a string, never a number."""

    samu_id: str
    name: str
    gateway: str
    number: str
    test_number: str
    bridge: str
    fallback_numbers: tuple[str, ...]
    region: str
    #: The telephony site its calls belong to, by which it is selected; routers do not look at it.
    site: str = ""


@dataclass(frozen=True, kw_only=True)
class Target:
    """What is behind one fence: the modes or the sites of a call router, or a SAMU's gateway.

    `host` is its name: that of the inventory's host, and `site_target` of it for a router's sites.
    """

    host: str
    address: str
    user: str
    fence_command: tuple[str, ...]
    fence_dir: str


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """How a client and the coordination service know each other: PEM files."""

    authority: Path
    certificate: Path
    key: Path


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """What a certificate says: what its holder is, who, and until when (UTC)."""

    role: str
    holder: str
    ends: datetime

    def ends_soon(self, now: datetime) -> bool:
        """Say whether it must be renewed now: less than thirty days are left."""
        return self.ends - now < _RENEWED_BEFORE

    def __str__(self) -> str:
        """Say what it says, for people."""
        return f"{self.role} {self.holder}, until {self.ends:%Y-%m-%d}"


@dataclass(frozen=True, kw_only=True)
class Waves:
    """How many SAMUs are moved at once, and how long calls are watched between, in milliseconds.

    A planned change begins with `canary` SAMUs, each wave is `growth` times the one before and has
    `at_most` so many; a rescue takes `rescue` at once.
    """

    canary: int = 1
    growth: int = 3
    at_most: int = 20
    soak_ms: int = 0
    rescue: int = 30


@dataclass(frozen=True, kw_only=True)
class Policy:
    """The platform's settings from `group_vars`; durations in integer milliseconds.

    `is_lab` says that nothing of it serves real callers: only there are faults injected.
    """

    platform: str
    coordination: str
    zookeeper: tuple[str, ...]
    session_timeout_ms: int
    tick_ms: int
    site_order: tuple[str, ...]
    hold_off_ms: int
    mode_order: tuple[str, ...]
    allowed_signers: Path
    known_hosts: Path
    verify_policy: Path
    identity: Path | None
    network_namespace: str
    bridge: str
    operators: tuple[str, ...]
    #: Entries always kept in the coordination service, and how many may wait there for replicas.
    journal_keep: int = 1_000
    untrimmed_limit: int = 20_000
    #: An operator's; None where the service is reached without TLS.
    zookeeper_credentials: Credentials | None = None
    is_lab: bool = False
    waves: Waves = field(default_factory=Waves)
    #: Which safety rules are in force, and measured by what.
    safety: Safety = field(default_factory=Safety)

    @property
    def origin(self) -> str:
        """Return the journal's origin line (C2SP tlog-checkpoint)."""
        return f"{self.platform}/journal"


@dataclass(frozen=True, kw_only=True)
class DatabaseHost:
    """One host of the database's cluster, and how its commands are run there.

    `sudo` goes before the clusterware's commands, `database_sudo` before those of the database;
    `path` is searched first. `environment` and `broker_environment` are what asmcmd and dgmgrl
    need. `client` is the command that asks MariaDB, `directory` its data directory.
    """

    host: str
    address: str
    user: str
    site: str
    is_arbiter: bool = False
    weight: int = 0
    votes: int = 1
    sudo: tuple[str, ...] = ()
    database_sudo: tuple[str, ...] = ()
    path: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    broker_environment: Mapping[str, str] = field(default_factory=dict)
    client: tuple[str, ...] = ()
    directory: str = ""


@dataclass(frozen=True, kw_only=True)
class Database:
    """The database's cluster as declared; `command_ms` bounds one command, `deadline_ms` a host.

    `voting_files` maps each path to its site. `kind` is `oracle_rac` or `galera`.
    """

    kind: str
    hosts: Mapping[str, DatabaseHost]
    command_ms: int = 5_000
    deadline_ms: int = 20_000
    version: str = ""
    databases: tuple[str, ...] = ()
    voting_files: Mapping[str, str] = field(default_factory=dict)
    data_guard: bool = True
    site_loss_degrades: bool = False


def site_target(router: str) -> str:
    """Name the target that holds, of each SAMU, the site whose servers a router asks first."""
    return f"{router}/site"


def router_of(target: str) -> str:
    """Return the inventory's host behind a target."""
    return target.removesuffix("/site")


@dataclass(frozen=True, kw_only=True)
class Platform:
    """All that the inventory says; the only topology."""

    inventory: Path
    policy: Policy
    sites: Mapping[str, Site]
    samus: Mapping[str, Samu]
    targets: Mapping[str, Target]
    routers: tuple[str, ...]
    platform_instances: tuple[str, ...] = field(default=())
    database: Database | None = None
    #: At which site each router stands, where the inventory says.
    router_sites: Mapping[str, str] = field(default_factory=dict)

    def samu(self, wanted: str) -> Samu:
        """Find a SAMU by identifier, or by a department prefix when only one matches.

        ConfigurationError when none or several match.
        """
        wanted = wanted.upper().removeprefix("FR")
        if wanted in self.samus:
            return self.samus[wanted]
        matches = [s for s in self.samus.values() if wanted and s.samu_id.startswith(wanted)]
        if len(matches) == 1:
            return matches[0]
        known = ", ".join(f"{s.samu_id} ({s.name})" for s in self.samus.values())
        if matches:
            known = ", ".join(f"{s.samu_id} ({s.name})" for s in matches)
        raise ConfigurationError(
            f"{len(matches) or 'no'} SAMU matches {wanted!r}",
            place=str(self.inventory),
            remedy=f"use one of: {known}",
        )

    @property
    def site_targets(self) -> Mapping[str, str]:
        """Return of each router that has one the target that holds which site it asks first."""
        named = {router: site_target(router) for router in self.routers}
        return {router: name for router, name in named.items() if name in self.targets}

    def telephony_sites(self) -> tuple[str, ...]:
        """Return the sites that serve calls, and may lead."""
        return tuple(s.site_id for s in self.sites.values() if s.role is SiteRole.TELEPHONY)

    def arbiters(self) -> tuple[str, ...]:
        """Return the sites that vote but never lead."""
        return tuple(s.site_id for s in self.sites.values() if s.role is SiteRole.ARBITER)

    def site(self, wanted: str) -> Site:
        """Return a site; ConfigurationError names the known ones."""
        if wanted not in self.sites:
            raise ConfigurationError(
                f"no site {wanted!r}",
                place=str(self.inventory),
                remedy="use one of: " + ", ".join(self.sites),
            )
        return self.sites[wanted]

    def host(self, target: str) -> Target:
        """Return a target; ConfigurationError names the known ones."""
        if target not in self.targets:
            raise ConfigurationError(
                f"no target {target!r}",
                place=str(self.inventory),
                remedy="use one of: " + ", ".join(self.targets),
            )
        return self.targets[target]
