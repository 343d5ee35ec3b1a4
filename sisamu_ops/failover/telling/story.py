"""Entries in plain words: the chain of an operation as a stranger can read it (pure)."""

# ruff: noqa: ARG001 - every teller has the same two arguments
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from sisamu_ops.journal.entry import Entry
from sisamu_ops.model.naming import name_few

Data = Mapping[str, Any]


def tell(entry: Entry) -> str:
    """Say in one sentence what an entry records."""
    teller = _TELLERS.get(entry.kind)
    return teller(entry, entry.data) if teller else f"{entry.kind} was recorded."


def concerns(entry: Entry, operation: str) -> bool:
    """Say whether an entry belongs to an operation or request."""
    data: Data = entry.data
    if entry.kind == "break-glass.merged":
        data = data["leaf"]["body"]["data"]
    return operation in (data.get("operation"), data.get("request"), data.get("id"))


def story(entries: Iterable[Entry], operation: str) -> list[Entry]:
    """Return an operation's chain, with the changes of leadership that fell into it."""
    chain: list[Entry] = []
    pending: list[Entry] = []
    for entry in entries:
        if concerns(entry, operation):
            chain += pending if chain else []
            chain.append(entry)
            pending = []
        elif entry.kind.startswith("leadership."):
            pending.append(entry)
    return chain


def _took(entry: Entry, data: Data) -> str:
    return f"{data['site']} took leadership under epoch {entry.epoch}."


def _left(entry: Entry, data: Data) -> str:
    to = f" to {data['to']}" if data.get("to") else ""
    why = f" ({data['cause']})" if data.get("cause") else ""
    return f"{data['site']} gave up leadership of epoch {entry.epoch}{to}{why}."


#: What the verbs that move no SAMU ask for.
_ASKED: Mapping[str, Callable[[Data], str]] = {
    "enrol": lambda data: f"to enrol {', '.join(data['targets'])}",
    "reconcile": lambda _: "to settle every unknown outcome",
    "transfer": lambda data: f"to transfer leadership to {data['to']}",
    "step-down": lambda _: "the leader to step down",
    "adopt": lambda _: "to adopt the rules the leader works by",
    "pause": lambda _: "to pause: nothing but rescues",
    "resume": lambda _: "to resume after a pause",
    "merge": lambda data: f"to merge {data['log']['origin']}, {data['log']['size']} entries",
    "hold": lambda data: f"to hold {data['about']}",
    "go-on": lambda data: f"to go on with {data['about']}",
    "confirm": lambda data: (
        f"to note that the agents of SAMU {name_few(data['samus'])} are in place, "
        f"by {data['by']} ({data['channel']}, {data['at']})"
    ),
    "tick": lambda data: f"to tick {', '.join(data['items'])} for SAMU {name_few(data['samus'])}",
    "accept": lambda data: f"to accept that SAMU {name_few(data['samus'])} is on {data['to']}",
    "withdraw": lambda data: f"to withdraw {data['about']}",
    "acknowledge": lambda data: f"to acknowledge {data['about']}",
    "check": lambda data: f"to prove the {data['to']} path of SAMU {name_few(data['samus'])}",
    "abort": lambda data: f"to abort {data['about']}: to begin nothing more of it",
}


def _accepted(entry: Entry, data: Data) -> str:
    who = data["request"]["principal"]
    asked = _ASKED.get(data["verb"])
    what = asked(data) if asked else _moved(data) + _in_waves(data)
    found = "".join(f" Finding: {finding}." for finding in data.get("findings", ()))
    also = "".join(f" {one['principal']} approved." for one in data["request"].get("approvals", ()))
    due = f" Second signature due {data['second_due']}." if data.get("second_due") else ""
    return f"{who} asked, and signed, {what}: “{data['reason']}”.{also} Accepted.{due}{found}"


def _moved(data: Data) -> str:
    site, to = data.get("site", ""), data["to"]
    if data["verb"] == "evacuate" and site == to:
        return f"to bring {site} home, with SAMU {name_few(data['samus'])}"
    if data["verb"] == "evacuate":
        # What waits for a second signature names no site yet.
        return f"{site or 'a site'} evacuated to {to}, with SAMU {name_few(data['samus'])}"
    return f"a {data['verb']} of SAMU {name_few(data['samus'])} to {to}"


