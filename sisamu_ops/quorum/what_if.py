"""What a cluster would survive (pure): lose a site, a member, a voting file, and say who is left.

Three rules, by kind. RAC: a node stays while it sees a strict majority of the *configured* voting
files; of groups that no longer hear each other the largest stays, then the heaviest (from
12.1.0.2 on), then the one with the lowest node number (Oracle Clusterware guides). ZooKeeper: a
strict majority of the configured servers. Galera: a component goes on when its votes are more than
half of those of the last primary component less those that left in good order (Galera
documentation, "Weighted Quorum"), so there the order and the manner of losses matter. Members that
leave in good order at the same moment are a race (`_sure_to_count`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from sisamu_ops.model.errors import ConfigurationError
from sisamu_ops.quorum.capture import ClusterKind
from sisamu_ops.quorum.cluster import Cluster, Member, VotingFile, required_of
from sisamu_ops.quorum.verdict import Verdict

#: From this version on an even split is decided by weight before node number.
WEIGHTS_SINCE = (12, 1, 0, 2)


class Scope(Enum):
    """What kind of thing is lost; the smallest first."""

    VOTING_FILE = "voting file"
    MEMBER = "node"
    SITE = "site"


class Manner(Enum):
    """How it is lost: dead at once, stopped in good order, or no longer reached.

    `CUT` takes away network and voting files; `SPLIT` the cluster's own network only.
    """

    KILL = "kill"
    STOP = "stop"
    CUT = "cut"
    SPLIT = "split"


@dataclass(frozen=True, kw_only=True)
class Loss:
    """One thing lost, and how."""

    name: str
    scope: Scope
    manner: Manner = Manner.KILL


@dataclass(frozen=True, kw_only=True)
class Prospect:
    """What is left after some losses: who goes on, and why."""

    losses: tuple[Loss, ...]
    verdict: Verdict
    survivors: tuple[str, ...]
    reason: str
    services_left: tuple[str, ...] = ()
    services_lost: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return it as data; keys as in docs/json.md."""
        return {
            "lose": [one.name for one in self.losses],
            "scope": [one.scope.value for one in self.losses],
            "manner": [one.manner.value for one in self.losses],
            "verdict": self.verdict.value,
            "survivors": list(self.survivors),
            "services_left": list(self.services_left),
            "services_lost": list(self.services_lost),
            "reason": self.reason,
        }


@dataclass(frozen=True, kw_only=True)
class _Group:
    """Members that hear each other, and the voting files they see."""

    members: frozenset[str]
    files: int = 0


def losses_possible(cluster: Cluster) -> tuple[Loss, ...]:
    """Return every single thing that can still be lost: voting files, members, sites."""
    files = [one.path for one in cluster.voting_files if one.online]
    members = [one.name for one in cluster.members if one.up]
    return (
        *(Loss(name=name, scope=Scope.VOTING_FILE) for name in files),
        *(Loss(name=name, scope=Scope.MEMBER) for name in members),
        *(Loss(name=name, scope=Scope.SITE) for name in cluster.sites),
    )


def find_loss(cluster: Cluster, name: str, manner: Manner = Manner.KILL) -> Loss:
    """Return the loss a person names; ConfigurationError tells what can be named."""
    known = {
        Scope.SITE: list(cluster.sites),
        Scope.MEMBER: [one.name for one in cluster.members],
        Scope.VOTING_FILE: [one.path for one in cluster.voting_files],
    }
    for scope, names in known.items():
        for candidate in names:
            if candidate.casefold() == name.casefold():
                return Loss(name=candidate, scope=scope, manner=manner)
    every = ", ".join(one for names in known.values() for one in names)
    raise ConfigurationError(
        f"no site, node or voting file {name!r}", remedy=f"name one of: {every or 'none is known'}"
    )


