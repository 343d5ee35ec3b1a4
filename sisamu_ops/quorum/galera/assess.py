"""Judge a Galera cluster from a capture (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sisamu_ops.quorum.assessment import Assessment, assess
from sisamu_ops.quorum.capture import Capture, ClusterKind
from sisamu_ops.quorum.cluster import Cluster, Member
from sisamu_ops.quorum.galera.reading import MEMBERS, NodeReading, Readings, read_galera
from sisamu_ops.quorum.verdict import Finding, Severity


def assess_galera(capture: Capture) -> Assessment:
    """Judge a capture; never raises, whatever the bytes in it."""
    readings = read_galera(capture)
    return assess(
        _cluster(readings),
        _findings(readings),
        nodes=_rows_of(readings),
        instances=_instances(readings),
        unseen=[f"{one.host}: everything" for one in readings.nodes if one.problem],
        site_loss_degrades=capture.declared.site_loss_degrades,
    )


def _cluster(readings: Readings) -> Cluster:
    return Cluster(
        kind=ClusterKind.GALERA,
        version=readings.declared.version,
        # A stranger's vote is counted by the others, whether anybody declared it or not.
        members=tuple(
            _member(readings, name) for name in (*readings.configured, *readings.strangers)
        ),
        component=readings.component,
    )


def _member(readings: Readings, name: str) -> Member:
    node = readings.node(name)
    said = node.votes if node else None
    return Member(
        name=name,
        site=readings.declared.sites.get(name, ""),
        up=name in readings.component,
        votes=readings.declared.votes.get(name, 1) if said is None else said,
        holds_data=name not in readings.declared.arbiters,
    )


def _rows_of(readings: Readings) -> Iterator[Mapping[str, Any]]:
    for name in readings.configured:
        node = readings.node(name)
        here = name in readings.component
        state = node.describe() if node else ("in the component" if here else "not seen")
        yield {
            "name": name,
            "site": readings.declared.sites.get(name),
            "role": "arbiter" if name in readings.declared.arbiters else "data",
            "state": state,
            "primary": here,
            "asked": node is not None and not node.capture.unreachable,
        }


def _instances(readings: Readings) -> Iterator[Mapping[str, Any]]:
    """Give each data node as an instance: it runs when it takes queries."""
    for one in readings.nodes:
        state = one.status.get("wsrep_local_state_comment") if one.speaks else None
        yield {"name": one.host, "node": one.host, "running": one.serves, "status": state}


def _findings(readings: Readings) -> Iterator[Finding]:
    yield from _no_primary(readings)
    yield from _two_primaries(readings)
    yield from _members_missing(readings)
    yield from _nodes(readings)


def _no_primary(readings: Readings) -> Iterator[Finding]:
    if any(one.serves for one in readings.primary):
        return
    unheard = [one for one in readings.nodes if one.problem]
    evidence = tuple(e for one in readings.nodes for e in one.evidence(line=one.describe()))
    if unheard or not readings.nodes:
        why = "; ".join(f"{one.host}: {one.problem}" for one in unheard)
        yield Finding(
            finding_id="galera.unheard",
            severity=Severity.UNKNOWN,
            message=f"no node heard is in a primary component, and not all were heard ({why})",
            remedy="sisamu doctor; check sshd and the network to the database's hosts",
            evidence=evidence,
        )
        return
    yield Finding(
        finding_id="galera.no-primary",
        severity=Severity.LOST,
        message="no data node serves in a primary component: "
        + ", ".join(f"{one.host} {one.describe()}" for one in readings.nodes),
        remedy="start what is down, mend the network, wait a minute; only if no primary "
        "component comes of it: sisamu quorum bootstrap",
        evidence=evidence,
    )


def _two_primaries(readings: Readings) -> Iterator[Finding]:
    """Find nodes that are both in a primary component and not in the same one."""
    for first, second in _pairs(readings.primary):
        if first.host not in second.members or second.host not in first.members:
            yield Finding(
                finding_id="galera.two-primaries",
                severity=Severity.UNKNOWN,
                message=f"split brain: {first.host} and {second.host} are in two primary "
                "components, and both take writes",
                remedy="stop the one that was bootstrapped by hand; have a DBA compare the data",
                evidence=(*first.evidence(MEMBERS), *second.evidence(MEMBERS)),
            )
        elif first.view != second.view:
            yield Finding(
                finding_id="galera.views-differ",
                severity=Severity.UNKNOWN,
                message=f"{first.host} and {second.host} are in different views of the cluster",
                remedy="the membership is changing: ask again",
                evidence=(*first.evidence(), *second.evidence()),
            )


def _pairs(nodes: tuple[NodeReading, ...]) -> Iterable[tuple[NodeReading, NodeReading]]:
    return ((nodes[0], other) for other in nodes[1:])


def _members_missing(readings: Readings) -> Iterator[Finding]:
    if not readings.primary:
        return
    seen_by = readings.primary[0].evidence(MEMBERS)
    for name in readings.configured:
        if name not in readings.component:
            yield Finding(
                finding_id="galera.member-missing",
                severity=Severity.DEGRADED,
                message=f"{name} is not in the primary component",
                remedy=f"start it, or mend its network: it rejoins by itself ({name})",
                evidence=seen_by,
            )
    for name in readings.strangers:
        yield Finding(
            finding_id="galera.stranger",
            severity=Severity.DEGRADED,
            message=f"{name} is in the cluster and not in the inventory",
            remedy="declare it in the group database, or find out who started it",
            evidence=seen_by,
        )


def _nodes(readings: Readings) -> Iterator[Finding]:
    for one in readings.nodes:
        if one.problem:
            unreached = bool(one.capture.unreachable)
            yield Finding(
                finding_id="host.unreachable" if unreached else "evidence.unreadable",
                severity=Severity.DEGRADED,
                message=f"{one.host}: {one.problem}",
                remedy=f"check sshd on {one.host}, known_hosts and the MariaDB client there",
                evidence=one.evidence(),
            )
        elif one.is_primary and one.status["wsrep_local_state_comment"] != "Synced":
            state = one.status["wsrep_local_state_comment"]
            yield Finding(
                finding_id="galera.not-synced",
                severity=Severity.DEGRADED,
                message=f"{one.host} is {state}, not Synced",
                remedy="wait until it has caught up; it must not be counted on before",
                evidence=one.evidence(line=f"wsrep_local_state_comment {state}"),
            )
        elif one.speaks and not one.is_primary:
            yield Finding(
                finding_id="galera.non-primary",
                severity=Severity.DEGRADED,
                message=f"{one.host} answers, but outside the primary component: it serves nobody",
                remedy="mend its network; never bootstrap it while another component is primary",
                evidence=one.evidence(line=one.describe()),
            )
