"""Checkpoints: strict to read, worth what a policy says."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace

import pytest

from sisamu_ops.journal.checkpoint import (
    Checkpoint,
    NoteSignature,
    TreeHead,
    agreed,
    cosign_head,
    cosigned_at,
    parse_checkpoint,
    sign_head,
    weigh,
)
from sisamu_ops.journal.merkle import EMPTY_ROOT
from sisamu_ops.model.errors import IntegrityError
from tests.support.signed_journal import KEYS, ORIGIN, POLICY, signed_checkpoint

SOUND = signed_checkpoint([b"one", b"two"], ("paris", "lyon", "lille"))


def test_a_note_is_read_as_it_was_written() -> None:
    """Writing and reading a checkpoint loses nothing, and its three lines are C2SP's."""
    assert parse_checkpoint(SOUND.note) == SOUND
    origin, size, root, empty, *_ = SOUND.note.decode().split("\n")
    assert (origin, size, empty) == (ORIGIN, "2", "")
    assert root == b64encode(SOUND.head.root).decode()


@pytest.mark.parametrize(
    ("found", "instead"),
    [
        (f"{ORIGIN}\n2\n", f"{ORIGIN}\n02\n"), (f"{ORIGIN}\n2\n", f"{ORIGIN}\n+2\n"),
        (f"{ORIGIN}\n2\n", f"{ORIGIN}\n-2\n"), (f"{ORIGIN}\n2\n", f"{ORIGIN}\n２\n"),
        (f"{ORIGIN}\n2\n", f"{ORIGIN}\n99999999999999999\n"), (f"{ORIGIN}\n", "\n"),
        (f"{ORIGIN}\n2\n", f"{ORIGIN}\r\n2\n"), ("\n\n", "\nextension\n\n"), ("\n\n", "\n"),
        ("\n\n", "\n\n\n"), ("— ", "- "), ("— ", "—  "), ("=\n\n", "\n\n"), (" ", "\t"),
    ],
    ids=repr,
)  # fmt: skip
def test_another_spelling_is_refused(found: str, instead: str) -> None:
    """A note that says the same in another way, or more, is not a checkpoint."""
    note = SOUND.note.decode()
    assert found in note
    with pytest.raises(IntegrityError):
        parse_checkpoint(note.replace(found, instead, 1).encode())


@pytest.mark.parametrize(
    "note",
    [
        b"", b"\n", b"\n\n", b"\xff", SOUND.head.text, SOUND.head.text + b"\n", SOUND.note + b"\n",
        SOUND.note[:-1], SOUND.note + SOUND.signatures[0].line.encode() + b"\n",
        SOUND.note + "— name AAAA\n".encode(), SOUND.note + "— name AAAAAAA\n".encode(),
        SOUND.note + "— na+me AAAAAAAA\n".encode(), SOUND.note + "— a b AAAAAAAA\n".encode(),
        SOUND.note + "— n\u00a0e AAAAAAAA\n".encode(), SOUND.note + b" " * 70_000,
    ],
    ids=range(15),
)  # fmt: skip
def test_what_is_no_note_is_refused(note: bytes) -> None:
    """Missing parts, repeated keys, loose names and endless notes are an IntegrityError."""
    with pytest.raises(IntegrityError):
        parse_checkpoint(note)


def test_a_majority_with_the_logs_signature_is_agreed() -> None:
    """A log signature and two of three cosignatures are enough, and each is dated."""
    checkpoint = signed_checkpoint([b"one"], ("lyon", "lille"), at=1_234)
    assert agreed(checkpoint, POLICY)
    endorsement = weigh(checkpoint, POLICY)
    assert endorsement.logs == {"paris"}
    assert endorsement.cosigned == {"lyon": 1_234, "lille": 1_234}


def test_less_than_that_is_not_agreed() -> None:
    """One cosignature, the same site twice, no log signature or another origin are not enough."""
    head = SOUND.head
    assert not agreed(signed_checkpoint([b"one"], ()), POLICY)
    assert not agreed(signed_checkpoint([b"one"], ("lyon", "lyon")), POLICY)
    assert not agreed(replace(SOUND, signatures=SOUND.signatures[1:]), POLICY)
    other, key = replace(head, origin="other/journal"), KEYS["paris"].log
    line = replace(SOUND.signatures[0], signature=key.sign(other.text))
    cosigned = tuple(cosign_head(other, KEYS[site].cosign, at=0) for site in ("paris", "lyon"))
    foreign = Checkpoint(head=other, signatures=(line, *cosigned))
    assert weigh(foreign, POLICY).logs == {"paris"}
    assert not agreed(foreign, POLICY)


def test_a_site_counts_once_however_often_its_line_is_repeated() -> None:
    """Signatures put together by hand, not parsed, still count sites and not lines."""
    line = cosign_head(SOUND.head, KEYS["lyon"].cosign, at=1)
    again = cosign_head(SOUND.head, KEYS["lyon"].cosign, at=2)
    both = replace(SOUND, signatures=(SOUND.signatures[0], line, again))
    assert not agreed(both, POLICY)


@pytest.mark.parametrize("number", range(4))
def test_a_forged_signature_of_a_known_key_spoils_the_note(number: int) -> None:
    """Also when enough others are good: a known key that does not verify is an attack."""
    signatures = list(SOUND.signatures)
    damaged = signatures[number].signature[:-1] + bytes([signatures[number].signature[-1] ^ 1])
    signatures[number] = replace(signatures[number], signature=damaged)
    checkpoint = replace(SOUND, signatures=tuple(signatures))
    assert weigh(checkpoint, POLICY).forged == (signatures[number].name,)
    assert not agreed(checkpoint, POLICY)


def test_an_unknown_signature_is_ignored_and_named() -> None:
    """Keys are replaced one after the other: a line by a key not known here does no harm."""
    stranger = NoteSignature(name="stranger", key_id=b"1234", signature=b"anything")
    checkpoint = SOUND.with_signature(stranger)
    assert agreed(checkpoint, POLICY)
    assert weigh(checkpoint, POLICY).unknown == ("stranger",)


def test_a_cosignature_is_bound_to_its_head_and_time() -> None:
    """Neither another head nor another time verifies under the same signature."""
    key = KEYS["lyon"].cosign
    line = cosign_head(SOUND.head, key, at=1_234)
    assert cosigned_at(SOUND.head, line, key.verifier) == 1_234
    assert cosigned_at(replace(SOUND.head, size=3), line, key.verifier) is None
    later = replace(line, signature=(1_235).to_bytes(8, "big") + line.signature[8:])
    assert cosigned_at(SOUND.head, later, key.verifier) is None
    beyond = cosign_head(SOUND.head, key, at=1 << 63)
    assert cosigned_at(SOUND.head, beyond, key.verifier) is None


def test_the_log_key_signs_for_its_own_origin_only() -> None:
    """A log key is not used for another log, and a head is never malformed."""
    with pytest.raises(ValueError):
        sign_head(TreeHead(origin="other", size=0, root=EMPTY_ROOT), KEYS["paris"].log)
    for origin, size, root in (("", 0, EMPTY_ROOT), ("a\nb", 0, EMPTY_ROOT), ("a", 0, b"short")):
        with pytest.raises(ValueError):
            TreeHead(origin=origin, size=size, root=root)
