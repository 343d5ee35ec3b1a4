"""Modes as procedures with people: who is in place, what is checked, which drift is accepted."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sisamu_ops.failover.fold.known import Answer
from sisamu_ops.failover.fold.modes import TRANSITIONS, unconfirmed
from sisamu_ops.failover.request import Verb, parse_rfc3339, rfc3339
from sisamu_ops.model.outcome import Outcome
from sisamu_ops.model.platform import TelephonyMode
from sisamu_ops.model.safety import AgentsConfirmed, ExitChecklist, Safety
from tests.support.world import ON_CALL, World, make_world

CHECKS = {"agents-back": "agents are at their consoles", "calls-drained": "no call on the gateway"}
SAFETY = Safety(
    agents_confirmed=AgentsConfirmed(within_minutes=60),
    exit_checklist=ExitChecklist(backup=CHECKS),
)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Build a platform that asks for confirmations and has an exit checklist for backup."""
    world = make_world(tmp_path)
    policy = replace(world.platform.policy, safety=SAFETY)
    world.platform = replace(world.platform, policy=policy)
    return world


def ask(world: World, verb: Verb, **fields: Any) -> Answer:
    """Ask, lead until nothing waits for anything but people, and return the answer."""
    request = world.ask(verb, samus=["300"], **fields)
    world.lead_until_idle()
    return world.state().answers[request.request_id]


def confirm(world: World, **details: str) -> Answer:
    said = {"by": "shift lead", "channel": "phone"} | details
    return ask(world, Verb.CONFIRM, details={k: v for k, v in said.items() if v})


def tick(world: World, *items: str) -> Answer:
    return ask(world, Verb.TICK, details={"items": " ".join(items)})


def test_a_switchover_waits_for_the_confirmation(world: World) -> None:
    """Accepted, and nothing is sent until somebody says that the agents are in place."""
    assert ask(world, Verb.SWITCHOVER, to="backup").accepted
    assert (world.modes(), world.playbooks.sent) == (["nominal", "nominal"], [])
    assert confirm(world).accepted
    assert world.modes() == ["backup", "backup"]
    mode = world.state().mode_of("300")
    assert (mode.mode, mode.owner, mode.reason) == ("backup", ON_CALL, "a test")


@pytest.mark.parametrize(("minutes", "moved"), [(59, True), (61, False)])
def test_a_confirmation_holds_for_a_while(world: World, minutes: int, moved: bool) -> None:
    """Agents confirmed in place an hour ago and more may have gone."""
    confirm(world)
    world.now += timedelta(minutes=minutes)
    ask(world, Verb.SWITCHOVER, to="backup")
    assert (world.modes() == ["backup", "backup"]) is moved


def test_who_sets_the_rule_aside_by_name_waits_for_nobody(world: World) -> None:
    """Journalled with the request; the SAMU is then to be called."""
    ask(world, Verb.SWITCHOVER, to="backup", overrides=["agents-confirmed"])
    assert world.modes() == ["backup", "backup"]
    assert list(world.state().operations.values())[-1].overrides == ("agents-confirmed",)


def test_a_rescue_acts_first(world: World) -> None:
    """Nobody is waited for; that somebody must be called is a finding."""
    ask(world, Verb.FAILOVER, to="backup")
    assert world.modes() == ["backup", "backup"]
    found = list(world.state().operations.values())[-1].findings
    assert any(one.startswith("agents-confirmed: ") and "call them" in one for one in found)


def test_a_failback_needs_the_whole_checklist(world: World) -> None:
    """Refused by the rule while an item is open, with the items; then done."""
    ask(world, Verb.FAILOVER, to="backup")
    refused = ask(world, Verb.FAILBACK, to="nominal")
    assert (refused.accepted, refused.rules) == (False, ("exit-checklist",))
    assert "agents-back, calls-drained" in refused.reason
    assert tick(world, "agents-back").accepted
    assert not ask(world, Verb.FAILBACK, to="nominal").accepted
    tick(world, "calls-drained")
    assert ask(world, Verb.FAILBACK, to="nominal").accepted
    assert world.modes() == ["nominal", "nominal"]


def test_a_checklist_begins_anew_with_every_stay(world: World) -> None:
    """What was ticked last time says nothing of this time; nor does who was in place then."""
    for _ in range(2):
        ask(world, Verb.FAILOVER, to="backup")
        assert not ask(world, Verb.FAILBACK, to="nominal").accepted
        tick(world, *CHECKS)
        ask(world, Verb.FAILBACK, to="nominal")
        assert world.state().mode_of("300").mode == "nominal"
        assert world.state().confirmations == {}
        confirm(world)


