"""What a person asked, as the bytes they signed (pure).

A request is canonical JSON (RFC 8785) naming the platform, a unique id and an expiry; the
SSHSIG signature (PROTOCOL.sshsig, namespace `sisamu-request`) is over those bytes. Both
travel in an envelope, so that the entry which answers it holds them whole. Others may approve
the same bytes (namespace `sisamu-vote`): the requester does not count, and nobody counts twice.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, TypeVar

from sisamu_ops.journal.canonical import canonical_bytes, parse_canonical
from sisamu_ops.journal.entry import Entry
from sisamu_ops.journal.privacy import refuse_phone_numbers
from sisamu_ops.model.errors import ConfigurationError, IntegrityError

NAMESPACE = "sisamu-request"
VOTE_NAMESPACE = "sisamu-vote"
MAX_DOCUMENT_BYTES = 16_384
#: Far beyond what ssh-keygen writes, and below what an entry or an argument can hold.
_MAX_SIGNATURE = 8_192
_MAX_PRINCIPAL = 256
#: So many that an entry can hold them all.
MAX_APPROVALS = 4
_MAX_APPROVAL_SIGNATURE = 4_096
_ID = re.compile(r"[a-z0-9][a-z0-9-]{7,63}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
REQUEST_FIELDS = {
    "platform",
    "id",
    "verb",
    "samus",
    "to",
    "targets",
    "reason",
    "created",
    "expires",
}
#: Absent unless they say something, so that the bytes of those who know none stay the same.
_OPTIONAL = {"plan", "rules", "site", "overrides", "log", "about", "pace", "details"}
#: How a move goes on: at once, or (where nothing is said) in waves.
AT_ONCE = "at-once"

Read = TypeVar("Read")


class Verb(Enum):
    """Planned and unplanned are different verbs."""

    SWITCHOVER = "switchover"
    FAILOVER = "failover"
    FAILBACK = "failback"
    RECONCILE = "reconcile"
    ENROL = "enrol"
    TRANSFER = "transfer"
    STEP_DOWN = "step-down"
    PAUSE = "pause"
    RESUME = "resume"
    ADOPT = "adopt"
    MERGE = "merge"
    HOLD = "hold"
    GO_ON = "go-on"
    ABORT = "abort"
    CONFIRM = "confirm"
    TICK = "tick"
    ACCEPT = "accept"
    WITHDRAW = "withdraw"
    ACKNOWLEDGE = "acknowledge"
    REVERT = "revert"
    EVACUATE = "evacuate"
    CHECK = "check"

    @property
    def leads(self) -> bool:
        """Say whether it is about who leads, and what the leader may do."""
        return self in (Verb.TRANSFER, Verb.STEP_DOWN, Verb.PAUSE, Verb.RESUME)

    @property
    def steers(self) -> bool:
        """Say whether it is about an operation under way."""
        return self in (Verb.HOLD, Verb.GO_ON, Verb.ABORT)

    @property
    def of_people(self) -> bool:
        """Say whether it tells what people say of SAMUs; nothing is sent to any target."""
        return self in (Verb.CONFIRM, Verb.TICK, Verb.ACCEPT)

    @property
    def moves(self) -> bool:
        """Say whether it moves SAMUs."""
        return self in (Verb.SWITCHOVER, Verb.FAILOVER, Verb.FAILBACK, Verb.REVERT)

    @property
    def operates(self) -> bool:
        """Say whether it becomes an operation: waves, steps, an end for each SAMU."""
        return self.moves or self is Verb.EVACUATE

    @property
    def planned(self) -> bool:
        """Say whether both sides are expected healthy; a failover is a rescue."""
        return self in (
            Verb.SWITCHOVER, Verb.FAILBACK, Verb.REVERT, Verb.EVACUATE, Verb.CHECK
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class LogClaim:
    """Which log a merge is asked for: its origin, how many entries, the root over them in hex."""

    origin: str
    size: int
    root: str

    def to_json(self) -> dict[str, Any]:
        """Return the form that is signed."""
        return {"origin": self.origin, "size": self.size, "root": self.root}


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked; `to` is a mode, a site or empty, `targets` are hosts to enrol.

    `site` is the cut-off site that shall carry it out alone (break-glass), `overrides` the rules
    the requester sets aside by name, `log` the log to merge, `about` the operation or request it is
    about, `pace` how a move goes on, `details` what a person says besides, by name.
    """

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
    #: What an adoption names: digests and a version.
    rules: Mapping[str, str] = field(default_factory=dict)
    site: str = ""
    overrides: tuple[str, ...] = field(default=())
    log: LogClaim | None = None
    about: str = ""
    pace: str = ""
    details: Mapping[str, str] = field(default_factory=dict)

    def document(self) -> bytes:
        """Return the canonical bytes to sign."""
        fields = {
            "platform": self.platform, "id": self.request_id, "verb": self.verb.value,
            "samus": list(self.samus), "to": self.to, "targets": list(self.targets),
            "reason": self.reason, "created": rfc3339(self.created),
            "expires": rfc3339(self.expires),
        }  # fmt: skip
        optional = {
            "plan": self.plan, "rules": dict(self.rules), "site": self.site,
            "overrides": list(self.overrides),
            "log": self.log.to_json() if self.log else None,
            "about": self.about, "pace": self.pace, "details": dict(self.details),
        }  # fmt: skip
        return canonical_bytes(fields | {name: said for name, said in optional.items() if said})


