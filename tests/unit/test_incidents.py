"""Incidents: what belongs together is grouped, across leaders; no trigger asks twice."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sisamu_ops.failover.asking.report import make_trigger
from sisamu_ops.failover.fold.incidents import WINDOW
from sisamu_ops.failover.request import Verb, new_request
from sisamu_ops.journal.keys import load_site_keys
from tests.support.world import World, make_world


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


def trigger(world: World, *samus: str, reason: str = "no call for a minute") -> None:
    """Have the site's trigger ask for a rescue; one leader after the other sees it."""
    request = new_request(
        platform="world", verb=Verb.FAILOVER, reason=reason, now=world.now,
        lifetime=timedelta(minutes=5), samus=samus, to="backup",
    )  # fmt: skip
    fields: dict[str, Any] = json.loads(request.document())
    key = load_site_keys(world.directory / "keys").entry
    world.coordination.put(make_trigger("local", fields, key))
    world.lead_until_idle()


def rescue(world: World, *samus: str) -> None:
    world.ask(Verb.FAILOVER, samus=samus, to="backup")
    world.lead_until_idle()


def blocked(world: World) -> list[list[str]]:
    """Return what blocked each trigger."""
    leaves = world.coordination.read(0, world.coordination.size())
    bodies = [json.loads(leaf)["body"] for leaf in leaves]
    return [b["data"]["would"]["blocked_by"] for b in bodies if b["kind"] == "trigger.observed"]


def test_signals_about_the_same_samus_are_one_incident(world: World) -> None:
    """Two triggers and a rescue of SAMUs that overlap: one incident, across three leaders."""
    trigger(world, "300")
    trigger(world, "300", "680", reason="gateway silent")
    rescue(world, "680")
    (incident,) = world.state().incidents
    assert (incident.triggers, len(incident.rescues)) == (2, 1)
    assert incident.samus == {"300", "680"}


def test_other_samus_are_another_incident(world: World) -> None:
    """What has no SAMU in common is told apart."""
    trigger(world, "300")
    trigger(world, "120")
    assert len(world.state().incidents) == 2


def test_after_the_window_a_new_incident_opens(world: World) -> None:
    """An hour of silence ends it."""
    trigger(world, "300")
    world.now += WINDOW + timedelta(milliseconds=1)
    trigger(world, "300", reason="again")
    assert len(world.state().incidents) == 2


def test_a_trigger_does_not_ask_again_for_what_was_just_rescued(world: World) -> None:
    """Anti-flap: the next leader remembers the rescue of the last; others may be asked for."""
    rescue(world, "300")
    trigger(world, "300")
    trigger(world, "120")
    assert blocked(world) == [["anti-flap"], []]


def test_an_acknowledgement_lets_triggers_ask_anew(world: World) -> None:
    """Seen by an operator the incident is closed, for every later leader."""
    rescue(world, "300")
    incident = world.state().incidents[0].incident_id
    world.ask(Verb.ACKNOWLEDGE, about=incident)
    world.lead_until_idle()
    trigger(world, "300")
    assert blocked(world) == [[]]
    assert [bool(i.acknowledged_by) for i in world.state().incidents] == [True, False]


def test_a_person_may_always_ask_again(world: World) -> None:
    """Anti-flap is for triggers: an operator's second rescue is carried out."""
    rescue(world, "300")
    rescue(world, "300")
    assert len(world.state().incidents[0].rescues) == 2
    assert all(a.accepted for a in world.state().answers.values())


def test_only_an_open_incident_is_acknowledged(world: World) -> None:
    """Twice, or one there is not: refused with where to look."""
    rescue(world, "300")
    incident = world.state().incidents[0].incident_id
    for about in (incident, incident, "incident-99"):
        world.ask(Verb.ACKNOWLEDGE, about=about)
        world.lead_until_idle()
    assert [a.accepted for a in list(world.state().answers.values())[1:]].count(True) == 1
