"""What tests do to a lab: set modes by hand, place calls meanwhile, look from a network."""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from sisamu_ops.lab import Lab
from sisamu_ops.lab.network import NAMESPACES, inside
from sisamu_ops.lab.processes import lab_processes
from sisamu_ops.lab.topology import ROUTERS, SAMUS
from sisamu_ops.telephony.ledger import CallRecord
from tests.support.waiting import await_that

T = TypeVar("T")

NIMES = SAMUS[0]
ROUTER_NAMES = tuple(router.name for router in ROUTERS)


def kamcmd(lab: Lab, host: str, *arguments: str) -> str:
    """Ask one Kamailio of the lab; fails the test when it does not answer."""
    control = f"unix:{lab.place.host_dir(host)}/kamailio.sock"
    run = subprocess.run(["kamcmd", "-s", control, *arguments], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout


def set_mode(lab: Lab, mode: str, samu_id: str = "300") -> None:
    """Set a SAMU's mode on both running routers; their durable lists keep the old one."""
    for router in ROUTER_NAMES:
        kamcmd(lab, router, "htable.sets", "samu_mode", f"s:{samu_id}", f"s:{mode}")


def arm(lab: Lab, value: str = "armed", samu_id: str = "300") -> None:
    """Arm (or unarm) a running gateway."""
    kamcmd(lab, f"samu-{samu_id}", "htable.sets", "samu_gateway", f"s:{samu_id}", f"s:{value}")


@contextmanager
def backup_ready(lab: Lab) -> Iterator[None]:
    """Arm SAMU 300's gateway, and put everything back to nominal afterwards."""
    arm(lab)
    try:
        yield
    finally:
        set_mode(lab, "nominal")
        arm(lab, "unarmed")


@contextmanager
def stopped(lab: Lab, *programs: str) -> Iterator[None]:
    """Kill programs, and start them again afterwards."""
    lab.stop(programs, kill=True)
    try:
        yield
    finally:
        lab.start(programs)


def calls(
    lab: Lab, duration_s: float = 1, rate_per_s: float = 20, hold_ms: int = 300
) -> list[CallRecord]:
    """Place calls to SAMU 300 and wait for them."""
    return lab.calls(
        rate_per_s=rate_per_s,
        duration_s=duration_s,
        hold_ms=hold_ms,
        samus={NIMES.samu_id: NIMES.test_number},
    )


@contextmanager
def calling(
    lab: Lab, duration_s: float = 2, rate_per_s: float = 20, hold_ms: int = 300
) -> Iterator[Future[list[CallRecord]]]:
    """Place calls meanwhile; the body begins when both routers have handled several."""
    before = {router: transactions(lab, router) for router in ROUTER_NAMES}
    with ThreadPoolExecutor(max_workers=1) as worker:
        future = worker.submit(calls, lab, duration_s, rate_per_s, hold_ms)
        await_that(lambda: all(transactions(lab, r) >= before[r] + 5 for r in ROUTER_NAMES))
        yield future


def transactions(lab: Lab, router: str) -> int:
    """Count the SIP transactions a router has had since it started."""
    found = re.search(r"total: (\d+)", kamcmd(lab, router, "tm.stats"))
    assert found
    return int(found[1])


def invite(lab: Lab, address: str, number: str) -> str:
    """Send one INVITE from the operators' network; return the final answer's status line."""

    def ask() -> str:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
            link.settimeout(3)
            link.connect((address, 5060))
            here = "{}:{}".format(*link.getsockname())
            lines = [
                f"INVITE sip:{number}@{address} SIP/2.0",
                f"Via: SIP/2.0/UDP {here};branch=z9hG4bK{here}",
                f"From: <sip:0639980000@{here}>;tag=1",
                f"To: <sip:{number}@{address}>",
                f"Call-ID: {here}",
                "CSeq: 1 INVITE",
                f"Contact: <sip:0639980000@{here}>",
                "Max-Forwards: 10",
                "Content-Length: 0",
            ]
            link.send("\r\n".join([*lines, "", ""]).encode())
            while (status := link.recv(4096).decode().partition("\r\n")[0]).split()[1] < "200":
                pass
            return status

    return from_network(lab, "ops", ask)


def from_network(lab: Lab, network: str, action: Callable[[], T]) -> T:
    """Run an action as if on one of the lab's networks."""
    return inside(lab.place.namespace(network), action) if lab.place.isolated else action()


def reaches(lab: Lab, network: str, address: str, port: int = 22) -> bool:
    """Whether a TCP connection from a network to an address is made within half a second."""

    def connect() -> bool:
        try:
            socket.create_connection((address, port), 0.5).close()
        except OSError:
            return False
        return True

    return from_network(lab, network, connect)


def delivers(lab: Lab, source: str, target: str, address: str) -> bool:
    """Whether one datagram gets from a network to an address of another: one way only."""

    def open_socket() -> socket.socket:
        return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    # A socket belongs to the network it was made on, whoever uses it afterwards.
    sending = from_network(lab, source, open_socket)
    receiving = from_network(lab, target, open_socket)
    with sending, receiving:
        receiving.bind((address, 0))
        receiving.settimeout(0.3)
        sending.sendto(b"here", receiving.getsockname())
        try:
            return receiving.recv(16) == b"here"
        except TimeoutError:
            return False


def traces(lab: Lab) -> list[str]:
    """Name everything a lab has left on this machine."""
    place = lab.place
    namespaces = [f"namespace {one.name}" for one in NAMESPACES.glob(f"{place.name}-*")]
    mounts = [line for line in Path("/proc/mounts").read_text().splitlines() if place.name in line]
    processes = [f"process {pid}" for pid in lab_processes(place)]
    mentioned = [
        f"process {one.parent.name}"
        for one in Path("/proc").glob("[0-9]*/environ")
        if _mentions(one, f"sisamu-{place.name}")
    ]
    shared = Path("/dev/shm").glob(f"*sisamu-{place.name}-*")
    files = [f"file {path}" for path in (place.root, *shared) if path.exists()]
    return [*namespaces, *mounts, *processes, *mentioned, *files]


def _mentions(environment: Path, text: str) -> bool:
    try:
        return f"={'/var/lib/' + text}".encode() in environment.read_bytes()
    except OSError:
        return False
