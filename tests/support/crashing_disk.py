"""A machine that stops at a chosen step of its writing, and what is on its disk afterwards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.support.signed_journal import FastDisk


class MachineStoppedError(Exception):
    """The power went."""


class CrashingDisk(FastDisk):
    """Does `steps` primitives of writing, then stops in the middle of the next one.

    What a directory was not yet synced for is either all there afterwards, or, once `forget` is
    called, all lost: the two ends of what a file system may do.
    """

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._unsynced: list[tuple[Path, Callable[[], object]]] = []

    def forget(self) -> None:
        """Lose every change of a directory that no sync has made durable."""
        for _, undo in reversed(self._unsynced):
            undo()

    def write(self, path: Path, content: bytes, mode: int = 0o644) -> None:
        if self._last():
            path.write_bytes(content[: len(content) // 2])
            raise MachineStoppedError
        super().write(path, content, mode)

    def rename(self, source: Path, destination: Path) -> None:
        self._step()
        before = destination.read_bytes() if destination.exists() else None
        super().rename(source, destination)
        self._undo_with(destination, lambda: _restore(destination, before))

    def remove(self, path: Path) -> None:
        self._step()
        before = path.read_bytes() if path.exists() else None
        super().remove(path)
        self._undo_with(path, lambda: _restore(path, before))

    def remove_directory(self, path: Path) -> None:
        self._step()
        super().remove_directory(path)
        if not path.exists():
            self._undo_with(path, path.mkdir)

    def make_directory(self, path: Path) -> None:
        self._step()
        super().make_directory(path)
        self._undo_with(path, path.rmdir)

    def sync_directory(self, path: Path) -> None:
        self._step()
        self._unsynced = [(at, undo) for at, undo in self._unsynced if at.parent != path]

    def _undo_with(self, path: Path, undo: Callable[[], object]) -> None:
        self._unsynced.append((path, undo))

    def _step(self) -> None:
        if self._last():
            raise MachineStoppedError

    def _last(self) -> bool:
        self._steps -= 1
        return self._steps < 0


def _restore(path: Path, content: bytes | None) -> None:
    if content is None:
        path.unlink(missing_ok=True)
    else:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
