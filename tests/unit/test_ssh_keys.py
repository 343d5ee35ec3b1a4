"""Operators' signatures by the real ssh-keygen: they hold for one document, purpose and person."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sisamu_ops.doors.openssh import find_principal, sign, verify, verify_with_text
from sisamu_ops.failover.request import NAMESPACE, Envelope, open_envelope
from sisamu_ops.model.errors import ConfigurationError

DOCUMENT = b'{"id":"failover-0123456789ab"}'
ON_CALL, LEAD = "oncall@lab", "lead@lab"


@dataclass(frozen=True, kw_only=True)
class Keys:
    """Three keys, two of which are allowed signers."""

    root: Path

    @property
    def signers(self) -> Path:
        return self.root / "allowed_signers"

    def sign(self, name: str = "oncall", namespace: str = NAMESPACE) -> str:
        return sign(DOCUMENT, self.root / name, namespace)

    def verifies(
        self, signature: str, principal: str = ON_CALL, document: bytes = DOCUMENT,
        namespace: str = NAMESPACE,
    ) -> bool:  # fmt: skip
        return verify(document, signature, principal, namespace, self.signers)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    root = tmp_path_factory.mktemp("keys")
    for name in ("oncall", "lead", "stranger"):
        make(root / name)
    lines = [f"{n}@lab {(root / f'{n}.pub').read_text()}" for n in ("oncall", "lead")]
    (root / "allowed_signers").write_text("".join(lines))
    return Keys(root=root)


def make(key: Path, passphrase: str = "") -> None:
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-f", str(key)]
    subprocess.run(command, check=True)


def test_what_was_signed_verifies(keys: Keys) -> None:
    """An allowed signer's signature holds, and its principal is found by it."""
    signature = keys.sign()
    assert keys.verifies(signature)
    assert find_principal(DOCUMENT, signature, keys.signers) == ON_CALL
    text = keys.signers.read_text()
    assert verify_with_text(DOCUMENT, signature, ON_CALL, NAMESPACE, text, datetime.now(UTC))


def test_a_key_counts_while_it_was_allowed(keys: Keys) -> None:
    """A key whose time has ended still proves what was signed in its time, and nothing later."""
    signature = keys.sign()
    first, rest = keys.signers.read_text().split(" ", 1)
    text = f'{first} valid-before="20260601Z" {rest}'
    in_time, late = datetime(2026, 5, 1, tzinfo=UTC), datetime(2026, 7, 1, tzinfo=UTC)
    assert verify_with_text(DOCUMENT, signature, ON_CALL, NAMESPACE, text, in_time)
    assert not verify_with_text(DOCUMENT, signature, ON_CALL, NAMESPACE, text, late)


def test_a_signature_fits_into_an_envelope(keys: Keys) -> None:
    """What ssh-keygen writes is what an envelope may hold, unchanged."""
    made = Envelope(document=DOCUMENT.decode(), signature=keys.sign(), principal=ON_CALL)
    read = open_envelope(made.payload())
    assert keys.verifies(read.signature, read.principal, read.document.encode())


def test_it_holds_for_nothing_else(keys: Keys) -> None:
    """Another document, another purpose, another person: each is no signature at all."""
    signature = keys.sign()
    assert not keys.verifies(signature, document=DOCUMENT + b" ")
    assert not keys.verifies(signature, namespace="sisamu-vote")
    assert not keys.verifies(keys.sign(namespace="file"))
    assert not keys.verifies(signature, LEAD)
    assert not keys.verifies(signature, "nobody@lab")
    assert not keys.verifies(signature, "")


def test_a_stranger_is_nobody(keys: Keys) -> None:
    """A key that is not allowed verifies for no principal, and none is found by it."""
    signature = keys.sign("stranger")
    assert not any(keys.verifies(signature, principal) for principal in (ON_CALL, LEAD))
    assert find_principal(DOCUMENT, signature, keys.signers) == ""


@pytest.mark.parametrize("rubbish", ["", "rubbish", "-----BEGIN SSH SIGNATURE-----\n", "-n x"])
def test_rubbish_is_no_signature(rubbish: str, keys: Keys) -> None:
    """What is no signature is refused, and stops nobody."""
    assert not keys.verifies(rubbish)
    assert find_principal(DOCUMENT, rubbish, keys.signers) == ""


@pytest.mark.parametrize("principal", ["-h", "--", "*", "oncall@lab,lead@lab", "o* l*"])
def test_an_odd_principal_is_nobody(principal: str, keys: Keys) -> None:
    """A principal is a name: neither an option nor a pattern that fits several."""
    assert not keys.verifies(keys.sign(), principal)


def test_without_allowed_signers_nobody_signs(keys: Keys, tmp_path: Path) -> None:
    """A missing or empty list allows nobody."""
    missing, empty = tmp_path / "missing", tmp_path / "empty"
    empty.write_text("")
    for signers in (missing, empty):
        assert not verify(DOCUMENT, keys.sign(), ON_CALL, NAMESPACE, signers)
        assert find_principal(DOCUMENT, keys.sign(), signers) == ""


def test_a_signer_of_another_purpose_is_refused(keys: Keys, tmp_path: Path) -> None:
    """A key allowed for votes only signs no request."""
    signers = tmp_path / "signers"
    public = (keys.root / "oncall.pub").read_text()
    signers.write_text(f'{ON_CALL} namespaces="sisamu-vote" {public}')
    assert not verify(DOCUMENT, keys.sign(), ON_CALL, NAMESPACE, signers)


def test_an_expired_key_is_refused(keys: Keys, tmp_path: Path) -> None:
    """A key whose time is over in allowed_signers signs nothing any more."""
    signers = tmp_path / "signers"
    public = (keys.root / "oncall.pub").read_text()
    signers.write_text(f'{ON_CALL} valid-before="20200101" {public}')
    assert not verify(DOCUMENT, keys.sign(), ON_CALL, NAMESPACE, signers)


def test_a_missing_key_is_told(tmp_path: Path) -> None:
    """Signing with a key that is not there says which, and how to name another."""
    with pytest.raises(ConfigurationError, match="no such key") as caught:
        sign(DOCUMENT, tmp_path / "missing", NAMESPACE)
    assert caught.value.place == str(tmp_path / "missing")
    assert "--identity" in caught.value.remedy


def test_what_is_no_key_is_told(tmp_path: Path) -> None:
    """A file that is no private key, and one others may read, sign nothing."""
    (rubbish := tmp_path / "rubbish").write_text("no key\n")
    rubbish.chmod(0o600)
    make(shared := tmp_path / "shared")
    shared.chmod(0o644)
    for key in (rubbish, shared):
        with pytest.raises(ConfigurationError) as caught:
            sign(DOCUMENT, key, NAMESPACE)
        assert caught.value.place == str(key)
        assert caught.value.remedy


def test_without_ssh_keygen_it_is_told(
    keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine without ssh-keygen the package to install is named."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigurationError, match="ssh-keygen") as caught:
        sign(DOCUMENT, keys.root / "oncall", NAMESPACE)
    assert "openssh-client" in caught.value.remedy
