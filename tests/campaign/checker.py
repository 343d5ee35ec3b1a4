"""The checker: five rules over a history, each finding with rule, place and evidence (pure).

Three verdicts. A violation is proved by the evidence; unknown is what the evidence cannot
exclude, and is never a pass. The order of two events at different places is taken only from
what proves it: the order of a target's own record under its lock, the order of the journal,
and CLOCK_BOOTTIME between an upper bound of the one and a lower bound of the other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations, pairwise
from typing import Any

from sisamu_ops.failover.fold.state import State, fold
from sisamu_ops.journal.entry import Entry
from sisamu_ops.journal.merkle import Frontier, root_of
from sisamu_ops.model.outcome import Outcome
from sisamu_ops.model.token import Token
from tests.campaign.history import History, LeaseLine, RequestMade, TargetLine, TargetRecord

_ANSWERS = ("request.accepted", "request.refused")
_DECIDED = (Outcome.DONE.value, Outcome.FAILED.value)


class Verdict(StrEnum):
    """What a finding says of the history."""

    VIOLATION = "violation"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One rule not shown to hold: where, and what says so."""

    rule: str
    verdict: Verdict
    place: str
    evidence: str

    def __str__(self) -> str:
        """Write the finding as one line."""
        return f"{self.verdict.value}: {self.rule}: {self.place}: {self.evidence}"


#: What a rule yields: the verdict, the place, the evidence.
_Said = Iterator[tuple[Verdict, str, str]]


def check(history: History) -> list[Finding]:
    """Judge a history by every rule; no finding at all is the only pass."""
    return [
        Finding(rule=rule, verdict=verdict, place=place, evidence=evidence)
        for rule, judge in RULES.items()
        for verdict, place, evidence in judge(history)
    ]


# --- is there enough to judge ---------------------------------------------------------------


def _complete(history: History) -> _Said:
    """Nothing that the rules look at may be missing."""
    for what in history.missing:
        yield Verdict.UNKNOWN, "evidence", what
    for name, found in (("replica", history.replicas), ("target", history.targets)):
        if not found:
            yield Verdict.UNKNOWN, "evidence", f"not one {name} could be read"
    if not history.journal:
        yield Verdict.UNKNOWN, "evidence", "the journal is empty"
    recorded = {line.epoch for line in history.leases}
    for epoch, site in sorted(_tenures(history.journal).items()):
        if epoch not in recorded:
            yield Verdict.UNKNOWN, site, f"no record of its lease under epoch {epoch}"
    for lines in _by_tenure(history):
        for line, after in pairwise(sorted(lines, key=lambda one: one.at_ns)):
            if line.end_ns < after.at_ns < after.end_ns:
                said = f"epoch {line.epoch}: renewals between {line.at_ns} and {after.at_ns}"
                yield Verdict.UNKNOWN, line.site, f"{said} are not on record"


def _tenures(journal: Iterable[Entry]) -> dict[int, str]:
    """Return which site led under each epoch that has an entry."""
    return {entry.epoch: entry.site for entry in journal}


# --- (a) tokens ------------------------------------------------------------------------------


def _tokens_rise(history: History) -> _Said:
    """No target accepted a token below one it had accepted."""
    for record in history.targets.values():
        for before, line in pairwise(_accepted(record)):
            if line.token < before.token:
                said = f"{line.what} under {line.token} after {before.what} under {before.token}"
                yield Verdict.VIOLATION, record.host, said


def _accepted(record: TargetRecord) -> list[TargetLine]:
    return [line for line in record.lines if line.what != "carried"]


@dataclass(frozen=True, kw_only=True)
class _Decision:
    """An entry by which a leader settled what a target's part of an operation came to."""

    entry: Entry
    operation: str
    hosts: frozenset[str]


