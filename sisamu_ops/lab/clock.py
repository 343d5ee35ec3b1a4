"""The wall clock an agent sees: the machine's, moved by what its site's clock file says.

libfaketime (PyPI) is loaded into each agent; what runs under its guard is not given the variables.
It reads the file at every look at the clock, so that a clock can jump while the agent runs.
CLOCK_MONOTONIC and CLOCK_BOOTTIME stay the machine's, as they would on a machine whose wall clock
jumps; so do the times of files.

The library wants a semaphore and a shared page. Those it makes itself are left behind by every
process that is killed, and one killed while it holds the semaphore would keep those that share it
from starting. So the lab makes one of each, removes them when it goes down, and lets the semaphore
be taken as often as anybody likes: what it guards is the same for all.
"""

from __future__ import annotations

import ctypes
import os
from importlib.util import find_spec
from pathlib import Path
from platform import machine

from sisamu_ops.lab.topology import SITES, LabPlace
from sisamu_ops.model.errors import FailedError

_SHARED_MEMORY = Path("/dev/shm")
_PAGE_BYTES = 4096
_TAKERS = 1 << 20


def clock_file(place: LabPlace, site: str) -> Path:
    """Return the file that holds how far a site's clock is off, as `+SECONDS`; never absent.

    Without it libfaketime writes its default into a buffer all threads share, empties it for an
    instant by doing so, and ends the process of a thread that reads it in that instant.
    """
    return place.root / "clocks" / site


def clock_environment(place: LabPlace, site: str) -> tuple[tuple[str, str], ...]:
    """Return the variables that let a site's clock jump; none where libfaketime is missing."""
    library = clock_library()
    if library is None:
        return ()
    return (
        ("LD_PRELOAD", str(library)),
        ("FAKETIME_TIMESTAMP_FILE", str(clock_file(place, site))),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ("FAKETIME_NO_CACHE", "1"),
        ("NO_FAKE_STAT", "1"),
        ("FAKETIME_SHARED", f"/{_shared(place)} /{_shared(place)}"),
    )


def furnish_clocks(place: LabPlace) -> None:
    """Make what all agents' clocks share, unless it is there or libfaketime is missing."""
    for path in (clock_file(place, site) for site in SITES):
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_text("+0\n", "ascii")
    semaphore, page = _shared_files(place)
    if clock_library() is None or (semaphore.exists() and page.exists()):
        return
    remove_clocks(place)
    page.write_bytes(bytes(_PAGE_BYTES))
    _make_semaphore(f"/{_shared(place)}")


def remove_clocks(place: LabPlace) -> None:
    """Remove what the agents' clocks shared; nothing there is fine."""
    for path in _shared_files(place):
        path.unlink(missing_ok=True)


def _shared(place: LabPlace) -> str:
    return f"sisamu-{place.name}-clock"


def _shared_files(place: LabPlace) -> tuple[Path, Path]:
    """Return the files of the semaphore and of the page (sem_overview(7), shm_overview(7))."""
    name = _shared(place)
    return _SHARED_MEMORY / f"sem.{name}", _SHARED_MEMORY / name


def _make_semaphore(name: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.sem_open.restype = ctypes.c_void_p
    made = libc.sem_open(name.encode(), os.O_CREAT, 0o600, ctypes.c_uint(_TAKERS))
    if not made:
        reason = os.strerror(ctypes.get_errno())
        raise FailedError(f"no semaphore {name}: {reason}", remedy="mount /dev/shm")
    libc.sem_close(ctypes.c_void_p(made))


def clock_library() -> Path | None:
    """Find libfaketime's shared library in the installed package, without importing it.

    None where it is not installed, and where it is no use: its wheel is built for x86-64 alone.
    """
    spec = find_spec("libfaketime")
    if spec is None or spec.origin is None or machine() != "x86_64":
        return None
    library = Path(spec.origin).parent / "vendor/libfaketime/src/libfaketime.so.1"
    return library if library.is_file() else None
