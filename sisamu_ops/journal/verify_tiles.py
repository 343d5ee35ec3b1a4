"""Whether the files of a replica hold together: no gap, and no hash the entries do not give.

Every tile file is compared, also partial ones that a wider one has replaced, so that no byte of a
replica goes unread. Source: C2SP tlog-tiles.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sisamu_ops.journal.evidence import Evidence
from sisamu_ops.journal.merkle import leaf_hash, root_of
from sisamu_ops.journal.tiles import (
    ENTRIES,
    WIDTH,
    Tile,
    decode_bundle,
    encode_bundle,
    tile_named,
    tiles_of,
    width_at,
)
from sisamu_ops.model.errors import IntegrityError


@dataclass(frozen=True, kw_only=True)
class TileCheck:
    """Judges the tiles of one replica."""

    evidence: Evidence
    fail: Callable[[str, str], None]
    note: Callable[[str, str], None]

    def check_entries(self, check: Callable[[int, bytes], None]) -> list[bytes]:
        """Give each leaf to `check` in order, up to the first gap, and return the leaf hashes."""
        hashes: list[bytes] = []
        for index, tiles in enumerate(self._bundles()):
            leaves = self._leaves(tiles[-1])
            if leaves is None or len(hashes) != index * WIDTH or tiles[0].index != index:
                self.fail(tiles[-1].name, f"entries are missing from {len(hashes)} on")
                break
            for tile in tiles[:-1]:
                self._compare(tile, encode_bundle(leaves[: tile.width]))
            for leaf in leaves:
                check(len(hashes), leaf)
                hashes.append(leaf_hash(leaf))
        return hashes

    def check_hashes(self, hashes: list[bytes], *, needed: int) -> None:
        """Compare every hash tile with what the entries give, and look for missing ones.

        A missing tile is a failure below the size `needed`; above it the writer may not be there
        yet, or have crashed before: that is a note.
        """
        size = len(hashes)
        present = [tile for tile in self._tiles() if tile.level != ENTRIES]
        for level in range(max((tile.level for tile in present), default=-1) + 1):
            for tile in present:
                if tile.level == level:
                    start = tile.index * WIDTH
                    self._compare(tile, b"".join(hashes[start : start + tile.width]))
            hashes = _level_above(hashes)
        self._check_missing(present, size, needed)

    def _check_missing(self, present: list[Tile], size: int, needed: int) -> None:
        widest: dict[tuple[int, int], int] = {}
        for tile in present:
            widest[tile.place] = max(tile.width, widest.get(tile.place, 0))
        for tile in tiles_of(size):
            found = widest.get(tile.place, 0)
            if tile.level == ENTRIES or found >= tile.width:
                continue
            missing = self.fail if width_at(needed, tile) > found else self.note
            missing(tile.name, "this hash tile is missing")

    def _tiles(self) -> list[Tile]:
        tiles = (tile_named(name) for name in self.evidence.names)
        return sorted(tile for tile in tiles if tile is not None)

    def _bundles(self) -> list[list[Tile]]:
        """Give the entry bundles in order, those of one place together, the widest last."""
        places: dict[int, list[Tile]] = {}
        for tile in self._tiles():
            if tile.level == ENTRIES:
                places.setdefault(tile.index, []).append(tile)
        return list(places.values())

    def _leaves(self, tile: Tile) -> list[bytes] | None:
        content = self._content(tile)
        try:
            leaves = None if content is None else decode_bundle(content)
        except IntegrityError as error:
            self.fail(tile.name, error.message)
            return None
        if leaves is not None and len(leaves) != tile.width:
            self.fail(tile.name, f"holds {len(leaves)} entries, not {tile.width}")
            return None
        return leaves

    def _compare(self, tile: Tile, expected: bytes) -> None:
        content = self._content(tile)
        if content is not None and content != expected:
            self.fail(tile.name, "is not what the entries give")

    def _content(self, tile: Tile) -> bytes | None:
        try:
            return self.evidence.read(tile.name)
        except OSError as error:
            self.fail(tile.name, f"cannot be read: {error.strerror}")
            return None


def _level_above(hashes: list[bytes]) -> list[bytes]:
    return [
        root_of(hashes[at : at + WIDTH]) for at in range(0, len(hashes) // WIDTH * WIDTH, WIDTH)
    ]
