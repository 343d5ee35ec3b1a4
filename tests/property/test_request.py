"""Whatever bytes are in the inbox, reading them gives a request or a ConfigurationError."""

from __future__ import annotations

import string
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sisamu_ops.failover.request import (
    Envelope,
    Request,
    Verb,
    open_envelope,
    parse_request,
    parse_rfc3339,
    rfc3339,
)
from sisamu_ops.journal.canonical import canonical_bytes
from sisamu_ops.model.errors import ConfigurationError
from tests.unit.test_request import ENVELOPE, FIELDS

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=10,
)
#: Times that a datetime's ISO reader takes, and other look-alikes of a time.
TIMES = st.one_of(st.datetimes(), st.datetimes(timezones=st.just(UTC)), st.dates(), st.times()).map(
    lambda moment: moment.isoformat() + "Z"
)
MOMENTS = st.datetimes(
    min_value=datetime(2000, 1, 1), max_value=datetime(2999, 1, 1), timezones=st.just(UTC)
).map(lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000))


def read(payload: bytes) -> None:
    """Read as the leader does; only a ConfigurationError may come out, never anything else."""
    with suppress(ConfigurationError):
        parse_request(payload)
    with suppress(ConfigurationError):
        parse_request(open_envelope(payload).document.encode())


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(payload: bytes) -> None:
    """Arbitrary bytes never stop the leader."""
    read(payload)


@given(JSON)
def test_any_json_is_read_or_refused(value: Any) -> None:
    """JSON of any other shape never stops the leader."""
    read(canonical_bytes(value))


@given(st.sampled_from([*sorted(FIELDS), "plan", "other"]), JSON | TIMES)
def test_any_value_in_any_field_is_read_or_refused(name: str, value: Any) -> None:
    """A field of any other type never stops the leader, and times read are comparable."""
    document = canonical_bytes(FIELDS | {name: value})
    read(canonical_bytes(ENVELOPE | {"document": document.decode()}))
    with suppress(ConfigurationError):
        request = parse_request(document)
        assert request.created - request.expires is not None
        assert request.created.utcoffset() == request.expires.utcoffset() == timedelta(0)
        assert request.document() == document


@given(st.sampled_from(sorted(ENVELOPE)), JSON)
def test_any_value_in_an_envelope_is_read_or_refused(name: str, value: Any) -> None:
    """What is read from an envelope can be given to a program as an argument."""
    with suppress(ConfigurationError):
        envelope = open_envelope(canonical_bytes(ENVELOPE | {name: value}))
        assert "\x00" not in envelope.principal + envelope.signature


@given(st.integers(1, 3_000), st.sampled_from([b"[", b'{"a":', b'{"document":[']))
def test_deep_nesting_is_refused(depth: int, opening: bytes) -> None:
    """However deep, nesting exhausts no stack."""
    read(opening * depth)
    closing = b"]" if opening == b"[" else b"}"
    read(opening * depth + b"1" + closing * depth)


@given(
    request=st.builds(
        Request,
        platform=TEXT,
        request_id=st.from_regex(r"[a-z0-9][a-z0-9-]{7,63}", fullmatch=True),
        verb=st.sampled_from(Verb),
        reason=TEXT,
        created=MOMENTS,
        expires=MOMENTS,
        samus=st.lists(TEXT, max_size=3).map(tuple),
        to=TEXT,
        targets=st.lists(TEXT, max_size=3).map(tuple),
        plan=TEXT,
    )
)
def test_every_request_survives_its_document(request: Request) -> None:
    """Written and read, a request is the same request."""
    assert parse_request(request.document()) == request


@given(TEXT, st.text(string.ascii_letters + string.digits + "+/=-\n ", max_size=300))
def test_every_envelope_survives_its_payload(document: str, signature: str) -> None:
    """Packed and unpacked, an envelope is the same envelope."""
    envelope = Envelope(document=document, signature=signature, principal="oncall@lab")
    assert open_envelope(envelope.payload()) == envelope


@given(MOMENTS)
def test_every_instant_survives_its_writing(moment: datetime) -> None:
    """Written and read, an instant is the same instant, to the millisecond."""
    assert parse_rfc3339(rfc3339(moment)) == moment
