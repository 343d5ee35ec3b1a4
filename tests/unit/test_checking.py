"""A path is proved without moving anybody, and what was armed for it is disarmed again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sisamu_ops.failover.acting.checking import Heard
from sisamu_ops.failover.fold.known import Check
from sisamu_ops.failover.request import Verb
from sisamu_ops.model.outcome import Outcome
from tests.support.world import Killed, World, make_world


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


def check(world: World, *samus: str) -> tuple[Outcome, Check]:
    request = world.ask(Verb.CHECK, samus=samus, to="backup")
    world.lead_until_idle()
    state = world.state()
    return state.finished[request.request_id], state.checks[request.request_id]


def armed(world: World) -> list[str]:
    return [h for h, values in world.fences.running.items() if "armed" in values.values()]


def test_the_path_is_proved_and_nobody_is_moved(world: World) -> None:
    """Armed, called, disarmed again; from then on the path counts as proved."""
    outcome, found = check(world, "300", "680")
    assert (outcome, found.failed, found.left_armed) == (Outcome.DONE, {}, {})
    assert (armed(world), world.modes(), world.modes("680")) == (
        [],
        ["nominal"] * 2,
        ["nominal"] * 2,
    )
    assert set(world.state().proved) == {"300", "680"}
    assert world.state().intended_mode("300") == "nominal"


def test_a_path_nobody_answers_on_is_not_proved(world: World) -> None:
    """Its SAMU is named with what became of the call; the other is proved all the same."""
    world.playbooks.silent = {"680"}
    outcome, found = check(world, "300", "680")
    assert (outcome, list(found.failed)) == (Outcome.FAILED, ["680"])
    assert "status 408" in found.failed["680"]
    assert (list(world.state().proved), armed(world)) == (["300"], [])


def test_a_gateway_that_cannot_be_reached_is_not_proved(world: World) -> None:
    """No call was placed: silence proves nothing."""
    world.fences.unreachable = {"samu-300"}
    outcome, found = check(world, "300")
    assert (outcome, found.failed) == (Outcome.FAILED, {"300": "no test call was placed"})


def test_a_gateway_in_use_stays_armed(world: World) -> None:
    """On backup a check does not disarm what carries the calls."""
    world.ask(Verb.FAILOVER, samus=["300"], to="backup")
    world.lead_until_idle()
    outcome, _ = check(world, "300")
    assert (outcome, armed(world)) == (Outcome.DONE, ["samu-300"])


def test_a_leader_that_dies_leaves_word_of_what_is_armed(world: World) -> None:
    """The next one seals, reads, and tells which gateway was not disarmed; nothing is proved."""

    def die(host: str) -> None:
        raise Killed(host)

    world.playbooks.kill_after = die
    world.ask(Verb.CHECK, samus=["300"], to="backup")
    with pytest.raises(Killed):
        world.lead_until_idle()
    world.playbooks.kill_after = lambda host: None
    world.lead_until_idle()
    state = world.state()
    (found,) = state.checks.values()
    assert state.finished[found.request_id] is Outcome.UNKNOWN
    assert (list(found.failed), list(found.left_armed)) == (["300"], ["samu-300"])
    assert state.proved == {}


def answer(**said: Any) -> dict[str, Any]:
    return {"accepted": True, "before": {"300": "unarmed"}, "outcome": "done"} | said


@pytest.mark.parametrize(
    ("answers", "left"),
    [
        ([], False),
        ([answer(accepted=False)], False),
        ([answer()], True),
        ([answer(), answer(outcome="unknown")], True),
        ([answer(), answer()], False),
        ([answer(before={"300": "armed"})], False),
        ([answer(before=None)], True),
    ],
)
def test_what_was_armed_and_not_seen_disarmed_is_left_armed(
    answers: list[dict[str, Any]], left: bool
) -> None:
    """In doubt it is told."""
    heard = Heard()
    for one in answers:
        heard.take({"event": "fence", "host": "samu-300", "result": one})
    assert bool(heard.left_armed({"samu-300": "300"})) is left


def test_a_gateway_that_gave_no_answer_may_be_armed() -> None:
    """It was begun and nothing came back: that is unknown, and never "not armed"."""
    heard = Heard()
    heard.take({"event": "start", "host": "samu-300", "module": "sisamu_fence"})
    heard.take({"event": "start", "host": "samu-310", "module": "debug"})
    left = heard.left_armed({"samu-300": "300", "samu-310": "310"})
    assert left == {"samu-300": "gave no answer: it may be armed"}
