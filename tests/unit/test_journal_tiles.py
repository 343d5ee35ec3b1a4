"""The names and contents of C2SP tiles."""

from __future__ import annotations

import pytest

from sisamu_ops.journal.tiles import (
    ENTRIES,
    Tile,
    decode_bundle,
    decode_hashes,
    edge_of,
    encode_bundle,
    levels_of,
    tile_named,
    tiles_of,
    width_at,
)
from sisamu_ops.model.errors import IntegrityError


@pytest.mark.parametrize(
    ("tile", "name"),
    [
        (Tile(level=0, index=0), "tile/0/000"),
        (Tile(level=0, index=1234), "tile/0/x001/234"),
        (Tile(level=2, index=1234067, width=7), "tile/2/x001/x234/067.p/7"),
        (Tile(level=ENTRIES, index=999), "tile/entries/999"),
        (Tile(level=ENTRIES, index=1000, width=255), "tile/entries/x001/000.p/255"),
        (Tile(level=10, index=5), "tile/10/005"),
    ],
)
def test_a_tile_and_its_name_say_the_same(tile: Tile, name: str) -> None:
    """The examples of C2SP tlog-tiles, read and written."""
    assert tile.name == name
    assert tile_named(name) == tile


@pytest.mark.parametrize(
    "name",
    [
        "", "tile", "tile/0", "tile/0/0", "tile/0/0000", "tile/00/000", "tile/0/x000/000",
        "tile/0/000.p/0", "tile/0/000.p/01", "tile/0/000.p/256", "tile/0/000.p/999", "tile/64/000",
        "tile/-1/000", "tile/0/000.p", "/tile/0/000", "tile/0/000/", "tile/0/x001/x234",
        "tile/entries/x/000", "tile/0/٠٠٠", "tile/0/000\n", "tile/data/000", "checkpoint",
    ],
)  # fmt: skip
def test_another_name_is_no_tile(name: str) -> None:
    """A tile has one name: another spelling of it is not read."""
    assert tile_named(name) is None


def test_the_specifications_example_tree() -> None:
    """A tree of 70,000 has the tiles that tlog-tiles counts, one of 256 has a tile above."""
    tiles = list(tiles_of(70_000))
    full = [sum(t.is_full for t in tiles if t.level == level) for level in range(-1, 3)]
    assert full == [273, 273, 1, 0]
    assert {(t.level, t.width) for t in edge_of(70_000)} == {(-1, 112), (0, 112), (1, 17), (2, 1)}
    assert [t.name for t in tiles_of(256)] == ["tile/entries/000", "tile/0/000", "tile/1/000.p/1"]


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 511, 512, 65_535, 65_536, 65_537])
def test_edge_and_widths_agree_with_all_tiles(size: int) -> None:
    """The edge is the partial part of all tiles, and each width is the one asked for."""
    tiles = list(tiles_of(size))
    assert [tile for tile in tiles if not tile.is_full] == edge_of(size)
    assert all(width_at(size, tile) == tile.width for tile in tiles)
    assert width_at(size, Tile(level=0, index=1_000)) == 0
    assert levels_of(size) == max((tile.level + 1 for tile in tiles), default=0)


def test_a_bundle_that_does_not_add_up_is_refused() -> None:
    """Lengths that point beyond the end are an IntegrityError; so is half a hash."""
    sound = encode_bundle([b"", b"one", b"x" * 65_535])
    assert decode_bundle(sound) == [b"", b"one", b"x" * 65_535]
    for damaged in (sound[:-1], sound + b"\x00", sound + b"\x00\x02x"):
        with pytest.raises(IntegrityError):
            decode_bundle(damaged)
    with pytest.raises(IntegrityError):
        decode_hashes(bytes(33))
    with pytest.raises(OverflowError):
        encode_bundle([b"x" * 65_536])
