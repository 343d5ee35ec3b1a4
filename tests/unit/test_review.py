"""A reviewed plan is run as it was reviewed, or refused with what has changed since."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sisamu_ops.failover.asking.review import differences, is_plan, plan_item, read_plan
from sisamu_ops.failover.planning.plan import Plan
from sisamu_ops.failover.request import Verb, digest_of
from sisamu_ops.failover.safety import Finding
from sisamu_ops.journal.port import InboxItem
from sisamu_ops.model.platform import Platform
from tests.support.world import World, _platform, make_world
from tests.unit.test_plan import plan


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    return _platform(tmp_path)


@pytest.fixture
def reviewed(platform: Platform) -> Plan:
    return plan(platform, None, Verb.SWITCHOVER, "300", "680")


def since(before: Plan, **changes: Any) -> str:
    return differences(
        read_plan(before.document()), read_plan(replace(before, **changes).document())
    )


def test_a_plan_is_named_by_its_document(reviewed: Plan) -> None:
    """The digest that is typed is the SHA-256 of what is kept."""
    item = plan_item(reviewed.document())
    assert item.name == f"plan.{reviewed.digest}" == f"plan.{digest_of(item.payload)}"
    assert is_plan(item)


@pytest.mark.parametrize(
    "item",
    [
        InboxItem(name="plan." + "0" * 64, payload=b"{}"),
        plan_item(b"{}"),
        plan_item(b"not canonical"),
        plan_item(b'{"transitions":[' + b" " * 300_000 + b"]}"),
    ],
    ids=["another name", "no plan", "no JSON", "too large"],
)
def test_what_is_no_plan_is_not_taken_for_one(item: InboxItem) -> None:
    """Anybody may have put it there."""
    assert not is_plan(item)


def test_nothing_changed_is_nothing_told(reviewed: Plan) -> None:
    """The same plan has the same document."""
    assert since(reviewed) == ""


def test_what_changed_is_told(reviewed: Plan) -> None:
    """A target that holds another value, one gone, a rule broken since, other waves."""
    first, *rest = reviewed.transitions
    assert since(reviewed, transitions=(replace(first, before="armed"), *rest)) == (
        "samu-300: SAMU 300 unarmed to armed when reviewed, armed to armed now"
    )
    assert since(reviewed, transitions=tuple(rest)) == (
        "samu-300 is no longer to change for SAMU 300"
    )
    broken = Finding(rule="routers-read", message="", remedy="", blocks=True)
    assert since(reviewed, findings=(broken,)) == "rule routers-read is broken now"
    assert since(
        replace(reviewed, findings=(broken,)), findings=(replace(broken, blocks=False),)
    ) == ("rule routers-read is judged otherwise now")
    assert since(reviewed, waves=(("300",), ("680",))) == "waves was 2 of 1, 1, is 2 of 1, 1" or (
        "waves was" in since(reviewed, waves=(("300", "680"),))
    )


def test_many_changes_are_counted(reviewed: Plan) -> None:
    """A refusal fits on a screen however much has changed."""
    said = since(reviewed, transitions=())
    assert said.count("no longer") == 6 or "more" in said


def test_a_changed_plan_is_refused_with_the_difference(tmp_path: Path) -> None:
    """Reviewed with both routers nominal; one was moved by hand since: refused, and told so."""
    world = make_world(tmp_path)
    document = reviewed_by(world)
    world.fences.ask(
        "otn-lyon", "apply", {"token": {"epoch": 0, "index": 1}, "change": {"680": "backup"}}
    )
    start(world, document)
    refused = [a for a in world.state().answers.values() if not a.accepted]
    assert "otn-lyon: SAMU 680 nominal to backup when reviewed, backup to backup now" in (
        refused[0].reason
    )
    assert world.modes("680") == ["nominal", "backup"]


def test_an_unchanged_plan_is_run(tmp_path: Path) -> None:
    """Exactly what was reviewed; the plan is kept beside the replicas before it is accepted."""
    world = make_world(tmp_path)
    start(world, reviewed_by(world))
    assert world.modes("680") == ["backup", "backup"]


def test_without_the_document_a_changed_plan_is_refused_all_the_same(tmp_path: Path) -> None:
    """Only the digest came: nobody can say what differs, only that it does."""
    world = make_world(tmp_path)
    world.ask(Verb.SWITCHOVER, samus=["680"], to="backup", plan="0" * 64)
    world.lead_until_idle()
    refused = [a for a in world.state().answers.values() if not a.accepted]
    assert (refused[0].rules, "nobody here has" in refused[0].reason) == (("plan-digest",), True)


def test_a_plan_kept_nowhere_is_not_begun(tmp_path: Path) -> None:
    """Planned work finds no majority to keep its plan: refused. A rescue does not wait for that."""
    world = make_world(tmp_path)
    world.holders = frozenset()
    world.ask(Verb.SWITCHOVER, samus=["680"], to="backup")
    world.lead_until_idle()
    assert world.modes("680") == ["nominal", "nominal"]
    world.ask(Verb.FAILOVER, samus=["680"], to="backup")
    world.lead_until_idle()
    assert world.modes("680") == ["backup", "backup"]


def reviewed_by(world: World) -> bytes:
    """Return the document of a plan made as an operator makes it."""
    readings = world.fences.read(world.platform.targets)
    return plan(world.platform, readings, Verb.SWITCHOVER, "680").document()


def start(world: World, document: bytes) -> None:
    world.coordination.put(plan_item(document))
    world.ask(Verb.SWITCHOVER, samus=["680"], to="backup", plan=digest_of(document))
    world.lead_until_idle()