def test_asked_again_for_the_same_mode_nothing_begins_anew(world: World) -> None:
    """Since when it is there, and what was ticked, stay as they were."""
    ask(world, Verb.FAILOVER, to="backup")
    before = world.state().mode_of("300")
    tick(world, "agents-back")
    world.now += timedelta(minutes=9)
    ask(world, Verb.FAILOVER, to="backup")
    after = world.state().mode_of("300")
    assert (after.since, list(after.ticked)) == (before.since, ["agents-back"])


@pytest.mark.parametrize(
    ("items", "said"),
    [(("agents-back", "coffee"), "coffee is not on"), ((), "no item is not on")],
)
def test_only_what_is_on_the_list_is_ticked(
    world: World, items: tuple[str, ...], said: str
) -> None:
    """Nothing is ticked by guess; on nominal there is nothing to tick at all."""
    assert "it has none" in tick(world, "agents-back").remedy
    ask(world, Verb.FAILOVER, to="backup")
    answer = tick(world, *items)
    assert (answer.accepted, said in answer.reason) == (False, True)


@pytest.mark.parametrize("missing", ["by", "channel"])
def test_a_confirmation_says_who_and_how(world: World, missing: str) -> None:
    """Otherwise it is no confirmation."""
    assert not confirm(world, **{missing: ""}).accepted
    assert world.state().confirmations == {}


def test_a_telephone_number_is_never_kept(world: World) -> None:
    """Neither in a reason nor in what a person says besides."""
    request = world.ask(Verb.CONFIRM, samus=["300"], details={"by": "lead", "channel": "phone"})
    number = replace(request, request_id="confirm-0123456789ab",
                     details={"by": "06 39 98 12 34", "channel": "phone"})  # fmt: skip
    world.put(number)
    world.lead_until_idle()
    answers = world.state().answers
    assert answers[request.request_id].accepted
    assert not answers["confirm-0123456789ab"].accepted


def drift(world: World, *routers: str) -> None:
    """Move SAMU 300 to backup by hand, behind everybody's back."""
    for router in routers:
        world.fences.running[router]["300"] = "backup"
        directory = world.fences.root / router
        config = world.fences.helper.load_config(directory)
        world.fences.helper.write_durable(config.durable, {"300": "backup"})


def test_a_drift_is_accepted_as_it_is_read(world: World) -> None:
    """Every router must hold the mode accepted; from then on it is the one intended."""
    drift(world, "otn-paris")
    assert not ask(world, Verb.ACCEPT, to="backup").accepted
    drift(world, "otn-lyon")
    assert not ask(world, Verb.ACCEPT, to="nominal").accepted
    assert ask(world, Verb.ACCEPT, to="backup").accepted
    state = world.state()
    assert (state.intended_mode("300"), state.mode_of("300").mode) == ("backup", "backup")


def test_a_drift_is_reverted_to_what_is_intended(world: World) -> None:
    """One router moved by hand: reverted; never to anything the journal does not intend."""
    drift(world, "otn-paris")
    assert not ask(world, Verb.REVERT, to="backup").accepted
    assert ask(world, Verb.REVERT, to="nominal").accepted
    assert world.modes() == ["nominal", "nominal"]
    assert list(world.state().operations.values())[-1].outcome is Outcome.DONE


def test_what_was_left_half_way_is_unknown(world: World) -> None:
    """A router that could not be reached: the mode is unknown, and a rescue leads out of it."""
    world.fences.unreachable = {"otn-lyon"}
    ask(world, Verb.FAILOVER, to="backup")
    assert world.state().mode_of("300").mode == "unknown"
    world.fences.unreachable = set()
    ask(world, Verb.RECONCILE)
    assert world.state().mode_of("300").mode == "backup"


def test_every_mode_but_unknown_can_be_entered_and_left() -> None:
    """The machine has no dead end, and nothing leads to `unknown`."""
    for mode in TelephonyMode:
        entering = [v for v, (_, to) in TRANSITIONS.items() if mode in to]
        leaving = [v for v, (source, _) in TRANSITIONS.items() if mode in source]
        assert bool(entering) is (mode is not TelephonyMode.UNKNOWN)
        assert Verb.FAILOVER in leaving


def test_confirmed_exactly_as_long_ago_as_allowed_is_confirmed(world: World) -> None:
    """The bound itself counts."""
    confirm(world)
    found = world.state().confirmations
    at = parse_rfc3339(found["300"].time) + timedelta(minutes=60)
    assert unconfirmed(["300", "680"], found, at, 60) == ["680"]
    assert unconfirmed(["300"], found, at + timedelta(milliseconds=1), 60) == ["300"]
    assert found["300"].at == rfc3339(world.now)
