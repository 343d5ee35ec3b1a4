"""Three things can be said of an action: done, failed (known not done), unknown."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum


class Outcome(Enum):
    """What is known of an action after it was tried."""

    DONE = "done"
    FAILED = "failed"
    UNKNOWN = "unknown"


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """Sum up several outcomes: any unknown is unknown, else any failed is failed, else done.

    Nothing at all is unknown: no evidence is never called done.
    """
    seen = set(outcomes)
    if not seen or Outcome.UNKNOWN in seen:
        return Outcome.UNKNOWN
    return Outcome.FAILED if Outcome.FAILED in seen else Outcome.DONE
