"""What playbooks and fences told, and what that proves of each target and each SAMU (pure)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sisamu_ops.failover.fold.operation import Operation, SamuEnd, Step
from sisamu_ops.failover.planning.evacuation import is_signed, signature, signatures
from sisamu_ops.failover.reading import Reading
from sisamu_ops.model.naming import name_few
from sisamu_ops.model.outcome import Outcome, worst
from sisamu_ops.model.token import Token

_FENCE_MODULE = "sisamu_fence"


@dataclass(frozen=True, kw_only=True)
class TargetResult:
    """What is known of one target after a run.

    `left` are the SAMUs left where they were though the target did what it was sent; `took` those
    that have another value than the wanted one, by the rescue order.
    """

    outcome: Outcome
    detail: str
    left: tuple[str, ...] = ()
    took: Mapping[str, str] = field(default_factory=dict)
    refused: bool = False
    #: The newer token a target had taken when it refused ours.
    newer: Token | None = None


@dataclass(kw_only=True)
class RunLedger:
    """Collects the events of one run; says of each target done, failed or unknown.

    `choices` is what a rescue chose for a SAMU, an empty mode when none of its paths may be taken.
    """

    targets: Mapping[str, Mapping[str, str]]
    routers: Collection[str] = ()
    choices: dict[str, tuple[str, str]] = field(default_factory=dict)
    results: dict[str, TargetResult] = field(default_factory=dict)
    begun: set[str] = field(default_factory=set)
    messages: dict[str, str] = field(default_factory=dict)
    complete: bool = False

    def take(self, event: Mapping[str, Any]) -> TargetResult | None:
        """Take one event; return the result it settles for its host, if any."""
        host = str(event.get("host", ""))
        kind = event.get("event")
        if begins_change(event):
            self.begun.add(host)
        elif kind == "fence" and host in self.targets:
            self.results[host] = judge_fence(
                event["result"], self.targets[host], self._chosen(host)
            )
            return self.results[host]
        elif kind == "choice":
            self.choices[str(event["samu"])] = (str(event["to"]), str(event.get("why", "")))
        elif kind in ("failed", "unreachable"):
            self.messages.setdefault(host, str(event.get("message", "")))
        elif kind == "end":
            self.complete = True
        return None

    def fallen(self, to: str) -> dict[str, dict[str, str]]:
        """Return the SAMUs for which a rescue chose another mode than the wanted one, and why."""
        return {
            samu: {"to": chosen, "why": why}
            for samu, (chosen, why) in self.choices.items()
            if chosen != to
        }

    def _chosen(self, host: str) -> dict[str, str]:
        """Return the modes a rescue chose: routers hold modes, gateways do not."""
        return {s: to for s, (to, _) in self.choices.items()} if host in self.routers else {}

    def missing(self) -> dict[str, TargetResult]:
        """Judge the targets that gave no answer, once the run has ended.

        Only a run that told its own end proves that a target was never begun; whatever was
        begun, or was cut short, is unknown.
        """
        return {host: self._unanswered(host) for host in self.targets if host not in self.results}

    def _unanswered(self, host: str) -> TargetResult:
        said = self.messages.get(host, "")
        if self.complete and host not in self.begun:
            return TargetResult(outcome=Outcome.FAILED, detail=f"not begun {said}".strip())
        return TargetResult(outcome=Outcome.UNKNOWN, detail=said or "no answer from the target")


def begins_change(event: Mapping[str, Any]) -> bool:
    """Whether from this event on a fence may change something at its host."""
    return event.get("event") == "start" and str(event.get("module", "")).endswith(_FENCE_MODULE)


def judge_fence(
    answer: Mapping[str, Any], wanted: Mapping[str, str], chosen: Mapping[str, str] | None = None
) -> TargetResult:
    """Judge a fence helper's answer to `apply`.

    A rescue may choose another mode for a SAMU than the wanted one, or leave it out because all of
    its paths refuse calls: `done` is then true of what was sent, and both readings must show it.
    """
    if not answer.get("accepted"):
        last = answer.get("last") or {}
        newer = f" by token {last['epoch']}.{last['index']}" if last else ""
        detail = f"refused by the target ({answer.get('reason', 'no reason')}{newer})"
        token = Token(last["epoch"], last["index"]) if last else None
        return TargetResult(outcome=Outcome.FAILED, detail=detail, refused=True, newer=token)
    try:
        outcome = Outcome(answer.get("outcome"))
    except ValueError:
        outcome = Outcome.UNKNOWN
    detail = str(answer.get("detail", ""))
    if outcome is not Outcome.DONE:
        return TargetResult(outcome=outcome, detail=detail)
    sent = {samu: (chosen or {}).get(samu, value) for samu, value in wanted.items()}
    shown = {samu: value for samu, value in sent.items() if _shows(answer, samu, value)}
    return _of_each(wanted, shown, detail)


def _of_each(wanted: Mapping[str, str], shown: Mapping[str, str], detail: str) -> TargetResult:
    """Sum up a target that did what it was sent; `shown` holds the SAMUs it was done for."""
    left = tuple(samu for samu in wanted if samu not in shown)
    took = {samu: value for samu, value in shown.items() if value != wanted[samu]}
    if left:
        detail = f"SAMU {', '.join(left)} was left where it was"
    outcome = Outcome.DONE if shown or not wanted else Outcome.FAILED
    return TargetResult(outcome=outcome, detail=detail, left=left, took=took)


def _shows(answer: Mapping[str, Any], samu: str, value: str) -> bool:
    readings = (answer.get("values"), answer.get("durable"))
    return bool(value) and all(isinstance(r, Mapping) and r.get(samu) == value for r in readings)


def judge_sealed(
    reading: Reading, wanted: Mapping[str, str], default: str, order: Sequence[str] = ()
) -> TargetResult:
    """Judge an open change on a target after its fence took a newer token.

    Sealed, nothing older can still arrive: what reads as wanted, or as another mode of the rescue
    order, is done, what does not is known not done. What could not be sealed or read stays unknown.
    """
    values = {samu: reading.value(samu, default) for samu in wanted}
    detail = f"after sealing: {_seen(reading, wanted, default)}"
    if not reading.sealed or None in values.values():
        return TargetResult(outcome=Outcome.UNKNOWN, detail=detail)
    shown = {
        samu: value
        for samu, value in values.items()
        if value is not None and (value == wanted[samu] or value in order)
    }
    result = _of_each(wanted, shown, detail)
    return TargetResult(outcome=result.outcome, detail=detail, left=result.left, took=result.took)


def _seen(reading: Reading, wanted: Mapping[str, str], default: str) -> str:
    if not reading.sealed:
        return f"could not be sealed ({reading.problem or 'unreachable'})"
    found: dict[str, list[str]] = {}
    for samu in wanted:
        found.setdefault(reading.describe(samu, default), []).append(samu)
    return ", ".join(f"{name_few(samus)} reads {said}" for said, samus in found.items())


# --- one SAMU -------------------------------------------------------------------------------


def judge_samu(
    operation: Operation, samu_id: str, routers: Collection[str], *, wanted: bool
) -> SamuEnd:
    """Say what became of a SAMU, by the latest word of each target and the calls of the last run.

    A SAMU is done when every target of its path has changed, all routers hold the same mode, and a
    test call through each was answered on that path. A gateway is no part of another path.
    """
    steps = _steps(operation, samu_id)
    latest = _latest(steps, samu_id)
    modes = {h: s.value_at(h, samu_id) for h, s in latest.items() if h in routers}
    agreed = set(modes.values())
    to = next(iter(agreed)) if len(agreed) == 1 else operation.to
    found = {
        h: s.outcome_of(h, samu_id) for h, s in latest.items() if h in routers or to == operation.to
    }
    answers = dict.fromkeys(modes, signature(samu_id, to))
    outcome, said = _judge_path(found, agreed, _calls(operation, steps, samu_id), answers)
    if samu_id in operation.chosen:
        said.insert(0, operation.chosen[samu_id])
    if not wanted:
        said.append("a later request wants another mode")
    moved = any(o is not Outcome.FAILED for h, o in found.items() if h in routers)
    return SamuEnd(outcome=outcome, to=to, moved=moved, detail="; ".join(said))


def judge_preference(operation: Operation, samu_id: str, mode: str, *, wanted: bool) -> SamuEnd:
    """Say what became of a SAMU in an evacuation that is in a mode all along.

    It is done when every router asks the site it shall, and a test call through each was answered
    there, on the path of the mode.
    """
    steps = _steps(operation, samu_id)
    found = {h: s.outcome_of(h, samu_id) for h, s in _latest(steps, samu_id).items()}
    answers = signatures(operation, samu_id, mode)
    outcome, said = _judge_path(found, (), _calls(operation, steps, samu_id), answers)
    if not wanted:
        said.append("a later request wants another site")
    moved = any(o is not Outcome.FAILED for o in found.values())
    return SamuEnd(outcome=outcome, to=operation.to, moved=moved, detail="; ".join(said))


def _steps(operation: Operation, samu_id: str) -> list[Step]:
    return [s for s in operation.steps_of(operation.wave_of(samu_id)) if s.carries(samu_id)]


def _latest(steps: Sequence[Step], samu_id: str) -> dict[str, Step]:
    return {host: s for s in steps for host, change in s.targets.items() if samu_id in change}


def _judge_path(
    found: Mapping[str, Outcome],
    modes: Collection[str],
    calls: Collection[Mapping[str, Any]],
    answers: Mapping[str, str],
) -> tuple[Outcome, list[str]]:
    if not found:
        return Outcome.FAILED, ["nothing was sent"]
    if any(o is not Outcome.DONE for o in found.values()):
        said = [f"{h}: {o.value}" for h, o in found.items() if o is not Outcome.DONE]
        return worst(found.values()), said
    if len(modes) > 1:
        return Outcome.FAILED, ["the routers hold different modes"]
    outcome, why = judge_calls(calls, answers)
    return outcome, [why] if why else []


def _calls(operation: Operation, steps: Sequence[Step], samu_id: str) -> list[Mapping[str, Any]]:
    """Return the calls of the last step that were placed to a SAMU; old entries do not name it."""
    last = steps[-1].index if steps else -1
    return [
        call for call in operation.calls
        if call["step"] == last and call.get("samu", samu_id) == samu_id
    ]  # fmt: skip


def judge_calls(
    calls: Collection[Mapping[str, Any]], answers: Mapping[str, str]
) -> tuple[Outcome, str]:
    """Judge the test calls through routers: each must be answered on the wanted path.

    `answers` says by router how the answer begins; through each of these a call must have been
    placed. No call is unknown: a path is not proved by silence.
    """
    through = [call for call in calls if _is_through_router(call)]
    called = {call.get("host") for call in through}
    silent = [router for router in answers if router not in called]
    verdicts: list[Outcome] = [Outcome.UNKNOWN for _ in silent]
    details = [f"no test call through {router}" for router in silent]
    for call in through:
        result = call["result"]
        wanted = answers.get(str(call.get("host")))
        said = str(result.get("answered_by", ""))
        good = bool(result.get("answered") and wanted and is_signed(said, wanted))
        verdicts.append(Outcome.DONE if good else Outcome.FAILED)
        if not good:
            heard = said or f"status {result.get('status', 'none')}"
            details.append(f"test call through {call.get('host')}: {heard}")
    if not verdicts:
        return Outcome.UNKNOWN, "no test call was made"
    return worst(verdicts), "; ".join(details)


def _is_through_router(call: Mapping[str, Any]) -> bool:
    return str(call.get("via", "")).startswith("router")


def judge_probe(
    expected: Mapping[str, Mapping[str, str]], calls: Collection[Mapping[str, Any]]
) -> dict[str, str]:
    """Return the SAMUs a probe did not find served, and why.

    `expected` says for each, by router, how its answer begins.
    """
    bad = {}
    for samu_id, answers in expected.items():
        own = [call for call in calls if call.get("samu") == samu_id]
        outcome, why = judge_calls(own, answers)
        if outcome is not Outcome.DONE:
            bad[samu_id] = why
    return bad
