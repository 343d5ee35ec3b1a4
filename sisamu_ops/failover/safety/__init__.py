"""The safety rules: facts in, findings out, by a matrix that is data."""

from sisamu_ops.failover.safety.facts import Facts, Finding, name_options
from sisamu_ops.failover.safety.matrix import RULES, cells, judge, judge_overrides
from sisamu_ops.failover.safety.people_rules import AGENTS_CONFIRMED
from sisamu_ops.failover.safety.policy_rules import EXPERIMENT_RUNNING, SECOND_SIGNATURE
from sisamu_ops.failover.safety.rule import PLANNED, VERBS, Cell, Rule
from sisamu_ops.failover.safety.structural import settling

__all__ = [
    "AGENTS_CONFIRMED",
    "EXPERIMENT_RUNNING",
    "PLANNED",
    "RULES",
    "SECOND_SIGNATURE",
    "VERBS",
    "Cell",
    "Facts",
    "Finding",
    "Rule",
    "cells",
    "judge",
    "judge_overrides",
    "name_options",
    "settling",
]
