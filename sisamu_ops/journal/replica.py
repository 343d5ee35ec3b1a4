"""A site's copy of the whole journal, on disk in the public layout of C2SP tlog-tiles.

Entries are written before the hashes that follow from them, and every file whole and durable before
the next (see `durable`). So whatever moment the machine stops at, the entries on disk are a prefix
of what was appended, and what is missing above them is computed again when the replica is opened.
Of the partial tiles only those of the newest size and of the newest checkpoint are kept.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from sisamu_ops.journal.checkpoint import parse_checkpoint
from sisamu_ops.journal.durable import Disk, make_directories_durably, write_durably
from sisamu_ops.journal.entry import MAX_LEAF_BYTES
from sisamu_ops.journal.merkle import Frontier, leaf_hash, root_of
from sisamu_ops.journal.reader import CHECKPOINT, LocalFiles, ReplicaReader
from sisamu_ops.journal.tiles import (
    ENTRIES,
    WIDTH,
    Tile,
    edge_of,
    encode_bundle,
    levels_of,
    tiles_of,
    width_at,
)
from sisamu_ops.model.errors import IntegrityError, RefusedError

UNFINISHED = ".unfinished"
"""The file being written; what it holds has no meaning until it is renamed into place."""

WRITER = ".writer"
"""Locked by the one process that may write.

