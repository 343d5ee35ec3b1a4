"""What the room needs of the world: hosts that can be asked; and what it gives: providers."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from sisamu_ops.quorum.asking import Script, read_answer
from sisamu_ops.quorum.assessment import Assessment
from sisamu_ops.quorum.capture import Capture, Declared, HostCapture


@dataclass(frozen=True, kw_only=True)
class Heard:
    """What one host answered to a script.

    `in_time` is false when the deadline came first; `problem` says why nothing was heard at all.
    """

    content: bytes = b""
    in_time: bool = True
    problem: str = ""


class Shells(Protocol):
    """Hosts that run a script: one connection each, all at the same time."""

    def run(self, scripts: Mapping[str, str], *, deadline_s: float) -> Mapping[str, Heard]:
        """Run a script on each host; a host costs its deadline at most. Never raises for a host."""
        ...


class Provider(Protocol):
    """One kind of cluster: it is captured, and a capture of it is judged."""

    def capture(self) -> Capture:
        """Ask the cluster, and return what was heard word for word."""
        ...

    def assess(self, capture: Capture) -> Assessment:
        """Judge a capture; pure, so that one judged later is judged alike."""
        ...


def new_mark() -> str:
    """Return a mark that no output can hold by chance, nor by intent."""
    return f"sisamu-{secrets.token_hex(16)}"


def ask_hosts(
    shells: Shells, scripts: Mapping[str, Script], declared: Declared, *, deadline_s: float
) -> Capture:
    """Ask every host its script, and return what each said."""
    heard = shells.run({host: s.text() for host, s in scripts.items()}, deadline_s=deadline_s)
    hosts = {host: _capture(scripts[host], one) for host, one in heard.items()}
    return Capture(declared=declared, hosts=hosts)


def _capture(script: Script, heard: Heard) -> HostCapture:
    if heard.problem:
        return HostCapture(unreachable=heard.problem)
    outputs = read_answer(script, heard.content, in_time=heard.in_time)
    if not heard.content.strip():
        return HostCapture(unreachable="no answer in time" if not heard.in_time else _NO_ANSWER)
    if script.mark.encode() not in heard.content:
        said = heard.content[:80].decode("utf-8", "replace").splitlines()[0]
        return HostCapture(unreachable=f"it answered something else: {said}")
    return HostCapture(outputs=outputs)


_NO_ANSWER = "it closed the connection without an answer"
