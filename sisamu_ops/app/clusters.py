"""Which clusters there are, and who asks them: providers tied to their doors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sisamu_ops.failover.ports import DatabaseWord
from sisamu_ops.model.errors import ConfigurationError, SisamuError
from sisamu_ops.model.platform import Database, Platform
from sisamu_ops.quorum.archive import read_version
from sisamu_ops.quorum.assessment import Assessment, unread
from sisamu_ops.quorum.capture import Capture, ClusterKind, Declared
from sisamu_ops.quorum.galera.assess import assess_galera
from sisamu_ops.quorum.provider import Provider, Shells
from sisamu_ops.quorum.rac.assess import assess_rac
from sisamu_ops.quorum.verdict import Verdict
from sisamu_ops.quorum.zookeeper import assess_zookeeper

#: A glance does not wait longer for a command, and for all of a host, in milliseconds.
_GLANCE_COMMAND_MS = 2_000
_GLANCE_DEADLINE_MS = 4_000


def open_provider(platform: Platform, kind: str, *, key: Callable[[], Path]) -> Provider:
    """Return the provider of the database, or of ZooKeeper when that is asked for.

    ConfigurationError when the inventory declares no cluster of that kind.
    """
    if kind == ClusterKind.ZOOKEEPER.value:
        return _zookeeper(platform)
    database = platform.database
    if database is None or (kind and kind != database.kind):
        declared = f"it declares {database.kind}" if database else "it declares no database"
        raise ConfigurationError(
            f"no {kind or 'database'} to look at: {declared}",
            place=str(platform.inventory),
            remedy="set sisamu_database and the group database: docs/quorum.md",
        )
    shells = _shells(database, key(), platform.policy.known_hosts)
    if database.kind == ClusterKind.ORACLE_RAC.value:
        return _rac(database, shells)
    return _galera(database, shells)


def glance_at_database(platform: Platform, *, key: Callable[[], Path]) -> Mapping[str, Any] | None:
    """Return how the database is, in brief; None where none is declared. Never raises for one."""
    database = platform.database
    if database is None:
        return None
    hurried = replace(
        database,
        command_ms=min(database.command_ms, _GLANCE_COMMAND_MS),
        deadline_ms=min(database.deadline_ms, _GLANCE_DEADLINE_MS),
    )
    try:
        provider = open_provider(replace(platform, database=hurried), "", key=key)
        return provider.assess(provider.capture()).brief()
    except SisamuError as error:
        return unread(database.kind, error.message, error.remedy)


def hear_database(platform: Platform, key: Path) -> DatabaseWord | None:
    """Return whether the database holds, and without each site; None where none is declared.

    What cannot be told is asked for once more: a membership that changes is settled by then.
    """
    facts = glance_at_database(platform, key=lambda: key)
    if facts is not None and facts["verdict"] == Verdict.UNKNOWN.value:
        facts = glance_at_database(platform, key=lambda: key)
    if facts is None:
        return None
    why = [one["message"] for one in facts["findings"][:1]]
    said = ": ".join([f"{facts['kind']} {facts['verdict']}", *why])
    return DatabaseWord(holds=not facts["blocks_planned"], said=said, without=facts["without_site"])


def judge_capture(capture: Capture) -> Assessment:
    """Judge a capture of any kind; nobody is asked."""
    if capture.declared.kind is ClusterKind.GALERA:
        return assess_galera(capture)
    if capture.declared.kind is ClusterKind.ZOOKEEPER:
        return assess_zookeeper(capture)
    return assess_rac(capture)


def _shells(database: Database, key: Path, known_hosts: Path) -> Shells:
    from sisamu_ops.doors.ssh import ShellHost, SshShells
    from sisamu_ops.quorum.asking import INTERPRETER

    hosts = {
        name: ShellHost(address=one.address, user=one.user) for name, one in database.hosts.items()
    }
    return SshShells(hosts, interpreter=INTERPRETER, key=key, known_hosts=known_hosts)


def _declared(database: Database, kind: ClusterKind) -> Declared:
    return Declared(
        kind=kind,
        version=read_version(database.version) if database.version else (),
        sites={name: one.site for name, one in database.hosts.items()},
        voting_files=database.voting_files,
        weights={name: one.weight for name, one in database.hosts.items() if one.weight},
        votes={name: one.votes for name, one in database.hosts.items() if one.votes != 1},
        arbiters=tuple(name for name, one in database.hosts.items() if one.is_arbiter),
        data_guard=database.data_guard,
        site_loss_degrades=database.site_loss_degrades,
    )


def _rac(database: Database, shells: Shells) -> Provider:
    from sisamu_ops.quorum.rac.provider import RacHost, RacProvider

    hosts = {
        name: RacHost(
            sudo=one.sudo,
            database_sudo=one.database_sudo,
            path=one.path,
            databases=database.databases,
            environment=one.environment,
            broker_environment=one.broker_environment,
        )
        for name, one in database.hosts.items()
    }
    return RacProvider(
        shells=shells,
        hosts=hosts,
        declared=_declared(database, ClusterKind.ORACLE_RAC),
        command_s=database.command_ms / 1000,
        deadline_s=database.deadline_ms / 1000,
    )


def _galera(database: Database, shells: Shells) -> Provider:
    from sisamu_ops.quorum.galera.provider import GaleraHost, GaleraProvider

    hosts = {
        name: GaleraHost(client=one.client, directory=one.directory)
        for name, one in database.hosts.items()
        if not one.is_arbiter
    }
    return GaleraProvider(
        shells=shells,
        hosts=hosts,
        declared=_declared(database, ClusterKind.GALERA),
        command_s=database.command_ms / 1000,
        deadline_s=database.deadline_ms / 1000,
    )


def _zookeeper(platform: Platform) -> Provider:
    """Return the ensemble's provider; a server is named after the site its address stands at."""
    from sisamu_ops.doors.zookeeper.words import ServerWords
    from sisamu_ops.quorum.zookeeper import ZooKeeperProvider

    sites = {one.address: one.site_id for one in platform.sites.values()}
    servers, stand = {}, {}
    for server in platform.policy.zookeeper:
        site = sites.get(server.rpartition(":")[0], "")
        name = f"zookeeper-{site}" if site else server
        servers[name], stand[name] = server, site
    if not servers:
        raise ConfigurationError(
            "no zookeeper to look at: the inventory names no server",
            place=str(platform.inventory),
            remedy="set sisamu_zookeeper",
        )
    known = {name: site for name, site in stand.items() if site}
    return ZooKeeperProvider(
        servers=ServerWords(servers, platform.policy.zookeeper_credentials),
        declared=Declared(kind=ClusterKind.ZOOKEEPER, sites=known),
    )
