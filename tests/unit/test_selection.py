"""Which SAMUs are meant: ways of naming add up, and a name that means none is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sisamu_ops.failover.asking.selection import Selection, select_samus
from sisamu_ops.model.errors import ConfigurationError
from sisamu_ops.model.platform import Platform, Site, SiteRole
from tests.support.world import _platform


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    """SAMUs 300 and 120 of Occitanie, 680 of Grand Est; 300 goes to paris first."""
    base = _platform(tmp_path)
    regions = {"300": "Occitanie", "120": "Occitanie", "680": "Grand Est"}
    samus = {
        s: replace(samu, region=regions[s], site="paris" if s == "300" else "")
        for s, samu in base.samus.items()
    }
    sites = {
        name: Site(site_id=name, role=SiteRole.TELEPHONY, address="127.0.0.1", home=tmp_path)
        for name in ("paris", "lyon")
    }
    return replace(base, samus=samus, sites=sites)


def select(platform: Platform, selection: Selection) -> tuple[str, ...]:
    hosts = {"occitanie:!samu-300": ["samu-120"], "otn_routers": ["otn-paris"]}
    return select_samus(platform, selection, lambda pattern: hosts.get(pattern, []))


@pytest.mark.parametrize(
    ("selection", "meant"),
    [
        (Selection(samus=("300", "68")), ("300", "680")),
        (Selection(samus=("300", "30")), ("300",)),
        (Selection(sites=("paris",)), ("300",)),
        (Selection(regions=("grand-est",)), ("680",)),
        (Selection(regions=("occitanie",), samus=("680",)), ("120", "300", "680")),
        (Selection(patterns=("occitanie:!samu-300",)), ("120",)),
        (Selection(everything=True), ("120", "300", "680")),
    ],
)
def test_what_is_meant(platform: Platform, selection: Selection, meant: tuple[str, ...]) -> None:
    """Each SAMU once, in order, however it was named."""
    assert select(platform, selection) == meant


@pytest.mark.parametrize(
    ("selection", "place"),
    [
        (Selection(), "--samu"),
        (Selection(sites=("lyon",)), "--site"),
        (Selection(regions=("Bretagne",)), "--region"),
        (Selection(patterns=("otn_routers",)), "--pattern"),
        (Selection(patterns=("nothing",)), "--pattern"),
    ],
)
def test_a_name_that_means_none_is_told(
    platform: Platform, selection: Selection, place: str
) -> None:
    """Nothing is ever guessed: the option is named, with what there is."""
    with pytest.raises(ConfigurationError) as caught:
        select(platform, selection)
    assert caught.value.place == place
    assert caught.value.remedy
