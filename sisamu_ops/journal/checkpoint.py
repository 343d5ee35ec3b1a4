"""Tree heads signed by the log and cosigned by the sites: what the sites agree on.

Source: C2SP tlog-checkpoint (the three lines), signed-note (the form of the signatures),
tlog-cosignature (`cosignature/v1`, Ed25519, type 0x04). The parser takes exactly what `note`
writes: no extension lines, no other spelling of a number or of base64.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

from sisamu_ops.journal.keys import Policy
from sisamu_ops.journal.merkle import HASH_BYTES
from sisamu_ops.journal.signing import CosignKey, LogKey, VerifierKey, is_key_name
from sisamu_ops.model.errors import IntegrityError

MAX_SIGNATURES = 64
MAX_NOTE_BYTES = 65_536

_SIZE = re.compile(r"0|[1-9][0-9]{0,15}")
_TIMESTAMP_BYTES = 8


@dataclass(frozen=True, kw_only=True)
class TreeHead:
    """The size and the root of a journal: what is signed."""

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        """Check the three fields; raises ValueError."""
        if not self.origin or not self.origin.isprintable():
            raise ValueError("the origin is one line of printable text")
        if self.size < 0 or len(self.root) != HASH_BYTES:
            raise ValueError("a tree head has a size from 0 and a root of 32 bytes")

    @property
    def text(self) -> bytes:
        """Give the three lines that are signed."""
        return f"{self.origin}\n{self.size}\n{b64encode(self.root).decode()}\n".encode()


@dataclass(frozen=True, kw_only=True)
class NoteSignature:
    """One signature line of a note: whose key, and the bytes after the key ID."""

    name: str
    key_id: bytes
    signature: bytes

    @property
    def line(self) -> str:
        """Write the signature line without its newline."""
        return f"— {self.name} {b64encode(self.key_id + self.signature).decode()}"

    def is_by(self, key: VerifierKey) -> bool:
        """Say whether the line claims this key; it proves nothing yet."""
        return (self.name, self.key_id) == (key.name, key.key_id)


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A tree head and the signatures collected for it."""

    head: TreeHead
    signatures: tuple[NoteSignature, ...]

    @property
    def note(self) -> bytes:
        """Write the signed note."""
        lines = "".join(f"{signature.line}\n" for signature in self.signatures)
        return self.head.text + b"\n" + lines.encode()

    def with_signature(self, signature: NoteSignature) -> Self:
        """Give this checkpoint with one more signature, in place of an older one by that key."""
        others = [
            known
            for known in self.signatures
            if (known.name, known.key_id) != (signature.name, signature.key_id)
        ]
        return replace(self, signatures=(*others, signature))


@dataclass(frozen=True, kw_only=True)
class Endorsement:
    """What the signatures of a checkpoint are worth under a policy.

    `cosigned` gives, per site, the time of its cosignature in POSIX seconds; `forged` names keys
    the policy knows whose signature does not verify; `unknown` names keys it does not know.
    """

    logs: frozenset[str]
    cosigned: Mapping[str, int]
    forged: tuple[str, ...]
    unknown: tuple[str, ...]


def sign_head(head: TreeHead, key: LogKey) -> Checkpoint:
    """Sign a tree head as the log; raises ValueError when the key is another log's."""
    if key.name != head.origin:
        raise ValueError(f"the log key {key.name} does not sign for {head.origin}")
    signature = _line(key.verifier, key.sign(head.text))
    return Checkpoint(head=head, signatures=(signature,))


def cosign_head(head: TreeHead, key: CosignKey, *, at: int) -> NoteSignature:
    """Cosign a tree head the site computed itself; `at` is in POSIX seconds."""
    signature = key.sign(_cosigned_message(head, at))
    return _line(key.verifier, at.to_bytes(_TIMESTAMP_BYTES, "big") + signature)


def parse_checkpoint(note: bytes) -> Checkpoint:
    """Read a signed note; raises IntegrityError for anything but its exact form."""
    try:
        checkpoint = _checkpoint_of(note)
    except ValueError as error:
        raise IntegrityError(f"not a checkpoint: {error}") from error
    if checkpoint.note != note:
        raise IntegrityError("not a checkpoint: written in another form than its own")
    return checkpoint


