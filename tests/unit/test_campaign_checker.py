"""The checker of the campaign: it lets the good history pass, and each broken rule is caught."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.campaign.checker import RULES, Verdict, check
from tests.campaign.history import Head, History, LeaseLine, RequestMade, TargetRecord
from tests.support.history import (
    LYON_LINES,
    MS,
    PARIS_LINES,
    STORY,
    entries_of,
    good_history,
    hashes_of,
    line,
    moved_by,
    renewed,
    replica_of,
    replicas_of,
)

TOKENS, LATE, TWICE = (
    "tokens never fall",
    "no change after a later decision",
    "no step takes effect twice",
)
KEPT_ONCE, SAME, SHOWN = (
    "acknowledged is kept once",
    "one journal on all replicas",
    "nothing shown is lost",
)
LEASE, SETTLES, COMPLETE = "one valid lease", "everything settles", "evidence is complete"


def test_the_good_history_passes() -> None:
    """A leader killed between a target's acceptance and its outcome, a takeover that seals and
    settles, a client that was never answered: no finding.
    """
    assert check(good_history()) == []


def with_lines(**lines: tuple[object, ...]) -> History:
    """Return the good history with other records of the routers."""
    targets = dict(good_history().targets)
    for router, found in lines.items():
        host = f"otn-{router}"
        targets[host] = TargetRecord(host=host, lines=found)  # type: ignore[arg-type]
    return good_history(targets=targets)


def with_story(story: list[object]) -> History:
    """Return the good history with another journal everywhere, and what was seen of it."""
    entries = entries_of(story)  # type: ignore[arg-type]
    return good_history(replicas=replicas_of(entries), heads=(), sightings=())


def unsealed() -> list[object]:
    """Return the story in which epoch 2 could not seal otn-lyon, and yet called it failed."""
    story: list[object] = list(STORY)
    outcome = {"operation": "switch-1", "seal": 4, "sealed": ["otn-paris"],
               "not_sealed": {"otn-lyon": "unreachable"}}  # fmt: skip
    story[5] = (2, "seal.outcome", outcome)
    return story


def late_change(at_ms: int, seen_ms: int = 7900) -> History:
    """otn-lyon, never sealed, accepts epoch 1's change; its decision was read at `seen_ms`."""
    entries = entries_of(unsealed())  # type: ignore[arg-type]
    hashes = hashes_of(entries)
    lines = (line("enrol", 0, 0, 1), *moved_by(1, 2, at_ms), *moved_by(2, 8, 9300, changed=False))
    targets = dict(good_history().targets)
    targets["otn-lyon"] = TargetRecord(host="otn-lyon", lines=lines)
    seen = [replace(one, leaf_hash=hashes[one.index]) for one in good_history().sightings]
    seen[7] = replace(seen[7], at_ns=seen_ms * MS)
    return good_history(
        replicas=replicas_of(entries), heads=(), sightings=tuple(seen), targets=targets
    )


def with_request(**fields: object) -> History:
    made = {"request_id": "switch-9", "digest": "d9", "verb": "switchover", "sent_ns": 0}
    return good_history(requests=(RequestMade(**(made | fields)),))  # type: ignore[arg-type]


def ended(site: str, pid: int, epoch: int, at_ms: int) -> LeaseLine:
    return LeaseLine(site=site, pid=pid, epoch=epoch, at_ns=at_ms * MS, end_ns=0)


def other_replica() -> History:
    replicas = dict(good_history().replicas)
    hashes = list(replicas["lyon"].hashes)
    hashes[4] = bytes(32)
    replicas["lyon"] = replace(replicas["lyon"], hashes=tuple(hashes))
    return good_history(replicas=replicas)


def short_replica() -> History:
    replicas = dict(good_history().replicas)
    replicas["lille"] = replica_of("lille", entries_of(STORY[:-1]))
    return good_history(replicas=replicas)


