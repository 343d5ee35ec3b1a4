"""The fold: one journal gives one state, whatever was unknown or malformed is not passed over."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from sisamu_ops.failover.fold.state import _HANDLERS, State, fold
from sisamu_ops.failover.request import Verb, rfc3339
from sisamu_ops.model.errors import IntegrityError
from sisamu_ops.model.outcome import Outcome
from sisamu_ops.model.token import Token
from tests.support.told import DATA, ID, START, TARGETS, folded, numbered, told

ACCEPTED = ("request.accepted", {})
STARTED = ("step.started", {})
OTHER = "switchover-abcdef012345"


def outcome(host: str, word: str, step: int = 1) -> tuple[str, dict[str, Any]]:
    return "step.outcome", {"target": host, "outcome": word, "step": step}


def ended(word: str, moved: bool = True) -> tuple[str, dict[str, Any]]:
    return "operation.ended", {"outcome": word, "moved": moved}


def accepted(verb: str, to: str, request_id: str = OTHER) -> tuple[str, dict[str, Any]]:
    return "request.accepted", {"id": request_id, "verb": verb, "to": to}


def test_every_kind_folded_has_an_example_here() -> None:
    """No kind is added to the fold without data these tests know."""
    assert set(DATA) == set(_HANDLERS)


def test_an_entry_out_of_place_is_a_bug() -> None:
    """The fold takes the next entry only: a gap or a repetition is never folded."""
    state = fold(numbered([("leadership.taken", {})]))
    for index in (0, 2):
        with pytest.raises(ValueError, match="where 1 is next"):
            state.apply(told("leadership.taken", index))


def test_unknown_kinds_are_counted_and_change_nothing() -> None:
    """An entry of a later version is noted, so that this one does not lead."""
    state = folded(ACCEPTED)
    entry = told("request.accepted", 1)
    state.apply(replace(entry, kind="gate.passed", data={"id": "x"}))
    assert state.unknown_kinds == {"gate.passed"}
    assert (state.size, list(state.operations), list(state.answers)) == (2, [ID], [ID])


NEEDED = [
    (kind, name)
    for kind, names in {
        "request.accepted": ("id", "digest", "verb", "samus", "to", "request", "plan", "changes",
                             "findings", "reason"),
        "request.refused": ("id", "digest", "reason", "remedy", "rules"),
        "request.finished": ("request", "outcome"),
        "step.started": ("operation", "playbook", "targets"),
        "step.outcome": ("operation", "step", "target", "outcome", "detail"),
        "call.proved": ("operation",),
        "operation.ended": ("operation", "outcome", "moved", "detail"),
        "enrol.outcome": ("target", "token", "outcome"),
        "report.received": ("id",),
    }.items()
    for name in names
]  # fmt: skip


@pytest.mark.parametrize(("kind", "name"), NEEDED)
def test_an_entry_without_what_its_kind_promises_is_told(kind: str, name: str) -> None:
    """A signed entry may still be wrong: it ends the fold with its index, it is not skipped."""
    entries = numbered([ACCEPTED, STARTED, (kind, {})])
    data = {k: v for k, v in entries[2].data.items() if k != name}
    state = fold(entries[:2])
    wrong = replace(entries[2], data=data)
    with pytest.raises(IntegrityError, match=f"entry 2 \\({kind}\\)") as caught:
        state.apply(wrong)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("request.accepted", {"verb": "explode"}),
        ("request.accepted", {"samus": 300}),
        ("request.accepted", {"id": ["x"]}),
        ("request.accepted", {"request": "x"}),
        ("request.finished", {"outcome": "maybe"}),
        ("step.started", {"operation": "failover-unheard-of"}),
        ("step.outcome", {"step": 7}),
        ("operation.ended", {"outcome": None}),
        ("enrol.outcome", {"token": 3}),
        ("report.received", {"id": {}}),
    ],
    ids=repr,
)
def test_an_entry_of_wrong_types_is_told(kind: str, changes: dict[str, Any]) -> None:
    """Words no outcome has, operations never accepted: an integrity failure, not a crash."""
    with pytest.raises(IntegrityError, match=f"entry 1 \\({kind}\\)"):
        folded(ACCEPTED, (kind, changes))


def test_intent_is_journalled_at_acceptance() -> None:
    """From the acceptance on the wanted mode is the new one; nominal is wanted by default."""
    assert State().intended_mode("300") == "nominal"
    state = folded(ACCEPTED)
    assert (state.intended_mode("300"), state.intended_mode("680")) == ("backup", "nominal")


@pytest.mark.parametrize(
    ("end", "wanted"),
    [
        (ended("done"), "backup"),
        (ended("failed", moved=True), "backup"),
        (ended("unknown", moved=True), "backup"),
        (ended("unknown", moved=False), "backup"),
        (ended("failed", moved=False), "nominal"),
    ],
    ids=repr,
)
def test_intent_reverts_only_when_nothing_moved(end: Any, wanted: str) -> None:
    """A failure that moved nothing takes its wish back; unknown never does."""
    assert folded(ACCEPTED, end).intended_mode("300") == wanted


def test_intent_reverts_to_what_was_wanted_before() -> None:
    """A failback that moved nothing leaves backup wanted, as before it."""
    state = folded(
        ACCEPTED, ended("done"), accepted("failback", "nominal"),
        ("operation.ended", {"operation": OTHER, "outcome": "failed", "moved": False}),
    )  # fmt: skip
    assert state.intended_mode("300") == "backup"


def test_a_newer_wish_outlives_an_older_failure() -> None:
    """What was asked anew meanwhile is not taken back by the older one's end."""
    state = folded(
        ACCEPTED, accepted("switchover", "degraded"), ended("failed", moved=False),
        ("operation.ended", {"operation": OTHER, "outcome": "done", "moved": True}),
    )  # fmt: skip
    assert state.intended_mode("300") == "degraded"


