"""The three keys of a site, and how keys are written as text.

Source: C2SP signed-note (key names, key IDs, verifier keys), C2SP tlog-cosignature (type 0x04); the
private form is the one of Go's golang.org/x/mod/sumdb/note. Entry key, log key and cosigning key
are three keys, so that what one of them signs can never be read as the word of another.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from enum import IntEnum
from hashlib import sha256
from typing import ClassVar, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

KEY_BYTES = 32
_VKEY = re.compile(r"([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+=*)", re.ASCII)


class SignatureType(IntEnum):
    """The signature type byte of a key (C2SP signed-note, "Signature types")."""

    ED25519 = 0x01
    COSIGNATURE = 0x04


@dataclass(frozen=True, kw_only=True)
class VerifierKey:
    """A public key under a name, as a policy lists it."""

    name: str
    signature_type: SignatureType
    public: bytes
    _handle: Ed25519PublicKey = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the name and the key; raises ValueError."""
        if not is_key_name(self.name):
            raise ValueError(f"{self.name!r} is not a key name: no space, no plus, not empty")
        object.__setattr__(self, "_handle", Ed25519PublicKey.from_public_bytes(self.public))

    @classmethod
    def parse(cls, vkey: str) -> Self:
        """Read `<name>+<key ID>+<base64>`; raises ValueError for anything not exactly that."""
        name, key_type, material = _parse_key(vkey)
        key = cls(name=name, signature_type=key_type, public=material)
        if key.vkey != vkey:
            raise ValueError("the key ID is not that of the name and the key")
        return key

    @property
    def key_id(self) -> bytes:
        """Give the four bytes that, with the name, point at this key in a note."""
        named = self.name.encode() + b"\n" + bytes([self.signature_type])
        return sha256(named + self.public).digest()[:4]

    @property
    def vkey(self) -> str:
        """Write the key as one line of text."""
        material = b64encode(bytes([self.signature_type]) + self.public).decode()
        return f"{self.name}+{self.key_id.hex()}+{material}"

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Say whether this key made this Ed25519 signature over this message."""
        try:
            self._handle.verify(signature, message)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, kw_only=True)
class SigningKey:
    """A private key under a name; each kind below signs one thing only."""

    signature_type: ClassVar[SignatureType] = SignatureType.ED25519

    name: str
    seed: bytes = field(repr=False)
    _handle: Ed25519PrivateKey = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the name and the seed; raises ValueError."""
        object.__setattr__(self, "_handle", Ed25519PrivateKey.from_private_bytes(self.seed))
        _ = self.verifier

    @classmethod
    def generate(cls, name: str) -> Self:
        """Make a new key from the system's randomness."""
        return cls(name=name, seed=Ed25519PrivateKey.generate().private_bytes_raw())

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the private line; raises ValueError, which never repeats the text."""
        name, key_type, seed = _parse_key(text.removeprefix("PRIVATE+KEY+"))
        key = cls(name=name, seed=seed)
        if key_type is not cls.signature_type or key.text != text:
            raise ValueError("not a private key of this kind, name and key ID")
        return key

    @property
    def verifier(self) -> VerifierKey:
        """Give the public half."""
        public = self._handle.public_key().public_bytes_raw()
        return VerifierKey(name=self.name, signature_type=self.signature_type, public=public)

    @property
    def text(self) -> str:
        """Write the private key as one line: a secret."""
        material = b64encode(bytes([self.signature_type]) + self.seed).decode()
        return f"PRIVATE+KEY+{self.name}+{self.verifier.key_id.hex()}+{material}"

    def sign(self, message: bytes) -> bytes:
        """Give the 64 bytes of the Ed25519 signature over the message (RFC 8032)."""
        return self._handle.sign(message)


class EntryKey(SigningKey):
    """Signs entries; named `<platform>/<site>/entry`."""


class LogKey(SigningKey):
    """Signs tree heads; named like the journal's origin, as C2SP tlog-checkpoint wants."""


class CosignKey(SigningKey):
    """Cosigns the tree heads a site computed itself; named `<platform>/<site>`."""

    signature_type = SignatureType.COSIGNATURE


def is_key_name(name: str) -> bool:
    """Say whether a name can stand in a note: not empty, no Unicode space, control or plus."""
    return name.isprintable() and bool(name) and not re.search(r"[\s+]", name)


def _parse_key(text: str) -> tuple[str, SignatureType, bytes]:
    """Split a key line in name, type and key material; the key ID is for the caller to compare."""
    match = _VKEY.fullmatch(text)
    if match is None:
        raise ValueError("not of the form <name>+<key ID>+<base64>")
    material = b64decode(match[3], validate=True)
    if len(material) != 1 + KEY_BYTES:
        raise ValueError(f"{len(material)} bytes are not a type and an Ed25519 key")
    return match[1], SignatureType(material[0]), material[1:]
