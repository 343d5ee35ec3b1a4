"""The record of leases: every renewal as a line, never in the way of the agent."""

from __future__ import annotations

import errno
import json
import os
import queue
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from sisamu_ops.leadership.lease import Lease, boottime_ns
from sisamu_ops.leadership.lease_record import LeaseRecord
from sisamu_ops.leadership.port import LeasedTenure
from tests.support.waiting import await_that

HELD = Lease(boottime_ns() + 10**12)


@dataclass(kw_only=True)
class Renewals:
    """A tenure of which only the renewals are told."""

    site: str = "paris"
    epoch: int = 7
    listeners: list[Callable[[Lease], None]] = field(default_factory=list)

    def on_lease(self, listener: Callable[[Lease], None]) -> Callable[[], None]:
        self.listeners.append(listener)
        listener(HELD)
        return lambda: None

    def tell(self, lease: Lease) -> None:
        for listener in self.listeners:
            listener(lease)


def follow(record: LeaseRecord) -> Renewals:
    tenure = Renewals()
    record.follow(cast(LeasedTenure, tenure))
    return tenure


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines() if line]


def test_a_tenure_is_recorded_from_its_beginning_to_its_end(tmp_path: Path) -> None:
    """Acquisition, renewals and the end are lines with site, process, epoch and both instants;
    what is told after the end is no lease any more.
    """
    record = LeaseRecord(tmp_path / "leases.jsonl")
    began_ns = boottime_ns()
    tenure = follow(record)
    for lease in (Lease(HELD.end_ns + 5), Lease(0), Lease(0)):
        tenure.tell(lease)
    record.close()
    found = lines(tmp_path / "leases.jsonl")
    assert [line["end_ns"] for line in found] == [HELD.end_ns, HELD.end_ns + 5, 0]
    assert {(one["site"], one["pid"], one["epoch"]) for one in found} == {("paris", os.getpid(), 7)}
    instants = [began_ns, *(line["at_ns"] for line in found), boottime_ns()]
    assert instants == sorted(instants)


def test_the_record_is_bounded(tmp_path: Path) -> None:
    """A full file is put aside over the one before: two files at most, the newest lines kept."""
    path = tmp_path / "leases.jsonl"
    record = LeaseRecord(path, rotate_bytes=300)
    tenure = follow(record)
    for number in range(50):
        tenure.tell(Lease(HELD.end_ns + number))
    tenure.tell(Lease(0))
    record.close()
    kept = [one for name in sorted(tmp_path.iterdir(), reverse=True) for one in lines(name)]
    assert len(list(tmp_path.iterdir())) <= 2 and len(kept) < 10
    assert kept[-1]["end_ns"] == 0


class FullDisk(LeaseRecord):
    """A record whose disk takes half a line and then nothing, until `full` is cleared."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.full = True
        self.refusals: queue.SimpleQueue[None] = queue.SimpleQueue()

    def _append(self, lines: Iterable[str]) -> None:
        if self.full:
            super()._append(['{"torn'])
            self.refusals.put(None)
            raise OSError(errno.ENOSPC, "no space left on device")
        super()._append(lines)


def test_a_disk_that_does_not_write_stops_nobody_and_loses_nothing(tmp_path: Path) -> None:
    """While lines are refused renewals are told as ever; all are written once there is room,
    though nothing follows: whoever gave leadership up for the full disk has no later line.
    """
    record = FullDisk(tmp_path / "leases.jsonl")
    tenure = follow(record)
    tenure.tell(Lease(HELD.end_ns + 1))
    tenure.tell(Lease(0))
    for _ in range(3):
        record.refusals.get(timeout=5)
    record.full = False
    await_that(lambda: '"end_ns": 0' in (tmp_path / "leases.jsonl").read_text())
    record.close()
    whole = [
        one for one in (tmp_path / "leases.jsonl").read_text().split("\n") if "torn" not in one
    ]
    ends = [json.loads(line)["end_ns"] for line in whole if line]
    assert ends == [HELD.end_ns, HELD.end_ns + 1, 0]
