"""Round trips of every form the journal writes, and what no reader accepts."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from sisamu_ops.journal.canonical import canonical_bytes, parse_canonical
from sisamu_ops.journal.checkpoint import parse_checkpoint
from sisamu_ops.journal.entry import check_entry, open_entry
from sisamu_ops.journal.merkle import (
    check_consistency,
    check_inclusion,
    consistency_proof,
    inclusion_proof,
    root_of,
)
from sisamu_ops.journal.tiles import ENTRIES, Tile, decode_bundle, encode_bundle, tile_named
from sisamu_ops.model.errors import IntegrityError
from tests.support.signed_journal import KEYS, SITES, an_entry, sealed, signed_checkpoint

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
INTEGERS = st.integers(min_value=-(2**53) + 1, max_value=2**53 - 1)
VALUES = st.recursive(
    st.none() | st.booleans() | INTEGERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
HASHES = st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=40)


@given(VALUES)
def test_canonical_json_round_trips(value: object) -> None:
    """Every value with a canonical form is read back equal from it."""
    assert parse_canonical(canonical_bytes(value)) == value  # type: ignore[arg-type]


@given(st.binary(max_size=30) | TEXT.map(str.encode))
def test_whatever_is_read_is_its_own_canonical_form(document: bytes) -> None:
    """Arbitrary bytes are refused, or are exactly what the value they say is written as."""
    with suppress(IntegrityError):
        assert canonical_bytes(parse_canonical(document)) == document


@given(VALUES, st.data())
def test_a_changed_canonical_document_is_another_value_or_refused(
    value: object, data: st.DataObject
) -> None:
    """No two byte strings are accepted for one value."""
    document = canonical_bytes(value)  # type: ignore[arg-type]
    position = data.draw(st.integers(0, len(document)))
    changed = document[:position] + data.draw(st.binary(max_size=2)) + document[position + 1 :]
    if changed != document:
        with suppress(IntegrityError):
            assert canonical_bytes(parse_canonical(changed)) != document


@given(st.dictionaries(TEXT, VALUES, max_size=4), st.sampled_from(SITES), st.integers(0, 2**53 - 1))
def test_entries_round_trip(data: dict[str, object], site: str, index: int) -> None:
    """Every entry that can be sealed opens to itself and verifies."""
    entry = an_entry(index, site=site, data=data)
    signed = open_entry(sealed(entry))
    assert signed.entry == entry
    check_entry(signed, KEYS[site].entry.verifier)


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_bundles_round_trip(leaves: list[bytes]) -> None:
    """A bundle gives back the leaves it was made of, and cut short it gives none."""
    bundle = encode_bundle(leaves)
    assert decode_bundle(bundle) == leaves
    if leaves:
        with suppress(IntegrityError):
            assert decode_bundle(bundle[:-1]) != leaves


@given(st.integers(ENTRIES, 63), st.integers(0, 10**10), st.integers(1, 256))
def test_tile_names_round_trip(level: int, index: int, width: int) -> None:
    """Every tile is found again from its name."""
    tile = Tile(level=level, index=index, width=width)
    assert tile_named(tile.name) == tile


@given(st.lists(st.binary(max_size=5), max_size=5), st.sets(st.sampled_from(SITES)), st.data())
def test_checkpoints_round_trip_and_are_strict(
    leaves: list[bytes], cosigners: set[str], data: st.DataObject
) -> None:
    """A note is read back equal; with a byte changed it is refused or says something else."""
    checkpoint = signed_checkpoint(leaves, sorted(cosigners))
    note = checkpoint.note
    assert parse_checkpoint(note) == checkpoint
    position = data.draw(st.integers(0, len(note) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda byte: byte != note[position]))
    with suppress(IntegrityError):
        changed = note[:position] + bytes([other]) + note[position + 1 :]
        assert parse_checkpoint(changed) != checkpoint


@given(HASHES, st.data())
def test_no_proof_holds_for_a_changed_tree(hashes: list[bytes], data: st.DataObject) -> None:
    """A changed hash anywhere in a proof or a root is noticed."""
    index = data.draw(st.integers(0, len(hashes) - 1))
    root, wrong = root_of(hashes), bytes(32)
    inclusion = inclusion_proof(hashes, index)
    fact = {"leaf": hashes[index], "index": index, "size": len(hashes), "root": root}
    assert check_inclusion(**fact, proof=inclusion)
    consistency = consistency_proof(hashes, index + 1)
    prefix = {
        "old_size": index + 1, "old_root": root_of(hashes[: index + 1]), "size": len(hashes),
        "root": root,
    }  # fmt: skip
    assert check_consistency(**prefix, proof=consistency)
    for step in range(len(inclusion)):
        if inclusion[step] != wrong:
            changed = [*inclusion[:step], wrong, *inclusion[step + 1 :]]
            assert not check_inclusion(**fact, proof=changed)
    for step in range(len(consistency)):
        if consistency[step] != wrong:
            changed = [*consistency[:step], wrong, *consistency[step + 1 :]]
            assert not check_consistency(**prefix, proof=changed)
