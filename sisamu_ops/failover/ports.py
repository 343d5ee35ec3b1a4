"""What moving SAMUs needs of the world: targets, playbooks, signatures."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from sisamu_ops.failover.reading import Reading
from sisamu_ops.leadership.port import LeasedTenure
from sisamu_ops.model.token import Token


@dataclass(frozen=True, kw_only=True)
class RunEnd:
    """How a playbook run ended; `killed` when the guard ended it."""

    code: int
    killed: bool
    log: str


@dataclass(frozen=True, kw_only=True)
class PlaybookRun:
    """One playbook to run, with its token and limits."""

    playbook: str
    operation: str
    token: Token
    samus: tuple[str, ...]
    to: str
    routers: tuple[str, ...]
    deadline_s: float
    extra: Mapping[str, Any] = field(default_factory=dict)


#: Verdicts of the quorum rules: the best of a database, and that nothing can be foreseen of it.
HOLDING, UNFORESEEN = "QUORATE", "UNKNOWN"


@dataclass(frozen=True, kw_only=True)
class DatabaseWord:
    """What can be said of the platform's database: whether it holds, and why not.

    `without` is the verdict that is foreseen after the loss of each of its sites.
    """

    holds: bool
    said: str
    without: Mapping[str, str] = field(default_factory=dict)

    def without_site(self, site: str) -> str:
        """Return the verdict foreseen without a site: it loses nothing by one it does not use."""
        return self.without.get(site, HOLDING if self.holds else UNFORESEEN)


class AskDatabase(Protocol):
    """Asks the platform's database."""

    def __call__(self) -> DatabaseWord | None:
        """Return its word; None where the platform declares no database. Never raises."""


def no_database() -> DatabaseWord | None:
    """Stand where the platform declares no database."""
    return None


class Experiments(Protocol):
    """The experiments that disturb this platform on purpose. Never raises."""

    def running(self) -> tuple[str, ...]:
        """Return the names of those that run. Reads what is at hand, and asks nobody."""

    def stop(self) -> tuple[str, ...]:
        """Undo what they disturb, and return the names of those stopped."""


class NoExperiments:
    """Stands where nothing is ever disturbed on purpose."""

    def running(self) -> tuple[str, ...]:
        """Return nothing."""
        return ()

    def stop(self) -> tuple[str, ...]:
        """Return nothing."""
        return ()


class CheckMode(Protocol):
    """Runs a playbook in Ansible's check mode: nothing is changed."""

    def __call__(self, run: PlaybookRun, on_event: Callable[[Mapping[str, Any]], None]) -> int:
        """Run to the end, calling `on_event` for each event; return Ansible's exit code."""


class Targets(Protocol):
    """The fences of the targets, reached without a playbook: never a change of mode."""

    def read(self, hosts: Collection[str]) -> Mapping[str, Reading]:
        """Read values and fence of every host; an unreachable one is a reading that says so."""

    def seal(self, hosts: Collection[str], token: Token) -> Mapping[str, Reading]:
        """Show a token to every fence, then read: afterwards nothing older can take effect."""

    def enrol(self, tokens: Mapping[str, Token]) -> Mapping[str, Reading]:
        """Give each target its fence file, starting from its token."""


class PlaybookRunner(Protocol):
    """Runs playbooks under a guard that outlives neither the lease nor the agent."""

    def run(
        self,
        run: PlaybookRun,
        tenure: LeasedTenure,
        on_event: Callable[[Mapping[str, Any]], None],
    ) -> RunEnd:
        """Run to the end, calling `on_event` for each event as it comes.

        DiskError when nothing was started, because this machine's disk cannot be written.
        """


class SignatureCheck(Protocol):
    """Verifies SSHSIG signatures against the signers allowed."""

    def __call__(self, document: bytes, signature: str, principal: str, namespace: str) -> bool:
        """Say whether `principal` signed `document` in `namespace`."""
