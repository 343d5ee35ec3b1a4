"""Canonical JSON: one value, one byte string."""

from __future__ import annotations

import pytest

from sisamu_ops.journal.canonical import MAX_DEPTH, canonical_bytes, parse_canonical
from sisamu_ops.model.errors import IntegrityError

LIMIT = 2**53 - 1


def nested(depth: int) -> object:
    value: object = 0
    for _ in range(depth):
        value = [value]
    return value


def test_keys_are_sorted_as_utf_16() -> None:
    """The sorting example of RFC 8785 section 3.2.3 comes out in the RFC's order."""
    keys = ["€", "\r", "\ufb33", "1", "😀", "\u0080", "ö"]
    document = canonical_bytes({key: index for index, key in enumerate(keys)})
    value = parse_canonical(document)
    assert isinstance(value, dict)
    assert list(value) == ["\r", "1", "\u0080", "ö", "€", "😀", "\ufb33"]


@pytest.mark.parametrize(
    ("value", "document"),
    [
        ({"b": [1, None, True], "a": "é"}, '{"a":"é","b":[1,null,true]}'),
        ('\u0000\b\t\n\f\r\u001f"\\/\u007f', '"\\u0000\\b\\t\\n\\f\\r\\u001f\\"\\\\/\u007f"'),
        (LIMIT, "9007199254740991"),
        (-LIMIT, "-9007199254740991"),
        ({}, "{}"),
        ((), "[]"),
    ],
)
def test_a_value_has_this_form(value: object, document: str) -> None:
    """Spacing, escapes and integers are written in the only form RFC 8785 allows."""
    assert canonical_bytes(value) == document.encode()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "value",
    [
        0.5, float("nan"), 1.0, LIMIT + 1, -LIMIT - 1, {1: "a"}, {"a": {None: 1}}, "\ud800",
        {"\udfff": 1}, b"bytes", {"a"}, nested(MAX_DEPTH + 1), nested(100_000), [[1.0]],
    ],
    ids=lambda value: str(type(value)),
)  # fmt: skip
def test_what_has_no_canonical_form_is_refused(value: object) -> None:
    """Floats, large integers, other keys, lone surrogates and foreign types are a ValueError."""
    with pytest.raises(ValueError):
        canonical_bytes(value)  # type: ignore[arg-type]


def test_the_deepest_nesting_is_accepted() -> None:
    """The limit itself is not beyond the limit."""
    document = canonical_bytes(nested(MAX_DEPTH))  # type: ignore[arg-type]
    assert canonical_bytes(parse_canonical(document)) == document


@pytest.mark.parametrize(
    "document",
    [
        b"", b" 1", b"1 ", b"01", b"-0", b"1.0", b"1e2", b"NaN", b"Infinity", b"9007199254740992",
        b'{"b":1,"a":2}', b'{"a":1,"a":1}', b'{"a":1,"a":2}', b'{"a": 1}', b'"\\u00e9"', b'"\\/"',
        b'"\\ud800"', b'"\xff"', b"\xef\xbb\xbf1", b"[1,]", b"[1]x", b"'a'", b'"\\u001F"',
        b'"\\u000a"', b"[" * 100_000, b"1" * 5_000,
    ],
    ids=lambda document: repr(document[:20]),
)  # fmt: skip
def test_bytes_that_are_not_their_own_canonical_form_are_refused(document: bytes) -> None:
    """A reader never repairs: what another writer could have spelt otherwise is refused."""
    with pytest.raises(IntegrityError):
        parse_canonical(document)
