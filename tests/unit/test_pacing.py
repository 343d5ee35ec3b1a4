"""When an operation goes on with what: the canary, the soak, growing waves, and every hold."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sisamu_ops.failover.fold.operation import Operation
from sisamu_ops.failover.planning.pacing import Act, Next, split_waves, what_next
from sisamu_ops.model.platform import Waves
from tests.support.told import ID, START, folded

SAMUS = ["120", "300", "680"]
ACCEPTED: tuple[str, dict[str, Any]] = (
    "request.accepted",
    {"verb": "switchover", "samus": SAMUS, "waves": [["120"], ["300", "680"]], "soak_ms": 9000},
)
WAVES = Waves(canary=1, growth=3, at_most=20, rescue=30)


def ended(wave: int, outcome: str = "done", *samus: str) -> tuple[str, dict[str, Any]]:
    said = {"outcome": outcome, "to": "backup", "moved": True, "detail": ""}
    return "wave.ended", {"wave": wave, "samus": dict.fromkeys(samus or ["120"], said)}


def probed(second: int, **data: Any) -> tuple[str, dict[str, Any]]:
    del second  # for the reader: entries stand one second apart
    return "soak.probed", {"wave": 0, "last": False, "bad": {}} | data


def steering(verb: str) -> tuple[str, dict[str, Any]]:
    return "request.accepted", {"id": f"{verb}-1", "verb": verb, "about": ID}


def at(second: float) -> datetime:
    return START + timedelta(seconds=second)


def coming(*entries: tuple[str, dict[str, Any]], second: float = 99, **known: Any) -> Next:
    return what_next(operation(*entries), at(second), **known)


def operation(*entries: tuple[str, dict[str, Any]]) -> Operation:
    return folded(ACCEPTED, *entries).operations[ID]


def act(*entries: tuple[str, dict[str, Any]], second: float = 99, **known: Any) -> Act:
    return coming(*entries, second=second, **known).act


OVER = probed(2, last=True)


def test_the_canary_goes_first_then_the_next_wave_then_the_end() -> None:
    """Waves run in order, each once; after the last one the operation ends."""
    first, second = coming(), coming(ended(0), OVER)
    assert (first.act, first.wave, second.act, second.wave) == (Act.RUN, 0, Act.RUN, 1)
    assert act(ended(0), OVER, ended(1, "done", "300", "680")) is Act.END


def test_a_begun_wave_is_never_left_half_way() -> None:
    """Begun by a dead leader it is finished first, whether held, aborted or in doubt."""
    begun = ("step.started", {"wave": 0})
    for more in ([], [steering("hold")], [steering("abort")]):
        assert act(begun, *more) is Act.RUN


@pytest.mark.parametrize(
    ("entries", "second", "expected", "until"),
    [
        ([ended(0)], 2, Act.WAIT, 4),  # ended at 1 s; a probe falls due after a third of 9 s
        ([ended(0)], 4, Act.PROBE, None),
        ([ended(0), probed(2)], 4, Act.WAIT, 5),
        ([ended(0), probed(2)], 5, Act.PROBE, None),
        ([ended(0), OVER], 3, Act.RUN, None),
    ],
)
def test_a_soak_is_probed_until_it_is_over(
    entries: list[Any], second: float, expected: Act, until: float | None
) -> None:
    """Test calls are placed three times in a soak; only then the next wave begins."""
    found = coming(*entries, second=second)
    assert (found.act, found.until) == (expected, at(until) if until else None)


def test_a_short_soak_has_its_one_probe_at_its_end() -> None:
    """None comes sooner than a second after the last."""
    short = ("request.accepted", ACCEPTED[1] | {"soak_ms": 600})
    found = what_next(folded(short, ended(0)).operations[ID], at(1.5))
    assert (found.act, found.until) == (Act.WAIT, at(1.6))
    assert what_next(folded(short, ended(0)).operations[ID], at(1.6)).is_last


def test_the_probe_at_the_end_of_a_soak_is_the_last() -> None:
    """Nine seconds after the wave the soak is over."""
    assert not coming(ended(0), second=9.9).is_last
    assert coming(ended(0), second=10).is_last


@pytest.mark.parametrize("word", ["failed", "unknown"])
def test_the_first_samu_not_done_holds(word: str) -> None:
    """The canary failed: nothing after it begins, and it is said which."""
    found = coming(ended(0, word))
    assert (found.act, found.cause) == (Act.HOLD, f"SAMU 120 ended {word}")


def test_a_bad_call_in_the_soak_holds() -> None:
    """Served when moved, and no longer: the next wave does not begin."""
    bad = probed(2, last=True, bad={"120": "status 503"})
    found = coming(ended(0), bad)
    assert (found.act, found.cause) == (Act.HOLD, "1 SAMU not served after wave 1: 120: status 503")


def test_a_rescue_asked_for_meanwhile_holds_planned_waves() -> None:
    """Something is wrong on the platform: a planned change waits for an operator's word."""
    assert act(ended(0), OVER, rescue="failover-1") is Act.HOLD
    assert act(rescue="failover-1") is Act.RUN


