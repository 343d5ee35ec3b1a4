"""Signing as an operator, and knowing who signed: OpenSSH's keys and its allowed signers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from sisamu_ops.doors import openssh
from sisamu_ops.failover.request import NAMESPACE, VOTE_NAMESPACE, Approval, Envelope, Request
from sisamu_ops.model.errors import RefusedError


@dataclass(frozen=True, kw_only=True)
class Signing:
    """What an operator's key signs, and what the allowed signers bear out.

    `identity` returns the operator's private key; ConfigurationError when none is named.
    """

    identity: Callable[[], Path]
    allowed_signers: Path

    def sign(self, request: Request) -> Envelope:
        """Sign a request with the operator's key."""
        document = request.document()
        signature = openssh.sign(document, self.identity(), NAMESPACE)
        principal = self._signer(document, signature)
        return Envelope(document=document.decode(), signature=signature, principal=principal)

    def approve(self, document: bytes) -> Approval:
        """Sign what somebody else asks; RefusedError for a key that nobody knows."""
        signature = openssh.sign(document, self.identity(), VOTE_NAMESPACE)
        principal = self._signer(document, signature)
        if not principal:
            raise RefusedError(
                "your key is not among the allowed signers: your approval would not count",
                place=str(self.allowed_signers),
                remedy="name another key with --identity",
            )
        return Approval(principal=principal, signature=signature)

    def named(self, envelope: Envelope) -> Envelope:
        """Return it with who signed it, where this machine knows and the other did not."""
        if envelope.principal:
            return envelope
        principal = self._signer(envelope.document.encode(), envelope.signature)
        return replace(envelope, principal=principal)

    def verifies(self, document: bytes, signature: str, principal: str, namespace: str) -> bool:
        """Say whether the allowed signers bear out who signed."""
        return openssh.verify(document, signature, principal, namespace, self.allowed_signers)

    def principal(self) -> str:
        """Return who the operator's key signs as, or an empty string."""
        probe = b"not a request: sisamu doctor"
        return self._signer(probe, openssh.sign(probe, self.identity(), NAMESPACE))

    def _signer(self, document: bytes, signature: str) -> str:
        return openssh.find_principal(document, signature, self.allowed_signers)
