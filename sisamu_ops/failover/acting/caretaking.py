"""What a leader does besides moving SAMUs: adopt rules, give targets their fences."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sisamu_ops.failover.fold.state import State
from sisamu_ops.failover.ports import Targets
from sisamu_ops.failover.reading import Reading
from sisamu_ops.failover.request import digest_of
from sisamu_ops.journal.privacy import for_the_journal
from sisamu_ops.journal.writer import Writer
from sisamu_ops.model.outcome import Outcome, worst
from sisamu_ops.model.token import Token


@dataclass(frozen=True, kw_only=True)
class Caretaker:
    """Carries out adoptions and enrolments, for one tenure."""

    state: State
    writer: Writer
    targets: Targets
    keep: Callable[[Collection[bytes]], frozenset[str]]
    documents: Callable[[], Mapping[str, bytes]]
    majority: int
    may_start: Callable[[], None]

    def adopt(self) -> bool:
        """Carry out one adoption; False when none waits."""
        for request_id, rules in self.state.adoptions.items():
            if request_id not in self.state.finished:
                self._adopt(request_id, rules)
                return True
        return False

    def enrol(self) -> bool:
        """Carry out one enrolment; False when none waits."""
        for request_id, hosts in self.state.enrolments.items():
            if request_id not in self.state.finished:
                self._enrol(request_id, hosts)
                return True
        return False

    def finish(self, request_id: str, outcomes: Sequence[Outcome]) -> None:
        """Write what a request has come to: the worst of what was done for it."""
        data = {"request": request_id, "outcome": worst(outcomes).value}
        self.writer.write("request.finished", data)

    def _adopt(self, request_id: str, rules: Mapping[str, str]) -> None:
        """Keep the documents on a majority of sites, then write the entry that names them."""
        documents = {name: doc for name, doc in self.documents().items() if name in rules}
        unchanged = all(digest_of(doc) == rules[name] for name, doc in documents.items())
        held = self.keep(documents.values()) if unchanged else frozenset()
        if len(held) < self.majority:
            self.finish(request_id, [Outcome.FAILED])
            return
        data: dict[str, Any] = {"request": request_id, "rules": dict(rules)}
        self.writer.write("rules.adopted", data | {"held": sorted(held)})
        self.finish(request_id, [Outcome.DONE])

    def _enrol(self, request_id: str, hosts: Sequence[str]) -> None:
        started = {"request": request_id}
        entries = [self.writer.write("enrol.started", started | {"target": host}) for host in hosts]
        self.may_start()
        tokens = {
            host: Token(entry.epoch, entry.index)
            for host, entry in zip(hosts, entries, strict=True)
        }
        ahead = self._ahead(hosts)
        readings = self.targets.enrol({h: t for h, t in tokens.items() if h not in ahead})
        outcomes = [
            self._record(request_id, host, ahead.get(host, tokens[host]), readings)
            for host in hosts
        ]
        self.finish(request_id, outcomes)

    def _ahead(self, hosts: Collection[str]) -> dict[str, Token]:
        """Return the targets that have taken a token above this epoch, a lone site's or a hand's.

        Noting it takes them back: the next leader's epoch is above it.
        """
        lasts = {host: reading.last for host, reading in self.targets.read(hosts).items()}
        return {h: last for h, last in lasts.items() if last and last.epoch > self.writer.epoch}

    def _record(
        self, request_id: str, host: str, token: Token, readings: Mapping[str, Reading]
    ) -> Outcome:
        outcome, detail = Outcome.DONE, "held; the next leader's epoch is above this token"
        if host in readings:
            outcome, detail = _outcome(readings[host]), for_the_journal(readings[host].problem)
        data: dict[str, Any] = {"request": request_id, "target": host, "token": token.to_json()}
        self.writer.write("enrol.outcome", data | {"outcome": outcome.value, "detail": detail})
        return outcome


def _outcome(reading: Reading) -> Outcome:
    if reading.enrolled:
        return Outcome.DONE
    return Outcome.FAILED if reading.reachable else Outcome.UNKNOWN
