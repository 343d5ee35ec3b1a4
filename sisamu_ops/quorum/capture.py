"""What was heard from a cluster's hosts, word for word, before anybody reads it (pure).

A check judges a capture, and so does `check --capture`: the same bytes, the same verdict.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

#: More of one output is not kept: no command judged here prints as much.
OUTPUT_LIMIT_BYTES = 256_000
#: What timeout(1) exits with when the time is over (GNU coreutils).
TIMED_OUT = 124


#: The host answered that no server listens there: it is down, rather than not reached.
REFUSED = "connection refused: no server listens there"


class ClusterKind(Enum):
    """Which provider reads a cluster."""

    ORACLE_RAC = "oracle_rac"
    GALERA = "galera"
    ZOOKEEPER = "zookeeper"


@dataclass(frozen=True, kw_only=True)
class Output:
    """What one command printed, standard error included; `status` is None when nobody kept it."""

    content: bytes
    status: int | None = None

    @property
    def cut_short(self) -> bool:
        """Whether more was printed than is kept."""
        return len(self.content) > OUTPUT_LIMIT_BYTES


@dataclass(frozen=True, kw_only=True)
class HostCapture:
    """What one host said; `unreachable` says why it said nothing."""

    outputs: Mapping[str, Output] = field(default_factory=dict)
    unreachable: str = ""


@dataclass(frozen=True, kw_only=True)
class Declared:
    """What only people know of a cluster; from the inventory, or a capture's `cluster.yml`.

    `sites` gives each member's site, `voting_files` each path's, `weights` each member's weight
    in an even split (RAC), `votes` its votes where they are not one each (Galera's pc.weight);
    `arbiters` vote without data. `version` is the database's, for rules that changed.
    """

    kind: ClusterKind = ClusterKind.ORACLE_RAC
    version: tuple[int, ...] = ()
    sites: Mapping[str, str] = field(default_factory=dict)
    voting_files: Mapping[str, str] = field(default_factory=dict)
    weights: Mapping[str, int] = field(default_factory=dict)
    votes: Mapping[str, int] = field(default_factory=dict)
    arbiters: tuple[str, ...] = ()
    #: Whether a Data Guard broker is to be looked at.
    data_guard: bool = True
    #: What the loss of one site ending quorum is: a warning, or DEGRADED.
    site_loss_degrades: bool = False


@dataclass(frozen=True, kw_only=True)
class Capture:
    """Everything heard at one time, by host, and what was declared of the cluster then."""

    declared: Declared
    hosts: Mapping[str, HostCapture]
