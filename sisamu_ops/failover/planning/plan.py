"""From one snapshot to the ordered transitions and their digest (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sisamu_ops.failover.fold.operation import SamuEnd
from sisamu_ops.failover.fold.state import State
from sisamu_ops.failover.planning.evacuation import asked_first, preferences
from sisamu_ops.failover.planning.pacing import split_waves
from sisamu_ops.failover.ports import DatabaseWord
from sisamu_ops.failover.reading import ModeReading, Reading, judge_mode
from sisamu_ops.failover.request import AT_ONCE, Verb, digest_of
from sisamu_ops.failover.safety import RULES, SECOND_SIGNATURE, Facts, Finding, judge
from sisamu_ops.journal.canonical import canonical_bytes
from sisamu_ops.model.errors import ConfigurationError
from sisamu_ops.model.outcome import Outcome
from sisamu_ops.model.platform import Platform, TelephonyMode

PLAYBOOKS: Mapping[Verb, str] = {
    Verb.SWITCHOVER: "samu_switchover.yml",
    Verb.FAILOVER: "samu_failover.yml",
    Verb.FAILBACK: "samu_failback.yml",
    Verb.REVERT: "samu_switchover.yml",
    Verb.EVACUATE: "site_evacuate.yml",
}
ARMED = "armed"
UNARMED = "unarmed"


@dataclass(frozen=True, kw_only=True)
class Transition:
    """One intended move on one target, in the order they are made."""

    order: int
    host: str
    samu_id: str
    before: str
    after: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What would be done, to what, and what the rules say of it."""

    verb: Verb
    samus: tuple[str, ...]
    to: str
    transitions: tuple[Transition, ...]
    findings: tuple[Finding, ...]
    modes: Mapping[str, ModeReading]
    waves: tuple[tuple[str, ...], ...]
    soak_ms: int = 0
    #: The modes a rescue may fall to, the wanted one first.
    order: tuple[str, ...] = ()
    #: SAMUs asked for that are there already, by the journal and by every router: left alone.
    already: tuple[str, ...] = ()
    #: The rules set aside by name, broken or not.
    overrides: tuple[str, ...] = field(default=())
    #: The site evacuated, or brought home; and what the database would be without one that is left.
    site: str = ""
    without: str = ""

    @property
    def blocked_by(self) -> tuple[Finding, ...]:
        """Return the findings that forbid it."""
        return tuple(f for f in self.findings if f.blocks)

    @property
    def lacks_second(self) -> bool:
        """Say whether it may begin on one signature, and the second then falls due."""
        return any(f.rule == SECOND_SIGNATURE and not f.blocks for f in self.findings)

    @property
    def changes(self) -> dict[str, dict[str, str]]:
        """Return what each target shall be, per SAMU, in order of change."""
        found: dict[str, dict[str, str]] = {}
        for move in self.transitions:
            found.setdefault(move.host, {})[move.samu_id] = move.after
        return found

    def accepted(self) -> dict[str, Any]:
        """Return what the entry that accepts it holds, for whoever carries it out."""
        whole: dict[str, Any] = {
            "samus": list(self.samus), "to": self.to, "plan": self.digest,
            "changes": self.changes, "waves": [list(wave) for wave in self.waves],
            "soak_ms": self.soak_ms, "order": list(self.order), "already": list(self.already),
            "overrides": list(self.overrides),
        }  # fmt: skip
        return whole | ({"site": self.site} if self.site else {})

    def document(self) -> bytes:
        """Return what is reviewed, as canonical JSON: transitions, targets, verdicts, waves.

        Measurements are no part of it.
        """
        verdicts = sorted(
            {(f.rule, f.blocks, f.overridden) for f in self.findings if self._decides(f)}
        )
        return canonical_bytes(
            {
                "verb": self.verb.value,
                "to": self.to,
                "samus": list(self.samus),
                "already": list(self.already),
                "waves": [list(wave) for wave in self.waves],
                "soak_ms": self.soak_ms,
                "order": list(self.order),
                "transitions": [[m.host, m.samu_id, m.before, m.after] for m in self.transitions],
                "verdicts": [list(verdict) for verdict in verdicts],
                "overrides": list(self.overrides),
                **({"site": self.site} if self.site else {}),
            }
        )

    @property
    def digest(self) -> str:
        """Return the SHA-256 over the document: transitions, targets and rule verdicts."""
        return digest_of(self.document())

    def _decides(self, finding: Finding) -> bool:
        """Say whether a finding is part of what was decided.

        Signatures come after the plan they are given for. What passes by itself must not make a
        rescue another one than was reviewed.
        """
        if finding.rule == SECOND_SIGNATURE:
            return False
        rule = RULES.get(finding.rule)
        return self.verb.planned or rule is None or not rule.passing


def check_direction(verb: Verb, to: str, mode_order: Sequence[str]) -> str:
    """Return the mode a verb leads to; ConfigurationError when they do not go together."""
    nominal = TelephonyMode.NOMINAL.value
    if verb is Verb.FAILBACK:
        allowed: tuple[str, ...] = (nominal,)
    else:
        allowed = (*mode_order, nominal) if verb is Verb.REVERT else tuple(mode_order)
    wanted = to or allowed[0]
    if wanted not in allowed:
        raise ConfigurationError(
            f"a {verb.value} does not lead to {wanted!r}",
            place="--to",
            remedy=f"use one of: {', '.join(allowed)}",
        )
    return wanted


