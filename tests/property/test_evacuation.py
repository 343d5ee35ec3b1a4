"""Evacuating a site under kills: the next leader finishes, and no SAMU's mode is touched."""

from __future__ import annotations

import itertools
from datetime import timedelta
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sisamu_ops.failover.fold.operation import Operation
from sisamu_ops.failover.request import Verb
from sisamu_ops.model.outcome import Outcome
from tests.property.test_takeover import Axe
from tests.property.test_waves import (
    SAMUS,
    check_once,
    count_moments,
    lead_through,
    three_waves,
    with_cuts,
)
from tests.support.world import Killed, World, load_helper

AT_HOME = ["paris", "lyon"]
AT_LYON = ["lyon", "lyon"]
SOAK = timedelta(seconds=3)


@pytest.fixture(scope="module")
def helper() -> ModuleType:
    return load_helper()


@pytest.fixture
def world(tmp_path: Path, helper: ModuleType) -> World:
    return a_world(tmp_path / "world", helper)


def a_world(directory: Path, helper: ModuleType) -> World:
    """Build a world with two telephony sites, each SAMU a wave of its own; 120 is on backup."""
    world = three_waves(directory, helper)
    world.prefer_sites()
    world.ask(Verb.FAILOVER, samus=["120"], to="backup")
    lead_through(world)
    return world


def ask(world: World, site: str = "paris", to: str = "lyon") -> str:
    """Ask for an evacuation of every SAMU, and return its id."""
    return world.ask(Verb.EVACUATE, samus=SAMUS, to=to, details={"site": site}).request_id


def asked(world: World) -> list[list[str]]:
    return [world.asked_first(samu) for samu in SAMUS]


def check_modes(world: World) -> None:
    """Check that modes, intents and allowed paths are what they were before any evacuation."""
    state = world.state()
    assert [world.modes(s) for s in SAMUS] == [["backup"] * 2, ["nominal"] * 2, ["nominal"] * 2]
    assert [state.intended_mode(s) for s in SAMUS] == ["backup", "nominal", "nominal"]
    assert [state.mode_of(s).mode for s in SAMUS] == ["backup", "nominal", "nominal"]


def test_a_site_is_evacuated_and_comes_home(world: World) -> None:
    """Every router asks lyon, wave by wave; home again each asks whom it asked before."""
    ask(world)
    operation = lead_through(world)
    assert (operation.outcome, asked(world)) == (Outcome.DONE, [AT_LYON] * 3)
    assert [step.wave for step in operation.steps] == [0, 1, 2]
    assert world.state().evacuated == {"paris": "lyon"}
    check_modes(world)
    ask(world, to="paris")
    operation = lead_through(world)
    assert (operation.outcome, asked(world)) == (Outcome.DONE, [AT_HOME] * 3)
    assert world.state().evacuated == {}
    check_modes(world)
    check_once(world)


def test_one_kill_at_every_moment(tmp_path: Path, helper: ModuleType) -> None:
    """Killed before or after any append, or after any router turned: done all the same."""
    numbers = itertools.count()

    def make() -> World:
        world = a_world(tmp_path / str(next(numbers)), helper)
        ask(world)
        return world

    moments = count_moments(make)
    assert moments > 40
    for moment in range(1, moments + 1, 5):
        world = make()
        Axe(world, moment)
        operation = lead_through(world)
        assert (operation.outcome, asked(world)) == (Outcome.DONE, [AT_LYON] * 3), moment
        assert world.state().evacuated == {"paris": "lyon"}
        check_modes(world)
        check_once(world)


def test_a_dark_site_takes_nothing_over(world: World) -> None:
    """The servers of the site that takes over are called first: no router is spoken to."""
    world.playbooks.dark = {"lyon"}
    sent = len(world.playbooks.sent)
    ask(world)
    operation = lead_through(world)
    assert len(world.playbooks.sent) == sent
    assert operation.held and operation.ends["120"].outcome is Outcome.FAILED
    assert not operation.ends["120"].moved
    assert (asked(world), world.state().evacuated) == ([AT_HOME] * 3, {})


def test_after_the_first_failure_nothing_is_touched_until_somebody_says_so(world: World) -> None:
    """SAMU 300 is silent: held before 680; gone on with, 680 follows, and the whole has failed."""
    world.playbooks.silent = {"300"}
    wanted = ask(world)
    operation = lead_through(world)
    assert operation.held
    assert (operation.ends["300"].outcome, operation.not_begun()) == (Outcome.FAILED, ["680"])
    # The second router was not begun after the first had not proved itself.
    assert asked(world) == [AT_LYON, AT_LYON, AT_HOME]
    world.ask(Verb.GO_ON, about=wanted)
    operation = lead_through(world)
    assert (operation.outcome, asked(world)[2]) == (Outcome.FAILED, AT_LYON)
    assert world.state().evacuated == {}
    # Asked again, those that are there are left alone.
    world.playbooks.silent = set()
    ask(world)
    operation = lead_through(world)
    assert (operation.samus, operation.outcome) == (("300",), Outcome.DONE)
    assert world.state().evacuated == {"paris": "lyon"}


