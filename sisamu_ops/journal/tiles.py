"""The files of a replica: names and contents of hash tiles and entry bundles.

Source: C2SP tlog-tiles. A tile holds 256 hashes of one level, an entry bundle the 256 leaves under
a tile of level 0; the rightmost ones are partial and say their width in their name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sisamu_ops.journal.merkle import HASH_BYTES
from sisamu_ops.model.errors import IntegrityError

WIDTH = 256
ENTRIES = -1
"""Stands for the level of an entry bundle, which has no number of its own."""

_HEIGHT = 8
_NAME = re.compile(
    r"tile/(entries|0|[1-9][0-9]?)/((?:x[0-9]{3}/)*)([0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?"
)


@dataclass(frozen=True, kw_only=True, order=True)
class Tile:
    """Which tile: its level (or `ENTRIES`), its index in that level, and how wide it is."""

    level: int
    index: int
    width: int = WIDTH

    @property
    def name(self) -> str:
        """Give its path relative to the replica, with `/` between its parts."""
        level = "entries" if self.level == ENTRIES else str(self.level)
        digits = f"{self.index:03d}"
        digits = digits.zfill(-(-len(digits) // 3) * 3)
        groups = [digits[start : start + 3] for start in range(0, len(digits), 3)]
        path = "/".join(["tile", level, *(f"x{group}" for group in groups[:-1]), groups[-1]])
        return path if self.is_full else f"{path}.p/{self.width}"

    @property
    def is_full(self) -> bool:
        """Say whether it will never change again."""
        return self.width == WIDTH

    @property
    def place(self) -> tuple[int, int]:
        """Give level and index: where it stands whatever its width."""
        return self.level, self.index

    @property
    def whole(self) -> Tile:
        """Give the full tile that will stand, or stands, in its place."""
        return Tile(level=self.level, index=self.index)


def tile_named(name: str) -> Tile | None:
    """Read a tile from its path; None when it is not the exact path of a tile."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    level = ENTRIES if match[1] == "entries" else int(match[1])
    index = int(match[2].replace("x", "").replace("/", "") + match[3])
    tile = Tile(level=level, index=index, width=int(match[4] or WIDTH))
    return tile if tile.name == name and 0 < tile.width <= WIDTH and level < 64 else None


def levels_of(size: int) -> int:
    """Count the levels of hash tiles a journal of this size has."""
    return -(-size.bit_length() // _HEIGHT)


def tiles_of(size: int) -> Iterator[Tile]:
    """Give every tile a journal of this size has, entry bundles first, then level by level."""
    for level in range(ENTRIES, levels_of(size)):
        hashes = size >> _HEIGHT * max(level, 0)
        yield from (Tile(level=level, index=index) for index in range(hashes // WIDTH))
        yield from _partial(level, hashes)


def edge_of(size: int) -> list[Tile]:
    """Give the partial tiles a journal of this size has: the ones that will still change."""
    levels = range(ENTRIES, levels_of(size))
    return [tile for level in levels for tile in _partial(level, size >> _HEIGHT * max(level, 0))]


def width_at(size: int, tile: Tile) -> int:
    """Give how wide the tile at this place is in a journal of this size (0: not there yet)."""
    hashes = size >> _HEIGHT * max(tile.level, 0)
    return max(0, min(WIDTH, hashes - tile.index * WIDTH))


def encode_bundle(leaves: Sequence[bytes]) -> bytes:
    """Join leaves, each after its length as a big-endian uint16.

    Raises OverflowError for a leaf longer than 65,535 bytes.
    """
    return b"".join(len(leaf).to_bytes(2, "big") + leaf for leaf in leaves)


def decode_bundle(content: bytes) -> list[bytes]:
    """Split an entry bundle; raises IntegrityError when its lengths do not add up."""
    leaves, start = [], 0
    while start < len(content):
        stop = start + 2 + int.from_bytes(content[start : start + 2], "big")
        if start + 2 > len(content) or stop > len(content):
            raise IntegrityError("an entry bundle ends inside an entry")
        leaves.append(content[start + 2 : stop])
        start = stop
    return leaves


def decode_hashes(content: bytes) -> list[bytes]:
    """Split a hash tile; raises IntegrityError when it ends inside a hash."""
    if len(content) % HASH_BYTES:
        raise IntegrityError("a hash tile ends inside a hash")
    return [content[at : at + HASH_BYTES] for at in range(0, len(content), HASH_BYTES)]


def _partial(level: int, hashes: int) -> list[Tile]:
    width = hashes % WIDTH
    return [Tile(level=level, index=hashes // WIDTH, width=width)] if width else []
