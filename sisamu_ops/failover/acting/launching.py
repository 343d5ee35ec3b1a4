"""Starting a playbook: not without leave, and not silently failing to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sisamu_ops.failover.ports import PlaybookRun, PlaybookRunner
from sisamu_ops.leadership.port import LeasedTenure
from sisamu_ops.model.errors import DiskError, LeadershipError

#: After this a playbook is ended and what gave no answer is unknown: for one SAMU, and for each.
_RUN_S, _SAMU_S = 60.0, 1.0


def deadline_s(samus: int) -> float:
    """Return how long a playbook may run that moves so many SAMUs, in seconds."""
    return _RUN_S + _SAMU_S * samus


@dataclass(frozen=True, kw_only=True)
class Launcher:
    """Starts playbooks, for one tenure."""

    tenure: LeasedTenure
    runner: PlaybookRunner
    #: Says whether another site stands that could go on instead.
    elsewhere: Callable[[], bool] = lambda: False

    def may_start(self) -> None:
        """Raise LeadershipError where this tenure may start nothing new."""
        if not self.tenure.may_start():
            raise LeadershipError(
                f"{self.tenure.site} may start nothing new under epoch {self.tenure.epoch}",
                remedy="the next leader goes on from the journal",
            )

    def launch(self, run: PlaybookRun, on_event: Callable[[Mapping[str, Any]], None]) -> str:
        """Run a playbook to its end; say why nothing was begun, if nobody else could begin it.

        DiskError where this machine's disk is in the way and another site can go on.
        """
        self.may_start()
        try:
            self.runner.run(run, self.tenure, on_event)
        except DiskError as error:
            if self.elsewhere():
                raise
            return error.message
        return ""
