"""The rules that always hold: paths that can be proved, targets that can be told apart (pure)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sisamu_ops.failover.ports import UNFORESEEN
from sisamu_ops.failover.reading import Reading
from sisamu_ops.failover.request import Verb
from sisamu_ops.failover.safety.facts import Facts, Said, name_options, say_of
from sisamu_ops.failover.safety.rule import Cell, Rule
from sisamu_ops.model.naming import name_few
from sisamu_ops.model.platform import TelephonyMode
from sisamu_ops.model.token import Token

B, F, N = Cell.BLOCKS, Cell.FINDING, Cell.NOTHING


def _test_number(facts: Facts) -> Said:
    return say_of(
        [s for s in facts.samus if not facts.platform.samus[s].test_number],
        one="SAMU {} has no test number: its paths cannot be proved",
        many="SAMUs {} have no test number: their paths cannot be proved",
        remedy="set samu_test_number for SAMU {} in the inventory",
    )


def _routers_read(facts: Facts) -> Said:
    routers = {router: _reading(facts, router) for router in facts.platform.routers}
    unread = {router: one for router, one in routers.items() if one.values is None}
    for router, target in _site_targets(facts).items():
        if router not in unread and _reading(facts, target).values is None:
            unread[target] = _reading(facts, target)
    for name, reading in unread.items():
        yield (
            f"router {name} could not be read ({reading.problem or 'unreachable'})",
            "sisamu doctor says what stands in the way",
        )


def _reading(facts: Facts, host: str) -> Reading:
    return facts.readings.get(host) or Reading(host=host, reachable=False)


def _site_targets(facts: Facts) -> Mapping[str, str]:
    """Return by router what an evacuation changes there; nothing for any other verb."""
    return facts.platform.site_targets if facts.verb is Verb.EVACUATE else {}


def _enrolled(facts: Facts) -> Said:
    bare = [
        host
        for host in _hosts(facts)
        if (reading := facts.readings.get(host)) and reading.reachable and not reading.enrolled
    ]
    return say_of(
        bare,
        one="{} has no fence: it refuses changes",
        many="{} have no fence: they refuse changes",
        remedy=f"sisamu target enrol {name_options('', bare)}",
    )


def _one_operation(facts: Facts) -> Said:
    open_ones = {s: one for s in facts.samus if (one := facts.state.open_operation(s))}
    operations = tuple(dict.fromkeys(one.operation_id for one in open_ones.values()))
    if len(operations) == 1:
        yield _of_operation(operations[0], tuple(open_ones))
    elif operations:
        yield (
            f"operations {name_few(operations)} on SAMUs {name_few(tuple(open_ones))} "
            "are not settled",
            "sisamu operation list, then sisamu operation follow each, or sisamu reconcile",
        )


def _of_operation(operation_id: str, samus: tuple[str, ...]) -> tuple[str, str]:
    word = "SAMU" if len(samus) == 1 else "SAMUs"
    return (
        f"operation {operation_id} on {word} {name_few(samus)} is not settled",
        f"sisamu operation follow {operation_id}, or sisamu reconcile",
    )


def _mode_known(facts: Facts) -> Said:
    lost = [s for s in facts.samus if facts.modes[s].mode is TelephonyMode.UNKNOWN]
    remedies = dict.fromkeys(_settled_by(facts, samu_id) for samu_id in lost)
    if len(lost) == 1:
        yield f"SAMU {lost[0]}'s mode is unknown ({_answers(facts, lost[0])})", "".join(remedies)
    elif lost:
        yield (
            f"the mode of SAMUs {name_few(lost)} is unknown "
            f"(of {lost[0]}: {_answers(facts, lost[0])})",
            "; ".join(list(remedies)[:3]),
        )


def _answers(facts: Facts, samu_id: str) -> str:
    return ", ".join(f"{host} {said}" for host, said in facts.modes[samu_id].routers.items())


def _settled_by(facts: Facts, samu_id: str) -> str:
    is_open = facts.state.open_operation(samu_id) is not None
    return settling(samu_id, facts.modes[samu_id].routers, open_one=is_open)


def settling(samu_id: str, routers: Mapping[str, str], *, open_one: bool) -> str:
    """Return what makes a SAMU's mode known again, by what its routers answered."""
    if open_one:
        return "sisamu reconcile --reason TEXT"
    if "unreachable" in routers.values():
        return "sisamu doctor"
    return f"sisamu failover start --samu {samu_id} --reason TEXT, which moves all of it"


def _already(facts: Facts) -> Said:
    return say_of(
        [s for s in facts.samus if facts.modes[s].mode.value == facts.to],
        one=f"SAMU {{}} is on {facts.to} already",
        many=f"SAMUs {{}} are on {facts.to} already",
        remedy="nothing to do: sisamu samu show",
    )


def _paused(facts: Facts) -> Said:
    if facts.state.paused:
        yield "the leader is paused: it dispatches nothing but rescues", "sisamu leader resume"


