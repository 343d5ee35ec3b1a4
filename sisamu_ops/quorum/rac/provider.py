"""Oracle RAC as a provider: what each node is asked, with least privilege, and who judges it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sisamu_ops.quorum.asking import DATABASE, Question, Script
from sisamu_ops.quorum.assessment import Assessment
from sisamu_ops.quorum.capture import Capture, Declared
from sisamu_ops.quorum.provider import Shells, ask_hosts, new_mark
from sisamu_ops.quorum.rac.assess import assess_rac
from sisamu_ops.quorum.rac.commands import BROKER


@dataclass(frozen=True, kw_only=True)
class RacHost:
    """How the commands of one node are run.

    `sudo` goes before the clusterware's commands, `database_sudo` before srvctl and dgmgrl; both
    may be empty. `path` is searched first; `environment` is set for asmcmd and dgmgrl, which need
    ORACLE_HOME and ORACLE_SID.
    """

    sudo: tuple[str, ...] = ()
    database_sudo: tuple[str, ...] = ()
    path: tuple[str, ...] = ()
    databases: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    broker_environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RacProvider:
    """Asks every node everything at once, within `deadline_s`; each command has `command_s`."""

    shells: Shells
    hosts: Mapping[str, RacHost]
    declared: Declared
    command_s: float
    deadline_s: float

    def capture(self) -> Capture:
        """Ask the nodes; what a node does not say is not in the capture."""
        scripts = {name: self._script(name, host) for name, host in self.hosts.items()}
        return ask_hosts(self.shells, scripts, self.declared, deadline_s=self.deadline_s)

    def assess(self, capture: Capture) -> Assessment:
        """Judge a capture."""
        return assess_rac(capture)

    def _script(self, name: str, host: RacHost) -> Script:
        return Script(
            lanes=_lanes(name, host, data_guard=self.declared.data_guard),
            mark=new_mark(),
            command_s=self.command_s,
            path=host.path,
            databases=host.databases,
            discovery=(*host.database_sudo, "%srvctl", "config", "database"),
        )


def _lanes(node: str, host: RacHost, *, data_guard: bool) -> tuple[tuple[Question, ...], ...]:
    """Return three lanes: membership first; resources and storage; what starts a Java machine."""

    def grid(name: str, *words: str, environment: Mapping[str, str] | None = None) -> Question:
        return Question(name=name, command=(*host.sudo, *_env(environment or {}), *words))

    def database(name: str, *words: str, environment: Mapping[str, str] | None = None) -> Question:
        return Question(name=name, command=(*host.database_sudo, *_env(environment or {}), *words))

    each = ("-d", DATABASE)
    membership = (
        grid("check_crs", "%crsctl", "check", "crs"),
        grid("votedisk", "%crsctl", "query", "css", "votedisk"),
        grid("olsnodes", "%olsnodes", "-n", "-s", "-t", "-i"),
        grid("check_cluster", "%crsctl", "check", "cluster", "-all"),
        grid("misscount", "%crsctl", "get", "css", "misscount"),
        grid("disktimeout", "%crsctl", "get", "css", "disktimeout"),
    )
    resources = (
        grid("stat_res_init", "%crsctl", "stat", "res", "-t", "-init"),
        grid("stat_res", "%crsctl", "stat", "res", "-t"),
        grid("ocrcheck", "%ocrcheck"),
        grid("lsdg", "%asmcmd", "lsdg", environment=host.environment),
    )
    databases = [
        database("srvctl_scan_listener", "%srvctl", "status", "scan_listener"),
        database("srvctl_database", "%srvctl", "status", "database", *each, "-v"),
        database("srvctl_service", "%srvctl", "status", "service", *each),
        database("srvctl_instance", "%srvctl", "status", "instance", *each, "-n", node),
    ]
    if data_guard:
        words = ("%dgmgrl", "-silent", "/", "show configuration")
        databases.append(database(BROKER, *words, environment=host.broker_environment))
    return membership, resources, tuple(databases)


def _env(environment: Mapping[str, str]) -> tuple[str, ...]:
    settings = [f"{name}={value}" for name, value in environment.items()]
    return ("env", *settings) if settings else ()
