"""Targets that gave no answer are not asked again for a while.

A site that is cut off reads its targets several times before it acts, and each time would wait
for the same silent ones: seconds in which calls are lost. What answers is always asked anew.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from time import monotonic

from sisamu_ops.failover.ports import Targets
from sisamu_ops.failover.reading import Reading
from sisamu_ops.model.token import Token

#: Seconds in which a silent target is taken to be silent still.
SILENT_S = 10.0


@dataclass(frozen=True, kw_only=True)
class ImpatientTargets:
    """The fences behind `targets`; each silence is waited for once."""

    targets: Targets
    clock_s: Callable[[], float] = monotonic
    _silent: dict[str, tuple[float, Reading]] = field(default_factory=dict)

    def read(self, hosts: Collection[str]) -> Mapping[str, Reading]:
        """Read values and fence of every host; a silent one as it was read last."""
        since = self.clock_s() - SILENT_S
        silent = {h: r for h, (at, r) in self._silent.items() if h in hosts and at > since}
        asked = [host for host in hosts if host not in silent]
        return silent | (self._note(self.targets.read(asked)) if asked else {})

    def seal(self, hosts: Collection[str], token: Token) -> Mapping[str, Reading]:
        """Show a token to every fence: none is left out, a seal is what nothing older passes."""
        return self._note(self.targets.seal(hosts, token))

    def enrol(self, tokens: Mapping[str, Token]) -> Mapping[str, Reading]:
        """Give each target its fence file."""
        return self._note(self.targets.enrol(tokens))

    def _note(self, readings: Mapping[str, Reading]) -> dict[str, Reading]:
        """Remember who is silent now, and who is no more."""
        for host, reading in readings.items():
            self._silent.pop(host, None)
            if not reading.reachable:
                self._silent[host] = (self.clock_s(), reading)
        return dict(readings)
