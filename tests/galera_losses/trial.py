"""One case on trial: foreseen from a whole cluster, inflicted, and compared with what came."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from time import monotonic
from typing import Any

from sisamu_ops.app import App, Options
from sisamu_ops.lab import Lab
from sisamu_ops.quorum.assessment import Assessment
from sisamu_ops.quorum.cluster import Cluster
from sisamu_ops.quorum.provider import Provider
from sisamu_ops.quorum.verdict import Verdict
from sisamu_ops.quorum.what_if import Manner, Prospect, foresee
from tests.galera_losses.cases import Case, Step
from tests.galera_losses.losing import await_rest, inflict
from tests.galera_losses.members import committing
from tests.galera_losses.restoring import make_whole
from tests.support.lab import from_network


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What was foreseen of some steps, and what came of them; `truth` names who commits."""

    predicted: str
    checked: str
    truth: tuple[str, ...]
    survivors_predicted: tuple[str, ...]
    survivors_seen: tuple[str, ...]
    settled: bool
    data: tuple[str, ...]

    def differences(self, is_race: bool) -> Iterator[str]:
        """Say in what they are not alike; nothing when the prediction was right.

        Of a race nothing is foretold but what holds either way: it is judged by that, and by
        whether the check afterwards tells the truth.
        """
        if not self.settled:
            yield "the cluster did not come to rest"
        if (self.checked != Verdict.LOST.value) != bool(self.truth):
            yield f"checked {self.checked}, {_names(self.truth)} commits"
        if is_race and self.predicted not in (Verdict.UNKNOWN.value, self.checked):
            yield f"foreseen {self.predicted}, checked {self.checked}"
        if not is_race:
            yield from self._unlike()

    def _unlike(self) -> Iterator[str]:
        survivors = set(self.survivors_predicted)
        if self.predicted != self.checked:
            yield f"foreseen {self.predicted}, checked {self.checked}"
        if survivors != set(self.survivors_seen):
            yield f"foreseen {_names(survivors)}, Primary are {_names(self.survivors_seen)}"
        if (self.predicted != Verdict.LOST.value) != bool(self.truth):
            yield f"foreseen {self.predicted}, {_names(self.truth)} commits"
        if survivors & set(self.data) != set(self.truth):
            yield f"foreseen {_names(survivors)}, writes are committed by {_names(self.truth)}"


@dataclass(frozen=True, kw_only=True)
class Result:
    """One case tried; `between` is empty unless losses came one after the other."""

    case: str
    form: str
    manners: str
    is_race: bool
    outcome: Outcome
    between: Outcome | None
    differences: tuple[str, ...]
    seconds: float
    restored_by: str = ""
    restored_s: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether everything came as foreseen."""
        return not self.differences

    def facts(self) -> dict[str, Any]:
        """Return the result as data."""
        known = asdict(self)
        return {"case": self.case, "ok": self.ok, **known.pop("outcome"), **known}


def _names(names: Sequence[str] | set[str]) -> str:
    return ", ".join(sorted(names)) or "nobody"


class Trial:
    """A lab, and the tool that is asked about its database as an operator would ask."""

    def __init__(self, lab: Lab) -> None:
        """Keep the lab; it must be up."""
        self.lab = lab

    @cached_property
    def _provider(self) -> Provider:
        """Return the provider of the lab's inventory: it asks over SSH."""
        return App(Options(inventory=self.lab.inventory)).quorum("galera")

    def check(self) -> Assessment:
        """Check the cluster with the tool, from where operators are."""
        return self._provider.assess(from_network(self.lab, "ops", self._provider.capture))

    def run(self, case: Case) -> Result:
        """Try one case on a whole cluster; it is left as the losses left it."""
        began = monotonic()
        before = self._whole()
        outcomes = [
            self._lose(before, case.steps[: count + 1], case.name)
            for count in range(len(case.steps))
        ]
        *between, last = outcomes
        return Result(
            case=case.name, form=case.form, manners=case.manners,
            is_race=case.is_race,
            outcome=last, between=between[0] if between else None,
            differences=tuple(said for one in outcomes for said in one.differences(case.is_race)),
            seconds=round(monotonic() - began, 1),
        )  # fmt: skip

    def _whole(self) -> Cluster:
        """Return the cluster as checked; it must be whole by the tool's word too."""
        make_whole(self.lab)
        assessment = self.check()
        if assessment.verdict is not Verdict.QUORATE:
            said = "; ".join(one.message for one in assessment.findings)
            raise RuntimeError(f"whole, and checked {assessment.verdict.value}: {said}")
        return assessment.cluster

    def _lose(self, before: Cluster, steps: tuple[Step, ...], said: str) -> Outcome:
        """Inflict the last of these steps; what comes is foreseen from before the first."""
        foreseen = foresee(before, *steps)
        inflict(self.lab, steps[-1])
        return self._outcome(before, foreseen, said)

    def _outcome(self, before: Cluster, foreseen: Prospect, said: str) -> Outcome:
        cut = frozenset(one.name for one in foreseen.losses if one.manner is Manner.CUT)
        rest = await_rest(self.lab, cut)
        return Outcome(
            predicted=foreseen.verdict.value,
            checked=self.check().verdict.value,
            truth=committing(self.lab, said),
            survivors_predicted=tuple(sorted(foreseen.survivors)),
            survivors_seen=rest.primary,
            settled=rest.settled,
            data=tuple(one.name for one in before.members if one.holds_data),
        )
