"""ZooKeeper, the toolkit's own ensemble: what each server says, read and judged (pure).

Source: ZooKeeper Administrator's Guide, "The Four Letter Words" (`srvr`, `mntr`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from sisamu_ops.quorum.assessment import Assessment, assess
from sisamu_ops.quorum.capture import REFUSED, Capture, ClusterKind, Declared, HostCapture
from sisamu_ops.quorum.cluster import Cluster, Member, required_of
from sisamu_ops.quorum.verdict import Evidence, Finding, Severity

WORDS = ("srvr", "mntr")
#: More requests waiting than this on one server: it does not keep up.
OUTSTANDING_LIMIT = 100
#: A follower further behind the leader than this many writes does not keep up.
BEHIND_LIMIT = 1_000
_SERVING = frozenset({"leader", "follower", "standalone", "observer"})
_NOT_SERVING = "not currently serving requests"
_FIELD = re.compile(r"^(?P<name>[A-Za-z ]+): (?P<value>.+)$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class ServerReading:
    """What one server said; `mode` is empty when it serves nobody, or does not say."""

    name: str
    capture: HostCapture
    mode: str = ""
    zxid: int | None = None
    outstanding: int = 0
    synced_followers: int | None = None
    problem: str = ""
    down: bool = False

    @property
    def heard(self) -> bool:
        """Whether it is known to serve, or known not to."""
        return not self.problem

    def evidence(self, word: str = "srvr", line: str = "") -> tuple[Evidence, ...]:
        """Return where it was read."""
        return (Evidence(host=self.name, command=word, line=line),)


def read_server(name: str, capture: HostCapture) -> ServerReading:
    """Read what one server said; never raises, whatever the bytes."""
    if capture.unreachable == REFUSED:
        return ServerReading(name=name, capture=capture, down=True)
    if capture.unreachable:
        return ServerReading(name=name, capture=capture, problem=capture.unreachable)
    said = _said(capture, "srvr")
    if _NOT_SERVING in said:
        return ServerReading(name=name, capture=capture)
    fields = {m["name"]: m["value"].strip() for m in _FIELD.finditer(said)}
    mode = fields.get("Mode", "").casefold()
    if mode not in _SERVING:
        first = said.strip().splitlines()[0][:80] if said.strip() else "nothing"
        return ServerReading(name=name, capture=capture, problem=f"it said {first}")
    measures = dict(_measures(_said(capture, "mntr")))
    return ServerReading(
        name=name,
        capture=capture,
        mode=mode,
        zxid=_number(fields.get("Zxid", ""), 16),
        outstanding=_number(fields.get("Outstanding", ""), 10) or 0,
        synced_followers=_number(measures.get("zk_synced_followers", "").split(".")[0], 10),
    )


def _said(capture: HostCapture, word: str) -> str:
    output = capture.outputs.get(word)
    return output.content.decode("utf-8", "replace") if output else ""


def _measures(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        name, _, value = line.partition("\t")
        yield name, value.strip()


def _number(text: str, base: int) -> int | None:
    try:
        return int(text, base)
    except ValueError:
        return None


def assess_zookeeper(capture: Capture) -> Assessment:
    """Judge a capture; never raises, whatever the bytes in it."""
    servers = tuple(read_server(name, one) for name, one in sorted(capture.hosts.items()))
    return assess(
        _cluster(servers, capture.declared),
        _findings(servers),
        nodes=_rows(servers, capture.declared),
        unseen=[f"{one.name}: everything" for one in servers if one.problem],
        site_loss_degrades=capture.declared.site_loss_degrades,
    )


def _cluster(servers: tuple[ServerReading, ...], declared: Declared) -> Cluster:
    return Cluster(
        kind=ClusterKind.ZOOKEEPER,
        members=tuple(
            Member(
                name=one.name,
                site=declared.sites.get(one.name, ""),
                up=bool(one.mode) if one.heard else None,
            )
            for one in servers
        ),
    )


def _rows(servers: tuple[ServerReading, ...], declared: Declared) -> Iterator[Mapping[str, Any]]:
    for one in servers:
        yield {
            "name": one.name,
            "site": declared.sites.get(one.name),
            "state": _state(one),
            "outstanding": one.outstanding,
            "asked": one.heard,
        }


def _state(one: ServerReading) -> str:
    if one.down:
        return "down"
    return one.mode or ("not serving" if one.heard else "not known")


def _findings(servers: tuple[ServerReading, ...]) -> Iterator[Finding]:
    yield from _majority(servers)
    yield from _leaders(servers)
    for one in servers:
        yield from _server(one)
    yield from _behind(servers)


def _majority(servers: tuple[ServerReading, ...]) -> Iterator[Finding]:
    required = required_of(len(servers))
    serving = [one for one in servers if one.mode]
    unheard = [one for one in servers if not one.heard]
    if serving and len(serving) + len(unheard) >= required:
        return
    lost = len(serving) + len(unheard) < required
    yield Finding(
        finding_id="zookeeper.no-majority" if lost else "zookeeper.unheard",
        severity=Severity.LOST if lost else Severity.UNKNOWN,
        message=f"{len(serving)} of {len(servers)} servers serve, {required} are required"
        + (f"; {len(unheard)} were not heard" if unheard else ""),
        remedy="start the servers, mend the network; SAMUs keep their modes meanwhile",
        evidence=tuple(e for one in servers for e in one.evidence(line=one.problem)),
    )


def _leaders(servers: tuple[ServerReading, ...]) -> Iterator[Finding]:
    leaders = [one.name for one in servers if one.mode in ("leader", "standalone")]
    serving = [one.name for one in servers if one.mode]
    if serving and len(leaders) != 1 and all(one.heard for one in servers):
        said = f"{', '.join(leaders)} each lead" if leaders else "servers serve, and none leads"
        yield Finding(
            finding_id="zookeeper.contradictory",
            severity=Severity.UNKNOWN,
            message=said,
            remedy="an election may be under way: ask again",
            evidence=tuple(e for one in servers for e in one.evidence(line=f"Mode: {one.mode}")),
        )


def _server(one: ServerReading) -> Iterator[Finding]:
    if one.problem:
        yield Finding(
            finding_id="host.unreachable",
            severity=Severity.DEGRADED,
            message=f"{one.name}: {one.problem}",
            remedy="start it, or mend the network to it",
            evidence=one.evidence(),
        )
    elif one.down:
        yield Finding(
            finding_id="zookeeper.down",
            severity=Severity.DEGRADED,
            message=f"{one.name} is down: {REFUSED}",
            remedy="start it",
            evidence=one.evidence(),
        )
    elif not one.mode:
        yield Finding(
            finding_id="zookeeper.not-serving",
            severity=Severity.DEGRADED,
            message=f"{one.name} runs and is in no quorum",
            remedy="mend its network to the other servers",
            evidence=one.evidence(line=_NOT_SERVING),
        )
    elif one.outstanding > OUTSTANDING_LIMIT:
        yield Finding(
            finding_id="zookeeper.outstanding",
            severity=Severity.WARNING,
            message=f"{one.name}: {one.outstanding} requests wait",
            remedy="look at its disk: every write is forced to it",
            evidence=one.evidence(line=f"Outstanding: {one.outstanding}"),
        )


def _behind(servers: tuple[ServerReading, ...]) -> Iterator[Finding]:
    """Find servers that serve and do not keep up with the leader."""
    leader = next((one for one in servers if one.mode == "leader"), None)
    if leader is None:
        return
    followers = [one for one in servers if one.mode == "follower"]
    if leader.synced_followers is not None and leader.synced_followers < len(followers):
        yield Finding(
            finding_id="zookeeper.not-synced",
            severity=Severity.DEGRADED,
            message=f"{leader.name} has {leader.synced_followers} followers in step "
            f"of {len(followers)}",
            remedy="wait, and ask again; else look at the disk and network of the follower",
            evidence=leader.evidence("mntr", f"zk_synced_followers {leader.synced_followers}"),
        )
    for one in followers:
        behind = _behind_by(leader.zxid, one.zxid)
        if behind > BEHIND_LIMIT:
            yield Finding(
                finding_id="zookeeper.behind",
                severity=Severity.DEGRADED,
                message=f"{one.name} is {behind} writes behind {leader.name}",
                remedy="look at its disk and network; it votes for what it has not got",
                evidence=one.evidence(line=f"Zxid: {one.zxid or 0:#x}"),
            )


def _behind_by(leader: int | None, follower: int | None) -> int:
    """Return how many writes lie between two zxids: epoch in the high 32 bits, counter below.

    Of a leader's new epoch a follower shows nothing before its first write.
    """
    if leader is None or follower is None:
        return 0
    counter, same_epoch = leader & 0xFFFF_FFFF, leader >> 32 == follower >> 32
    return counter - (follower & 0xFFFF_FFFF) if same_epoch else counter


class FourLetterWords(Protocol):
    """Servers that answer four-letter words."""

    def ask(self, words: tuple[str, ...]) -> Mapping[str, HostCapture]:
        """Ask every server every word at the same time; never raises for a server."""
        ...


@dataclass(frozen=True, kw_only=True)
class ZooKeeperProvider:
    """Asks every server of the ensemble, each on its own."""

    servers: FourLetterWords
    declared: Declared

    def capture(self) -> Capture:
        """Ask the servers."""
        return Capture(declared=self.declared, hosts=self.servers.ask(WORDS))

    def assess(self, capture: Capture) -> Assessment:
        """Judge a capture."""
        return assess_zookeeper(capture)
