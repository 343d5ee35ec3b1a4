"""Entries in plain words: every kind has a sentence, and the sentence says the facts."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from sisamu_ops.failover.fold.state import _HANDLERS
from sisamu_ops.failover.telling.story import _TELLERS, story, tell
from tests.support.told import DATA, ID, LOG, numbered, told

SAID = {
    "leadership.taken": ["lyon", "epoch 4"],
    "leadership.left": ["lyon", "epoch 4", "to paris", "transfer"],
    "request.accepted": ["oncall@lab", "failover", "SAMU 300", "backup", "flooded", "mode-known"],
    "request.refused": ["odd.item", "plan-digest", "it has expired"],
    "request.waiting": ["oncall@lab", "switchover", "300, 680", "waits until", "second signature"],
    "request.finished": ["done"],
    "step.started": ["lyon", "samu_failover.yml", "token 4.7", "otn-paris", "samu-300"],
    "step.outcome": ["otn-paris", "done", "read back"],
    "call.proved": ["otn-paris", "backup;samu=300", "42 ms"],
    "path.chosen": ["SAMU 300", "goes to degraded", "backup refuses calls"],
    "wave.ended": ["Wave 1", "SAMU 300 done on backup"],
    "soak.probed": ["wave 1", "2 test calls", "over"],
    "operation.held": ["SAMU 300 ended failed", "Nothing more begins"],
    "operation.ended": ["done", "all well"],
    "seal.started": ["lyon", "otn-paris", "token 4.7", "takeover"],
    "seal.outcome": ["otn-paris", "otn-lyon could not be sealed: cut off"],
    "enrol.started": ["lyon", "otn-lyon"],
    "enrol.outcome": ["otn-lyon", "done", "a new fence"],
    "check.started": ["lyon", "samu-300", "backup", "token 4.7"],
    "check.ended": ["backup", "SAMU 300", "680: silent"],
    "report.received": ["paris", "2.7", "otn-lyon", "older-token"],
    "rules.adopted": ["policy ab12ab12ab12", "version 0.2.0", "paris, lyon"],
    "alarm.raised": ["lille", "replica-diverged", "another root"],
    "trigger.observed": ["paris", "no call for 60 s", "failover", "SAMU 300", "backup"],
    "inbox.overflowed": ["2 documents"],
    "request.approved": ["lead@lab", ID],
    "target.held": ["otn-paris", "4563402752.3"],
    "break-glass.begun": ["lyon", "alone", "16 agreed entries"],
    "break-glass.merged": ["break-glass-lyon-1 0", "2026-01-02", "lyon broke the glass"],
    "break-glass.closed": ["world/break-glass-lyon-1", "2 entries", "4563402752"],
}


def test_every_kind_of_the_fold_has_a_sentence() -> None:
    """What changes the state can be told; what can be told is folded."""
    assert set(_TELLERS) == set(_HANDLERS) == set(SAID)


@pytest.mark.parametrize("kind", sorted(SAID))
def test_a_sentence_says_the_facts(kind: str) -> None:
    """Who, what, where, with which token and what came of it stand in the sentence."""
    sentence = tell(told(kind, 7, epoch=4))
    assert [fact for fact in SAID[kind] if fact not in sentence] == []
    assert re.fullmatch(r"\S.*\.", sentence)


@pytest.mark.parametrize(
    ("verb", "changes", "said"),
    [
        ("enrol", {"targets": ["otn-lyon"]}, "enrol otn-lyon"),
        ("reconcile", {}, "settle every unknown outcome"),
        ("transfer", {"to": "paris"}, "transfer leadership to paris"),
        ("step-down", {"to": ""}, "step down"),
        ("adopt", {}, "adopt the rules"),
        ("merge", {"log": {"origin": LOG, "size": 2}}, f"merge {LOG}, 2 entries"),
        ("pause", {}, "nothing but rescues"),
        ("resume", {}, "resume after a pause"),
        ("hold", {"about": ID}, f"hold {ID}"),
        ("go-on", {"about": ID}, f"go on with {ID}"),
        ("abort", {"about": ID}, f"abort {ID}"),
    ],
)
def test_other_requests_are_told_too(verb: str, changes: dict[str, object], said: str) -> None:
    """An enrolment and a reconcile name no SAMU, and are told without one."""
    data = {k: DATA["request.accepted"][k] for k in ("id", "digest", "reason", "request")}
    entry = replace(told("request.accepted"), data=data | {"verb": verb} | changes)
    assert said in tell(entry)


def test_silence_is_told_as_silence() -> None:
    """A test call without an answer says so."""
    result = {"answered": False, "status": 503, "answered_by": "", "pdd_ms": 0}
    assert "not answered (status 503)" in tell(told("call.proved", result=result))
    assert "(status none)" in tell(told("call.proved", result=result | {"status": 0}))


def test_an_unknown_kind_is_named() -> None:
    """An entry of a later version is told by its kind rather than left out."""
    assert "gate.passed" in tell(replace(told("leadership.left"), kind="gate.passed"))


def test_a_story_is_the_chain_of_one_operation() -> None:
    """Entries of others stay out; a change of leadership in its midst belongs to it."""
    entries = numbered(
        [
            ("leadership.taken", {}),
            ("request.accepted", {"id": "other"}),
            ("request.accepted", {}),
            ("step.started", {}),
            ("step.outcome", {"operation": "other"}),
            ("leadership.taken", {}),
            ("seal.started", {}),
            ("operation.ended", {}),
            ("leadership.left", {}),
        ]
    )
    assert [entry.index for entry in story(entries, ID)] == [2, 3, 5, 6, 7]
    assert [entry.index for entry in story(entries, "other")] == [1, 4]
    assert story(entries, "nothing") == []
