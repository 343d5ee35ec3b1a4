"""Find and end every process of a lab, from what the kernel shows: nothing is remembered.

A process belongs to a lab when it lives in one of its namespaces, when its command line or its
working directory is under the lab's root, or when it descends from such a process.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep

from sisamu_ops.lab.network import NAMESPACES, existing_namespaces
from sisamu_ops.lab.topology import LabPlace
from sisamu_ops.model.errors import FailedError

_POLL_S = 0.02


def end_processes(place: LabPlace, timeout_s: float = 10) -> None:
    """Kill every process of the lab and return when none is left; FailedError when some stay."""
    deadline = monotonic() + timeout_s
    while found := lab_processes(place):
        if monotonic() > deadline:
            left = ", ".join(str(pid) for pid in sorted(found))
            raise FailedError(f"processes {left} do not end", remedy="look at them with ps")
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        sleep(_POLL_S)


def lab_processes(place: LabPlace) -> frozenset[int]:
    """Return the processes of the lab; never this one or those it descends from."""
    parents = dict(_parents())
    namespaces = _namespace_inodes(place)
    own = {pid for pid in parents if _belongs(pid, namespaces, place.root)}
    spared = set(_ancestry(os.getpid(), parents))
    return frozenset(_descendants(own - spared, parents) - spared)


def is_running(program: str) -> bool:
    """Whether any process of that name runs on this machine, of a lab or not."""
    for pid, _ in _parents():
        with suppress(OSError):
            if Path(f"/proc/{pid}/comm").read_text("utf-8", "replace").strip() == program:
                return True
    return False


def mentions(words: str, root: Path) -> bool:
    """Whether a command line names the root directory or something below it."""
    return re.search(rf"(?<![\w./-]){re.escape(str(root))}(?![\w.-])", words) is not None


def _belongs(pid: int, namespaces: frozenset[int], root: Path) -> bool:
    process = Path(f"/proc/{pid}")
    with suppress(OSError):
        if (process / "ns" / "net").stat().st_ino in namespaces:
            return True
        if (process / "cwd").readlink().is_relative_to(root):
            return True
        return mentions((process / "cmdline").read_bytes().decode("utf-8", "replace"), root)
    return False


def _namespace_inodes(place: LabPlace) -> frozenset[int]:
    """Return what /proc/<pid>/ns/net shows for processes of the lab's namespaces."""
    here = Path("/proc/self/ns/net").stat().st_ino
    inodes = {(NAMESPACES / name).stat().st_ino for name in existing_namespaces(place)}
    return frozenset(inodes - {here})


def _parents() -> Iterator[tuple[int, int]]:
    """Yield every living process with its parent; a zombie is left to whoever must reap it."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                # The name in parentheses may hold anything; what follows is regular (proc(5)).
                state, parent = (entry / "stat").read_text("latin-1").rpartition(")")[2].split()[:2]
                if state not in "ZX":
                    yield int(entry.name), int(parent)


def _ancestry(pid: int, parents: dict[int, int]) -> Iterator[int]:
    while pid:
        yield pid
        pid = parents.get(pid, 0)


def _descendants(pids: set[int], parents: dict[int, int]) -> set[int]:
    found, added = set(pids), set(pids)
    while added:
        added = {pid for pid, parent in parents.items() if parent in added} - found
        found |= added
    return found
