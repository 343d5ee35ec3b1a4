"""One accepted request to move SAMUs: its waves, its steps, and what became of each SAMU (pure).

A wave is some of the operation's SAMUs, moved together; a step is one run of a playbook for one
wave, and a wave may take several when a leader died. What is known of a target is known of it for
every SAMU the step carried, but for those that were left where they were; what is known of a SAMU
follows from its targets, and from the test calls that prove its path.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sisamu_ops.failover.request import Verb
from sisamu_ops.model.naming import name_few
from sisamu_ops.model.outcome import Outcome, worst
from sisamu_ops.model.token import Token

#: Before any entry.
NOTHING = Token(0, -1)


@dataclass(kw_only=True)
class Step:
    """One run of a playbook: which targets it means to change, and what is known of each.

    `left` names, by target, the SAMUs that were left where they were though the target did what it
    was sent; `took` those whose value there is another of the rescue order than the wanted one.
    """

    index: int
    epoch: int
    time: str
    playbook: str
    targets: Mapping[str, Mapping[str, str]]
    wave: int = 0
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    details: dict[str, str] = field(default_factory=dict)
    left: dict[str, tuple[str, ...]] = field(default_factory=dict)
    took: dict[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def token(self) -> Token:
        """Return the fencing token: the epoch and index of the `started` entry."""
        return Token(self.epoch, self.index)

    def open_targets(self) -> list[str]:
        """Return the targets with no outcome, or an unknown one."""
        known = (Outcome.DONE, Outcome.FAILED)
        return [host for host in self.targets if self.outcomes.get(host) not in known]

    def carries(self, samu_id: str) -> bool:
        """Say whether the step means to change anything for a SAMU."""
        return any(samu_id in change for change in self.targets.values())

    def outcome_of(self, host: str, samu_id: str) -> Outcome:
        """Return what is known of a SAMU at one target; a target that gave no answer is unknown."""
        if samu_id in self.left.get(host, ()):
            return Outcome.FAILED
        return self.outcomes.get(host, Outcome.UNKNOWN)

    def value_at(self, host: str, samu_id: str) -> str:
        """Return the value a target took for a SAMU, or should have taken."""
        return self.took.get(host, {}).get(samu_id, self.targets[host][samu_id])


@dataclass(frozen=True, kw_only=True)
class SamuEnd:
    """What became of one SAMU: `to` is the mode it was brought to, or was to be brought to.

    `moved` says whether any router may have changed for it.
    """

    outcome: Outcome
    to: str
    moved: bool
    detail: str = ""
    time: str = ""


@dataclass(kw_only=True)
class Soak:
    """The test calls placed after a wave, before the next: how often, when last, what failed."""

    probes: int = 0
    last_at: str = ""
    over: bool = False
    bad: dict[str, str] = field(default_factory=dict)


@dataclass(kw_only=True)
class Operation:
    """One accepted request to move SAMUs, from its acceptance to its outcome.

    An evacuation moves no SAMU to another mode: `to` is the site that takes over from `site`.
    """

    operation_id: str
    verb: Verb
    samus: tuple[str, ...]
    to: str
    principal: str
    reason: str
    plan: str
    index: int
    accepted_at: str
    targets: Mapping[str, Mapping[str, str]]
    previous: Mapping[str, str]
    findings: tuple[str, ...] = ()
    #: The SAMUs in the order they are moved; one wave holds them all unless said otherwise.
    waves: tuple[tuple[str, ...], ...] = ()
    #: How long calls are watched between two waves, in milliseconds.
    soak_ms: int = 0
    #: The modes a rescue may fall to, the wanted one first.
    order: tuple[str, ...] = ()
    #: Who answers for the mode it leads to, the bridge that is open, the rules set aside by name.
    owner: str = ""
    bridge: str = ""
    overrides: tuple[str, ...] = ()
    #: The site evacuated, or brought home where `to` is the same; empty for a move.
    site: str = ""
    steps: list[Step] = field(default_factory=list)
    calls: list[Mapping[str, Any]] = field(default_factory=list)
    #: Why a rescue took another path than the wanted one, by SAMU.
    chosen: dict[str, str] = field(default_factory=dict)
    ends: dict[str, SamuEnd] = field(default_factory=dict)
    waves_ended: dict[int, str] = field(default_factory=dict)
    soaks: dict[int, Soak] = field(default_factory=dict)
    #: Why it is held, and since when; empty while it goes on.
    held: str = ""
    held_at: str = ""
    #: What an operator has seen and gone on from: SAMUs not done, and waves whose soak failed.
    excused: set[str] = field(default_factory=set)
    excused_soaks: set[int] = field(default_factory=set)
    #: Where it last went on: at its acceptance, or when an operator said so.
    went_on: int = -1
    aborted_by: str = ""
    outcome: Outcome | None = None
    detail: str = ""
    moved: bool = False
    ended_at: str = ""
    ended_index: int = -1
    #: The break-glass log it was carried out in; empty for the journal's own.
    origin: str = ""
    #: Where it was accepted, as a token: what is intended follows the highest.
    token: Token = NOTHING
    approvers: tuple[str, ...] = ()
    #: When the second signature was due, where one was enough to begin.
    second_by: str = ""

    def __post_init__(self) -> None:
        """Make one wave of all SAMUs where none is named."""
        self.waves = self.waves or (self.samus,)

    @property
    def evacuates(self) -> bool:
        """Say whether it is about which site is asked first, and not about any mode."""
        return self.verb is Verb.EVACUATE

    @property
    def second_due(self) -> str:
        """Return when the second signature is due, an empty text when none is."""
        return "" if self.approvers else self.second_by

    @property
    def waits_for_people(self) -> bool:
        """Say whether it was accepted to wait for agents to be in place, and has not begun."""
        waits = any(finding.startswith("agents-confirmed: ") for finding in self.findings)
        return waits and self.verb is Verb.SWITCHOVER and not self.steps

    # --- targets ------------------------------------------------------------------------

    def steps_of(self, wave: int) -> list[Step]:
        """Return the runs of one wave, oldest first."""
        return [step for step in self.steps if step.wave == wave]

    def target_outcomes(self) -> dict[str, Outcome]:
        """Return what is known of each target: of each wave the latest word, of all the worst."""
        found: dict[str, list[Outcome]] = {}
        for wave in range(len(self.waves)):
            for host, outcome in _latest(self.steps_of(wave)).items():
                found.setdefault(host, []).append(outcome)
        return {host: worst(outcomes) for host, outcomes in found.items()}

    def unsettled(self) -> list[str]:
        """Return the targets of which nobody knows whether they were changed."""
        return [h for h, o in self.target_outcomes().items() if o is Outcome.UNKNOWN]

    def changes_of(self, samus: Collection[str]) -> dict[str, dict[str, str]]:
        """Return what each target shall be for some of the SAMUs, in order of change."""
        of_each = {
            host: {s: value for s, value in change.items() if s in samus}
            for host, change in self.targets.items()
        }
        return {host: change for host, change in of_each.items() if change}

    # --- SAMUs --------------------------------------------------------------------------

    @property
    def wave(self) -> int | None:
        """Return the first wave with a SAMU that has not ended, None when there is none."""
        for number, samus in enumerate(self.waves):
            if not all(s in self.ends for s in samus):
                return number
        return None

    def remaining(self, wave: int) -> list[str]:
        """Return the SAMUs of a wave that have not ended."""
        return [s for s in self.waves[wave] if s not in self.ends]

    def not_begun(self) -> list[str]:
        """Return the SAMUs for which nothing was sent to any target."""
        return [s for s in self.samus if s not in self.ends and not self._begun(s)]

    def _begun(self, samu_id: str) -> bool:
        return any(step.carries(samu_id) for step in self.steps)

    def samus_with(self, outcome: Outcome) -> list[str]:
        """Return the SAMUs that ended so."""
        return [s for s in self.samus if s in self.ends and self.ends[s].outcome is outcome]

    def wave_of(self, samu_id: str) -> int:
        """Return the wave a SAMU is in."""
        return next(n for n, samus in enumerate(self.waves) if samu_id in samus)

    def started_at(self, samu_id: str) -> str:
        """Return when the first step that carries a SAMU began, an empty text before that."""
        return next((step.time for step in self.steps if step.carries(samu_id)), "")

    def overall(self) -> Outcome:
        """Sum up: any SAMU unknown is unknown, else any failed or not begun is failed."""
        known = {s: end.outcome for s, end in self.ends.items()}
        of_each = [known.get(s, self._open_outcome(s)) for s in self.samus]
        return worst(of_each)

    def _open_outcome(self, samu_id: str) -> Outcome:
        return Outcome.UNKNOWN if self._begun(samu_id) else Outcome.FAILED


def _latest(steps: Iterable[Step]) -> dict[str, Outcome]:
    return {
        host: step.outcomes.get(host, Outcome.UNKNOWN) for step in steps for host in step.targets
    }


def summary(operation: Operation) -> str:
    """Say in one line what became of an operation's SAMUs, exactly."""
    if len(operation.samus) == 1 and operation.ends:
        return operation.ends[operation.samus[0]].detail
    of_each = [
        (outcome.value, operation.samus_with(outcome))
        for outcome in (Outcome.DONE, Outcome.FAILED, Outcome.UNKNOWN)
    ]
    said = [
        f"{len(samus)} {word}" + (f": {name_few(samus)}" if word != "done" else "")
        for word, samus in (*of_each, ("not begun", operation.not_begun()))
        if samus
    ]
    by = [f"aborted by {operation.aborted_by}"] if operation.aborted_by else []
    return "; ".join([*said, *by])
