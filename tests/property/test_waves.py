"""Waves under kills: the next leader completes or holds as the plan says, and nothing takes twice.

One kill at every fourth moment of a change in three waves (SISAMU_KILLS=all: at every moment), and
searched for several kills with SAMUs whose gateways are cut off or whose calls nobody answers.
"""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sisamu_ops.failover.fold.operation import Operation
from sisamu_ops.failover.request import Verb
from sisamu_ops.model.outcome import Outcome
from sisamu_ops.model.platform import Waves
from tests.property.test_takeover import Axe, check_safe
from tests.support.world import PROVE, ROUTERS, Killed, World, load_helper, make_world

SAMUS = ["120", "300", "680"]
WAVES = Waves(canary=1, growth=1, soak_ms=3_000, rescue=1)


@pytest.fixture(scope="module")
def helper() -> ModuleType:
    return load_helper()


def three_waves(directory: Path, helper: ModuleType) -> World:
    """Build a world in which each SAMU is a wave of its own."""
    world = make_world(directory, helper)
    policy = replace(world.platform.policy, waves=WAVES)
    world.platform = replace(world.platform, policy=policy)
    return world


def lead_through(world: World) -> Operation:
    """Lead until the last operation has ended or is held; soaks pass, and killed leaders too."""
    for _ in range(40):
        try:
            world.lead_until_idle()
        except Killed:
            continue
        operation = list(world.state().operations.values())[-1]
        if operation.outcome is not None or operation.held:
            return operation
        world.now += timedelta(seconds=1)
    raise AssertionError("neither ended nor held")


def check_once(world: World) -> None:
    """Check that no step took effect twice at a target, by the target's own record."""
    for host in world.platform.targets:
        begun = Counter(world.fences.applied(host))
        assert [token for token, times in begun.items() if times > 1] == [], host
    check_safe(world)


def moved(world: World) -> list[str]:
    """Return the SAMUs that any router holds on backup."""
    return [s for s in SAMUS if "backup" in world.modes(s)]


@pytest.mark.parametrize("verb", [Verb.SWITCHOVER, Verb.FAILOVER])
def test_one_kill_at_every_moment_of_every_wave(
    verb: Verb, tmp_path: Path, helper: ModuleType
) -> None:
    """Killed before or after any append, or after any target changed: all are done all the same."""
    numbers = itertools.count()

    def make() -> World:
        world = three_waves(tmp_path / str(next(numbers)), helper)
        world.ask(verb, samus=SAMUS, to="backup")
        return world

    moments = count_moments(make)
    assert moments > 35
    for moment in range(1, moments + 1, 1 if os.environ.get("SISAMU_KILLS") == "all" else 4):
        world = make()
        Axe(world, moment)
        operation = lead_through(world)
        assert (operation.outcome, moved(world)) == (Outcome.DONE, SAMUS), moment
        assert [operation.ends[s].outcome for s in SAMUS] == [Outcome.DONE] * 3
        check_once(world)


def count_moments(make: Callable[[], World]) -> int:
    """Count the moments at which the change can be struck."""
    world = make()
    axe = Axe(world)
    lead_through(world)
    return axe.moments


@pytest.mark.parametrize("verb", [Verb.SWITCHOVER, Verb.FAILBACK])
@pytest.mark.parametrize("failing", range(3))
def test_after_the_first_failure_nothing_is_touched(
    verb: Verb, failing: int, tmp_path: Path, helper: ModuleType
) -> None:
    """A canary, or a later one, that fails: held, and no target of the others was sent anything."""
    world = three_waves(tmp_path, helper)
    if verb is Verb.FAILBACK:
        world.ask(Verb.FAILOVER, samus=SAMUS, to="backup")
        lead_through(world)
    sent = len(world.playbooks.sent)
    world.playbooks.silent = {SAMUS[failing]}
    world.ask(verb, samus=SAMUS, to="nominal" if verb is Verb.FAILBACK else "backup")
    operation = lead_through(world)
    touched = {s for _, run, _ in world.playbooks.sent[sent:] for s in run.samus}
    assert touched == set(SAMUS[: failing + 1])
    assert [operation.ends[s].outcome for s in SAMUS[:failing]] == [Outcome.DONE] * failing
    assert operation.ends[SAMUS[failing]].outcome is Outcome.FAILED
    assert operation.not_begun() == SAMUS[failing + 1 :]
    assert (operation.outcome, bool(operation.held)) == (
        (Outcome.FAILED, False) if failing == 2 else (None, True)
    )