def _in_waves(data: Data) -> str:
    waves = len(data.get("waves", ()))
    soak = data.get("soak_ms", 0)
    soaking = f", {soak / 1000:g} s of test calls after each" if soak else ""
    return f", in {waves} waves{soaking}" if waves > 1 else ""


def _awaits(entry: Entry, data: Data) -> str:
    return (
        f"{data['request']['principal']} asked, and signed, {_moved(data)}: “{data['reason']}”. "
        f"It waits until "
        f"{data['until']}: {data['needs']}."
    )


def _refused(entry: Entry, data: Data) -> str:
    rules = f" (rule {', '.join(data['rules'])})" if data["rules"] else ""
    return f"Request {data['id'] or data['name']} was refused{rules}: {data['reason']}."


def _started(entry: Entry, data: Data) -> str:
    hosts = ", ".join(data["targets"])
    token = f"{entry.epoch}.{entry.index}"
    return f"{entry.site} started {data['playbook']} with token {token} on {hosts}."


def _outcome(entry: Entry, data: Data) -> str:
    detail = f" ({data['detail']})" if data["detail"] else ""
    return f"{data['target']}: {data['outcome']}{detail}."


def _called(entry: Entry, data: Data) -> str:
    result = data["result"]
    if result["answered"]:
        said = f"answered by {result['answered_by']} after {result['pdd_ms']} ms"
    else:
        said = f"not answered (status {result['status'] or 'none'})"
    return f"Test call through {data['via']} {data['host']}: {said}."


def _path_chosen(entry: Entry, data: Data) -> str:
    of_each: dict[str, list[str]] = {}
    for samu, said in data["samus"].items():
        where = f"goes to {said['to']}" if said["to"] else "is left where it is"
        of_each.setdefault(f"{where}: {said['why']}", []).append(samu)
    return " ".join(f"SAMU {name_few(samus)} {what}." for what, samus in of_each.items())


def _wave_ended(entry: Entry, data: Data) -> str:
    of_each: dict[str, list[str]] = {}
    for samu, said in data["samus"].items():
        detail = f" ({said['detail']})" if said["detail"] else ""
        of_each.setdefault(f"{said['outcome']} on {said['to']}{detail}", []).append(samu)
    told = "; ".join(f"SAMU {name_few(samus)} {what}" for what, samus in of_each.items())
    return f"Wave {data['wave'] + 1} ended: {told}."


def _probed(entry: Entry, data: Data) -> str:
    bad = "".join(f" SAMU {samu}: {why}." for samu, why in data["bad"].items())
    over = " The soak is over." if data["last"] and not bad else ""
    return f"Soaking after wave {data['wave'] + 1}: {data['calls']} test calls.{bad}{over}"


def _operation_held(entry: Entry, data: Data) -> str:
    return (
        f"Held before the next wave: {data['cause']}. Nothing more begins until somebody says so."
    )


def _ended(entry: Entry, data: Data) -> str:
    detail = f" {data['detail']}." if data["detail"] else ""
    return f"The operation ended: {data['outcome']}.{detail}"


def _finished(entry: Entry, data: Data) -> str:
    return f"The request was carried out: {data['outcome']}."


def _sealing(entry: Entry, data: Data) -> str:
    hosts = ", ".join(data["targets"])
    token = f"{entry.epoch}.{entry.index}"
    return f"{entry.site} sealed {hosts} with token {token} before judging ({data['cause']})."


def _sealed(entry: Entry, data: Data) -> str:
    open_ones = "".join(
        f" {h} could not be sealed: {why}." for h, why in data["not_sealed"].items()
    )
    return f"Sealed: {', '.join(data['sealed']) or 'none'}.{open_ones}"


def _enrolling(entry: Entry, data: Data) -> str:
    return f"{entry.site} began to enrol {data['target']}."


def _enrolled(entry: Entry, data: Data) -> str:
    detail = f" ({data['detail']})" if data["detail"] else ""
    return f"{data['target']} enrolled: {data['outcome']}{detail}."


