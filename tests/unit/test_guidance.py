"""What one can do now: the most urgent first, as one types it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sisamu_ops.failover.telling.guidance import guidance
from sisamu_ops.model.platform import Platform, Site, SiteRole
from tests.support.world import _platform


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    """Paris and lyon, each with its router."""
    sites = {
        name: Site(site_id=name, role=role, address="127.0.0.1", home=tmp_path)
        for name, role in (
            ("paris", SiteRole.TELEPHONY), ("lyon", SiteRole.TELEPHONY), ("lille", SiteRole.ARBITER)
        )
    }  # fmt: skip
    routers = {"otn-paris": "paris", "otn-lyon": "lyon"}
    return replace(_platform(tmp_path), sites=sites, router_sites=routers)


def samu(samu_id: str = "300", mode: str = "nominal", **more: Any) -> dict[str, Any]:
    routers = {"otn-paris": mode, "otn-lyon": "unreachable"}
    facts = {"id": samu_id, "mode": mode, "intended_mode": "nominal", "routers": routers}
    return facts | {"remedy": None, "operation": None} | more


def facts(*samus: dict[str, Any], leader: str | None = "paris", **more: Any) -> dict[str, Any]:
    whole = {"platform": "sisamu-lab", "leader": {"site": leader}, "embedded": False}
    return whole | {"operations": [], "samus": list(samus) or [samu()]} | more


def commands(platform: Platform, told: dict[str, Any]) -> list[str]:
    return [step["command"] for step in guidance(told, platform)]


def test_all_well_needs_nothing(platform: Platform) -> None:
    """Led, every SAMU where it is intended: no advice."""
    assert commands(platform, facts()) == []


def test_with_no_leader_the_site_that_answers_can_act_alone(platform: Platform) -> None:
    """The command is whole: only the reason is to be written."""
    safe = samu("120", "backup", intended_mode="backup")
    told = facts(samu("300"), samu("680", "unknown"), safe, leader=None)
    assert commands(platform, told) == [
        "sisamu break-glass start failover --site paris --samu 300 --samu 680 --reason TEXT",
        "sisamu samu card --samu ID",
    ]


def test_of_a_hundred_samus_all_are_meant(platform: Platform) -> None:
    """Nobody types a hundred names at night."""
    told = facts(*(samu(f"{n:03d}") for n in range(102)), leader=None)
    assert "--site paris --all --confirm sisamu-lab --reason" in commands(platform, told)[0]


def test_where_no_router_answers_the_card_is_left(platform: Platform) -> None:
    """What nobody reaches nobody moves but by hand, over there."""
    dark = samu(routers={"otn-paris": "unreachable", "otn-lyon": "unreachable"})
    assert commands(platform, facts(dark, leader=None)) == ["sisamu samu card --samu ID"]


def test_a_local_journal_is_led_while_a_command_runs(platform: Platform) -> None:
    """No leader at rest is no trouble there."""
    assert commands(platform, facts(leader=None, embedded=True)) == []


def test_what_is_held_under_way_unknown_or_drifted_is_told_once(platform: Platform) -> None:
    """One command settles however many it settles."""
    last = {"outcome": "unknown"}
    told = facts(
        samu("300", "unknown", remedy="sisamu reconcile --reason TEXT", operation=last),
        samu("680", "unknown", remedy="sisamu reconcile --reason TEXT", operation=last),
        samu("120", "backup"),
        operations=[
            {"id": "switchover-1", "outcome": "held", "held": "SAMU 300 ended failed"},
            {"id": "failover-1", "outcome": "running", "held": None},
        ],
    )
    assert commands(platform, told) == [
        "sisamu operation show switchover-1", "sisamu operation follow failover-1",
        "sisamu reconcile --reason TEXT", "sisamu samu drift",
    ]  # fmt: skip


def test_what_is_under_way_has_not_drifted(platform: Platform) -> None:
    """Between two waves a SAMU may well not be where it is intended."""
    told = facts(samu("300", "backup", operation={"outcome": "running"}))
    assert commands(platform, told) == []
