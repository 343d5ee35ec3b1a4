"""No damage to a replica goes unnoticed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sisamu_ops.journal.tiles import decode_bundle, encode_bundle
from sisamu_ops.journal.verify import verify_directory
from tests.support.signed_journal import (
    POLICY,
    FilesInMemory,
    sealed_journal,
    signed_checkpoint,
    written_journal,
)

BUNDLE = "tile/entries/001.p/4"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> FilesInMemory:
    """A journal whose checkpoint has no signature to spare."""
    directory: Path = tmp_path_factory.mktemp("small")
    return written_journal(directory, sealed_journal(2))


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> FilesInMemory:
    """A journal of more than one tile, and of two levels."""
    directory: Path = tmp_path_factory.mktemp("wide")
    return written_journal(directory, sealed_journal(260))


def verifies(files: FilesInMemory, **changed: bytes) -> bool:
    return verify_directory(FilesInMemory(files.files | changed), POLICY).ok


def single_byte_changes(content: bytes) -> Iterator[bytes]:
    for position, byte in enumerate(content):
        yield content[:position] + bytes([byte ^ (1 << position % 8)]) + content[position + 1 :]


def test_every_changed_byte_is_noticed(small: FilesInMemory) -> None:
    """Each byte of each file of a small journal, changed by itself, fails the verification."""
    assert verifies(small)
    for name, content in small.files.items():
        for number, changed in enumerate(single_byte_changes(content)):
            assert not verifies(small, **{name: changed}), f"{name}, byte {number}"


@settings(max_examples=40)
@given(data=st.data())
def test_any_other_content_of_any_file_is_noticed(wide: FilesInMemory, data: st.DataObject) -> None:
    """A byte replaced, inserted or deleted anywhere in a larger journal."""
    name = data.draw(st.sampled_from(wide.names()))
    content = wide.files[name]
    start = data.draw(st.integers(0, len(content)))
    stop = min(len(content), start + data.draw(st.integers(0, 2)))
    changed = content[:start] + data.draw(st.binary(max_size=2)) + content[stop:]
    assert verifies(wide, **{name: changed}) is (changed == content)


def test_every_lost_file_is_noticed(wide: FilesInMemory) -> None:
    """A replica with any of its files gone does not verify."""
    for name in wide.names():
        files = FilesInMemory({n: content for n, content in wide.files.items() if n != name})
        assert not verifies(files), name


@settings(max_examples=40)
@given(st.data())
def test_entries_lost_repeated_or_swapped_are_noticed(
    wide: FilesInMemory, data: st.DataObject
) -> None:
    """The newest bundle holds the signed entries in their order, or fails."""
    leaves = decode_bundle(wide.files[BUNDLE])
    others = data.draw(st.lists(st.sampled_from(leaves), max_size=6))
    files = dict(wide.files)
    del files[BUNDLE]
    if others:
        files[f"tile/entries/001.p/{len(others)}"] = encode_bundle(others)
    report = verify_directory(FilesInMemory(files), POLICY)
    assert report.ok is (others == leaves)


@settings(max_examples=20)
@given(st.integers(1, 40))
def test_a_shortened_journal_is_noticed(
    tmp_path_factory: pytest.TempPathFactory, size: int
) -> None:
    """A replica set back, hashes and all, fails against its checkpoint or against a kept one."""
    leaves = sealed_journal(size)
    shorter = written_journal(tmp_path_factory.mktemp("shorter"), leaves)
    kept = signed_checkpoint([*leaves, b"more"]).note
    assert verify_directory(shorter, POLICY).ok
    assert not verify_directory(shorter, POLICY, known_checkpoints=[kept]).ok
    shorter.files["checkpoint"] = kept
    assert not verify_directory(shorter, POLICY).ok
