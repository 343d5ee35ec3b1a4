"""Galera: what each data node says of the cluster, read and judged (pure).

A node that is not in the primary component still answers TCP and SHOW STATUS, so only its own
`wsrep_cluster_status` counts. An arbiter (`garbd`) votes and holds no data; the data nodes see it.
Source: Galera Cluster documentation, "Monitoring the Cluster", "Quorum Components".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sisamu_ops.quorum.assessment import Assessment, assess
from sisamu_ops.quorum.capture import TIMED_OUT, Capture, ClusterKind, Declared, HostCapture
from sisamu_ops.quorum.cluster import Cluster, Member
from sisamu_ops.quorum.verdict import Evidence, Finding, Severity

STATUS, MEMBERS, OPTIONS, STATE_FILE = "wsrep_status", "wsrep_members", "wsrep_options", "grastate"
COMMANDS: Mapping[str, str] = {
    STATUS: "SHOW GLOBAL STATUS LIKE 'wsrep_%'",
    MEMBERS: "SELECT NAME FROM information_schema.WSREP_MEMBERSHIP",
    OPTIONS: "SHOW GLOBAL VARIABLES LIKE 'wsrep_provider_options'",
    STATE_FILE: "cat grastate.dat",
}
#: Without one of these a node's word counts for nothing.
_NEEDED = (
    "wsrep_cluster_status",
    "wsrep_cluster_size",
    "wsrep_cluster_state_uuid",
    "wsrep_cluster_conf_id",
    "wsrep_local_state_comment",
    "wsrep_ready",
)
#: MariaDB's client: no server behind the socket, or the port (error codes 2002, 2003).
_NO_SERVER = re.compile(r"^ERROR 200[23] ", re.MULTILINE)
_WEIGHT = re.compile(r"\bpc\.weight\s*=\s*(\d+)")


@dataclass(frozen=True, kw_only=True)
class NodeReading:
    """What one data node said; `problem` is why its word cannot be relied on."""

    host: str
    capture: HostCapture
    status: Mapping[str, str]
    members: frozenset[str]
    problem: str = ""

    @property
    def is_down(self) -> bool:
        """Whether its server is known not to run."""
        return _NO_SERVER.search(_said(self.capture, STATUS)) is not None

    @property
    def speaks(self) -> bool:
        """Whether its word can be relied on."""
        return not (self.problem or self.is_down)

    @property
    def is_primary(self) -> bool:
        """Whether it is in the primary component, and serves."""
        primary = self.status.get("wsrep_cluster_status", "").casefold() == "primary"
        return self.speaks and primary

    @property
    def serves(self) -> bool:
        """Whether it takes queries."""
        return self.is_primary and self.status["wsrep_ready"].upper() == "ON"

    @property
    def view(self) -> tuple[str, str]:
        """Return which view of which cluster it is in."""
        return (self.status["wsrep_cluster_state_uuid"], self.status["wsrep_cluster_conf_id"])

    @property
    def votes(self) -> int | None:
        """Return its own weight (`pc.weight`); None where it does not say."""
        found = _WEIGHT.search(_said(self.capture, OPTIONS))
        return int(found.group(1)) if found else None

    def evidence(self, name: str = STATUS, line: str = "") -> tuple[Evidence, ...]:
        """Return where it was read."""
        return (Evidence(host=self.host, command=COMMANDS[name], line=line),)

    def describe(self) -> str:
        """Say in a few words how it is."""
        if self.problem:
            return "not known"
        if self.is_down:
            return "down"
        state = self.status["wsrep_local_state_comment"]
        return f"{self.status['wsrep_cluster_status']}, {state}"


def _said(capture: HostCapture, name: str) -> str:
    output = capture.outputs.get(name)
    return output.content.decode("utf-8", "replace") if output else ""


def read_node(host: str, capture: HostCapture) -> NodeReading:
    """Read what one data node said; never raises, whatever the bytes."""
    status = dict(_rows(_said(capture, STATUS)))
    members = frozenset(line.strip() for line in _said(capture, MEMBERS).splitlines() if line)
    found = NodeReading(host=host, capture=capture, status=status, members=members)
    if found.is_down:
        return found
    return NodeReading(
        host=host, capture=capture, status=status, members=members, problem=_problem(found)
    )


def _rows(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        name, tab, value = line.partition("\t")
        if tab:
            yield name.strip().casefold(), value.strip()


def _problem(node: NodeReading) -> str:
    if node.capture.unreachable:
        return node.capture.unreachable
    output = node.capture.outputs.get(STATUS)
    if output is not None and output.status == TIMED_OUT:
        return "no answer in time"
    missing = [name for name in _NEEDED if not node.status.get(name)]
    if missing:
        said = _said(node.capture, STATUS).strip().splitlines()
        return f"not said: {', '.join(missing)}" + (f" ({said[0][:80]})" if said else "")
    size = node.status["wsrep_cluster_size"]
    primary = node.status["wsrep_cluster_status"].casefold() == "primary"
    if primary and size != str(len(node.members)):
        return f"it counts {size} members and names {len(node.members)}"
    return ""


@dataclass(frozen=True, kw_only=True)
class Readings:
    """What all data nodes said."""

    declared: Declared
    nodes: tuple[NodeReading, ...]

    @cached_property
    def primary(self) -> tuple[NodeReading, ...]:
        """Return the nodes that are in a primary component."""
        return tuple(one for one in self.nodes if one.is_primary)

    @cached_property
    def component(self) -> frozenset[str]:
        """Return the names of the primary component's members, by the first node in it."""
        return self.primary[0].members if self.primary else frozenset()

    @cached_property
    def configured(self) -> tuple[str, ...]:
        """Return every member there should be, arbiters last."""
        data = [one.host for one in self.nodes]
        return (*data, *(name for name in self.declared.arbiters if name not in data))

    @cached_property
    def strangers(self) -> tuple[str, ...]:
        """Return the members of the component that nobody declared."""
        return tuple(sorted(self.component - set(self.configured)))

    def node(self, name: str) -> NodeReading | None:
        """Return what a data node said."""
        return next((one for one in self.nodes if one.host == name), None)


def read_galera(capture: Capture) -> Readings:
    """Read a whole capture; never raises, whatever the bytes."""
    arbiters = capture.declared.arbiters
    data = {name: one for name, one in capture.hosts.items() if name not in arbiters}
    nodes = tuple(read_node(name, one) for name, one in sorted(data.items()))
    return Readings(declared=capture.declared, nodes=nodes)


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
        remedy="bring members back; only if they cannot come: sisamu quorum bootstrap",
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
