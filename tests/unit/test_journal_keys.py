"""Key files, key texts and the policy."""

from __future__ import annotations

import json
import stat
from base64 import b64decode
from dataclasses import replace
from pathlib import Path

import pytest

from sisamu_ops.journal.keys import (
    Policy,
    load_policy,
    load_site_keys,
    make_site_keys,
    write_policy,
)
from sisamu_ops.journal.signing import CosignKey, EntryKey, LogKey, SignatureType, VerifierKey
from sisamu_ops.model.errors import ConfigurationError
from tests.support.signed_journal import KEYS, ORIGIN, POLICY

VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"


def test_the_example_of_signed_note_verifies() -> None:
    """The example key, message and signature of C2SP signed-note verify here too."""
    key = VerifierKey.parse(VKEY)
    line = b64decode(
        "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONn"
        "cAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM="
    )
    assert line[:4] == key.key_id
    assert key.verifies(line[4:], b"This is an example message.\n")
    assert not key.verifies(line[4:], b"This is another message.\n")


@pytest.mark.parametrize(
    "vkey",
    [
        "", "a+b", VKEY + "\n", VKEY.replace("530d903a", "530d903b"), VKEY.upper(),
        VKEY.replace("foo", "fo o"), VKEY.replace("foo", "fo\u00a0o"), VKEY[:-4], VKEY + "=",
        "+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
    ],
)  # fmt: skip
def test_a_loose_verifier_key_is_refused(vkey: str) -> None:
    """A key that is not exactly of the public form, or not under its own ID, is refused."""
    with pytest.raises(ValueError):
        VerifierKey.parse(vkey)


def test_private_keys_survive_their_text_and_their_kind() -> None:
    """A key read back is the same key, and one kind is not taken for another."""
    keys = KEYS["paris"]
    assert EntryKey.parse(keys.entry.text) == keys.entry
    assert CosignKey.parse(keys.cosign.text).verifier == keys.cosign.verifier
    assert keys.cosign.verifier.signature_type is SignatureType.COSIGNATURE
    with pytest.raises(ValueError):
        LogKey.parse(keys.cosign.text)
    with pytest.raises(ValueError):
        CosignKey.parse(keys.log.text)
    with pytest.raises(ValueError):
        LogKey.parse(keys.log.text.removeprefix("PRIVATE+KEY+"))


def test_making_keys_again_keeps_them(tmp_path: Path) -> None:
    """The second call changes nothing; the files are for their owner only."""
    first = make_site_keys(tmp_path / "keys", "paris", ORIGIN)
    texts = {path.name: path.read_text() for path in (tmp_path / "keys").iterdir()}
    assert make_site_keys(tmp_path / "keys", "paris", ORIGIN) == first
    assert {path.name: path.read_text() for path in (tmp_path / "keys").iterdir()} == texts
    assert set(texts) == {"entry.key", "log.key", "cosign.key"}
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "keys").iterdir()}
    assert modes == {0o600}
    assert load_site_keys(tmp_path / "keys").publics == first


def test_keys_of_another_site_are_not_taken_over(tmp_path: Path) -> None:
    """A directory that holds another site's keys is refused, and left as it is."""
    make_site_keys(tmp_path, "paris", ORIGIN)
    with pytest.raises(ConfigurationError, match="paris"):
        make_site_keys(tmp_path, "lyon", ORIGIN)


@pytest.mark.parametrize("damage", ["missing", "open", "loose", "mixed"])
def test_unusable_keys_are_refused(tmp_path: Path, damage: str) -> None:
    """Missing, readable by others, malformed or mixed-up key files are configuration errors."""
    make_site_keys(tmp_path / "paris", "paris", ORIGIN)
    make_site_keys(tmp_path / "lyon", "lyon", ORIGIN)
    path = tmp_path / "paris" / "cosign.key"
    if damage == "missing":
        path.unlink()
    elif damage == "open":
        path.chmod(0o644)
    elif damage == "loose":
        path.write_text(path.read_text() + "\n")
    else:
        path.write_text((tmp_path / "lyon" / "cosign.key").read_text())
    with pytest.raises(ConfigurationError):
        load_site_keys(tmp_path / "paris")


@pytest.mark.parametrize(
    ("site", "origin"), [("Paris", ORIGIN), ("", ORIGIN), ("paris", "journal")]
)
def test_malformed_names_are_a_callers_mistake(tmp_path: Path, site: str, origin: str) -> None:
    """A site or origin no key could be named after makes no file."""
    with pytest.raises(ValueError):
        make_site_keys(tmp_path / "keys", site, origin)
    assert not (tmp_path / "keys").exists()


def written_policy(path: Path) -> dict[str, object]:
    write_policy(
        path,
        origin=ORIGIN,
        publics=[keys.publics for keys in KEYS.values()],
        threshold=2,
        allowed_signers="oncall@example ssh-ed25519 AAAA\n",
    )
    document = json.loads(path.read_text())
    assert isinstance(document, dict)
    return document


def test_a_policy_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Writing and reading a policy loses nothing."""
    written_policy(tmp_path / "policy.json")
    expected = replace(POLICY, allowed_signers="oncall@example ssh-ed25519 AAAA\n")
    assert load_policy(tmp_path / "policy.json") == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"threshold": 1}, {"threshold": 4}, {"threshold": True}, {"threshold": "2"},
        {"origin": "other/journal"}, {"origin": 1}, {"sites": {}}, {"sites": []},
        {"sites": {"paris": {}}}, {"allowed_signers": None}, {"more": 1},
    ],
    ids=str,
)  # fmt: skip
def test_a_policy_nobody_could_rely_on_is_refused(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    """A threshold that is no majority, foreign keys or loose members are configuration errors."""
    path = tmp_path / "policy.json"
    path.write_text(json.dumps(written_policy(path) | changes))
    with pytest.raises(ConfigurationError):
        load_policy(path)


@pytest.mark.parametrize("text", ["", "[]", '{"a":1,"a":2}', "[" * 100_000])
def test_a_file_that_is_no_policy_is_refused(tmp_path: Path, text: str) -> None:
    """Unreadable JSON is a configuration error that names the file."""
    path = tmp_path / "policy.json"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as refusal:
        load_policy(path)
    assert refusal.value.place == str(path)


def test_one_key_in_two_places_is_refused() -> None:
    """A log key that is another site's log key would count as two sites."""
    paris, lyon = KEYS["paris"].publics, KEYS["lyon"].publics
    with pytest.raises(ValueError, match="two places"):
        Policy(
            origin=ORIGIN,
            sites={"paris": paris, "lyon": replace(lyon, log=paris.log)},
            threshold=2,
            allowed_signers="",
        )
