"""Connections made ahead, to a real sshd that can be told to take no new ones."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import paramiko
import pytest

from sisamu_ops.doors.ssh.connection import BROKEN, Ahead, ask, connect
from tests.support.waiting import await_that

HOST = "gateway"


@dataclass(kw_only=True)
class Server:
    """An sshd on loopback, and the connections it was asked for."""

    home: Path
    port: int
    user: str
    process: subprocess.Popen[bytes] | None = None
    connections: list[paramiko.SSHClient] = field(default_factory=list)

    def start(self) -> None:
        Path("/run/sshd").mkdir(exist_ok=True)  # Debian's sshd ends without it
        command = ["/usr/sbin/sshd", "-D", "-e", "-f", str(self.home / "sshd_config")]
        log = (self.home / "sshd.log").open("ab")
        self.process = subprocess.Popen(command, stderr=log)
        log.close()
        await_that(lambda: b"listening" in (self.home / "sshd.log").read_bytes())

    def stop(self) -> None:
        """Take no new connections; those that are open stay."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
            self.process = None

    def kill_sessions(self) -> None:
        """Kill what serves the open connections, and leave the listener."""
        assert self.process is not None
        pid = self.process.pid
        sessions = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        assert sessions
        for session in sessions:
            os.kill(int(session), signal.SIGKILL)

    def connect(self, host: str) -> paramiko.SSHClient:
        """Open a connection as the targets' door does."""
        assert host == HOST
        client = connect(
            "127.0.0.1", self.user, key=self.home / "key", known_hosts=self.home / "known_hosts",
            port=self.port,
        )  # fmt: skip
        self.connections.append(client)
        return client


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def make_key(path: Path) -> str:
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)]
    subprocess.run(command, check=True)
    return path.with_suffix(".pub").read_text()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    port, user = free_port(), os.environ.get("USER") or "root"
    host_key, own = make_key(tmp_path / "host_key"), make_key(tmp_path / "key")
    (tmp_path / "authorized_keys").write_text(own)
    (tmp_path / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key}")
    (tmp_path / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {tmp_path}/host_key\nStrictModes no\n"
        f"AuthorizedKeysFile {tmp_path}/authorized_keys\nPidFile none\nUsePAM no\n"
    )
    server = Server(home=tmp_path, port=port, user=user)
    server.start()
    yield server
    server.stop()
    for client in server.connections:
        client.close()


@contextmanager
def prepared(server: Server) -> Iterator[Ahead]:
    """Have a connection ready."""
    ahead = Ahead(server.connect)
    ahead.want([HOST])
    await_that(lambda: HOST in ahead.ready())
    yield ahead
    ahead.want([])


def echo(ahead: Ahead, text: bytes) -> bytes:
    with ahead.channel(HOST) as channel:
        return ask(channel, "cat", text)[0]


def test_what_is_wanted_is_connected_to_and_serves_once(server: Server) -> None:
    with prepared(server) as ahead:
        server.stop()
        assert echo(ahead, b"now") == b"now"
        with pytest.raises(BROKEN):
            echo(ahead, b"again")


def test_who_is_not_prepared_is_connected_to_when_asked(server: Server) -> None:
    assert echo(Ahead(server.connect), b"now") == b"now"


def test_a_connection_that_died_is_made_anew(server: Server) -> None:
    """Nothing was asked over the dead one, so asking again does nothing twice."""
    with prepared(server) as ahead:
        server.kill_sessions()
        assert echo(ahead, b"now") == b"now"
    assert len(server.connections) == 2


def test_what_is_no_longer_wanted_is_closed(server: Server) -> None:
    with prepared(server) as ahead:
        ahead.want([])
        assert ahead.ready() == frozenset()
    transport = server.connections[0].get_transport()
    assert transport is None or not transport.is_active()


def test_a_host_that_does_not_answer_is_told_of_when_it_is_asked(server: Server) -> None:
    server.stop()
    ahead = Ahead(server.connect)
    ahead.want([HOST])
    with pytest.raises(BROKEN):
        echo(ahead, b"now")
