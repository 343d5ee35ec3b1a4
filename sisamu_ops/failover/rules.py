"""The safety rules, by verb (pure): what blocks a planned change is a finding for a rescue.

Each rule looks at the facts of one moment and says nothing when it is satisfied. The matrix
below is the only place that says which verb a rule blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from sisamu_ops.failover.ports import DatabaseWord
from sisamu_ops.failover.reading import ModeReading, Reading
from sisamu_ops.failover.request import Verb
from sisamu_ops.failover.state import State
from sisamu_ops.model.platform import Platform, TelephonyMode


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the rules judge: one request against one snapshot."""

    platform: Platform
    state: State
    verb: Verb
    samus: tuple[str, ...]
    to: str
    readings: Mapping[str, Reading]
    modes: Mapping[str, ModeReading]
    #: Entries the coordination service still holds, not yet safe on a majority of replicas.
    untrimmed: int = 0
    #: The word of the platform's database; None where there is none, or nobody waited for it.
    database: DatabaseWord | None = None
    #: Judged by a site that is cut off and acts alone: what it cannot read does not stop it.
    alone: bool = False


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A rule not satisfied: the facts, and what would satisfy it."""

    rule: str
    message: str
    remedy: str
    blocks: bool


_Said = Iterator[tuple[str, str]]


def _test_number(facts: Facts) -> _Said:
    for samu_id in facts.samus:
        if not facts.platform.samus[samu_id].test_number:
            yield (
                f"SAMU {samu_id} has no test number: its paths cannot be proved",
                f"set samu_test_number for SAMU {samu_id} in the inventory",
            )


def _routers_read(facts: Facts) -> _Said:
    for router in facts.platform.routers:
        reading = facts.readings.get(router) or Reading(host=router, reachable=False)
        if reading.values is None:
            yield (
                f"router {router} could not be read ({reading.problem or 'unreachable'})",
                "sisamu doctor says what stands in the way",
            )


def _enrolled(facts: Facts) -> _Said:
    gateways = [facts.platform.samus[s].gateway for s in facts.samus]
    for host in (*facts.platform.routers, *gateways):
        reading = facts.readings.get(host)
        if reading is not None and reading.reachable and not reading.enrolled:
            yield f"{host} has no fence: it refuses changes", f"sisamu target enrol {host}"


def _one_operation(facts: Facts) -> _Said:
    for samu_id in facts.samus:
        open_one = facts.state.open_operation(samu_id)
        if open_one is not None:
            yield (
                f"operation {open_one.operation_id} on SAMU {samu_id} is not settled",
                f"sisamu operation follow {open_one.operation_id}, or sisamu reconcile",
            )


def _mode_known(facts: Facts) -> _Said:
    for samu_id in facts.samus:
        mode = facts.modes[samu_id]
        if mode.mode is TelephonyMode.UNKNOWN:
            answers = ", ".join(f"{host} {said}" for host, said in mode.routers.items())
            open_one = facts.state.open_operation(samu_id) is not None
            remedy = settling(samu_id, mode.routers, open_one=open_one)
            yield f"SAMU {samu_id}'s mode is unknown ({answers})", remedy


def settling(samu_id: str, routers: Mapping[str, str], *, open_one: bool) -> str:
    """Return what makes a SAMU's mode known again, by what its routers answered."""
    if open_one:
        return "sisamu reconcile --reason TEXT"
    if "unreachable" in routers.values():
        return "sisamu doctor"
    return f"sisamu failover start --samu {samu_id} --reason TEXT, which moves all of it"


def _already(facts: Facts) -> _Said:
    for samu_id in facts.samus:
        if facts.modes[samu_id].mode.value == facts.to:
            yield f"SAMU {samu_id} is on {facts.to} already", "nothing to do: sisamu samu show"


def _paused(facts: Facts) -> _Said:
    if facts.state.paused:
        yield "the leader is paused: it dispatches nothing but rescues", "sisamu leader resume"


def _untrimmed(facts: Facts) -> _Said:
    limit = facts.platform.policy.untrimmed_limit
    if facts.untrimmed > limit:
        yield (
            f"{facts.untrimmed} entries are not yet safe on a majority of replicas (over {limit})",
            "bring the sites' agents back: sisamu status says which one does not cosign",
        )


def _held(facts: Facts) -> _Said:
    gateways = [facts.platform.samus[s].gateway for s in facts.samus]
    for host in (*facts.platform.routers, *gateways):
        reading = facts.readings.get(host)
        token = facts.state.held.get(host) or (reading.last if reading else None)
        if token is not None and token.epoch > facts.state.epoch:
            yield (
                f"{host} is held: it has taken token {token}, above the leader's epoch",
                "sisamu journal merge DIR, the log of the site that acted alone; "
                f"moved by hand, with the card: sisamu target enrol {host}",
            )


def _database(facts: Facts) -> _Said:
    if facts.database is not None and not facts.database.holds:
        yield f"the database does not hold: {facts.database.said}", "sisamu quorum check"


_RULES: Mapping[str, Callable[[Facts], _Said]] = {
    "test-number": _test_number,
    "routers-read": _routers_read,
    "targets-enrolled": _enrolled,
    "one-operation": _one_operation,
    "mode-known": _mode_known,
    "mode-changes": _already,
    "leader-paused": _paused,
    "journal-untrimmed": _untrimmed,
    "target-held": _held,
    "database-quorum": _database,
}

#: Which verbs a rule blocks; for all others it is a finding, printed and journalled.
MATRIX: Mapping[str, frozenset[Verb]] = {
    "test-number": frozenset({Verb.SWITCHOVER, Verb.FAILBACK}),
    "routers-read": frozenset({Verb.SWITCHOVER, Verb.FAILBACK}),
    "targets-enrolled": frozenset({Verb.SWITCHOVER, Verb.FAILBACK}),
    "one-operation": frozenset({Verb.SWITCHOVER, Verb.FAILBACK}),
    "mode-known": frozenset({Verb.SWITCHOVER, Verb.FAILBACK}),
    "mode-changes": frozenset({Verb.SWITCHOVER}),
    "leader-paused": frozenset({Verb.SWITCHOVER, Verb.FAILBACK}),
    "journal-untrimmed": frozenset({Verb.SWITCHOVER, Verb.FAILBACK}),
    "target-held": frozenset({Verb.SWITCHOVER, Verb.FAILBACK}),
    "database-quorum": frozenset({Verb.SWITCHOVER, Verb.FAILBACK}),
}

#: Rules about what a cut-off site cannot have: for whoever acts alone they are findings.
NOT_ALONE = frozenset(
    {"routers-read", "mode-known", "leader-paused", "journal-untrimmed", "database-quorum"}
)
#: Rules a rescue does not wait for: what they find, if in time, is told and no part of a plan.
NOT_AWAITED = frozenset({"database-quorum"})


def judge(facts: Facts) -> tuple[Finding, ...]:
    """Return every rule not satisfied, in the order of the matrix."""
    return tuple(
        Finding(rule=rule, message=message, remedy=remedy, blocks=_blocks(facts, rule))
        for rule, check in _RULES.items()
        for message, remedy in check(facts)
    )


def _blocks(facts: Facts, rule: str) -> bool:
    return facts.verb in MATRIX[rule] and not (facts.alone and rule in NOT_ALONE)
