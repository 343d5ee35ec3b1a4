"""How far an operation is, from its entries alone: each SAMU, each wave, what is left (pure)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sisamu_ops.failover.request import parse_rfc3339
from sisamu_ops.failover.telling.story import concerns
from sisamu_ops.journal.entry import Entry

WAITING = "waiting"
MOVING = "moving"


@dataclass(kw_only=True)
class SamuLine:
    """One SAMU: what it is doing, and what was last told of it."""

    samu_id: str
    wave: int
    state: str = WAITING
    detail: str = ""


@dataclass(kw_only=True)
class Progress:
    """How far one operation is; `apply` takes its entries in order, and passes over all others."""

    operation_id: str
    verb: str = ""
    to: str = ""
    lines: dict[str, SamuLine] = field(default_factory=dict)
    waves: int = 0
    wave: int = 0
    soak: timedelta = timedelta()
    doing: str = "waiting for the leader's answer"
    held: str = ""
    ended: str = ""
    _began: dict[int, datetime] = field(default_factory=dict)
    _took: dict[int, timedelta] = field(default_factory=dict)
    #: The SAMUs each target carries; only of one that carries a single one its line is told.
    _carried: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def concerns(self, entry: Entry) -> bool:
        """Say whether an entry is one of this operation or request."""
        return concerns(entry, self.operation_id)

    def apply(self, entry: Entry) -> bool:
        """Take an entry; False when it is no affair of this operation."""
        taker = _TAKERS.get(entry.kind)
        if taker is None or not self.concerns(entry):
            return False
        taker(self, entry.data, parse_rfc3339(entry.time))
        return True

    def counts(self) -> dict[str, int]:
        """Return how many SAMUs are in each state, those that are in none left out."""
        found: dict[str, int] = {}
        for line in self.lines.values():
            found[line.state] = found.get(line.state, 0) + 1
        return found

    def remaining(self, now: datetime) -> timedelta | None:
        """Return how long it will still take, by the waves so far; None before the first ended."""
        if not self._took or self.ended or self.held:
            return None
        per_samu = sum(self._took.values(), timedelta()) / max(1, self._moved())
        left = [line for line in self.lines.values() if line.state in (WAITING, MOVING)]
        soaks = self.soak * max(0, self.waves - len(self._took))
        began = self._began.get(self.wave)
        spent = now - began if began and self.wave not in self._took else timedelta()
        return max(timedelta(), per_samu * len(left) + soaks - spent)

    def _moved(self) -> int:
        return sum(line.state not in (WAITING, MOVING) for line in self.lines.values())

    def _request_accepted(self, data: Mapping[str, Any], now: datetime) -> None:
        del now
        if "changes" not in data:
            return
        waves = data.get("waves") or [data["samus"]]
        self.verb, self.to, self.waves = data["verb"], data["to"], len(waves)
        self.soak = timedelta(milliseconds=data.get("soak_ms", 0))
        self.lines = {
            samu: SamuLine(samu_id=samu, wave=number)
            for number, wave in enumerate(waves)
            for samu in wave
        }
        self.doing = "accepted"

    def _step_started(self, data: Mapping[str, Any], now: datetime) -> None:
        self.wave = data.get("wave", 0)
        self._began.setdefault(self.wave, now)
        self.held, self.doing = "", f"moving wave {self.wave + 1} of {self.waves}"
        for target, change in data["targets"].items():
            self._carried[target] = tuple(change)
            for samu in change:
                self.lines[samu].state = MOVING

    def _step_outcome(self, data: Mapping[str, Any], now: datetime) -> None:
        del now
        carried = self._carried.get(data["target"], ())
        if len(carried) == 1 and self.lines[carried[0]].state == MOVING:
            self.lines[carried[0]].detail = f"{data['target']} {data['outcome']}"

    def _call_proved(self, data: Mapping[str, Any], now: datetime) -> None:
        del now
        line = self.lines.get(str(data.get("samu", "")))
        if line is not None and line.state == MOVING:
            by = data["result"]["answered_by"] or f"status {data['result']['status'] or 'none'}"
            line.detail = f"call through {data['host']}: {by}"

    def _wave_ended(self, data: Mapping[str, Any], now: datetime) -> None:
        wave = data["wave"]
        self._took[wave] = now - self._began.get(wave, now)
        for samu, said in data["samus"].items():
            line = self.lines[samu]
            line.state, line.detail = said["outcome"], said["detail"] or f"on {said['to']}"
        soaking = self.soak and wave + 1 < self.waves
        self.doing = f"soaking after wave {wave + 1} of {self.waves}" if soaking else "going on"

    def _soak_probed(self, data: Mapping[str, Any], now: datetime) -> None:
        del now
        bad = f", {len(data['bad'])} SAMU NOT SERVED" if data["bad"] else ""
        self.doing = f"soaking after wave {data['wave'] + 1}: {data['calls']} test calls{bad}"

    def _operation_held(self, data: Mapping[str, Any], now: datetime) -> None:
        del now
        self.held = self.doing = f"held: {data['cause']}"

    def _operation_ended(self, data: Mapping[str, Any], now: datetime) -> None:
        del now
        self.ended = self.doing = data["outcome"]
        for samu in data.get("not_begun", ()):
            self.lines[samu].state = "not begun"

    def _seal_started(self, data: Mapping[str, Any], now: datetime) -> None:
        del now
        self.doing = f"sealing {len(data['targets'])} targets ({data['cause']})"


_TAKERS: Mapping[str, Callable[[Progress, Mapping[str, Any], datetime], None]] = {
    "request.accepted": Progress._request_accepted,
    "step.started": Progress._step_started,
    "step.outcome": Progress._step_outcome,
    "call.proved": Progress._call_proved,
    "wave.ended": Progress._wave_ended,
    "soak.probed": Progress._soak_probed,
    "operation.held": Progress._operation_held,
    "operation.ended": Progress._operation_ended,
    "seal.started": Progress._seal_started,
}
