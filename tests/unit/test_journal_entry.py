"""Entries: what is signed, and what is refused."""

from __future__ import annotations

import pytest

from sisamu_ops.journal.canonical import canonical_bytes, parse_canonical
from sisamu_ops.journal.entry import MAX_LEAF_BYTES, check_entry, open_entry, seal_entry
from sisamu_ops.model.errors import IntegrityError
from tests.support.signed_journal import KEYS, an_entry, sealed


def test_a_sealed_entry_opens_to_itself() -> None:
    """What was sealed is read back equal, and its site's key verifies it."""
    entry = an_entry(7, data={"samu": "300", "modes": ["nominal", "backup"]})
    signed = open_entry(sealed(entry))
    assert signed.entry == entry
    assert signed.body == canonical_bytes(entry.body)
    check_entry(signed, KEYS["paris"].entry.verifier)


def test_another_key_does_not_verify() -> None:
    """An entry signed by one site is not taken for another site's."""
    signed = open_entry(sealed(an_entry()))
    with pytest.raises(IntegrityError, match="not signed by"):
        check_entry(signed, KEYS["lyon"].entry.verifier)


@pytest.mark.parametrize(
    "changes",
    [
        {"origin": ""}, {"site": ""}, {"index": -1}, {"epoch": -1}, {"kind": "started"},
        {"kind": "Step.started"}, {"kind": "a.b.c"}, {"kind": "step.started\n"},
        {"time": "2026-11-22T04:05:06Z"}, {"time": "2026-11-22T04:05:06.789+00:00"},
        {"time": "2026-02-30T04:05:06.789Z"}, {"time": "２026-11-22T04:05:06.789Z"},
    ],
    ids=str,
)  # fmt: skip
def test_a_malformed_entry_cannot_be_made(changes: dict[str, object]) -> None:
    """Every field has one form, and is checked before anything is signed."""
    with pytest.raises(ValueError):
        an_entry(**changes)


def test_the_largest_leaf_fits_and_one_byte_more_does_not() -> None:
    """A leaf may be exactly as large as the length field of a bundle can say."""
    room = MAX_LEAF_BYTES - len(sealed(an_entry(data={"text": ""})))
    assert len(sealed(an_entry(data={"text": "x" * room}))) == MAX_LEAF_BYTES
    with pytest.raises(ValueError, match="artifact"):
        sealed(an_entry(data={"text": "x" * (room + 1)}))


def leaf_with(**changes: object) -> bytes:
    """Make a canonical leaf, wrong in one way only."""
    value = parse_canonical(sealed(an_entry()))
    assert isinstance(value, dict)
    body = value["body"]
    assert isinstance(body, dict)
    outer = {name: change for name, change in changes.items() if name in ("sig", "more")}
    inner = {name: change for name, change in changes.items() if name not in outer}
    return canonical_bytes(value | {"body": body | inner} | outer)  # type: ignore[operator,arg-type]


@pytest.mark.parametrize(
    "changes",
    [
        {"index": "0"}, {"index": True}, {"index": -1}, {"epoch": None}, {"data": []},
        {"data": "text"}, {"kind": 1}, {"extra": 1}, {"more": 1}, {"sig": ""}, {"sig": "AA=="},
        {"sig": 5}, {"sig": "é"}, {"sig": "A" * 85 + "B=="}, {"sig": "A" * 88},
    ],
    ids=str,
)  # fmt: skip
def test_a_loose_leaf_is_refused(changes: dict[str, object]) -> None:
    """Wrong types, other members and other spellings of a signature are an IntegrityError."""
    with pytest.raises(IntegrityError):
        open_entry(leaf_with(**changes))


@pytest.mark.parametrize("leaf", [b"", b"{}", b"[]", b"null", b"x" * (MAX_LEAF_BYTES + 1)])
def test_what_is_no_entry_is_refused(leaf: bytes) -> None:
    """Other bytes are an IntegrityError, not a crash."""
    with pytest.raises(IntegrityError):
        open_entry(leaf)


def test_a_private_key_is_not_shown() -> None:
    """Printing a key object shows no secret."""
    key = KEYS["paris"].entry
    assert key.text not in repr(key)
    assert repr(key.seed) not in repr(key)
    assert seal_entry(an_entry(), key) == sealed(an_entry())
