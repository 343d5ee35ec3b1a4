"""Which faults a seed gives, when, and for how long (pure: the same seed, the same schedule).

Two tracks, each one fault after another: what troubles the ensemble (cuts, servers), and what
troubles an agent. One of each may stand together and a majority of servers still serves. The site
`leader` is whoever leads when the fault begins. A seed replays the faults, not the interleaving
with what the agents were doing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from sisamu_ops.chaos import Fault

#: The last fault is healed by then, in ms from the beginning of the workload.
WINDOW_MS = 12_000
#: The same for the short form of the campaign.
SHORT_WINDOW_MS = 6_500
SITES = ("paris", "lyon", "lille")
#: The sites that may lead: what happens to them matters more, and most to the one that does.
LEADING = ("paris", "lyon")
LEADER = "leader"
#: The lease is at most 3.2 s at T = 4 s and one tick of 500 ms: a pause goes past it.
_PAUSE_MS = (4_500, 8_000)
#: Seconds, either way: below and above what a request's time is allowed to be wrong by.
_JUMPS_S = (-3600, -240, 240, 3600)
_SHORT_MS = (500, 2_500)
_LONG_MS = (2_000, 8_000)


@dataclass(frozen=True, kw_only=True)
class PlannedFault:
    """One fault of a schedule; times in ms, from the beginning of the workload."""

    fault: Fault
    at_ms: int
    for_ms: int

    def __str__(self) -> str:
        """Say when, for how long, and what."""
        return f"at {self.at_ms / 1000:.1f} s for {self.for_ms / 1000:.1f} s: {self.fault}"


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """All faults of a seed, by track; within a track none overlaps the next."""

    seed: int
    tracks: tuple[tuple[PlannedFault, ...], ...]

    @property
    def faults(self) -> list[PlannedFault]:
        """Return the faults in the order they begin."""
        return sorted((one for track in self.tracks for one in track), key=lambda one: one.at_ms)


def aimed(fault: Fault, leader: str) -> Fault:
    """Name the site that leads in place of `leader`."""
    words = tuple(leader if word == LEADER else word for word in fault.parameters)
    return Fault(kind=fault.kind, parameters=words)


def plan_schedule(seed: int, *, window_ms: int = WINDOW_MS) -> Schedule:
    """Return the schedule of a seed, and of the window in which its faults come and go."""
    random = Random(seed)
    tracks = (
        tuple(_track(random, _ENSEMBLE, window_ms)),
        tuple(_track(random, _AGENTS, window_ms)),
    )
    return Schedule(seed=seed, tracks=tracks)


@dataclass(frozen=True, kw_only=True)
class _Choice:
    """One kind a track may choose: how often, where, for how long."""

    kind: str
    weight: int
    for_ms: tuple[int, int] = _LONG_MS
    #: How many sites it names.
    sites: int = 1
    among: Sequence[str] = SITES
    #: Seconds a clock may jump, either way.
    jumps_s: Sequence[int] = ()


_ENSEMBLE = (
    _Choice(kind="cut-site", weight=4, among=(*LEADING, LEADER)),
    _Choice(kind="cut-one-way", weight=3, sites=2),
    _Choice(kind="cut-pair", weight=3, sites=2),
    _Choice(kind="cut-arbiter", weight=1, sites=0),
    _Choice(kind="restart-zookeeper", weight=2, for_ms=_SHORT_MS),
    _Choice(kind="lose-zookeeper", weight=2, among=(*SITES, LEADER)),
    _Choice(kind="slow-zookeeper", weight=2),
)
_AGENTS = (
    _Choice(kind="kill-agent", weight=4, among=(*SITES, LEADER, LEADER, LEADER)),
    _Choice(kind="pause-agent", weight=4, for_ms=_PAUSE_MS, among=(*LEADING, LEADER, LEADER)),
    _Choice(kind="clock-jump", weight=2, among=(*LEADING, LEADER), jumps_s=_JUMPS_S),
    _Choice(kind="disk-full", weight=2, among=(*SITES, LEADER)),
)


def _track(random: Random, choices: Sequence[_Choice], window_ms: int) -> Iterator[PlannedFault]:
    at_ms = random.randrange(500, 4_000)
    while True:
        choice = random.choices(choices, [one.weight for one in choices])[0]
        for_ms = random.randrange(*choice.for_ms)
        if at_ms + for_ms > window_ms:
            return
        yield PlannedFault(fault=_fault(random, choice), at_ms=at_ms, for_ms=for_ms)
        at_ms += for_ms + random.randrange(500, 3_000)


def _fault(random: Random, choice: _Choice) -> Fault:
    words = random.sample(choice.among, choice.sites)
    if choice.jumps_s:
        words.append(str(random.choice(choice.jumps_s)))
    return Fault(kind=choice.kind, parameters=tuple(words))
