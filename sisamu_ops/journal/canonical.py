"""Canonical JSON, the only form in which the journal signs, hashes or stores a value.

Source: RFC 8785 (JSON Canonicalization Scheme), narrowed: no floating-point number at all, integers
within ±(2^53−1), string keys, text that UTF-8 can carry. One value has one byte string, so bytes
that differ from the canonical form of what they say are refused rather than repaired.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import NoReturn, TypeAlias

import rfc8785

from sisamu_ops.model.errors import IntegrityError

Json: TypeAlias = bool | int | str | Sequence["Json"] | Mapping[str, "Json"] | None

MAX_DEPTH = 64
"""Deepest nesting accepted, well below the interpreter's recursion limit."""


def canonical_bytes(value: Json) -> bytes:
    """Give the one canonical byte string of a value (RFC 8785).

    Raises ValueError for floats, integers beyond ±(2^53−1), keys that are not strings, lone
    surrogates, nesting deeper than `MAX_DEPTH`, and any type JSON does not have.
    """
    _refuse_foreign(value, depth=0)
    return rfc8785.dumps(value)


def parse_canonical(document: bytes) -> Json:
    """Read a value from bytes that must be its canonical form.

    Raises IntegrityError for everything else: loose spacing, other key order, duplicate keys,
    floats, bytes that are not UTF-8 JSON.
    """
    try:
        value: Json = json.loads(
            document.decode("utf-8"),
            parse_float=_refuse_number,
            parse_constant=_refuse_number,
        )
        canonical = canonical_bytes(value)
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"not canonical JSON (RFC 8785): {error}") from error
    if canonical != document:
        raise IntegrityError("not canonical JSON (RFC 8785): the bytes differ from their value's")
    return value


def _refuse_foreign(value: object, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH}")
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise ValueError("object keys must be strings")
        for item in value.values():
            _refuse_foreign(item, depth + 1)
    elif isinstance(value, list | tuple):
        for item in value:
            _refuse_foreign(item, depth + 1)
    elif not (value is None or isinstance(value, bool | int | str)):
        raise ValueError(f"{type(value).__name__} has no canonical form in the journal")


def _refuse_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not an integer")
