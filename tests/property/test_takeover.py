"""Whoever leads may be killed at any append and at any target: the next one finishes.

Enumerated for one kill at every point of every journey, and searched for several kills with
targets cut off meanwhile.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sisamu_ops.failover.request import Verb
from sisamu_ops.journal.replicate import read_entry
from sisamu_ops.model.outcome import Outcome
from sisamu_ops.model.token import Token
from tests.support.world import ROUTERS, Killed, World, load_helper, make_world


@pytest.fixture(scope="module")
def helper() -> ModuleType:
    return load_helper()


class Axe:
    """Kills at chosen moments, counted over the whole life of a world."""

    def __init__(self, world: World, *strikes: int) -> None:
        self._strikes = set(strikes)
        self.moments = 0
        world.strike = self.pass_by
        world.playbooks.kill_after = self.pass_by

    def pass_by(self, where: str) -> None:
        self.moments += 1
        if self.moments in self._strikes:
            raise Killed(f"moment {self.moments}, {where}")


def lead_on(world: World) -> None:
    """Lead, and let the next one lead when killed, until nothing waits."""
    for _ in range(20):
        try:
            world.lead_until_idle()
        except Killed:
            continue
        return
    raise AssertionError("not idle after 20 leaders")


def check_safe(world: World) -> None:
    """Check what must hold in every world, whatever happened in it."""
    for host in world.platform.targets:
        tokens = world.fences.accepted(host)
        assert tokens == sorted(tokens), f"{host} accepted an older token"
    before = world.modes()
    for host, run, change in world.playbooks.sent:
        # Whatever an earlier leader had sent arrives again, late.
        if run.token < world.fences.accepted(host)[-1]:
            word = "paris" if host.endswith("/site") else "nominal"
            question = {"token": run.token.to_json(), "change": dict.fromkeys(change, word)}
            if host.startswith("otn"):
                assert not world.fences.ask(host, "apply", question)["accepted"]
    assert world.modes() == before


def journey(world: World, verb: Verb) -> None:
    """Bring SAMU 300 to where the verb starts from, then ask for it."""
    if verb is Verb.FAILBACK:
        world.ask(Verb.FAILOVER, samus=["300"], to="backup")
        world.lead_until_idle()
    world.ask(verb, samus=["300"], to="nominal" if verb is Verb.FAILBACK else "backup")


def count_moments(make: Callable[[], World], verb: Verb) -> int:
    """Count the moments at which a journey can be struck."""
    world = make()
    journey(world, verb)
    axe = Axe(world)
    lead_on(world)
    return axe.moments


@pytest.mark.parametrize("verb", [Verb.SWITCHOVER, Verb.FAILOVER, Verb.FAILBACK])
def test_one_kill_at_every_moment(verb: Verb, tmp_path: Path, helper: ModuleType) -> None:
    """Killed before or after any append, or after any target changed: done all the same."""
    numbers = itertools.count()

    def make() -> World:
        return make_world(tmp_path / str(next(numbers)), helper)

    moments = count_moments(make, verb)
    assert moments > 12
    for moment in range(1, moments + 1):
        world = make()
        journey(world, verb)
        Axe(world, moment)
        lead_on(world)
        state = world.state()
        operation = list(state.operations.values())[-1]
        wanted = "nominal" if verb is Verb.FAILBACK else "backup"
        assert (operation.outcome, world.modes()) == (Outcome.DONE, [wanted, wanted]), moment
        assert state.intended_mode("300") == wanted
        assert operation.unsettled() == []
        check_safe(world)


@settings(max_examples=25, deadline=None)
@given(
    strikes=st.lists(st.integers(1, 60), max_size=4),
    verb=st.sampled_from([Verb.SWITCHOVER, Verb.FAILOVER, Verb.FAILBACK]),
    cut=st.sampled_from([None, "otn-paris", "otn-lyon", "samu-300"]),
)
def test_kills_and_cuts_never_leave_a_lie(
    strikes: list[int],
    verb: Verb,
    cut: str | None,
    tmp_path_factory: pytest.TempPathFactory,
    helper: ModuleType,
) -> None:
    """Several kills with a target cut off: never a false `done`, and reconcile settles it."""
    world = make_world(tmp_path_factory.mktemp("world"), helper)
    journey(world, verb)
    Axe(world, *strikes)
    world.fences.unreachable = {cut} if cut else set()
    lead_on(world)
    state = world.state()
    for operation in state.operations.values():
        if operation.outcome is Outcome.DONE:
            assert all(o is Outcome.DONE for o in operation.target_outcomes().values())
    world.fences.unreachable = set()
    world.ask(Verb.RECONCILE)
    lead_on(world)
    state = world.state()
    assert state.unknown() == []
    last = list(state.operations.values())
    if last and last[-1].outcome is Outcome.DONE:
        assert world.modes() == [last[-1].to] * len(ROUTERS)
    check_safe(world)


def test_a_late_change_of_the_dead_leader_is_refused(tmp_path: Path, helper: ModuleType) -> None:
    """What the killed leader had sent, and arrives after the takeover, takes no effect."""
    world = make_world(tmp_path, helper)
    journey(world, Verb.SWITCHOVER)

    def die(host: str) -> None:
        if host == "otn-paris":
            raise Killed(host)

    world.playbooks.kill_after = die
    with pytest.raises(Killed):
        world.lead_until_idle()
    world.playbooks.kill_after = lambda host: None
    token = world.playbooks.sent[-1][1].token
    world.lead_until_idle()
    late = {"token": Token(token.epoch, token.index).to_json(), "change": {"300": "nominal"}}
    answer = world.fences.ask("otn-lyon", "apply", late)
    assert (answer["accepted"], answer["reason"]) == (False, "older-token")
    assert world.modes() == ["backup", "backup"]


def test_what_is_journalled_as_sealed_is_sealed(tmp_path: Path, helper: ModuleType) -> None:
    """From the entry that says so on, a sealed target refuses the dead leader's token.

    The late change arrives before the new leader has sent anything of its own.
    """
    world = make_world(tmp_path / "world", helper)
    journey(world, Verb.SWITCHOVER)
    moments = count_moments(lambda: make_world(tmp_path / "counted", helper), Verb.SWITCHOVER)
    Axe(world, moments // 2)
    with pytest.raises(Killed):
        world.lead_until_idle()
    tried: list[str] = []

    def arrive_late(where: str) -> None:
        index = world.coordination.size() - 1
        entry = read_entry(world.coordination.read(index, index + 1)[0], index=index,
                           policy=world.trust)  # fmt: skip
        if where == "after" and entry.kind == "seal.outcome":
            dead = world.playbooks.sent[-1][1].token
            for host in entry.data["sealed"]:
                value = "nominal" if host in ROUTERS else "unarmed"
                question = {"token": dead.to_json(), "change": {"300": value}}
                assert not world.fences.ask(host, "apply", question)["accepted"]
                tried.append(host)

    world.strike = arrive_late
    world.playbooks.kill_after = lambda host: None
    world.lead_until_idle()
    assert tried


def test_a_rescue_is_not_undone_by_what_it_superseded(tmp_path: Path, helper: ModuleType) -> None:
    """A failback left half done by a dead leader is settled, not resumed, after a rescue."""
    world = make_world(tmp_path, helper)
    journey(world, Verb.FAILBACK)

    def die(host: str) -> None:
        raise Killed(host)

    world.playbooks.kill_after = die
    with pytest.raises(Killed):
        world.lead_until_idle()
    world.playbooks.kill_after = lambda host: None
    world.ask(Verb.FAILOVER, samus=["300"], to="backup")
    world.lead_until_idle()
    assert world.modes() == ["backup", "backup"]
    state = world.state()
    assert state.intended_mode("300") == "backup"
    assert state.running() == []
    check_safe(world)
