"""What faults must know of the lab they are injected into; the lab satisfies it.

A scene is read once per injection, so that declaring a fault is pure: it takes what was read, and
gives what would be done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

#: One thing to do, as data: performed by the injector, or by the healer (see `healer`).
Action = dict[str, Any]
#: Packets from the first network to the second.
Link = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Process:
    """One running process; `started` tells it from a later one of the same number (proc(5))."""

    pid: int
    started: int


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One lab as it was read.

    `directory` is where armed cures are kept. `processes` holds the programs that run, by name;
    `clocks` each site's clock file, none when agents cannot be given another time; `cut` and
    `join` give the action that cuts links one way and the one that joins them.
    """

    directory: Path
    sites: tuple[str, ...]
    arbiter: str
    supervisor: Path
    processes: Mapping[str, Process]
    homes: Mapping[str, Path]
    clocks: Mapping[str, Path]
    cut: Callable[[frozenset[Link]], Action]
    join: Callable[[frozenset[Link]], Action]


class Ground(Protocol):
    """Where faults are injected."""

    def scene(self) -> Scene:
        """Read the lab now; FailedError when it is not up."""

    @property
    def cures(self) -> Path:
        """Return the directory of armed cures, which is found without reading anything else."""
