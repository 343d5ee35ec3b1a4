"""Verification finds what is wrong, goes on, and says what it cannot exclude."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from sisamu_ops.journal.checkpoint import NoteSignature
from sisamu_ops.journal.entry import seal_entry
from sisamu_ops.journal.keys import Policy, make_site_keys
from sisamu_ops.journal.reader import LocalFiles
from sisamu_ops.journal.replica import Replica
from sisamu_ops.journal.tiles import decode_bundle, encode_bundle
from sisamu_ops.journal.verify import FindingKind, VerifyReport, verify_directory
from tests.support.signed_journal import (
    KEYS,
    ORIGIN,
    POLICY,
    FastDisk,
    FilesInMemory,
    an_entry,
    files_of,
    request_data,
    sealed,
    sealed_journal,
    signed_checkpoint,
    written_journal,
)

JOURNAL = sealed_journal(6)


def failures(report: VerifyReport) -> list[str]:
    return [found.message for found in report.findings if found.kind is FindingKind.FAILURE]


def test_a_sound_journal_verifies(tmp_path: Path) -> None:
    """Everything signed and agreed: no finding, and the time of the newest cosignature."""
    checkpoint = signed_checkpoint(JOURNAL, at=1_800_000_000)
    report = verify_directory(written_journal(tmp_path, JOURNAL, checkpoint), POLICY)
    assert (report.ok, report.findings) == (True, ())
    assert (report.size, report.entries) == (6, 6)
    assert report.checkpoint_time == "2027-01-15T08:00:00Z"


def test_a_journal_of_several_tiles_verifies_from_the_disk(tmp_path: Path) -> None:
    """Beyond one tile, with entries of every site, epochs that rise, and files on a real disk."""
    leaves = [
        sealed(an_entry(index, epoch=1 + index // 100, site=("paris", "lyon")[index % 2]))
        for index in range(520)
    ]
    written_journal(tmp_path, leaves)
    report = verify_directory(LocalFiles(tmp_path), POLICY)
    assert (report.ok, report.findings, report.size) == (True, (), 520)


def test_entries_after_the_checkpoint_are_not_yet_agreed(tmp_path: Path) -> None:
    """They are a finding of their own kind, and a failure only when asked for."""
    files = written_journal(tmp_path, JOURNAL, signed_checkpoint(JOURNAL[:4]))
    report = verify_directory(files, POLICY)
    assert (report.ok, report.size, report.entries) == (True, 4, 6)
    assert [(found.kind, found.message) for found in report.findings] == [
        (FindingKind.NOT_AGREED, "2 entries are not yet agreed")
    ]
    assert not verify_directory(files, POLICY, require_agreed=True).ok


@pytest.mark.parametrize("known", ["policy", "entries", "checkpoint", "anything"])
def test_nothing_to_verify_is_a_failure(tmp_path: Path, known: str) -> None:
    """No policy, no entries, no checkpoint, no files: never a quiet success."""
    files = written_journal(tmp_path, JOURNAL)
    if known == "anything":
        files = FilesInMemory({})
    elif known == "entries":
        files = FilesInMemory({"checkpoint": signed_checkpoint([]).note})
    elif known == "checkpoint":
        del files.files["checkpoint"]
    report = verify_directory(files, None if known == "policy" else POLICY)
    assert not report.ok
    assert (report.size, report.checkpoint_time) == (None, None)
    assert any("nothing to verify" in text or "no policy" in text for text in failures(report))


def test_what_cannot_be_excluded_is_always_said(tmp_path: Path) -> None:
    """On success and on failure, with the size and the time, or none."""
    good = verify_directory(written_journal(tmp_path, JOURNAL), POLICY)
    bad = verify_directory(FilesInMemory({}), POLICY)
    assert len(good.cannot_exclude) == len(bad.cannot_exclude) == 5
    assert "size 6, time 2027-01-15T08:00:00Z" in good.cannot_exclude[0]
    assert "size none, time none" in bad.cannot_exclude[0]
    assert "operator signatures were not checked" in bad.cannot_exclude[-1]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"origin": "other/journal"}, "of the journal other/journal"),
        ({"index": 4}, "was signed as entry 4"),
        ({"epoch": 0}, "epoch 0 after epoch 1"),
        ({"site": "nantes"}, "a site the policy does not know"),
    ],
)
def test_an_entry_that_does_not_belong_is_found(
    tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    """Signed and agreed by everybody, and still wrong: each field is judged by itself."""
    leaves = [*JOURNAL[:3], sealed(an_entry(**({"index": 3} | changes))), *JOURNAL[4:]]
    report = verify_directory(written_journal(tmp_path, leaves), POLICY)
    assert not report.ok
    assert [(found.place, words in found.message) for found in report.findings] == [
        ("entry 3", True)
    ]


def test_another_sites_signature_is_found(tmp_path: Path) -> None:
    """An entry signed by a key of the platform, but not that of the site it names."""
    forged = an_entry(3, site="lyon")
    leaves = [*JOURNAL[:3], seal_entry(forged, KEYS["paris"].entry), *JOURNAL[4:]]
    report = verify_directory(written_journal(tmp_path, leaves), POLICY)
    assert failures(report) == ["entry 3 is not signed by the key test-platform/lyon/entry"]


def test_epochs_of_a_break_glass_are_just_numbers(tmp_path: Path) -> None:
    """An epoch beyond 2^32 may follow; afterwards a lower one may not."""
    leaves = [sealed(an_entry(0)), sealed(an_entry(1, epoch=2**32 + 2**28))]
    assert verify_directory(written_journal(tmp_path / "up", leaves), POLICY).ok
    leaves.append(sealed(an_entry(2, epoch=2)))
    assert not verify_directory(written_journal(tmp_path / "down", leaves), POLICY).ok


def test_leaves_that_are_no_entries_are_each_found(tmp_path: Path) -> None:
    """One bad leaf does not hide the next: every one is reported."""
    leaves = [b"{}", JOURNAL[1], b"not json", JOURNAL[3]]
    report = verify_directory(written_journal(tmp_path, leaves), POLICY)
    assert [found.place for found in report.findings] == ["entry 0", "entry 2"]


def test_a_replica_rewritten_with_its_hashes_is_found(tmp_path: Path) -> None:
    """Entries and tiles that agree with each other still differ from the signed root."""
    files = written_journal(tmp_path / "a", JOURNAL)
    other = [*JOURNAL[:5], sealed(an_entry(5, data={"step": "other"}))]
    rewritten = written_journal(tmp_path / "b", other)
    rewritten.files["checkpoint"] = files.files["checkpoint"]
    report = verify_directory(rewritten, POLICY)
    assert failures(report) == ["the first 6 entries are not those that were signed"]


@pytest.mark.parametrize(
    ("known", "words"),
    [
        (signed_checkpoint(JOURNAL[:3]).note, None),
        (signed_checkpoint(JOURNAL[:3], ()).note, None),
        (signed_checkpoint(sealed_journal(7)).note, "of 7 entries, but only 6 are here"),
        (signed_checkpoint(JOURNAL[1:4]).note, "not those that were signed"),
        (signed_checkpoint(JOURNAL[:3]).head.text + b"\n", "not a checkpoint"),
        (b"", "not a checkpoint"),
    ],
)
def test_a_known_checkpoint_must_be_a_prefix(
    tmp_path: Path, known: bytes, words: str | None
) -> None:
    """A shorter log, another history or an unusable note given by the caller is a failure."""
    files = written_journal(tmp_path, JOURNAL)
    report = verify_directory(files, POLICY, known_checkpoints=[known])
    assert report.ok is (words is None)
    assert [words in text for text in failures(report) if words] == [True] * bool(words)


def test_a_known_checkpoint_must_be_signed_by_the_log(tmp_path: Path) -> None:
    """A note whose only signatures are cosignatures or strangers' proves nothing."""
    checkpoint = signed_checkpoint(JOURNAL)
    unsigned = type(checkpoint)(head=checkpoint.head, signatures=checkpoint.signatures[1:])
    files = written_journal(tmp_path, JOURNAL)
    assert not verify_directory(files, POLICY, known_checkpoints=[unsigned.note]).ok