def test_a_rescue_goes_on_past_what_fails(tmp_path: Path, helper: ModuleType) -> None:
    """The first SAMU of a rescue fails: the others are moved all the same, and it is told."""
    world = three_waves(tmp_path, helper)
    world.fences.unreachable = {"samu-120"}
    world.ask(Verb.FAILOVER, samus=SAMUS, to="backup")
    operation = lead_through(world)
    assert [operation.ends[s].outcome.value for s in SAMUS] == ["unknown", "done", "done"]
    assert operation.outcome is Outcome.UNKNOWN


def test_a_router_through_which_no_call_was_placed_proves_nothing(
    tmp_path: Path, helper: ModuleType
) -> None:
    """The other router's call does not speak for it: unknown, and what would follow is held."""
    world = three_waves(tmp_path, helper)
    accept(world, Verb.SWITCHOVER)
    world.playbooks.uncalled = {"otn-lyon"}
    operation = lead_through(world)
    assert operation.ends["120"].outcome is Outcome.UNKNOWN
    assert operation.held
    assert operation.ends["120"].detail == "no test call through otn-lyon"
    assert moved(world) == ["120"]


def test_a_wave_that_cannot_be_probed_is_held(tmp_path: Path, helper: ModuleType) -> None:
    """What soaks has not been seen to be served, for want of disk: nothing more begins."""
    world = three_waves(tmp_path, helper)
    accept(world, Verb.SWITCHOVER)
    world.playbooks.no_room_for = {PROVE}
    operation = lead_through(world)
    assert "No space left on device" in operation.held
    assert moved(world) == ["120"]


@pytest.mark.parametrize("verb", [Verb.SWITCHOVER, Verb.FAILOVER])
def test_a_target_that_hung_half_way_is_settled(
    verb: Verb, tmp_path: Path, helper: ModuleType
) -> None:
    """Its durable list written, its Kamailio not: unknown; once it answers, reconcile completes."""
    world = three_waves(tmp_path, helper)
    accept(world, verb)
    world.fences.hung = {"otn-lyon"}
    operation = lead_through(world)
    assert operation.ends["120"].outcome is Outcome.UNKNOWN
    world.fences.hung = set()
    world.ask(Verb.RECONCILE)
    world.lead_until_idle()
    assert world.modes("120") == ["backup", "backup"]
    operation = list(world.state().operations.values())[-1]
    assert operation.ends["120"].outcome is Outcome.DONE
    assert world.state().unknown() == []


def test_what_was_aborted_is_settled_and_not_completed(tmp_path: Path, helper: ModuleType) -> None:
    """Reconcile says where it is; it moves nobody any further."""
    world = three_waves(tmp_path, helper)
    accept(world, Verb.SWITCHOVER)
    world.fences.unreachable = {"otn-lyon"}
    operation = lead_through(world)
    world.ask(Verb.ABORT, about=operation.operation_id)
    world.lead_until_idle()
    world.fences.unreachable = set()
    sent = len(world.playbooks.sent)
    world.ask(Verb.RECONCILE)
    world.lead_until_idle()
    assert len(world.playbooks.sent) == sent
    ended = world.state().operations[operation.operation_id]
    assert (ended.ends["120"].outcome, world.state().unknown()) == (Outcome.FAILED, [])