def foresee(cluster: Cluster, *steps: Collection[Loss]) -> Prospect:
    """Say what is left after losses: those of one step come at once, steps one after the other.

    What stands at no known site is taken as lost, and as kept: where that decides, it is UNKNOWN.
    So it is where it decides in how many steps a Galera cluster sees members leave at once.
    """
    losses = tuple(loss for step in steps for loss in step)
    homeless = {one.name for one in cluster.members if not one.site}
    homeless |= {one.path for one in cluster.voting_files if not one.site}
    worst = _foresee(cluster, steps, losses, frozenset(homeless))
    if cluster.kind is ClusterKind.GALERA:
        luckier = _foresee(cluster, steps, losses, frozenset(homeless), in_one=True)
        if luckier.verdict is not worst.verdict:
            return replace(worst, verdict=Verdict.UNKNOWN, reason=_RACE)
    if not homeless or not any(loss.scope is Scope.SITE for loss in losses):
        return worst
    best = _foresee(cluster, steps, losses, frozenset())
    if best.verdict is worst.verdict:
        return worst
    reason = f"it depends on where {', '.join(sorted(homeless))} stand: no site is declared"
    return replace(worst, verdict=Verdict.UNKNOWN, reason=reason)


def foresee_each(cluster: Cluster) -> tuple[Prospect, ...]:
    """Return what every single loss would leave, as things are today."""
    return tuple(foresee(cluster, [loss]) for loss in losses_possible(cluster))


def worst_single_loss(cluster: Cluster) -> Prospect | None:
    """Return the single loss that would hurt most; of several that end quorum, the smallest."""
    return worst_of(foresee_each(cluster))


def worst_of(prospects: Iterable[Prospect]) -> Prospect | None:
    """Return the prospect that would hurt most; None of none."""
    return max(prospects, key=_harm, default=None)


_RACE = (
    "it depends on timing: of members that leave at the same moment, even in good order, not all "
    "are sure to be counted as such; stop them one after the other"
)
_HARM = (Verdict.QUORATE, Verdict.DEGRADED, Verdict.UNKNOWN, Verdict.LOST)
_SMALLEST = (Scope.SITE, Scope.MEMBER, Scope.VOTING_FILE)


def _harm(prospect: Prospect) -> tuple[int, ...]:
    ends = prospect.verdict in (Verdict.LOST, Verdict.UNKNOWN)
    size = _SMALLEST.index(prospect.losses[0].scope) if ends else 0
    lost = len(prospect.services_lost)
    return (_HARM.index(prospect.verdict), size, lost, -len(prospect.survivors))


def _foresee(
    cluster: Cluster,
    steps: Iterable[Collection[Loss]],
    losses: tuple[Loss, ...],
    homeless: frozenset[str],
    *,
    in_one: bool = False,
) -> Prospect:
    after = cluster
    survivors = frozenset(one.name for one in cluster.members if one.up)
    reason = "nothing is lost"
    for step in steps:
        survivors, reason, after = _lose(after, step, homeless, in_one)
    serving = {one.name for one in cluster.members if one.name in survivors and one.holds_data}
    left = tuple(one.name for one in cluster.services if one.members & serving)
    return Prospect(
        losses=losses,
        verdict=_verdict(cluster, after, survivors, serving),
        survivors=tuple(one.name for one in cluster.members if one.name in survivors),
        reason=reason,
        services_left=left if serving else (),
        services_lost=tuple(one.name for one in cluster.services if one.name not in left),
    )


def _verdict(
    before: Cluster, after: Cluster, survivors: frozenset[str], serving: set[str]
) -> Verdict:
    if not serving:
        return Verdict.LOST
    everyone = all(one.name in survivors for one in before.members)
    return Verdict.QUORATE if everyone and _all_online(after) else Verdict.DEGRADED


def _all_online(cluster: Cluster) -> bool:
    return all(one.online for one in cluster.voting_files)


