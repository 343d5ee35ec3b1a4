"""The platform by name: a SAMU is found when the name is enough, never guessed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sisamu_ops.model.errors import ConfigurationError
from sisamu_ops.model.platform import Platform, SiteRole
from tests.support.world import _platform

IDS = ("300", "301", "680", "76A", "76B", "2A0", "971")


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    made = _platform(tmp_path)
    some = next(iter(made.samus.values()))
    return replace(made, samus={i: replace(some, samu_id=i, name=f"SAMU {i}") for i in IDS})


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("680", "680"), ("68", "680"), ("6", "680"), ("300", "300"), ("76b", "76B"),
        ("FR680", "680"), ("fr76A", "76A"), ("2a", "2A0"), ("97", "971"),
    ],
)  # fmt: skip
def test_a_samu_is_found_by_what_is_enough(wanted: str, found: str, platform: Platform) -> None:
    """By its identifier in any case, with or without FR, or a prefix only one has."""
    assert platform.samu(wanted).samu_id == found


@pytest.mark.parametrize(
    ("wanted", "named", "left_out"),
    [("30", ["300", "301"], "680"), ("76", ["76A", "76B"], "300")],
)
def test_several_are_never_chosen_from(
    wanted: str, named: list[str], left_out: str, platform: Platform
) -> None:
    """When several begin so, nothing is chosen: they, and only they, are named."""
    with pytest.raises(ConfigurationError, match="2 SAMU") as caught:
        platform.samu(wanted)
    assert all(samu in caught.value.remedy for samu in named)
    assert left_out not in caught.value.remedy


@pytest.mark.parametrize("wanted", ["999", "", "FR", "0", " 300", "3000"])
def test_an_unknown_samu_is_told_with_all_known(wanted: str, platform: Platform) -> None:
    """No match names every SAMU there is; an empty name matches none."""
    with pytest.raises(ConfigurationError, match="no SAMU") as caught:
        platform.samu(wanted)
    assert all(samu in caught.value.remedy for samu in IDS)


def test_a_whole_identifier_is_no_prefix(platform: Platform) -> None:
    """An identifier that begins another's still names its own SAMU."""
    some = platform.samus["300"]
    wider = replace(platform, samus=dict(platform.samus) | {"3": replace(some, samu_id="3")})
    assert wider.samu("3").samu_id == "3"


def test_an_unknown_target_is_told_with_all_known(platform: Platform) -> None:
    """A host that is no target is refused by name."""
    assert platform.host("otn-paris").host == "otn-paris"
    with pytest.raises(ConfigurationError, match="otn-lille") as caught:
        platform.host("otn-lille")
    assert "otn-lyon" in caught.value.remedy


def test_arbiters_are_those_that_only_vote(platform: Platform) -> None:
    """A site is an arbiter by its role, not by its name."""
    site = platform.sites["local"]
    lille = replace(site, site_id="lille", role=SiteRole.ARBITER)
    assert replace(platform, sites={"local": site, "lille": lille}).arbiters() == ("lille",)
