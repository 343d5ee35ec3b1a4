"""Which copies of the rules are the one in force."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from sisamu_ops.failover.answering.in_force import differing, platform_document
from sisamu_ops.failover.request import Verb
from sisamu_ops.journal.artifacts import artifact_digest, artifact_name, keep_artifact
from sisamu_ops.journal.verify import verify_directory
from sisamu_ops.model.outcome import Outcome
from tests.support.signed_journal import POLICY, sealed_journal, written_journal
from tests.support.world import make_world, some_rules


@pytest.mark.parametrize(
    ("here", "adopted", "others"),
    [
        ({"policy": "a", "version": "1.0"}, {}, []),
        ({"policy": "a", "version": "1.0"}, {"policy": "a", "version": "1.0"}, []),
        ({"policy": "a", "version": "1.10.0"}, {"policy": "a", "version": "1.9.9"}, []),
        ({"policy": "a", "version": "1.9.9"}, {"policy": "a", "version": "1.10.0"}, ["version"]),
        ({"policy": "b", "version": "1.0"}, {"policy": "a", "version": "1.0"}, ["policy"]),
        ({"version": "1.0"}, {"policy": "a", "trust": "t"}, ["policy", "trust"]),
    ],
)
def test_what_differs_is_named(
    here: dict[str, str], adopted: dict[str, str], others: list[str]
) -> None:
    """Documents must be equal; a version must not be older. Before any adoption all copies do."""
    assert differing(here, adopted) == others


def test_the_platform_document_holds_the_rules_and_no_path_of_one_machine(tmp_path: Path) -> None:
    """Where keys lie on a machine is no rule; a mode's order, a site or a target is."""
    platform = make_world(tmp_path).platform
    elsewhere = replace(platform.policy, allowed_signers=Path("/elsewhere"), identity=Path("/me"))
    assert platform_document(replace(platform, policy=elsewhere)) == platform_document(platform)
    changed = replace(platform.policy, mode_order=("degraded", "backup"))
    assert platform_document(replace(platform, policy=changed)) != platform_document(platform)
    fewer = dict(list(platform.targets.items())[1:])
    assert platform_document(replace(platform, targets=fewer)) != platform_document(platform)
    assert json.loads(platform_document(platform))["matrix"]["one-operation"]


@pytest.mark.parametrize(("majority", "outcome"), [(1, Outcome.DONE), (2, Outcome.FAILED)])
def test_rules_are_adopted_once_a_majority_keeps_them(
    majority: int, outcome: Outcome, tmp_path: Path
) -> None:
    """The entry names what is kept already; without a majority nothing is adopted."""
    world = make_world(tmp_path)
    wanted = world.ask(Verb.ADOPT, rules=world.rules.digests())
    with world.leading() as term:
        term.executor.majority = majority
        term.begin()
        while term.serve(world.coordination):
            pass
    state = world.state()
    assert state.finished[wanted.request_id] is outcome
    assert state.rules == (world.rules.digests() if outcome is Outcome.DONE else {})


def test_an_adoption_of_another_copy_waits_and_one_that_expired_is_refused(tmp_path: Path) -> None:
    """The leader does not adopt what it does not work by; nor does the request wait for ever."""
    world = make_world(tmp_path)
    wanted = world.ask(Verb.ADOPT, rules=some_rules(policy=b"other").digests())
    world.lead_until_idle()
    assert len(world.coordination.items()) == 1
    world.now = wanted.expires
    world.lead_until_idle()
    answer = world.state().answers[wanted.request_id]
    assert (answer.accepted, world.coordination.items()) == (False, [])


def test_an_artifact_is_kept_by_its_digest_and_verified(tmp_path: Path) -> None:
    """A copy whose artifact is not what its name promises does not verify."""
    name = artifact_name(b"rules")
    assert artifact_digest(name) == name.removeprefix("artifacts/")
    assert artifact_digest("artifacts/other") is None
    keep_artifact(tmp_path, b"rules")
    keep_artifact(tmp_path, b"rules")
    assert (tmp_path / name).read_bytes() == b"rules"
    files = written_journal(tmp_path / "copy", sealed_journal(3))
    files.files[name] = b"rules"
    assert verify_directory(files, POLICY).ok
    files.files[name] = b"other rules"
    assert not verify_directory(files, POLICY).ok
