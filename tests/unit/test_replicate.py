"""Three sites over one board: what a majority computed itself is agreed, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from sisamu_ops.journal.checkpoint import agreed, cosign_head, parse_checkpoint, sign_head, weigh
from sisamu_ops.journal.merkle import leaf_hash, root_of
from sisamu_ops.journal.replica import Replica
from sisamu_ops.journal.replicate import Replicator, cosigned_sizes, read_entry
from sisamu_ops.model.condition import ProblemError, ProblemKind
from sisamu_ops.model.errors import IntegrityError
from tests.support.signed_journal import (
    KEYS,
    POLICY,
    SITES,
    FastDisk,
    an_entry,
    head_of,
    sealed,
    sealed_journal,
)

AT = 1_800_000_000


@dataclass(kw_only=True)
class Board:
    """Where sites show each other notes, in memory."""

    notes: dict[str, bytes] = field(default_factory=dict)
    shown: list[str] = field(default_factory=list)

    def publish(self, name: str, note: bytes) -> None:
        self.notes[name] = note
        self.shown.append(name)

    def published(self) -> Mapping[str, bytes]:
        return dict(self.notes)


@dataclass(kw_only=True)
class Journal:
    """The newest entries, as a coordination service gives them."""

    leaves: list[bytes]

    def first(self) -> int:
        return 0

    def size(self) -> int:
        return len(self.leaves)

    def read(self, start: int, stop: int) -> list[bytes]:
        return self.leaves[start:stop]


@pytest.fixture
def sites(tmp_path: Path) -> Iterator[dict[str, Replicator]]:
    made = {
        site: Replicator(
            replica=Replica(tmp_path / site, disk=FastDisk()), keys=KEYS[site], policy=POLICY,
            now_s=lambda: AT,
        )
        for site in SITES
    }  # fmt: skip
    yield made
    for replicator in made.values():
        replicator.replica.close()


@pytest.fixture
def board() -> Board:
    return Board()


def pull(sites: dict[str, Replicator], size: int, *names: str) -> Journal:
    journal = Journal(leaves=sealed_journal(size))
    for name in names or SITES:
        sites[name].pull(journal)
    return journal


def rounds(sites: dict[str, Replicator], board: Board, *names: str, leader: str = "paris") -> None:
    """Let sites look at the board twice each, the leader first."""
    for _ in range(2):
        for name in names or SITES:
            sites[name].endorse(board, leads=name == leader)


def kept(replicator: Replicator) -> int:
    note = replicator.replica.checkpoint()
    return parse_checkpoint(note).head.size if note else 0


def test_three_sites_agree(sites: dict[str, Replicator], board: Board) -> None:
    """All cosign what the leader's log signed; each keeps a checkpoint that verifies."""
    pull(sites, 5)
    rounds(sites, board)
    assert cosigned_sizes(board.notes.values(), POLICY) == dict.fromkeys(SITES, 5)
    for site in sites.values():
        note = site.replica.checkpoint()
        assert note is not None
        assert agreed(parse_checkpoint(note), POLICY)


def test_two_of_three_agree(sites: dict[str, Replicator], board: Board) -> None:
    """One site away, the arbiter's cosignature makes the majority."""
    pull(sites, 5, "paris", "lille")
    rounds(sites, board, "paris", "lille")
    assert [kept(sites[site]) for site in SITES] == [5, 0, 5]


def test_one_alone_agrees_on_nothing(sites: dict[str, Replicator], board: Board) -> None:
    """The leader's log and its own cosignature are no majority."""
    pull(sites, 5)
    rounds(sites, board, "paris")
    assert cosigned_sizes(board.notes.values(), POLICY) == {"paris": 5}
    assert kept(sites["paris"]) == 0


def test_nobody_signs_as_the_log_but_the_leader(sites: dict[str, Replicator], board: Board) -> None:
    """Without a leader no checkpoint appears, and there is nothing to cosign."""
    pull(sites, 5)
    rounds(sites, board, leader="nobody")
    assert board.notes == {}


