"""A site changes its keys: what it signed before still verifies, what it signs later does not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sisamu_ops.journal.checkpoint import agreed, weigh
from sisamu_ops.journal.keys import Policy, RetiredKey, load_policy, write_policy
from sisamu_ops.journal.replicate import read_entry
from sisamu_ops.journal.signing import CosignKey, EntryKey, LogKey
from sisamu_ops.journal.verify import verify_directory
from sisamu_ops.model.errors import ConfigurationError, IntegrityError
from tests.support.signed_journal import (
    POLICY,
    an_entry,
    sealed,
    sealed_journal,
    signed_checkpoint,
    written_journal,
)

UNTIL = 5


def rotated() -> Policy:
    """Paris has three new keys; the old ones count below entry 5."""
    old = POLICY.sites["paris"]
    new = replace(
        old, entry=EntryKey.generate(old.entry.name).verifier,
        log=LogKey.generate(old.log.name).verifier,
        cosign=CosignKey.generate(old.cosign.name).verifier,
        retired=tuple(RetiredKey(key=k, until=UNTIL) for k in (old.entry, old.log, old.cosign)),
    )  # fmt: skip
    return replace(POLICY, sites={**POLICY.sites, "paris": new})


def test_old_entries_verify_and_new_ones_by_the_old_key_do_not() -> None:
    """The key in force then counts then, and never again."""
    policy = rotated()
    assert read_entry(sealed(an_entry(4)), index=4, policy=policy) == an_entry(4)
    with pytest.raises(IntegrityError, match="not signed by"):
        read_entry(sealed(an_entry(5)), index=5, policy=policy)


def test_old_checkpoints_verify_and_new_ones_by_old_keys_do_not() -> None:
    """A checkpoint of what stood before the change is agreed; a larger one by the same keys not."""
    policy = rotated()
    assert agreed(signed_checkpoint(sealed_journal(5)), policy)
    assert not agreed(signed_checkpoint(sealed_journal(6)), policy)
    assert weigh(signed_checkpoint(sealed_journal(6)), policy).logs == frozenset()


def test_a_policy_with_retired_keys_survives_its_file(tmp_path: Path) -> None:
    """What is written is read again, the retired keys too."""
    policy = rotated()
    path = tmp_path / "policy.json"
    write_policy(
        path, origin=policy.origin, publics=policy.sites.values(), threshold=2, allowed_signers=""
    )
    assert load_policy(path) == policy


@pytest.mark.parametrize("until", [-1, "5", None, 1.5])
def test_a_retired_key_without_its_end_is_refused(until: object, tmp_path: Path) -> None:
    """A key that would count for ever, or nobody knows until when, is no retired key."""
    path = tmp_path / "policy.json"
    policy = rotated()
    write_policy(
        path, origin=policy.origin, publics=policy.sites.values(), threshold=2, allowed_signers=""
    )
    text = path.read_text().replace(f'"until": {UNTIL}', f'"until": {_json(until)}', 1)
    path.write_text(text)
    with pytest.raises(ConfigurationError):
        load_policy(path)


def _json(value: object) -> str:
    return {"5": '"5"', None: "null"}.get(value, str(value))  # type: ignore[call-overload, no-any-return]


def test_a_journal_across_a_rotation_verifies_whole(tmp_path: Path) -> None:
    """Five entries by the old key, then none: the copy verifies under the new policy."""
    assert verify_directory(written_journal(tmp_path / "a", sealed_journal(UNTIL)), rotated()).ok
    longer = written_journal(tmp_path / "b", sealed_journal(UNTIL + 1))
    assert not verify_directory(longer, rotated()).ok
