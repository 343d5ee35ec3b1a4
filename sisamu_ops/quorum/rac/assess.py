"""Judge a RAC cluster from a capture (pure)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from sisamu_ops.quorum.assessment import Assessment, assess
from sisamu_ops.quorum.capture import Capture, ClusterKind
from sisamu_ops.quorum.cluster import Cluster, Member, Running, VotingFile
from sisamu_ops.quorum.rac.commands import COMMANDS, ESSENTIAL, EXPECTED, SETTINGS
from sisamu_ops.quorum.rac.membership import node_key
from sisamu_ops.quorum.rac.reading import HostReading, Readings, read_capture
from sisamu_ops.quorum.rac.rules import find_all

_CSS = {True: "online", False: "offline", None: "unknown"}


def assess_rac(capture: Capture) -> Assessment:
    """Judge a capture; never raises, whatever the bytes in it."""
    readings = read_capture(capture)
    return assess(
        _cluster(readings),
        find_all(readings),
        nodes=_nodes(readings),
        instances=_instances(readings),
        unseen=_unseen(readings),
        site_loss_degrades=capture.declared.site_loss_degrades,
    )


def _cluster(readings: Readings) -> Cluster:
    declared = readings.declared
    sites = {node_key(name): site for name, site in declared.sites.items()}
    weights = {node_key(name): weight for name, weight in declared.weights.items()}
    return Cluster(
        kind=ClusterKind.ORACLE_RAC,
        version=declared.version,
        members=tuple(
            Member(
                name=node.name,
                site=sites.get(node_key(node.name), ""),
                up=node.css,
                number=node.number,
                weight=weights.get(node_key(node.name), 0),
            )
            for node in readings.nodes
        ),
        voting_files=_voting_files(readings),
        services=_running(readings, "svc"),
        instances=_running(readings, "db"),
    )


def _voting_files(readings: Readings) -> tuple[VotingFile, ...]:
    """Return the voting files as the node sees them that sees most of them online."""
    views = [one.votedisk for one in readings.speaking if one.votedisk.rows]
    if not views:
        return ()
    best = max(views, key=lambda one: (one.online, len(one.rows)))
    sites = readings.declared.voting_files
    files = [
        VotingFile(
            path=row.name,
            site=sites.get(row.path, ""),
            online=row.online,
            file_id=row.file_id,
            disk_group=row.disk_group,
        )
        for row in best.rows
    ]
    unlisted = range(len(files), best.configured)
    files += [VotingFile(path=f"(not listed {i + 1})", online=False) for i in unlisted]
    return tuple(files)


def _running(readings: Readings, kind: str) -> tuple[Running, ...]:
    """Return where resources of a kind run, by every node's word; names without `ora.` and type."""
    names = {node_key(node.name): node.name for node in readings.nodes}
    found: dict[str, set[str]] = defaultdict(set)
    for one in readings.speaking:
        for row in one.stat_res.of_kind(kind):
            name = row.resource.removeprefix("ora.").removesuffix(f".{kind}")
            found[name] |= {names.get(node_key(row.server), row.server)} - {""}
    return tuple(Running(name=n, members=frozenset(m)) for n, m in sorted(found.items()))


def _nodes(readings: Readings) -> Iterator[Mapping[str, Any]]:
    sites = {node_key(name): site for name, site in readings.declared.sites.items()}
    for node in readings.nodes:
        yield {
            "name": node.name,
            "site": sites.get(node_key(node.name)),
            "css": _CSS[node.css],
            "asked": node.reached,
        }


def _instances(readings: Readings) -> Iterator[Mapping[str, Any]]:
    """Give each instance once, as srvctl names it; as the resources do where srvctl is silent."""
    found: dict[str, Mapping[str, Any]] = {}
    for one in readings.speaking:
        for name in ("srvctl_database", "srvctl_instance"):
            for instance in one.srvctl[name].instances:
                row = {
                    "name": instance.name,
                    "node": instance.node,
                    "running": instance.running,
                    "status": instance.status or None,
                }
                known = found.get(instance.name)
                if known is None or (known["running"] and not instance.running):
                    found[instance.name] = row
    yield from found.values() if found else _from_resources(readings.speaking)


def _from_resources(hosts: tuple[HostReading, ...]) -> list[Mapping[str, Any]]:
    for one in hosts:
        if rows := one.stat_res.of_kind("db"):
            return [
                {
                    "name": f"{row.subject or row.resource} {row.ordinal}",
                    "node": row.server or None,
                    "running": row.state in ("ONLINE", "INTERMEDIATE"),
                    "status": row.details or None,
                }
                for row in rows
            ]
    return []


def _unseen(readings: Readings) -> Iterator[str]:
    wanted = (*ESSENTIAL, *EXPECTED, *SETTINGS)
    for one in readings.hosts:
        if not one.reached:
            yield f"{one.host}: everything"
        for name in one.missing(wanted) if one.speaks else ():
            if name != "dgmgrl_configuration" or readings.declared.data_guard:
                yield f"{one.host}: {COMMANDS[name]}"
