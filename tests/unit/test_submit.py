"""Asking and following: one's own answer is found, and whoever waits is told when to stop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from types import ModuleType

import pytest

from sisamu_ops.failover.asking import submit as submitting
from sisamu_ops.failover.asking.submit import Serve, follow, submit
from sisamu_ops.failover.fold.state import State
from sisamu_ops.failover.request import Envelope, Request, Verb, new_request
from sisamu_ops.journal.entry import Entry
from sisamu_ops.journal.port import JournalReader
from sisamu_ops.model.errors import (
    IntegrityError,
    LeadershipError,
    RefusedError,
    UnknownOutcomeError,
)
from sisamu_ops.model.outcome import Outcome
from tests.support.world import ON_CALL, START, World, load_helper, make_world
from tests.unit.test_admission import entries


@pytest.fixture(scope="module")
def helper() -> ModuleType:
    return load_helper()


@pytest.fixture
def world(tmp_path: Path, helper: ModuleType) -> World:
    return make_world(tmp_path / "world", helper)


def a_request(*samus: str, verb: Verb = Verb.FAILOVER) -> Request:
    return new_request(
        platform="world", verb=verb, reason="a test", now=START, lifetime=timedelta(minutes=5),
        samus=samus or ("300",),
    )  # fmt: skip


def ask(
    world: World, request: Request, *, serve: Serve | None, **parts: str
) -> tuple[State, list[Entry]]:
    """Submit as a command does; return the state and what was told."""
    told: list[Entry] = []
    signed = {"signature": "signed", "principal": ON_CALL} | parts
    state, _ = submit(
        world.coordination, world.coordination, world.trust, request.request_id,
        Envelope(document=request.document().decode(), **signed), tell=told.append, serve=serve,
        session_timeout_s=-1,
    )  # fmt: skip
    return state, told


def serving(world: World) -> Serve:
    return lambda *_: world.lead_until_idle()


def test_what_is_asked_is_followed_to_its_end(world: World) -> None:
    """Every entry from the answer to the outcome is told, in order, once."""
    request = a_request()
    state, told = ask(world, request, serve=serving(world))
    assert state.finished[request.request_id] is Outcome.DONE
    assert [entry.index for entry in told] == list(range(state.size))


def test_asked_again_the_first_entry_answers(world: World) -> None:
    """The same request once more is answered from the journal: nothing is sent, nothing done."""
    request = a_request()
    ask(world, request, serve=serving(world))

    def serve(*_: object) -> None:
        raise AssertionError("nothing is carried out again")

    state, told = ask(world, request, serve=serve)
    assert (state.finished[request.request_id], told) == (Outcome.DONE, [])
    assert world.coordination.items() == []


@dataclass
class BadEnd:
    """A journal whose last entry comes late, and does not verify."""

    reader: JournalReader
    late: bool = True

    def size(self) -> int:
        return max(0, self.reader.size() - self.late)

    def read(self, start: int, stop: int) -> list[bytes]:
        leaves = list(self.reader.read(start, stop))
        return leaves if stop < self.reader.size() else [*leaves[:-1], b"{}"]


def test_every_entry_is_read_before_anything_is_called_done(world: World) -> None:
    """An entry that does not verify, after the request is over and told so: it is said."""
    reader = BadEnd(world.coordination)
    request, told = a_request(), []

    def serve(_: object, on_entry: Callable[[Entry], None]) -> None:
        world.lead_until_idle()
        world.lead_until_idle()  # a later tenure's first entry stands last
        on_entry(entries(world)[-1])
        reader.late = False

    with pytest.raises(IntegrityError):
        submit(
            world.coordination, reader, world.trust, request.request_id,
            Envelope(document=request.document().decode(), signature="signed", principal=ON_CALL),
            tell=lambda entry: told.append(entry.kind), serve=serve, session_timeout_s=-1,
        )  # fmt: skip
    assert "operation.ended" in told


@pytest.mark.parametrize("parts", [{}, {"signature": "forged"}], ids=["blocked", "forged"])
def test_a_refusal_is_raised_with_its_remedy(parts: dict[str, str], world: World) -> None:
    """Whoever asked learns the reason, the entry that holds it, the remedy, and the rule."""
    world.fences.unreachable = {"otn-lyon"}
    request = a_request(verb=Verb.SWITCHOVER)
    with pytest.raises(RefusedError) as caught:
        ask(world, request, serve=serving(world), **parts)
    assert caught.value.place.startswith("entry ")
    assert caught.value.remedy
    assert ("routers-read" in caught.value.message) is (parts == {})


def test_another_ones_answer_is_not_mine(world: World) -> None:
    """A forger's refusal under my id does not answer me, nor does my acceptance answer them."""
    request = a_request()
    with pytest.raises(RefusedError):
        ask(world, request, serve=serving(world), signature="forged")
    state, _ = ask(world, request, serve=serving(world))
    assert state.finished[request.request_id] is Outcome.DONE


def test_an_id_answered_for_other_content_is_not_my_answer(world: World) -> None:
    """Under an id that was carried out for another request, mine is refused, never called done."""
    request = a_request()
    ask(world, request, serve=serving(world))
    with pytest.raises(RefusedError, match="other content"):
        ask(world, replace(request, samus=("680",)), serve=serving(world))


def test_without_a_leader_nothing_is_sent(world: World) -> None:
    """A request nobody would answer is not left lying about."""
    with pytest.raises(LeadershipError, match="nothing was sent") as caught:
        ask(world, a_request(), serve=None)
    assert "card" in caught.value.remedy
    assert world.coordination.items() == []


def test_no_answer_is_unknown(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sent and not answered is unknown, and how to follow it is said."""
    monkeypatch.setattr(submitting, "ANSWER_S", 0.05)
    request = a_request()
    with pytest.raises(UnknownOutcomeError, match="not answered") as caught:
        ask(world, request, serve=lambda *_: None)
    assert request.request_id in caught.value.remedy


def test_a_follower_does_not_wait_for_ever(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """An operation that nobody carries on is left after the silence, however much else happens."""
    monkeypatch.setattr(submitting, "SILENCE_S", 0.05)
    request = a_request()
    world.put(request)
    with world.leading() as term:
        term.admission.answer(world.coordination.items()[0])
    told: list[Entry] = []
    with pytest.raises(UnknownOutcomeError, match="no entry came") as caught:
        follow(
            world.coordination,
            world.coordination,
            world.trust,
            request.request_id,
            tell=told.append,
        )
    assert request.request_id in caught.value.remedy
    assert [entry.kind for entry in told] == ["request.accepted"]


def test_what_was_never_asked_cannot_be_followed(world: World) -> None:
    """An id the journal does not hold is refused, with how to list those it holds."""
    with pytest.raises(RefusedError, match="no request or operation") as caught:
        follow(world.coordination, world.coordination, world.trust, "nope", tell=lambda entry: None)
    assert caught.value.remedy == "sisamu operation list"


def test_what_has_ended_is_told_at_once(world: World) -> None:
    """Following an operation that is over tells its entries and returns."""
    request = a_request()
    world.put(request)
    world.lead_until_idle()
    told: list[Entry] = []
    state, _ = follow(
        world.coordination, world.coordination, world.trust, request.request_id, tell=told.append
    )
    assert len(told) == state.size
    assert state.finished[request.request_id] is Outcome.DONE
