"""Tokens: ever increasing, written one way, and above everything seen when taken alone."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sisamu_ops.model.errors import ConfigurationError
from sisamu_ops.model.token import Token, break_glass_epoch, parse_token

NUMBERS = st.integers(0, 2**53)


@given(NUMBERS, NUMBERS)
def test_a_token_is_read_as_it_is_written(epoch: int, index: int) -> None:
    """EPOCH.INDEX, as typed by hand, is the same token again."""
    token = Token(epoch, index)
    assert parse_token(str(token)) == token
    assert token.to_json() == {"epoch": epoch, "index": index}


@pytest.mark.parametrize(
    "text",
    ["", "1", "1.", ".1", "1.2.3", "-1.2", "1,2", " 1.2", "1.2 ", "1.+2", "a.b", "١.٢", "²."],
)
def test_what_is_no_token_is_refused(text: str) -> None:
    """A token mistyped by hand is told, with how to write it."""
    with pytest.raises(ConfigurationError) as caught:
        parse_token(text)
    assert "EPOCH.INDEX" in caught.value.remedy


def test_the_epoch_counts_before_the_index() -> None:
    """A new leader's first token is above all of its predecessor's."""
    assert Token(2, 0) > Token(1, 999) > Token(1, 998)


@given(highest=st.integers(0, 2**40), site=st.integers(0, 15))
def test_a_break_glass_epoch_is_above_all_seen(highest: int, site: int) -> None:
    """Taken alone, an epoch is above every one seen, with room for 2^28 before the next site's."""
    epoch = break_glass_epoch(highest, site)
    assert epoch > highest
    assert epoch // 2**32 == highest // 2**32 + 1
    assert epoch % 2**32 == site * 2**28


def test_two_sites_never_take_one_epoch() -> None:
    """Two cut-off sites that saw the same take different epochs."""
    epochs = [break_glass_epoch(7, site) for site in range(16)]
    assert all(later - earlier == 2**28 for earlier, later in itertools.pairwise(epochs))


@pytest.mark.parametrize("site", [-1, 16])
def test_a_site_number_out_of_range_is_a_bug(site: int) -> None:
    """There are sixteen slots; another number would be somebody else's epoch."""
    with pytest.raises(ValueError, match="not within"):
        break_glass_epoch(0, site)
