"""A refusal on its way to the journal: why, what would satisfy it, and by which rules."""

from __future__ import annotations

from collections.abc import Sequence

from sisamu_ops.failover.request import Request
from sisamu_ops.model.errors import RefusedError


class AdmissionRefusedError(RefusedError):
    """The leader does not accept a request; the entry that says so names the rules."""

    def __init__(self, message: str, *, remedy: str, rules: Sequence[str] = ()) -> None:
        """Refuse under the names of rules, none where the request itself is wrong."""
        super().__init__(message, remedy=remedy)
        self.rules = tuple(rules)


class SecondSignatureMissing(Exception):  # noqa: N818 (no error: the request waits)
    """A request is good but for a second signature, and waits for it until it expires."""

    def __init__(self, request: Request, samus: Sequence[str], to: str, message: str) -> None:
        """Say what would move where, and what is missing."""
        super().__init__(message)
        self.request, self.samus, self.to, self.message = request, tuple(samus), to, message
