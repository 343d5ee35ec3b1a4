"""The mode each SAMU is in by the journal, as a procedure with people (pure).

A mode other than nominal has a reason, an owner, a bridge, people who were confirmed in place, and
an exit checklist; leaving it is explicit. `unknown` is what an operation left half-way: no verb
leads there, and only a change that is done leads out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sisamu_ops.failover.fold.operation import Operation, SamuEnd
from sisamu_ops.failover.reading import DEFAULT_MODE
from sisamu_ops.failover.request import Verb, parse_rfc3339
from sisamu_ops.model.outcome import Outcome
from sisamu_ops.model.platform import TelephonyMode

_NOMINAL, _DEGRADED, _BACKUP, _UNKNOWN = TelephonyMode
_ANY = frozenset(TelephonyMode)
_OTHERS = frozenset({_DEGRADED, _BACKUP})

#: From which modes each verb leads, and where to. A rescue leads out of anything.
TRANSITIONS: Mapping[Verb, tuple[frozenset[TelephonyMode], frozenset[TelephonyMode]]] = {
    Verb.SWITCHOVER: (frozenset({_NOMINAL, _DEGRADED, _BACKUP}), _OTHERS),
    Verb.FAILOVER: (_ANY, _OTHERS),
    Verb.FAILBACK: (_ANY, frozenset({_NOMINAL})),
    Verb.REVERT: (_ANY, frozenset({_NOMINAL, _DEGRADED, _BACKUP})),
}


@dataclass(frozen=True, kw_only=True)
class Confirmation:
    """Who said that a SAMU's agents are in place, when, and by which channel."""

    by: str
    channel: str
    at: str
    principal: str
    time: str


@dataclass(frozen=True, kw_only=True)
class Tick:
    """Who ticked an item of an exit checklist, and when."""

    principal: str
    time: str


@dataclass(kw_only=True)
class SamuMode:
    """The mode a SAMU was brought to, since when, why, and who answers for it."""

    mode: str = DEFAULT_MODE
    since: str = ""
    reason: str = ""
    owner: str = ""
    bridge: str = ""
    operation: str = ""
    ticked: dict[str, Tick] = field(default_factory=dict)


def entered(before: SamuMode, operation: Operation, end: SamuEnd) -> SamuMode:
    """Return the mode after a SAMU's end: a change that moved nothing leaves all as it was.

    Asked again for the mode it is in, it has been there since it came, with what was ticked.
    """
    if end.outcome is Outcome.FAILED and not end.moved:
        return before
    mode = end.to if end.outcome is Outcome.DONE else _UNKNOWN.value
    again = mode == before.mode and bool(before.since)
    return SamuMode(
        mode=mode, since=before.since if again else end.time,
        reason=operation.reason, owner=operation.owner, bridge=operation.bridge,
        operation=operation.operation_id, ticked=before.ticked if again else {},
    )  # fmt: skip


def open_items(mode: SamuMode, checklists: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Return the items of the exit checklist that nobody has ticked since the mode was entered."""
    return [item for item in checklists.get(mode.mode, {}) if item not in mode.ticked]


def is_confirmed(confirmation: Confirmation | None, since: datetime, within: timedelta) -> bool:
    """Say whether agents were said to be in place, not longer than `within` before an instant."""
    return confirmation is not None and parse_rfc3339(confirmation.time) >= since - within


def unconfirmed(
    samus: Iterable[str],
    confirmations: Mapping[str, Confirmation],
    since: datetime,
    within_minutes: int,
) -> list[str]:
    """Return the SAMUs whose agents are not known to be in place at an instant."""
    within = timedelta(minutes=within_minutes)
    return [s for s in samus if not is_confirmed(confirmations.get(s), since, within)]


def to_call(
    modes: Mapping[str, SamuMode], confirmations: Mapping[str, Confirmation], within_minutes: int
) -> list[str]:
    """Return the SAMUs that were moved before anybody said that their agents are in place."""
    return [
        samu_id
        for samu_id, mode in modes.items()
        if mode.mode != DEFAULT_MODE
        and unconfirmed([samu_id], confirmations, parse_rfc3339(mode.since), within_minutes)
    ]
