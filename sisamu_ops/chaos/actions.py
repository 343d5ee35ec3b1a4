"""Actions as data: what `healer` knows how to perform, one function a kind (pure).

They are data because a cure must outlive the process that declared it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from sisamu_ops.chaos.scene import Action, Process


def run(*command: str, text: str = "") -> Action:
    """Run a command with `text` on its input; it must end with 0."""
    return {"do": "run", "command": list(command), "text": text}


def kill(process: Process) -> Action:
    """SIGKILL a process, and wait until it runs no more."""
    return {"do": "kill", "process": asdict(process)}


def stop(process: Process) -> Action:
    """SIGSTOP a process, and wait until all of it stands still."""
    return {"do": "stop", "process": asdict(process)}


def go_on(process: Process) -> Action:
    """SIGCONT a process; one that is gone needs none."""
    return {"do": "go-on", "process": asdict(process)}


def start(supervisor: Path, program: str) -> Action:
    """Start a supervised program unless it runs, and wait until it does."""
    return {"do": "start", "supervisor": str(supervisor), "program": program}


def write(path: Path, text: str) -> Action:
    """Write a small file whole, in one step for whoever reads it."""
    return {"do": "write", "path": str(path), "text": text}


def make_directories(*paths: Path) -> Action:
    """Make directories and their parents."""
    return {"do": "make-directories", "paths": _texts(paths)}


def remove_directories(*paths: Path) -> Action:
    """Remove empty directories, those that are there; never what is in one."""
    return {"do": "remove-directories", "paths": _texts(paths)}


def fill(path: Path) -> Action:
    """Make empty files until the file system says that no space is left on it."""
    return {"do": "fill", "path": str(path)}


def mount(*words: str) -> Action:
    """Call mount(8)."""
    return run("mount", *words)


def unmount(*paths: Path) -> Action:
    """Take away whatever is mounted on these places, at once for every new look."""
    return {"do": "unmount", "paths": _texts(paths)}


def _texts(paths: Sequence[Path]) -> list[str]:
    return [str(path) for path in paths]
