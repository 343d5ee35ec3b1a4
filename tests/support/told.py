"""An operation's entries as the leader writes them, for folds that need no signature."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sisamu_ops.failover.fold.state import State, fold
from sisamu_ops.failover.request import rfc3339
from sisamu_ops.journal.entry import Entry

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ID = "failover-0123456789ab"
#: The log of a site that acted alone, and what stands for a signature where none is checked.
LOG = "world/break-glass-lyon-1"
NO_SIGNATURE = b64encode(bytes(64)).decode()
TARGETS = {
    "samu-300": {"300": "armed"},
    "otn-paris": {"300": "backup"},
    "otn-lyon": {"300": "backup"},
}

#: One entry's data of every kind, true to its promise.
DATA: dict[str, dict[str, Any]] = {
    "leadership.taken": {"site": "lyon"},
    "leadership.left": {"site": "lyon", "to": "paris", "cause": "transfer"},
    "request.accepted": {
        "id": ID, "digest": "d1", "verb": "failover", "reason": "flooded", "samus": ["300"],
        "to": "backup", "plan": "p1", "changes": TARGETS, "findings": ["mode-known: not read"],
        "request": {"document": "{}", "signature": "s", "principal": "oncall@lab",
                    "namespace": "sisamu-request"},
    },
    "request.refused": {
        "id": "", "name": "odd.item", "digest": "d2", "reason": "it has expired",
        "remedy": "sign it anew", "rules": ["plan-digest"],
    },
    "request.waiting": {
        "id": "switchover-2", "digest": "d5", "verb": "switchover", "reason": "maintenance",
        "samus": ["300", "680"], "to": "backup", "until": "2026-01-02T04:04:05.000Z",
        "needs": "2 SAMUs are more than 1: it needs a second signature",
        "rules": ["second-signature"],
        "request": {"document": "{}", "signature": "s", "principal": "oncall@lab",
                    "namespace": "sisamu-request"},
    },
    "request.finished": {"request": "reconcile-1", "outcome": "done"},
    "step.started": {"operation": ID, "playbook": "samu_failover.yml", "targets": TARGETS},
    "step.outcome": {
        "operation": ID, "step": 1, "target": "otn-paris", "outcome": "done", "detail": "read back",
    },
    "call.proved": {
        "operation": ID, "step": 1, "host": "otn-paris", "via": "router",
        "samu": "300",
        "result": {"answered": True, "status": 200, "answered_by": "backup;samu=300", "pdd_ms": 42},
    },
    "path.chosen": {
        "operation": ID, "step": 1,
        "samus": {"300": {"to": "degraded", "why": "backup refuses calls"}},
    },
    "wave.ended": {
        "operation": ID, "wave": 0,
        "samus": {"300": {"outcome": "done", "to": "backup", "moved": True, "detail": ""}},
    },
    "soak.probed": {"operation": ID, "wave": 0, "calls": 2, "last": True, "bad": {}},
    "operation.held": {"operation": ID, "cause": "SAMU 300 ended failed"},
    "operation.ended": {"operation": ID, "outcome": "done", "moved": True, "detail": "all well"},
    "seal.started": {"operation": ID, "targets": ["otn-paris"], "cause": "takeover"},
    "seal.outcome": {
        "operation": ID, "seal": 1, "sealed": ["otn-paris"], "not_sealed": {"otn-lyon": "cut off"},
    },
    "enrol.started": {"request": "enrol-1", "target": "otn-lyon"},
    "enrol.outcome": {
        "request": "enrol-1", "target": "otn-lyon", "token": {"epoch": 3, "index": 9},
        "outcome": "done", "detail": "a new fence",
    },
    "check.started": {
        "request": "check-1", "to": "backup", "targets": ["samu-300"], "phase": "armed",
    },
    "check.ended": {
        "request": "check-1", "to": "backup", "proved": ["300"], "failed": {"680": "silent"},
        "left_armed": {},
    },
    "report.received": {
        "id": "r1", "name": "report.paris.1", "site": "paris", "token": "2.7", "operation": ID,
        "refused": {"otn-lyon": "older-token by 3.9"},
    },
    "rules.adopted": {
        "request": "adopt-1", "held": ["paris", "lyon"],
        "rules": {"policy": "ab12" * 16, "version": "0.2.0"},
    },
    "alarm.raised": {
        "id": "a1", "site": "lille", "about": "replica-diverged", "message": "another root",
    },
    "trigger.observed": {
        "id": "t1", "site": "paris", "mode": "observe", "reason": "no call for 60 s",
        "would": {"verb": "failover", "samus": ["300"], "to": "backup", "plan": "p2",
                  "findings": [], "blocked_by": []},
    },
    "inbox.overflowed": {"count": 2, "digests": ["d3", "d4"]},
    "request.approved": {"id": ID, "principal": "lead@lab", "signature": "s"},
    "target.held": {
        "target": "otn-paris", "token": {"epoch": 4563402752, "index": 3}, "operation": ID,
    },
    "break-glass.begun": {"site": "lyon", "checkpoint": "", "size": 16},
    "break-glass.closed": {"origin": LOG, "size": 2, "root": "ab" * 32, "epoch": 4563402752},
}  # fmt: skip


def wrapped(index: int, kind: str, epoch: int = 4563402752, **changes: Any) -> dict[str, Any]:
    """Return the data of an entry that wraps another log's: its leaf, with no true signature."""
    inner = replace(told(kind, index, epoch, **changes), origin=LOG)
    body: dict[str, Any] = dict(inner.body)
    return {"origin": LOG, "index": index, "leaf": {"body": body, "sig": NO_SIGNATURE}}


def told(kind: str, index: int = 0, epoch: int = 1, **changes: Any) -> Entry:
    """Return an entry of a kind; its time is START plus `index` seconds."""
    return Entry(
        origin="world/journal", index=index, epoch=epoch, site="lyon",
        time=rfc3339(START + timedelta(seconds=index)), kind=kind, data=DATA[kind] | changes,
    )  # fmt: skip


DATA["break-glass.merged"] = wrapped(0, "break-glass.begun")


def numbered(entries: Iterable[tuple[str, dict[str, Any]]], epoch: int = 1) -> list[Entry]:
    """Return entries in order, each a kind and what differs from the usual."""
    return [told(kind, i, epoch, **changes) for i, (kind, changes) in enumerate(entries)]


def folded(*entries: tuple[str, dict[str, Any]]) -> State:
    """Return the state after these entries."""
    return fold(numbered(entries))