def test_an_aborted_evacuation_is_brought_home(world: World) -> None:
    """Nothing more begins; what was turned is turned back by bringing the site home."""
    wanted = ask(world)
    world.lead_until_idle()
    world.ask(Verb.ABORT, about=wanted)
    operation = lead_through(world)
    assert (operation.outcome, operation.not_begun()) == (Outcome.FAILED, SAMUS[1:])
    assert (asked(world), world.state().evacuated) == ([AT_LYON, AT_HOME, AT_HOME], {})
    ask(world, to="paris")
    assert lead_through(world).outcome is Outcome.DONE
    assert asked(world) == [AT_HOME] * 3
    check_modes(world)


def test_a_rescue_meanwhile_holds_it_and_goes_first(world: World) -> None:
    """The rescue moves its SAMU at once; gone on with, its calls are proved on their new path."""
    wanted = ask(world)
    world.lead_until_idle()
    world.ask(Verb.FAILOVER, samus=["300"], to="backup")
    world.now += SOAK
    world.lead_until_idle()
    assert world.modes("300") == ["backup", "backup"]
    operation = world.state().operations[wanted]
    assert "rescue" in operation.held
    world.ask(Verb.GO_ON, about=wanted)
    for _ in range(20):
        world.lead_until_idle()
        world.now += SOAK
    operation = world.state().operations[wanted]
    assert (operation.outcome, asked(world)) == (Outcome.DONE, [AT_LYON] * 3)
    assert world.state().intended_mode("300") == "backup"


def test_a_later_evacuation_is_not_undone_by_settling_an_earlier_one(world: World) -> None:
    """Left unknown, then brought home: reconcile settles the first and turns no router again."""
    with_cuts(world, {"otn-lyon"}, set())
    accept(world)
    lead_through(world)
    with_cuts(world, set(), set())
    first = list(world.state().operations.values())[-1]
    assert first.ends["120"].outcome is Outcome.UNKNOWN
    world.ask(Verb.ABORT, about=first.operation_id)
    lead_through(world)
    # To come home now takes setting aside that the first is not settled.
    world.ask(
        Verb.EVACUATE, samus=SAMUS, to="paris", details={"site": "paris"},
        overrides=["one-operation"],
    )  # fmt: skip
    home = lead_through(world)
    assert (home.outcome, asked(world)) == (Outcome.DONE, [AT_HOME] * 3)
    world.ask(Verb.RECONCILE)
    world.lead_until_idle()
    assert (world.state().unknown(), asked(world)) == ([], [AT_HOME] * 3)


def accept(world: World) -> None:
    """Have it accepted while all is well; nothing of it is begun."""
    reachable, world.fences.unreachable = world.fences.unreachable, set()
    ask(world)
    with world.leading() as term:
        term.begin()
        term.admission.answer(world.coordination.items()[0])
    world.fences.unreachable = reachable


@settings(max_examples=10, deadline=None)
@given(
    strikes=st.lists(st.integers(1, 90), max_size=4),
    cut=st.sets(st.sampled_from(["otn-paris", "otn-lyon"]), max_size=1),
    silent=st.sets(st.sampled_from(SAMUS), max_size=1),
)
def test_kills_cuts_and_silence_never_leave_a_lie(
    strikes: list[int],
    cut: set[str],
    silent: set[str],
    tmp_path_factory: pytest.TempPathFactory,
    helper: ModuleType,
) -> None:
    """Never a false `done`, never a mode touched; reconcile settles what is unknown."""
    world = a_world(tmp_path_factory.mktemp("world"), helper)
    accept(world)
    Axe(world, *strikes)
    with_cuts(world, cut, silent)
    operation = lead_through(world)
    check_done(world, operation, silent)
    with_cuts(world, set(), set())
    world.ask(Verb.RECONCILE)
    settle(world)
    assert world.state().unknown() == []
    check_modes(world)
    check_once(world)


def check_done(world: World, operation: Operation, silent: set[str]) -> None:
    for samu, end in operation.ends.items():
        if end.outcome is Outcome.DONE:
            assert world.asked_first(samu) == AT_LYON
            assert samu not in silent
    done = operation.outcome is Outcome.DONE
    assert ("paris" in world.state().evacuated) is done


def settle(world: World) -> None:
    for _ in range(20):
        try:
            world.lead_until_idle()
        except Killed:
            continue
        return
