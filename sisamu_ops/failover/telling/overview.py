"""The facts of `status`, of a SAMU and of an operation, as data (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sisamu_ops.failover.fold.incidents import Incident
from sisamu_ops.failover.fold.known import Alarm, Check, Waiting
from sisamu_ops.failover.fold.modes import to_call
from sisamu_ops.failover.fold.operation import Operation
from sisamu_ops.failover.fold.state import State
from sisamu_ops.failover.reading import ModeReading
from sisamu_ops.failover.request import parse_rfc3339, rfc3339
from sisamu_ops.failover.safety import SECOND_SIGNATURE, settling
from sisamu_ops.model.condition import Condition
from sisamu_ops.model.platform import Platform, Samu, TelephonyMode
from sisamu_ops.model.safety import Safety


def samu_facts(samu: Samu, state: State, mode: ModeReading) -> dict[str, Any]:
    """Return what is known of one SAMU; `mode` as last read, `intended_mode` as journalled."""
    last = state.by_samu.get(samu.samu_id)
    return {
        "id": samu.samu_id,
        "name": samu.name,
        "mode": mode.mode.value,
        "intended_mode": state.intended_mode(samu.samu_id),
        "read_at": rfc3339(mode.read_at),
        "routers": dict(mode.routers),
        "remedy": _remedy(samu.samu_id, state, mode),
        "held": held_facts(state, (*mode.routers, samu.gateway)),
        "operation": operation_line(last[-1]) if last else None,
        **mode_facts(state, samu.samu_id),
    }


def mode_facts(state: State, samu_id: str) -> dict[str, Any]:
    """Return the mode a SAMU was brought to as a procedure: since when, why, who, confirmed."""
    mode, confirmed = state.mode_of(samu_id), state.confirmations.get(samu_id)
    return {
        "since": mode.since or None,
        "reason": mode.reason or None,
        "owner": mode.owner or None,
        "bridge": mode.bridge or None,
        "confirmed": {"by": confirmed.by, "channel": confirmed.channel, "at": confirmed.at}
        if confirmed
        else None,
    }


def checklist_facts(state: State, samu_id: str, safety: Safety) -> list[dict[str, Any]]:
    """Return the exit checklist of the mode a SAMU is in, and who ticked what."""
    mode = state.mode_of(samu_id)
    return [
        {
            "item": item,
            "says": says,
            "ticked_by": mode.ticked[item].principal if item in mode.ticked else None,
            "ticked_at": mode.ticked[item].time if item in mode.ticked else None,
        }
        for item, says in safety.checklists.get(mode.mode, {}).items()
    ]


def drift_facts(
    platform: Platform, state: State, modes: Mapping[str, ModeReading]
) -> list[dict[str, Any]]:
    """Return the SAMUs whose routers hold another mode than is intended, none under way."""
    return [
        {
            "id": samu_id,
            "name": platform.samus[samu_id].name,
            "mode": mode.mode.value,
            "intended_mode": state.intended_mode(samu_id),
            "routers": dict(mode.routers),
        }
        for samu_id, mode in modes.items()
        if mode.mode.value != state.intended_mode(samu_id) and not state.open_operation(samu_id)
    ]


def to_call_facts(platform: Platform, state: State) -> list[dict[str, Any]]:
    """Return the SAMUs that were moved before anybody said that their agents are in place."""
    rule = platform.policy.safety.agents_confirmed
    if rule is None:
        return []
    found = to_call(state.modes, state.confirmations, rule.within_minutes)
    return [
        {
            "id": s,
            "name": platform.samus[s].name,
            "mode": state.mode_of(s).mode,
            "since": state.mode_of(s).since,
            "bridge": platform.samus[s].bridge or platform.policy.bridge,
        }
        for s in found
        if s in platform.samus
    ]


def condition_facts(condition: Condition | None, now: datetime) -> dict[str, Any]:
    """Return what an agent said of itself last; `silent` when it should have spoken since."""
    if condition is None:
        nothing = dict.fromkeys(("size", "version", "release", "said_at"))
        return nothing | {"silent": True, "problems": []}
    return {
        "size": condition.size,
        "version": condition.version,
        "release": condition.release or None,
        "said_at": condition.time,
        "silent": condition.is_silent(now),
        "problems": [
            {"kind": p.kind.value, "message": p.message, "remedy": p.kind.remedy}
            for p in condition.problems
        ],
    }


def alarm_facts(alarm: Alarm) -> dict[str, Any]:
    """Return an alarm as data."""
    return {
        "site": alarm.site,
        "about": alarm.about,
        "message": alarm.message,
        "time": alarm.time,
    }


#: The second signature of what a site did alone is asked for in another way: by the file.
ALONE_DUE = "break-glass.second-due"


def second_due_facts(state: State, now: datetime) -> list[dict[str, Any]]:
    """Return the operations begun on one signature whose second is due, and since when overdue."""
    return [
        {
            "rule": _second_by(o),
            "operation": o.operation_id,
            "by": o.second_due,
            "overdue": parse_rfc3339(o.second_due) < now,
        }
        for o in state.operations.values()
        if o.second_due
    ]


def _second_by(operation: Operation) -> str:
    """Return the rule a second signature is due by: the leader's, or that of a site alone."""
    said = (f"{SECOND_SIGNATURE}: ", f"overridden: {SECOND_SIGNATURE}: ")
    led = any(finding.startswith(said) for finding in operation.findings)
    return SECOND_SIGNATURE if led and not operation.origin else ALONE_DUE