def _lose(
    cluster: Cluster, step: Collection[Loss], homeless: frozenset[str], in_one: bool
) -> tuple[frozenset[str], str, Cluster]:
    """Return who goes on after one step, why, and the cluster as it stands then."""
    alive, files, apart = _split_up(cluster, step, homeless)
    left_in_order = frozenset(
        one.name
        for one in cluster.members
        if any(loss.manner is Manner.STOP and _means(loss, one, homeless) for loss in step)
    )
    if not in_one:
        left_in_order = _sure_to_count(cluster, left_in_order)
    groups = _groups(cluster, step, alive, files, apart)
    survivors, reason = _choose(cluster, groups, left_in_order)
    members = tuple(replace(one, up=one.name in survivors) for one in cluster.members)
    after = replace(cluster, members=members, voting_files=files, component=survivors)
    return survivors, reason, after


def _sure_to_count(cluster: Cluster, leaving: frozenset[str]) -> frozenset[str]:
    """Return whom of those that leave at once a Galera cluster surely counts as left in good order.

    Rule: members present, twice, and members *left* must outweigh the last primary component
    (`have_quorum`, Galera's gcomm/src/pc_proto.cpp). Left are those of this change of membership
    alone. When one leaves before the others have let go of another, the new component is not yet
    primary, and both are still weighed in the last one: only the later counts as left. Which it is
    nobody knows: the lightest, at worst. Seen on a real cluster: docs/galera-losses.md.
    """
    votes = {one.name: one.votes for one in cluster.members}
    weighed = sorted(leaving & cluster.component, key=lambda name: (votes[name], name))
    return frozenset(weighed[:1])


def _split_up(
    cluster: Cluster, step: Collection[Loss], homeless: frozenset[str]
) -> tuple[frozenset[str], tuple[VotingFile, ...], list[tuple[Loss, frozenset[str]]]]:
    """Return who still runs, the voting files left, and which of the running stand apart."""
    gone = [loss for loss in step if loss.manner in (Manner.KILL, Manner.STOP)]
    alive = frozenset(
        one.name
        for one in cluster.members
        if one.up and not any(_means(loss, one, homeless) for loss in gone)
    )
    files = tuple(
        replace(
            one,
            online=one.online and not any(_takes(loss, one, homeless) for loss in step),
        )
        for one in cluster.voting_files
    )
    apart = []
    taken: frozenset[str] = frozenset()
    for loss in step:
        if loss.manner in (Manner.CUT, Manner.SPLIT):
            inside = frozenset(
                one.name for one in cluster.members if _means(loss, one, homeless)
            ) & (alive - taken)
            apart.append((loss, inside))
            taken |= inside
    return alive, files, apart


def _means(loss: Loss, member: Member, homeless: frozenset[str]) -> bool:
    if loss.scope is Scope.MEMBER:
        return member.name == loss.name
    return loss.scope is Scope.SITE and (member.site == loss.name or member.name in homeless)


def _takes(loss: Loss, file: VotingFile, homeless: frozenset[str]) -> bool:
    """Say whether a loss takes a voting file from everybody who is not inside what is lost."""
    if loss.scope is Scope.VOTING_FILE:
        return file.path == loss.name
    if loss.scope is Scope.MEMBER or loss.manner is Manner.SPLIT:
        return False
    return file.site == loss.name or file.path in homeless


def _groups(
    cluster: Cluster,
    step: Collection[Loss],
    alive: frozenset[str],
    files: tuple[VotingFile, ...],
    apart: Sequence[tuple[Loss, frozenset[str]]],
) -> list[_Group]:
    """Return those that hear each other, each group with the voting files it sees."""
    outside = alive - frozenset(name for _, inside in apart for name in inside)
    seen = sum(one.online for one in files)
    groups = [_Group(members=outside, files=seen)]
    for loss, inside in apart:
        own = seen if loss.manner is Manner.SPLIT else _files_inside(cluster, loss, step)
        groups.append(_Group(members=inside, files=own))
    return [one for one in groups if one.members]


