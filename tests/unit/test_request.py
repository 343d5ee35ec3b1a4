"""A request is exactly the bytes that were signed; whatever else is refused, and crashes nobody."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sisamu_ops.failover.request import (
    MAX_DOCUMENT_BYTES,
    Envelope,
    Request,
    Verb,
    digest_of,
    inbox_name,
    new_request,
    open_envelope,
    parse_request,
    parse_rfc3339,
    rfc3339,
)
from sisamu_ops.journal.canonical import canonical_bytes
from sisamu_ops.model.errors import ConfigurationError

NOW = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
FIELDS: dict[str, Any] = {
    "platform": "world", "id": "failover-0123456789ab", "verb": "failover", "samus": ["300"],
    "to": "backup", "targets": [], "reason": "flooded", "created": "2026-01-02T03:04:05.678Z",
    "expires": "2026-01-02T03:09:05.678Z",
}  # fmt: skip
ENVELOPE: dict[str, Any] = {"document": "{}", "signature": "armour", "principal": "oncall@lab"}


def a_request(reason: str = "flooded", **fields: Any) -> Request:
    return new_request(
        platform="world", verb=Verb.FAILOVER, reason=reason, now=NOW,
        lifetime=timedelta(minutes=5), **fields,
    )  # fmt: skip


def document(**changes: Any) -> bytes:
    return canonical_bytes(FIELDS | changes)


def test_a_request_is_read_back_as_it_was_made() -> None:
    """What is signed says all that was asked, the reviewed plan too."""
    request = a_request(samus=["680", "300"], to="backup", plan="ab" * 32)
    assert parse_request(request.document()) == request
    assert request.samus == ("300", "680")
    assert (request.created, request.expires) == (NOW, NOW + timedelta(minutes=5))


def test_an_envelope_is_read_back_as_it_was_made() -> None:
    """Document, signature and principal travel together, unchanged."""
    made = Envelope(document='{"é":1}', signature="-----BEGIN", principal="oncall@lab")
    assert open_envelope(made.payload()) == made


def test_every_request_has_an_id_of_its_own() -> None:
    """Asking for the same twice is two requests."""
    assert a_request().request_id != a_request().request_id


def test_a_samu_named_twice_is_asked_for_once() -> None:
    """Repetition on the command line asks for nothing more."""
    assert a_request(samus=["300", "300"], targets=["otn", "otn"]).samus == ("300",)
    assert a_request(targets=["otn", "otn"]).targets == ("otn",)


@pytest.mark.parametrize("reason", ["", "   ", "\n\t"])
def test_a_reason_is_required(reason: str) -> None:
    """Nobody asks without saying why."""
    with pytest.raises(ConfigurationError, match="a reason is required"):
        a_request(reason)


@pytest.mark.parametrize("reason", ["caller 06 39 98 01 02", "+33639980102 said so"])
def test_a_phone_number_is_refused_in_a_reason(reason: str) -> None:
    """A caller's number is refused before anything is signed, and is not repeated."""
    with pytest.raises(ConfigurationError, match="telephone number") as caught:
        a_request(reason)
    assert caught.value.place == "--reason"
    assert "98" not in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize("plan", ["abc", "AB" * 32, "ab" * 31, "zz" * 32, "ab" * 32 + " "])
def test_what_is_no_digest_is_no_plan(plan: str) -> None:
    """A mistyped --plan is told before anything is signed."""
    with pytest.raises(ConfigurationError, match="digest") as caught:
        a_request(plan=plan)
    assert caught.value.place == "--plan"


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_no_field_may_be_missing(name: str) -> None:
    """Each field is needed, and a missing one is named."""
    fields = {k: v for k, v in FIELDS.items() if k != name}
    with pytest.raises(ConfigurationError, match=name):
        parse_request(canonical_bytes(fields))


WRONG: list[dict[str, Any]] = [
    {"extra": 1},
    {"platform": 1},
    {"id": 7},
    {"id": "SHORT"},
    {"id": "../../../etc"},
    {"id": "a" * 65},
    {"id": "failover-1\n"},
    {"verb": "explode"},
    {"verb": []},
    {"verb": None},
    {"samus": "300"},
    {"samus": [300]},
    {"samus": {"300": 1}},
    {"to": None},
    {"targets": 1},
    {"reason": ["x"]},
    {"created": 1},
    {"created": "2026-01-02"},
    {"created": "2026-01-02Z"},
    {"expires": "2026-01-02T03:04:05.678+01:00Z"},
    {"expires": "2026-01-02T03:04:05.678"},
    {"expires": "2026-01-02T03:04Z"},
    {"expires": "2026-13-02T03:04:05.678Z"},
    {"expires": "Z"},
    {"expires": "0001-01-01T00:00:00.000+05:00"},
    {"expires": "2026-01-02T03:04:05.678+00:00"},
    {"plan": 1},
]


