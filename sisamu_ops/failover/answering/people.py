"""What people say of SAMUs, judged before it is journalled (pure).

Who is in place, what was checked before they go back, and which drift is accepted as intended.
Nothing is sent to any target.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sisamu_ops.failover.answering.refusal import AdmissionRefusedError
from sisamu_ops.failover.fold.state import State
from sisamu_ops.failover.reading import ModeReading
from sisamu_ops.failover.request import Request, Verb, rfc3339
from sisamu_ops.model.platform import Platform, TelephonyMode

ReadModes = Callable[[Sequence[str]], Mapping[str, ModeReading]]
#: How agents can say that they are in place.
CHANNELS = ("phone", "bridge", "radio", "message", "in-person")


def judge_people(
    request: Request, platform: Platform, state: State, read_modes: ReadModes
) -> dict[str, Any]:
    """Return what is journalled of a confirmation, a tick or an accepted drift, or refuse it."""
    if not request.samus:
        raise AdmissionRefusedError("the request names no SAMU", remedy="name one with --samu")
    samus = sorted({platform.samu(s).samu_id for s in request.samus})
    if request.verb is Verb.CONFIRM:
        said = _confirmed(request)
    elif request.verb is Verb.TICK:
        said = _ticked(request, platform, state, samus)
    else:
        said = _accepted(request, state, read_modes(samus))
    return {"samus": samus} | said


def _confirmed(request: Request) -> dict[str, Any]:
    by, channel = (request.details.get(name, "") for name in ("by", "channel"))
    if not by.strip() or channel not in CHANNELS:
        raise AdmissionRefusedError(
            "a confirmation says who confirmed it, and how",
            remedy=f"sisamu samu confirm --by ROLE --channel {'|'.join(CHANNELS)}",
        )
    at = request.details.get("at") or rfc3339(request.created)
    return {"by": by, "channel": channel, "at": at}


def _ticked(
    request: Request, platform: Platform, state: State, samus: Sequence[str]
) -> dict[str, Any]:
    """Refuse items that are on no checklist of the mode each SAMU is in."""
    items = request.details.get("items", "").split()
    for samu_id in samus:
        mode = state.mode_of(samu_id).mode
        known = platform.policy.safety.checklists.get(mode, {})
        strange = [item for item in items if item not in known]
        if strange or not items:
            raise AdmissionRefusedError(
                f"SAMU {samu_id} is on {mode}: {', '.join(strange) or 'no item'} "
                "is not on its exit checklist",
                remedy=f"one of: {', '.join(known)}" if known else "it has none: nothing to do",
            )
    return {"items": items}


def _accepted(request: Request, state: State, modes: Mapping[str, ModeReading]) -> dict[str, Any]:
    """Accept as intended what every router holds now; nothing else can be accepted."""
    for samu_id, mode in modes.items():
        if mode.mode.value != request.to or mode.mode is TelephonyMode.UNKNOWN:
            told = ", ".join(f"{host} {said}" for host, said in mode.routers.items())
            raise AdmissionRefusedError(
                f"SAMU {samu_id} is not on {request.to or 'any mode'}: {told}",
                remedy="sisamu samu drift",
            )
        if (open_one := state.open_operation(samu_id)) is not None:
            raise AdmissionRefusedError(
                f"operation {open_one.operation_id} on SAMU {samu_id} is not settled",
                remedy=f"sisamu operation follow {open_one.operation_id}, or sisamu reconcile",
                rules=["one-operation"],
            )
    return {"to": request.to}


def check_revert(request: Request, platform: Platform, state: State) -> None:
    """Refuse to revert a SAMU anywhere but to where the journal intends it."""
    for samu_id in request.samus:
        intended = state.intended_mode(platform.samu(samu_id).samu_id)
        if intended != request.to:
            raise AdmissionRefusedError(
                f"SAMU {samu_id} is intended on {intended}, not on {request.to or 'any mode'}",
                remedy="sisamu samu drift --revert",
            )