def _files_inside(cluster: Cluster, cut: Loss, step: Collection[Loss]) -> int:
    """Return how many voting files what is cut off still sees: those of its own site."""
    if cut.scope is not Scope.SITE:
        return 0
    named = {loss.name for loss in step if loss.scope is Scope.VOTING_FILE}
    mine = [one for one in cluster.voting_files if one.site == cut.name and one.online]
    return sum(one.path not in named for one in mine)


def _choose(
    cluster: Cluster, groups: list[_Group], left_in_order: frozenset[str]
) -> tuple[frozenset[str], str]:
    """Return the group that goes on, and why; nobody when none may."""
    if cluster.kind is ClusterKind.ORACLE_RAC:
        return _choose_rac(cluster, groups)
    if cluster.kind is ClusterKind.GALERA:
        return _choose_galera(cluster, groups, left_in_order)
    return _choose_zookeeper(cluster, groups)


def _choose_rac(cluster: Cluster, groups: list[_Group]) -> tuple[frozenset[str], str]:
    required = cluster.required_files
    configured = len(cluster.voting_files)
    able = [one for one in groups if one.files >= required]
    most = max((one.files for one in groups), default=0)
    if not groups:
        return frozenset(), "no node is left"
    if not able:
        return frozenset(), f"{most} of {configured} voting files are left, {required} are required"
    chosen = max(able, key=lambda one: _standing(cluster, one.members))
    reason = f"{chosen.files} of {configured} voting files are left, {required} are required"
    if len(able) > 1:
        reason += f"; of {len(able)} groups that rule chooses {_tie_rule(cluster, able)}"
    return chosen.members, reason


def _standing(cluster: Cluster, names: frozenset[str]) -> tuple[int, int, int]:
    """Return what one group is measured by against another: size, weight, lowest number."""
    inside = [one for one in cluster.members if one.name in names]
    weight = sum(one.weight for one in inside) if _weighs(cluster) else 0
    return (len(inside), weight, -min(one.number for one in inside))


def _weighs(cluster: Cluster) -> bool:
    """Say whether weights count: where no version is declared, today's rule is taken."""
    return not cluster.version or cluster.version >= WEIGHTS_SINCE


def _tie_rule(cluster: Cluster, able: list[_Group]) -> str:
    measures = sorted((_standing(cluster, one.members) for one in able), reverse=True)
    if measures[0][0] != measures[1][0]:
        return "the largest"
    assumed = "" if cluster.version else " (version not declared: 12.1.0.2 or later assumed)"
    if measures[0][1] != measures[1][1]:
        return f"the heaviest{assumed}"
    return f"the one with the lowest node number{assumed}"


def _choose_galera(
    cluster: Cluster, groups: list[_Group], left_in_order: frozenset[str]
) -> tuple[frozenset[str], str]:
    # Whoever had left the last primary component has no vote in what comes of it.
    votes = {one.name: one.votes for one in cluster.members if one.name in cluster.component}
    counted = sum(votes[name] for name in cluster.component - left_in_order)
    best = max(groups, key=lambda one: _votes(one, votes), default=_Group(members=frozenset()))
    mine = _votes(best, votes)
    against = f"{mine} of {counted} votes of the last primary component are left"
    if not cluster.component:
        return frozenset(), "there is no primary component, and none comes back by losing more"
    if 2 * mine <= counted:
        return frozenset(), f"{against}, more than half are required"
    data = any(one.holds_data for one in cluster.members if one.name in best.members)
    return best.members, against if data else f"{against}, but nobody left holds data"


def _votes(group: _Group, votes: dict[str, int]) -> int:
    return sum(votes.get(name, 0) for name in group.members)


def _choose_zookeeper(cluster: Cluster, groups: list[_Group]) -> tuple[frozenset[str], str]:
    required = required_of(len(cluster.members))
    largest = max(groups, key=lambda one: len(one.members), default=_Group(members=frozenset()))
    reason = f"{len(largest.members)} of {len(cluster.members)} servers are left"
    if len(largest.members) < required:
        return frozenset(), f"{reason}, {required} are required"
    return largest.members, reason
