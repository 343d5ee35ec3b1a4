"""What each data node of a Galera cluster says of it, read (pure)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from sisamu_ops.quorum.capture import TIMED_OUT, Capture, Declared, HostCapture
from sisamu_ops.quorum.verdict import Evidence

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
