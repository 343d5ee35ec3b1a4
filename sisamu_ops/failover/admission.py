"""The leader's answer to what waits in the inbox: accepted, or refused and why.

A refusal is an entry too, holding the digest of the refused bytes, never the bytes. Expiry
is judged here, once. The same bytes again get no second entry: the first one answers them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from sisamu_ops.failover.in_force import NAMES, Rules
from sisamu_ops.failover.plan import Plan, build_plan, check_direction
from sisamu_ops.failover.ports import SignatureCheck, Targets
from sisamu_ops.failover.report import open_report
from sisamu_ops.failover.request import (
    NAMESPACE,
    REQUEST_FIELDS,
    Envelope,
    Request,
    Verb,
    digest_of,
    open_envelope,
    parse_request,
)
from sisamu_ops.failover.state import State
from sisamu_ops.journal.canonical import canonical_bytes
from sisamu_ops.journal.keys import Policy as TrustPolicy
from sisamu_ops.journal.port import InboxItem
from sisamu_ops.journal.privacy import for_the_journal, refuse_phone_numbers
from sisamu_ops.journal.writer import Writer
from sisamu_ops.model.errors import ConfigurationError, RefusedError
from sisamu_ops.model.platform import Platform

#: How far ahead of this site's clock a request may have been made.
CLOCK_TOLERANCE = timedelta(minutes=5)
#: Requests of one principal that may wait at once.
INBOX_LIMIT = 20
#: Unsigned documents removed with one entry: their digests must fit into it.
FLOOD_AT_ONCE = 500
LONGEST_LIFETIME = timedelta(hours=24)


class _RefusalError(RefusedError):
    """A refusal on its way to the journal."""

    def __init__(self, message: str, *, remedy: str, rules: Sequence[str] = ()) -> None:
        super().__init__(message, remedy=remedy)
        self.rules = tuple(rules)


@dataclass(kw_only=True)
class Admission:
    """Judges requests for one tenure."""

    platform: Platform
    state: State
    writer: Writer
    targets: Targets
    signatures: SignatureCheck
    now: Callable[[], datetime]
    present: Callable[[], frozenset[str]] = frozenset
    untrimmed: Callable[[], int] = int
    rules: Callable[[], Rules] = lambda: Rules(documents={}, version="0")

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
            refusal = _RefusalError(f"the trigger lacks {error}", remedy="see the site's agent")
            self._refuse(item, None, refusal)
        except (RefusedError, ConfigurationError) as refusal:
            self._refuse(item, None, refusal)
        else:
            self._write("trigger.observed", data, item)

    def _would(self, request: Request) -> dict[str, Any]:
        """Say what the request would have become at this moment."""
        self._check_time(request)
        if request.verb is not Verb.FAILOVER:
            raise _RefusalError(
                f"a trigger may not ask for a {request.verb.value}",
                remedy="a site's trigger asks for a failover",
            )
        plan = self._plan(request)
        return {
            "verb": request.verb.value,
            "samus": list(plan.samus),
            "to": plan.to,
            "plan": plan.digest,
            "findings": [f"{f.rule}: {f.message}" for f in plan.findings],
            "blocked_by": [f.rule for f in plan.blocked_by],
        }

    def answer(self, item: InboxItem) -> None:
        """Write the entry that answers a request, unless an earlier one already does."""
        if item.name in self._duplicates:
            return
        request: Request | None = None
        try:
            envelope, request = self._authenticated(item)
            if self._answered_before(request, envelope):
                self._duplicates.add(item.name)
                return
            self._limit(envelope.principal)
            self._accept(item, envelope, request)
        except (RefusedError, ConfigurationError) as refusal:
            self._refuse(item, request, refusal)

    def _authenticated(self, item: InboxItem) -> tuple[Envelope, Request]:
        envelope = open_envelope(item.payload)
        document = envelope.document.encode()
        request = parse_request(document)
        if not envelope.signature:
            raise _RefusalError(
                "the request is not signed", remedy="sign it: sisamu --identity KEY …"
            )
        if not self.signatures(document, envelope.signature, envelope.principal, NAMESPACE):
            raise _RefusalError(
                "the signature does not verify for an allowed signer",
                remedy="check your key with `sisamu doctor`; allowed_signers must name it",
            )
        if envelope.principal not in self.platform.policy.operators:
            raise _RefusalError(
                f"{envelope.principal} is not authorised to ask for a {request.verb.value}",
                remedy="ask for the role operator in the inventory's sisamu_roles",
            )
        return envelope, request

    def must_wait(self, item: InboxItem) -> bool:
        """Say whether an adoption names another copy than this leader's, and is good otherwise.

        It then waits for a leader that works by that copy.
        """
        try:
            _, request = self._authenticated(item)
            self._check_time(request)
        except (RefusedError, ConfigurationError):
            return False
        return request.verb is Verb.ADOPT and dict(request.rules) != self.rules().digests()

    def _limit(self, principal: str) -> None:
        """Refuse what one principal, proved by signature, has put in beyond measure."""
        self._waiting[principal] += 1
        if self._waiting[principal] > INBOX_LIMIT:
            raise _RefusalError(
                f"{principal} has over {INBOX_LIMIT} requests waiting",
                remedy="wait for their answers, then ask again",
                rules=["inbox-limit"],
            )

    def _answered_before(self, request: Request, envelope: Envelope) -> bool:
        first = self.state.answers.get(request.request_id)
        if first is None:
            return False
        if first.digest == digest_of(envelope.document.encode()):
            return True
        raise _RefusalError(
            f"id {request.request_id} was used for other content (entry {first.index})",
            remedy="make a new request; an id is used once",
        )

    def _accept(self, item: InboxItem, envelope: Envelope, request: Request) -> None:
        self._check_time(request)
        if request.platform != self.platform.policy.platform:
            raise _RefusalError(
                f"the request is for platform {request.platform!r}",
                remedy=f"this platform is {self.platform.policy.platform!r}",
            )
        refuse_phone_numbers(request.reason, place="reason")
        data: dict[str, Any] = {
            "id": request.request_id,
            "digest": digest_of(envelope.document.encode()),
            "verb": request.verb.value,
            "reason": request.reason,
            "request": {
                "document": envelope.document,
                "signature": envelope.signature,
                "principal": envelope.principal,
                "namespace": NAMESPACE,
            },
        }
        self._write("request.accepted", data | self._judged(request), item)

    def _check_time(self, request: Request) -> None:
        now = self.now()
        if now >= request.expires:
            raise _RefusalError(
                "the request has expired", remedy="make and sign it anew; nothing was changed"
            )
        if request.created > now + CLOCK_TOLERANCE:
            raise _RefusalError("the request is from the future", remedy="check the clocks")
        if request.expires - request.created > LONGEST_LIFETIME:
            raise _RefusalError("the request lives over 24 hours", remedy="choose a nearer expiry")

    def _judged(self, request: Request) -> dict[str, Any]:
        if request.verb.leads:
            return self._about_leadership(request)
        if request.verb is Verb.ADOPT:
            return {"rules": self._adoptable(request)}
        if self.state.paused and not request.verb.moves:
            raise _RefusalError(
                "the leader is paused", remedy="sisamu leader resume", rules=["leader-paused"]
            )
        if request.verb is Verb.RECONCILE:
            return {}
        if request.verb is Verb.ENROL:
            return {"targets": self._enrollable(request)}
        plan = self._plan(request)
        if plan.blocked_by:
            raise _RefusalError(
                "; ".join(f.message for f in plan.blocked_by),
                remedy="; ".join(dict.fromkeys(f.remedy for f in plan.blocked_by)),
                rules=[f.rule for f in plan.blocked_by],
            )
        if request.plan and request.plan != plan.digest:
            raise _RefusalError(
                f"the plan has changed: now {plan.digest[:16]}…, reviewed {request.plan[:16]}…",
                remedy=f"review it again: sisamu {request.verb.value} plan",
                rules=["plan-digest"],
            )
        return {
            "samus": list(plan.samus),
            "to": plan.to,
            "plan": plan.digest,
            "changes": plan.changes,
            "findings": [f"{f.rule}: {f.message}" for f in plan.findings],
        }

    def _about_leadership(self, request: Request) -> dict[str, Any]:
        if request.verb in (Verb.PAUSE, Verb.RESUME):
            return {}
        if request.to == self.state.leader_site:
            raise _RefusalError(f"{request.to} leads already", remedy="sisamu leader show")
        others = self.present() - {self.state.leader_site}
        if not others or (request.verb is Verb.TRANSFER and request.to not in others):
            known = ", ".join(sorted(others)) or "no other site"
            raise _RefusalError(
                f"{request.to or 'another site'} does not stand for leader",
                remedy=f"{known} stands: sisamu leader contenders",
                rules=["contender-present"],
            )
        return {"to": request.to}

    def _adoptable(self, request: Request) -> dict[str, str]:
        here = self.rules().digests()
        others = [n for n in NAMES if request.rules.get(n) != here.get(n)]
        if others or set(request.rules) != set(here):
            raise _RefusalError(
                f"the leader's copy is another: {', '.join(others) or 'names'}",
                remedy="give it that copy, then ask again: sisamu journal rules",
                rules=["rules-copy"],
            )
        return dict(request.rules)

    def _enrollable(self, request: Request) -> list[str]:
        if not request.targets:
            raise _RefusalError("the request names no target", remedy="name one: target enrol HOST")
        return sorted({self.platform.host(t).host for t in request.targets})

    def _plan(self, request: Request) -> Plan:
        policy = self.platform.policy
        if not request.samus:
            raise _RefusalError("the request names no SAMU", remedy="name one with --samu")
        to = check_direction(request.verb, request.to, policy.mode_order)
        gateways = [self.platform.samu(s).gateway for s in request.samus]
        readings = self.targets.read([*self.platform.routers, *gateways])
        return build_plan(
            platform=self.platform, state=self.state, verb=request.verb, samus=request.samus,
            to=to, readings=readings, read_at=self.now(), untrimmed=self.untrimmed(),
        )  # fmt: skip

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
