"""What the leader accepts and refuses: a refusal is an entry, and changes nothing else."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from threading import Event
from time import monotonic
from types import ModuleType
from typing import Any

import pytest

from sisamu_ops.failover.fold.known import Answer
from sisamu_ops.failover.ports import DatabaseWord
from sisamu_ops.failover.request import Envelope, Request, Verb, digest_of, inbox_name, new_request
from sisamu_ops.failover.safety import RULES
from sisamu_ops.journal.canonical import canonical_bytes
from sisamu_ops.journal.entry import Entry, open_entry
from sisamu_ops.journal.port import InboxItem
from sisamu_ops.model.outcome import Outcome
from sisamu_ops.model.token import Token, break_glass_epoch
from tests.support.world import ON_CALL, START, World, load_helper, make_world

STRANGER = "stranger@elsewhere"
MINUTES = timedelta(minutes=1)


@pytest.fixture(scope="module")
def helper() -> ModuleType:
    return load_helper()


@pytest.fixture
def world(tmp_path: Path, helper: ModuleType) -> World:
    return make_world(tmp_path / "world", helper)


def a_request(verb: Verb = Verb.FAILOVER, **changes: Any) -> Request:
    made = new_request(
        platform="world", verb=verb, reason="a test", now=START, lifetime=5 * MINUTES,
        samus=["300"] if verb.moves else (),
    )  # fmt: skip
    return replace(made, **changes)


def enveloped(request: Request, signature: str = "signed", principal: str = ON_CALL) -> InboxItem:
    document = request.document().decode()
    payload = Envelope(document=document, signature=signature, principal=principal).payload()
    return InboxItem(name=inbox_name(request.request_id, payload), payload=payload)


def raw(payload: bytes, name: str = "odd.item") -> InboxItem:
    return InboxItem(name=name, payload=payload)


def entries(world: World, kind: str = "") -> list[Entry]:
    leaves = world.coordination.read(0, world.coordination.size())
    found = [open_entry(leaf).entry for leaf in leaves]
    return [entry for entry in found if entry.kind.startswith(kind)]


def targets_as_they_are(world: World) -> dict[str, Any]:
    """Return everything a change would touch: durable lists, running values, fences."""
    files = [p for p in (world.directory / "hosts").rglob("*") if p.is_file()]
    return {str(p): p.read_bytes() for p in files} | {"running": json.dumps(world.fences.running)}


def answers(world: World, *items: InboxItem) -> list[Entry]:
    """Put items, lead until idle, and return the entries that answer requests."""
    for item in items:
        world.coordination.put(item)
    world.lead_until_idle()
    return entries(world, "request.")


def changed(request: Request, **fields: Any) -> InboxItem:
    """Wrap a document no `Request` can hold."""
    document = json.loads(request.document()) | fields
    envelope = {
        "document": canonical_bytes(document).decode(), "signature": "signed",
        "principal": ON_CALL,
    }  # fmt: skip
    return raw(canonical_bytes(envelope))


REFUSED: dict[str, Callable[[], InboxItem]] = {
    "unsigned": lambda: enveloped(a_request(), signature=""),
    "badly signed": lambda: enveloped(a_request(), signature="forged"),
    "signed by nobody known": lambda: enveloped(a_request(), principal="nobody@lab"),
    "signed by one who is no operator": lambda: enveloped(a_request(), principal=STRANGER),
    "expired": lambda: enveloped(a_request(expires=START)),
    "never valid": lambda: enveloped(a_request(expires=START - MINUTES)),
    "from the future": lambda: enveloped(
        a_request(created=START + 6 * MINUTES, expires=START + 10 * MINUTES)
    ),
    "living too long": lambda: enveloped(a_request(expires=START + timedelta(hours=24, seconds=1))),
    "for another platform": lambda: enveloped(a_request(platform="other")),
    "no bytes": lambda: raw(b""),
    "bytes of no form": lambda: raw(b"\x00\xff" * 50),
    "JSON of another shape": lambda: raw(b'[{"a":1}]'),
    "nested deeply": lambda: raw(b"[" * 50_000),
    "a principal no program can be given": lambda: enveloped(a_request(), principal="a\x00b"),
    "an endless principal": lambda: enveloped(a_request(), principal="a" * 200_000),
    "an endless signature": lambda: enveloped(a_request(), signature="a" * 200_000),
    "a time without zone": lambda: changed(a_request(), expires="2026-01-03Z"),
    "unknown SAMU": lambda: enveloped(a_request(samus=("999",))),
    "no SAMU": lambda: enveloped(a_request(samus=())),
    "unknown target": lambda: enveloped(a_request(Verb.ENROL, targets=("otn-lille",))),
    "wrong direction out": lambda: enveloped(a_request(to="nominal")),
    "wrong direction back": lambda: enveloped(a_request(Verb.FAILBACK, to="backup")),
    "a mode not in the order": lambda: enveloped(a_request(to="degraded")),
    "phone number in the reason": lambda: enveloped(a_request(reason="caller 06 39 98 01 02")),
    "another plan than reviewed": lambda: enveloped(a_request(plan="ab" * 32)),
}


@pytest.mark.parametrize("why", sorted(REFUSED))
def test_refused_journalled_and_nothing_changed(why: str, world: World) -> None:
    """Each is refused by one entry with digest and remedy; the inbox is empty, targets as before.

    The entry holds nothing of the refused bytes: not the document, not a phone number.
    """
    world.signers.add(STRANGER)
    before = targets_as_they_are(world)
    item = REFUSED[why]()
    (answer,) = answers(world, item)
    assert answer.kind == "request.refused"
    assert answer.data["digest"] == digest_of(item.payload)
    assert answer.data["remedy"]
    assert answer.data["reason"]
    leaf = world.coordination.read(answer.index, answer.index + 1)[0]
    assert not item.payload or item.payload not in leaf
    assert not any(word in leaf for word in (b"06 39 98", b"a test", b"SSH SIG", b"aaaaaaaaaa"))
    assert world.coordination.items() == []
    assert targets_as_they_are(world) == before
    assert world.state().operations == {}


@pytest.mark.parametrize(
    ("why", "said"),
    [
        ("unsigned", "not signed"),
        ("badly signed", "does not verify"),
        ("signed by one who is no operator", "not authorised"),
        ("expired", "expired"),
        ("from the future", "from the future"),
        ("living too long", "over 24 hours"),
        ("for another platform", "for platform 'other'"),
        ("unknown SAMU", "no SAMU matches '999'"),
        ("phone number in the reason", "telephone number"),
    ],
)
def test_a_refusal_says_why(why: str, said: str, world: World) -> None:
    """Whoever reads the journal learns which check it was that refused."""
    world.signers.add(STRANGER)
    (answer,) = answers(world, REFUSED[why]())
    assert said in str(answer.data["reason"])


def test_the_same_request_in_good_form_is_accepted(world: World) -> None:
    """What the refused ones are variations of is accepted: its words and signature are kept."""
    item = enveloped(request := a_request())
    (answer,) = answers(world, item)
    assert answer.kind == "request.accepted"
    kept = answer.data["request"]
    assert isinstance(kept, dict)
    assert kept["document"] == request.document().decode()
    assert (kept["signature"], kept["principal"]) == ("signed", ON_CALL)
    assert world.modes() == ["backup", "backup"]


@pytest.mark.parametrize(
    "changes",
    [
        {"created": START + 5 * MINUTES, "expires": START + 10 * MINUTES},
        {"expires": START + timedelta(hours=24)},
        {"expires": START + timedelta(milliseconds=1)},
    ],
    ids=["a clock five minutes ahead", "a day of life", "just in time"],
)
def test_at_the_edge_of_time_is_accepted(changes: dict[str, Any], world: World) -> None:
    """The bounds of time are the last good values, not the first bad ones."""
    assert answers(world, enveloped(a_request(**changes)))[0].kind == "request.accepted"


@pytest.mark.parametrize("why", ["badly signed", "unknown SAMU", "bytes of no form", "expired"])
def test_the_same_refused_bytes_get_no_second_entry(why: str, world: World) -> None:
    """The first refusal answers the same bytes for ever, under whichever name they come."""
    item = REFUSED[why]()
    answers(world, item)
    again = answers(world, item, raw(item.payload, "other.name"))
    assert len(again) == 1


def test_the_same_accepted_bytes_get_no_second_entry(world: World) -> None:
    """Sent again, an accepted request moves nothing and gets no entry."""
    item = enveloped(a_request())
    answers(world, item)
    sent = len(world.playbooks.sent)
    assert len(answers(world, item)) == 1
    assert len(world.playbooks.sent) == sent
    assert len(world.state().operations) == 1


def test_duplicates_leave_with_the_next_entry(world: World) -> None:
    """What needs no entry of its own leaves the inbox with the next request's."""
    item = enveloped(a_request())
    answers(world, item)
    answers(world, item)
    assert world.coordination.items() == [item]
    answers(world, enveloped(a_request(Verb.RECONCILE)))
    assert world.coordination.items() == []


