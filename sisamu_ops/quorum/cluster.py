"""A cluster as it was read (pure): members, voting files, what runs where, each with its site."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sisamu_ops.quorum.capture import ClusterKind


@dataclass(frozen=True, kw_only=True)
class Member:
    """A node, a Galera member, or a ZooKeeper server.

    `up` is None when nobody could say. `number` is RAC's node number; `weight` decides an even
    split (RAC); `votes` are counted in a component (Galera's `pc.weight`). An arbiter votes and
    holds no data.
    """

    name: str
    site: str = ""
    up: bool | None = True
    number: int = 0
    weight: int = 0
    votes: int = 1
    holds_data: bool = True


@dataclass(frozen=True, kw_only=True)
class VotingFile:
    """One configured voting file; `online` as the clusterware says."""

    path: str
    site: str = ""
    online: bool = True
    file_id: str = ""
    disk_group: str = ""


@dataclass(frozen=True, kw_only=True)
class Running:
    """A service or an instance, and the members it runs on now."""

    name: str
    members: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """All that the what-if needs: who votes, what they see, what they serve.

    `component` names the members that made the last majority together (Galera), where that and
    not the configured number is what the next one is counted against.
    """

    kind: ClusterKind
    members: tuple[Member, ...]
    voting_files: tuple[VotingFile, ...] = ()
    version: tuple[int, ...] = ()
    services: tuple[Running, ...] = ()
    instances: tuple[Running, ...] = ()
    component: frozenset[str] = frozenset()

    @property
    def required_files(self) -> int:
        """Return how many voting files a node must see: more than half of the configured."""
        return required_of(len(self.voting_files))

    @property
    def online_files(self) -> int:
        """Return how many voting files are online."""
        return sum(one.online for one in self.voting_files)

    @property
    def sites(self) -> tuple[str, ...]:
        """Return every site that anything of the cluster is known to stand at."""
        stand = [one.site for one in self.members] + [one.site for one in self.voting_files]
        return tuple(sorted(set(stand) - {""}))

    def whole(self) -> Cluster:
        """Return the same cluster with everything up, to tell what it was built to survive."""
        return replace(
            self,
            members=tuple(replace(one, up=True) for one in self.members),
            voting_files=tuple(replace(one, online=True) for one in self.voting_files),
            component=frozenset(one.name for one in self.members),
        )


def required_of(configured: int) -> int:
    """Return a strict majority: floor(configured / 2) + 1.

    Source: Oracle Clusterware Administration and Deployment Guide, on voting files; the
    denominator is what is configured, not what answers.
    """
    return configured // 2 + 1