def build_plan(
    *,
    platform: Platform,
    state: State,
    verb: Verb,
    samus: Sequence[str],
    to: str,
    readings: Mapping[str, Reading],
    read_at: datetime,
    untrimmed: int = 0,
    alone: bool = False,
    database: DatabaseWord | None = None,
    approvers: Sequence[str] = (),
    overrides: Sequence[str] = (),
    experiments: Sequence[str] = (),
    pace: str = "",
    site: str = "",
) -> Plan:
    """Plan the move of `samus` to `to` from what was read at `read_at`, and judge it then.

    Those that are there already are left alone, unless all are. In an evacuation `site` is left to
    the site `to`, or brought home where both are the same.
    """
    asked = tuple(sorted({platform.samu(s).samu_id for s in samus}))
    modes = {s: judge_mode(s, platform.routers, readings, read_at) for s in asked}
    there = [s for s in asked if verb.moves and _is_there(state, s, modes[s], to)]
    if verb is Verb.EVACUATE:
        wanted = preferences(platform, asked, state.evacuated, site, to)
        there = [s for s in asked if _prefers(platform, state, s, wanted, readings, to)]
    chosen = tuple(s for s in asked if s not in there) or asked
    left = site if site != to else ""
    facts = Facts(
        platform=platform, state=state, verb=verb, samus=chosen, to=to, readings=readings,
        modes=modes, untrimmed=untrimmed, alone=alone, database=database, now=read_at,
        approvers=tuple(approvers), overrides=tuple(sorted(set(overrides))),
        experiments=tuple(experiments), site=left,
    )  # fmt: skip
    moves = _transitions(platform, verb, chosen, to, readings)
    if verb is Verb.EVACUATE:
        moves = _evacuation(platform, chosen, wanted, readings)
    waves = platform.policy.waves
    return Plan(
        verb=verb, samus=chosen, to=to, findings=judge(facts), modes=modes,
        overrides=facts.overrides,
        transitions=tuple(moves), site=site,
        without=database.without_site(left) if database and left else "",
        waves=split_waves(chosen, waves, planned=verb.planned, at_once=pace == AT_ONCE),
        soak_ms=waves.soak_ms if verb.planned else 0,
        order=rescue_order(verb, to, platform.policy.mode_order),
        already=tuple(s for s in asked if s not in chosen),
    )  # fmt: skip


def rescue_order(verb: Verb, to: str, mode_order: Sequence[str]) -> tuple[str, ...]:
    """Return the modes a rescue may fall to, the wanted one first; none for a planned verb."""
    if verb is not Verb.FAILOVER or to not in mode_order:
        return ()
    return tuple(mode_order[mode_order.index(to) :])


def _is_there(state: State, samu_id: str, mode: ModeReading, to: str) -> bool:
    """Say whether a SAMU is where it shall be, by the last word on it and by every router."""
    settled = _ended_on(state.last_end(samu_id, evacuates=False), to)
    return settled and mode.mode.value == to == state.intended_mode(samu_id)


def _ended_on(end: SamuEnd | None, to: str) -> bool:
    return end is not None and (end.outcome, end.to) == (Outcome.DONE, to)


def _prefers(
    platform: Platform,
    state: State,
    samu_id: str,
    wanted: Mapping[str, Mapping[str, str]],
    readings: Mapping[str, Reading],
    to: str,
) -> bool:
    """Say whether every router asks the wanted site first, by the last word and by reading."""
    return _ended_on(state.last_end(samu_id, evacuates=True), to) and all(
        target in readings
        and readings[target].value(samu_id, asked_first(platform, target)) == change[samu_id]
        for target, change in wanted.items()
    )  # fmt: skip


def _evacuation(
    platform: Platform,
    samus: Sequence[str],
    wanted: Mapping[str, Mapping[str, str]],
    readings: Mapping[str, Reading],
) -> list[Transition]:
    """Order the moves router by router; neither modes nor gateways are touched."""
    moves = [
        (target, s, change[s], asked_first(platform, target))
        for target, change in wanted.items()
        for s in samus
    ]
    return _in_order(moves, readings)


def _transitions(
    platform: Platform, verb: Verb, samus: Sequence[str], to: str, readings: Mapping[str, Reading]
) -> list[Transition]:
    """Order the moves: the path that shall carry the calls first, the one left last.

    A rescue that needs no gateway does not touch one: it would only be waited for.
    """
    to_backup = to == TelephonyMode.BACKUP.value
    armed = ARMED if to_backup else UNARMED
    gateways = [(platform.samus[s].gateway, s, armed, UNARMED) for s in samus]
    if verb is Verb.FAILOVER and not to_backup:
        gateways = []
    routes = [(r, s, to, TelephonyMode.NOMINAL.value) for r in platform.routers for s in samus]
    moves = gateways + routes if to_backup else routes + gateways
    return _in_order(moves, readings)


def _in_order(
    moves: Sequence[tuple[str, str, str, str]], readings: Mapping[str, Reading]
) -> list[Transition]:
    """Number the moves, each of a host, a SAMU, the value it gets and that of a silent host."""
    return [
        Transition(
            order=order, host=host, samu_id=samu_id, after=after,
            before=_described(readings.get(host), samu_id, default),
        )
        for order, (host, samu_id, after, default) in enumerate(moves, start=1)
    ]  # fmt: skip


def _described(reading: Reading | None, samu_id: str, default: str) -> str:
    return "not read" if reading is None else reading.describe(samu_id, default)