def test_held_it_waits_until_an_operator_goes_on() -> None:
    """What was seen is excused; what comes after holds it anew."""
    held = ("operation.held", {"cause": "SAMU 120 ended failed"})
    assert act(ended(0, "failed"), held) is Act.WAIT
    assert act(ended(0, "failed"), held, steering("go-on"), OVER) is Act.RUN
    bad = probed(2, last=True, bad={"120": "status 503"})
    assert act(ended(0), bad, held, steering("go-on")) is Act.RUN


def test_aborted_it_begins_nothing_more() -> None:
    """Between two waves an abort ends it there."""
    assert act(ended(0), OVER, steering("abort")) is Act.END
    assert act(steering("abort")) is Act.END


def test_agents_not_in_place_are_waited_for() -> None:
    """The wave of a SAMU whose agents are not confirmed in place does not begin."""
    assert act(ended(0), OVER, unconfirmed={"680"}) is Act.WAIT
    assert act(unconfirmed={"680"}) is Act.RUN
    assert "680" in coming(ended(0), OVER, unconfirmed={"680"}).cause


def test_a_rescue_waits_for_nothing_and_holds_at_nothing() -> None:
    """Failed, unknown, unconfirmed: the next wave of a rescue begins at once."""
    rescue = ("request.accepted", ACCEPTED[1] | {"verb": "failover"})
    for word in ("done", "failed", "unknown"):
        found = folded(rescue, ended(0, word)).operations[ID]
        known = {"unconfirmed": set(SAMUS), "rescue": "failover-2"}
        assert what_next(found, at(1), **known).act is Act.RUN


@given(st.integers(1, 102), st.integers(1, 5), st.integers(1, 4), st.integers(1, 30))
def test_waves_hold_every_samu_once_and_grow_within_bounds(
    many: int, canary: int, growth: int, at_most: int
) -> None:
    """Planned: the canary first, none larger than the bound or than `growth` times the last."""
    samus = [f"{number:03d}" for number in range(many)]
    waves = Waves(canary=canary, growth=growth, at_most=max(at_most, canary))
    found = split_waves(samus, waves, planned=True, at_once=True)
    assert [s for wave in found for s in wave] == samus
    sizes = [len(wave) for wave in found]
    assert sizes[0] <= canary
    assert max(sizes) <= max(at_most, canary)
    assert all(b <= a * growth for a, b in pairwise(sizes))


def test_a_rescue_at_once_is_one_wave() -> None:
    """Only a rescue may go at once; otherwise it takes equal waves."""
    samus = [f"{number:03d}" for number in range(70)]
    assert split_waves(samus, WAVES, planned=False, at_once=True) == (tuple(samus),)
    sizes = [len(w) for w in split_waves(samus, WAVES, planned=False, at_once=False)]
    assert sizes == [30, 30, 10]