@dataclass(frozen=True, kw_only=True)
class Approval:
    """Another's signature over the same document, and who is said to have made it."""

    principal: str
    signature: str

    def to_json(self) -> dict[str, str]:
        """Return the form that travels."""
        return {"principal": self.principal, "signature": self.signature}


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """A document, its armoured signature, who is said to have signed it, and who approved."""

    document: str
    signature: str
    principal: str
    approvals: tuple[Approval, ...] = field(default=())

    def payload(self) -> bytes:
        """Return the bytes put into the inbox; without approvals they name none."""
        fields: dict[str, Any] = {
            "document": self.document, "signature": self.signature, "principal": self.principal,
        }  # fmt: skip
        approvals = [approval.to_json() for approval in self.approvals]
        return canonical_bytes(fields | ({"approvals": approvals} if approvals else {}))

    def approvers(self) -> tuple[str, ...]:
        """Return who approved, each once, in order; the requester is not one of them."""
        names = dict.fromkeys(approval.principal for approval in self.approvals)
        return tuple(name for name in names if name != self.principal)

    def approved(self, approval: Approval) -> Envelope:
        """Return it with one more approval, in place of an earlier one by the same principal."""
        others = [a for a in self.approvals if a.principal != approval.principal]
        return replace(self, approvals=(*others, approval))


