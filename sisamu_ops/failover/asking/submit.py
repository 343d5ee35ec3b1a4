"""Putting a signed request before the leader, and following it to its end.

The same bytes sent again are answered by the first entry. Without a leader nothing is sent:
a request that lay waiting could be carried out when nobody expects it any more.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

from sisamu_ops.failover.fold.folding import Folding
from sisamu_ops.failover.fold.known import Answer, Waiting
from sisamu_ops.failover.fold.merged_log import FORK
from sisamu_ops.failover.fold.state import State
from sisamu_ops.failover.request import Envelope, digest_of, inbox_name
from sisamu_ops.failover.safety import SECOND_SIGNATURE
from sisamu_ops.journal.entry import Entry
from sisamu_ops.journal.keys import Policy
from sisamu_ops.journal.port import InboxItem, JournalReader
from sisamu_ops.leadership.port import Coordination
from sisamu_ops.model.errors import (
    IntegrityError,
    LeadershipError,
    RefusedError,
    SisamuError,
    UnknownOutcomeError,
)

Tell = Callable[[Entry], None]
#: Carries out what waits in this process; the second is told of each entry once it is written.
Serve = Callable[[Coordination, Tell], None]

#: After this without an answer to a request, the follower gives up and says how to go on.
ANSWER_S = 30.0
#: After this without any new entry, the follower gives up and says how to go on.
SILENCE_S = 120.0


class _Follower:
    """The journal as it grows, folded entry by entry."""

    def __init__(self, coordination: Coordination, reader: JournalReader, policy: Policy) -> None:
        self._coordination = coordination
        self._reader = reader
        self._folding = Folding(policy)
        self.state = self._folding.state
        self.entries: list[Entry] = []

    def pull(self) -> list[Entry]:
        new = self._folding.pull(self._reader)
        self.entries += new
        return new

    def tell_new(self, tell: Tell) -> bool:
        """Read on, and tell what is new; say whether anything was."""
        new = self.pull()
        for entry in new:
            tell(entry)
        return bool(new)

    def tell_meanwhile(self, tell: Tell) -> None:
        """Tell what is new, while it is being done: what cannot be told does not stop the work.

        Nobody may look any more, the terminal may not know a letter, the log may not be readable.
        """
        with suppress(OSError, ValueError, SisamuError):
            self.tell_new(tell)

    def _between_waves(self) -> bool:
        """Say whether an operation rightly writes nothing: it soaks, or waits for people."""
        return any(o.waits_for_people or bool(o.wave) for o in self.state.running())

    def until(self, finished: Callable[[], bool], tell: Tell, silence_s: float) -> bool:
        """Tell new entries until finished; False when none came for `silence_s`."""
        last = time.monotonic()
        while not finished():
            # Much besides an entry is a change: only entries end the silence.
            self._coordination.await_change(1.0)
            if self.tell_new(tell):
                last = time.monotonic()
            elif time.monotonic() - last > silence_s and not self._between_waves():
                return False
        return True


def submit(
    coordination: Coordination,
    reader: JournalReader,
    policy: Policy,
    request_id: str,
    envelope: Envelope,
    *,
    tell: Tell,
    serve: Serve | None,
    session_timeout_s: float,
) -> tuple[State, list[Entry]]:
    """Submit and follow to the end; `reader` has all entries, those the service trimmed too.

    `serve`, where given, carries it out in this process.

    RefusedError with the rule and the remedy; LeadershipError when nobody leads;
    UnknownOutcomeError when it was sent and no answer came.
    """
    follower = _Follower(coordination, reader, policy)
    follower.pull()
    answer = _answer(follower.state, request_id, envelope)
    if answer is None or _brings_approval(follower.state, request_id, envelope):
        if serve is None:
            _require_leader(coordination, session_timeout_s)
        payload = envelope.payload()
        coordination.put(InboxItem(name=inbox_name(request_id, payload), payload=payload))
        if serve is not None:
            serve(coordination, lambda _: follower.tell_meanwhile(tell))
            follower.tell_new(tell)  # every entry is read, whatever could not be read meanwhile
        follower.until(lambda: _heard(follower.state, request_id, envelope), tell, ANSWER_S)
        answer = _answer(follower.state, request_id, envelope)
    if answer is None and request_id in follower.state.waiting:
        raise _second_missing(follower.state.waiting[request_id])
    if answer is None:
        raise UnknownOutcomeError(
            f"request {request_id} was sent and not answered yet",
            remedy=f"sisamu operation follow {request_id}",
        )
    _require_accepted(answer)
    return _to_the_end(follower, request_id, tell)


def follow(
    coordination: Coordination,
    reader: JournalReader,
    policy: Policy,
    request_id: str,
    *,
    tell: Tell,
) -> tuple[State, list[Entry]]:
    """Tell what is journalled of a request, and go on until it has ended."""
    follower = _Follower(coordination, reader, policy)
    follower.tell_new(tell)
    if request_id in follower.state.waiting:
        follower.until(lambda: request_id not in follower.state.waiting, tell, SILENCE_S)
    if request_id in follower.state.waiting:
        raise _second_missing(follower.state.waiting[request_id])
    answer = follower.state.answers.get(request_id)
    if answer is None:
        raise RefusedError(
            f"the journal has no request or operation {request_id}",
            remedy="sisamu operation list",
        )
    _require_accepted(answer)
    return _to_the_end(follower, request_id, tell)


def _to_the_end(follower: _Follower, request_id: str, tell: Tell) -> tuple[State, list[Entry]]:
    if not follower.until(lambda: _is_over(follower.state, request_id), tell, SILENCE_S):
        raise UnknownOutcomeError(
            f"{request_id} goes on, but no entry came for {SILENCE_S:.0f} s",
            remedy=f"sisamu leader show; sisamu operation follow {request_id}",
        )
    return follower.state, follower.entries


def _is_over(state: State, request_id: str) -> bool:
    """Say whether there is nothing to wait for: finished, or held until somebody says how."""
    operation = state.operations.get(request_id)
    return request_id in state.finished or bool(operation and operation.held)


def _answer(state: State, request_id: str, envelope: Envelope) -> Answer | None:
    """Find the entry that answers these bytes: by the id when it is theirs, else by digest."""
    first = state.answers.get(request_id)
    if first is not None and first.digest == digest_of(envelope.document.encode()):
        return first
    return state.answers.get(digest_of(envelope.payload()))


def _brings_approval(state: State, request_id: str, envelope: Envelope) -> bool:
    """Say whether it brings a second signature that an operation under way still lacks."""
    operation = state.operations.get(request_id)
    if operation is None or not operation.second_due:
        return False
    refused = state.answers.get(digest_of(envelope.payload()))
    if refused is not None:
        _require_accepted(refused)
    return bool(envelope.approvers())


def _heard(state: State, request_id: str, envelope: Envelope) -> bool:
    """Say whether the request has its answer, and what it brings has been taken."""
    if _brings_approval(state, request_id, envelope):
        return False
    waits = request_id in state.waiting and not envelope.approvers()
    return waits or _answer(state, request_id, envelope) is not None


def _second_missing(waiting: Waiting) -> RefusedError:
    return RefusedError(
        f"{waiting.request_id} waits until {waiting.until[:19]} (rule {SECOND_SIGNATURE}): "
        f"{waiting.needs}; nothing was changed",
        place=f"entry {waiting.index}",
        remedy=f"another operator: sisamu request approve {waiting.request_id}",
    )


def _require_accepted(answer: Answer) -> None:
    if FORK in answer.rules:
        raise IntegrityError(answer.reason, place=f"entry {answer.index}", remedy=answer.remedy)
    if not answer.accepted:
        rules = f" (rule {', '.join(answer.rules)})" if answer.rules else ""
        raise RefusedError(
            f"refused{rules}: {answer.reason}",
            place=f"entry {answer.index}",
            remedy=answer.remedy,
        )


def _require_leader(coordination: Coordination, session_timeout_s: float) -> None:
    """Wait as long as a takeover lasts for somebody to lead."""
    deadline = time.monotonic() + 2 * session_timeout_s + 2
    while coordination.leader() is None:
        if time.monotonic() > deadline:
            raise LeadershipError(
                "nobody leads: nothing was sent",
                remedy="sisamu doctor; or by hand, with the card: sisamu samu card",
            )
        coordination.await_change(0.5)