BROKEN: dict[str, tuple[str, Verdict, Callable[[], History]]] = {
    "a target accepts a lower token": (TOKENS, Verdict.VIOLATION, lambda: with_lines(
        paris=(*PARIS_LINES, line("seal", 1, 9, 9900)))),
    "a change of epoch 1 after the seal of epoch 2": (LATE, Verdict.VIOLATION, lambda: with_lines(
        lyon=(*LYON_LINES[:2], *moved_by(1, 2, 4600), *LYON_LINES[2:]))),
    "a change on an unsealed target after the decision was read": (
        LATE, Verdict.VIOLATION, lambda: late_change(8000)),
    "a change of which nothing proves that it was before the decision": (
        LATE, Verdict.UNKNOWN, lambda: late_change(7850)),
    "a step's change is carried out twice": (TWICE, Verdict.VIOLATION, lambda: with_lines(
        lyon=(*LYON_LINES, *moved_by(2, 8, 9900)))),
    "an outcome without an acceptance": (TWICE, Verdict.VIOLATION, lambda: with_lines(
        lyon=(*LYON_LINES, LYON_LINES[-1]))),
    "a change cut short and made again": (TWICE, Verdict.UNKNOWN, lambda: with_lines(
        lyon=(*LYON_LINES[:2], line("apply", 2, 8, 8100), *LYON_LINES[2:]))),
    "a change under a token that no step has": (TWICE, Verdict.UNKNOWN, lambda: with_lines(
        lyon=(*LYON_LINES, *moved_by(2, 10, 9900)))),
    "a request is accepted twice": (KEPT_ONCE, Verdict.VIOLATION, lambda: with_story(
        [*STORY, STORY[1], *STORY[2:3], *STORY[11:]])),
    "an acknowledged request is not in the journal": (
        KEPT_ONCE, Verdict.VIOLATION, lambda: with_request(accepted=1, outcome="done")),
    "an acknowledged request is there with other content": (
        KEPT_ONCE, Verdict.VIOLATION, lambda: with_request(
            request_id="switch-1", digest="d0", accepted=1)),
    "a request is refused and accepted": (KEPT_ONCE, Verdict.VIOLATION, lambda: with_story(
        [*STORY, (2, "request.refused", {"id": "switch-1", "digest": "d", "name": "n",
                                         "reason": "r", "remedy": "", "rules": []})])),
    "an acknowledged request is beyond the journal's end": (
        KEPT_ONCE, Verdict.VIOLATION, lambda: with_request(accepted=99)),
    "an acknowledged refusal is not in the journal": (
        KEPT_ONCE, Verdict.VIOLATION, lambda: with_request(refused=1)),
    "replicas differ": (SAME, Verdict.VIOLATION, other_replica),
    "a replica lacks the end": (SAME, Verdict.VIOLATION, short_replica),
    "a checkpoint of another root": (SHOWN, Verdict.VIOLATION, lambda: good_history(
        heads=(Head(place="cosign.lyon", size=7, root=bytes(32), agreed=True),))),
    "a checkpoint of more than was kept": (SHOWN, Verdict.VIOLATION, lambda: good_history(
        heads=(Head(place="cosign.lyon", size=13, root=bytes(32), agreed=True),))),
    "an entry was read and is another now": (SHOWN, Verdict.VIOLATION, lambda: good_history(
        sightings=(replace(good_history().sightings[4], leaf_hash=bytes(32)),))),
    "an entry was read and is gone": (SHOWN, Verdict.VIOLATION, lambda: good_history(
        sightings=(replace(good_history().sightings[4], index=12),))),
    "two valid leases at one instant": (LEASE, Verdict.VIOLATION, lambda: good_history(
        leases=(*renewed("paris", 11, 1, 0, 3), *renewed("lyon", 22, 2, 2499, 20)))),
    "two processes of one site with a valid lease": (LEASE, Verdict.VIOLATION, lambda: good_history(
        leases=(*renewed("paris", 11, 1, 0, 3), *renewed("paris", 12, 2, 2000, 20)))),
    "a lease taken within the last renewal a killed process may have had": (
        LEASE, Verdict.UNKNOWN, lambda: good_history(
            leases=(*renewed("paris", 11, 1, 0, 3), *renewed("lyon", 22, 2, 2501, 20)))),
    "an operation never ends": (SETTLES, Verdict.VIOLATION, lambda: with_story(list(STORY[:-1]))),
    "an operation stays unknown": (SETTLES, Verdict.VIOLATION, lambda: with_story([*STORY[:-1], (
        2, "operation.ended",
        {"operation": "switch-1", "outcome": "unknown", "moved": True, "detail": ""})])),
    "a reconcile never finishes": (SETTLES, Verdict.VIOLATION, lambda: with_story([*STORY, (
        2, "request.accepted", {"id": "reconcile-1", "digest": "d", "verb": "reconcile",
                                "reason": "r", "request": {"principal": "oncall"}})])),
    "what is asked after healing is refused": (SETTLES, Verdict.VIOLATION, lambda: with_request(
        closing=True, error="refused")),
    "what is asked after healing has no answer": (SETTLES, Verdict.VIOLATION, lambda: with_request(
        closing=True)),
    "the lab had no time to settle": (SETTLES, Verdict.UNKNOWN, lambda: good_history(
        settled=False)),
    "a replica could not be read": (COMPLETE, Verdict.UNKNOWN, lambda: good_history(
        missing=("replica of lyon: no such directory",))),
    "no target could be read": (COMPLETE, Verdict.UNKNOWN, lambda: good_history(targets={})),
    "a tenure left no record": (COMPLETE, Verdict.UNKNOWN, lambda: good_history(
        leases=tuple(renewed("lyon", 22, 2, 3050, 20)))),
    "renewals are not on record": (COMPLETE, Verdict.UNKNOWN, lambda: good_history(
        leases=(*renewed("paris", 11, 1, 0, 3), *renewed("lyon", 22, 2, 3050, 2),
                *renewed("lyon", 22, 2, 9000, 2)))),
    "nothing was recorded at all": (COMPLETE, Verdict.UNKNOWN, lambda: good_history(
        replicas={}, targets={}, leases=(), heads=(), sightings=(), requests=())),
}  # fmt: skip


