"""What a rule is: an id, a question, and what it does to each verb (pure data)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from sisamu_ops.failover.request import Verb
from sisamu_ops.failover.safety.facts import Facts, Said


class Cell(Enum):
    """What a rule that is not satisfied does to a verb."""

    BLOCKS = "blocks"
    FINDING = "finding"
    #: The rule does not ask anything of this verb.
    NOTHING = "-"


#: The columns of the matrix, as they are printed.
VERBS = (
    Verb.SWITCHOVER, Verb.FAILOVER, Verb.FAILBACK, Verb.REVERT, Verb.EVACUATE, Verb.CHECK
)  # fmt: skip
#: The columns a row is written in. A rescue has none: there is no place to say that it is blocked.
PLANNED = tuple(verb for verb in VERBS if verb.planned)


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule. `check` looks at the facts of one moment and says nothing when it is satisfied.

    `asks` is what must hold, `remedy` what one does about it. A rule with `needs_settings` is in
    force where the inventory gives it some. One that does not `bind_alone` is about what a site
    that is cut off cannot have. What a `passing` rule finds changes by itself, or is not waited
    for by a rescue: it is told to one, and is no part of its plan. One that is not `of_rescue` asks
    for what no rescue does.
    """

    rule_id: str
    asks: str
    remedy: str
    check: Callable[[Facts], Said]
    row: tuple[Cell, ...]
    needs_settings: bool = False
    binds_alone: bool = True
    passing: bool = False
    of_rescue: bool = True

    @property
    def default(self) -> Mapping[Verb, Cell]:
        """Return the cell of every verb, where the inventory says nothing else."""
        planned = dict(zip(PLANNED, self.row, strict=True))
        rescue = Cell.FINDING if self.of_rescue else Cell.NOTHING
        return {verb: planned.get(verb, rescue) for verb in VERBS}

    @property
    def source(self) -> str:
        """Return the module that holds the rule, as a file."""
        return self.check.__module__.replace(".", "/") + ".py"
