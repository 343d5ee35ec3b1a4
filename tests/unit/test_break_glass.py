"""A site that acts alone: by whose word, above which epochs, and how its log comes home."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sisamu_ops.break_glass import Outlook
from sisamu_ops.doors.local import LocalCoordination
from sisamu_ops.failover.asking.submit import submit
from sisamu_ops.failover.break_glass import Alone, judge_alone, own_epoch
from sisamu_ops.failover.fold.merged_log import MergedLog
from sisamu_ops.failover.merging import MergeError, leaf_name, new_leaves, read_log
from sisamu_ops.failover.request import (
    LogClaim,
    Request,
    Verb,
    new_request,
)
from sisamu_ops.journal.canonical import parse_canonical
from sisamu_ops.journal.glass_log import log_policy
from sisamu_ops.journal.reader import ReplicaReader, journal_files
from sisamu_ops.journal.verify import verify_directory
from sisamu_ops.model.errors import IntegrityError, RefusedError
from sisamu_ops.model.outcome import Outcome
from sisamu_ops.model.token import Token, break_glass_epoch
from sisamu_ops.term import Term
from tests.support.alone import (
    LEAD,
    alone,
    entries,
    glass_of,
    merge,
    send,
    signed,
    start,
    the_log,
)
from tests.support.world import ON_CALL, START, World, load_helper, make_world

SEEN_ALONE = Outlook(Alone(site="local"), 0)


@pytest.fixture(scope="module")
def helper() -> ModuleType:
    return load_helper()


@pytest.fixture
def world(tmp_path: Path, helper: ModuleType) -> World:
    made = make_world(tmp_path / "world", helper)
    made.signers.add(LEAD)
    policy = replace(made.platform.policy, operators=(ON_CALL, LEAD))
    made.platform = replace(made.platform, policy=policy)
    return made


# --- by whose word ------------------------------------------------------------------------


def test_towards_a_safer_mode_one_signature_is_enough(world: World) -> None:
    """The SAMU moves at once; the second signature is due within an hour, and said to be."""
    request = alone()
    state = start(world, signed(request))
    assert world.modes() == ["backup", "backup"]
    assert state.operations[request.request_id].outcome is Outcome.DONE
    facts = glass_of(world).facts(the_log(world))
    assert [(d["operation"], d["overdue"]) for d in facts["second_due"]] == [
        (request.request_id, False)
    ]
    world.now += timedelta(minutes=61)
    assert glass_of(world).facts(the_log(world))["second_due"][0]["overdue"]


@pytest.mark.parametrize("approvers", [(), (ON_CALL,)])
def test_for_all_else_one_signature_is_not(world: World, approvers: tuple[str, ...]) -> None:
    """A failback alone needs two, and whoever asked is not the second; nothing is begun."""
    with pytest.raises(RefusedError, match="needs a second signature") as caught:
        start(world, signed(alone(Verb.FAILBACK), *approvers))
    assert "request approve" in (caught.value.remedy or "")
    assert glass_of(world).logs() == []


def test_two_signatures_move_anything(world: World) -> None:
    """With an approval the way back is open alone, too."""
    start(world, signed(alone()))
    back = alone(Verb.FAILBACK)
    state = start(world, signed(back, LEAD))
    assert state.operations[back.request_id].outcome is Outcome.DONE
    assert world.modes() == ["nominal", "nominal"]
    assert [due["operation"] for due in glass_of(world).facts(the_log(world))["second_due"]] != []


@pytest.mark.parametrize(
    ("approver", "signature", "said"),
    [
        ("stranger@lab", "signed", "does not verify"),
        (LEAD, "forged", "does not verify"),
        ("guest@lab", "signed", "not authorised to approve"),
    ],
)
def test_an_approval_that_does_not_hold_refuses_the_whole(
    world: World, approver: str, signature: str, said: str
) -> None:
    """Whose approval it is not, or who may not approve, is named; nothing moves."""
    world.signers.add("guest@lab")
    with pytest.raises(RefusedError, match=said):
        start(world, signed(alone(), approver, signature=signature))
    assert world.modes() == ["nominal", "nominal"]


def test_the_second_signature_comes_later(world: World) -> None:
    """Brought to the log it is journalled there, and nothing is due or done again."""
    request = alone()
    start(world, signed(request))
    sent = len(world.playbooks.sent)
    state = start(world, signed(request, LEAD))
    assert state.operations[request.request_id].approvers == (LEAD,)
    assert len(world.playbooks.sent) == sent
    assert glass_of(world).facts(the_log(world))["second_due"] == []


# --- when, where and under which epoch ----------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "to", "leader", "rules"),
    [
        (alone(), "backup", "", []),
        (alone(site="paris"), "backup", "", ["break-glass-site"]),
        (alone(Verb.RECONCILE, to=""), "backup", "", ["break-glass-verb"]),
        (alone(), "nominal", "", ["signatures"]),
        (alone(), "backup", "lyon", ["leader-reachable"]),
        (alone(overrides=["leader-reachable"]), "backup", "lyon", []),
        (alone(overrides=["signatures"]), "nominal", "", ["signatures", "override"]),
    ],
)
def test_each_rule_of_acting_alone(
    request_: Request, to: str, leader: str, rules: list[str]
) -> None:
    """What blocks is named; a leader that can be reached blocks unless overridden by name."""
    found = judge_alone(request_, to, (), Alone(site="local", leader=leader))
    assert [f.rule for f in found if f.blocks] == rules
    assert all(f.remedy for f in found)


def test_a_leader_takes_no_request_for_a_lone_site(world: World) -> None:
    """What was signed for a site alone is refused by a leader, under the rule's name."""
    request = alone()
    send(world, signed(request), request.request_id)
    world.lead_until_idle()
    answer = world.state().answers[request.request_id]
    assert (answer.accepted, answer.rules) == (False, ("break-glass-site",))


