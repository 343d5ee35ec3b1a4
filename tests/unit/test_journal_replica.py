"""A replica keeps what it was given, in the public layout, whenever the machine stops."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sisamu_ops.journal.checkpoint import parse_checkpoint
from sisamu_ops.journal.merkle import leaf_hash, root_of
from sisamu_ops.journal.reader import LocalFiles, ReplicaReader
from sisamu_ops.journal.replica import UNFINISHED, WRITER, Replica
from sisamu_ops.journal.tiles import edge_of, encode_bundle, tiles_of
from sisamu_ops.model.errors import IntegrityError, RefusedError
from tests.support.crashing_disk import CrashingDisk, MachineStoppedError
from tests.support.signed_journal import FastDisk, FilesInMemory, files_of, signed_checkpoint

NOTHING = signed_checkpoint([]).note
LEAVES = [f"leaf {number}".encode() for number in range(66_000)]


def root(size: int) -> bytes:
    return root_of(leaf_hash(leaf) for leaf in LEAVES[:size])


def names(directory: Path) -> set[str]:
    return set(LocalFiles(directory).names()) - {UNFINISHED, WRITER}


def tile_names(*sizes: int) -> set[str]:
    return {tile.name for size in sizes for tile in tiles_of(size)}


@pytest.mark.parametrize("sizes", [[0], [1], [255, 1], [256], [100, 157], [1] * 260, [600, 0, 3]])
def test_what_was_appended_is_there_after_reopening(tmp_path: Path, sizes: list[int]) -> None:
    """However the leaves were grouped, the files are those of C2SP for the final size."""
    replica = Replica(tmp_path, disk=FastDisk())
    for size in sizes:
        replica.append(LEAVES[replica.size : replica.size + size])
    total = sum(sizes)
    assert names(tmp_path) == tile_names(total)
    for opened in (replica, Replica(tmp_path)):
        assert (opened.size, opened.root()) == (total, root(total))
        assert opened.read(0, total) == LEAVES[:total]
        assert opened.read(total // 2, total) == LEAVES[total // 2 : total]


def test_a_real_disk_holds_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With every fsync in place the outcome is the same."""
    monkeypatch.undo()
    replica = Replica(tmp_path / "a" / "b")
    replica.append(LEAVES[:300])
    replica.write_checkpoint(signed_checkpoint(LEAVES[:300]).note)
    replica.append(LEAVES[300:301])
    assert Replica(tmp_path / "a" / "b").root() == root(301)


@pytest.mark.parametrize("size", [1, 255, 256, 257, 512, 65_535, 65_536, 65_537, 65_999])
def test_the_root_of_every_earlier_size_can_be_had(big: Path, size: int) -> None:
    """The roots of prefixes, across two and three levels of tiles, are those of the definition."""
    assert ReplicaReader(LocalFiles(big)).root(size) == root(size)


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory: Path = tmp_path_factory.mktemp("big")
    replica = Replica(directory, disk=FastDisk())
    replica.append(LEAVES)
    replica.close()
    return directory


def test_a_range_beyond_the_end_is_a_callers_mistake(tmp_path: Path) -> None:
    """Nobody is given fewer entries than asked for without noticing."""
    replica = Replica(tmp_path, disk=FastDisk())
    replica.append(LEAVES[:300])
    for reader in (replica, ReplicaReader(LocalFiles(tmp_path))):
        for start, stop in ((0, 301), (299, 301), (-1, 2), (5, 4)):
            with pytest.raises(ValueError):
                reader.read(start, stop)


def test_a_leaf_too_large_changes_nothing(tmp_path: Path) -> None:
    """One leaf that cannot be stored refuses the whole batch before anything is written."""
    replica = Replica(tmp_path, disk=FastDisk())
    with pytest.raises(ValueError):
        replica.append([b"fits", b"x" * 65_536])
    assert replica.size == 0
    assert names(tmp_path) == set()


