"""What one playbook run told, event by event, and what that proves of each target (pure)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from sisamu_ops.model.outcome import Outcome, worst
from sisamu_ops.model.token import Token

_FENCE_MODULES = ("sisamu_fence",)


@dataclass(frozen=True, kw_only=True)
class TargetResult:
    """What is known of one target after a run."""

    outcome: Outcome
    detail: str
    refused: bool = False
    #: The newer token a target had taken when it refused ours.
    newer: Token | None = None


@dataclass(kw_only=True)
class RunLedger:
    """Collects the events of one run; says of each target done, failed or unknown."""

    targets: Mapping[str, Mapping[str, str]]
    results: dict[str, TargetResult] = field(default_factory=dict)
    calls: list[Mapping[str, Any]] = field(default_factory=list)
    begun: set[str] = field(default_factory=set)
    messages: dict[str, str] = field(default_factory=dict)
    complete: bool = False

    def take(self, event: Mapping[str, Any]) -> TargetResult | None:
        """Take one event; return the result it settles for its host, if any."""
        host = str(event.get("host", ""))
        kind = event.get("event")
        if kind == "start" and str(event.get("module", "")).endswith(_FENCE_MODULES):
            self.begun.add(host)
        elif kind == "fence" and host in self.targets:
            self.results[host] = judge_fence(event["result"], self.targets[host])
            return self.results[host]
        elif kind == "call":
            self.calls.append(event)
        elif kind in ("failed", "unreachable"):
            self.messages.setdefault(host, str(event.get("message", "")))
        elif kind == "end":
            self.complete = True
        return None

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


def judge_fence(answer: Mapping[str, Any], wanted: Mapping[str, str]) -> TargetResult:
    """Judge a fence helper's answer to `apply`.

    A playbook may leave a SAMU out (its gateway refuses calls): `done` is then true of what
    was sent, and not of what was wanted, so both readings must show every wanted value.
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
    left = [samu for samu, value in wanted.items() if not _shows(answer, samu, value)]
    if outcome is Outcome.DONE and left:
        detail = f"SAMU {', '.join(left)} was left where it was"
        return TargetResult(outcome=Outcome.FAILED, detail=detail)
    return TargetResult(outcome=outcome, detail=str(answer.get("detail", "")))


def _shows(answer: Mapping[str, Any], samu: str, value: str) -> bool:
    readings = (answer.get("values"), answer.get("durable"))
    return all(isinstance(r, Mapping) and r.get(samu) == value for r in readings)


def judge_calls(calls: Collection[Mapping[str, Any]], to: str) -> tuple[Outcome, str]:
    """Judge the test calls through routers: each must be answered on the wanted path.

    No call is unknown: a path is not proved by silence.
    """
    verdicts, details = [], []
    for call in calls:
        if not str(call.get("via", "")).startswith("router"):
            continue
        result = call["result"]
        good = bool(result.get("answered")) and str(result.get("answered_by", "")).startswith(to)
        verdicts.append(Outcome.DONE if good else Outcome.FAILED)
        if not good:
            said = result.get("answered_by") or f"status {result.get('status', 'none')}"
            details.append(f"test call through {call.get('host')}: {said}")
    if not verdicts:
        return Outcome.UNKNOWN, "no test call was made"
    return worst(verdicts), "; ".join(details)
