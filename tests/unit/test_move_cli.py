"""`sisamu switchover|failover|failback plan`: what a terminal shows, and the exit code."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sisamu_ops.app import App
from sisamu_ops.failover.fold.state import State
from sisamu_ops.failover.planning.plan import Plan, build_plan
from sisamu_ops.failover.request import Verb
from sisamu_ops.failover.safety import Finding
from tests.support.terminal import Terminal, open_terminal
from tests.support.told import START
from tests.support.world import make_world
from tests.unit.test_preview import told

END = {"event": "end", "stats": {}}
NOT_EVALUATED = {"event": "not-evaluated", "host": "otn-lyon", "what": "the test call"}
UNREACHABLE = {"event": "unreachable", "host": "samu-300", "message": "timed out"}
REFUSED = {"event": "preview", "host": "otn-lyon", "before": {}, "after": {}, "problem": "no"}


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A desk that has one plan, and tells the preview it is given."""
    world = make_world(tmp_path)
    readings = world.fences.read(world.platform.targets)
    plan = build_plan(
        platform=world.platform, state=State(epoch=9), verb=Verb.SWITCHOVER, samus=("300",),
        to="backup", read_at=START, readings=readings,
    )  # fmt: skip
    desk = SimpleNamespace(
        the_plan=replace(plan, findings=()), events=[END], select=lambda _: ("300",),
        plan=lambda *_, **__: desk.the_plan, keep_plan=lambda _: None,
        preview=lambda _: told(*desk.events),
    )  # fmt: skip
    monkeypatch.setattr(App, "platform", world.platform)
    monkeypatch.setattr(App, "desk", desk)
    return desk


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Terminal:
    return open_terminal(monkeypatch, capsys)


@pytest.mark.parametrize(
    ("events", "code", "shown"),
    [
        ([END], 0, "digest"),
        ([NOT_EVALUATED, END], 6, "not evaluated: otn-lyon: the test call"),
        ([UNREACHABLE, END], 6, "check mode: samu-300: timed out"),
        ([REFUSED, END], 6, "check mode: otn-lyon: no"),
        ([], 6, "not evaluated: what comes after the run was ended"),
    ],
    ids=["all evaluated", "a call", "unreachable", "would refuse", "cut short"],
)
def test_what_check_mode_could_not_say_is_listed_and_ends_with_6(
    events: list[dict[str, Any]], code: int, shown: str, desk: SimpleNamespace, terminal: Terminal
) -> None:
    """Each thing by name, for people and as data; the plan can be started all the same."""
    desk.events = events
    words = ("switchover", "plan", "--samu", "300", "--to", "backup", "--check")
    seen = terminal(*words)
    assert (seen.code, shown in seen.out) == (code, True), seen
    assert f"go on: sisamu switchover start --samu 300 --to backup --plan {digest(desk)}" in (
        " ".join(seen.err.split())
    )
    told_as_data = json.loads(terminal(*words, "-o", "json").out)["check"]
    assert told_as_data == desk.preview(None).to_json()


def test_without_check_nothing_is_left_to_say(desk: SimpleNamespace, terminal: Terminal) -> None:
    """Check mode is run when asked for, and only then."""
    desk.events = []
    seen = terminal("switchover", "plan", "--samu", "300", "--to", "backup", "-o", "json")
    assert (seen.code, json.loads(seen.out)["check"]) == (0, None)


def test_a_plan_that_is_refused_is_refused_first(desk: SimpleNamespace, terminal: Terminal) -> None:
    """Exit 3 with the rule: what check mode leaves open matters no more."""
    no = Finding(rule="freeze-window", message="it is night", remedy="wait", blocks=True)
    desk.the_plan, desk.events = replace(desk.the_plan, findings=(no,)), []
    seen = terminal("switchover", "plan", "--samu", "300", "--to", "backup", "--check")
    assert (seen.code, "freeze-window" in seen.err) == (3, True)


def digest(desk: SimpleNamespace) -> str:
    plan: Plan = desk.the_plan
    return plan.digest
