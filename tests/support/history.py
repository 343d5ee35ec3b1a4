"""A good history of two leaders, for the checker: every test of a rule breaks one thing in it.

paris takes leadership under epoch 1, starts to move SAMU 300 and is killed after otn-paris has
accepted; lyon leads under epoch 2, seals both routers, settles the step and moves the rest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from sisamu_ops.journal.entry import Entry
from sisamu_ops.journal.merkle import root_of
from sisamu_ops.model.token import Token
from tests.campaign.history import (
    Head,
    History,
    LeaseLine,
    ReplicaCopy,
    RequestMade,
    Sighting,
    TargetLine,
    TargetRecord,
)

MS = 1_000_000
S = 1000 * MS
ROUTERS = {"otn-paris": {"300": "backup"}, "otn-lyon": {"300": "backup"}}
#: (epoch, kind, data), each committed in the second of its index.
STORY: tuple[tuple[int, str, dict[str, Any]], ...] = (
    (1, "leadership.taken", {"site": "paris"}),
    (1, "request.accepted", {"id": "switch-1", "digest": "d1", "verb": "switchover",
                             "samus": ["300"], "to": "backup", "plan": "", "reason": "test",
                             "changes": ROUTERS, "findings": [],
                             "request": {"principal": "oncall"}}),
    (1, "step.started", {"operation": "switch-1", "playbook": "p", "targets": ROUTERS}),
    (2, "leadership.taken", {"site": "lyon"}),
    (2, "seal.started", {"operation": "switch-1", "targets": list(ROUTERS), "cause": "takeover"}),
    (2, "seal.outcome", {"operation": "switch-1", "seal": 4, "sealed": list(ROUTERS),
                         "not_sealed": {}}),
    (2, "step.outcome", {"operation": "switch-1", "step": 2, "target": "otn-paris",
                         "outcome": "done", "detail": ""}),
    (2, "step.outcome", {"operation": "switch-1", "step": 2, "target": "otn-lyon",
                         "outcome": "failed", "detail": ""}),
    (2, "step.started", {"operation": "switch-1", "playbook": "p", "targets": ROUTERS}),
    (2, "step.outcome", {"operation": "switch-1", "step": 8, "target": "otn-paris",
                         "outcome": "done", "detail": ""}),
    (2, "step.outcome", {"operation": "switch-1", "step": 8, "target": "otn-lyon",
                         "outcome": "done", "detail": ""}),
    (2, "operation.ended", {"operation": "switch-1", "outcome": "done", "moved": True,
                            "detail": ""}),
)  # fmt: skip


def entries_of(story: Iterable[tuple[int, str, Mapping[str, Any]]]) -> tuple[Entry, ...]:
    """Return a story as entries."""
    sites = {1: "paris", 2: "lyon"}
    return tuple(
        Entry(origin="test/journal", index=index, epoch=epoch, site=sites[epoch],
              time=f"2026-01-01T00:00:{index:02d}.000Z", kind=kind, data=data)
        for index, (epoch, kind, data) in enumerate(story)
    )  # fmt: skip


def hashes_of(entries: Iterable[Entry]) -> tuple[bytes, ...]:
    """Return one hash an entry, of whatever it says."""
    return tuple(hashlib.sha256(repr(entry).encode()).digest() for entry in entries)


def replica_of(site: str, entries: tuple[Entry, ...]) -> ReplicaCopy:
    """Return a whole copy."""
    return ReplicaCopy(site=site, entries=entries, hashes=hashes_of(entries))


def replicas_of(entries: tuple[Entry, ...]) -> dict[str, ReplicaCopy]:
    """Return the same copy at every site."""
    return {site: replica_of(site, entries) for site in ("paris", "lyon", "lille")}


def line(what: str, epoch: int, index: int, at_ms: int, **more: Any) -> TargetLine:
    """Return a line of a target's record."""
    return TargetLine(what=what, token=Token(epoch, index), at_ns=at_ms * MS, **more)


def moved_by(epoch: int, index: int, at_ms: int, changed: bool = True) -> tuple[TargetLine, ...]:
    """Return the two lines of a change carried out."""
    ended = line("outcome", epoch, index, at_ms + 50, outcome="done", changed=changed)
    return (line("apply", epoch, index, at_ms), ended)


PARIS_LINES = (
    line("enrol", 0, 0, 1),
    *moved_by(1, 2, 2200),
    line("seal", 2, 4, 4500),
    *moved_by(2, 8, 8200, changed=False),
)
LYON_LINES = (line("enrol", 0, 0, 1), line("seal", 2, 4, 4500), *moved_by(2, 8, 8300))


def renewed(site: str, pid: int, epoch: int, start_ms: int, times: int) -> list[LeaseLine]:
    """Return the lines of a tenure renewed every 500 ms for 1500 ms more."""
    return [
        LeaseLine(site=site, pid=pid, epoch=epoch, at_ns=at * MS, end_ns=(at + 1500) * MS)
        for at in range(start_ms, start_ms + 500 * times, 500)
    ]


def good_history(**different: Any) -> History:
    """Return the history in which every rule holds, but for what is named."""
    entries = entries_of(STORY)
    hashes = hashes_of(entries)
    evidence: dict[str, Any] = {
        "replicas": replicas_of(entries),
        "heads": tuple(
            Head(place="cosign.lille", size=size, root=root_of(hashes[:size]), agreed=True)
            for size in (3, 7, 12)
        ),
        "sightings": tuple(
            Sighting(index=index, leaf_hash=leaf_hash, at_ns=(index * 1000 + 900) * MS)
            for index, leaf_hash in enumerate(hashes)
        ),
        "requests": (
            RequestMade(request_id="switch-1", digest="d1", verb="switchover", sent_ns=0,
                        accepted=1, outcome="done", closing=True),
            RequestMade(request_id="switch-2", digest="d2", verb="switchover", sent_ns=0,
                        error="nobody leads"),
        ),
        "targets": {
            "otn-paris": TargetRecord(host="otn-paris", lines=PARIS_LINES),
            "otn-lyon": TargetRecord(host="otn-lyon", lines=LYON_LINES),
        },
        # paris was killed at 1000 ms: its lease ends at 2500 ms, presumed 3000 ms.
        "leases": (*renewed("paris", 11, 1, 0, 3), *renewed("lyon", 22, 2, 3050, 20)),
        "renewal_ns": 500 * MS,
        "settled": True,
    }  # fmt: skip
    return History(**(evidence | different))