def test_the_replicas_checkpoint_must_be_agreed(tmp_path: Path) -> None:
    """With one cosignature it is no proof, and the report shows no size."""
    report = verify_directory(
        written_journal(tmp_path, JOURNAL, signed_checkpoint(JOURNAL, ("lyon",))), POLICY
    )
    assert (report.ok, report.size) == (False, None)
    assert "cosigned by lyon (2 needed)" in failures(report)[0]


def test_an_unknown_key_is_noted(tmp_path: Path) -> None:
    """A further signature by a key not known here is said, and is no failure."""
    stranger = NoteSignature(name="stranger", key_id=b"1234", signature=b"anything")
    checkpoint = signed_checkpoint(JOURNAL).with_signature(stranger)
    report = verify_directory(written_journal(tmp_path, JOURNAL, checkpoint), POLICY)
    assert report.ok
    assert [found.kind for found in report.findings] == [FindingKind.NOTE]


def test_a_time_beyond_the_calendar_is_shown(tmp_path: Path) -> None:
    """A cosignature may carry any 63-bit second: that must not stop a verification."""
    checkpoint = signed_checkpoint(JOURNAL, at=2**62)
    report = verify_directory(written_journal(tmp_path, JOURNAL, checkpoint), POLICY)
    assert report.checkpoint_time == f"second {2**62} of the POSIX clock"


