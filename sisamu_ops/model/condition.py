"""How a site's agent says it is doing (pure): shown to the others, and to `status`.

A condition is what the agent says of itself; it proves nothing, and no safety rests on it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum

from sisamu_ops.model.errors import IntegrityError

#: Conditions are shown to the other sites under this and the site's name.
PREFIX = "site."


class ProblemKind(StrEnum):
    """What may be wrong with a site; each has one remedy."""

    DISK = "disk"
    DAMAGED = "replica-damaged"
    ROLLED_BACK = "replica-rolled-back"
    DIVERGED = "replica-diverged"
    AHEAD = "replica-ahead"
    GAP = "replica-gap"
    UNVERIFIED = "journal-unverified"
    RULES = "rules-differ"
    UPGRADE = "unknown-entries"
    CLOCK = "clock-differs"
    SLOW = "zookeeper-slow"
    CERTIFICATE = "certificate-ends"

    @property
    def remedy(self) -> str:
        """Say what would mend it."""
        return _REMEDIES[self]

    @property
    def unfit(self) -> bool:
        """Say whether a site with this problem must not lead."""
        return self not in (ProblemKind.CLOCK, ProblemKind.SLOW, ProblemKind.CERTIFICATE)


_REMEDIES = {
    ProblemKind.DISK: "make room on the site's disk, and writable; the agent goes on by itself",
    ProblemKind.DAMAGED: "none needed: the old copy is set aside, a new one is taken from a peer",
    ProblemKind.ROLLED_BACK: "none needed: it catches up, and cosigns again once it confirms",
    ProblemKind.DIVERGED: "keep both copies and compare them: sisamu audit verify",
    ProblemKind.AHEAD: "if it stays: entries were lost with ZooKeeper; sisamu audit verify",
    ProblemKind.GAP: "make another site's sshd reachable from this one: it catches up from there",
    ProblemKind.UNVERIFIED: "compare the replicas: sisamu audit verify",
    ProblemKind.RULES: "give the site the copy in force, or adopt its own: sisamu journal adopt",
    ProblemKind.UPGRADE: "upgrade this site's agent",
    ProblemKind.CLOCK: "set the site's clock (chrony); leases do not depend on it, expiry does",
    ProblemKind.SLOW: "look at the disks and links of the ZooKeeper servers",
    ProblemKind.CERTIFICATE: "renew it in time: without one the site cannot reach ZooKeeper",
}


@dataclass(frozen=True, kw_only=True, order=True)
class Problem:
    """One thing that is wrong, in words."""

    kind: ProblemKind
    message: str


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One site's word on itself; `time` is RFC 3339, `silent_after_s` when it is overdue.

    `release` names what the agent runs from; agents of the first version do not say it.
    """

    site: str
    version: str
    release: str = ""
    size: int
    time: str
    silent_after_s: int
    problems: tuple[Problem, ...]

    @property
    def fit(self) -> bool:
        """Say whether nothing keeps the site from leading."""
        return not any(problem.kind.unfit for problem in self.problems)

    def to_bytes(self) -> bytes:
        """Write it for the others."""
        return json.dumps(asdict(self), sort_keys=True).encode()

    def is_silent(self, now: datetime) -> bool:
        """Say whether it should have been renewed since."""
        age_s = (now - datetime.fromisoformat(self.time)).total_seconds()
        return age_s > self.silent_after_s


class ProblemError(IntegrityError):
    """What was tried met a problem that has a name."""

    def __init__(self, problem: Problem) -> None:
        """Carry the problem; the remedy is that of its kind."""
        super().__init__(problem.message, remedy=problem.kind.remedy)
        self.problem = problem


def parse_condition(data: bytes) -> Condition:
    """Read a condition; ValueError when it is none."""
    try:
        fields = json.loads(data)
        problems = tuple(
            Problem(kind=ProblemKind(p["kind"]), message=str(p["message"]))
            for p in fields["problems"]
        )
        condition = Condition(
            site=str(fields["site"]), version=str(fields["version"]), size=int(fields["size"]),
            time=str(fields["time"]), silent_after_s=int(fields["silent_after_s"]),
            problems=problems, release=str(fields.get("release", "")),
        )  # fmt: skip
        if datetime.fromisoformat(condition.time).tzinfo is None:
            raise ValueError("a time without a zone")
    except (KeyError, TypeError) as error:
        raise ValueError("this is not a site's condition") from error
    return condition


def read_conditions(notes: Mapping[str, bytes]) -> dict[str, Condition]:
    """Return the conditions among the notes shown, by site; what is no condition is left out."""
    found = {}
    for name, note in notes.items():
        if name.startswith(PREFIX):
            try:
                condition = parse_condition(note)
            except ValueError:
                continue
            found[name.removeprefix(PREFIX)] = condition
    return found
