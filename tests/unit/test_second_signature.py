"""More SAMUs than one person may move: the request waits for another operator, and then goes on."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from sisamu_ops.failover.request import Approval, Envelope, Request, Verb, inbox_name
from sisamu_ops.failover.safety import SECOND_SIGNATURE
from sisamu_ops.journal.port import InboxItem
from sisamu_ops.model.platform import Waves
from sisamu_ops.model.safety import Safety, SecondSignature
from tests.support.world import ON_CALL, World, make_world

LEAD = "lead@sisamu-lab"
BOTH = ["300", "680"]


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Build a platform on which more than one SAMU needs two signatures."""
    world = make_world(tmp_path)
    world.signers.add(LEAD)
    policy = replace(
        world.platform.policy, operators=(ON_CALL, LEAD), waves=Waves(canary=9),
        safety=Safety(second_signature=SecondSignature(above=1)),
    )  # fmt: skip
    world.platform = replace(world.platform, policy=policy)
    return world


def ask(world: World, verb: Verb = Verb.SWITCHOVER) -> Request:
    request = world.ask(verb, samus=BOTH, to="backup")
    world.lead_until_idle()
    return request


def approve(world: World, request: Request, who: str = LEAD) -> None:
    document = request.document().decode()
    envelope = Envelope(
        document=document, signature="signed", principal=ON_CALL,
        approvals=(Approval(principal=who, signature="signed"),),
    )  # fmt: skip
    payload = envelope.payload()
    name = inbox_name(request.request_id, payload)
    world.coordination.put(InboxItem(name=name, payload=payload))
    world.lead_until_idle()


def moved(world: World) -> list[str]:
    return [s for s in BOTH if world.modes(s) == ["backup", "backup"]]


def test_one_signature_waits_and_changes_nothing(world: World) -> None:
    """Good but for the second signature: neither accepted nor refused, and nothing is sent."""
    request = ask(world)
    state = world.state()
    waiting = state.waiting[request.request_id]
    assert (waiting.principal, waiting.samus, moved(world)) == (ON_CALL, tuple(BOTH), [])
    assert request.request_id not in state.answers


def test_the_second_signature_lets_it_go_on(world: World) -> None:
    """Approved by another operator it is accepted as it was signed, and done."""
    request = ask(world)
    approve(world, request)
    state = world.state()
    assert (moved(world), state.waiting) == (BOTH, {})
    assert state.operations[request.request_id].approvers == (LEAD,)


def test_who_asked_does_not_count(world: World) -> None:
    """Approved by the requester it is refused, by name."""
    request = ask(world)
    approve(world, request, ON_CALL)
    refused = [a for a in world.state().answers.values() if not a.accepted]
    assert (moved(world), refused[0].rules) == ([], ("approvals",))


def test_the_same_bytes_again_add_nothing(world: World) -> None:
    """Sent twice it waits once; other content under its id is refused."""
    request = ask(world)
    before = world.state().size
    world.put(request)
    world.lead_until_idle()
    assert list(world.state().waiting) == [request.request_id]
    assert world.state().size - before == 1  # leadership taken, and nothing besides
    world.put(replace(request, reason="another"))
    world.lead_until_idle()
    assert any("used for other content" in a.reason for a in world.state().answers.values())


def test_an_approval_that_comes_too_late_is_refused(world: World) -> None:
    """A request that has expired meanwhile is not carried out, whoever signs it."""
    request = ask(world)
    world.now += timedelta(minutes=6)
    approve(world, request)
    state = world.state()
    assert (moved(world), state.waiting) == ([], {})
    assert "expired" in state.answers[request.request_id].reason


def test_withdrawn_it_can_no_longer_be_approved(world: World) -> None:
    """By whoever asked for it; nobody else may."""
    request = ask(world)
    refused = world.ask(Verb.WITHDRAW, about=request.request_id)
    world.lead_until_idle()
    assert world.state().answers[refused.request_id].accepted
    approve(world, request)
    assert moved(world) == []
    assert world.state().answers[request.request_id].reason == f"withdrawn by {ON_CALL}"


def test_only_who_asked_withdraws_it(world: World) -> None:
    """Another operator leaves it to expire."""
    request = ask(world)
    other = replace(world.ask(Verb.RECONCILE), verb=Verb.WITHDRAW, about=request.request_id)
    world.put(replace(other, request_id="withdraw-0123456789ab"), principal=LEAD)
    world.lead_until_idle()
    assert request.request_id in world.state().waiting


def test_another_broken_rule_refuses_at_once(world: World) -> None:
    """Two signatures would not help: it is refused, and does not wait."""
    world.fences.unreachable = {"otn-lyon"}
    request = ask(world)
    answer = world.state().answers[request.request_id]
    assert not answer.accepted
    assert {"routers-read", SECOND_SIGNATURE} <= set(answer.rules)


def test_a_rescue_goes_first_and_the_second_falls_due(world: World) -> None:
    """Not blocked; the second signature is due within an hour, and takes the finding away."""
    request = ask(world, Verb.FAILOVER)
    operation = world.state().operations[request.request_id]
    assert (moved(world), bool(operation.second_due)) == (BOTH, True)
    approve(world, request)
    assert world.state().operations[request.request_id].second_due == ""
