"""The fault catalogue: every kind with its parameters, its cure and what it may touch (pure).

A declaration takes a scene and gives actions; nothing here looks at the world or changes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from sisamu_ops.chaos import actions
from sisamu_ops.chaos.fault import Disturbance, Effect, Fault, FaultKind, Pulse
from sisamu_ops.chaos.scene import Link, Process, Scene
from sisamu_ops.model.errors import ConfigurationError, RefusedError

#: A server that is slow, not lost: stopped four fifths of each ZooKeeper tick of 500 ms, so that
#: an answer takes up to 400 ms more, and no follower misses syncLimit (5 ticks) of the leader.
SLOW_STOPPED_MS = 400
SLOW_RUNNING_MS = 100
#: A clock may jump this far, in seconds; a year is enough for every expiry there is.
LONGEST_JUMP_S = 366 * 86_400
#: Room of a full disk: what the overlay itself needs is filled up before it is shown.
_FULL_DISK = "size=64k,nr_inodes=16,mode=755"


def catalogue() -> Mapping[str, FaultKind]:
    """Return every kind of fault by its name."""
    return _CATALOGUE


def parse_fault(text: str) -> Fault:
    """Read `KIND PARAMETER…`; ConfigurationError for an unknown kind or a wrong count."""
    name, *parameters = text.split() or [""]
    if name not in _CATALOGUE:
        raise ConfigurationError(
            f"no fault {name!r}", remedy="use one of: " + ", ".join(_CATALOGUE)
        )
    kind = _CATALOGUE[name]
    if len(parameters) != len(kind.parameters):
        raise ConfigurationError(
            f"{name} takes {' '.join(kind.parameters) or 'no parameter'}, not {len(parameters)} "
            "parameters" * bool(kind.parameters),
            remedy="sisamu chaos list",
        )
    return Fault(kind=name, parameters=tuple(parameters))


def _cut_site(scene: Scene, site: str) -> Disturbance:
    _check_site(scene, site)
    others = [other for other in scene.sites if other != site]
    return _cut(scene, [link for other in others for link in ((site, other), (other, site))])


def _cut_one_way(scene: Scene, source: str, target: str) -> Disturbance:
    _check_pair(scene, source, target)
    return _cut(scene, [(source, target)])


def _cut_pair(scene: Scene, first: str, second: str) -> Disturbance:
    _check_pair(scene, first, second)
    return _cut(scene, [(first, second), (second, first)])


def _cut_arbiter(scene: Scene) -> Disturbance:
    return _cut_site(scene, scene.arbiter)


def _cut(scene: Scene, links: Iterable[Link]) -> Disturbance:
    cut = frozenset(links)
    touches = frozenset(f"link {source}>{target}" for source, target in cut)
    return Disturbance(
        effect=Effect(touches=touches, cut=cut),
        inject=(scene.cut(cut),),
        heal=(scene.join(cut),),
    )


def _kill_agent(scene: Scene, site: str) -> Disturbance:
    program, process = _program(scene, "agent", site)
    return Disturbance(
        effect=Effect(touches=frozenset({program})),
        inject=(actions.kill(process),),
        heal=(actions.start(scene.supervisor, program),),
    )


def _pause_agent(scene: Scene, site: str) -> Disturbance:
    program, process = _program(scene, "agent", site)
    return Disturbance(
        effect=Effect(touches=frozenset({program})),
        inject=(actions.stop(process),),
        heal=(actions.go_on(process),),
    )


def _restart_zookeeper(scene: Scene, site: str) -> Disturbance:
    program, process = _program(scene, "zookeeper", site)
    start = actions.start(scene.supervisor, program)
    return Disturbance(
        effect=Effect(touches=frozenset({program}), weakened=frozenset({site})),
        inject=(actions.kill(process), start),
        heal=(start,),
    )


def _lose_zookeeper(scene: Scene, site: str) -> Disturbance:
    program, process = _program(scene, "zookeeper", site)
    return Disturbance(
        effect=Effect(touches=frozenset({program}), weakened=frozenset({site})),
        inject=(actions.kill(process),),
        heal=(actions.start(scene.supervisor, program),),
    )


def _slow_zookeeper(scene: Scene, site: str) -> Disturbance:
    program, process = _program(scene, "zookeeper", site)
    return Disturbance(
        effect=Effect(touches=frozenset({program}), weakened=frozenset({site})),
        inject=(),
        heal=(actions.go_on(process),),
        pulse=Pulse(process=process, stopped_ms=SLOW_STOPPED_MS, running_ms=SLOW_RUNNING_MS),
    )


def _clock_jump(scene: Scene, site: str, seconds: str) -> Disturbance:
    _check_site(scene, site)
    jump_s = _jump_s(seconds)
    if site not in scene.clocks:
        raise RefusedError(
            "the agents of this lab cannot be given another time: no libfaketime for it",
            remedy="script/bootstrap, then sisamu lab down, then sisamu lab up",
        )
    clock = scene.clocks[site]
    return Disturbance(
        effect=Effect(touches=frozenset({f"clock {site}"})),
        inject=(actions.write(clock, f"{jump_s:+d}\n"),),
        heal=(actions.write(clock, "+0\n"),),
    )


def _disk_full(scene: Scene, site: str) -> Disturbance:
    """Show the site's home through an overlay that has no room: every change gets ENOSPC.

    Nothing that is written can succeed meanwhile and be lost by healing, because the overlay is
    full before it is shown. ZooKeeper's directory is the real one: its disk is another.
    """
    _check_site(scene, site)
    home, work = scene.homes[site], scene.directory / f"full-{site}"
    room, shown, kept = work / "room", work / "shown", work / "kept"
    upper, scratch = room / "upper", room / "scratch"
    layers = f"lowerdir={home},upperdir={upper},workdir={scratch}"
    return Disturbance(
        effect=Effect(touches=frozenset({f"disk {site}"})),
        inject=(
            actions.make_directories(room, shown, kept),
            actions.mount("-t", "tmpfs", "-o", _FULL_DISK, "sisamu-full", str(room)),
            actions.make_directories(upper, scratch),
            actions.mount("--bind", str(home / "zookeeper"), str(kept)),
            actions.mount("-t", "overlay", "-o", layers, "sisamu-full", str(shown)),
            actions.fill(room),
            actions.mount("--bind", str(kept), str(shown / "zookeeper")),
            actions.mount("--rbind", str(shown), str(home)),
        ),
        heal=(
            actions.unmount(home, shown, kept, room),
            actions.remove_directories(room, shown, kept, work),
        ),
    )


def _check_site(scene: Scene, site: str) -> None:
    if site not in scene.sites:
        raise ConfigurationError(
            f"no site {site!r}", remedy="use one of: " + ", ".join(scene.sites)
        )


def _check_pair(scene: Scene, first: str, second: str) -> None:
    _check_site(scene, first)
    _check_site(scene, second)
    if first == second:
        raise ConfigurationError(f"{first} has no link to itself", remedy="name two sites")


def _program(scene: Scene, kind: str, site: str) -> tuple[str, Process]:
    """Return a site's program and its process; RefusedError when it does not run."""
    _check_site(scene, site)
    name = f"{kind}-{site}"
    if name not in scene.processes:
        raise RefusedError(f"{name} does not run", remedy=f"sisamu lab start {name}")
    return name, scene.processes[name]