def agreed(checkpoint: Checkpoint, policy: Policy) -> bool:
    """Say whether a site's log key signed it and at least the threshold of sites cosigned it.

    A signature that names a known key and does not verify spoils the whole note (signed-note).
    """
    endorsement = weigh(checkpoint, policy)
    return (
        checkpoint.head.origin == policy.origin
        and bool(endorsement.logs)
        and len(endorsement.cosigned) >= policy.threshold
        and not endorsement.forged
    )


def weigh(checkpoint: Checkpoint, policy: Policy) -> Endorsement:
    """Verify every signature by a key the policy knows."""
    logs: set[str] = set()
    cosigned: dict[str, int] = {}
    forged: list[str] = []
    unknown: list[str] = []
    head = checkpoint.head
    for signature in checkpoint.signatures:
        if by := _log_key(signature, policy, head.size):
            site, key = by
            good = key.verifies(signature.signature, head.text)
            logs |= {site} if good else set()
        elif by := _cosign_key(signature, policy, head.size):
            site, key = by
            at = cosigned_at(head, signature, key)
            cosigned |= {} if at is None else {site: at}
            good = at is not None
        else:
            unknown.append(signature.name)
            continue
        if not good:
            forged.append(signature.name)
    return Endorsement(
        logs=frozenset(logs), cosigned=cosigned, forged=tuple(forged), unknown=tuple(unknown)
    )


def cosigned_at(head: TreeHead, signature: NoteSignature, key: VerifierKey) -> int | None:
    """Give the POSIX second of a cosignature that verifies, else None."""
    at = int.from_bytes(signature.signature[:_TIMESTAMP_BYTES], "big")
    message = _cosigned_message(head, at)
    good = signature.is_by(key) and key.verifies(signature.signature[_TIMESTAMP_BYTES:], message)
    return at if good and at < 1 << 63 else None


def _cosigned_message(head: TreeHead, at: int) -> bytes:
    return b"cosignature/v1\n" + f"time {at}\n".encode() + head.text


def _line(key: VerifierKey, signature: bytes) -> NoteSignature:
    return NoteSignature(name=key.name, key_id=key.key_id, signature=signature)


def _log_key(signature: NoteSignature, policy: Policy, size: int) -> tuple[str, VerifierKey] | None:
    """Find the site, and which of its log keys for a checkpoint of this size, names itself."""
    found = ((n, k) for n, site in policy.sites.items() for k in site.log_keys(size))
    return next(((name, key) for name, key in found if signature.is_by(key)), None)


def _cosign_key(
    signature: NoteSignature, policy: Policy, size: int
) -> tuple[str, VerifierKey] | None:
    found = ((n, k) for n, site in policy.sites.items() for k in site.cosign_keys(size))
    return next(((name, key) for name, key in found if signature.is_by(key)), None)


def _checkpoint_of(note: bytes) -> Checkpoint:
    if len(note) > MAX_NOTE_BYTES:
        raise ValueError(f"longer than {MAX_NOTE_BYTES} bytes")
    text, separator, signatures = note.decode("utf-8").partition("\n\n")
    lines = text.split("\n")
    if not separator or len(lines) != 3 or _SIZE.fullmatch(lines[1]) is None:
        raise ValueError("not an origin, a size, a root and signatures")
    root = b64decode(lines[2], validate=True)
    return Checkpoint(
        head=TreeHead(origin=lines[0], size=int(lines[1]), root=root),
        signatures=_signatures_of(signatures.removesuffix("\n").split("\n")),
    )


def _signatures_of(lines: list[str]) -> tuple[NoteSignature, ...]:
    signatures = tuple(_signature_of(line) for line in lines)
    keys = {(signature.name, signature.key_id) for signature in signatures}
    if len(keys) != len(signatures) or len(signatures) > MAX_SIGNATURES:
        raise ValueError("a key signed twice, or there are too many signatures")
    return signatures


def _signature_of(line: str) -> NoteSignature:
    dash, name, encoded = [*line.split(" "), "", ""][:3]
    if dash != "—" or not is_key_name(name):
        raise ValueError("a signature line is a dash, a key name and base64")
    signature = b64decode(encoded, validate=True)
    if len(signature) <= 4:
        raise ValueError("a signature is longer than its key ID")
    return NoteSignature(name=name, key_id=signature[:4], signature=signature[4:])