def test_the_tiles_of_the_checkpoint_stay_until_the_next(tmp_path: Path) -> None:
    """A tlog client that holds the checkpoint finds the partial tiles of its size."""
    replica = Replica(tmp_path, disk=FastDisk())
    replica.append(LEAVES[:10])
    note = signed_checkpoint(LEAVES[:7]).note
    replica.write_checkpoint(note)
    replica.append(LEAVES[10:12])
    assert names(tmp_path) == tile_names(7, 12) | {"checkpoint"}
    assert replica.checkpoint() == note
    replica.write_checkpoint(signed_checkpoint(LEAVES[:12]).note)
    assert names(tmp_path) == tile_names(12) | {"checkpoint"}
    replica.append(LEAVES[12:256])
    assert names(tmp_path) == tile_names(256) | {"checkpoint"}
    assert not (tmp_path / "tile/0/000.p").exists()


def test_a_checkpoint_of_something_else_is_refused(tmp_path: Path) -> None:
    """Of a size not reached, going backwards, or of other entries: the old one stays."""
    replica = Replica(tmp_path, disk=FastDisk())
    replica.append(LEAVES[:10])
    note = signed_checkpoint(LEAVES[:9]).note
    replica.write_checkpoint(note)
    for leaves in (LEAVES[:11], LEAVES[:8], LEAVES[1:11]):
        with pytest.raises(IntegrityError):
            replica.write_checkpoint(signed_checkpoint(leaves).note)
    with pytest.raises(IntegrityError):
        replica.write_checkpoint(b"loose")
    assert replica.checkpoint() == note


@pytest.mark.parametrize("lost", ["tile/entries/001.p/44", "tile/entries/000"])
def test_lost_entries_are_not_written_over(tmp_path: Path, lost: str) -> None:
    """A replica that once held more refuses to open: its next append would fork the history."""
    replica = Replica(tmp_path, disk=FastDisk())
    replica.append(LEAVES[:300])
    replica.close()
    (tmp_path / lost).unlink()
    with pytest.raises(IntegrityError):
        Replica(tmp_path)


def test_entries_lost_together_with_their_hashes_are_known_by_the_checkpoint(
    tmp_path: Path,
) -> None:
    """A whole replica set back behind its own checkpoint refuses to open."""
    replica = Replica(tmp_path, disk=FastDisk())
    replica.append(LEAVES[:5])
    replica.write_checkpoint(signed_checkpoint(LEAVES[:5]).note)
    shutil.rmtree(tmp_path / "tile")
    with pytest.raises(IntegrityError, match="only 0 entries"):
        Replica(tmp_path)


@pytest.mark.parametrize("tile", ["tile/0/001.p/44", "tile/1/000.p/1"])
def test_a_changed_tile_at_the_edge_is_found_on_opening(tmp_path: Path, tile: str) -> None:
    """The hashes a new root would be built on are computed again."""
    replica = Replica(tmp_path, disk=FastDisk())
    replica.append(LEAVES[:300])
    (tmp_path / tile).write_bytes(bytes((tmp_path / tile).stat().st_size))
    with pytest.raises(IntegrityError, match="not the hashes"):
        Replica(tmp_path)


def test_a_failed_write_leaves_a_usable_replica(tmp_path: Path) -> None:
    """After a disk error the same object goes on from what is really on the disk."""
    disk = CrashingDisk(10_000)
    replica = Replica(tmp_path, disk=disk)
    replica.append(LEAVES[:250])
    disk._steps = 9
    with pytest.raises(MachineStoppedError):
        replica.append(LEAVES[250:600])
    disk._steps = 10_000
    size = replica.size
    assert 250 <= size < 600
    replica.append(LEAVES[size:600])
    assert replica.root() == root(600)
    assert names(tmp_path) == tile_names(600)


