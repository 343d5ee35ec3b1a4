"""The one error tree: every event a user can meet, with its exit code and its remedy.

SisamuError                       exit  retry
├── ConfigurationError               2  no     usage, inventory, schema
├── RefusedError                     3  no     a rule, an approval, a signature, an expiry
├── LeadershipError                  4  yes    no leader, not leader, fenced, quorum lost
│   └── FencedError                  4  no     a newer token was shown to the target
├── FailedError                      5  yes    tried, known not done
│   └── DiskError                    5  yes    this machine's disk; nothing was begun
├── UnknownOutcomeError              6  no     tried, not known: reconcile
├── IntegrityError                   8  no     the record does not hold, or there is none
└── StoppedError                     9  yes    an operator or a stop condition ended it

A caller's misuse is a plain ValueError or RuntimeError: a bug (exit 1), not an event.
"""

from __future__ import annotations

from typing import ClassVar


class SisamuError(Exception):
    """An event the user meets: one message, where it is, and what would mend it."""

    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, remedy: str = "", place: str = "") -> None:
        """Say what happened (`message`), where (`place`) and what to do now (`remedy`)."""
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.place = place

    def __str__(self) -> str:
        """Render place, message and remedy on as many lines as there are facts."""
        head = f"{self.place}: {self.message}" if self.place else self.message
        return f"{head}\n  remedy: {self.remedy}" if self.remedy else head


class ConfigurationError(SisamuError):
    """Usage, inventory or schema is wrong; nothing was changed."""

    exit_code = 2


class RefusedError(SisamuError):
    """A rule, a missing approval, or a request's signature or expiry forbids it."""

    exit_code = 3


class LeadershipError(SisamuError):
    """There is no leader, this site does not lead, or the quorum is lost."""

    exit_code = 4
    retryable = True


class FencedError(LeadershipError):
    """A target has accepted a newer token: whoever holds this one must not act."""

    retryable = False


class FailedError(SisamuError):
    """It was tried and is known not to have been done."""

    exit_code = 5
    retryable = True


class DiskError(FailedError):
    """This machine's own disk is full or cannot be written; what needed it was not begun."""

    def __init__(self, cause: OSError) -> None:
        """Say what the system said of which file."""
        super().__init__(
            said_of(cause), remedy="make room on this machine's disk, and writable; then ask again"
        )


def said_of(cause: OSError) -> str:
    """Return what the system said, and of which file if of one."""
    said = cause.strerror or str(cause)
    return f"{said}: {cause.filename}" if cause.filename else said


class UnknownOutcomeError(SisamuError):
    """It was tried and nobody knows the outcome; `sisamu reconcile` settles it."""

    exit_code = 6


class IntegrityError(SisamuError):
    """The record does not hold, or there is nothing to verify."""

    exit_code = 8


class StoppedError(SisamuError):
    """An operator or a stop condition ended it."""

    exit_code = 9
    retryable = True
