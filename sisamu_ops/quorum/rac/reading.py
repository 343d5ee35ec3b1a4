"""Everything one node said, read (pure); and what all nodes said, put together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from sisamu_ops.quorum.asking import CUT_OFF
from sisamu_ops.quorum.capture import TIMED_OUT, Capture, Declared, HostCapture, Output
from sisamu_ops.quorum.rac.broker import Broker, read_broker
from sisamu_ops.quorum.rac.commands import BROKER, COMMANDS, ESSENTIAL, EXPECTED
from sisamu_ops.quorum.rac.membership import (
    ClusterCheck,
    Daemons,
    NodeList,
    node_key,
    read_check_cluster,
    read_check_crs,
    read_olsnodes,
)
from sisamu_ops.quorum.rac.resources import Resources, read_resources
from sisamu_ops.quorum.rac.settings import read_setting
from sisamu_ops.quorum.rac.srvctl import Status, read_srvctl
from sisamu_ops.quorum.rac.storage import DiskGroups, Registry, read_lsdg, read_ocrcheck
from sisamu_ops.quorum.rac.text import line_with, read_text
from sisamu_ops.quorum.rac.votedisk import VotingFiles, read_votedisk
from sisamu_ops.quorum.verdict import Evidence

#: Complaints of one output that are told; the rest is counted.
_SAID = 3


@dataclass(frozen=True, kw_only=True)
class HostReading:
    """What one node said; what it did not say reads as nothing, with a complaint."""

    host: str
    capture: HostCapture
    olsnodes: NodeList
    votedisk: VotingFiles
    check_crs: Daemons
    check_cluster: ClusterCheck
    stat_res: Resources
    stat_res_init: Resources
    ocrcheck: Registry
    lsdg: DiskGroups
    srvctl: Mapping[str, Status]
    broker: Broker
    settings: Mapping[str, int | None]
    #: By output: why it cannot be relied on. An output that is not there has none here.
    complaints: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Return what all spellings of the node's name share."""
        return node_key(self.host)

    @property
    def reached(self) -> bool:
        """Whether it answered at all."""
        return not self.capture.unreachable

    @property
    def css(self) -> bool | None:
        """Whether the node's own word is that cluster synchronisation is up."""
        return self.check_crs.css

    @property
    def speaks(self) -> bool:
        """Whether it may be in the cluster and can be heard: its word counts."""
        return self.reached and self.css is not False

    @property
    def crs_down(self) -> bool:
        """Whether its resources cannot be asked: its own word, and known already."""
        return self.check_crs.up.get("crs") is False or self.css is False

    def missing(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Return those of some outputs that were not kept."""
        return tuple(one for one in names if one not in self.capture.outputs)

    def problem(self, name: str) -> str:
        """Return why an output cannot be relied on; empty when it can."""
        if self.missing((name,)):
            return "missing"
        found = self.complaints.get(name, ())
        more = f"; and {len(found) - _SAID} more" if len(found) > _SAID else ""
        return "; ".join(found[:_SAID]) + more

    def evidence(self, name: str, part: str = "") -> tuple[Evidence, ...]:
        """Return where something was read: the line that holds a part, or the first one."""
        output = self.capture.outputs.get(name)
        text = read_text(output) if output else None
        line = line_with(text, part) if text and text.lines else ""
        return self.witness(name, line)

    def witness(self, name: str, line: str) -> tuple[Evidence, ...]:
        """Return a line of an output as evidence, its blanks made one each."""
        said = " ".join(line.split())[:200]
        return (Evidence(host=self.host, command=COMMANDS[name], line=said),)


_NOTHING = Output(content=b"")


def read_host(host: str, capture: HostCapture, declared: Declared) -> HostReading:
    """Read every output of a node; never raises, whatever the bytes."""
    out = capture.outputs

    def of(name: str) -> Output:
        return out.get(name, _NOTHING)

    reading = HostReading(
        host=host,
        capture=capture,
        olsnodes=read_olsnodes(of("olsnodes")),
        votedisk=read_votedisk(of("votedisk"), tuple(declared.voting_files)),
        check_crs=read_check_crs(of("check_crs")),
        check_cluster=read_check_cluster(of("check_cluster")),
        stat_res=read_resources(of("stat_res")),
        stat_res_init=read_resources(of("stat_res_init"), init=True),
        ocrcheck=read_ocrcheck(of("ocrcheck")),
        lsdg=read_lsdg(of("lsdg")),
        srvctl={name: read_srvctl(of(name)) for name in COMMANDS if name.startswith("srvctl_")},
        broker=read_broker(of(BROKER)),
        settings={name: read_setting(of(name), name) for name in ("misscount", "disktimeout")},
    )
    return replace(reading, complaints=dict(_complaints(reading)))


def _complaints(reading: HostReading) -> Iterator[tuple[str, tuple[str, ...]]]:
    own: Mapping[str, tuple[str, ...]] = {
        "olsnodes": reading.olsnodes.complaints,
        "votedisk": reading.votedisk.complaints,
        "check_crs": reading.check_crs.complaints,
        "check_cluster": reading.check_cluster.complaints,
        "stat_res": reading.stat_res.complaints,
        "stat_res_init": reading.stat_res_init.complaints,
        "ocrcheck": reading.ocrcheck.complaints,
        "lsdg": reading.lsdg.complaints,
        BROKER: reading.broker.complaints,
        **{name: status.complaints for name, status in reading.srvctl.items()},
    }
    for name in (*ESSENTIAL, *EXPECTED):
        output = reading.capture.outputs.get(name)
        if output is not None:
            found = (*_status_complaint(reading, name, output), *own[name])
            if found:
                yield name, found


def _explains(reading: HostReading, name: str) -> bool:
    """Say whether an output tells of something down, which its exit status may tell as well."""
    status = reading.srvctl.get(name)
    return status.tells_of_a_fault if status else name in _HONEST and _HONEST[name](reading)


_HONEST: Mapping[str, Callable[[HostReading], bool]] = {
    "check_crs": lambda one: False in one.check_crs.up.values(),
    "check_cluster": lambda one: one.check_cluster.tells_of_a_fault,
    "ocrcheck": lambda one: bool(one.ocrcheck.faults),
    BROKER: lambda one: not one.broker.configured,
    "srvctl_database": lambda one: (
        not all(i.running for i in one.srvctl["srvctl_database"].instances)
    ),
    "srvctl_instance": lambda one: (
        not all(i.running for i in one.srvctl["srvctl_instance"].instances)
    ),
    "srvctl_service": lambda one: (
        not all(s.running_on for s in one.srvctl["srvctl_service"].services)
    ),
    "srvctl_scan_listener": lambda one: (
        not all(s.node for s in one.srvctl["srvctl_scan_listener"].scan_listeners)
    ),
}


def _status_complaint(reading: HostReading, name: str, output: Output) -> Iterator[str]:
    said = next(iter(read_text(output).lines), "").strip()[:80]
    if output.status == TIMED_OUT:
        yield "no answer in time"
    elif output.status == CUT_OFF:
        yield "the connection ended half-way"
    elif output.status == 127:
        yield f"no such command: {said}"
    elif said.casefold().startswith("sudo:"):
        yield f"sudo refused: {said}"
    elif output.status and not _explains(reading, name):
        yield f"exit status {output.status}"


@dataclass(frozen=True, kw_only=True)
class NodeFact:
    """One node as far as anybody could say."""

    name: str
    number: int
    css: bool | None
    reached: bool


@dataclass(frozen=True, kw_only=True)
class Readings:
    """What all hosts said, and what was declared."""

    declared: Declared
    hosts: tuple[HostReading, ...]

    @cached_property
    def speaking(self) -> tuple[HostReading, ...]:
        """Return the hosts whose word counts."""
        return tuple(one for one in self.hosts if one.speaks)

    @cached_property
    def reached(self) -> tuple[HostReading, ...]:
        """Return the hosts that answered."""
        return tuple(one for one in self.hosts if one.reached)

    def host(self, key: str) -> HostReading | None:
        """Return the reading of a node that was asked, by any spelling of its name."""
        return next((one for one in self.hosts if one.key == node_key(key)), None)

    @cached_property
    def nodes(self) -> tuple[NodeFact, ...]:
        """Return every node that anything names, by node number, then name."""
        names: dict[str, str] = {}
        numbers: dict[str, int] = {}
        for reading in self.hosts:
            for row in reading.olsnodes.rows:
                names.setdefault(node_key(row.name), row.name)
                numbers.setdefault(node_key(row.name), row.number)
        for name in (*(one.host for one in self.hosts), *self.declared.sites):
            names.setdefault(node_key(name), name)
        for reading in self.speaking:
            for name in reading.check_cluster.nodes:
                names.setdefault(node_key(name), name)
        found = [self._node(key, name, numbers.get(key, 0)) for key, name in names.items()]
        return tuple(sorted(found, key=lambda one: (one.number or 999, one.name)))

    def _node(self, key: str, name: str, number: int) -> NodeFact:
        own = self.host(key)
        reached = own is not None and own.reached
        if own is not None and own.reached and own.css is not None:
            return NodeFact(name=name, number=number, css=own.css, reached=True)
        return NodeFact(name=name, number=number, css=self._heard(key), reached=reached)

    def _heard(self, key: str) -> bool | None:
        """Return what the others say of a node: down if one says so, up if all do."""
        words = [_word(reading, key) for reading in self.speaking if reading.key != key]
        if False in words:
            return False
        return True if words and all(words) else None


def _word(reading: HostReading, key: str) -> bool | None:
    """Return whether a node takes another for a member; None where it does not say."""
    active = next((r.active for r in reading.olsnodes.rows if node_key(r.name) == key), None)
    css = next(
        (d.css for name, d in reading.check_cluster.nodes.items() if node_key(name) == key), None
    )
    if active is False or css is False:
        return False
    return True if active and css else None


def denies(reading: HostReading, key: str) -> bool:
    """Say whether a node takes another for out of the cluster."""
    return _word(reading, key) is False


def read_capture(capture: Capture) -> Readings:
    """Read a whole capture; never raises, whatever the bytes."""
    hosts = tuple(
        read_host(host, one, capture.declared) for host, one in sorted(capture.hosts.items())
    )
    return Readings(declared=capture.declared, hosts=hosts)