def _jump_s(text: str) -> int:
    try:
        jump_s = int(text)
    except ValueError:
        jump_s = 0
    if jump_s == 0 or abs(jump_s) > LONGEST_JUMP_S:
        raise ConfigurationError(
            f"a clock cannot jump by {text!r} seconds",
            remedy=f"give whole seconds, not 0, at most {LONGEST_JUMP_S} either way",
        )
    return jump_s


_KINDS = (
    FaultKind(
        name="cut-site", parameters=("SITE",), declare=_cut_site,
        does="No packet passes between the site and the other sites.",
    ),
    FaultKind(
        name="cut-one-way", parameters=("FROM", "TO"), declare=_cut_one_way,
        does="No packet passes from one site to another; those of the other way do.",
    ),
    FaultKind(
        name="cut-pair", parameters=("A", "B"), declare=_cut_pair,
        does="No packet passes between two sites; both reach the third.",
    ),
    FaultKind(
        name="cut-arbiter", parameters=(), declare=_cut_arbiter,
        does="No packet passes between the arbiter and the telephony sites.",
    ),
    FaultKind(
        name="kill-agent", parameters=("SITE",), declare=_kill_agent,
        does="The agent is killed by SIGKILL, and started again by healing.",
    ),
    FaultKind(
        name="pause-agent", parameters=("SITE",), declare=_pause_agent,
        does="The agent alone stands still (SIGSTOP); its guard and what runs do not.",
    ),
    FaultKind(
        name="restart-zookeeper", parameters=("SITE",), declare=_restart_zookeeper,
        does="The site's ZooKeeper server is killed by SIGKILL and started again.",
    ),
    FaultKind(
        name="lose-zookeeper", parameters=("SITE",), declare=_lose_zookeeper,
        does="The site's ZooKeeper server is killed, and started again by healing.",
    ),
    FaultKind(
        name="clock-jump", parameters=("SITE", "SECONDS"), declare=_clock_jump,
        does="The agent's wall clock jumps; CLOCK_BOOTTIME and MONOTONIC do not.",
    ),
    FaultKind(
        name="disk-full", parameters=("SITE",), declare=_disk_full,
        does="Every change below the agent's home gets ENOSPC; it can be read.",
    ),
    FaultKind(
        name="slow-zookeeper", parameters=("SITE",), declare=_slow_zookeeper,
        does=f"The server stands still for {SLOW_STOPPED_MS} ms of every "
        f"{SLOW_STOPPED_MS + SLOW_RUNNING_MS} ms.",
    ),
)  # fmt: skip
_CATALOGUE: Mapping[str, FaultKind] = MappingProxyType({kind.name: kind for kind in _KINDS})