def test_a_duplicate_is_removed_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one duplicate one removal: to remove what is gone would cost the leadership."""
    item = enveloped(a_request())
    answers(world, item)
    consumed: list[list[str]] = []
    with world.leading() as term:
        write = term.writer.write

        def note(kind: str, data: Any, *, consume: Any = ()) -> Entry:
            consumed.append(sorted(consume))
            return write(kind, data, consume=consume)

        monkeypatch.setattr(term.writer, "write", note)
        others = [enveloped(a_request(Verb.RECONCILE)) for _ in range(2)]
        for one in (item, item, *others):
            term.admission.answer(one)
    assert consumed == [sorted([item.name, others[0].name]), [others[1].name]]


def test_other_content_under_a_known_id_is_refused(world: World) -> None:
    """An id is used once: the first answer stands, what comes later under it is refused."""
    first = a_request()
    other = replace(first, samus=("680",))
    answers(world, enveloped(first))
    _, refusal = [e for e in answers(world, enveloped(other)) if e.kind != "request.finished"]
    assert refusal.kind == "request.refused"
    assert "other content" in str(refusal.data["reason"])
    state = world.state()
    assert state.answers[first.request_id].accepted
    assert state.operations[first.request_id].samus == ("300",)
    assert world.modes("680") == ["nominal", "nominal"]


@pytest.mark.parametrize("forged", [{"signature": "forged"}, {"principal": STRANGER}], ids=repr)
def test_nobody_takes_an_id_that_is_not_theirs(forged: dict[str, str], world: World) -> None:
    """A badly signed or unauthorised request does not use up the true requester's id."""
    world.signers.add(STRANGER)
    request = a_request()
    refused = answers(world, enveloped(request, **forged))
    assert refused[0].data["id"] == ""
    assert answers(world, enveloped(request))[-1].kind == "request.accepted"
    assert world.state().answers[request.request_id].accepted


