"""Keeping callers' numbers out of the journal: refused in free text, masked in captured output.

Rule: DESIGN.md section 1 and DOMAIN.md section 6 (no caller number in clear, ever). Recognised:
French national numbers (ten digits from 0, in the groups people write), and international ones
after `+`, `%2B` or `00` (ITU-T E.164: at most 15 digits), whatever Unicode digits, spaces, dashes
or dots are used. What evidence consists of is left alone: times, addresses, digests, identifiers,
tokens. In doubt a number is masked: evidence can be read again, a caller's number cannot be unread.
"""

from __future__ import annotations

import re
import unicodedata

from sisamu_ops.model.errors import ConfigurationError

MASK = "[number masked]"

_SEPARATOR = (
    r"[ \t\u00a0\u1680\u2000-\u200b\u202f\u205f\u2060\u3000\ufeff\u00ad"
    r".\u00b7\u2022\u2024\uff0e\-\u2010-\u2015\u2212\ufe58\ufe63\uff0d/_()]{0,4}"
)
_GAP = _SEPARATOR.replace("{0,4}", "{1,4}")
# A digit that starts a group is followed by another: columns of single digits are no number.
_DIGIT = rf"(?:\d|{_GAP}\d(?=\d))"
_PREFIX = r"(?:\+|%2[Bb]|(?<!\d)00)"

_EVIDENCE = "|".join(
    (
        r"(?<!\d)\d{4}-\d\d-\d\d(?:[Tt ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:[Zz]|[+-]\d\d:?\d\d)?)?"
        r"(?!\d)",
        r"(?<!\d)\d\d(?P<dash>[./-])\d\d(?P=dash)(?:19|20)\d\d[ T]\d\d:\d\d(?::\d\d)?(?!\d)",
        r"(?<![0-9A-Za-z])[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}(?![0-9A-Za-z])",
        r"(?<![0-9A-Za-z])[0-9A-Fa-f]{32,}(?![0-9A-Za-z])",
        r"(?<![\d.+])(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)\.){3}"
        r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?!\d|\.\d)",
        r"(?<![\d.+])[1-9]\d{0,15}\.\d{1,8}(?!\d|\.\d)",
    )
)
_NUMBER = "|".join(
    (
        rf"{_PREFIX}{_SEPARATOR}33{_SEPARATOR}(?:0{_SEPARATOR})?[1-9](?:{_SEPARATOR}\d){{8}}(?!\d)",
        rf"(?:\+|%2[Bb]){_SEPARATOR}[1-9](?:{_SEPARATOR}\d){{6,14}}(?!\d)",
        rf"(?<!\d)00{_SEPARATOR}[1-9](?:{_SEPARATOR}\d){{8,13}}(?!\d)",
        rf"(?<!\d)33{_SEPARATOR}[1-9]{_DIGIT}{{8}}(?!\d)",
        rf"(?<!\d)0(?:[1-9]|{_GAP}[1-9](?=\d\d)){_DIGIT}{{8}}(?!\d)",
    )
)
_SCAN = re.compile(rf"(?P<evidence>{_EVIDENCE})|(?P<number>{_NUMBER})")

#: Captured text beyond this tells nobody more, and an entry has room for 65,535 bytes in all.
MOST_CHARACTERS = 1_000


def mask_phone_numbers(text: str) -> str:
    """Give the text with everything shaped like a telephone number replaced by `MASK`."""
    parts, kept = [], 0
    for match in _SCAN.finditer(_plain(text)):
        if match["number"]:
            parts += [text[kept : match.start()], MASK]
            kept = match.end()
    return "".join([*parts, text[kept:]])


def for_the_journal(text: str) -> str:
    """Make captured text fit to be kept: phone-like strings masked, and no longer than a page."""
    masked = mask_phone_numbers(text)
    return masked if len(masked) <= MOST_CHARACTERS else masked[: MOST_CHARACTERS - 1] + "…"


def refuse_phone_numbers(text: str, place: str) -> None:
    """Refuse free text with a telephone number in it; `place` says which text.

    Raises ConfigurationError, which does not repeat the number.
    """
    if any(match["number"] for match in _SCAN.finditer(_plain(text))):
        raise ConfigurationError(
            "this text contains a telephone number",
            place=place,
            remedy="remove the number, name the SAMU or the ticket instead",
        )


class _PlainDigits(dict[int, int]):
    """Maps every Unicode digit and plus sign to its ASCII form, one character for one."""

    def __missing__(self, code: int) -> int:
        digit = unicodedata.digit(chr(code), None)
        plain = ord("+") if code in (0xFF0B, 0xFE62, 0x207A) else code
        self[code] = plain if digit is None else ord("0") + digit
        return self[code]


_PLAIN_DIGITS = _PlainDigits()


def _plain(text: str) -> str:
    return text if text.isascii() else text.translate(_PLAIN_DIGITS)
