"""Which losses there are (pure): every one and every two of three members, in every manner."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, permutations, product

from sisamu_ops.lab.topology import DATABASE_HOSTS
from sisamu_ops.quorum.what_if import Loss, Manner, Scope

#: How a member is lost; that only the members' own network splits is RAC's case.
MANNERS = (Manner.KILL, Manner.STOP, Manner.CUT)
MEMBERS = tuple(one.name for one in DATABASE_HOSTS)

Step = tuple[Loss, ...]


@dataclass(frozen=True, kw_only=True)
class Case:
    """Losses in steps: those of one step at once, the next step once the rest has regrouped."""

    steps: tuple[Step, ...]

    @property
    def name(self) -> str:
        """Say what is lost: `+` is at once, `, then` is one after the other."""
        return ", then ".join(
            " + ".join(f"{loss.manner.value} {loss.name}" for loss in step) for step in self.steps
        )

    @property
    def form(self) -> str:
        """Return which of the three kinds of case this is."""
        if len(self.steps) > 1:
            return "one after the other"
        return "at once" if len(self.steps[0]) > 1 else "single"

    @property
    def is_race(self) -> bool:
        """Whether two leave in good order at once: what comes of it depends on timing.

        Found by this campaign, and foreseen as such since: docs/galera-losses.md.
        """
        return any(
            len([loss for loss in step if loss.manner is Manner.STOP]) > 1 for step in self.steps
        )

    @property
    def manners(self) -> str:
        """Return the manners alone, in order."""
        order = [loss.manner.value for step in self.steps for loss in step]
        return (", " if len(self.steps) > 1 else " + ").join(order)


def all_cases() -> tuple[Case, ...]:
    """Return all 90, always in the same order: single, at once, one after the other."""
    return (*_singles(), *_at_once(), *_one_after_the_other())


def case_named(name: str) -> Case:
    """Return the case of this name; ValueError when there is none."""
    for case in all_cases():
        if case.name == name:
            return case
    raise ValueError(f"no case {name!r}")


def _loss(member: str, manner: Manner) -> Loss:
    return Loss(name=member, scope=Scope.MEMBER, manner=manner)


def _singles() -> Iterator[Case]:
    for member, manner in product(MEMBERS, MANNERS):
        yield Case(steps=((_loss(member, manner),),))


def _at_once() -> Iterator[Case]:
    for (first, second), (one, other) in product(
        combinations(MEMBERS, 2), product(MANNERS, repeat=2)
    ):
        yield Case(steps=((_loss(first, one), _loss(second, other)),))


def _one_after_the_other() -> Iterator[Case]:
    for (first, second), (one, other) in product(
        permutations(MEMBERS, 2), product(MANNERS, repeat=2)
    ):
        yield Case(steps=((_loss(first, one),), (_loss(second, other),)))
