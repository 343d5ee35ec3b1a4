"""When an operation goes on with what: waves, soaks, holds (pure).

A planned change begins with one SAMU, the canary. After each wave test calls are placed through
every router until the soak is over, and only then the next, larger wave begins; the first SAMU that
is not done, the first bad call, or a rescue asked for meanwhile holds it until an operator says how
to go on. A rescue waits for nothing and holds at nothing.

Source: what the change of 2 June 2021 to all call servers at once has taught.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from sisamu_ops.failover.fold.operation import Operation, Soak
from sisamu_ops.failover.request import parse_rfc3339
from sisamu_ops.model.naming import name_few
from sisamu_ops.model.outcome import Outcome
from sisamu_ops.model.platform import Waves

#: A soak has a probe at each third, but none sooner than this after the last.
_GAP = timedelta(seconds=1)


class Act(Enum):
    """What is to be done next for an operation."""

    RUN = "run"
    PROBE = "probe"
    WAIT = "wait"
    HOLD = "hold"
    END = "end"


@dataclass(frozen=True, kw_only=True)
class Next:
    """What comes next: of which wave, why it waits or holds, and until when at most."""

    act: Act
    wave: int = -1
    cause: str = ""
    until: datetime | None = None
    #: The probe that ends the soak.
    is_last: bool = False


def split_waves(
    samus: Sequence[str], waves: Waves, *, planned: bool, at_once: bool
) -> tuple[tuple[str, ...], ...]:
    """Split SAMUs into waves: a canary, then growing ones; a rescue takes equal ones at once."""
    if at_once and not planned:
        return (tuple(samus),)
    size = waves.canary if planned else waves.rescue
    found, rest = [], list(samus)
    while rest:
        found.append(tuple(rest[:size]))
        rest = rest[size:]
        size = min(waves.at_most, size * waves.growth) if planned else size
    return tuple(found)


def what_next(
    operation: Operation,
    now: datetime,
    *,
    unconfirmed: Collection[str] = (),
    rescue: str = "",
) -> Next:
    """Say what comes next for an operation that has not ended.

    `unconfirmed` are the SAMUs whose agents are not known to be in place, `rescue` names a rescue
    asked for since the operation last went on.
    """
    wave = operation.wave
    if wave is not None and operation.steps_of(wave):
        # Begun: a dead leader's, or one that could not be written to its end. Never left half-way.
        return Next(act=Act.RUN, wave=wave)
    if wave is None or operation.aborted_by:
        return Next(act=Act.END)
    if operation.held:
        return Next(act=Act.WAIT, wave=wave, cause=f"held: {operation.held}")
    if not operation.verb.planned:
        return Next(act=Act.RUN, wave=wave)
    return _planned(operation, wave, now, unconfirmed, rescue)


def _planned(
    operation: Operation, wave: int, now: datetime, unconfirmed: Collection[str], rescue: str
) -> Next:
    cause = doubt(operation, wave)
    if rescue and wave > 0:
        cause = cause or f"rescue {rescue} was asked for"
    if cause:
        return Next(act=Act.HOLD, wave=wave, cause=cause)
    if wave > 0 and (soaking := _soak(operation, wave - 1, now)) is not None:
        return soaking
    waiting = [s for s in operation.waves[wave] if s in unconfirmed]
    if waiting:
        cause = f"not confirmed in place: the agents of SAMU {name_few(waiting)}"
        return Next(act=Act.WAIT, wave=wave, cause=cause)
    return Next(act=Act.RUN, wave=wave)


def doubt(operation: Operation, wave: int) -> str:
    """Say what is in doubt before a wave of a planned change, an empty text for nothing."""
    for outcome in (Outcome.UNKNOWN, Outcome.FAILED):
        found = [s for s in operation.samus_with(outcome) if s not in operation.excused]
        if found:
            return f"SAMU {name_few(found)} ended {outcome.value}"
    soak = operation.soaks.get(wave - 1)
    if soak is not None and soak.bad and wave - 1 not in operation.excused_soaks:
        samu_id, why = next(iter(soak.bad.items()))
        return f"{len(soak.bad)} SAMU not served after wave {wave}: {samu_id}: {why}"
    return ""


def _soak(operation: Operation, wave: int, now: datetime) -> Next | None:
    """Return the probe that is due, or until when to wait; None once the soak is over."""
    soak = operation.soaks.get(wave, Soak())
    if soak.over or not operation.soak_ms or wave in operation.excused_soaks:
        return None
    whole = timedelta(milliseconds=operation.soak_ms)
    began = parse_rfc3339(operation.waves_ended[wave])
    over_at = began + whole
    last = parse_rfc3339(soak.last_at) if soak.last_at else began
    due = min(over_at, last + max(whole / 3, _GAP))
    if now >= due:
        return Next(act=Act.PROBE, wave=wave, is_last=now >= over_at)
    return Next(act=Act.WAIT, wave=wave, cause=f"soaking after wave {wave + 1}", until=due)
