"""Whether a Galera node may be made a primary component by hand (pure).

`pc.bootstrap` is the way back when no primary component is left, and the surest way to lose writes
when one is, somewhere out of sight, or when a node further ahead is left behind. So every data node
must have been heard, or be declared dead by name, and the node furthest ahead is the one.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from sisamu_ops.model.errors import ConfigurationError, RefusedError
from sisamu_ops.quorum.capture import Capture, ClusterKind
from sisamu_ops.quorum.galera.reading import STATE_FILE, NodeReading, Readings, read_galera

_SEQNO = re.compile(r"^seqno:\s*(-?\d+)\s*$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Bootstrap:
    """The node to bootstrap, its last write (seqno; -1 where it is not known), and what to do.

    Arbiters are stopped first: one that is left may be a primary component by itself, which no node
    can join and none can stand beside.
    """

    node: str
    seqno: int
    reason: str
    steps: tuple[str, ...]


def read_for_bootstrap(capture: Capture) -> Readings:
    """Return what a Galera cluster's nodes said; ConfigurationError for any other kind."""
    if capture.declared.kind is not ClusterKind.GALERA:
        raise ConfigurationError(
            f"this is {capture.declared.kind.value}: only Galera is bootstrapped",
            remedy="sisamu quorum check says what to do about it",
        )
    return read_galera(capture)


def plan_bootstrap(readings: Readings, dead: Collection[str] = (), wanted: str = "") -> Bootstrap:
    """Return what to type, or RefusedError with what would have to be so first.

    `dead` names data nodes that will not come back by themselves; ConfigurationError when one is
    none of the cluster's, or answers.
    """
    for name in {*dead, *([wanted] if wanted else [])}:
        if readings.node(name) is None:
            known = ", ".join(one.host for one in readings.nodes)
            raise ConfigurationError(f"no data node {name!r}", remedy=f"name one of: {known}")
    _refuse_beside_a_primary(readings)
    heard = _heard(readings, dead)
    best = max(heard, key=lambda one: (position(one), one.host))
    chosen = readings.node(wanted) if wanted else best
    if chosen is None or chosen not in heard:
        raise RefusedError(f"{wanted} was declared dead", remedy=f"name {best.host}")
    if position(chosen) < position(best):
        raise RefusedError(
            f"{chosen.host} stands at {position(chosen)}, {best.host} at {position(best)}: "
            "what lies between would be lost",
            remedy=f"bootstrap {best.host}",
        )
    return Bootstrap(
        node=chosen.host,
        seqno=position(chosen),
        reason=_reason(chosen, dead),
        steps=tuple(_steps(chosen, readings.declared.arbiters)),
    )


def position(node: NodeReading) -> int:
    """Return the last write a node has (seqno); -1 where a crash left it to be recovered."""
    if node.is_down:
        output = node.capture.outputs.get(STATE_FILE)
        said = output.content.decode("utf-8", "replace") if output else ""
        found = _SEQNO.search(said)
        return int(found.group(1)) if found else -1
    said = node.status.get("wsrep_last_committed", "")
    return int(said) if said.lstrip("-").isdecimal() else -1


def _refuse_beside_a_primary(readings: Readings) -> None:
    if readings.primary:
        where = ", ".join(one.host for one in readings.primary)
        raise RefusedError(
            f"a primary component exists at {where}: a second one splits the data",
            remedy="bring the others back to it: start them, or mend their network",
        )


def _heard(readings: Readings, dead: Collection[str]) -> list[NodeReading]:
    silent = [one for one in readings.nodes if one.problem and one.host not in dead]
    if silent:
        names = ", ".join(f"{one.host} ({one.problem})" for one in silent)
        raise RefusedError(
            f"not heard: {names}; a primary component may live there",
            remedy="reach it, or when it is surely dead: --dead " + silent[0].host,
        )
    answering = [name for name in dead if (one := readings.node(name)) and one.speaks]
    if answering:
        raise ConfigurationError(
            f"{', '.join(answering)} answers: it is not dead", remedy="leave out --dead"
        )
    heard = [one for one in readings.nodes if one.host not in dead]
    if not heard:
        raise RefusedError("no data node is left", remedy="restore one from a backup")
    unplaced = [one for one in heard if position(one) < 0]
    if unplaced and len(heard) > 1:
        names = ", ".join(one.host for one in unplaced)
        raise RefusedError(
            f"how far {names} got is not known: the server is down after a crash",
            remedy="mariadbd --wsrep-recover says it on each; then --node NAME for the one "
            "furthest ahead, --dead for each other",
        )
    return heard


def _reason(node: NodeReading, dead: Collection[str]) -> str:
    left = f"; {', '.join(sorted(dead))} declared dead" if dead else ""
    where = f"at {position(node)}" if position(node) >= 0 else "by your word"
    return f"no primary component is left; {node.host} is furthest, {where}{left}"


def _steps(node: NodeReading, arbiters: Collection[str]) -> Iterator[str]:
    for arbiter in arbiters:
        yield f"stop garbd on {arbiter}: alone it may be a primary component"
    if node.is_down:
        yield f"on {node.host}: stop its server, should it still wait for the others"
        yield f"on {node.host}: set safe_to_bootstrap: 1 in grastate.dat of its data directory"
        yield f"on {node.host}: galera_new_cluster"
    else:
        asked = "mariadb -e \"SET GLOBAL wsrep_provider_options='pc.bootstrap=YES'\""
        yield f"on {node.host}, once, and nowhere else: {asked}"
    yield "start the others and garbd, then look: sisamu quorum check"