def waiting_facts(waiting: Waiting, now: datetime) -> dict[str, Any]:
    """Return a request that waits for a second signature."""
    return {
        "id": waiting.request_id,
        "verb": waiting.verb.value,
        "samus": list(waiting.samus),
        "to": waiting.to,
        "principal": waiting.principal,
        "reason": waiting.reason,
        "state": "expired" if parse_rfc3339(waiting.until) <= now else "waiting",
        "until": waiting.until,
        "needs": waiting.needs,
    }


def due_facts(operation: Operation, now: datetime) -> dict[str, Any]:
    """Return an operation begun on one signature, whose second is due."""
    overdue = parse_rfc3339(operation.second_due) < now
    return {
        "id": operation.operation_id,
        "verb": operation.verb.value,
        "samus": list(operation.samus),
        "to": operation.to,
        "principal": operation.principal,
        "reason": operation.reason,
        "state": "overdue" if overdue else "due",
        "until": operation.second_due,
        "needs": "it was begun on one signature",
    }


def incident_line(incident: Incident) -> dict[str, Any]:
    """Return an incident in one line."""
    return {
        "id": incident.incident_id,
        "opened_at": incident.opened_at,
        "last_at": incident.last_at,
        "samus": sorted(incident.samus),
        "triggers": incident.triggers,
        "rescues": incident.rescues,
    }


def incident_facts(incident: Incident) -> dict[str, Any]:
    """Return an incident: what it groups, and who has seen it."""
    return incident_line(incident) | {
        "signals": [{"time": s.time, "what": s.what} for s in incident.signals],
        "acknowledged_by": incident.acknowledged_by or None,
        "acknowledged_at": incident.acknowledged_at or None,
    }


def check_facts(check: Check) -> dict[str, Any]:
    """Return what a check has proved, and what it left armed."""
    proved = [s for s in check.samus if s not in check.failed]
    return {
        "to": check.to,
        "proved": proved,
        "failed": dict(check.failed),
        "left_armed": dict(check.left_armed),
    }


def held_facts(state: State, hosts: Iterable[str]) -> dict[str, str]:
    """Return the held ones of some targets, with the token each has taken."""
    return {host: str(state.held[host]) for host in hosts if host in state.held}


def operation_line(operation: Operation) -> dict[str, Any]:
    """Return an operation in one line."""
    under_way = "held" if operation.held else "running"
    outcome = operation.outcome.value if operation.outcome else under_way
    return {
        "id": operation.operation_id,
        "verb": operation.verb.value,
        "samus": list(operation.samus),
        "to": operation.to,
        "site": operation.site or None,
        "outcome": outcome,
        "held": operation.held or None,
        "unsettled": operation.unsettled() if operation.outcome else [],
        "accepted_at": operation.accepted_at,
        "ended_at": operation.ended_at or None,
    }


def samu_end_facts(operation: Operation, samu_id: str) -> dict[str, Any]:
    """Return what became of one SAMU of an operation."""
    end = operation.ends.get(samu_id)
    begun = bool(operation.started_at(samu_id))
    word = end.outcome.value if end else "under way" if begun else "not begun"
    return {
        "samu": samu_id,
        "wave": operation.wave_of(samu_id) + 1,
        "outcome": word,
        "to": end.to if end else operation.to,
        "detail": end.detail if end else "",
        "ended_at": end.time if end else None,
    }


def operation_facts(operation: Operation) -> dict[str, Any]:
    """Return all that the journal says of an operation."""
    steps = [
        {
            "index": step.index,
            "token": str(step.token),
            "wave": step.wave + 1,
            "playbook": step.playbook,
            "started_at": step.time,
            "targets": {
                host: {
                    "change": dict(change),
                    "outcome": step.outcomes[host].value if host in step.outcomes else "unknown",
                    "detail": step.details.get(host, ""),
                }
                for host, change in step.targets.items()
            },
        }
        for step in operation.steps
    ]
    return operation_line(operation) | {
        "reason": operation.reason,
        "principal": operation.principal,
        "approvers": list(operation.approvers),
        "second_due": operation.second_due or None,
        "log": operation.origin or None,
        "plan": operation.plan,
        "findings": list(operation.findings),
        "detail": operation.detail,
        "aborted_by": operation.aborted_by or None,
        "soak_ms": operation.soak_ms,
        "order": list(operation.order),
        "waves": [list(wave) for wave in operation.waves],
        "outcomes": [samu_end_facts(operation, s) for s in operation.samus],
        "entries": {"first": operation.index, "last": operation.ended_index},
        "steps": steps,
        "calls": [
            {"via": c["via"], "host": c["host"], "samu": c.get("samu"), **dict(c["result"])}
            for c in operation.calls
        ],
    }


def _remedy(samu_id: str, state: State, mode: ModeReading) -> str | None:
    """Return what makes a SAMU's mode or its last operation known again, None when both are."""
    open_one = state.open_operation(samu_id)
    if mode.mode is TelephonyMode.UNKNOWN or (open_one and open_one.outcome):
        return settling(samu_id, mode.routers, open_one=open_one is not None)
    return None


def site_facts(
    platform: Platform,
    sites: Iterable[str],
    *,
    leader: str,
    present: frozenset[str],
    cosigned: Mapping[str, int],
    conditions: Mapping[str, Condition],
    now: datetime,
) -> list[dict[str, Any]]:
    """Return each site's role, whether it stands, how far it cosigned, and its own word on itself.

    `sites` are those whose signatures count; a local journal's is none of the platform's.
    """
    roles = {site.site_id: site.role.value for site in platform.sites.values()}
    return [
        {
            "id": site,
            "role": roles.get(site, "embedded"),
            "leads": site == leader,
            "contends": site in present,
            "cosigned_size": cosigned.get(site, 0),
            **condition_facts(conditions.get(site), now),
        }
        for site in sites
    ]
