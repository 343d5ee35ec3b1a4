"""Acknowledged appends beside bare sequential `create` calls, on one ensemble of three servers.

    .venv/bin/python -m tests.bench.bench_append [ROUNDS]

A round writes a few hundred entries each way, in turn: the floor is one bare `create` after the
other, of the same bytes, by stock kazoo; ours is the leader's pen, which signs an entry, checks
the tenure, moves the head and waits until it is committed; once one by one, and once in batches.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from kazoo.client import KazooClient

from sisamu_ops.doors.zookeeper import ZooKeeperCoordination
from sisamu_ops.journal.writer import Writer
from tests.bench.timing import report, seconds_of
from tests.support.signed_journal import KEYS, ORIGIN
from tests.support.zookeeper import TICK_MS, Ensemble, ensemble

ENTRIES = 300
BATCH = 10
DATA = {"operation": "switchover-0123456789ab", "step": 17, "target": "otn-paris",
        "outcome": "done", "detail": "running and durable list read back"}  # fmt: skip


@contextmanager
def a_pen(servers: Ensemble) -> Iterator[Writer]:
    """Lead for a while, and give the pen of that tenure."""
    coordination = ZooKeeperCoordination(
        servers.hosts.split(","), "bench", timeout_ms=4000, tick_ms=TICK_MS, wait_s=10
    )
    tenure = coordination.contend("paris").try_lead()
    if tenure is None:
        sys.exit("somebody else leads on an ensemble of our own")
    yield Writer(
        tenure=tenure, key=KEYS["paris"].entry, origin=ORIGIN, size=0,
        now=lambda: datetime.now(UTC), follow=lambda _: None,
    )  # fmt: skip
    tenure.leave()
    coordination.close()


@contextmanager
def a_floor(servers: Ensemble) -> Iterator[Callable[[], None]]:
    """Give what creates that many nodes of an entry's size, one by one."""
    client = KazooClient(hosts=servers.hosts)
    client.start()
    client.ensure_path("/floor")
    numbers = count()

    def create() -> None:
        for _ in range(ENTRIES):
            client.create(f"/floor/{next(numbers):010d}", b"x" * 420)

    yield create
    client.stop()
    client.close()


def main(rounds: int) -> None:
    """Run the rounds and print the table."""
    with (
        tempfile.TemporaryDirectory() as root,
        ensemble(Path(root), servers=3) as servers,
        a_pen(servers) as pen,
        a_floor(servers) as create,
    ):

        def append() -> None:
            for _ in range(ENTRIES):
                pen.write("step.outcome", DATA)

        def append_batches() -> None:
            for _ in range(ENTRIES // BATCH):
                pen.write_all([("step.outcome", DATA)] * BATCH)

        ways = {"append": append, f"append by {BATCH}": append_batches, "bare create": create}
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(rounds):
            for way, act in ways.items():
                seconds[way].append(seconds_of(act))
    report(f"{ENTRIES} entries", seconds)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