def test_a_refused_request_uses_up_its_id(world: World) -> None:
    """Whoever proved who they are gets one answer an id: a refusal, told by that id."""
    request = a_request(samus=("999",))
    answers(world, enveloped(request))
    answer: Answer = world.state().answers[request.request_id]
    assert (answer.accepted, answer.request_id) == (False, request.request_id)
    mended = replace(request, samus=("300",))
    assert answers(world, enveloped(mended))[-1].kind == "request.refused"


def test_the_name_in_the_inbox_carries_no_number(world: World) -> None:
    """Anybody names an item; a phone number there does not enter the journal either."""
    (answer,) = answers(world, raw(b"x", "0639980102"))
    assert "0639980102" not in str(answer.data)


def test_a_plan_as_reviewed_is_carried_out(world: World) -> None:
    """The digest that was printed is the digest that is judged; a finding more is another plan."""
    with world.leading() as term:
        plan = term.admission.judge.plan(a_request())
    (answer,) = answers(world, enveloped(a_request(plan=plan.digest)))
    assert (answer.kind, answer.data["plan"]) == ("request.accepted", plan.digest)


def test_a_plan_that_changed_since_is_refused(world: World) -> None:
    """What was reviewed no longer being so, nothing is done and the difference is named."""
    with world.leading() as term:
        plan = term.admission.judge.plan(a_request())
    world.fences.unreachable = {"otn-lyon"}
    (answer,) = answers(world, enveloped(a_request(plan=plan.digest)))
    assert (answer.kind, answer.data["rules"]) == ("request.refused", ["plan-digest"])
    assert plan.digest[:16] in str(answer.data["reason"])
    assert world.modes() == ["nominal", "nominal"]