def rfc3339(moment: datetime) -> str:
    """Write a UTC time with milliseconds, as RFC 3339 has it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_rfc3339(text: object) -> datetime:
    """Read a UTC time written by `rfc3339`; ValueError, or TypeError when it is no text."""
    if not isinstance(text, str):
        raise TypeError("a time is text")
    # ISO 8601 has many more forms, some without a zone: only our own is taken.
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is not UTC or rfc3339(moment) != text:
        raise ValueError("a time is written as 2026-01-02T03:04:05.678Z")
    return moment


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
    rules: Mapping[str, str] | None = None,
    site: str = "",
    overrides: Sequence[str] = (),
    log: LogClaim | None = None,
    about: str = "",
    pace: str = "",
    details: Mapping[str, str] | None = None,
) -> Request:
    """Make a request with a fresh id; ConfigurationError when the reason may not be kept."""
    if not reason.strip():
        raise ConfigurationError(
            "a reason is required", place="--reason", remedy="say why in a few words"
        )
    refuse_phone_numbers(reason, place="--reason")
    for name, said in (details or {}).items():
        refuse_phone_numbers(said, place=f"--{name}")
    if plan and not _DIGEST.fullmatch(plan):
        raise ConfigurationError(
            "this is not the digest of a plan",
            place="--plan",
            remedy=f"copy all 64 digits that `sisamu {verb.value} plan` printed",
        )
    return Request(
        platform=platform, request_id=f"{verb.value}-{uuid.uuid4().hex[:12]}", verb=verb,
        reason=reason, created=now, expires=now + lifetime, samus=tuple(sorted(set(samus))), to=to,
        targets=tuple(sorted(set(targets))), plan=plan, rules=rules or {}, site=site,
        overrides=tuple(sorted(set(overrides))), log=log, about=about, pace=pace,
        details=details or {},
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
    if not set(fields) - {"approvals"} == {"document", "signature", "principal"}:
        raise _malformed("the envelope needs document, signature and principal")
    approvals = _approvals(fields.pop("approvals", None))
    if not all(isinstance(value, str) for value in fields.values()):
        raise _malformed("the envelope holds something other than text")
    _check_signer(fields["principal"], fields["signature"], _MAX_SIGNATURE)
    return Envelope(approvals=approvals, **fields)


def accepted_envelope(entry: Entry) -> Envelope:
    """Return the envelope that an entry holds: of a request accepted, or one that waits."""
    fields: Any = dict(entry.data)["request"]
    return Envelope(
        document=fields["document"], signature=fields["signature"], principal=fields["principal"],
        approvals=_approvals(fields.get("approvals")),
    )  # fmt: skip


def _approvals(value: object) -> tuple[Approval, ...]:
    """Read the approvals; none at all is absent, never an empty list."""
    if value is None:
        return ()
    if not isinstance(value, list) or not 0 < len(value) <= MAX_APPROVALS:
        raise _malformed(f"the approvals are not a list of 1 to {MAX_APPROVALS}")
    return tuple(_approval(item) for item in value)


def _approval(item: object) -> Approval:
    if not isinstance(item, dict) or set(item) != {"principal", "signature"}:
        raise _malformed("an approval has a principal and a signature, and nothing else")
    if not all(isinstance(value, str) for value in item.values()):
        raise _malformed("an approval holds something other than text")
    _check_signer(item["principal"], item["signature"], _MAX_APPROVAL_SIGNATURE)
    return Approval(**item)


def _check_signer(principal: str, armour: str, most: int) -> None:
    """Both are given to ssh-keygen by whoever leads: anybody may have written them."""
    if not _printable(principal) or len(principal) > _MAX_PRINCIPAL:
        raise _malformed("the principal cannot be a name")
    if not _printable(armour.replace("\n", "")) or len(armour) > most:
        raise _malformed("the signature cannot be an armoured one")


def _printable(text: str) -> bool:
    return text.isascii() and text.isprintable()


def parse_request(document: bytes) -> Request:
    """Read the signed bytes; ConfigurationError unless they are exactly a request."""
    if len(document) > MAX_DOCUMENT_BYTES:
        raise _malformed(f"the request is over {MAX_DOCUMENT_BYTES} bytes")
    fields = _object(document, "the request")
    missing = sorted(REQUEST_FIELDS - set(fields))
    if missing:
        raise _malformed(f"the request lacks {', '.join(missing)}")
    if not set(fields) <= REQUEST_FIELDS | _OPTIONAL:
        raise _malformed("the request has fields that no request has")
    return _request(fields)


def _request(fields: dict[str, Any]) -> Request:
    return Request(
        platform=_field(fields, "platform", _text), request_id=_field(fields, "id", _id),
        verb=_field(fields, "verb", Verb), samus=_field(fields, "samus", _texts),
        to=_field(fields, "to", _text), targets=_field(fields, "targets", _texts),
        reason=_field(fields, "reason", _text), created=_field(fields, "created", parse_rfc3339),
        expires=_field(fields, "expires", parse_rfc3339),
        rules=_field(fields, "rules", _words) if "rules" in fields else {},
        plan=_field(fields, "plan", _said) if "plan" in fields else "",
        site=_field(fields, "site", _said) if "site" in fields else "",
        overrides=_field(fields, "overrides", _named) if "overrides" in fields else (),
        log=_field(fields, "log", _claim) if "log" in fields else None,
        about=_field(fields, "about", _id) if "about" in fields else "",
        pace=_field(fields, "pace", _pace) if "pace" in fields else "",
        details=_field(fields, "details", _told) if "details" in fields else {},
    )  # fmt: skip


def _field(fields: dict[str, Any], name: str, read: Callable[[Any], Read]) -> Read:
    """Read one field; what is wrong is named and never repeated: a refusal is journalled."""
    try:
        return read(fields[name])
    except (ValueError, TypeError) as error:
        raise _malformed(f"the field {name} is not what a request has there") from error


def _id(value: object) -> str:
    if not _ID.fullmatch(_text(value)):
        raise ValueError("an id is 8 to 64 of a-z, 0-9 and -")
    return _text(value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not text")
    return value


def _said(value: object) -> str:
    """Read an optional text: absent when it says nothing."""
    if not _text(value):
        raise ValueError("an optional text is left out when it is empty")
    return _text(value)


def _named(value: object) -> tuple[str, ...]:
    """Read an optional list of texts: absent when it names nothing."""
    if not _texts(value):
        raise ValueError("an optional list is left out when it is empty")
    return _texts(value)


def _pace(value: object) -> str:
    if value != AT_ONCE:
        raise ValueError("a pace is at-once, or left out")
    return AT_ONCE


def _told(value: object) -> dict[str, str]:
    """Read what a person says besides: absent when it is nothing."""
    if not _words(value):
        raise ValueError("optional details are left out when there are none")
    return _words(value)


def _claim(value: object) -> LogClaim:
    if not isinstance(value, dict) or set(value) != {"origin", "size", "root"}:
        raise TypeError("a log has an origin, a size and a root")
    size = value["size"]
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise ValueError("a log to merge has entries")
    if not _DIGEST.fullmatch(_text(value["root"])):
        raise ValueError("a root is 64 hexadecimal digits")
    return LogClaim(origin=_text(value["origin"]), size=size, root=value["root"])


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError("not a list")
    return tuple(_text(item) for item in value)


def _words(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise TypeError("not an object")
    return {_text(name): _text(word) for name, word in value.items()}


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
