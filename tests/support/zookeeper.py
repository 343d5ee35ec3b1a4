"""A real ZooKeeper ensemble on loopback addresses, for contract and integration tests."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep

TICK_MS = 500


class Ensemble:
    """Servers 1..n on 127.18.200.<i>:21810, each of which can be killed and restarted."""

    def __init__(self, root: Path, servers: int = 1) -> None:
        self.root = root
        self.ids = range(1, servers + 1)
        self.processes: dict[int, subprocess.Popen[bytes]] = {}

    @property
    def hosts(self) -> str:
        return ",".join(f"{self.address(i)}:21810" for i in self.ids)

    @staticmethod
    def address(server: int) -> str:
        # Distinct per process, so that two test runs on one machine do not meet.
        return f"127.{(os.getpid() >> 8) % 250 + 1}.{os.getpid() % 250 + 1}.{server}"

    def start(self, server: int) -> None:
        home = self.root / str(server)
        home.mkdir(parents=True, exist_ok=True)
        (home / "myid").write_text(f"{server}\n")
        lines = [
            f"tickTime={TICK_MS}",
            "initLimit=10",
            "syncLimit=5",
            f"dataDir={home}",
            "clientPort=21810",
            f"clientPortAddress={self.address(server)}",
            "admin.enableServer=false",
            "4lw.commands.whitelist=*",
            "maxClientCnxns=0",
        ]
        if len(self.ids) > 1:
            lines += [f"server.{i}={self.address(i)}:21811:21812" for i in self.ids]
        (home / "zoo.cfg").write_text("\n".join(lines) + "\n")
        log = (home / "zookeeper.log").open("ab")
        self.processes[server] = subprocess.Popen(
            [
                "java", "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
                "-cp", f"{home}:/usr/share/java/zookeeper.jar:/usr/share/java/slf4j-simple.jar",
                "org.apache.zookeeper.server.quorum.QuorumPeerMain", str(home / "zoo.cfg"),
            ],
            stdout=log, stderr=log, stdin=subprocess.DEVNULL,
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
        with suppress(OSError), socket.create_connection((self.address(server), 21810), 1) as link:
            link.sendall(b"srvr")
            return b"Mode:" in link.recv(4096)
        return False

    def stop(self) -> None:
        for server in list(self.processes):
            self.kill(server)


@contextmanager
def ensemble(root: Path, servers: int = 1) -> Iterator[Ensemble]:
    """Start an ensemble, wait until every server serves, and leave no process behind."""
    running = Ensemble(root, servers)
    try:
        for server in running.ids:
            running.start(server)
        running.await_serving()
        yield running
    finally:
        running.stop()