def test_a_word_that_is_no_mode_stops_nobody(world: World) -> None:
    """Routers holding a word set wrongly by hand: unknown, a finding, and moved by a rescue."""
    for router in world.platform.routers:
        world.fences.running[router]["300"] = "bakcup"
        question = {"token": Token(0, 1).to_json(), "change": {"300": "backup"}}
        world.fences.ask(router, "apply", question)
        durable = world.fences.root / router / "samu_mode"
        durable.write_text(durable.read_text().replace("backup", "bakcup"))
        world.fences.running[router]["300"] = "bakcup"
    answer = answers(world, enveloped(a_request()))[0]
    assert "mode-known" in str(answer.data["findings"])
    assert world.modes() == ["backup", "backup"]


# --- each rule: what breaks it, for which verb it blocks, and that it passes otherwise ------


HAND = Token(break_glass_epoch(1, 15), 1)


def no_test_number(world: World) -> None:
    samus = {k: replace(s, test_number="") for k, s in world.platform.samus.items()}
    world.platform = replace(world.platform, samus=samus)


def cut_router(world: World) -> None:
    world.fences.unreachable = {"otn-lyon"}


def rebuilt_router(world: World) -> None:
    (world.fences.root / "otn-lyon" / "fence.state").unlink()


def rebuilt_gateway(world: World) -> None:
    (world.fences.root / "samu-300" / "fence.state").unlink()


def unsettled(world: World) -> None:
    world.fences.unreachable = {"otn-lyon"}
    world.put(a_request())
    world.lead_until_idle()
    world.fences.unreachable = set()


def differing(world: World) -> None:
    world.fences.running["otn-lyon"]["300"] = "backup"


def paused(world: World) -> None:
    """The leader is paused for maintenance."""
    world.ask(Verb.PAUSE)
    world.lead_until_idle()


def unreplicated(world: World) -> None:
    """More entries wait for a majority of replicas than may."""
    policy = replace(world.platform.policy, untrimmed_limit=0)
    world.platform = replace(world.platform, policy=policy)


def moved_by_hand(world: World) -> None:
    """Somebody has moved the SAMU with the card's token: above every leader's epoch."""
    for host in ("otn-lyon", "samu-300"):
        values = world.fences.running[host]
        now = values.get("300", "unarmed" if host == "samu-300" else "nominal")
        world.fences.ask(host, "apply", {"token": HAND.to_json(), "change": {"300": now}})


def database_lost(world: World) -> None:
    """The database has no majority, or nobody can say."""
    lost = DatabaseWord(holds=False, said="galera LOST: no data node serves")
    world.database = lambda: lost


BREAKS: dict[str, list[Callable[[World], None]]] = {
    "test-number": [no_test_number],
    "routers-read": [cut_router],
    "targets-enrolled": [rebuilt_router, rebuilt_gateway],
    "one-operation": [unsettled],
    "mode-known": [differing],
    "leader-paused": [paused],
    "journal-untrimmed": [unreplicated],
    "target-held": [moved_by_hand],
    "database-quorum": [database_lost],
}
CASES = [(rule, how) for rule, hows in BREAKS.items() for how in hows]


def on_backup(world: World) -> None:
    world.put(a_request())
    world.lead_until_idle()
    assert world.modes() == ["backup", "backup"]


def test_every_rule_is_tried_here() -> None:
    """No rule is added without a world that breaks it."""
    assert set(BREAKS) | {"mode-changes", "database-survives"} == {
        r.rule_id for r in RULES.values() if not r.needs_settings
    }