def test_other_content_is_never_cosigned(sites: dict[str, Replicator], board: Board) -> None:
    """A replica that differs in one entry says so, and cosigns neither that size nor a larger."""
    pull(sites, 5, "paris", "lille")
    leaves = sealed_journal(5)
    leaves[3] = sealed(an_entry(3, data={"step": "another"}))
    sites["lyon"].pull(Journal(leaves=leaves))
    rounds(sites, board, "paris", "lille")
    with pytest.raises(ProblemError, match="not those kept here"):
        sites["lyon"].endorse(board, leads=False)
    pull(sites, 8, "paris", "lille")
    sites["lyon"].replica.append(sealed_journal(8)[5:])
    rounds(sites, board, "paris", "lille")
    with pytest.raises(ProblemError, match="not those kept here") as raised:
        sites["lyon"].endorse(board, leads=False)
    assert raised.value.problem.kind is ProblemKind.DIVERGED
    assert cosigned_sizes(board.notes.values(), POLICY) == {"paris": 8, "lille": 8}
    assert kept(sites["lyon"]) == 0


def test_a_replica_rolled_back_does_not_cosign_until_it_confirms_again(
    sites: dict[str, Replicator], board: Board, tmp_path: Path
) -> None:
    """An older copy put back in place signs nothing below what the site has signed already."""
    pull(sites, 5)
    rounds(sites, board)
    rolled_back = replace(sites["lyon"], replica=Replica(tmp_path / "older"))
    rolled_back.pull(Journal(leaves=sealed_journal(3)))
    shown = dict(board.notes)
    with pytest.raises(ProblemError) as raised:
        rolled_back.endorse(board, leads=False)
    assert (raised.value.problem.kind, board.notes) == (ProblemKind.ROLLED_BACK, shown)
    rolled_back.pull(Journal(leaves=sealed_journal(5)))
    rolled_back.endorse(board, leads=False)
    assert kept(rolled_back) == 5
    rolled_back.replica.close()


def test_a_damaged_tile_is_found_and_the_replica_set_aside(
    sites: dict[str, Replicator],
) -> None:
    """One flipped bit in a full tile is met by the next round of checks; nothing is thrown away."""
    site = sites["lyon"]
    pull(sites, 600, "lyon")
    for _ in range(4):
        site.scrub()
    tile = site.replica.directory / "tile/entries/000"
    data = bytearray(tile.read_bytes())
    data[100] ^= 1
    tile.write_bytes(bytes(data))
    with pytest.raises(ProblemError) as raised:
        for _ in range(2):
            site.scrub()
    assert raised.value.problem.kind is ProblemKind.DAMAGED
    aside = [p for p in site.replica.directory.parent.iterdir() if ".damaged-" in p.name]
    assert (len(aside), site.replica.size) == (1, 0)
    assert (aside[0] / "tile/entries/000").read_bytes() == bytes(data)
    pull(sites, 600, "lyon")
    site.scrub()


def test_a_replica_behind_cosigns_once_it_caught_up(
    sites: dict[str, Replicator], board: Board
) -> None:
    """What is not on a site's own disk is not cosigned by it, until it is."""
    pull(sites, 5, "paris")
    pull(sites, 3, "lyon", "lille")
    rounds(sites, board)
    assert cosigned_sizes(board.notes.values(), POLICY) == {"paris": 5}
    pull(sites, 5, "lyon")
    rounds(sites, board)
    assert cosigned_sizes(board.notes.values(), POLICY) == {"paris": 5, "lyon": 5}
    assert kept(sites["paris"]) == 5


FORGED_AS = ["log.lyon", "cosign.lyon", "log.paris2", "zzz"]


@pytest.mark.parametrize("name", FORGED_AS)
@pytest.mark.parametrize("kind", ["rubbish", "empty", "unsigned", "forged line", "other journal"])
def test_a_bad_note_does_not_hinder(
    kind: str, name: str, sites: dict[str, Replicator], board: Board
) -> None:
    """Whatever anybody writes on the board, the three agree all the same."""
    good = sign_head(head_of(sealed_journal(5)), KEYS["paris"].log)
    wrong = sign_head(head_of(sealed_journal(4)), KEYS["paris"].log)
    spoiled = good.with_signature(cosign_head(wrong.head, KEYS["lyon"].cosign, at=AT))
    notes = {
        "rubbish": b"\xff\x00",
        "empty": b"",
        "unsigned": good.head.text + b"\n",
        "forged line": spoiled.note,
        "other journal": good.note.replace(b"test-platform/journal", b"else-platform/journal"),
    }
    board.notes[name] = notes[kind]
    pull(sites, 5)
    rounds(sites, board)
    assert [kept(sites[site]) for site in SITES] == [5, 5, 5]


