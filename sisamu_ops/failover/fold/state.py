"""The fold: what the journal says of requests, operations, targets and leadership (pure).

`State.apply` takes the entries in order and never reads a clock. Kinds it does not know are
counted and otherwise ignored; whoever means to lead looks at `unknown_kinds` first.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sisamu_ops.failover.fold import asked, carried_out, merged
from sisamu_ops.failover.fold.handler import Handlers, data_of
from sisamu_ops.failover.fold.incidents import Signal, group
from sisamu_ops.failover.fold.known import Alarm, Known, Loss
from sisamu_ops.journal.entry import Entry
from sisamu_ops.model.errors import IntegrityError
from sisamu_ops.model.outcome import Outcome
from sisamu_ops.model.token import Token


@dataclass(kw_only=True)
class State(Known):
    """What is known, brought up to date entry by entry."""

    def apply(self, entry: Entry) -> None:
        """Take the next entry; ValueError when it is not the next one."""
        if entry.index != self.size:
            raise ValueError(f"entry {entry.index} where {self.size} is next")
        self.size += 1
        self.epoch = max(self.epoch, entry.epoch)
        handler = _HANDLERS.get(entry.kind)
        if handler is None:
            self.unknown_kinds.add(entry.kind)
        else:
            try:
                handler(self, entry)
            except (KeyError, TypeError, ValueError) as error:
                raise IntegrityError(
                    f"entry {entry.index} ({entry.kind}) is not what its kind promises",
                    remedy="verify the journal: sisamu audit verify",
                ) from error


def fold(entries: Iterable[Entry]) -> State:
    """Return the state after all entries."""
    state = State()
    for entry in entries:
        state.apply(entry)
    return state


def _took(state: Known, entry: Entry) -> None:
    if state.leader_site:
        state.losses.append(Loss(site=state.leader_site, time=entry.time))
    if state.handover is not None:
        wanted = state.handover.to in ("", entry.site)
        outcome = Outcome.DONE if wanted else Outcome.FAILED
        # An evacuation has ended before leadership follows it.
        state.finished.setdefault(state.handover.request_id, outcome)
    state.handover, state.asked_for, state.left_by = None, "", ""
    state.leader_site = entry.site
    state.held = {host: token for host, token in state.held.items() if token.epoch >= entry.epoch}
    state.leaderships.append((entry.site, entry.epoch, entry.time))


def _left(state: Known, entry: Entry) -> None:
    if entry.site == state.leader_site:
        state.leader_site = ""
    # Entries written before transfers existed name no site and no cause.
    state.asked_for, state.left_by = data_of(entry).get("to", ""), entry.site


def _alarmed(state: Known, entry: Entry) -> None:
    data = data_of(entry)
    state.alarms[data["id"]] = Alarm(
        site=data["site"], about=data["about"], message=data["message"], time=entry.time
    )


def _observed(state: Known, entry: Entry) -> None:
    data = data_of(entry)
    state.triggers.add(data["id"])
    signal = Signal(
        signal_id=data["id"], samus=frozenset(data["would"]["samus"]), time=entry.time,
        is_trigger=True, what=f"trigger of {data['site']}: {data['reason']}",
    )  # fmt: skip
    group(state.incidents, signal, entry.index)


def _settled(state: Known, entry: Entry) -> None:
    state.finished[data_of(entry)["request"]] = Outcome(data_of(entry)["outcome"])


def _enrolled(state: Known, entry: Entry) -> None:
    if data_of(entry)["outcome"] == Outcome.DONE.value:
        token = data_of(entry)["token"]
        state.enrolled[data_of(entry)["target"]] = Token(token["epoch"], token["index"])
        if token["epoch"] > entry.epoch:
            state.epoch_floor = max(state.epoch_floor, token["epoch"])


def _check_started(state: Known, entry: Entry) -> None:
    state.checks[data_of(entry)["request"]].began = True


def _check_ended(state: Known, entry: Entry) -> None:
    data = data_of(entry)
    check = state.checks[data["request"]]
    check.failed, check.left_armed = data["failed"], data["left_armed"]
    for samu_id in data["proved"]:
        state.proved.setdefault(samu_id, {})[data["to"]] = entry.time


def _adopted(state: Known, entry: Entry) -> None:
    state.rules = dict(data_of(entry)["rules"])


def _held(state: Known, entry: Entry) -> None:
    token = data_of(entry)["token"]
    state.held[data_of(entry)["target"]] = Token(token["epoch"], token["index"])


def _reported(state: Known, entry: Entry) -> None:
    state.reports.add(data_of(entry)["id"])


def _noted(state: Known, entry: Entry) -> None:
    """Known, and changes nothing that is folded."""


_HANDLERS: Handlers = {
    **asked.HANDLERS,
    **carried_out.HANDLERS,
    **merged.HANDLERS,
    "leadership.taken": _took,
    "leadership.left": _left,
    "request.finished": _settled,
    "seal.started": _noted,
    "seal.outcome": _noted,
    "enrol.started": _noted,
    "enrol.outcome": _enrolled,
    "check.started": _check_started,
    "check.ended": _check_ended,
    "report.received": _reported,
    "rules.adopted": _adopted,
    "alarm.raised": _alarmed,
    "target.held": _held,
    "break-glass.begun": _noted,
    "trigger.observed": _observed,
    "inbox.overflowed": _noted,
}