@pytest.mark.parametrize("scene", BROKEN)
def test_each_broken_rule_is_caught(scene: str) -> None:
    """The finding names the rule, and says whether it is proved or only not excluded."""
    rule, verdict, history = BROKEN[scene]
    findings = [one for one in check(history()) if one.rule == rule]
    assert [one.verdict for one in findings][:1] == [verdict], check(history())
    assert all(one.place and one.evidence for one in findings)


def test_every_rule_is_shown_to_catch_something() -> None:
    """No rule without a history that breaks it."""
    assert {rule for rule, _, _ in BROKEN.values()} == set(RULES)


def test_a_lease_given_up_frees_leadership_at_once() -> None:
    """Planned: the old lease is over at its last line, the next may begin in the same instant."""
    leases = (*renewed("paris", 11, 1, 0, 3), ended("paris", 11, 1, 1600),
              *renewed("lyon", 22, 2, 1600, 20))  # fmt: skip
    assert check(good_history(leases=leases)) == []


def test_a_change_before_the_next_leader_is_no_late_one() -> None:
    """Accepted before the later epoch's lease began: no decision of that epoch was before it."""
    assert check(late_change(2900)) == []


def test_a_change_cut_short_and_found_made_is_once() -> None:
    """Begun, cut, begun again with nothing left to change: it took effect once at most."""
    lines = (*LYON_LINES[:2], line("apply", 2, 8, 8100), *moved_by(2, 8, 8300, changed=False))
    assert check(with_lines(lyon=lines)) == []
