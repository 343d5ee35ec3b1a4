"""Callers' numbers do not get through, and evidence is not spoilt."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sisamu_ops.journal.privacy import MASK, mask_phone_numbers, refuse_phone_numbers
from sisamu_ops.model.errors import ConfigurationError

SEPARATORS = ["", " ", ".", "-", "/", "\u00a0", "\u202f", "\u2009", "\u2011", "–", " - ", "\u200b"]
SCRIPTS = ["0123456789", "٠١٢٣٤٥٦٧٨٩", "０１２３４５６７８９", "०१२३४५६७८९", "⁰¹²³⁴⁵⁶⁷⁸⁹"]
WORDS = st.sampled_from(
    ["", "rappeler le", "tél.", "sip:", "(", "numéro:", "x", "«", "22", "à 14h,"]
)


@st.composite
def phone_numbers(draw: st.DrawFn) -> str:
    """A French number as people and machines write it."""
    first, rest = (
        draw(st.integers(1, 9)),
        draw(st.lists(st.integers(0, 99), min_size=4, max_size=4)),
    )
    prefix = draw(st.sampled_from(["0", "+33", "0033", "+33 ", "+33(0)", "0033 (0) ", "%2B33"]))
    separator = draw(st.sampled_from(SEPARATORS))
    number = f"{prefix}{first}" + "".join(f"{separator}{pair:02d}" for pair in rest)
    return number.translate(str.maketrans("0123456789", draw(st.sampled_from(SCRIPTS))))


@st.composite
def international_numbers(draw: st.DrawFn) -> str:
    """An E.164 number of another country."""
    digits = draw(
        st.from_regex(r"[1-9][0-9]{8,13}", fullmatch=True).filter(lambda d: d[:2] != "33")
    )
    cut = draw(st.integers(1, len(digits) - 1))
    return f"+{digits[:cut]}{draw(st.sampled_from(SEPARATORS))}{digits[cut:]}"


OCTETS = st.integers(0, 255).map(str)
EVIDENCE = st.one_of(
    st.datetimes().map(lambda time: time.isoformat(timespec="milliseconds") + "Z"),
    st.datetimes().map(lambda time: time.isoformat(sep=" ", timespec="seconds")),
    st.datetimes().map(lambda time: time.isoformat(timespec="microseconds") + "+02:00"),
    st.dates().map(str),
    st.binary(min_size=32, max_size=32).map(bytes.hex),
    st.binary(min_size=20, max_size=20).map(lambda digest: digest.hex().upper()),
    st.tuples(OCTETS, OCTETS, OCTETS, OCTETS).map(".".join),
    st.tuples(OCTETS, OCTETS, OCTETS, OCTETS).map(lambda octets: ".".join(octets) + ":5060"),
    st.tuples(st.integers(1, 2**53 - 1), st.integers(0, 10**6)).map("{0[0]}.{0[1]}".format),
    st.uuids().map(str),
    st.integers(0, 10**7).map(str),
)


@given(
    WORDS, phone_numbers() | international_numbers(), st.sampled_from(["", " ", ".", "@", ", à"])
)
def test_a_number_is_masked_and_refused(before: str, number: str, after: str) -> None:
    """No digit of a number is left, whatever stands around it."""
    text = f"{before} {number}{after}" if before[-1:].isdigit() else f"{before}{number}{after}"
    masked = mask_phone_numbers(text)
    assert MASK in masked
    assert not re.search(r"\d", masked.replace("22 ", "").replace("14h", ""))
    with pytest.raises(ConfigurationError) as refusal:
        refuse_phone_numbers(text, "reason")
    assert number not in str(refusal.value)
    assert refusal.value.place == "reason"


@given(st.lists(EVIDENCE, min_size=1, max_size=4), st.sampled_from([", ", "\n", " | ", '", "']))
def test_evidence_is_left_alone(items: list[str], between: str) -> None:
    """Times, digests, addresses, tokens and identifiers come out as they went in."""
    text = between.join(items)
    assert mask_phone_numbers(text) == text
    refuse_phone_numbers(text, "reason")


@given(st.text(" 0123456789+.-()/x\n", max_size=60))
def test_what_was_masked_is_accepted(text: str) -> None:
    """Masked text holds nothing that would be refused, and masking again changes nothing."""
    masked = mask_phone_numbers(text)
    assert mask_phone_numbers(masked) == masked
    refuse_phone_numbers(masked, "output")


@given(st.text(max_size=200))
def test_text_without_digits_is_never_changed(text: str) -> None:
    """Letters of any script are no numbers."""
    plain = "".join(letter for letter in text if not letter.isdigit())
    assert mask_phone_numbers(plain) == plain