@pytest.mark.parametrize("name", ["tile/0/001", "tile/9/000", "notes.txt", "tile/0/000.p/06"])
def test_a_stray_file_is_found(tmp_path: Path, name: str) -> None:
    """A replica holds nothing but its journal."""
    files = written_journal(tmp_path, JOURNAL)
    files.files[name] = b"x" * 32
    assert name in [found.place for found in verify_directory(files, POLICY).findings]
    assert not verify_directory(files, POLICY).ok


@pytest.mark.parametrize(("lost", "left"), [("tile/entries/000", None), ("tile/entries/000", 4)])
def test_a_gap_is_found_where_it_begins(tmp_path: Path, lost: str, left: int | None) -> None:
    """What stands after missing entries is not judged as if it stood in their place."""
    files = written_journal(tmp_path, sealed_journal(260))
    leaves = decode_bundle(files.files.pop(lost))
    if left:
        files.files[f"{lost}.p/{left}"] = encode_bundle(leaves[:left])
    report = verify_directory(files, POLICY)
    assert failures(report)[0] == f"entries are missing from {left or 0} on"
    assert report.entries == (left or 0)


def test_an_unreadable_file_is_found(tmp_path: Path) -> None:
    """A link to nowhere, or a directory that is a link, is not skipped."""
    written_journal(tmp_path / "replica", JOURNAL)
    (tmp_path / "replica/tile/0/x001").symlink_to(tmp_path)
    tile = tmp_path / "replica/tile/0/000.p/6"
    tile.unlink()
    tile.symlink_to("nowhere")
    report = verify_directory(LocalFiles(tmp_path / "replica"), POLICY)
    assert {found.place for found in report.findings} >= {"tile/0/x001", "tile/0/000.p/6"}


def test_older_partial_tiles_are_compared_too(tmp_path: Path) -> None:
    """What a crash left beside the newest tiles is right, or is a failure."""
    files = written_journal(tmp_path, JOURNAL)
    bundle = decode_bundle(files.files["tile/entries/000.p/6"])
    files.files["tile/entries/000.p/4"] = encode_bundle(bundle[:4])
    files.files["tile/0/000.p/4"] = files.files["tile/0/000.p/6"][: 4 * 32]
    assert verify_directory(files, POLICY).findings == ()
    files.files["tile/entries/000.p/4"] = encode_bundle([*bundle[:3], bundle[4]])
    files.files["tile/0/000.p/4"] = files.files["tile/0/000.p/6"][32 : 5 * 32]
    assert len(failures(verify_directory(files, POLICY))) == 2


