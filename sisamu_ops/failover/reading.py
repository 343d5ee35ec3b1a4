"""What was read from targets, and what mode that makes (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sisamu_ops.model.platform import TelephonyMode
from sisamu_ops.model.token import Token

#: A router without a key for a SAMU sends its calls to the national platform.
DEFAULT_MODE = TelephonyMode.NOMINAL.value


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One target's answer to `read` or `seal`: running values, durable list, fence."""

    host: str
    reachable: bool
    enrolled: bool = False
    last: Token | None = None
    values: Mapping[str, str] | None = None
    durable: Mapping[str, str] | None = None
    #: True when the fence took the token shown by a seal.
    sealed: bool = False
    problem: str = ""
    record: Mapping[str, Any] = field(default_factory=dict)
    #: When a gateway's telephone directory was last synchronised (milliseconds since the Unix
    #: epoch); None for a target that has none, or whose directory is missing.
    directory_at: int | None = None

    def value(self, samu_id: str, default: str = DEFAULT_MODE) -> str | None:
        """Return the value in force, or None when running and durable disagree or are unread."""
        if not self.reachable or self.values is None or self.durable is None:
            return None
        running = self.values.get(samu_id, default)
        return running if running == self.durable.get(samu_id, default) else None

    def describe(self, samu_id: str, default: str = DEFAULT_MODE) -> str:
        """Say in a word or two what this target answered for a SAMU."""
        if not self.reachable:
            return "unreachable"
        value = self.value(samu_id, default)
        if value is not None:
            return value
        if self.values is None:
            return "not read"
        running, durable = self.values.get(samu_id, default), (self.durable or {}).get(samu_id)
        return f"running {running}, durable {durable or default}"


@dataclass(frozen=True, kw_only=True)
class ModeReading:
    """A SAMU's mode as read from all routers, with each router's own answer."""

    samu_id: str
    mode: TelephonyMode
    read_at: datetime
    routers: Mapping[str, str]


def judge_mode(
    samu_id: str, routers: Iterable[str], readings: Mapping[str, Reading], read_at: datetime
) -> ModeReading:
    """Return the mode all routers agree on; `unknown` when one is unread or disagrees."""
    answers: dict[str, str] = {}
    values: set[str | None] = set()
    for router in routers:
        reading = readings.get(router) or Reading(host=router, reachable=False)
        answers[router] = reading.describe(samu_id)
        values.add(reading.value(samu_id))
    agreed = values.pop() if len(values) == 1 else None
    known = {mode.value for mode in TelephonyMode}
    # A router may hold any word, set by hand: what is no mode is unknown, and told as read.
    mode = TelephonyMode(agreed) if agreed in known else TelephonyMode.UNKNOWN
    return ModeReading(samu_id=samu_id, mode=mode, read_at=read_at, routers=answers)