def _no_late_change(history: History) -> _Said:
    """No target accepted a change of epoch e after a later epoch's decision on its operation."""
    decisions = _decisions(history.journal)
    steps = _steps(history.journal)
    for record in history.targets.values():
        for position, line in enumerate(record.lines):
            operation = steps.get(line.token) if line.what == "apply" else None
            for decision in decisions:
                if (
                    decision.operation == operation
                    and record.host in decision.hosts
                    and decision.entry.epoch > line.token.epoch
                ):
                    yield from _judge_order(history, record, position, decision)


def _judge_order(
    history: History, record: TargetRecord, position: int, decision: _Decision
) -> _Said:
    """Say nothing when the change is proved to have been accepted before the decision."""
    line, entry = record.lines[position], decision.entry
    said = (
        f"{decision.operation}: change under {line.token} accepted at {line.at_ns}, and entry "
        f"{entry.index} ({entry.kind}) of epoch {entry.epoch}"
    )
    if any(one.token.epoch >= entry.epoch for one in record.lines[:position]):
        yield Verdict.VIOLATION, record.host, f"{said} was sealed on the target before it"
        return
    seen = [s.at_ns for s in history.sightings if s.index == entry.index]
    if seen and min(seen) < line.at_ns:
        yield Verdict.VIOLATION, record.host, f"{said} had been read at {min(seen)}"
        return
    if _sealed_after(history.journal, record, position, entry):
        return
    began = [one.at_ns for one in history.leases if one.epoch == entry.epoch]
    if began and line.at_ns < min(began):
        return
    yield Verdict.UNKNOWN, record.host, f"{said}: nothing proves which was first"


def _sealed_after(
    journal: Sequence[Entry], record: TargetRecord, position: int, decision: Entry
) -> bool:
    """Whether the target took a seal after this line that the journal tells before the decision.

    The target's lock puts the change before the seal, the leader wrote `seal.outcome` after the
    fence had answered, and the journal puts that entry before, or as, the decision.
    """
    later = {one.token for one in record.lines[position + 1 :] if one.what == "seal"}
    return any(
        entry.kind == "seal.outcome"
        and entry.epoch == decision.epoch
        and record.host in _data(entry)["sealed"]
        and Token(entry.epoch, _data(entry)["seal"]) in later
        for entry in journal[: decision.index + 1]
    )


def _decisions(journal: Iterable[Entry]) -> list[_Decision]:
    """Return every decision; what was left unknown of a target decides nothing there."""
    found = []
    hosts = defaultdict[str, set[str]](set)
    for entry in journal:
        data, decided = _data(entry), set[str]()
        if entry.kind == "step.started":
            hosts[data["operation"]] |= set(data["targets"])
        elif entry.kind == "seal.outcome":
            decided = set(data["sealed"])
        elif entry.kind == "step.outcome" and data["outcome"] in _DECIDED:
            decided = {data["target"]}
        elif entry.kind == "operation.ended" and data["outcome"] in _DECIDED:
            decided = hosts[data["operation"]]
        if decided:
            found.append(
                _Decision(entry=entry, operation=data["operation"], hosts=frozenset(decided))
            )
    return found


def _steps(journal: Iterable[Entry]) -> dict[Token, str]:
    """Return the operation of each step's token."""
    return {
        Token(entry.epoch, entry.index): _data(entry)["operation"]
        for entry in journal
        if entry.kind == "step.started"
    }


def _data(entry: Entry) -> Mapping[str, Any]:
    return entry.data


# --- (b) effects -----------------------------------------------------------------------------


def _once(history: History) -> _Said:
    """No (operation, step) took effect twice, by the targets' own records."""
    steps = _steps(history.journal)
    for record in history.targets.values():
        for token in sorted({line.token for line in record.lines if line.what == "apply"}):
            if token not in steps:
                yield Verdict.UNKNOWN, record.host, f"the journal has no step of token {token}"
            said = f"{steps.get(token, 'no operation')}, step {token},"
            yield from _judge_effects(record, token, said)