def test_nothing_is_begun_while_a_leader_can_be_reached(world: World) -> None:
    """A site that is not cut off is told who leads."""
    outlook = Outlook(Alone(site="local", leader="lyon"), 7)
    with pytest.raises(RefusedError, match="lyon leads and can be reached"):
        glass_of(world).start(signed(alone()), outlook, lambda entry: None)
    assert glass_of(world).logs() == []


@given(st.lists(st.integers(0, 2**40), max_size=5), st.integers(2, 14))
def test_an_epoch_alone_is_above_all_seen_and_nobody_elses(seen: list[int], count: int) -> None:
    """Two sites that saw the same never act under one epoch, nor under one that was seen."""
    sites = [f"s{number}" for number in range(count)]
    epochs = [own_epoch(site, sites, seen) for site in sites]
    assert len(set(epochs)) == count
    assert all(epoch // 2**28 % 16 == n for n, epoch in enumerate(epochs, start=1))
    assert min(epochs) > max([0, *seen])


def test_it_acts_above_what_targets_have_taken(world: World) -> None:
    """Journal, counter and fences count: a target moved by hand does not refuse the site."""
    hand = Token(break_glass_epoch(3, 15), 1)
    world.fences.ask("otn-paris", "apply", {"token": hand.to_json(), "change": {"300": "backup"}})
    state = start(world, signed(alone()))
    assert state.epoch > hand.epoch
    assert world.modes() == ["backup", "backup"]


def test_what_is_out_of_reach_is_left_and_the_rest_moves(world: World) -> None:
    """A router of another site is known not done; the whole is failed, never done."""
    world.fences.unreachable = {"otn-lyon"}
    request = alone()
    state = start(world, signed(request))
    operation = state.operations[request.request_id]
    assert world.modes() == ["backup", "nominal"]
    assert operation.outcome is Outcome.FAILED
    assert operation.target_outcomes() == {
        "otn-lyon": Outcome.FAILED, "otn-paris": Outcome.DONE, "samu-300": Outcome.DONE,
    }  # fmt: skip


def test_it_is_told_while_it_is_done(world: World) -> None:
    """Each entry once, in order, and before what it begins has been done."""
    told: list[tuple[int, str, list[str]]] = []
    request = signed(alone())
    glass_of(world).start(
        request, SEEN_ALONE, lambda entry: told.append((entry.index, entry.kind, world.modes()))
    )
    assert [index for index, _, _ in told] == list(range(len(told)))
    modes = {kind: modes for _, kind, modes in told}
    assert modes["step.started"] == ["nominal", "nominal"]
    assert modes["operation.ended"] == ["backup", "backup"]


@pytest.mark.parametrize(
    "error", [BrokenPipeError(), UnicodeEncodeError("ascii", "é", 0, 1, "no such letter")]
)
def test_what_cannot_be_told_does_not_stop_it(world: World, error: Exception) -> None:
    """A terminal that is gone, or does not know a letter, while a SAMU is moved: it is moved."""

    def gone(entry: object) -> None:
        raise error

    request = alone()
    view = glass_of(world).start(signed(request), SEEN_ALONE, gone)
    assert view.state.operations[request.request_id].outcome is Outcome.DONE
    assert world.modes() == ["backup", "backup"]


def test_without_a_router_nothing_is_touched(world: World) -> None:
    """Where no router can be moved, the gateway is not armed for nothing."""
    world.fences.unreachable = {"otn-lyon", "otn-paris"}
    start(world, signed(alone()))
    assert world.playbooks.sent == []


def test_the_log_begins_with_what_it_starts_from_and_verifies(world: World) -> None:
    """Its own origin, its own keys: `audit verify` says it holds, and finds what was changed."""
    start(world, signed(alone()))
    log = the_log(world)
    kinds = [e.kind for e in entries(LocalCoordination(log.directory))]
    assert kinds[:3] == ["break-glass.begun", "leadership.taken", "request.accepted"]
    own = log_policy(world.trust, log.origin)
    files = journal_files(log.directory)
    assert verify_directory(files, own).ok
    assert not verify_directory(files, world.trust).ok
    (bundle,) = (log.directory / "journal/tile/entries").rglob("*.p/*")
    bundle.write_bytes(bundle.read_bytes().replace(b"cut off", b"cut 0ff"))
    assert not verify_directory(files, own).ok


# --- coming home --------------------------------------------------------------------------


def test_a_log_is_taken_in_whole_and_carried_out_never_again(world: World) -> None:
    """What was done alone is in the journal: its operation, what is intended, its epoch."""
    request = alone()
    own_state = start(world, signed(request))
    sent = len(world.playbooks.sent)
    wanted = merge(world)
    world.lead_until_idle()
    state = world.state()
    log = the_log(world)
    assert state.finished[wanted.request_id] is Outcome.DONE
    assert log.merged_size == own_state.size
    operation = state.operations[request.request_id]
    assert (operation.outcome, operation.origin) == (Outcome.DONE, log.origin)
    assert state.intended_mode("300") == "backup"
    assert len(world.playbooks.sent) == sent
    assert world.coordination.items() == []
    assert state.floor == own_state.epoch


def test_the_next_leader_is_above_what_was_merged(world: World) -> None:
    """The leader that merges does nothing more under its own epoch; the next takes targets back."""
    start(world, signed(alone()))
    merge(world)
    rescue = world.ask(Verb.FAILOVER, samus=["680"], to="backup")
    with world.leading() as term:
        term.begin()
        while term.serve(world.coordination):
            pass
        assert term.outgrown
    assert world.state().operations[rescue.request_id].outcome is None
    epoch = world.state().floor
    with_floor(world, epoch)
    assert world.state().epoch == epoch + 1
    assert world.state().operations[rescue.request_id].outcome is Outcome.DONE
    assert world.state().held == {}


def with_floor(world: World, floor: int) -> None:
    """Lead as the agent does: above every epoch the journal has seen."""
    (world.directory / "state/epoch").write_text(f"{floor}\n")
    world.lead_until_idle()


def test_merging_again_adds_nothing(world: World) -> None:
    """The same log twice is one log; later entries of it are added, once."""
    start(world, signed(alone()))
    merge(world)
    world.lead_until_idle()
    before = len([e for e in entries(world.coordination) if e.kind == "break-glass.merged"])
    again = merge(world)
    world.lead_until_idle()
    kinds = [e.kind for e in entries(world.coordination)]
    assert world.state().finished[again.request_id] is Outcome.DONE
    assert kinds.count("break-glass.merged") == before
    assert world.coordination.items() == []


def test_nothing_is_taken_in_while_a_leaf_is_missing(world: World) -> None:
    """Half a log is no log: refused, and not one entry of it is written."""
    start(world, signed(alone()))
    wanted = merge(world, leave_out=[2])
    world.lead_until_idle()
    answer = world.state().answers[wanted.request_id]
    assert (answer.accepted, answer.rules) == (False, ("break-glass-log",))
    assert world.state().merged == {}


def test_a_fork_is_an_integrity_failure(world: World) -> None:
    """Another log under the name of one merged: refused by its rule, and exit 8 for who asked."""
    start(world, signed(alone()))
    merge(world)
    world.lead_until_idle()
    log = the_log(world)
    log.directory.rename(log.directory.with_name("kept"))
    start(world, signed(alone(samus=["680"])))
    claim, _ = read_log(ReplicaReader(journal_files(log.directory)), world.trust, place="x")
    claim = replace(claim, origin=log.origin)
    request = new_request(
        platform="world", verb=Verb.MERGE, reason="a fork", now=START,
        lifetime=timedelta(minutes=5), log=claim,
    )  # fmt: skip
    with pytest.raises(IntegrityError, match="a fork"):
        submit(
            world.coordination, world.coordination, world.trust, request.request_id,
            signed(request), tell=lambda entry: None, session_timeout_s=0,
            serve=lambda *_: world.lead_until_idle(),
        )  # fmt: skip


def test_leaves_of_somebody_else_are_not_taken(world: World) -> None:
    """A leaf no site signed is no leaf: the merge is refused, and names the log."""
    start(world, signed(alone()))
    log = the_log(world)
    claim, leaves = read_log(ReplicaReader(journal_files(log.directory)), world.trust, place="x")
    forged = leaves[2].replace(b"cut off", b"cut 0ff")
    merged = MergedLog()
    leaves[2] = forged
    root = merged.root(leaves, claim.size)
    waiting = {leaf_name(root, i): leaf for i, leaf in enumerate(leaves)}
    claim = LogClaim(origin=claim.origin, size=claim.size, root=root)
    with pytest.raises(MergeError, match="entry 2 is not signed"):
        new_leaves(claim, merged, waiting, world.trust)


def test_of_two_intents_the_higher_token_wins(world: World) -> None:
    """What the majority's leader wanted meanwhile gives way to the later, higher token."""
    start(world, signed(alone()))
    world.fences.unreachable = {"otn-paris", "otn-lyon"}
    world.ask(Verb.FAILOVER, samus=["680"], to="backup")
    world.lead_until_idle()
    merge(world)
    world.lead_until_idle()
    assert {s: world.state().intended_mode(s) for s in ("300", "680", "120")} == {
        "300": "backup", "680": "backup", "120": "nominal",
    }  # fmt: skip


def test_what_a_closed_log_left_open_is_unknown(world: World) -> None:
    """A site killed in the middle: its operation comes home unknown, never done."""
    request = alone()
    world.playbooks.kill_after = kill
    with pytest.raises(KeyboardInterrupt):
        start(world, signed(request))
    merge(world)
    world.lead_until_idle()
    assert world.state().operations[request.request_id].outcome is Outcome.UNKNOWN


def kill(host: str) -> None:
    raise KeyboardInterrupt(host)


def test_a_second_signature_after_the_merge_goes_to_the_leader(world: World) -> None:
    """The leader journals it for the operation it never carried out."""
    request = alone()
    start(world, signed(request))
    merge(world)
    world.lead_until_idle()
    send(world, signed(request, LEAD), request.request_id)
    world.lead_until_idle()
    assert world.state().operations[request.request_id].approvers == (LEAD,)
    assert glass_of(world).facts(the_log(world))["second_due"] == []


def test_a_merged_log_is_not_gone_on_with(world: World) -> None:
    """Cut off again, the site begins another: what is closed stays as it was merged."""
    start(world, signed(alone()))
    merge(world)
    world.lead_until_idle()
    start(world, signed(alone(samus=["680"])))
    assert [(log.number, log.merged_size > 0) for log in glass_of(world).logs()] == [
        (1, True),
        (2, False),
    ]


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        (b"cut off", b"cut 0ff", "is not signed by the key"),
        (b'"index":2', b'"index":3', "was signed as entry 3"),
        (b"", b"", ""),
    ],
)
def test_an_auditor_checks_merged_entries_too(
    world: World, old: bytes, new: bytes, found: str
) -> None:
    """What a site's own log said stands under its own signature in the journal that wraps it."""
    start(world, signed(alone()))
    own = LocalCoordination(the_log(world).directory)
    with world.leading() as term:
        for index, leaf in enumerate(own.read(0, 3)):
            leaf = leaf.replace(old, new) if index == 2 else leaf
            data = {"origin": the_log(world).origin, "index": index, "leaf": parse_canonical(leaf)}
            world_write(term, data)
    verified = verify_directory(journal_files(world.directory / "state"), world.trust)
    assert any(
        found in f.message for f in verified.findings if f.place.startswith("entry")
    ) == bool(found)