def _checking(entry: Entry, data: Data) -> str:
    what = "call" if data["phase"] == "armed" else "disarm again"
    hosts = f" at {name_few(data['targets'])}" if data["targets"] else ""
    return (
        f"{entry.site} set out to {what}, {data['to']}{hosts}, token {entry.epoch}.{entry.index}."
    )


def _checked(entry: Entry, data: Data) -> str:
    proved = f"proved of SAMU {name_few(data['proved'])}" if data["proved"] else "proved of nobody"
    bad = "".join(f" SAMU {samu}: {why}." for samu, why in list(data["failed"].items())[:5])
    left = "".join(f" {host}: {why}." for host, why in data["left_armed"].items())
    return f"The {data['to']} path was {proved}.{bad}{left}"


def _reported(entry: Entry, data: Data) -> str:
    refused = "; ".join(f"{host}: {why}" for host, why in data["refused"].items())
    site = data["site"] or "an unknown site"
    return f"{site} reported that its token {data['token'] or '?'} was refused — {refused}."


def _adopted(entry: Entry, data: Data) -> str:
    held = ", ".join(data["held"])
    named = ", ".join(f"{name} {digest[:12]}" for name, digest in sorted(data["rules"].items()))
    return f"In force from here on: {named}; kept at {held}."


def _alarmed(entry: Entry, data: Data) -> str:
    site = data["site"] or "an unknown site"
    return f"Alarm of {site} ({data['about'] or 'unsigned'}): {data['message']}."


def _observed(entry: Entry, data: Data) -> str:
    would = data["would"]
    blocked = f", blocked by {', '.join(would['blocked_by'])}" if would["blocked_by"] else ""
    move = f"a {would['verb']} of SAMU {', '.join(would['samus'])} to {would['to']}"
    return f"{data['site']}'s trigger (“{data['reason']}”) would have asked for {move}{blocked}."


def _approved(entry: Entry, data: Data) -> str:
    return f"{data['principal']} approved {data['id']}, and signed."


def _held(entry: Entry, data: Data) -> str:
    token = f"{data['token']['epoch']}.{data['token']['index']}"
    return f"{data['target']} is held: it has taken token {token}, above this leader's epoch."


def _begun(entry: Entry, data: Data) -> str:
    base = f"{data['size']} agreed entries" if data["size"] else "a journal not yet agreed on"
    return f"{entry.site} broke the glass: it acts alone, from {base}."


def _merged(entry: Entry, data: Data) -> str:
    inner = Entry(**data["leaf"]["body"])
    return f"[{data['origin'].rpartition('/')[2]} {data['index']}, {inner.time}] {tell(inner)}"


def _closed(entry: Entry, data: Data) -> str:
    return f"{data['origin']} is merged: {data['size']} entries, epochs up to {data['epoch']}."


def _overflowed(entry: Entry, data: Data) -> str:
    return f"{data['count']} documents that nobody signed were removed from the inbox."


_TELLERS: Mapping[str, Callable[[Entry, Data], str]] = {
    "leadership.taken": _took,
    "leadership.left": _left,
    "request.accepted": _accepted,
    "request.refused": _refused,
    "request.waiting": _awaits,
    "request.finished": _finished,
    "step.started": _started,
    "step.outcome": _outcome,
    "call.proved": _called,
    "path.chosen": _path_chosen,
    "wave.ended": _wave_ended,
    "soak.probed": _probed,
    "operation.held": _operation_held,
    "operation.ended": _ended,
    "seal.started": _sealing,
    "seal.outcome": _sealed,
    "enrol.started": _enrolling,
    "enrol.outcome": _enrolled,
    "check.started": _checking,
    "check.ended": _checked,
    "report.received": _reported,
    "rules.adopted": _adopted,
    "alarm.raised": _alarmed,
    "trigger.observed": _observed,
    "request.approved": _approved,
    "target.held": _held,
    "break-glass.begun": _begun,
    "break-glass.merged": _merged,
    "break-glass.closed": _closed,
    "inbox.overflowed": _overflowed,
}
