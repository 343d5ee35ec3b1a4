"""Galera as a provider: each data node is asked through its own client, over SSH."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sisamu_ops.quorum.asking import Question, Script
from sisamu_ops.quorum.assessment import Assessment
from sisamu_ops.quorum.capture import Capture, Declared
from sisamu_ops.quorum.galera.assess import assess_galera
from sisamu_ops.quorum.galera.reading import COMMANDS, MEMBERS, OPTIONS, STATE_FILE, STATUS
from sisamu_ops.quorum.provider import Shells, ask_hosts, new_mark


@dataclass(frozen=True, kw_only=True)
class GaleraHost:
    """A data node: the client that asks its server, and its data directory."""

    client: tuple[str, ...]
    directory: str


@dataclass(frozen=True, kw_only=True)
class GaleraProvider:
    """Asks every data node within `deadline_s`; each command has `command_s`."""

    shells: Shells
    hosts: Mapping[str, GaleraHost]
    declared: Declared
    command_s: float
    deadline_s: float

    def capture(self) -> Capture:
        """Ask the data nodes; what one does not say is not in the capture."""
        scripts = {name: self._script(host) for name, host in self.hosts.items()}
        return ask_hosts(self.shells, scripts, self.declared, deadline_s=self.deadline_s)

    def assess(self, capture: Capture) -> Assessment:
        """Judge a capture."""
        return assess_galera(capture)

    def _script(self, host: GaleraHost) -> Script:
        asked = (
            Question(name=name, command=(*host.client, "-N", "-B", "-e", COMMANDS[name]))
            for name in (STATUS, MEMBERS, OPTIONS)
        )
        state = Question(name=STATE_FILE, command=("cat", f"{host.directory}/grastate.dat"))
        # Beside each other: a server that hangs holds all of them up for one time-out, not three.
        lanes = tuple((one,) for one in (*asked, state))
        return Script(lanes=lanes, mark=new_mark(), command_s=self.command_s)
