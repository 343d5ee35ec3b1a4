"""Scripts run on many hosts at once: one connection and one command each, within a deadline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import paramiko

from sisamu_ops.doors.ssh.session import AT_ONCE, TROUBLE, check_files, open_session, reason_of
from sisamu_ops.quorum.provider import Heard

#: More than this of one host's answer is not heard: it bounds the memory a host can take.
ANSWER_LIMIT_BYTES = 8_000_000
_CHUNK_BYTES = 65_536


@dataclass(frozen=True, kw_only=True)
class ShellHost:
    """A host that runs scripts: its address, and the user to log in as."""

    address: str
    user: str


class SshShells:
    """Hosts that run what `interpreter` reads on standard input; see `quorum.provider.Shells`."""

    def __init__(
        self, hosts: Mapping[str, ShellHost], *, interpreter: str, key: Path, known_hosts: Path
    ) -> None:
        """Reach hosts with the private key `key`, checking them against `known_hosts`."""
        check_files(key, known_hosts)
        self._hosts = hosts
        self._interpreter = interpreter
        self._key = key
        self._known_hosts = known_hosts

    def run(self, scripts: Mapping[str, str], *, deadline_s: float) -> Mapping[str, Heard]:
        """Run a script on each host at the same time; what fails is said, never raised."""
        if not scripts:
            return {}
        ends = monotonic() + deadline_s
        with ThreadPoolExecutor(max_workers=min(AT_ONCE, len(scripts))) as pool:
            heard = pool.map(lambda host: self._ask(host, scripts[host], ends), scripts)
            return dict(zip(scripts, heard, strict=True))

    def _ask(self, name: str, script: str, ends: float) -> Heard:
        host, parts = self._hosts[name], list[bytes]()
        try:
            with (
                open_session(host.address, host.user, self._key, self._known_hosts) as client,
                _channel(client, ends) as channel,
            ):
                channel.exec_command(self._interpreter)
                channel.sendall(script.encode())
                channel.shutdown_write()
                in_time = _hear(channel, parts, ends)
        except TROUBLE as error:
            if parts:  # it closed half-way: what it said is told, and that there is no more of it
                return Heard(content=b"".join(parts))
            return Heard(problem=reason_of(error))
        return Heard(content=b"".join(parts), in_time=in_time)


@contextmanager
def _channel(client: paramiko.SSHClient, ends: float) -> Iterator[paramiko.Channel]:
    transport = client.get_transport()
    if transport is None:
        raise EOFError
    channel = transport.open_session(timeout=max(0.1, ends - monotonic()))
    try:
        channel.set_combine_stderr(True)
        channel.settimeout(max(0.1, ends - monotonic()))
        yield channel
    finally:
        channel.close()


def _hear(channel: paramiko.Channel, parts: list[bytes], ends: float) -> bool:
    """Read to the end of the answer; False when the deadline or the limit came first."""
    room = ANSWER_LIMIT_BYTES
    while (left := ends - monotonic()) > 0 and room > 0:
        channel.settimeout(left)
        try:
            part = channel.recv(min(_CHUNK_BYTES, room))
        except TimeoutError:
            return False
        if not part:
            return True
        parts.append(part)
        room -= len(part)
    return False
