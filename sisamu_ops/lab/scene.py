"""What faults must know of this lab, read from the supervisor and the plan of addresses."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from sisamu_ops.chaos import actions
from sisamu_ops.chaos.scene import Action, Link, Process, Scene
from sisamu_ops.lab.clock import clock_file, clock_library
from sisamu_ops.lab.commands import run_command
from sisamu_ops.lab.network import (
    cutting_script,
    joining_script,
    nft_command,
    refuse_on_loopback,
)
from sisamu_ops.lab.supervisor import read_programs
from sisamu_ops.lab.topology import SITES, TELEPHONY_SITES, LabPlace


def read_scene(place: LabPlace, cures: Path) -> Scene:
    """Read which programs run as which process; all else follows from the plan."""
    running = [one for one in read_programs(place).values() if one.running]
    return Scene(
        directory=cures,
        sites=SITES,
        arbiter=next(site for site in SITES if site not in TELEPHONY_SITES),
        supervisor=place.supervisor_socket,
        processes={one.name: Process(pid=one.pid, started=_started(one.pid)) for one in running},
        homes={site: place.host_dir(site) for site in SITES},
        clocks={site: clock_file(place, site) for site in SITES} if clock_library() else {},
        cut=partial(_cut, place),
        join=partial(_join, place),
    )


def detach_mounts(root: Path) -> None:
    """Unmount whatever is mounted below a directory, the newest first."""
    lines = Path("/proc/self/mountinfo").read_text("utf-8").splitlines()
    places = [line.split()[4].replace("\\040", " ") for line in lines]
    for place in reversed([one for one in places if Path(one).is_relative_to(root)]):
        run_command(("umount", "--lazy", place))


def _started(pid: int) -> int:
    """Return a process's start time in clock ticks since boot (proc(5)); 0 when it has gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text("latin-1").rpartition(")")[2].split()[19])
    except OSError:
        return 0


def _cut(place: LabPlace, links: frozenset[Link]) -> Action:
    refuse_on_loopback(place)
    return actions.run(*nft_command(place), text=cutting_script(links))


def _join(place: LabPlace, links: frozenset[Link]) -> Action:
    return actions.run(*nft_command(place), text=joining_script(links))
