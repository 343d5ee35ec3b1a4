"""Showing fences a new token, so that nothing older can still arrive; and writing what that proves.

A seal stands between two entries, as every word to a target does: `seal.started`, whose index is
the token's, and `seal.outcome`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sisamu_ops.failover.acting.recorder import NewEntry
from sisamu_ops.failover.fold.state import State
from sisamu_ops.failover.ports import Targets
from sisamu_ops.failover.reading import Reading
from sisamu_ops.journal.privacy import for_the_journal
from sisamu_ops.journal.writer import Writer
from sisamu_ops.model.token import Token


@dataclass(frozen=True, kw_only=True)
class Sealer:
    """Seals targets for what an operation, or a check, left open."""

    state: State
    writer: Writer
    targets: Targets
    may_start: Callable[[], None]

    def seal(self, operation_id: str, hosts: Collection[str], cause: str) -> Mapping[str, Reading]:
        """Seal and read every host; LeadershipError when nothing may be started any more."""
        data: dict[str, Any] = {"operation": operation_id}
        begun = data | {"targets": list(hosts), "cause": cause}
        entry = self.writer.write("seal.started", begun)
        self.may_start()
        readings = self.targets.seal(hosts, Token(entry.epoch, entry.index))
        self.writer.write("seal.outcome", data | {"seal": entry.index} | _split(hosts, readings))
        refused = {h: readings[h].last for h in hosts if not readings[h].sealed}
        for held in newly_held(self.state, entry.epoch, operation_id, refused):
            self.writer.write(*held)
        return readings


def newly_held(
    state: State, epoch: int, operation_id: str, tokens: Mapping[str, Token | None]
) -> list[NewEntry]:
    """Return an entry for each target that has taken a token above this epoch, where it is news.

    That an entry can still be written proves that no later leader was elected: the token is one
    of a site, or of a person, that acted alone.
    """
    return [
        ("target.held", {"target": host, "token": token.to_json(), "operation": operation_id})
        for host, token in tokens.items()
        if token and token.epoch > epoch and state.held.get(host) != token
    ]


def _split(hosts: Collection[str], readings: Mapping[str, Reading]) -> dict[str, Any]:
    return {
        "sealed": [h for h in hosts if readings[h].sealed],
        "not_sealed": {
            h: for_the_journal(readings[h].problem) for h in hosts if not readings[h].sealed
        },
    }
