"""A real ZooKeeper ensemble on loopback addresses, for contract and integration tests."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep

from sisamu_ops.lab.certificates import CERTIFICATE, KEY, Authority
from sisamu_ops.lab.requirements import JARS
from sisamu_ops.model.platform import Credentials

TICK_MS = 500


class Ensemble:
    """Servers 1..n on loopback addresses of their own, each of which can be killed and restarted.

    With an authority they take clients over TLS only, as the lab's do.
    """

    def __init__(self, root: Path, servers: int = 1, authority: Authority | None = None) -> None:
        self.root = root
        self.authority = authority
        self.ids = range(1, servers + 1)
        self.processes: dict[int, subprocess.Popen[bytes]] = {}

    @property
    def hosts(self) -> str:
        return ",".join(f"{self.address(i)}:21810" for i in self.ids)

    def address(self, server: int) -> str:
        # Distinct per process, so that two test runs on one machine do not meet; and so that a
        # secured ensemble may stand beside an open one.
        last = server + (100 if self.authority else 0)
        return f"127.{(os.getpid() >> 8) % 250 + 1}.{os.getpid() % 250 + 1}.{last}"

    def start(self, server: int) -> None:
        home = self.root / str(server)
        home.mkdir(parents=True, exist_ok=True)
        (home / "myid").write_text(f"{server}\n")
        lines = [
            f"tickTime={TICK_MS}",
            "initLimit=10",
            "syncLimit=5",
            f"dataDir={home}",
            "admin.enableServer=false",
            "4lw.commands.whitelist=*",
            "maxClientCnxns=0",
        ]
        lines += self._secured(server, home) if self.authority else self._open(server)
        if len(self.ids) > 1:
            lines += [f"server.{i}={self.address(i)}:21811:21812" for i in self.ids]
        (home / "zoo.cfg").write_text("\n".join(lines) + "\n")
        log = (home / "zookeeper.log").open("ab")
        self.processes[server] = subprocess.Popen(
            [
                "java", "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
                "-cp", ":".join(map(str, [home, *JARS])),
                "org.apache.zookeeper.server.quorum.QuorumPeerMain", str(home / "zoo.cfg"),
            ],
            stdout=log, stderr=log, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def _open(self, server: int) -> list[str]:
        return ["clientPort=21810", f"clientPortAddress={self.address(server)}"]

    def _secured(self, server: int, home: Path) -> list[str]:
        assert self.authority is not None
        self.authority.issue(home / "tls", "server", self.address(server))
        parts = (home / "tls" / CERTIFICATE, home / "tls" / KEY)
        (home / "server.pem").write_bytes(b"".join(part.read_bytes() for part in parts))
        return [
            "secureClientPort=21810",
            f"secureClientPortAddress={self.address(server)}",
            "serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory",
            f"ssl.keyStore.location={home}/server.pem",
            f"ssl.trustStore.location={self.authority.certificate}",
            "ssl.clientAuth=need",
            "authProvider.x509=org.apache.zookeeper.server.auth.X509AuthenticationProvider",
            "ssl.authProvider=x509",
        ]

    def credentials(self, unit: str, who: str = "somebody") -> Credentials:
        """Return what somebody of a role shows; made when first asked for."""
        assert self.authority is not None
        directory = self.root / f"{self.authority.platform}-{unit}-{who}"
        self.authority.issue(directory, unit, who)
        return Credentials(
            authority=self.authority.certificate, certificate=directory / CERTIFICATE,
            key=directory / KEY,
        )  # fmt: skip

    def kill(self, server: int) -> None:
        process = self.processes.pop(server)
        process.kill()
        process.wait()

    def pause(self, server: int) -> None:
        process = self.processes[server]
        process.send_signal(signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)  # until every thread of it has stopped

    def resume(self, server: int) -> None:
        self.processes[server].send_signal(signal.SIGCONT)

    def await_serving(self, timeout_s: float = 30) -> None:
        deadline = monotonic() + timeout_s
        for server in self.ids:
            while not self._serves(server):
                if monotonic() > deadline:
                    raise TimeoutError(f"ZooKeeper {server}, see {self.root}")
                sleep(0.05)

    def _serves(self, server: int) -> bool:
        with suppress(OSError), self._link(server) as link:
            link.sendall(b"srvr")
            return b"Mode:" in link.recv(4096)
        return False

    def _link(self, server: int) -> socket.socket:
        link = socket.create_connection((self.address(server), 21810), 1)
        if self.authority is None:
            return link
        mine = self.credentials("operator")
        context = ssl.create_default_context(cafile=str(mine.authority))
        context.load_cert_chain(mine.certificate, mine.key)
        return context.wrap_socket(link, server_hostname=self.address(server))

    def stop(self) -> None:
        for server in list(self.processes):
            self.kill(server)


@contextmanager
def ensemble(
    root: Path, servers: int = 1, authority: Authority | None = None
) -> Iterator[Ensemble]:
    """Start an ensemble, wait until every server serves, and leave no process behind."""
    running = Ensemble(root, servers, authority)
    try:
        for server in running.ids:
            running.start(server)
        running.await_serving()
        yield running
    finally:
        running.stop()