def _judge_effects(record: TargetRecord, token: Token, said: str) -> _Said:
    lines = [line for line in record.lines if line.token == token]
    begun = [line for line in lines if line.what == "apply"]
    ended = [line for line in lines if line.what == "outcome"]
    effects = [line for line in ended if line.changed]
    if len(effects) > 1 or len(ended) > len(begun):
        yield Verdict.VIOLATION, record.host, f"{said} took effect {len(ended)} times"
    elif len(begun) > 1 and effects:
        # One of them was cut short: nobody recorded what it had changed by then.
        yield Verdict.UNKNOWN, record.host, f"{said} was begun {len(begun)} times"


# --- (c) the journal -------------------------------------------------------------------------


def _acknowledged(history: History) -> _Said:
    """Every acknowledged request is in the final journal, and every request once at most."""
    answers = defaultdict[str, list[Entry]](list)
    for entry in history.journal:
        if entry.kind in _ANSWERS and _data(entry)["id"]:
            answers[_data(entry)["id"]].append(entry)
    for request_id, entries in answers.items():
        if len(entries) > 1:
            where = ", ".join(f"{entry.index} ({entry.kind})" for entry in entries)
            yield Verdict.VIOLATION, f"request {request_id}", f"answered by entries {where}"
    for request in history.requests:
        if request.acknowledged and not _is_answered(history.journal, request):
            index = request.accepted if request.accepted is not None else request.refused
            told = f"acknowledged as entry {index}, which does not answer it in the final journal"
            yield Verdict.VIOLATION, f"request {request.request_id}", told


def _is_answered(journal: Sequence[Entry], request: RequestMade) -> bool:
    """Whether the entry the client saw is there, of its kind, and of the very bytes it signed."""
    accepted = request.accepted is not None
    index = request.accepted if accepted else request.refused
    if index is None or index >= len(journal):
        return False
    data = _data(journal[index])
    kind = "request.accepted" if accepted else "request.refused"
    if journal[index].kind != kind or data["id"] != request.request_id:
        return False
    return not accepted or data["digest"] == request.digest


def _same_everywhere(history: History) -> _Said:
    """Every replica holds the whole journal, under one root."""
    size = len(history.journal)
    roots = {site: root_of(list(copy.hashes)) for site, copy in history.replicas.items()}
    for site, copy in history.replicas.items():
        if len(copy.entries) < size:
            verdict = Verdict.VIOLATION if history.settled else Verdict.UNKNOWN
            yield verdict, f"replica of {site}", f"{len(copy.entries)} of {size} entries"
    for (one, copy), (other, second) in combinations(history.replicas.items(), 2):
        common = min(len(copy.hashes), len(second.hashes))
        differing = [i for i in range(common) if copy.hashes[i] != second.hashes[i]]
        if differing:
            said = f"entry {differing[0]} differs; roots {roots[one].hex()}, {roots[other].hex()}"
            yield Verdict.VIOLATION, f"replicas of {one} and {other}", said


def _kept(history: History) -> _Said:
    """What was read once, and every checkpoint ever shown, is in the final journal."""
    longest = max((copy.hashes for copy in history.replicas.values()), key=len, default=())
    for seen in history.sightings:
        if seen.index >= len(longest) or longest[seen.index] != seen.leaf_hash:
            yield Verdict.VIOLATION, f"entry {seen.index}", f"read at {seen.at_ns}, and not kept"
    roots = list(_roots(longest))
    for head in history.heads:
        what = "agreed" if head.agreed else "signed"
        if head.size >= len(roots):
            yield Verdict.VIOLATION, head.place, f"{what} {head.size} entries: so many are not kept"
        elif roots[head.size] != head.root:
            said = f"{what} root {head.root.hex()} of size {head.size}; the journal's is"
            yield Verdict.VIOLATION, head.place, f"{said} {roots[head.size].hex()}"


