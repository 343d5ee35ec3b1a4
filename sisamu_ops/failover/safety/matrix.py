"""The rules by verb: what blocks a planned change is a finding for a rescue (pure).

The rows stand beside the rules; an inventory may narrow or widen which planned verbs a rule blocks.
Neither has a place to say that a rescue is blocked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from sisamu_ops.failover.request import Verb
from sisamu_ops.failover.safety.facts import Facts, Finding
from sisamu_ops.failover.safety.people_rules import PEOPLE_RULES
from sisamu_ops.failover.safety.policy_rules import POLICY_RULES
from sisamu_ops.failover.safety.rule import VERBS, Cell, Rule
from sisamu_ops.failover.safety.structural import STRUCTURAL
from sisamu_ops.model.safety import Safety

_ALL = (*STRUCTURAL, *POLICY_RULES, *PEOPLE_RULES)
#: Every rule by its id, in the order they are judged and told.
RULES: Mapping[str, Rule] = {rule.rule_id: rule for rule in _ALL}


def judge(facts: Facts) -> tuple[Finding, ...]:
    """Return every rule not satisfied, in the order of the matrix."""
    return tuple(finding for rule in RULES.values() for finding in _findings(facts, rule))


def cells(rule: Rule, safety: Safety) -> Mapping[Verb, Cell]:
    """Return what a rule does to each verb on a platform of these settings."""
    chosen = safety.blocks.get(rule.rule_id)
    if chosen is None:
        return rule.default
    return {verb: _chosen(cell, verb, chosen) for verb, cell in rule.default.items()}


def _chosen(cell: Cell, verb: Verb, blocks: Sequence[str]) -> Cell:
    if cell is Cell.NOTHING or not verb.planned:
        return cell
    return Cell.BLOCKS if verb.value in blocks else Cell.FINDING


def _findings(facts: Facts, rule: Rule) -> Iterator[Finding]:
    cell = cells(rule, facts.safety)[facts.verb]
    if cell is Cell.NOTHING:
        return
    blocks = cell is Cell.BLOCKS and (rule.binds_alone or not facts.alone)
    overridden = blocks and rule.rule_id in facts.overrides
    for message, remedy in rule.check(facts):
        yield Finding(
            rule=rule.rule_id, message=message, remedy=remedy, blocks=blocks and not overridden,
            overridden=overridden,
        )  # fmt: skip


def judge_overrides(
    verb: Verb, overrides: Sequence[str], *, also: Sequence[str] = ()
) -> Iterator[Finding]:
    """Find what a request would set aside that is no rule for its verb; `also` names others."""
    known = [*(RULES if verb in VERBS else ()), *also]
    for rule in overrides:
        if rule not in known:
            yield Finding(
                rule="override", blocks=True, message=f"{rule} is not a rule to override here",
                remedy=f"one of: {', '.join(known)}" if known else "leave --override out",
            )  # fmt: skip
