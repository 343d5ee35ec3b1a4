"""A refusal on its way to the journal: why, what would satisfy it, and by which rules."""

from __future__ import annotations

from collections.abc import Sequence

from sisamu_ops.model.errors import RefusedError


class AdmissionRefusedError(RefusedError):
    """The leader does not accept a request; the entry that says so names the rules."""

    def __init__(self, message: str, *, remedy: str, rules: Sequence[str] = ()) -> None:
        """Refuse under the names of rules, none where the request itself is wrong."""
        super().__init__(message, remedy=remedy)
        self.rules = tuple(rules)