def test_an_operation_keeps_who_why_and_what() -> None:
    """All that was accepted is told of an operation."""
    operation = folded(ACCEPTED).operations[ID]
    assert (operation.principal, operation.reason) == ("oncall@lab", "flooded")
    assert (operation.verb, operation.samus, operation.to) == (Verb.FAILOVER, ("300",), "backup")
    assert operation.targets == TARGETS
    assert operation.outcome is None


def test_a_start_without_outcome_is_unknown() -> None:
    """`started` and nothing after it is unknown for each of its targets."""
    operation = folded(ACCEPTED, STARTED).operations[ID]
    assert operation.steps[0].token == Token(1, 1)
    assert set(operation.target_outcomes().values()) == {Outcome.UNKNOWN}
    assert operation.unsettled() == list(TARGETS)
    assert operation.overall() is Outcome.UNKNOWN


def test_nothing_sent_is_failed() -> None:
    """An operation none of whose steps began is known not done."""
    assert folded(ACCEPTED).operations[ID].overall() is Outcome.FAILED


def wave_ended(**words: str) -> tuple[str, dict[str, Any]]:
    """Return what became of SAMUs, written `s300="done"`; failed ones have not moved."""
    said = {
        name[1:]: {"outcome": word, "to": "backup", "moved": word != "failed", "detail": ""}
        for name, word in words.items()
    }
    return "wave.ended", {"samus": said}


BOTH = {"samus": ["300", "680"], "waves": [["300"], ["680"]]}


@pytest.mark.parametrize(
    ("words", "overall"),
    [
        ({"s300": "done", "s680": "done"}, Outcome.DONE),
        ({"s300": "done", "s680": "failed"}, Outcome.FAILED),
        ({"s300": "unknown", "s680": "failed"}, Outcome.UNKNOWN),
        ({"s680": "done"}, Outcome.UNKNOWN),
    ],
)
def test_one_unknown_makes_all_unknown(words: dict[str, str], overall: Outcome) -> None:
    """Any unknown is unknown, else any failed is failed; begun and silent is unknown."""
    accepted = ("request.accepted", BOTH)
    assert folded(accepted, STARTED, wave_ended(**words)).operations[ID].overall() is overall


def test_each_samu_has_its_own_end() -> None:
    """Intents follow the SAMUs: one not moved is wanted where it was, one not begun too."""
    end = ("operation.ended", {"outcome": "failed", "not_begun": ["120"]})
    three = {"samus": ["120", "300", "680"], "waves": [["300", "680"], ["120"]]}
    state = folded(("request.accepted", three), wave_ended(s300="done", s680="failed"), end)
    assert [state.intended_mode(s) for s in three["samus"]] == ["nominal", "backup", "nominal"]
    assert state.operations[ID].not_begun() == ["120"]
    assert state.operations[ID].samus_with(Outcome.FAILED) == ["680"]


def test_what_was_unknown_may_be_settled_later() -> None:
    """A later word on a SAMU of a wave replaces the first; the wave ended when it first did."""
    state = folded(ACCEPTED, wave_ended(s300="unknown"), wave_ended(s300="done"))
    operation = state.operations[ID]
    assert operation.ends["300"].outcome is Outcome.DONE
    assert operation.waves_ended == {0: rfc3339(START + timedelta(seconds=1))}
    assert state.unknown() == []


def test_a_rescue_that_fell_to_another_mode_wants_that_one() -> None:
    """What it was brought to is what is intended; drift would be shown otherwise."""
    fell = {"300": {"outcome": "done", "to": "degraded", "moved": True, "detail": ""}}
    assert folded(ACCEPTED, ("wave.ended", {"samus": fell})).intended_mode("300") == "degraded"