def _roots(hashes: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the root of the first 0, 1, 2, … leaves."""
    frontier = Frontier()
    yield frontier.root()
    for leaf in hashes:
        frontier.append(leaf)
        yield frontier.root()


# --- (d) leases ------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Held:
    """A span in which one process held a valid lease; `presumed_ns` counts a lost last line."""

    who: tuple[str, int, int]
    start_ns: int
    end_ns: int
    presumed_ns: int

    def overlaps(self, other: _Held) -> bool:
        return self.start_ns < other.end_ns and other.start_ns < self.end_ns

    def may_overlap(self, other: _Held) -> bool:
        return self.start_ns < other.presumed_ns and other.start_ns < self.presumed_ns

    def __str__(self) -> str:
        site, pid, epoch = self.who
        return f"{site} (process {pid}, epoch {epoch}) from {self.start_ns} to {self.end_ns}"


def _one_lease(history: History) -> _Said:
    """At no instant two processes held a valid lease."""
    held = [span for lines in _by_tenure(history) for span in _spans(lines, history.renewal_ns)]
    for one, other in combinations(held, 2):
        if one.who == other.who:
            continue
        if one.overlaps(other):
            yield Verdict.VIOLATION, "leases", f"{one}, and {other}"
        elif one.may_overlap(other):
            yield Verdict.UNKNOWN, "leases", f"{one}, perhaps renewed once more, and {other}"


def _by_tenure(history: History) -> Iterable[list[LeaseLine]]:
    tenures = defaultdict[tuple[str, int, int], list[LeaseLine]](list)
    for line in history.leases:
        tenures[line.site, line.pid, line.epoch].append(line)
    return tenures.values()


def _spans(lines: Sequence[LeaseLine], renewal_ns: int) -> Iterator[_Held]:
    """Join a tenure's lines to the spans in which its lease was valid without a break.

    A process that was killed may have been granted one renewal more than it wrote down.
    """
    who = (lines[0].site, lines[0].pid, lines[0].epoch)
    ordered = sorted(lines, key=lambda line: line.at_ns)
    start_ns = ordered[0].at_ns
    for line, after in pairwise(ordered):
        if line.end_ns == 0:
            return
        if line.end_ns < after.at_ns or after.end_ns == 0:
            until = min(line.end_ns, after.at_ns)
            yield _Held(who=who, start_ns=start_ns, end_ns=until, presumed_ns=until)
            start_ns = after.at_ns
    if last := ordered[-1].end_ns:
        yield _Held(who=who, start_ns=start_ns, end_ns=last, presumed_ns=last + renewal_ns)


# --- (e) settling ----------------------------------------------------------------------------


def _settles(history: History) -> _Said:
    """After healing every operation settles, and what is asked then is carried out."""
    if not history.settled:
        yield Verdict.UNKNOWN, "settling", "the lab was not given its time to settle"
        return
    state = fold(history.journal)
    for operation in state.running():
        yield Verdict.VIOLATION, operation.operation_id, "accepted and never ended"
    for operation in state.unknown():
        yield Verdict.VIOLATION, operation.operation_id, f"still unknown: {operation.detail}"
    for request_id in _unfinished(state):
        yield Verdict.VIOLATION, request_id, "accepted and never finished"
    for request in history.requests:
        if request.closing and request.outcome != Outcome.DONE.value:
            said = request.outcome or request.error or "no answer"
            yield (
                Verdict.VIOLATION,
                request.request_id,
                f"asked after healing, and not done: {said}",
            )


def _unfinished(state: State) -> list[str]:
    asked = [*state.enrolments, *state.reconciles]
    return [request_id for request_id in asked if request_id not in state.finished]


#: Every rule by the name its findings carry.
RULES: Mapping[str, Callable[[History], _Said]] = {
    "evidence is complete": _complete,
    "tokens never fall": _tokens_rise,
    "no change after a later decision": _no_late_change,
    "no step takes effect twice": _once,
    "acknowledged is kept once": _acknowledged,
    "one journal on all replicas": _same_everywhere,
    "nothing shown is lost": _kept,
    "one valid lease": _one_lease,
    "everything settles": _settles,
}
