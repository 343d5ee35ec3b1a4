"""Connections: opened with a known host key, some of them ahead of their use."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from time import monotonic

import paramiko

CONNECT_TIMEOUT_S = 2.0
COMMAND_TIMEOUT_S = 8.0
#: A connection made ahead answers at once, or its host is gone and a new attempt may tell more.
_READY_TIMEOUT_S = 1.0
#: Connections made ahead at most: threads and memory stay bounded at national size.
_AHEAD = 32
_CONNECTING_AT_ONCE = 4
#: After an attempt, none to the same host for so long.
_RETRY_S = 5.0

#: How paramiko says that a connection failed or broke.
BROKEN = (paramiko.SSHException, OSError, EOFError)


def connect(
    address: str, user: str, *, key: Path, known_hosts: Path, port: int = 22
) -> paramiko.SSHClient:
    """Open a connection, which the caller closes; raises one of `BROKEN`."""
    # Its own account of a failed connection is a traceback; ours is the error raised.
    logging.getLogger("paramiko").setLevel(logging.CRITICAL)
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    try:
        client.load_host_keys(str(known_hosts))
        client.connect(
            address, port, username=user, key_filename=str(key), allow_agent=False,
            look_for_keys=False, timeout=CONNECT_TIMEOUT_S, banner_timeout=CONNECT_TIMEOUT_S,
            auth_timeout=CONNECT_TIMEOUT_S,
        )  # fmt: skip
    except BROKEN:
        client.close()
        raise
    return client


@contextmanager
def connected(
    address: str, user: str, *, key: Path, known_hosts: Path
) -> Iterator[paramiko.SSHClient]:
    """Hold a connection for a while."""
    client = connect(address, user, key=key, known_hosts=known_hosts)
    try:
        yield client
    finally:
        client.close()


def ask(channel: paramiko.Channel, command: str, question: bytes) -> tuple[bytes, str]:
    """Run a command with `question` on its input; return its output, and what it complained of."""
    channel.settimeout(COMMAND_TIMEOUT_S)
    channel.exec_command(command)
    channel.sendall(question)
    channel.shutdown_write()
    output = channel.makefile("rb").read()
    problem = channel.makefile_stderr("rb").read()
    return output, problem.decode(errors="replace").strip()


def reason(error: Exception) -> str:
    """Say in one line why a connection failed."""
    text = str(error) or type(error).__name__
    if isinstance(error, TimeoutError):
        return "no answer over SSH in time"
    return text.splitlines()[0]


class Ahead:
    """Connections made before they are needed: each serves one command, by whoever comes first.

    A host that has none, or whose connection no longer answers, is connected to when it is asked.
    """

    def __init__(self, connect: Callable[[str], paramiko.SSHClient]) -> None:
        """Connect to a host by `connect`, which raises one of `BROKEN`."""
        self._connect = connect
        self._lock = Lock()
        self._wanted: frozenset[str] = frozenset()
        self._ready: dict[str, paramiko.SSHClient] = {}
        self._tried: dict[str, float] = {}
        self._pool = ThreadPoolExecutor(_CONNECTING_AT_ONCE, thread_name_prefix="ahead")

    def want(self, hosts: Sequence[str]) -> None:
        """Have the first of these ready soon, and close what waits for others; returns at once."""
        with self._lock:
            self._wanted = frozenset(hosts[:_AHEAD])
            dropped = [h for h, c in self._ready.items() if h not in self._wanted or not _lives(c)]
            for host in dropped:
                self._ready.pop(host).close()
            missing = [h for h in self._wanted - self._ready.keys() if self._may_try(h)]
            self._tried = {h: at for h, at in self._tried.items() if h in self._wanted}
            self._tried |= dict.fromkeys(missing, monotonic())
        for host in missing:
            self._pool.submit(self._make, host)

    def ready(self) -> frozenset[str]:
        """Name the hosts whose connections wait to be used."""
        with self._lock:
            return frozenset(self._ready)

    def _may_try(self, host: str) -> bool:
        return monotonic() - self._tried.get(host, float("-inf")) > _RETRY_S

    def _make(self, host: str) -> None:
        with suppress(*BROKEN):  # whoever asks the host will be told why
            client = self._connect(host)
            with self._lock:
                if host in self._wanted and host not in self._ready:
                    self._ready[host] = client
                    return
            client.close()

    @contextmanager
    def channel(self, host: str) -> Iterator[paramiko.Channel]:
        """Open a channel to a host, on the connection made ahead if that answers."""
        client, channel = self._open_ready(host) or self._open_new(host)
        try:
            yield channel
        finally:
            client.close()

    def _open_ready(self, host: str) -> tuple[paramiko.SSHClient, paramiko.Channel] | None:
        with self._lock:
            client = self._ready.pop(host, None)
        if client is None:
            return None
        try:
            return client, _open_channel(client, _READY_TIMEOUT_S)
        except BROKEN:  # nothing was asked yet: a new connection may be tried
            client.close()
            return None

    def _open_new(self, host: str) -> tuple[paramiko.SSHClient, paramiko.Channel]:
        client = self._connect(host)
        try:
            return client, _open_channel(client, COMMAND_TIMEOUT_S)
        except BROKEN:
            client.close()
            raise


def _open_channel(client: paramiko.SSHClient, timeout_s: float) -> paramiko.Channel:
    transport = client.get_transport()
    if transport is None:
        raise paramiko.SSHException("the connection is closed")
    return transport.open_session(timeout=timeout_s)


def _lives(client: paramiko.SSHClient) -> bool:
    transport = client.get_transport()
    return transport is not None and transport.is_active()
