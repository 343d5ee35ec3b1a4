"""Proving a path that no caller takes: a gateway is armed, called, and disarmed again.

Nothing is moved. A token is used once, so arming and disarming each have one of their own: two
entries before the run, one after it. A leader that dies between leaves a gateway armed at worst:
no router sends it a call, and it is told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sisamu_ops.failover.acting.ledger import begins_change
from sisamu_ops.failover.acting.sealing import Sealer
from sisamu_ops.failover.fold.known import Check
from sisamu_ops.failover.fold.state import State
from sisamu_ops.failover.planning.evacuation import is_signed, signature
from sisamu_ops.failover.planning.plan import ARMED, UNARMED
from sisamu_ops.failover.ports import PlaybookRun
from sisamu_ops.failover.reading import Reading
from sisamu_ops.journal.privacy import for_the_journal
from sisamu_ops.journal.writer import Writer
from sisamu_ops.model.outcome import Outcome
from sisamu_ops.model.platform import Platform, TelephonyMode
from sisamu_ops.model.token import Token

PLAYBOOK = "samu_check.yml"


@dataclass(kw_only=True)
class Heard:
    """What one check told: each gateway's answers in order, and each SAMU's calls."""

    begun: set[str] = field(default_factory=set)
    answers: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)
    calls: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)

    def take(self, event: Mapping[str, Any]) -> None:
        """Take one event of the run."""
        if begins_change(event):
            self.begun.add(str(event["host"]))
        elif event.get("event") == "fence":
            self.answers.setdefault(str(event["host"]), []).append(event["result"])
        elif event.get("event") == "call":
            self.calls.setdefault(str(event.get("samu", "")), []).append(event["result"])

    def failed(self, samus: Sequence[str], to: str) -> dict[str, str]:
        """Return the SAMUs whose path no call has proved, and why; one answer is enough."""
        return {s: self._why(s) for s in samus if not self._is_proved(s, to)}

    def _is_proved(self, samu_id: str, to: str) -> bool:
        wanted = signature(samu_id, to)
        calls = self.calls.get(samu_id, [])
        return any(c["answered"] and is_signed(str(c["answered_by"]), wanted) for c in calls)

    def _why(self, samu_id: str) -> str:
        calls = self.calls.get(samu_id, [])
        if not calls:
            return "no test call was placed"
        said = [str(c["answered_by"] or f"status {c['status'] or 'none'}") for c in calls]
        return f"test call: {', '.join(dict.fromkeys(said))}"

    def left_armed(self, gateways: Mapping[str, str]) -> dict[str, str]:
        """Return the gateways ({host: SAMU}) that are, or may be, armed by this; and why."""
        left = {
            host: "not disarmed again"
            for host, samu_id in gateways.items()
            if _is_left_armed(self.answers.get(host, []), samu_id)
        }
        silent = [host for host in gateways if host in self.begun and host not in self.answers]
        return left | dict.fromkeys(silent, "gave no answer: it may be armed")


def _is_left_armed(answers: Sequence[Mapping[str, Any]], samu_id: str) -> bool:
    if not answers or not answers[0].get("accepted"):
        return False
    was = (answers[0].get("before") or {}).get(samu_id, UNARMED)
    disarmed = len(answers) > 1 and answers[-1].get("outcome") == Outcome.DONE.value
    return bool(was == UNARMED and not disarmed)


@dataclass(frozen=True, kw_only=True)
class Checker:
    """Carries out the checks accepted, for one tenure."""

    platform: Platform
    state: State
    writer: Writer
    sealer: Sealer
    #: Runs a playbook; says why nothing was begun, if so.
    run: Callable[[PlaybookRun, Callable[[Mapping[str, Any]], None]], str]

    def take_over(self) -> None:
        """End the checks a dead leader began: sealed first, then told what is left armed."""
        for check in self._open():
            if check.began:
                self._abandon(check)

    def advance(self, deadline_s: Callable[[int], float]) -> bool:
        """Carry out one check; False when there is none."""
        for check in self._open():
            self._carry_out(check, deadline_s(len(check.samus)))
            return True
        return False

    def _open(self) -> list[Check]:
        found = self.state.checks.values()
        return [check for check in found if check.request_id not in self.state.finished]

    def _gateways(self, check: Check) -> dict[str, str]:
        if check.to != TelephonyMode.BACKUP.value:
            return {}
        return {self.platform.samus[s].gateway: s for s in check.samus if s in self.platform.samus}

    def _carry_out(self, check: Check, deadline_s: float) -> None:
        gateways, heard = self._gateways(check), Heard()
        started = {"request": check.request_id, "to": check.to, "targets": list(gateways)}
        tokens = []
        for phase in (ARMED, UNARMED):
            entry = self.writer.write("check.started", started | {"phase": phase})
            tokens.append(Token(entry.epoch, entry.index))
        run = PlaybookRun(
            playbook=PLAYBOOK, operation=check.request_id, token=tokens[0], samus=check.samus,
            to=check.to, routers=self.platform.routers, deadline_s=deadline_s,
            extra={"sisamu_token_after": str(tokens[1])},
        )  # fmt: skip
        problem = self.run(run, heard.take)
        failed = heard.failed(check.samus, check.to)
        if problem:
            failed = dict.fromkeys(check.samus, f"not begun: {problem}")
        self._end(check, failed, heard.left_armed(gateways))

    def _abandon(self, check: Check) -> None:
        gateways = self._gateways(check)
        readings = self.sealer.seal(check.request_id, gateways, "takeover")
        why = "the leader that began it has died: ask again"
        left = {h: w for h, s in gateways.items() if (w := self._left(readings[h], s))}
        self._end(check, dict.fromkeys(check.samus, why), left)

    def _left(self, reading: Reading, samu_id: str) -> str:
        """Say why a gateway may be left armed; nothing where it is unarmed, or rightly armed."""
        value = reading.value(samu_id, UNARMED)
        if value is None or not reading.sealed:
            return reading.problem or "it could not be read"
        rightly = self.state.intended_mode(samu_id) == TelephonyMode.BACKUP.value
        return "" if value == UNARMED or rightly else "armed by a check that was not finished"

    def _end(self, check: Check, failed: Mapping[str, str], left: Mapping[str, str]) -> None:
        proved = [s for s in check.samus if s not in failed]
        data: dict[str, Any] = {"request": check.request_id, "to": check.to, "proved": proved}
        data |= {"failed": _told(failed), "left_armed": _told(left)}
        self.writer.write("check.ended", data)
        outcome = Outcome.UNKNOWN if left else Outcome.FAILED if failed else Outcome.DONE
        finished = {"request": check.request_id, "outcome": outcome.value}
        self.writer.write("request.finished", finished)


def _told(reasons: Mapping[str, str]) -> dict[str, str]:
    return {name: for_the_journal(why)[:200] for name, why in reasons.items()}
