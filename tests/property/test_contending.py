"""Who may stand: in order of preference, never the arbiter, never with a gap."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sisamu_ops.leadership.contending import Standing, check_votes, judge_standing
from sisamu_ops.model.errors import ConfigurationError
from sisamu_ops.model.platform import Platform, Site, SiteRole
from tests.support.world import _platform

SITES = ["paris", "lyon", "lille", "nantes"]


def judge(
    site: str, order: list[str], arbiters: set[str], present: set[str], gap_free: bool = True
) -> Standing:
    return judge_standing(
        site, order=order, arbiters=arbiters, present=present, gap_free=gap_free, hold_off_ms=1000
    )


SOME = st.sets(st.sampled_from(SITES))


@given(
    site=st.sampled_from(SITES), order=st.permutations(SITES), arbiters=SOME, present=SOME,
    gap_free=st.booleans(),
)  # fmt: skip
def test_an_arbiter_never_stands(
    site: str, order: list[str], arbiters: set[str], present: set[str], gap_free: bool
) -> None:
    """Whoever else is there, and even when named in the order, an arbiter does not stand."""
    arbiters = arbiters | {site}
    assert not judge(site, order, arbiters, present, gap_free).stands


@given(site=st.sampled_from(SITES), order=st.permutations(SITES), present=SOME)
def test_a_gap_never_stands(site: str, order: list[str], present: set[str]) -> None:
    """A site that could not read the whole journal does not stand."""
    assert not judge(site, order, set(), present, gap_free=False).stands


@given(site=st.sampled_from(SITES), present=SOME)
def test_a_site_outside_the_order_never_stands(site: str, present: set[str]) -> None:
    """Who is not named in the order of preference does not lead."""
    assert not judge(site, [s for s in SITES if s != site], set(), present).stands


@given(order=st.permutations(SITES), present=SOME.filter(bool), arbiters=SOME)
def test_the_preferred_goes_first(order: list[str], present: set[str], arbiters: set[str]) -> None:
    """Of the sites present, each waits one hold-off for every preferred one: no two alike."""
    able = [site for site in order if site in present - arbiters]
    waits = {site: judge(site, order, arbiters, set(able)).wait_ms for site in able}
    assert [waits[site] for site in able] == [1000 * place for place in range(len(able))]
    assert all(judge(site, order, arbiters, set(able)).stands for site in able)


def test_an_absent_preferred_site_is_not_waited_for() -> None:
    """When the preferred site is gone, the next stands at once."""
    assert judge("lyon", ["paris", "lyon"], {"lille"}, {"lyon"}).wait_ms == 0


def platform(tmp_path: Path, order: tuple[str, ...], *roles: SiteRole) -> Platform:
    sites = {
        site: Site(site_id=site, role=role, address="127.0.0.1", home=tmp_path)
        for site, role in zip(SITES, roles, strict=False)
    }
    made = _platform(tmp_path)
    return replace(made, sites=sites, policy=replace(made.policy, site_order=order))


TELEPHONY, ARBITER = SiteRole.TELEPHONY, SiteRole.ARBITER


def test_three_votes_suffice(tmp_path: Path) -> None:
    """Two telephony sites in order and an arbiter can elect."""
    check_votes(platform(tmp_path, ("paris", "lyon"), TELEPHONY, TELEPHONY, ARBITER))


@pytest.mark.parametrize("roles", [(TELEPHONY,), (TELEPHONY, TELEPHONY), (TELEPHONY, ARBITER)])
def test_two_votes_are_refused(roles: tuple[SiteRole, ...], tmp_path: Path) -> None:
    """Two sites cannot tell a cut from a loss: refused, with the remedy."""
    with pytest.raises(ConfigurationError, match="cannot elect") as caught:
        check_votes(platform(tmp_path, ("paris", "lyon"), *roles))
    assert "arbiter" in caught.value.remedy


def test_a_telephony_site_without_place_is_told(tmp_path: Path) -> None:
    """A site that could lead but has no place in the order is named."""
    with pytest.raises(ConfigurationError, match="lyon"):
        check_votes(platform(tmp_path, ("paris",), TELEPHONY, TELEPHONY, ARBITER))
