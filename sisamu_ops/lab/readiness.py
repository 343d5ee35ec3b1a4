"""Wait until programs serve, by looking: sockets, Kamailio's control, ZooKeeper's mode, SQL.

Listening sockets are read from /proc/<pid>/net, which shows the network of that process: nothing
is sent to a server only to see whether it is there.
"""

from __future__ import annotations

import socket
import ssl
import subprocess
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep

from sisamu_ops.lab.certificates import CERTIFICATE, KEY
from sisamu_ops.lab.commands import CLEAN_ENVIRONMENT
from sisamu_ops.lab.database import missing_from_cluster, takes_sql
from sisamu_ops.lab.network import inside, read_cuts
from sisamu_ops.lab.programs import Program
from sisamu_ops.lab.requirements import find_tool
from sisamu_ops.lab.supervisor import ProgramStatus, read_programs
from sisamu_ops.lab.topology import SITE_HOSTS, ZOOKEEPER_PORT, LabPlace
from sisamu_ops.model.errors import FailedError

_POLL_S = 0.05
#: State column of /proc/net: 0A is TCP_LISTEN, 07 an unconnected UDP socket (proc(5)).
_OPEN = {"tcp": "0A", "udp": "07"}


def await_ready(place: LabPlace, programs: Iterable[Program], timeout_s: float) -> None:
    """Return when every program serves; FailedError when one ends or the time is over.

    While links are cut a database node need not be in a cluster: it may have nobody to join.
    """
    waiting = list(programs)
    if read_cuts(place):
        waiting = [replace(one, sql=None) for one in waiting]

    def all_ready() -> str:
        present = read_programs(place)
        waiting[:] = [one for one in waiting if not _is_ready(place, one, present)]
        return "waiting for " + ", ".join(one.name for one in waiting) if waiting else ""

    _await(all_ready, timeout_s, place)


def await_ensemble(place: LabPlace, timeout_s: float) -> None:
    """Return when every ZooKeeper server takes part in a quorum."""

    def all_serve() -> str:
        idle = [host.name for host in SITE_HOSTS if not _serves(place, host.address(place.prefix))]
        return f"no quorum seen by ZooKeeper at {', '.join(idle)}" if idle else ""

    _await(all_serve, timeout_s, place)


def await_cluster(place: LabPlace, timeout_s: float) -> None:
    """Return when every database node is in the Primary component with all other members."""
    _await(lambda: missing_from_cluster(place), timeout_s, place)


def await_stopped(place: LabPlace, names: Iterable[str], timeout_s: float) -> None:
    """Return when none of the programs has a process left."""
    wanted = list(names)

    def none_left() -> str:
        present = read_programs(place)
        left = [name for name in wanted if present[name].pid]
        return "still running: " + ", ".join(left) if left else ""

    _await(none_left, timeout_s, place)


def is_listening(pid: int, protocol: str, address: str, port: int) -> bool:
    """Whether, on the network of a process, somebody listens on an address and port."""
    octets = reversed(socket.inet_aton(address))
    wanted = "".join(f"{octet:02X}" for octet in octets) + f":{port:04X}"
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/net/{protocol}").read_text("ascii").splitlines()[1:]:
            fields = line.split()
            if fields[1] == wanted and fields[3] == _OPEN[protocol]:
                return True
    return False


def _await(finding: Callable[[], str], timeout_s: float, place: LabPlace) -> None:
    """Look until there is nothing left to say; then FailedError says it."""
    deadline = monotonic() + timeout_s
    while said := finding():
        if monotonic() > deadline:
            raise FailedError(
                f"not ready after {timeout_s:g} s: {said}",
                place=str(place.root / "logs"),
                remedy="sisamu lab down, then sisamu lab up",
            )
        sleep(_POLL_S)


def _is_ready(place: LabPlace, program: Program, present: dict[str, ProgramStatus]) -> bool:
    status = present[program.name]
    if status.state in {"EXITED", "FATAL", "BACKOFF", "UNKNOWN"}:
        raise _ended(place, program)
    if not status.running:
        return False
    if program.listens and not is_listening(status.pid, *program.listens):
        return False
    if program.control and not _answers(program.control):
        return False
    return program.sql is None or takes_sql(program.sql)


def _answers(control: Path) -> bool:
    command = [find_tool("kamcmd"), "-s", f"unix:{control}", "core.uptime"]
    with suppress(subprocess.TimeoutExpired):
        asked = subprocess.run(
            command, env=CLEAN_ENVIRONMENT, capture_output=True, timeout=2, check=False
        )
        return asked.returncode == 0
    return False


def _serves(place: LabPlace, address: str) -> bool:
    def ask() -> bool:
        with suppress(OSError):
            return b"Mode:" in ask_zookeeper(place, address)
        return False

    # The router's namespace reaches every network, and no cut lies on its own packets.
    return inside(place.namespace("wan"), ask) if place.isolated else ask()


def ask_zookeeper(place: LabPlace, address: str, timeout_s: float = 2) -> bytes:
    """Return what a server says of itself (`srvr`), asked over TLS; OSError when it does not.

    From wherever this is called, so that a network's view is had by asking from there.
    """
    context = ssl.create_default_context(cafile=str(place.trust / "authority.pem"))
    tls = place.operator_tls
    context.load_cert_chain(tls / CERTIFICATE, tls / KEY)
    with (
        socket.create_connection((address, ZOOKEEPER_PORT), timeout_s) as link,
        context.wrap_socket(link, server_hostname=address) as secured,
    ):
        secured.sendall(b"srvr")
        return b"".join(iter(lambda: secured.recv(4096), b""))


def _ended(place: LabPlace, program: Program) -> FailedError:
    log = place.root / "logs" / f"{program.name}.log"
    said = log.read_text("utf-8", "replace").splitlines()[-3:] if log.exists() else []
    return FailedError(
        f"{program.name} ended at once: {' / '.join(said) or 'it left no log'}",
        place=str(log),
        remedy=f"mend the cause, then sisamu lab start {program.name}",
    )