A POSIX record lock: it ends with its process and, unlike flock, is not held on by a child that
outlives it. So it does not keep two objects of one process apart.
"""


_ROOTS_KEPT = 64


class Replica:
    """The replica a site's agent writes; readers use `ReplicaReader`."""

    def __init__(self, directory: Path, *, disk: Disk | None = None) -> None:
        """Open or create a replica and complete what a crash left undone.

        Raises RefusedError when another process is writing it, IntegrityError when entries are
        missing or the newest tiles are not what the entries give.
        """
        self._directory = directory
        self._disk = disk or Disk()
        make_directories_durably(directory, disk=self._disk)
        self._lock = _locked(directory / WRITER)
        self._reader = ReplicaReader(LocalFiles(directory))
        self._load()

    @property
    def directory(self) -> Path:
        """Give where it is."""
        return self._directory

    def files(self) -> LocalFiles:
        """Give its files, for whoever reads it beside the writer."""
        return LocalFiles(self._directory)

    def check_tile(self, index: int) -> None:
        """Check one full tile of entries against its hashes, and those against the level above.

        Raises IntegrityError when they do not go together; ValueError beyond the full tiles.
        """
        tile = Tile(level=0, index=index)
        if index >= self.size // WIDTH:
            raise ValueError(f"{tile.name} is not full")
        hashes = self._reader.hashes(tile)
        above = Tile(level=1, index=index // WIDTH, width=index % WIDTH + 1)
        told = self._tail_or_tile(above)
        if hashes != self._reader.computed_hashes(tile) or told[index % WIDTH] != root_of(hashes):
            raise IntegrityError(
                "entries and hashes do not go together", place=str(self._directory / tile.name)
            )

    def _tail_or_tile(self, tile: Tile) -> list[bytes]:
        if tile.index == self._size >> 8 * (tile.level + 1):
            return self._tails[tile.level]
        return self._reader.hashes(tile.whole)

    def close(self) -> None:
        """Let another process write; this object is of no further use."""
        self._lock.close()

    @property
    def size(self) -> int:
        """Count the entries."""
        self._reload_after_failure()
        return self._size

    def root(self, size: int | None = None) -> bytes:
        """Give the root of the whole journal, or of its first `size` entries."""
        self._reload_after_failure()
        if size is not None and size != self._size:
            return self._older_root(size)
        peaks = [peak for tail in reversed(self._tails) for peak in Frontier.over(tail).peaks]
        return Frontier(self._size, peaks).root()

    def _older_root(self, size: int) -> bytes:
        """Compute it once: every site's newest notes are looked at again and again."""
        if size not in self._roots:
            if len(self._roots) >= _ROOTS_KEPT:
                self._roots.clear()
            self._roots[size] = self._reader.root(size)
        return self._roots[size]

    def read(self, start: int, stop: int) -> list[bytes]:
        """Give the leaves from `start` up to `stop`; raises ValueError beyond the end."""
        self._reload_after_failure()
        if stop > self._size:
            raise ValueError(f"there is no entry {stop - 1} in a journal of {self._size}")
        return self._read(start, stop)

    def append(self, leaves: Sequence[bytes]) -> None:
        """Add leaves at the end; they are durable when this returns.

        Raises ValueError when a leaf is too large (nothing is written then), OSError as the disk
        gives it (a prefix of the leaves may then have been added: see `size`).
        """
        if any(len(leaf) > MAX_LEAF_BYTES for leaf in leaves):
            raise ValueError(f"a leaf has at most {MAX_LEAF_BYTES} bytes")
        self._reload_after_failure()
        self._loaded = False
        for chunk in _chunks(leaves, WIDTH - len(self._leaves)):
            self._extend(chunk)
        self._put_missing(edge_of(self._size))
        self._prune()
        self._loaded = True

    def checkpoint(self) -> bytes | None:
        """Give the newest checkpoint's note, or None."""
        return self._reader.checkpoint()

    def write_checkpoint(self, note: bytes) -> None:
        """Put a checkpoint of this journal in place of the former one, durably.

        Its signatures are for the caller to judge. Raises IntegrityError when it is malformed, of
        a size not reached, smaller than the former one, or of another root than these entries.
        """
        head = parse_checkpoint(note).head
        if not self._checkpoint_size() <= head.size <= self.size:
            raise IntegrityError(f"a checkpoint of size {head.size} has no place here")
        if self.root(head.size) != head.root:
            raise IntegrityError(f"another root than that of the first {head.size} entries")
        self._loaded = False
        self._put_missing(edge_of(head.size))
        write_durably(
            self._directory / CHECKPOINT, note, by_way_of=self._unfinished, disk=self._disk
        )
        self._prune()
        self._loaded = True

    @property
    def _unfinished(self) -> Path:
        return self._directory / UNFINISHED

    def _reload_after_failure(self) -> None:
        """Take the state from the disk again when a write did not run to its end."""
        if not self._loaded:
            self._load()

    def _load(self) -> None:
        """Read the right edge, check it against the level below, and write what is missing."""
        self._size = self._reader.size()
        self._roots: dict[int, bytes] = {}
        self._full = {tile for tile in self._reader.tiles if tile.is_full}
        self._partials = set(self._reader.tiles) - self._full
        self._refuse_losses()
        self._leaves: list[bytes] = []
        self._leaves = self._read(self._size - self._size % WIDTH, self._size)
        self._tails: list[list[bytes]] = []
        self._put_missing(tiles_of(self._size))
        self._tails = [self._checked_tail(level) for level in range(levels_of(self._size))]
        self._prune()
        self._loaded = True

    def _refuse_losses(self) -> None:
        """Refuse a replica that once held more: what was acknowledged must not be overwritten."""
        tiles = self._full | self._partials
        beyond = any(tile.width > width_at(self._size, tile) for tile in tiles)
        if beyond or self._checkpoint_size() > self._size:
            raise IntegrityError(
                f"only {self._size} entries are left, but more were written",
                place=str(self._directory),
                remedy="set this directory aside and let the agent copy the journal from a peer",
            )

    def _checked_tail(self, level: int) -> list[bytes]:
        hashes = self._size >> 8 * level
        tail = Tile(level=level, index=hashes // WIDTH, width=hashes % WIDTH)
        if not tail.width:
            return []
        computed = self._reader.computed_hashes(tail)
        if computed != self._reader.hashes(tail):
            raise IntegrityError(
                "not the hashes of what is below it", place=str(self._directory / tail.name)
            )
        return computed

    def _checkpoint_size(self) -> int:
        note = self._reader.checkpoint()
        return 0 if note is None else parse_checkpoint(note).head.size

    def _extend(self, chunk: Sequence[bytes]) -> None:
        """Add leaves that fit into the newest bundle, and write the tiles this fills."""
        index = self._size // WIDTH
        self._leaves += chunk
        width = len(self._leaves)
        self._put(Tile(level=ENTRIES, index=index, width=width), encode_bundle(self._leaves))
        self._size += len(chunk)
        self._grow(0, [leaf_hash(leaf) for leaf in chunk])
        if width == WIDTH:
            self._leaves = []

    def _grow(self, level: int, hashes: list[bytes]) -> None:
        """Add hashes to the newest tile of a level, and to the level above when that is full."""
        if level == len(self._tails):
            self._tails.append([])
        tail = self._tails[level]
        tail += hashes
        if len(tail) == WIDTH:
            index = (self._size >> 8 * (level + 1)) - 1
            self._put(Tile(level=level, index=index), b"".join(tail))
            self._tails[level] = []
            self._grow(level + 1, [root_of(tail)])

    def _put_missing(self, wanted: Iterable[Tile]) -> None:
        """Write the tiles that are neither there nor, complete, in their place."""
        for tile in wanted:
            if tile not in self._partials and tile.whole not in self._full:
                self._put(tile, self._content(tile))

    def _content(self, tile: Tile) -> bytes:
        if tile.level == ENTRIES:
            start = tile.index * WIDTH
            return encode_bundle(self._read(start, start + tile.width))
        if tile.level < len(self._tails) and tile.index == self._size >> 8 * (tile.level + 1):
            return b"".join(self._tails[tile.level][: tile.width])
        return b"".join(self._reader.hashes(tile))

    def _read(self, start: int, stop: int) -> list[bytes]:
        first = self._size - len(self._leaves)
        if first <= start <= stop:
            return self._leaves[start - first : stop - first]
        return self._reader.read(start, stop)

    def _put(self, tile: Tile, content: bytes) -> None:
        path = self._directory / tile.name
        make_directories_durably(path.parent, disk=self._disk)
        write_durably(path, content, by_way_of=self._unfinished, disk=self._disk)
        (self._full if tile.is_full else self._partials).add(tile)

    def _prune(self) -> None:
        """Remove the partial tiles that neither this size nor the checkpoint's has."""
        kept = {*edge_of(self._size), *edge_of(self._checkpoint_size())}
        for tile in sorted(self._partials):
            complete = tile.whole in self._full
            if complete or tile not in kept:
                self._disk.remove(self._directory / tile.name)
                self._partials.discard(tile)
            if complete:
                self._disk.remove_directory((self._directory / tile.name).parent)


def open_or_set_aside(directory: Path) -> tuple[Replica, Path | None]:
    """Open a replica; a damaged one is kept beside it, and an empty one opened in its place.

    Returns where the damaged one is now. RefusedError when another process writes it.
    """
    try:
        return Replica(directory), None
    except IntegrityError:
        aside = set_aside(directory)
        return Replica(directory), aside


def set_aside(directory: Path) -> Path:
    """Rename a replica's directory, for whoever wants to know what befell it."""
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    aside = directory.with_name(f"{directory.name}.damaged-{moment}")
    directory.rename(aside)
    return aside


def _chunks(leaves: Sequence[bytes], first: int) -> Iterator[Sequence[bytes]]:
    """Cut leaves where bundles end; the first bundle has room for `first`."""
    start, stop = 0, first
    while start < len(leaves):
        yield leaves[start:stop]
        start, stop = stop, stop + WIDTH


def _locked(path: Path) -> IO[bytes]:
    file = path.open("wb")
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise RefusedError(
            "another process writes this replica",
            place=str(path.parent),
            remedy="read it while its agent runs; stop the agent before writing",
        ) from error
    return file
