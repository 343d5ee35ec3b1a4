"""A still picture of a replica that may be growing while it is looked at.

Full tiles never change and are read when needed. The checkpoint and the partial tiles do change, so
they are read between two equal listings, the checkpoint first: then it is never newer than the
entries beside it, and a growing replica is not mistaken for a damaged one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sisamu_ops.journal.port import ReplicaFiles
from sisamu_ops.journal.reader import CHECKPOINT
from sisamu_ops.journal.tiles import tile_named

_ATTEMPTS = 20


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The names of a replica's files, and the content of those that change."""

    names: frozenset[str]
    held: Mapping[str, bytes]
    files: ReplicaFiles

    def read(self, name: str) -> bytes:
        """Give a file's content as it was in the picture; raises OSError."""
        held = self.held.get(name)
        return self.files.read(name) if held is None else held

    @property
    def checkpoint(self) -> bytes | None:
        """Give the checkpoint's note, or None when there is none or it cannot be read."""
        return self.held.get(CHECKPOINT)


def gather(files: ReplicaFiles) -> Evidence:
    """Take the picture; when the replica never stands still, the last one is judged as it is."""
    for _ in range(_ATTEMPTS):
        held = _read_all(files, [CHECKPOINT])
        names = frozenset(files.names())
        changing = [name for name in names if name == CHECKPOINT or _is_partial(name)]
        held = _read_all(files, sorted(set(changing) - {CHECKPOINT})) | held
        if set(held) == set(changing) and frozenset(files.names()) == names:
            break
    return Evidence(names=names, held=held, files=files)


def _is_partial(name: str) -> bool:
    tile = tile_named(name)
    return tile is not None and not tile.is_full


def _read_all(files: ReplicaFiles, names: list[str]) -> dict[str, bytes]:
    """Read what can be read; what cannot be is missing from the answer."""
    contents = {}
    for name in names:
        try:
            contents[name] = files.read(name)
        except OSError:
            continue
    return contents