def steering(verb: str) -> tuple[str, dict[str, Any]]:
    return "request.accepted", {"id": f"{verb}-1", "verb": verb, "about": ID}


def test_an_operation_is_held_gone_on_with_and_aborted() -> None:
    """Each is a request of its own, done once it is accepted."""
    held = folded(ACCEPTED, wave_ended(s300="failed"), steering("hold"))
    assert held.operations[ID].held == "by oncall@lab: flooded"
    assert held.finished["hold-1"] is Outcome.DONE
    held.apply(told("request.accepted", 3, **steering("go-on")[1]))
    assert (held.operations[ID].held, held.operations[ID].excused) == ("", {"300"})
    held.apply(told("request.accepted", 4, **steering("abort")[1]))
    assert held.operations[ID].aborted_by == "oncall@lab"


def test_the_latest_word_on_a_target_counts() -> None:
    """A second step's outcome replaces the first's, and an outcome counts for its step only."""
    first = [outcome(host, "failed") for host in TARGETS]
    second = [outcome("otn-lyon", "done", step=5)]
    operation = folded(ACCEPTED, STARTED, *first, STARTED, *second).operations[ID]
    assert operation.target_outcomes()["otn-lyon"] is Outcome.DONE
    assert operation.target_outcomes()["otn-paris"] is Outcome.UNKNOWN
    assert operation.steps[0].open_targets() == []
    assert operation.steps[1].open_targets() == ["samu-300", "otn-paris"]


def test_rescues_go_first() -> None:
    """Of what waits, a failover goes before planned work; otherwise the oldest first."""
    state = folded(
        accepted("switchover", "backup", "switchover-1"),
        accepted("switchover", "backup", "switchover-2"),
        accepted("failover", "backup", "failover-1"),
    )
    waiting = [o.operation_id for o in state.running()]
    assert waiting == ["failover-1", "switchover-1", "switchover-2"]


def test_an_operation_is_open_until_it_is_settled() -> None:
    """Running or unknown is open; done or failed is not; the newest on a SAMU speaks for it."""
    assert folded(ACCEPTED).open_operation("300") is not None
    assert folded(ACCEPTED, ended("unknown")).open_operation("300") is not None
    assert folded(ACCEPTED, ended("done")).open_operation("300") is None
    assert folded(ACCEPTED).open_operation("680") is None
    newer = ("operation.ended", {"operation": OTHER, "outcome": "done"})
    state = folded(ACCEPTED, ended("unknown"), accepted("failover", "backup"), newer)
    assert (state.open_operation("300"), state.unknown()) == (None, [])
    assert [o.operation_id for o in folded(ACCEPTED, ended("unknown")).unknown()] == [ID]


def test_the_first_answer_to_an_id_stands() -> None:
    """A later refusal under an accepted id is told by its digest and does not replace it."""
    state = folded(ACCEPTED, ("request.refused", {"id": ID, "digest": "d9"}))
    assert state.answers[ID].accepted
    assert not state.answers["d9"].accepted
    assert state.answers["d9"].rules == ("plan-digest",)


def test_the_leader_is_whoever_took_it_last() -> None:
    """Leadership is folded with its epoch, and left only by its holder."""
    taken = told("leadership.taken", 0, epoch=4)
    state = fold([taken])
    assert (state.leader_site, state.epoch) == ("lyon", 4)
    assert state.leaderships == [("lyon", 4, taken.time)]
    state.apply(told("leadership.left", 1, epoch=4))
    assert (state.leader_site, state.epoch) == ("", 4)


def test_requests_that_move_nothing_wait_until_finished() -> None:
    """A reconcile and an enrolment are remembered with what they name, until their end."""
    state = folded(
        ("request.accepted", {"id": "reconcile-1", "verb": "reconcile"}),
        ("request.accepted", {"id": "enrol-1", "verb": "enrol", "targets": ["otn-lyon"]}),
        ("enrol.outcome", {}),
        ("enrol.outcome", {"target": "otn-paris", "outcome": "failed"}),
        ("request.finished", {}),
        ("report.received", {}),
    )
    assert state.reconciles == {"reconcile-1": 0}
    assert state.enrolments == {"enrol-1": ("otn-lyon",)}
    assert state.enrolled == {"otn-lyon": Token(3, 9)}
    assert state.finished == {"reconcile-1": Outcome.DONE}
    assert state.reports == {"r1"}
    assert state.operations == {}


def test_times_come_from_entries() -> None:
    """The fold reads no clock: acceptance and end are the entries' own times."""
    operation = folded(ACCEPTED, ended("done")).operations[ID]
    assert operation.accepted_at.startswith(START.isoformat()[:19])
    assert operation.ended_at > operation.accepted_at
    assert (operation.index, operation.ended_index) == (0, 1)
