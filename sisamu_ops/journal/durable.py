"""Writing so that it stays written: whole files only, on disk before the call returns.

A file is written beside its final place, fsynced, renamed over, and its directory fsynced: after a
crash it is there whole or not at all (rename(2), fsync(2)). Each primitive is a method of its own,
so that tests can stop the machine between any two of them.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


class Disk:
    """The primitives of a durable write, on the real file system."""

    def write(self, path: Path, content: bytes, mode: int = 0o644) -> None:
        """Write a whole file and force its content to the disk."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.write(content)
            file.flush()
            os.fsync(descriptor)

    def rename(self, source: Path, destination: Path) -> None:
        """Put a file in its place, over what was there."""
        source.replace(destination)

    def sync_directory(self, path: Path) -> None:
        """Force a directory's list of names to the disk."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def remove(self, path: Path) -> None:
        """Remove a file; one that is already gone is fine."""
        path.unlink(missing_ok=True)

    def remove_directory(self, path: Path) -> None:
        """Remove an empty directory; one that is not empty stays."""
        with contextlib.suppress(OSError):
            path.rmdir()

    def make_directory(self, path: Path) -> None:
        """Make one directory in an existing parent; one that exists is fine."""
        path.mkdir(exist_ok=True)


def write_durably(
    path: Path, content: bytes, *, by_way_of: Path | None = None, mode: int = 0o644, disk: Disk
) -> None:
    """Replace a file whole and return once it is durable.

    `by_way_of` is the place of the unfinished file, on the same file system; by default hidden
    beside the final one. Raises OSError as the system gives it.
    """
    unfinished = by_way_of or path.with_name(f".{path.name}.unfinished")
    disk.write(unfinished, content, mode)
    disk.rename(unfinished, path)
    disk.sync_directory(path.parent)


def make_directories_durably(path: Path, *, disk: Disk) -> None:
    """Make a directory and its missing parents, each durable in its own parent."""
    if path.is_dir():
        return
    make_directories_durably(path.parent, disk=disk)
    disk.make_directory(path)
    disk.sync_directory(path.parent)
