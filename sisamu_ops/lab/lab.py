"""The three-datacentre lab: bring it up, look at it, break it, mend it, take it down.

Everything is found again from the lab's name and its root directory, never from memory: an `up`
that crashed half-way is completed by the next `up`, or removed by `down`.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from sisamu_ops.chaos.scene import Scene
from sisamu_ops.lab.calls import run_calls
from sisamu_ops.lab.clock import furnish_clocks, remove_clocks
from sisamu_ops.lab.database import furnish_database, settle_database
from sisamu_ops.lab.furnishing import furnish_hosts
from sisamu_ops.lab.network import (
    Cut,
    Link,
    all_cuts,
    build_network,
    cut_links,
    cuts_meant,
    heal_links,
    read_cuts,
    read_one_way_cuts,
    remove_network,
)
from sisamu_ops.lab.processes import end_processes, is_running
from sisamu_ops.lab.programs import Program, all_programs, match_programs
from sisamu_ops.lab.readiness import (
    await_cluster,
    await_ensemble,
    await_ready,
    await_stopped,
)
from sisamu_ops.lab.requirements import check_requirements, check_rights, choose_prefix
from sisamu_ops.lab.roster import settle_roster, write_inventory
from sisamu_ops.lab.scene import detach_mounts, read_scene
from sisamu_ops.lab.supervisor import (
    ProgramStatus,
    read_programs,
    start_programs,
    start_supervisor,
    stop_programs,
    supervisor_answers,
    write_supervisor_config,
)
from sisamu_ops.lab.topology import SAMUS, locate_lab
from sisamu_ops.lab.trust import establish_trust
from sisamu_ops.model.errors import FailedError
from sisamu_ops.telephony.ledger import CallRecord

_CHECKOUT = Path(__file__).parents[2]
#: Seconds for everything to serve, and more for each SAMU; a loaded two-core machine needs about
#: five, and as many again for the whole nation.
_READY_S = 40.0
_READY_PER_SAMU_S = 0.5
_SSHD_DIRECTORY = Path("/run/sshd")
_MADE_SSHD_DIRECTORY = "made-run-sshd"


@dataclass(frozen=True, kw_only=True)
class LabStatus:
    """What can be seen of a lab now."""

    name: str
    root: Path
    up: bool
    isolated: bool
    programs: tuple[ProgramStatus, ...]
    cuts: tuple[Cut, ...]
    one_way: tuple[Link, ...]

    @property
    def note(self) -> str:
        """Say what this lab cannot do, if anything."""
        if self.isolated:
            return ""
        return "on loopback addresses: links between networks cannot be cut here"


class Lab:
    """One lab, named by SISAMU_LAB_NAME; see `topology` for what stands where."""

    def __init__(
        self,
        name: str | None = None,
        *,
        inventories: Path = _CHECKOUT / "inventories",
        fence: Path = _CHECKOUT / "playbooks" / "files" / "sisamu_fence.py",
    ) -> None:
        """Locate the lab; nothing is started. ConfigurationError for an unusable name or root."""
        self.place = locate_lab(name)
        self.inventories = inventories
        self.fence = fence

    @property
    def has_own_inventory(self) -> bool:
        """Whether this lab is larger than the one `inventories/lab` describes."""
        return len(self.place.samus) != len(SAMUS)

    @property
    def inventory(self) -> Path:
        """Return the inventory in force: that of the usual lab, or this lab's own."""
        if self.has_own_inventory:
            return self.place.root / "inventory"
        return self.inventories / "lab"

    @property
    def programs(self) -> tuple[Program, ...]:
        """Return every program, in the order they start."""
        return all_programs(self.place, self.inventory)

    def up(
        self,
        agents: bool = True,
        progress: Callable[[str], None] = lambda _: None,
        samus: int | None = None,
    ) -> None:
        """Bring the whole lab up and return when it serves; whatever is up already stays.

        Modes, journals and keys of an earlier `up` are kept, and so are cuts and the number of
        SAMUs: RefusedError for another one. ConfigurationError names all that is missing on this
        machine; FailedError what did not start.
        """
        check_requirements()
        with self._alone(create=True):
            progress("network")
            self._settle_place(samus)
            if not supervisor_answers(self.place):
                # What a dead supervisor has left is nobody's, and holds the ports.
                end_processes(self.place)
            build_network(self.place)
            progress("hosts and keys")
            furnish_hosts(self.place, self.fence)
            establish_trust(self.place)
            furnish_clocks(self.place)
            furnish_database(self.place)
            progress("servers")
            self._start_servers()
            if agents:
                progress("agents")
                self._start([one for one in self.programs if one.is_agent])
            self._await_database()

    def down(self, progress: Callable[[str], None] = lambda _: None) -> None:
        """Remove every process, namespace, rule and file of the lab; nothing there is fine."""
        check_rights()
        with self._alone(create=False):
            progress("processes")
            end_processes(self.place)
            progress("network")
            remove_network(self.place)
            progress("files")
            detach_mounts(self.place.root)
            remove_clocks(self.place)
            self._remove_files()
        self.place = locate_lab(self.place.name)

    def status(self) -> LabStatus:
        """Say what runs, and which links are cut."""
        check_rights()
        present = read_programs(self.place)
        names = [one.name for one in self.programs]
        programs = tuple(present[name] for name in names if name in present)
        return LabStatus(
            name=self.place.name,
            root=self.place.root,
            up=bool(programs) and all(one.running for one in programs),
            isolated=self.place.isolated,
            programs=programs,
            cuts=read_cuts(self.place),
            one_way=read_one_way_cuts(self.place),
        )

    def partition(self, *networks: str) -> tuple[Cut, ...]:
        """Cut one site from the other sites, or one pair of networks; return all cuts now."""
        cuts = cuts_meant(networks)
        self._require_up()
        cut_links(self.place, cuts)
        return read_cuts(self.place)

    def heal(self, *networks: str) -> tuple[Cut, ...]:
        """Undo `partition` of the same names, all cuts when none is given; return what stays."""
        cuts = cuts_meant(networks) if networks else all_cuts()
        self._require_up()
        heal_links(self.place, cuts)
        return read_cuts(self.place)

    def stop(self, patterns: tuple[str, ...], *, kill: bool = False) -> tuple[str, ...]:
        """Stop programs by name or glob and return their names once they have ended.

        SIGTERM first; with `kill`, SIGKILL at once to the whole process group.
        """
        names = self._meant(patterns)
        stop_programs(self.place, names, kill=kill)
        await_stopped(self.place, names, self._ready_s)
        return names

    def start(self, patterns: tuple[str, ...]) -> tuple[str, ...]:
        """Start programs by name or glob and return their names once they are ready."""
        names = self._meant(patterns)
        self._start([one for one in self.programs if one.name in names])
        return names

    @property
    def cures(self) -> Path:
        """Return where armed cures are kept; see `chaos`."""
        return self.place.root / "chaos"

    def scene(self) -> Scene:
        """Read what faults must know of this lab; FailedError when it is not up."""
        self._require_up()
        return read_scene(self.place, self.cures)

    def calls(
        self,
        *,
        rate_per_s: float,
        duration_s: float,
        hold_ms: int,
        samus: Mapping[str, str],
        stop: Event | None = None,
    ) -> list[CallRecord]:
        """Place real calls from the carrier to both routers; see `run_calls`."""
        self._require_up()
        return run_calls(
            self.place,
            rate_per_s=rate_per_s,
            duration_s=duration_s,
            hold_ms=hold_ms,
            samus=samus,
            stop=stop,
        )

    def _settle_place(self, samus: int | None) -> None:
        """Decide once, and write down, whether this lab has namespaces, and which SAMUs."""
        record = self.place.root / "prefix"
        if not record.exists():
            record.write_text(choose_prefix() + "\n", "ascii")
        self.place = locate_lab(self.place.name)
        settle_roster(self.place, samus, self.inventories / "national")
        self.place = locate_lab(self.place.name)
        if self.has_own_inventory:
            write_inventory(self.place, self.inventories / "lab")

    def _start_servers(self) -> None:
        _make_sshd_directory(self.place.root)
        config = write_supervisor_config(self.place, self.programs)
        start_supervisor(self.place, config)
        servers = [one for one in self.programs if not one.is_agent]
        start_programs(self.place, [one.name for one in servers])
        # No other program needs the database: it joins while those that need nobody go on.
        await_ready(self.place, [one for one in servers if not one.sql], self._ready_s)
        if not read_cuts(self.place):
            await_ensemble(self.place, self._ready_s)

    def _await_database(self) -> None:
        await_ready(self.place, [one for one in self.programs if one.sql], self._ready_s)
        if not read_cuts(self.place):
            await_cluster(self.place, self._ready_s)
            settle_database(self.place)

    def _start(self, programs: list[Program]) -> None:
        start_programs(self.place, [one.name for one in programs])
        await_ready(self.place, programs, self._ready_s)

    @property
    def _ready_s(self) -> float:
        return _READY_S + _READY_PER_SAMU_S * len(self.place.samus)

    def _meant(self, patterns: tuple[str, ...]) -> tuple[str, ...]:
        names = match_programs(patterns, tuple(one.name for one in self.programs))
        self._require_up()
        return names

    def _require_up(self) -> None:
        check_rights()
        if not read_programs(self.place):
            raise FailedError(f"the lab {self.place.name} is not up", remedy="sisamu lab up")

    def _remove_files(self) -> None:
        root = self.place.root
        # Whichever sshd still runs now is not ours, and needs the directory for every login.
        if (root / _MADE_SSHD_DIRECTORY).exists() and not is_running("sshd"):
            with suppress(OSError):
                _SSHD_DIRECTORY.rmdir()
        if root.exists():
            shutil.rmtree(root)

    @contextmanager
    def _alone(self, *, create: bool) -> Iterator[None]:
        """Hold the lab's lock, on the root directory itself: it must leave no file behind."""
        root = self.place.root
        if create:
            root.mkdir(parents=True, exist_ok=True)
        if not root.exists():
            yield
            return
        descriptor = os.open(root, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _make_sshd_directory(root: Path) -> None:
    """Make sshd's privilege separation directory, as the package's own start script would."""
    if not _SSHD_DIRECTORY.exists():
        (root / _MADE_SSHD_DIRECTORY).touch()
        _SSHD_DIRECTORY.mkdir(mode=0o755)