def world_write(term: Term, data: dict[str, Any]) -> None:
    """Write a merged entry as a leader would that checks nothing: its fold may refuse it."""
    with suppress(IntegrityError):
        term.writer.write("break-glass.merged", data)


# --- held targets -------------------------------------------------------------------------


def test_a_leader_goes_on_beside_a_held_target(world: World) -> None:
    """Known not done there, journalled as held, and all else moves."""
    start(world, signed(alone(samus=["680"])))
    request = world.ask(Verb.FAILOVER, samus=["300"], to="backup")
    world.lead_until_idle()
    state = world.state()
    assert set(state.held) == {"otn-paris", "otn-lyon"}
    assert state.operations[request.request_id].outcome is Outcome.FAILED
    other = world.ask(Verb.SWITCHOVER, samus=["120"], to="backup")
    world.lead_until_idle()
    assert "target-held" in world.state().answers[other.request_id].rules


def test_a_target_moved_by_hand_is_taken_back_by_enrolling_it(world: World) -> None:
    """Nothing on it changes; the next leader's epoch is above the token it has taken."""
    hand = Token(break_glass_epoch(1, 15), 1)
    world.fences.ask("otn-lyon", "apply", {"token": hand.to_json(), "change": {"300": "nominal"}})
    world.ask(Verb.FAILOVER, samus=["300"], to="backup")
    world.lead_until_idle()
    assert world.state().held == {"otn-lyon": hand}
    wanted = world.ask(Verb.ENROL, targets=["otn-lyon"])
    world.lead_until_idle()
    assert world.state().finished[wanted.request_id] is Outcome.DONE
    assert world.state().floor == hand.epoch
    with_floor(world, hand.epoch)
    world.ask(Verb.FAILOVER, samus=["300"], to="backup")
    world.lead_until_idle()
    assert (world.modes(), world.state().held) == (["backup", "backup"], {})
