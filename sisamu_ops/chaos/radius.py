"""The blast radius: a hard bound on what faults may touch together (pure).

A fault stands at most 20 s, touches nothing another standing fault touches, and leaves a majority
of ZooKeeper servers that serve and reach each other both ways: losing the ensemble says nothing
about an election, and has a test of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations

from sisamu_ops.chaos.fault import Effect


@dataclass(frozen=True, kw_only=True)
class BlastRadius:
    """The bounds in force; `longest_s` in seconds."""

    longest_s: float = 20.0
    keeps_majority: bool = True


DEFAULT_RADIUS = BlastRadius()


@dataclass(frozen=True, kw_only=True)
class Breach:
    """One bound that would be broken, and what would mend it."""

    message: str
    remedy: str


def check_radius(
    wanted: Effect,
    standing: Sequence[Effect],
    *,
    deadline_s: float,
    sites: Sequence[str],
    radius: BlastRadius = DEFAULT_RADIUS,
) -> tuple[Breach, ...]:
    """Judge one more fault beside those that stand; nothing when it stays within the radius."""
    findings = (
        _check_length(deadline_s, radius),
        _check_overlap(wanted, standing),
        _check_majority((wanted, *standing), sites) if radius.keeps_majority else None,
    )
    return tuple(one for one in findings if one)


def has_majority(effects: Iterable[Effect], sites: Sequence[str]) -> bool:
    """Say whether enough servers serve and reach each other both ways, under all these faults."""
    known = tuple(effects)
    cut = frozenset[tuple[str, str]]().union(*(one.cut for one in known))
    weakened = frozenset[str]().union(*(one.weakened for one in known))
    whole = [site for site in sites if site not in weakened]
    return any(
        not cut.intersection(permutations(group, 2))
        for group in combinations(whole, len(sites) // 2 + 1)
    )


def _check_length(deadline_s: float, radius: BlastRadius) -> Breach | None:
    if 0 < deadline_s <= radius.longest_s:
        return None
    return Breach(
        message=f"a fault stands above 0 and at most {radius.longest_s:g} s, not {deadline_s:g}",
        remedy=f"inject it again with --for {radius.longest_s:g}, or less",
    )


def _check_overlap(wanted: Effect, standing: Sequence[Effect]) -> Breach | None:
    taken = sorted(name for one in standing for name in one.touches & wanted.touches)
    if not taken:
        return None
    return Breach(
        message=f"a standing fault already touches {', '.join(taken)}", remedy="sisamu chaos heal"
    )


def _check_majority(effects: Sequence[Effect], sites: Sequence[str]) -> Breach | None:
    if has_majority(effects, sites):
        return None
    return Breach(
        message="no majority of ZooKeeper servers would serve and reach each other",
        remedy="sisamu chaos heal, then inject one fault at a time",
    )
