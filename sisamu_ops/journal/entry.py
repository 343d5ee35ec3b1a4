"""One entry of the journal: what was recorded, by which site, in which epoch, signed.

A leaf is the canonical bytes (RFC 8785) of `{"body": …, "sig": …}`; the signature is Ed25519 by the
site's entry key over the canonical bytes of `body` (DESIGN.md, section 1). The body names the log
and the index, so that an entry cannot be moved within a journal or into another.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NoReturn

from sisamu_ops.journal.canonical import Json, canonical_bytes, parse_canonical
from sisamu_ops.journal.signing import EntryKey, VerifierKey
from sisamu_ops.model.errors import IntegrityError

MAX_LEAF_BYTES = 65_535
"""Largest leaf: what the uint16 length of a C2SP entry bundle can say."""

_KIND = re.compile(r"[a-z][a-z0-9-]*\.[a-z][a-z0-9-]*")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", re.ASCII)
_MEMBERS = {"origin", "index", "epoch", "site", "time", "kind", "data"}
_BODY_STARTS = len(b'{"body":')
_SIGNATURE_BYTES = 64
_BODY_ENDS = -len(b',"sig":""}') - len(b64encode(bytes(_SIGNATURE_BYTES)))


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What one entry says.

    `time` is RFC 3339, UTC, with milliseconds and `Z`; `kind` is `noun.verb` in lower case; `data`
    is opaque here.
    """

    origin: str
    index: int
    epoch: int
    site: str
    time: str
    kind: str
    data: Mapping[str, Json]

    def __post_init__(self) -> None:
        """Check every field except `data`; raises ValueError."""
        if not self.origin or not self.site:
            raise ValueError("an entry names its origin and its site")
        if self.index < 0 or self.epoch < 0:
            raise ValueError(f"index {self.index} and epoch {self.epoch} start from 0")
        if _KIND.fullmatch(self.kind) is None:
            raise ValueError(f"kind {self.kind!r} is not noun.verb in lower case")
        if _TIME.fullmatch(self.time) is None:
            raise ValueError(f"time {self.time!r} is not RFC 3339 UTC with milliseconds and Z")
        datetime.fromisoformat(self.time)

    @property
    def body(self) -> dict[str, Json]:
        """Give the value that is signed."""
        return {
            "origin": self.origin,
            "index": self.index,
            "epoch": self.epoch,
            "site": self.site,
            "time": self.time,
            "kind": self.kind,
            "data": self.data,
        }


@dataclass(frozen=True, kw_only=True)
class SignedEntry:
    """An entry as read from a leaf: its signature is not yet checked."""

    entry: Entry
    body: bytes
    signature: bytes


def seal_entry(entry: Entry, key: EntryKey) -> bytes:
    """Sign an entry and give its leaf.

    Raises ValueError when the data has no canonical form or the leaf exceeds `MAX_LEAF_BYTES`.
    """
    signature = key.sign(canonical_bytes(entry.body))
    leaf = canonical_bytes({"body": entry.body, "sig": b64encode(signature).decode()})
    if len(leaf) > MAX_LEAF_BYTES:
        raise ValueError(f"{len(leaf)} bytes are too many for an entry: store an artifact")
    return leaf


def open_entry(leaf: bytes) -> SignedEntry:
    """Read a leaf without judging its signature; raises IntegrityError for anything loose."""
    if len(leaf) > MAX_LEAF_BYTES:
        raise IntegrityError(f"{len(leaf)} bytes are too many for an entry")
    value = parse_canonical(leaf)
    if not isinstance(value, Mapping) or set(value) != {"body", "sig"}:
        raise IntegrityError("an entry has a body and a sig, and nothing else")
    return SignedEntry(
        entry=_entry_of(value["body"]),
        body=leaf[_BODY_STARTS:_BODY_ENDS],
        signature=_signature_of(value["sig"]),
    )


def check_entry(signed: SignedEntry, *keys: VerifierKey) -> None:
    """Check an entry's signature against the entry keys of its site; raises IntegrityError.

    There is more than one where the site has changed its key since.
    """
    if not any(key.verifies(signed.signature, signed.body) for key in keys):
        entry = signed.entry
        raise IntegrityError(f"entry {entry.index} is not signed by the key {keys[0].name}")


def _entry_of(body: Json) -> Entry:
    if not isinstance(body, Mapping) or set(body) != _MEMBERS:
        raise IntegrityError(f"an entry's body has exactly {', '.join(sorted(_MEMBERS))}")
    data = body["data"]
    if not isinstance(data, Mapping):
        raise IntegrityError("an entry's data is an object")
    try:
        return Entry(
            origin=_text(body["origin"]),
            index=_number(body["index"]),
            epoch=_number(body["epoch"]),
            site=_text(body["site"]),
            time=_text(body["time"]),
            kind=_text(body["kind"]),
            data=data,
        )
    except ValueError as error:
        raise IntegrityError(f"malformed entry: {error}") from error


def _signature_of(value: Json) -> bytes:
    text = _text(value)
    try:
        signature = b64decode(text, validate=True)
    except ValueError as error:
        raise IntegrityError("an entry's signature is not base64") from error
    # Encoding again refuses the other spellings base64 has for the same bytes.
    if len(signature) != _SIGNATURE_BYTES or b64encode(signature).decode() != text:
        raise IntegrityError("an entry's signature is not 64 bytes of base64")
    return signature


def _text(value: Json) -> str:
    return value if isinstance(value, str) else _refuse(value)


def _number(value: Json) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else _refuse(value)


def _refuse(value: Json) -> NoReturn:
    raise IntegrityError(f"an entry's field is of the wrong type: {type(value).__name__}")
