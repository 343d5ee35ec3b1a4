"""Handing leadership over, pausing, observing, and keeping the inbox within bounds."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from types import ModuleType

import pytest

from sisamu_ops.failover.answering.admission import INBOX_LIMIT
from sisamu_ops.failover.asking.report import make_trigger
from sisamu_ops.failover.request import Verb, new_request
from sisamu_ops.journal.keys import load_site_keys
from sisamu_ops.journal.port import InboxItem
from sisamu_ops.model.outcome import Outcome
from tests.support.world import START, World, load_helper, make_world
from tests.unit.test_admission import entries


@pytest.fixture(scope="module")
def helper() -> ModuleType:
    return load_helper()


@pytest.fixture
def world(tmp_path: Path, helper: ModuleType) -> World:
    return make_world(tmp_path / "world", helper)


def refusals_by(world: World, rule: str) -> int:
    """Count the refusals that name a rule."""
    refused = [e.data["rules"] for e in entries(world) if e.kind == "request.refused"]
    return sum(isinstance(rules, list) and rule in rules for rules in refused)


def test_leadership_is_handed_over_to_a_site_that_stands(world: World) -> None:
    """It ends this leader's work, and the next one's first entry settles it."""
    refused = world.ask(Verb.TRANSFER, to="lyon")
    world.lead_until_idle()
    assert not world.state().answers[refused.request_id].accepted
    world.standing = frozenset({"local", "lyon"})
    wanted = world.ask(Verb.TRANSFER, to="lyon")
    world.ask(Verb.FAILOVER, samus=["300"], to="backup")
    with world.leading() as term:
        term.begin()
        assert not term.serve(world.coordination)
        term.leave("transfer")
    state = world.state()
    assert (state.asked_for, state.left_by, state.handover is None) == ("lyon", "local", False)
    assert state.finished.get(wanted.request_id) is None
    assert world.playbooks.sent == []
    world.lead_until_idle()
    # Another site than the one named has taken over: known not done.
    assert world.state().finished[wanted.request_id] is Outcome.FAILED
    assert world.modes() == ["backup", "backup"]


def test_a_step_down_is_done_when_anybody_leads_again(world: World) -> None:
    """Whoever is next fulfils it."""
    world.standing = frozenset({"local", "lyon"})
    wanted = world.ask(Verb.STEP_DOWN)
    with world.leading() as term:
        term.begin()
        term.serve(world.coordination)
        term.leave("step-down")
    world.lead_until_idle()
    assert world.state().finished[wanted.request_id] is Outcome.DONE


def test_a_paused_leader_carries_out_rescues_only(world: World) -> None:
    """A move accepted before the pause waits for its end; a rescue does not."""
    world.ask(Verb.SWITCHOVER, samus=["680"], to="backup")
    with world.leading() as term:
        term.begin()
        term.admission.answer(world.coordination.items()[0])
    world.ask(Verb.PAUSE)
    world.lead_until_idle()
    world.ask(Verb.FAILOVER, samus=["300"], to="backup")
    world.ask(Verb.RECONCILE)
    world.lead_until_idle()
    state = world.state()
    assert (world.modes("300"), state.paused) == (["backup", "backup"], True)
    assert refusals_by(world, "leader-paused") == 1
    world.ask(Verb.RESUME)
    world.lead_until_idle()
    assert (world.modes("680"), world.state().paused) == (["backup", "backup"], False)


def test_one_principal_cannot_fill_the_journal(world: World) -> None:
    """Beyond the limit the same principal is refused by name; another is heard."""
    for _ in range(INBOX_LIMIT + 3):
        world.ask(Verb.RECONCILE)
    with world.leading() as term:
        term.begin()
        term.serve(world.coordination)
    assert refusals_by(world, "inbox-limit") == 3


def test_a_flood_of_unsigned_documents_is_one_entry(world: World) -> None:
    """The first few are refused one by one, the rest together: all are gone."""
    for number in range(INBOX_LIMIT + 40):
        world.coordination.put(InboxItem(name=f"rubbish-{number:03d}", payload=b"%d" % number))
    world.ask(Verb.FAILOVER, samus=["300"], to="backup")
    world.lead_until_idle()
    assert (world.coordination.items(), world.modes()) == ([], ["backup", "backup"])
    assert world.state().size < INBOX_LIMIT + 20


def test_a_trigger_is_observed_and_nothing_is_dispatched(world: World) -> None:
    """The journal says what would have been done and why; the same trigger again adds nothing."""
    request = new_request(
        platform="world", verb=Verb.FAILOVER, reason="no call for a minute", now=START,
        lifetime=timedelta(minutes=5), samus=["300"], to="backup",
    )  # fmt: skip
    key = load_site_keys(world.directory / "keys").entry
    trigger = make_trigger("local", json.loads(request.document()), key)
    world.coordination.put(trigger)
    world.lead_until_idle()
    world.coordination.put(trigger)
    world.lead_until_idle()
    seen = [e for e in entries(world) if e.kind == "trigger.observed"]
    assert len(seen) == 1
    assert seen[0].data["reason"] == "no call for a minute"
    would = seen[0].data["would"]
    assert isinstance(would, dict)
    assert (would["verb"], would["samus"], would["blocked_by"]) == ("failover", ["300"], [])
    assert (world.playbooks.sent, world.modes()) == ([], ["nominal", "nominal"])


@pytest.mark.parametrize("verb", [Verb.SWITCHOVER, Verb.ENROL])
def test_a_trigger_that_asks_for_more_than_a_rescue_is_refused(verb: Verb, world: World) -> None:
    """A site's trigger may ask for a failover and for nothing else."""
    request = new_request(
        platform="world", verb=verb, reason="odd", now=START, lifetime=timedelta(minutes=5),
        samus=["300"], to="backup",
    )  # fmt: skip
    key = load_site_keys(world.directory / "keys").entry
    world.coordination.put(make_trigger("local", json.loads(request.document()), key))
    world.lead_until_idle()
    assert [e.kind for e in entries(world)][-1] == "request.refused"