@pytest.mark.parametrize(("rule", "how"), CASES, ids=lambda v: getattr(v, "__name__", v))
@pytest.mark.parametrize("verb", [Verb.SWITCHOVER, Verb.FAILBACK])
def test_a_rule_blocks_planned_work(
    rule: str, how: Callable[[World], None], verb: Verb, world: World
) -> None:
    """Planned work against a rule is refused by its name, and no playbook runs."""
    if verb is Verb.FAILBACK and how is not unsettled:
        on_backup(world)
        if how is differing:
            world.fences.running["otn-lyon"]["300"] = "nominal"
    if how is not differing or verb is Verb.SWITCHOVER:
        how(world)
    sent, before = len(world.playbooks.sent), targets_as_they_are(world)
    answer = answers(world, enveloped(a_request(verb)))[-1]
    assert answer.kind == "request.refused"
    rules = answer.data["rules"]
    assert isinstance(rules, list)
    assert rule in rules
    assert answer.data["remedy"]
    assert len(world.playbooks.sent) == sent
    assert targets_as_they_are(world) == before


@pytest.mark.parametrize(("rule", "how"), CASES, ids=lambda v: getattr(v, "__name__", v))
def test_no_rule_blocks_a_rescue(rule: str, how: Callable[[World], None], world: World) -> None:
    """For a failover the same is a finding in its entry, and what can be moved is moved."""
    how(world)
    accepted = [e for e in answers(world, enveloped(a_request())) if e.kind == "request.accepted"]
    findings = accepted[-1].data["findings"]
    assert isinstance(findings, list)
    assert any(str(finding).startswith(f"{rule}: ") for finding in findings)
    assert world.modes()[0] == "backup"


@pytest.mark.parametrize("verb", [Verb.SWITCHOVER, Verb.FAILOVER, Verb.FAILBACK])
def test_a_sound_platform_breaks_no_rule(verb: Verb, world: World) -> None:
    """With both sides healthy nothing is found, and each verb ends done."""
    if verb is Verb.FAILBACK:
        on_backup(world)
    request = a_request(verb)
    answer = answers(world, enveloped(request))[-1]
    assert (answer.kind, answer.data["findings"]) == ("request.accepted", [])
    assert world.state().operations[request.request_id].outcome is Outcome.DONE


def test_a_database_that_holds_blocks_nothing(world: World) -> None:
    """Its good word is no finding."""
    world.database = lambda: DatabaseWord(holds=True, said="galera QUORATE")
    (answer,) = answers(world, enveloped(a_request(Verb.SWITCHOVER)))
    assert (answer.kind, answer.data["findings"]) == ("request.accepted", [])


def test_a_rescue_does_not_wait_for_the_database(world: World) -> None:
    """A database that does not answer holds up planned work, and no rescue."""
    answered = Event()

    def hang() -> None:
        answered.wait(20)

    world.database = hang
    began = monotonic()
    try:
        (answer,) = answers(world, enveloped(a_request()))
        assert monotonic() - began < 10
    finally:
        answered.set()
    assert (answer.kind, answer.data["findings"]) == ("request.accepted", [])


def test_a_database_whose_asking_fails_does_not_count_as_well(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planned work is refused: nobody can say whether it holds."""
    monkeypatch.setattr(threading, "excepthook", lambda _: None)

    def fail() -> None:
        raise RuntimeError("a bug")

    world.database = fail
    (answer,) = answers(world, enveloped(a_request(Verb.SWITCHOVER)))
    assert answer.data["rules"] == ["database-quorum"]


def test_moving_to_where_it_is_blocks_a_switchover_only(world: World) -> None:
    """A SAMU on backup already: a switchover is refused, a rescue goes there again."""
    on_backup(world)
    refused = answers(world, enveloped(a_request(Verb.SWITCHOVER)))[-1]
    assert refused.data["rules"] == ["mode-changes"]
    accepted = answers(world, enveloped(a_request()))[-1]
    assert "mode-changes: " in str(accepted.data["findings"])


def test_a_failback_from_nominal_is_only_a_finding(world: World) -> None:
    """Returning what is nominal already is allowed: it proves and disarms again."""
    (answer,) = answers(world, enveloped(a_request(Verb.FAILBACK)))
    assert answer.kind == "request.accepted"
    assert "mode-changes: " in str(answer.data["findings"])