def _untrimmed(facts: Facts) -> Said:
    limit = facts.platform.policy.untrimmed_limit
    if facts.untrimmed > limit:
        yield (
            f"{facts.untrimmed} entries are not yet safe on a majority of replicas (over {limit})",
            "bring the sites' agents back: sisamu status says which one does not cosign",
        )


def _held(facts: Facts) -> Said:
    held = dict(_tokens_above(facts))
    if len(held) == 1:
        ((host, token),) = held.items()
        yield f"{host} is held: it has taken token {token}, above the leader's epoch", _freed(host)
    elif held:
        token = max(held.values())
        yield (
            f"{name_few(tuple(held))} are held: they have taken tokens up to {token}, "
            "above the leader's epoch",
            _freed(name_options("", tuple(held))),
        )


def _tokens_above(facts: Facts) -> Iterator[tuple[str, Token]]:
    for host in _hosts(facts):
        reading = facts.readings.get(host)
        token = facts.state.held.get(host) or (reading.last if reading else None)
        if token is not None and token.epoch > facts.state.epoch:
            yield host, token


def _freed(hosts: str) -> str:
    return (
        "sisamu journal merge DIR, the log of the site that acted alone; "
        f"moved by hand, with the card: sisamu target enrol {hosts}"
    )


def _hosts(facts: Facts) -> list[str]:
    """Return the targets a request touches, and for an evacuation the routers' other fences."""
    if facts.verb is Verb.EVACUATE:
        return [*facts.platform.routers, *_site_targets(facts).values()]
    return [*facts.platform.routers, *(facts.platform.samus[s].gateway for s in facts.samus)]


def _database(facts: Facts) -> Said:
    if facts.database is not None and not facts.database.holds:
        yield f"the database does not hold: {facts.database.said}", "sisamu quorum check"


def _survives(facts: Facts) -> Said:
    if facts.database is None or not facts.site:
        return
    verdict = facts.database.without_site(facts.site)
    if verdict in _ENDED:
        yield (
            f"without {facts.site} the database would be {verdict}",
            f"sisamu quorum what-if --lose {facts.site}",
        )


#: Verdicts under which nobody serves any more, or nobody can say.
_ENDED = ("LOST", UNFORESEEN)


#: Each row says what the rule does to a switchover, failback, revert, evacuation and check. A
#: revert is asked for because routers disagree; a check is asked for to learn what they do.
STRUCTURAL = (
    Rule(
        rule_id="test-number", check=_test_number, row=(B, B, B, B, B),
        asks="Every SAMU has a test number, so that its paths can be proved by a call.",
        remedy="set samu_test_number in the inventory",
    ),
    Rule(
        rule_id="routers-read", check=_routers_read, row=(B, B, B, B, F), binds_alone=False,
        asks="Every call router could be read.",
        remedy="sisamu doctor says what stands in the way",
    ),
    Rule(
        rule_id="targets-enrolled", check=_enrolled, row=(B, B, B, B, B),
        asks="Every router, and each SAMU's gateway that may be changed, has a fence.",
        remedy="sisamu target enrol HOST",
    ),
    Rule(
        rule_id="one-operation", check=_one_operation, row=(B, B, B, B, B),
        asks="No operation on these SAMUs runs, or ended unknown.",
        remedy="sisamu operation follow it, or sisamu reconcile",
    ),
    Rule(
        rule_id="mode-known", check=_mode_known, row=(B, B, F, B, F), binds_alone=False,
        asks="All routers agree on each SAMU's mode.",
        remedy="sisamu samu show names each router's answer, and what settles it",
    ),
    Rule(
        rule_id="mode-changes", check=_already, row=(B, F, F, N, N),
        asks="No SAMU is where it shall go already.",
        remedy="leave out the SAMUs that are",
    ),
    Rule(
        rule_id="leader-paused", check=_paused, row=(B, B, B, B, B), binds_alone=False,
        asks="The leader is not paused.",
        remedy="sisamu leader resume",
    ),
    Rule(
        rule_id="journal-untrimmed", check=_untrimmed, row=(B, B, B, B, B), binds_alone=False,
        asks="What the journal says is safe on a majority of replicas.",
        remedy="bring the sites' agents back: sisamu status",
    ),
    Rule(
        rule_id="target-held", check=_held, row=(B, B, B, B, B),
        asks="No target has taken a token above the leader's epoch.",
        remedy="sisamu journal merge DIR, or sisamu target enrol HOST",
    ),
    Rule(
        rule_id="database-quorum", check=_database, row=(B, B, B, B, F), binds_alone=False,
        passing=True,
        asks="The platform's database holds.",
        remedy="sisamu quorum check",
    ),
    Rule(
        rule_id="database-survives", check=_survives, row=(N, N, N, B, N), of_rescue=False,
        binds_alone=False, passing=True,
        asks="The platform's database would hold without the site that is evacuated.",
        remedy="sisamu quorum what-if --lose SITE",
    ),
)  # fmt: skip