@pytest.mark.parametrize("changes", WRONG, ids=repr)
def test_a_field_of_another_kind_is_refused(changes: dict[str, Any]) -> None:
    """Whatever is not exactly a request is a message with a remedy."""
    with pytest.raises(ConfigurationError) as caught:
        parse_request(document(**changes))
    assert caught.value.remedy


SECRET = "hunter2 of Mrs Doe"


@pytest.mark.parametrize("name", [*sorted(FIELDS), "plan"])
@pytest.mark.parametrize("value", [SECRET, [SECRET], {SECRET: SECRET}, [[SECRET]]], ids=type)
def test_a_malformed_request_is_not_repeated(name: str, value: Any) -> None:
    """The refusal of what anybody may send never carries what they sent into the journal."""
    try:
        parse_request(document(**{name: value}))
    except ConfigurationError as error:
        assert "hunter2" not in str(error)


def test_unknown_fields_are_not_repeated() -> None:
    """Nor do the names of fields carry anything into the journal."""
    with pytest.raises(ConfigurationError) as caught:
        parse_request(document(**{SECRET: 1}))
    assert "hunter2" not in str(caught.value)


def test_only_the_canonical_form_is_a_request() -> None:
    """One request has one byte string: a blank more is another document."""
    with pytest.raises(ConfigurationError):
        parse_request(document() + b" ")
    with pytest.raises(ConfigurationError):
        parse_request(document().replace(b":", b": ", 1))


def test_a_huge_request_is_refused() -> None:
    """No request is large enough to make an entry that cannot be written."""
    parse_request(document(reason="x" * (MAX_DOCUMENT_BYTES - len(document(reason="")))))
    with pytest.raises(ConfigurationError, match="bytes"):
        parse_request(document(reason="x" * MAX_DOCUMENT_BYTES))


ODD_ENVELOPES = [
    b"",
    b"\xff",
    b"[]",
    b"null",
    b"{}",
    b"[" * 100_000,
    b'{"a":' * 5_000,
    b"9" * 10_000,
    b'"\\ud800"',
    canonical_bytes(ENVELOPE | {"extra": ""}),
    canonical_bytes(ENVELOPE | {"document": {}}),
    canonical_bytes(ENVELOPE | {"signature": None}),
    canonical_bytes(ENVELOPE | {"principal": 1}),
    canonical_bytes(ENVELOPE | {"principal": "a\x00b"}),
    canonical_bytes(ENVELOPE | {"principal": "a\nb"}),
    canonical_bytes(ENVELOPE | {"principal": "a" * 200_000}),
    canonical_bytes(ENVELOPE | {"signature": "a" * 200_000}),
    canonical_bytes(ENVELOPE | {"signature": "a\x00b"}),
]


@pytest.mark.parametrize("payload", ODD_ENVELOPES, ids=lambda p: repr(p[:40]))
def test_what_is_no_envelope_is_refused(payload: bytes) -> None:
    """Whatever lies in the inbox is read or refused; a principal can be given to a program."""
    with pytest.raises(ConfigurationError):
        open_envelope(payload)


def test_an_unsigned_envelope_is_still_an_envelope() -> None:
    """A request without signature or signer can be read, so that its refusal names it."""
    assert open_envelope(canonical_bytes(ENVELOPE | {"signature": "", "principal": ""}))


def test_other_content_under_one_id_has_another_inbox_name() -> None:
    """Nobody overwrites a waiting request: other bytes under its id wait beside it."""
    request = a_request()
    names = {inbox_name(request.request_id, one) for one in (b"one", b"other")}
    assert len(names) == 2
    assert all(name.startswith(request.request_id + ".") for name in names)


def test_times_are_utc_with_milliseconds() -> None:
    """A time is written one way, whatever zone it came in, and read back only from that way."""
    elsewhere = NOW.astimezone(datetime.fromisoformat("2026-01-01T00:00+05:00").tzinfo)
    assert rfc3339(elsewhere) == "2026-01-02T03:04:05.678Z"
    assert parse_rfc3339("2026-01-02T03:04:05.678Z") == NOW
    assert parse_rfc3339(rfc3339(NOW)).utcoffset() == timedelta(0)


def test_a_digest_is_sha256_of_the_bytes() -> None:
    """The digest of nothing is the one FIPS 180-4 gives."""
    assert digest_of(b"").startswith("e3b0c44298fc1c149afbf4c8996fb924")


def test_the_document_changes_with_each_field() -> None:
    """What was signed for one request is never the document of another."""
    request = a_request(samus=["300"], to="backup")
    others = [
        replace(request, platform="other"), replace(request, verb=Verb.SWITCHOVER),
        replace(request, samus=("680",)), replace(request, to="nominal"),
        replace(request, reason="x"), replace(request, expires=NOW), replace(request, plan="y"),
        replace(request, targets=("otn-paris",)), replace(request, request_id="failover-x"),
    ]  # fmt: skip
    assert request.document() not in {other.document() for other in others}
    assert len({other.document() for other in others}) == len(others)
