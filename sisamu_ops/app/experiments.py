"""The experiments on this machine's lab, as the rules hear of them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from threading import Thread

from sisamu_ops.chaos import Ground, heal_all, standing
from sisamu_ops.failover.ports import Experiments, NoExperiments
from sisamu_ops.model.errors import SisamuError
from sisamu_ops.model.platform import Platform

#: How long a rescue waits for what is disturbed to be undone; it goes on all the same, in seconds.
_STOP_S = 3.0
#: A lab that is not up, not this machine's or half written has no experiment that can be named.
_UNREADABLE = (SisamuError, OSError, ValueError, KeyError)


class LabExperiments:
    """Faults that stand in a lab: each a file that says how it is healed."""

    def __init__(self, ground: Callable[[], Ground]) -> None:
        """Keep who finds the lab; nothing is read yet."""
        self._ground = ground

    def running(self) -> tuple[str, ...]:
        """Return the faults that stand, oldest first; reads files only."""
        try:
            return tuple(str(one.fault) for one in standing(self._ground()))
        except _UNREADABLE:
            return ()

    def stop(self) -> tuple[str, ...]:
        """Heal them all, and return those healed within a moment."""
        before = self.running()
        # A daemon: what cannot be healed must not hold up the rescue, nor anybody's exit.
        healing = Thread(target=self._heal, daemon=True)
        healing.start()
        healing.join(_STOP_S)
        after = self.running()
        return tuple(name for name in before if name not in after)

    def _heal(self) -> None:
        with suppress(*_UNREADABLE):  # what could not be healed still stands, and is told so
            heal_all(self._ground())


def find_experiments(platform: Platform, ground: Callable[[], Ground]) -> Experiments:
    """Return the lab's experiments; where there is no lab, nothing is disturbed on purpose."""
    return LabExperiments(ground) if platform.policy.is_lab else NoExperiments()