def test_a_history_signed_with_a_stolen_log_key_is_not_cosigned(
    sites: dict[str, Replicator], board: Board
) -> None:
    """A root that no other site computed gathers no cosignature, so it is never agreed."""
    pull(sites, 5)
    other = [sealed(an_entry(i, data={"step": -i})) for i in range(9)]
    board.notes["log.lyon"] = sign_head(head_of(other), KEYS["lyon"].log).note
    rounds(sites, board)
    heads = {parse_checkpoint(note).head for note in board.notes.values()}
    assert heads == {head_of(other)}
    assert weigh(parse_checkpoint(board.notes["log.lyon"]), POLICY).cosigned == {}
    assert [kept(site) for site in sites.values()] == [0, 0, 0]


def test_the_log_does_not_sign_backwards(sites: dict[str, Replicator], board: Board) -> None:
    """A new leader whose replica is behind signs nothing until it is past the newest signed."""
    pull(sites, 5, "paris", "lille")
    pull(sites, 3, "lyon")
    rounds(sites, board)
    rounds(sites, board, "lyon", leader="lyon")
    assert "log.lyon" not in board.notes
    pull(sites, 6, "lyon")
    rounds(sites, board, "lyon", leader="lyon")
    assert parse_checkpoint(board.notes["log.lyon"]).head.size == 6


def test_a_cosigner_does_not_go_back(sites: dict[str, Replicator], board: Board) -> None:
    """With the newest checkpoint gone from the board, a site does not cosign an older one."""
    pull(sites, 3)
    rounds(sites, board)
    older = board.notes["log.paris"]
    pull(sites, 5)
    rounds(sites, board)
    board.notes["log.paris"] = older
    rounds(sites, board, "lyon", "lille", leader="nobody")
    assert cosigned_sizes(board.notes.values(), POLICY) == dict.fromkeys(SITES, 5)
    assert [kept(sites[site]) for site in SITES] == [5, 5, 5]


def test_nothing_new_is_shown_twice(sites: dict[str, Replicator], board: Board) -> None:
    """A board on which all has been said stays quiet: nobody wakes anybody for nothing."""
    pull(sites, 5)
    rounds(sites, board)
    board.shown.clear()
    rounds(sites, board)
    assert board.shown == []


def test_a_kept_checkpoint_is_not_replaced_by_an_older(
    sites: dict[str, Replicator], board: Board
) -> None:
    """Old notes shown again change nothing on disk."""
    pull(sites, 3)
    rounds(sites, board)
    old = dict(board.notes)
    pull(sites, 5)
    rounds(sites, board)
    board.notes = old
    sites["lyon"].endorse(board, leads=False)
    assert kept(sites["lyon"]) == 5


WRONG = {
    "another's key": lambda: sealed(an_entry(2)).replace(b'"site":"paris"', b'"site":"lyon"'),
    "another place": lambda: sealed(an_entry(3)),
    "another journal": lambda: sealed(an_entry(2, origin="other/journal")),
    "a stranger": lambda: sealed(an_entry(2, site="nantes")),
    "rubbish": lambda: b"{}",
}


@pytest.mark.parametrize("why", sorted(WRONG))
def test_what_does_not_verify_is_not_kept(why: str, sites: dict[str, Replicator]) -> None:
    """An entry that does not verify ends the pull: its batch is not kept, so never cosigned."""
    leaves = sealed_journal(3)
    leaves[2] = WRONG[why]()
    with pytest.raises(IntegrityError):
        sites["lyon"].pull(Journal(leaves=leaves))
    assert sites["lyon"].replica.size == 0


def test_a_pull_says_how_many_and_takes_each_once(sites: dict[str, Replicator]) -> None:
    """Entries come in batches, in order, and not again; the root is that of the whole."""
    journal = pull(sites, 1200, "lyon")
    assert sites["lyon"].replica.root() == root_of(leaf_hash(leaf) for leaf in journal.leaves)
    assert sites["lyon"].pull(journal) == 0
    journal.leaves.append(sealed(an_entry(1200)))
    assert sites["lyon"].pull(journal) == 1


def test_an_entry_read_is_the_entry_sealed() -> None:
    """What is read back is what the site wrote."""
    assert read_entry(sealed(an_entry(4)), index=4, policy=POLICY) == an_entry(4)
