"""Reading a replica that somebody else may be writing, wherever its files are.

Only full tiles are there for ever; a partial one is replaced by a wider one while we look. So what
is missing is looked up again in a fresh listing before it is called missing. Nothing here judges
signatures: that is `verify`.
"""

from __future__ import annotations

import os
from pathlib import Path

from sisamu_ops.journal.merkle import Frontier, leaf_hash, root_of
from sisamu_ops.journal.port import ReplicaFiles
from sisamu_ops.journal.tiles import (
    ENTRIES,
    WIDTH,
    Tile,
    decode_bundle,
    decode_hashes,
    tile_named,
)
from sisamu_ops.model.errors import IntegrityError

CHECKPOINT = "checkpoint"
_ATTEMPTS = 5


class LocalFiles:
    """The files of a replica in a local directory."""

    def __init__(self, directory: Path) -> None:
        """Name the directory; one that does not exist has no files."""
        self._directory = directory

    def names(self) -> list[str]:
        """Give every file, and every link, below the directory."""
        return sorted(_names_below(self._directory, "")) if self._directory.is_dir() else []

    def read(self, name: str) -> bytes:
        """Give the content of a file; raises OSError."""
        return (self._directory / name).read_bytes()


def journal_files(directory: Path) -> LocalFiles:
    """Return the files of a journal: those of the directory itself, or of its `journal/`."""
    below = directory / "journal"
    return LocalFiles(below if below.is_dir() else directory)


class ReplicaReader:
    """A replica's entries, hashes and checkpoint, read only."""

    def __init__(self, files: ReplicaFiles) -> None:
        """Read through `files`, now and at every later question."""
        self._files = files
        self._tiles: frozenset[Tile] = frozenset()
        self.refresh()

    def refresh(self) -> None:
        """List the files again, twice: one listing may miss a tile just being replaced."""
        names = {*self._files.names(), *self._files.names()}
        found = (tile_named(name) for name in names)
        self._tiles = frozenset(tile for tile in found if tile is not None)

    @property
    def tiles(self) -> frozenset[Tile]:
        """Give the tiles of the last listing."""
        return self._tiles

    def first(self) -> int:
        """Give 0: a replica keeps every entry."""
        return 0

    def size(self) -> int:
        """Count the entries there are now; raises IntegrityError when there is a gap."""
        self.refresh()
        bundles = [tile for tile in self._tiles if tile.level == ENTRIES]
        size = max((tile.index * WIDTH + tile.width for tile in bundles), default=0)
        full = sum(1 for tile in bundles if tile.is_full and tile.index < size // WIDTH)
        if full != size // WIDTH:
            raise IntegrityError(f"entries are missing below {size}", place="tile/entries")
        return size

    def read(self, start: int, stop: int) -> list[bytes]:
        """Give the leaves from `start` up to `stop`.

        Raises ValueError when the range is not within the journal, IntegrityError when the files
        do not hold what their names say.
        """
        if not 0 <= start <= stop:
            raise ValueError(f"{start} to {stop} is not a range")
        leaves: list[bytes] = []
        for index in range(start // WIDTH, -(-stop // WIDTH)):
            wanted = min(WIDTH, stop - index * WIDTH)
            bundle = self.bundle(Tile(level=ENTRIES, index=index, width=wanted))
            leaves += bundle[max(0, start - index * WIDTH) : wanted]
        return leaves

    def bundle(self, tile: Tile) -> list[bytes]:
        """Give the leaves of an entry bundle; raises ValueError when there is none so wide."""
        content = self._content(tile)
        if content is None:
            raise ValueError(f"there is no {tile.name}")
        found, data = content
        return _counted(decode_bundle(data), found)

    def hashes(self, tile: Tile) -> list[bytes]:
        """Give the hashes of a tile, from its file or else computed from the level below."""
        content = self._content(tile)
        if content is None:
            return self.computed_hashes(tile)
        found, data = content
        return _counted(decode_hashes(data), found)[: tile.width]

    def computed_hashes(self, tile: Tile) -> list[bytes]:
        """Compute the hashes of a tile from what stands below it."""
        if tile.level == 0:
            below = Tile(level=ENTRIES, index=tile.index, width=tile.width)
            return [leaf_hash(leaf) for leaf in self.bundle(below)[: tile.width]]
        first = tile.index * WIDTH
        below_it = (Tile(level=tile.level - 1, index=first + at) for at in range(tile.width))
        return [root_of(self.hashes(below)) for below in below_it]

    def root(self, size: int) -> bytes:
        """Give the root of the first `size` entries."""
        peaks: list[bytes] = []
        level, hashes = 0, size
        while hashes:
            width = hashes % WIDTH
            tail = Tile(level=level, index=hashes // WIDTH, width=width)
            peaks = [*Frontier.over(self.hashes(tail) if width else []).peaks, *peaks]
            level, hashes = level + 1, hashes // WIDTH
        return Frontier(size, peaks).root()

    def checkpoint(self) -> bytes | None:
        """Give the newest checkpoint's note, or None."""
        try:
            return self._files.read(CHECKPOINT)
        except FileNotFoundError:
            return None

    def _content(self, tile: Tile) -> tuple[Tile, bytes] | None:
        """Read the narrowest file that is at least as wide as asked for."""
        for _ in range(_ATTEMPTS):
            wide_enough = [
                found
                for width in range(tile.width, WIDTH + 1)
                if (found := Tile(level=tile.level, index=tile.index, width=width)) in self._tiles
            ]
            try:
                return (wide_enough[0], self._files.read(wide_enough[0].name))
            except (IndexError, FileNotFoundError):
                self.refresh()
        return None


def _counted(items: list[bytes], tile: Tile) -> list[bytes]:
    if len(items) != tile.width:
        raise IntegrityError(f"holds {len(items)} items, not {tile.width}", place=tile.name)
    return items


def _names_below(directory: Path, prefix: str) -> list[str]:
    try:
        found = list(os.scandir(directory))
    except FileNotFoundError:  # The writer has just removed the directory of old partial tiles.
        return []
    names: list[str] = []
    for item in found:
        if item.is_dir(follow_symlinks=False):
            names += _names_below(directory / item.name, f"{prefix}{item.name}/")
        else:
            names.append(prefix + item.name)
    return names
