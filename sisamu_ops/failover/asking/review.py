"""Plans as they were reviewed: documents named by their SHA-256, and what has changed since (pure).

`start --plan DIGEST` brings the reviewed document with it, as an inbox item of its own. The leader
makes its plan anew; if it is another, the refusal says what differs, not only that it does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sisamu_ops.failover.request import digest_of
from sisamu_ops.journal.canonical import parse_canonical
from sisamu_ops.journal.port import InboxItem
from sisamu_ops.model.errors import IntegrityError

#: Inbox names of reviewed plans begin with this, then the digest.
PLAN = "plan."
#: Far beyond a plan of the whole nation.
MAX_PLAN_BYTES = 256 * 1024
#: Differences told in one refusal.
_TOLD = 6

Document = Mapping[str, Any]


def plan_item(document: bytes) -> InboxItem:
    """Return the inbox item of a reviewed plan; the same plan is the same item."""
    return InboxItem(name=f"{PLAN}{digest_of(document)}", payload=document)


def is_plan(item: InboxItem) -> bool:
    """Say whether an inbox item is what its name promises."""
    if len(item.payload) > MAX_PLAN_BYTES or item.name != plan_item(item.payload).name:
        return False
    return bool(read_plan(item.payload))


def read_plan(document: bytes) -> Document:
    """Read a plan's document; an empty one when it is none."""
    try:
        fields = parse_canonical(document)
    except (IntegrityError, ValueError):
        return {}
    if not isinstance(fields, dict) or not isinstance(fields.get("transitions"), list):
        return {}
    return fields


def differences(reviewed: Document, current: Document) -> str:
    """Say in one line what has changed since a plan was reviewed."""
    found = list(_differences(reviewed, current))
    more = len(found) - _TOLD
    return "; ".join(found[:_TOLD]) + (f"; and {more} more" if more > 0 else "")


def _differences(reviewed: Document, current: Document) -> Iterator[str]:
    yield from _words(reviewed, current)
    before, now = _moves(reviewed), _moves(current)
    for (host, samu), move in now.items():
        was = before.get((host, samu))
        if was is None:
            yield f"{host} is to change for SAMU {samu} too"
        elif was != move:
            yield f"{host}: SAMU {samu} {_told(was)} when reviewed, {_told(move)} now"
    for host, samu in before.keys() - now.keys():
        yield f"{host} is no longer to change for SAMU {samu}"
    yield from _verdicts(reviewed, current)


def _words(reviewed: Document, current: Document) -> Iterator[str]:
    for name in ("verb", "site", "to", "waves", "soak_ms", "order"):
        if reviewed.get(name) != current.get(name):
            yield f"{name} was {_short(reviewed.get(name))}, is {_short(current.get(name))}"


def _short(value: object) -> str:
    if isinstance(value, list) and value and isinstance(value[0], list):
        return f"{len(value)} of {', '.join(str(len(wave)) for wave in value)}"
    return str(value)


def _moves(plan: Document) -> dict[tuple[str, str], tuple[str, str]]:
    return {
        (str(h), str(s)): (str(before), str(after)) for h, s, before, after in plan["transitions"]
    }


def _told(move: tuple[str, str]) -> str:
    return f"{move[0]} to {move[1]}"


def _verdicts(reviewed: Document, current: Document) -> Iterator[str]:
    before, now = ({str(v[0]): v[1:] for v in plan["verdicts"]} for plan in (reviewed, current))
    for rule, verdict in now.items():
        if rule not in before:
            yield f"rule {rule} is broken now"
        elif before[rule] != verdict:
            yield f"rule {rule} is judged otherwise now"
    for rule in before.keys() - now.keys():
        yield f"rule {rule} is satisfied now"
