"""What would be survived: every cluster up to five nodes, five voting files and three sites.

The judge here is another one: it says who goes on from the definition alone, node by node and group
against group, and shares nothing with the code but the words.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, product

import pytest

from sisamu_ops.quorum.capture import ClusterKind
from sisamu_ops.quorum.cluster import Cluster, Member, VotingFile
from sisamu_ops.quorum.verdict import Verdict
from sisamu_ops.quorum.what_if import Loss, Manner, Prospect, Scope, foresee, worst_single_loss

SITES = ("paris", "lyon", "lille")


def counts(most: int) -> Iterator[tuple[int, int, int]]:
    """Give every way to spread 1 to `most` things over three sites."""
    for spread in product(range(most + 1), repeat=3):
        if 1 <= sum(spread) <= most:
            yield spread


def spread(by_site: tuple[int, int, int]) -> list[str]:
    """Return the site of each thing."""
    return [site for site, many in zip(SITES, by_site, strict=True) for _ in range(many)]


def rac(nodes: list[str], files: list[str], weights: tuple[int, ...] = ()) -> Cluster:
    """Return a RAC with everything up; nodes n1…, files f1…, at the sites given."""
    return Cluster(
        kind=ClusterKind.ORACLE_RAC,
        members=tuple(
            Member(name=f"n{i}", site=site, number=i, weight=weights[i - 1] if weights else 0)
            for i, site in enumerate(nodes, start=1)
        ),
        voting_files=tuple(
            VotingFile(path=f"f{i}", site=site) for i, site in enumerate(files, start=1)
        ),
        version=(19, 24),
    )


def losses_of(cluster: Cluster) -> list[Loss]:
    """Return every single thing there is to lose."""
    return [
        *(Loss(name=site, scope=Scope.SITE) for site in SITES),
        *(Loss(name=one.name, scope=Scope.MEMBER) for one in cluster.members),
        *(Loss(name=one.path, scope=Scope.VOTING_FILE) for one in cluster.voting_files),
    ]


def left_of_rac(nodes: list[str], files: list[str], lost: set[str]) -> set[str]:
    """Say who goes on, by definition: not lost, and sees more than half of the configured files."""
    kept = [s for i, s in enumerate(files, 1) if s not in lost and f"f{i}" not in lost]
    if len(kept) * 2 <= len(files):
        return set()
    return {f"n{i}" for i, s in enumerate(nodes, 1) if s not in lost and f"n{i}" not in lost}


def verdict_of(survivors: set[str], lost_anything: bool) -> Verdict:
    """Say what is left of quorum."""
    if not survivors:
        return Verdict.LOST
    return Verdict.DEGRADED if lost_anything else Verdict.QUORATE


def agrees(prospect: Prospect, survivors: set[str], *, hurt: bool) -> bool:
    """Say whether a prospect is what the definition says."""
    told = set(prospect.survivors) if prospect.verdict is not Verdict.LOST else set()
    return told == survivors and prospect.verdict is verdict_of(survivors, hurt)


def test_every_single_and_double_loss_of_every_rac() -> None:
    """3,025 clusters; each thing lost alone, and each pair at once."""
    seen = 0
    for node_spread, file_spread in product(counts(5), counts(5)):
        nodes, files = spread(node_spread), spread(file_spread)
        cluster = rac(nodes, files)
        singles = losses_of(cluster)
        for step in (*((one,) for one in singles), *combinations(singles, 2)):
            lost = {one.name for one in step}
            hurt = any(name in (*nodes, *files) or name[0] in "nf" for name in lost)
            survivors = left_of_rac(nodes, files, lost)
            assert agrees(foresee(cluster, step), survivors, hurt=hurt), (nodes, files, lost)
            seen += 1
    assert seen > 150_000


def beats(first: set[int], second: set[int], weights: tuple[int, ...]) -> bool:
    """Say whether a group stays against another: larger, then heavier, then the lowest number."""
    if len(first) != len(second):
        return len(first) > len(second)
    heavy, other = (sum(weights[i - 1] for i in group) for group in (first, second))
    return heavy > other if heavy != other else min(first) < min(second)


@pytest.mark.parametrize("manner", [Manner.CUT, Manner.SPLIT])
def test_every_site_cut_or_split_off_every_rac(manner: Manner) -> None:
    """Each placement of each node: the groups that stay viable, and the one that stays."""
    for many, file_spread in product(range(1, 6), counts(5)):
        files = spread(file_spread)
        for nodes in product(SITES, repeat=many):
            weights = tuple((i * 7 + many) % 3 for i in range(many))
            cluster = rac(list(nodes), files, weights)
            for site in SITES:
                inside = {i for i, s in enumerate(nodes, 1) if s == site}
                groups = [inside, set(range(1, many + 1)) - inside]
                own = files.count(site)
                seen = [own, len(files) - own] if manner is Manner.CUT else [len(files)] * 2
                able = [g for g, f in zip(groups, seen, strict=True) if g and 2 * f > len(files)]
                if len(able) == 2:
                    able = [able[0] if beats(able[0], able[1], weights) else able[1]]
                survivors = {f"n{i}" for group in able for i in group}
                loss = Loss(name=site, scope=Scope.SITE, manner=manner)
                told = set(foresee(cluster, [loss]).survivors)
                assert told == survivors, (nodes, files, site)


@pytest.mark.parametrize(
    ("version", "stays"), [((11, 2, 0, 4), "n1"), ((12, 1, 0, 1), "n1"), ((12, 1, 0, 2), "n2")]
)
def test_weight_counts_from_12_1_0_2_on(version: tuple[int, ...], stays: str) -> None:
    """An even split: before that version the lowest node number stays, whatever the weights."""
    even = rac(["paris", "lyon"], ["paris", "lyon", "lille"], (0, 5))
    cluster = Cluster(**{**vars(even), "version": version})
    loss = Loss(name="lyon", scope=Scope.SITE, manner=Manner.SPLIT)
    assert foresee(cluster, [loss]).survivors == (stays,)


def test_every_loss_of_every_ensemble() -> None:
    """ZooKeeper: more than half of the configured servers, whatever is lost with them."""
    for by_site in counts(5):
        sites = spread(by_site)
        cluster = Cluster(
            kind=ClusterKind.ZOOKEEPER,
            members=tuple(Member(name=f"n{i}", site=s) for i, s in enumerate(sites, 1)),
        )
        singles = losses_of(cluster)
        for step in (*((one,) for one in singles), *combinations(singles, 2)):
            lost = {one.name for one in step}
            left = {f"n{i}" for i, s in enumerate(sites, 1) if not {s, f"n{i}"} & lost}
            survivors = left if 2 * len(left) > len(sites) else set()
            hurt = len(left) < len(sites)
            assert agrees(foresee(cluster, step), survivors, hurt=hurt), (sites, lost)


def galera(votes: tuple[int, ...], arbiters: int) -> Cluster:
    """Return a whole Galera cluster; the last ones are arbiters."""
    names = [f"n{i}" for i in range(1, len(votes) + 1)]
    return Cluster(
        kind=ClusterKind.GALERA,
        members=tuple(
            Member(name=n, site=n, votes=v, holds_data=i < len(votes) - arbiters)
            for i, (n, v) in enumerate(zip(names, votes, strict=True))
        ),
        component=frozenset(names),
    )


def galera_by_hand(
    votes: tuple[int, ...], arbiters: int, steps: list[list[Loss]]
) -> set[tuple[frozenset[str], bool]]:
    """Follow the weighted quorum step by step: who may be primary at the end, and does it serve.

    Of those that leave in good order at once all may count as left, or the last one alone.
    """
    weight = {f"n{i}": v for i, v in enumerate(votes, 1)}
    possible = {frozenset(weight)}
    for step in steps:
        possible = {after for primary in possible for after in _next(weight, primary, step)}
    data = {f"n{i}" for i in range(1, len(votes) - arbiters + 1)}
    return {(primary, bool(primary & data)) for primary in possible}


def _next(weight: dict[str, int], primary: frozenset[str], step: list[Loss]) -> set[frozenset[str]]:
    """Give every primary component that one step may leave; an empty one is none."""
    manners = {loss.name: loss.manner for loss in step if loss.name in primary}
    leaving = frozenset(n for n, manner in manners.items() if manner is Manner.STOP)
    stay = primary - set(manners)
    alone = [frozenset({n}) for n, manner in manners.items() if manner is Manner.CUT]
    found = set()
    for left in {leaving, *(frozenset({one}) for one in leaving)}:
        counted = sum(weight[n] for n in primary - left)
        able = [g for g in (stay, *alone) if g and 2 * sum(weight[n] for n in g) > counted]
        assert len(able) <= 1
        found.add(able[0] if able else frozenset())
    return found


@pytest.mark.parametrize(
    ("votes", "arbiters"),
    [((1, 1, 1), 1), ((1, 1, 1), 0), ((1, 1), 0), ((2, 1, 1), 1), ((3, 1, 1), 0), ((1,) * 5, 1)],
)
def test_every_order_and_manner_of_two_losses_of_a_galera(
    votes: tuple[int, ...], arbiters: int
) -> None:
    """Singles, pairs at once, pairs one after the other; killed, stopped, cut off, mixed."""
    cluster = galera(votes, arbiters)
    manners = (Manner.KILL, Manner.STOP, Manner.CUT)
    singles = [
        Loss(name=one.name, scope=Scope.MEMBER, manner=manner)
        for one in cluster.members
        for manner in manners
    ]
    cases = [[[one]] for one in singles]
    for first, second in product(singles, singles):
        if first.name != second.name:
            cases += [[[first, second]], [[first], [second]]]
    for steps in cases:
        ends = galera_by_hand(votes, arbiters, steps)
        prospect = foresee(cluster, *steps)
        if len({serves for _, serves in ends}) > 1:
            assert prospect.verdict is Verdict.UNKNOWN, steps
        else:
            serves = next(iter(ends))[1]
            assert (prospect.verdict is not Verdict.LOST) == serves, steps
            assert frozenset(prospect.survivors) in {primary for primary, _ in ends}, steps


def test_the_worst_single_loss_is_the_smallest_that_ends_quorum() -> None:
    """Two of three files at paris: losing one file is survived, losing the site is not."""
    cluster = rac(["paris", "lyon"], ["paris", "paris", "lyon"])
    worst = worst_single_loss(cluster)
    assert worst is not None
    assert (worst.losses[0].name, worst.verdict) == ("paris", Verdict.LOST)


def test_what_stands_nowhere_is_not_guessed() -> None:
    """A voting file without a site decides whether paris can be lost: UNKNOWN, and it says why."""
    cluster = rac(["paris", "lyon"], ["paris", "lyon", ""])
    loss = Loss(name="paris", scope=Scope.SITE)
    prospect = foresee(cluster, [loss])
    assert prospect.verdict is Verdict.UNKNOWN
    assert "f3" in prospect.reason
