"""The call ledger: one record a call, and the few figures that say what callers lived through.

Pure. A call no answer was ever seen for is in the ledger like any other: silence is not success.

lost       no 200 OK within 5 s of the first INVITE, whatever came later
failed     a final error answer; counted in lost too
misrouted  answered by another SAMU, or on a path its mode did not allow when it was placed
cut        answered in time, then not ended normally by the caller's BYE and its 200 OK
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from math import ceil

#: Milliseconds within which a call must be answered.
ANSWER_LIMIT_MS = 5000

#: Paths allowed to a SAMU's call placed at a time (milliseconds since the Unix epoch).
AllowedPaths = Callable[[str, int], frozenset[str]]


class CallFlaw(Enum):
    """What can be wrong with a call; several at once can be."""

    LOST = "lost"
    FAILED = "failed"
    MISROUTED = "misrouted"
    CUT = "cut"


@dataclass(frozen=True, kw_only=True)
class CallRecord:
    """One call as its caller saw it; times are milliseconds since the Unix epoch.

    `via` is the router it was placed to, `answered_by` the answerer's own word
    (`nominal;instance=paris`, `degraded;samu=300`, `backup;samu=300`), `final_status` the SIP
    status of the final answer, `ended` whether the caller's BYE was answered with 200.
    """

    call_id: str
    samu_id: str
    via: str
    invited_at_ms: int
    answered_at_ms: int | None = None
    answered_by: str = ""
    final_status: int | None = None
    ended: bool = False

    @property
    def pdd_ms(self) -> int | None:
        """Return the post-dial delay: milliseconds from the first INVITE to its 200 OK."""
        return None if self.answered_at_ms is None else self.answered_at_ms - self.invited_at_ms

    @property
    def path(self) -> str:
        """Return the path that answered: `nominal`, `degraded`, `backup`, or nothing."""
        return self.answered_by.partition(";")[0]

    @property
    def answering_samu(self) -> str:
        """Return the SAMU whose phones or desks answered, when the answerer names one."""
        return self._answerer("samu")

    @property
    def instance(self) -> str:
        """Return the platform instance that answered, when the answerer names one."""
        return self._answerer("instance")

    def _answerer(self, name: str) -> str:
        pairs = (part.partition("=") for part in self.answered_by.split(";")[1:])
        return next((value.strip() for key, _, value in pairs if key.strip() == name), "")

    def to_json(self) -> dict[str, object]:
        """Return the record as one line of a ledger file; it holds no caller's number."""
        return {
            "call_id": self.call_id,
            "samu_id": self.samu_id,
            "via": self.via,
            "invited_at_ms": self.invited_at_ms,
            "answered_at_ms": self.answered_at_ms,
            "answered_by": self.answered_by,
            "final_status": self.final_status,
            "ended": self.ended,
            "pdd_ms": self.pdd_ms,
        }


@dataclass(frozen=True, kw_only=True)
class CallTally:
    """The figures of a set of calls; `pdd_p99_ms` is None when none was answered in time."""

    attempted: int
    answered_nominal: int
    answered_degraded: int
    answered_backup: int
    failed: int
    lost: int
    misrouted: int
    cut: int
    pdd_p99_ms: int | None

    def to_json(self) -> dict[str, int | None]:
        """Return the figures under their documented names."""
        return dict(vars(self))


def any_path(samu_id: str, at_ms: int) -> frozenset[str]:
    """Allow every path: for calls nobody has a mode to judge by."""
    del samu_id, at_ms
    return frozenset({"nominal", "degraded", "backup"})


def classify(record: CallRecord, allowed: AllowedPaths = any_path) -> frozenset[CallFlaw]:
    """Name everything wrong with one call; a good call has no flaw."""
    flaws = set()
    if _is_lost(record):
        flaws.add(CallFlaw.LOST)
        if record.final_status is not None and record.final_status >= 300:
            flaws.add(CallFlaw.FAILED)
    elif not record.ended:
        flaws.add(CallFlaw.CUT)
    if record.answered_at_ms is not None and _is_misrouted(record, allowed):
        flaws.add(CallFlaw.MISROUTED)
    return frozenset(flaws)


def tally(records: Iterable[CallRecord], allowed: AllowedPaths = any_path) -> CallTally:
    """Sum up calls; attempted = answered in time + lost."""
    judged = [(record, classify(record, allowed)) for record in records]
    in_time = [record for record, flaws in judged if CallFlaw.LOST not in flaws]

    def count(flaw: CallFlaw) -> int:
        return sum(flaw in flaws for _, flaws in judged)

    return CallTally(
        attempted=len(judged),
        answered_nominal=sum(record.path == "nominal" for record in in_time),
        answered_degraded=sum(record.path == "degraded" for record in in_time),
        answered_backup=sum(record.path == "backup" for record in in_time),
        failed=count(CallFlaw.FAILED),
        lost=count(CallFlaw.LOST),
        misrouted=count(CallFlaw.MISROUTED),
        cut=count(CallFlaw.CUT),
        pdd_p99_ms=_percentile(99, [r.pdd_ms for r in in_time if r.pdd_ms is not None]),
    )


def _is_lost(record: CallRecord) -> bool:
    return record.pdd_ms is None or record.pdd_ms > ANSWER_LIMIT_MS


def _is_misrouted(record: CallRecord, allowed: AllowedPaths) -> bool:
    if record.answering_samu not in ("", record.samu_id):
        return True
    return record.path not in allowed(record.samu_id, record.invited_at_ms)


def _percentile(percent: int, values: list[int]) -> int | None:
    """Return the nearest-rank percentile: a value that was really measured."""
    ranked = sorted(values)
    return ranked[ceil(len(ranked) * percent / 100) - 1] if ranked else None
