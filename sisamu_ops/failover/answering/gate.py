"""Who may ask: the signature, the role, the approvals, the time (nothing is looked at before)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sisamu_ops.failover.answering.refusal import AdmissionRefusedError
from sisamu_ops.failover.ports import SignatureCheck
from sisamu_ops.failover.request import (
    NAMESPACE,
    VOTE_NAMESPACE,
    Envelope,
    Request,
    open_envelope,
    parse_request,
)
from sisamu_ops.journal.port import InboxItem
from sisamu_ops.journal.privacy import refuse_phone_numbers
from sisamu_ops.model.platform import Platform

#: How far ahead of this site's clock a request may have been made.
CLOCK_TOLERANCE = timedelta(minutes=5)
LONGEST_LIFETIME = timedelta(hours=24)


@dataclass(frozen=True, kw_only=True)
class Gate:
    """What every request must be, whatever it asks for."""

    platform: Platform
    signatures: SignatureCheck
    now: Callable[[], datetime]

    def authenticated(self, item: InboxItem) -> tuple[Envelope, Request]:
        """Return who asks for what; RefusedError unless it is signed by who may ask."""
        envelope = open_envelope(item.payload)
        document = envelope.document.encode()
        request = parse_request(document)
        if not envelope.signature:
            raise AdmissionRefusedError(
                "the request is not signed", remedy="sign it: sisamu --identity KEY …"
            )
        if not self.signatures(document, envelope.signature, envelope.principal, NAMESPACE):
            raise AdmissionRefusedError(
                "the signature does not verify for an allowed signer",
                remedy="check your key with `sisamu doctor`; allowed_signers must name it",
            )
        if envelope.principal not in self.platform.policy.operators:
            raise AdmissionRefusedError(
                f"{envelope.principal} is not authorised to ask for a {request.verb.value}",
                remedy="ask for the role operator in the inventory's sisamu_roles",
            )
        self._check_approvals(envelope)
        return envelope, request

    def _check_approvals(self, envelope: Envelope) -> None:
        """Refuse the whole for one bad approval, and name it."""
        document = envelope.document.encode()
        for approval in envelope.approvals:
            who = approval.principal
            if who == envelope.principal:
                problem = f"{who} asked for it, and does not count as approver"
            elif not self.signatures(document, approval.signature, who, VOTE_NAMESPACE):
                problem = f"the approval by {who or 'nobody'} does not verify"
            elif who not in self.platform.policy.operators:
                problem = f"{who} is not authorised to approve"
            else:
                continue
            raise AdmissionRefusedError(
                problem, remedy="take it out, or have another operator approve: request approve",
                rules=["approvals"],
            )  # fmt: skip

    def check_time(self, request: Request) -> None:
        """Refuse what has expired, or lives too long; expiry is judged here, once."""
        now = self.now()
        if now >= request.expires:
            raise AdmissionRefusedError(
                "the request has expired", remedy="make and sign it anew; nothing was changed"
            )
        if request.created > now + CLOCK_TOLERANCE:
            raise AdmissionRefusedError("the request is from the future", remedy="check the clocks")
        if request.expires - request.created > LONGEST_LIFETIME:
            raise AdmissionRefusedError(
                "the request lives over 24 hours", remedy="choose a nearer expiry"
            )

    def check(self, request: Request) -> None:
        """Refuse what is too late, for another platform, or says what may not be kept."""
        self.check_time(request)
        if request.platform != self.platform.policy.platform:
            raise AdmissionRefusedError(
                f"the request is for platform {request.platform!r}",
                remedy=f"this platform is {self.platform.policy.platform!r}",
            )
        refuse_phone_numbers(request.reason, place="reason")
        for name, said in request.details.items():
            refuse_phone_numbers(said, place=name)
