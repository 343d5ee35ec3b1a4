"""The leader's answer to what waits in the inbox: accepted, or refused and why.

A refusal is an entry too, holding the digest of the refused bytes, never the bytes. The same bytes
again get no second entry: the first one answers them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sisamu_ops.failover.answering.gate import Gate
from sisamu_ops.failover.answering.judging import Judge
from sisamu_ops.failover.answering.refusal import AdmissionRefusedError, SecondSignatureMissing
from sisamu_ops.failover.asking.report import open_report
from sisamu_ops.failover.fold.incidents import ANTI_FLAP, flapping
from sisamu_ops.failover.fold.state import State
from sisamu_ops.failover.request import (
    NAMESPACE,
    REQUEST_FIELDS,
    Envelope,
    Request,
    Verb,
    digest_of,
    parse_request,
    rfc3339,
)
from sisamu_ops.failover.safety import SECOND_SIGNATURE
from sisamu_ops.journal.canonical import canonical_bytes
from sisamu_ops.journal.keys import Policy as TrustPolicy
from sisamu_ops.journal.port import InboxItem
from sisamu_ops.journal.privacy import for_the_journal
from sisamu_ops.journal.writer import Writer
from sisamu_ops.model.errors import ConfigurationError, RefusedError

#: Requests of one principal that may wait at once.
INBOX_LIMIT = 20
#: Unsigned documents removed with one entry: their digests must fit into it.
FLOOD_AT_ONCE = 500


@dataclass(kw_only=True)
class Admission:
    """Answers requests for one tenure."""

    state: State
    writer: Writer
    gate: Gate
    judge: Judge

    def __post_init__(self) -> None:
        """Remember the duplicates to remove with the next entry."""
        self._duplicates: set[str] = set()
        self._waiting: Counter[str] = Counter()
        self._flood: dict[str, str] = {}

    def begin_sweep(self) -> None:
        """Count what each principal has waiting anew: the inbox is looked at from the start."""
        self._waiting.clear()
        self._flood.clear()

    def end_sweep(self) -> None:
        """Write one entry for all that nobody signed, beyond the first few.

        A flood must not make the journal grow as fast as the inbox.
        """
        flood = list(islice(self._flood.items(), FLOOD_AT_ONCE))
        if flood:
            data: dict[str, Any] = {"count": len(flood), "digests": [digest for _, digest in flood]}
            names = [name for name, _ in flood]
            self.writer.write("inbox.overflowed", data, consume=names)

    def discard(self, item: InboxItem) -> None:
        """Remove with the next entry what needs none of its own."""
        self._duplicates.add(item.name)

    def observe(self, item: InboxItem, policy: TrustPolicy) -> None:
        """Journal what a site's trigger would have done, and why: nothing is dispatched.

        Automatic triggers are observed only; requests signed by operators are armed.
        """
        trigger_id = digest_of(item.payload)
        if trigger_id in self.state.triggers:
            self._duplicates.add(item.name)
            return
        try:
            facts = open_report(item.payload, policy)
            data: dict[str, Any] = {"id": trigger_id, "site": str(facts["site"])}
            data["mode"] = "observe"
            data["reason"] = for_the_journal(str(facts["reason"]))
            request = parse_request(canonical_bytes({k: facts[k] for k in REQUEST_FIELDS}))
            data["would"] = self._would(request)
        except KeyError as error:
            refusal = AdmissionRefusedError(
                f"the trigger lacks {error}", remedy="see the site's agent"
            )
            self._refuse(item, None, refusal)
        except (RefusedError, ConfigurationError) as refusal:
            self._refuse(item, None, refusal)
        else:
            self._write("trigger.observed", data, item)

    def _would(self, request: Request) -> dict[str, Any]:
        """Say what the request would have become at this moment."""
        self.gate.check_time(request)
        if request.verb is not Verb.FAILOVER:
            raise AdmissionRefusedError(
                f"a trigger may not ask for a {request.verb.value}",
                remedy="a site's trigger asks for a failover",
            )
        plan = self.judge.plan(request)
        return {
            "verb": request.verb.value,
            "samus": list(plan.samus),
            "to": plan.to,
            "plan": plan.digest,
            "findings": [finding.told for finding in plan.findings],
            "blocked_by": [ANTI_FLAP]
            if flapping(self.state.incidents, plan.samus, self.gate.now())
            else [],
        }

    def answer(self, item: InboxItem) -> None:
        """Write the entry that answers a request, unless an earlier one already does."""
        if item.name in self._duplicates:
            return
        request: Request | None = None
        try:
            envelope, request = self.gate.authenticated(item)
            if self._answered_before(request, envelope):
                self._take_approval(item, envelope, request)
                return
            if self._waits_already(request, envelope):
                self._duplicates.add(item.name)
                return
            self._limit(envelope.principal)
            self._accept(item, envelope, request)
        except SecondSignatureMissing as missing:
            self._await_second(item, envelope, missing)
        except (RefusedError, ConfigurationError) as refusal:
            self._refuse(item, request, refusal)

    def must_wait(self, item: InboxItem) -> bool:
        """Say whether an adoption names another copy than this leader's, and is good otherwise.

        It then waits for a leader that works by that copy.
        """
        try:
            _, request = self.gate.authenticated(item)
            self.gate.check_time(request)
        except (RefusedError, ConfigurationError):
            return False
        return request.verb is Verb.ADOPT and dict(request.rules) != self.judge.rules().digests()

    def _take_approval(self, item: InboxItem, envelope: Envelope, request: Request) -> None:
        """Journal a second signature that was still due; anything else adds nothing."""
        operation = self.state.operations.get(request.request_id)
        new = [
            a for a in envelope.approvals if operation and a.principal not in operation.approvers
        ]
        if operation is None or not operation.second_due or not new:
            self._duplicates.add(item.name)
            return
        data = {"id": request.request_id, **new[0].to_json()}
        self._write("request.approved", data, item)

    def _limit(self, principal: str) -> None:
        """Refuse what one principal, proved by signature, has put in beyond measure."""
        self._waiting[principal] += 1
        if self._waiting[principal] > INBOX_LIMIT:
            raise AdmissionRefusedError(
                f"{principal} has over {INBOX_LIMIT} requests waiting",
                remedy="wait for their answers, then ask again",
                rules=["inbox-limit"],
            )

    def _waits_already(self, request: Request, envelope: Envelope) -> bool:
        """Say whether a request waits for a second signature, and this brings none."""
        waiting = self.state.waiting.get(request.request_id)
        if waiting is None:
            return False
        if waiting.digest != digest_of(envelope.document.encode()):
            raise AdmissionRefusedError(
                f"id {request.request_id} was used for other content (entry {waiting.index})",
                remedy="make a new request; an id is used once",
            )
        return not envelope.approvers()

    def _await_second(
        self, item: InboxItem, envelope: Envelope, missing: SecondSignatureMissing
    ) -> None:
        """Journal that a request is good but for the second signature; nothing is changed."""
        request = missing.request
        data = self._asked(envelope, request) | {
            "samus": list(missing.samus), "to": missing.to, "until": rfc3339(request.expires),
            "needs": for_the_journal(missing.message), "rules": [SECOND_SIGNATURE],
        }  # fmt: skip
        self._write("request.waiting", data, item)

    def _answered_before(self, request: Request, envelope: Envelope) -> bool:
        first = self.state.answers.get(request.request_id)
        if first is None:
            return False
        if first.digest == digest_of(envelope.document.encode()):
            return True
        raise AdmissionRefusedError(
            f"id {request.request_id} was used for other content (entry {first.index})",
            remedy="make a new request; an id is used once",
        )

    def _accept(self, item: InboxItem, envelope: Envelope, request: Request) -> None:
        self.gate.check(request)
        judged = self.judge.judged(request, envelope)
        self._write("request.accepted", self._asked(envelope, request) | judged, item)

    def _asked(self, envelope: Envelope, request: Request) -> dict[str, Any]:
        """Return what is journalled of every request that is not refused: all of it."""
        asked: dict[str, Any] = {
            "document": envelope.document,
            "signature": envelope.signature,
            "principal": envelope.principal,
            "namespace": NAMESPACE,
        }
        if envelope.approvals:
            asked["approvals"] = [approval.to_json() for approval in envelope.approvals]
        return {
            "id": request.request_id,
            "digest": digest_of(envelope.document.encode()),
            "verb": request.verb.value,
            "reason": request.reason,
            "request": asked,
        }

    def _refuse(
        self, item: InboxItem, request: Request | None, refusal: RefusedError | ConfigurationError
    ) -> None:
        digest = digest_of(item.payload)
        if digest in self.state.answers:
            self._duplicates.add(item.name)
            return
        if request is None and self._waiting[""] >= INBOX_LIMIT:
            self._flood[item.name] = digest
            return
        if request is None:
            self._waiting[""] += 1
        reason = for_the_journal(f"{refusal.place}: " if refusal.place else "")
        data = {
            # Only who proved who they are may take an id for good.
            "id": request.request_id if request else "",
            "name": for_the_journal(item.name),
            "digest": digest,
            "reason": reason + for_the_journal(refusal.message),
            "remedy": for_the_journal(refusal.remedy),
            "rules": list(getattr(refusal, "rules", ())),
        }
        self._write("request.refused", data, item)

    def _write(self, kind: str, data: dict[str, Any], item: InboxItem) -> None:
        self.writer.write(kind, data, consume=[item.name, *sorted(self._duplicates)])
        self._duplicates.clear()