def test_a_tile_not_yet_written_is_a_note_above_the_checkpoint_only(tmp_path: Path) -> None:
    """A writer between an entry and its hash is no damage; a missing agreed hash is."""
    files = written_journal(tmp_path, JOURNAL, signed_checkpoint(JOURNAL[:4]))
    del files.files["tile/0/000.p/6"]
    kinds = {found.kind for found in verify_directory(files, POLICY).findings}
    assert kinds == {FindingKind.NOTE, FindingKind.NOT_AGREED}
    del files.files["tile/0/000.p/4"]
    assert not verify_directory(files, POLICY).ok


class _Growing(FilesInMemory):
    """A replica whose writer appends each time somebody has listed the files."""

    def __init__(self, directory: Path, replica: Replica, leaves: list[bytes]) -> None:
        super().__init__({})
        self._directory, self._replica, self._leaves = directory, replica, leaves

    def names(self) -> list[str]:
        self.files = files_of(self._directory).files
        names = super().names()
        if self._leaves:
            self._replica.append([self._leaves.pop(0)])
            self.files = files_of(self._directory).files
        return names


def test_a_growing_replica_is_not_called_damaged(tmp_path: Path) -> None:
    """Tiles replaced while the verifier looks at them are looked up again."""
    leaves = sealed_journal(260)
    written_journal(tmp_path, leaves[:252])
    replica = Replica(tmp_path, disk=FastDisk())
    report = verify_directory(_Growing(tmp_path, replica, leaves[252:]), POLICY)
    assert (report.ok, report.size, report.entries) == (True, 252, 260)


class _Sshsig:
    """Remembers what it was asked and answers as told."""

    def __init__(self, answer: bool) -> None:
        self.answer = answer
        self.asked: list[tuple[bytes, str, str, str, str]] = []

    def __call__(
        self,
        document: bytes,
        signature: str,
        principal: str,
        namespace: str,
        allowed: str,
        moment: datetime,
    ) -> bool:
        assert moment == datetime.fromisoformat(an_entry().time)
        self.asked.append((document, signature, principal, namespace, allowed))
        return self.answer


@pytest.mark.parametrize("answer", [True, False])
def test_operators_signatures_are_judged_by_the_callers_check(tmp_path: Path, answer: bool) -> None:
    """An accepted request that its operator did not sign is a failure."""
    leaves = [sealed(an_entry(0, kind="request.accepted", data=request_data(document="{é}")))]
    check = _Sshsig(answer)
    report = verify_directory(written_journal(tmp_path, leaves), POLICY, check_sshsig=check)
    assert report.ok is answer
    armored = "-----BEGIN SSH SIGNATURE-----"
    assert check.asked == [("{é}".encode(), armored, "oncall@example", "sisamu-request", "")]
    assert "as they stood at the time" in report.cannot_exclude[-1]


@pytest.mark.parametrize("data", [{}, {"request": None}, request_data(document=1)], ids=str)
def test_an_accepted_request_without_its_document_is_found(
    tmp_path: Path, data: dict[str, object]
) -> None:
    """A request whose signature cannot be judged is a failure, when signatures are judged."""
    files = written_journal(tmp_path, [sealed(an_entry(0, kind="request.accepted", data=data))])
    assert not verify_directory(files, POLICY, check_sshsig=_Sshsig(True)).ok
    assert verify_directory(files, POLICY).ok


def test_the_policy_of_another_platform_verifies_nothing(tmp_path: Path) -> None:
    """Every signature is judged by the policy, none by what the replica says of itself."""
    publics = [make_site_keys(tmp_path / site, site, ORIGIN) for site in KEYS]
    other = Policy(
        origin=ORIGIN,
        sites={keys.site: keys for keys in publics},
        threshold=2,
        allowed_signers="",
    )
    report = verify_directory(written_journal(tmp_path / "replica", JOURNAL), other)
    assert {found.place for found in report.findings if found.kind is FindingKind.FAILURE} == {
        "checkpoint", *(f"entry {index}" for index in range(6))
    }  # fmt: skip