def test_asked_again_only_what_is_missing_is_touched(tmp_path: Path, helper: ModuleType) -> None:
    """Of three SAMUs one could not be moved; the next rescue of all touches that one alone."""
    world = three_waves(tmp_path, helper)
    world.fences.unreachable = {"samu-120"}
    world.ask(Verb.FAILOVER, samus=SAMUS, to="backup")
    lead_through(world)
    world.fences.unreachable = set()
    sent = len(world.playbooks.sent)
    world.ask(Verb.FAILOVER, samus=SAMUS, to="backup")
    operation = lead_through(world)
    assert {s for _, run, _ in world.playbooks.sent[sent:] for s in run.samus} == {"120"}
    assert (operation.outcome, operation.samus) == (Outcome.DONE, ("120",))


def test_an_operator_holds_goes_on_and_aborts(tmp_path: Path, helper: ModuleType) -> None:
    """Held between waves nothing begins; gone on with it does; aborted it says what is where."""
    world = three_waves(tmp_path, helper)
    asked = world.ask(Verb.SWITCHOVER, samus=SAMUS, to="backup").request_id
    world.lead_until_idle()
    world.ask(Verb.HOLD, about=asked)
    world.now += timedelta(seconds=9)
    world.lead_until_idle()
    assert moved(world) == SAMUS[:1]
    world.ask(Verb.GO_ON, about=asked)
    world.lead_until_idle()
    assert moved(world) == SAMUS[:2]
    world.ask(Verb.ABORT, about=asked)
    operation = lead_through(world)
    assert (operation.outcome, operation.not_begun()) == (Outcome.FAILED, SAMUS[2:])
    assert operation.detail == "2 done; 1 not begun: 680; aborted by oncall@sisamu-lab"
    state = world.state()
    assert [state.intended_mode(s) for s in SAMUS] == ["backup", "backup", "nominal"]


@settings(max_examples=15, deadline=None)
@given(
    strikes=st.lists(st.integers(1, 120), max_size=5),
    verb=st.sampled_from([Verb.SWITCHOVER, Verb.FAILOVER]),
    cut=st.sets(
        st.sampled_from(["otn-paris", "otn-lyon", "samu-120", "samu-300", "samu-680"]), max_size=2
    ),
    silent=st.sets(st.sampled_from(SAMUS), max_size=1),
)
def test_kills_cuts_and_silence_never_leave_a_lie(
    strikes: list[int],
    verb: Verb,
    cut: set[str],
    silent: set[str],
    tmp_path_factory: pytest.TempPathFactory,
    helper: ModuleType,
) -> None:
    """Never a false `done`; planned waves stop at the first doubt; reconcile settles the rest."""
    world = three_waves(tmp_path_factory.mktemp("world"), helper)
    accept(world, verb)
    Axe(world, *strikes)
    with_cuts(world, cut, silent)
    operation = lead_through(world)
    for samu, end in operation.ends.items():
        if end.outcome is Outcome.DONE:
            assert world.modes(samu) == ["backup"] * len(ROUTERS)
            assert samu not in silent
    if verb is Verb.SWITCHOVER:
        flawed = [s for s, end in operation.ends.items() if end.outcome is not Outcome.DONE]
        assert len(flawed) <= 1, "a planned wave began after one that was not done"
    with_cuts(world, set(), set())
    world.ask(Verb.RECONCILE)
    lead_through(world)
    assert world.state().unknown() == []
    check_once(world)


def accept(world: World, verb: Verb) -> None:
    """Have the change accepted while all is well; nothing of it is begun."""
    world.ask(verb, samus=SAMUS, to="backup")
    with world.leading() as term:
        term.begin()
        term.admission.answer(world.coordination.items()[0])


def with_cuts(world: World, cut: set[str], silent: set[str]) -> None:
    world.fences.unreachable, world.playbooks.silent = cut, silent