def test_one_process_writes(tmp_path: Path) -> None:
    """A second process is refused as long as the first is there, and may write after it."""
    script = (
        "import sys; from pathlib import Path; from sisamu_ops.journal.replica import Replica\n"
        "replica = Replica(Path(sys.argv[1])); print('open', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"open\n"
        with pytest.raises(RefusedError):
            Replica(tmp_path)
        other.communicate()
    Replica(tmp_path).append(LEAVES[:1])


def test_a_reader_follows_a_writer(tmp_path: Path) -> None:
    """Partial tiles that are replaced while somebody reads do not stop the reading."""
    replica = Replica(tmp_path, disk=FastDisk())
    reader = ReplicaReader(LocalFiles(tmp_path))
    assert (reader.size(), reader.checkpoint()) == (0, None)
    for size in (1, 2, 255, 256, 257):
        replica.append(LEAVES[replica.size : size])
        assert reader.read(0, size) == LEAVES[:size]
        assert reader.root(size) == root(size)
        assert reader.size() == size


class _Replacing(FilesInMemory):
    """Lists the files once while a partial bundle is gone and the full one not yet seen."""

    def names(self) -> list[str]:
        names = super().names()
        self.files |= {"tile/entries/000": encode_bundle(LEAVES[:256])}
        return names


def test_a_tile_being_replaced_is_not_missed() -> None:
    """A listing that falls between two names of a bundle does not make the journal shorter."""
    files = _Replacing({})
    reader = ReplicaReader(files)
    files.files.clear()
    assert reader.size() == 256


@pytest.mark.parametrize("forgetful", [False, True], ids=["all-kept", "unsynced-lost"])
@pytest.mark.parametrize(
    ("before", "after", "agreed"), [(0, 3, 0), (254, 259, 250), (200, 600, 200), (255, 256, 255)]
)
def test_stopped_at_any_step_a_prefix_is_left(
    tmp_path: Path, before: int, after: int, agreed: int, forgetful: bool
) -> None:
    """Wherever the machine stops while appending and taking a checkpoint, nothing is lost.

    What was acknowledged is there, what is there is a prefix, and going on from it leads to the
    very files of a replica that was never interrupted.
    """
    base = tmp_path / "base"
    prepare(base, before, agreed)
    expected = tmp_path / "expected"
    shutil.copytree(base, expected)
    append_and_agree(Replica(expected, disk=FastDisk()), after)
    step, stopped = 0, True
    while stopped:
        directory = tmp_path / f"step{step}"
        shutil.copytree(base, directory)
        stopped, appended, agreed = interrupted(directory, step, after, forgetful=forgetful)
        replica = Replica(directory, disk=FastDisk())
        assert max(before, appended) <= replica.size <= after
        assert agreed <= parse_checkpoint(replica.checkpoint() or NOTHING).head.size
        assert replica.read(0, replica.size) == LEAVES[: replica.size]
        assert replica.root() == root(replica.size)
        append_and_agree(replica, after)
        replica.close()
        assert files_of(directory).files == files_of(expected).files
        shutil.rmtree(directory)
        step += 1
    assert step > 5


@pytest.mark.parametrize("step", range(1, 36, 6))
def test_stopped_where_three_levels_change_a_prefix_is_left(
    tmp_path: Path, big: Path, step: int
) -> None:
    """The same where an append fills a tile of the second level."""
    directory = tmp_path / "replica"
    replica = Replica(directory, disk=FastDisk())
    replica.append(LEAVES[:65_530])
    interrupted(directory, step, 65_550, forgetful=True)
    replica = Replica(directory, disk=FastDisk())
    assert 65_530 <= replica.size <= 65_550
    assert replica.root() == root(replica.size)
    replica.append(LEAVES[replica.size :])
    assert files_of(directory).files.items() >= files_of(big).files.items()


def prepare(directory: Path, size: int, agreed: int) -> None:
    replica = Replica(directory, disk=FastDisk())
    replica.append(LEAVES[:size])
    if agreed:
        replica.write_checkpoint(signed_checkpoint(LEAVES[:agreed]).note)
    replica.close()


def append_and_agree(replica: Replica, size: int) -> None:
    replica.append(LEAVES[replica.size : size])
    replica.write_checkpoint(signed_checkpoint(LEAVES[:size]).note)


def interrupted(directory: Path, step: int, size: int, *, forgetful: bool) -> tuple[bool, int, int]:
    """Write until the machine stops at this step.

    Say whether it did, and how many entries and agreed entries were acknowledged before.
    """
    disk = CrashingDisk(step)
    appended = agreed = 0
    try:
        replica = Replica(directory, disk=disk)
        replica.append(LEAVES[replica.size : size])
        appended = size
        replica.write_checkpoint(signed_checkpoint(LEAVES[:size]).note)
        agreed = size
    except MachineStoppedError:
        pass
    if forgetful:
        disk.forget()
    return agreed < size, appended, agreed


def test_the_edge_is_all_that_is_partial(big: Path) -> None:
    """No partial tile of an earlier size is left in a large replica."""
    partial = {name for name in names(big) if ".p/" in name}
    assert partial == {tile.name for tile in edge_of(len(LEAVES))}
