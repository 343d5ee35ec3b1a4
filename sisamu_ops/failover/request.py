"""What a person asked, as the bytes they signed (pure).

A request is canonical JSON (RFC 8785) naming the platform, a unique id and an expiry; the
SSHSIG signature (PROTOCOL.sshsig, namespace `sisamu-request`) is over those bytes. Both
travel in an envelope, so that the entry which answers it holds them whole.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any

from sisamu_ops.journal.canonical import canonical_bytes, parse_canonical
from sisamu_ops.journal.privacy import refuse_phone_numbers
from sisamu_ops.model.errors import ConfigurationError, IntegrityError

NAMESPACE = "sisamu-request"
MAX_DOCUMENT_BYTES = 16_384
_ID = re.compile(r"[a-z0-9][a-z0-9-]{7,63}")
_FIELDS = {"platform", "id", "verb", "samus", "to", "targets", "reason", "created", "expires"}
_OPTIONAL = {"plan"}


class Verb(Enum):
    """Planned and unplanned are different verbs."""

    SWITCHOVER = "switchover"
    FAILOVER = "failover"
    FAILBACK = "failback"
    RECONCILE = "reconcile"
    ENROL = "enrol"

    @property
    def moves(self) -> bool:
        """Say whether it moves SAMUs."""
        return self in (Verb.SWITCHOVER, Verb.FAILOVER, Verb.FAILBACK)

    @property
    def planned(self) -> bool:
        """Say whether both sides are expected healthy; a failover is a rescue."""
        return self in (Verb.SWITCHOVER, Verb.FAILBACK)


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked; `to` is a mode or empty, `targets` are hosts to enrol."""

    platform: str
    request_id: str
    verb: Verb
    reason: str
    created: datetime
    expires: datetime
    samus: tuple[str, ...] = field(default=())
    to: str = ""
    targets: tuple[str, ...] = field(default=())
    plan: str = ""

    def document(self) -> bytes:
        """Return the canonical bytes to sign."""
        fields = {
            "platform": self.platform, "id": self.request_id, "verb": self.verb.value,
            "samus": list(self.samus), "to": self.to, "targets": list(self.targets),
            "reason": self.reason, "created": rfc3339(self.created),
            "expires": rfc3339(self.expires),
        }  # fmt: skip
        return canonical_bytes(fields | ({"plan": self.plan} if self.plan else {}))


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """A document, its armoured signature, and who is said to have signed it."""

    document: str
    signature: str
    principal: str

    def payload(self) -> bytes:
        """Return the bytes put into the inbox."""
        return canonical_bytes(
            {"document": self.document, "signature": self.signature, "principal": self.principal}
        )


def rfc3339(moment: datetime) -> str:
    """Write a UTC time with milliseconds, as RFC 3339 has it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_rfc3339(text: object) -> datetime:
    """Read a UTC time written by `rfc3339`; ValueError otherwise."""
    if not isinstance(text, str) or not text.endswith("Z"):
        raise ValueError(f"{text!r} is not an RFC 3339 time in UTC")
    return datetime.fromisoformat(text.removesuffix("Z") + "+00:00")


def new_request(
    *,
    platform: str,
    verb: Verb,
    reason: str,
    now: datetime,
    lifetime: timedelta,
    samus: Sequence[str] = (),
    to: str = "",
    targets: Sequence[str] = (),
    plan: str = "",
) -> Request:
    """Make a request with a fresh id; ConfigurationError when the reason may not be kept."""
    if not reason.strip():
        raise ConfigurationError(
            "a reason is required", place="--reason", remedy="say why in a few words"
        )
    refuse_phone_numbers(reason, place="--reason")
    return Request(
        platform=platform, request_id=f"{verb.value}-{uuid.uuid4().hex[:12]}", verb=verb,
        reason=reason, created=now, expires=now + lifetime, samus=tuple(sorted(samus)), to=to,
        targets=tuple(sorted(targets)), plan=plan,
    )  # fmt: skip


def digest_of(data: bytes) -> str:
    """Return the SHA-256 of the bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def inbox_name(request_id: str, payload: bytes) -> str:
    """Name an inbox item so that other content under the same id is seen, and refused."""
    return f"{request_id}.{digest_of(payload)[:16]}"


def open_envelope(payload: bytes) -> Envelope:
    """Read an inbox payload; ConfigurationError when it is not an envelope."""
    fields = _object(payload, "the envelope")
    if set(fields) != {"document", "signature", "principal"}:
        raise _malformed("the envelope needs document, signature and principal")
    if not all(isinstance(value, str) for value in fields.values()):
        raise _malformed("the envelope holds something other than text")
    return Envelope(**fields)


def parse_request(document: bytes) -> Request:
    """Read the signed bytes; ConfigurationError unless they are exactly a request."""
    if len(document) > MAX_DOCUMENT_BYTES:
        raise _malformed(f"the request is over {MAX_DOCUMENT_BYTES} bytes")
    fields = _object(document, "the request")
    if not set(fields) >= _FIELDS or not set(fields) <= _FIELDS | _OPTIONAL:
        odd = sorted(_FIELDS.symmetric_difference(fields) - _OPTIONAL)
        raise _malformed(f"missing or unknown fields: {', '.join(odd)}")
    try:
        return _request(fields)
    except (ValueError, TypeError, AttributeError) as error:
        raise _malformed(str(error)) from error


def _request(fields: dict[str, Any]) -> Request:
    if not _ID.fullmatch(fields["id"]):
        raise ValueError("the id is not 8 to 64 of a-z, 0-9 and -")
    return Request(
        platform=_text(fields["platform"]), request_id=fields["id"], verb=Verb(fields["verb"]),
        samus=_texts(fields["samus"]), to=_text(fields["to"]), targets=_texts(fields["targets"]),
        reason=_text(fields["reason"]), created=parse_rfc3339(fields["created"]),
        expires=parse_rfc3339(fields["expires"]), plan=_text(fields.get("plan", "")),
    )  # fmt: skip


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not text")
    return value


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError(f"{value!r} is not a list")
    return tuple(_text(item) for item in value)


def _object(data: bytes, what: str) -> dict[str, Any]:
    try:
        fields = parse_canonical(data)
    except (IntegrityError, ValueError) as error:
        raise _malformed(f"{what} is not canonical JSON") from error
    if not isinstance(fields, dict):
        raise _malformed(f"{what} is not an object")
    return fields


def _malformed(message: str) -> ConfigurationError:
    return ConfigurationError(
        message, remedy="make requests with sisamu (or submit the bytes it wrote, unchanged)"
    )
