"""What a process believed of its lease, kept so that others can check it afterwards.

One line of JSON when leadership is taken, at each renewal, and when the lease is given up or
lost: `{"site", "pid", "epoch", "at_ns", "end_ns"}`, both instants in nanoseconds of
CLOCK_BOOTTIME, `end_ns` 0 for a lease that was over at `at_ns`. Whoever holds the lines of all
sites of one machine can say whether two processes ever held a valid lease at the same time.

Evidence only: a thread of its own writes, so that no slow disk delays a heartbeat; what a full
disk refuses is kept, and tried again until it is written. A process killed at once leaves
no last line, and at worst not the renewal of its last millisecond.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import queue
import threading
from collections import deque
from collections.abc import Iterable
from pathlib import Path

from sisamu_ops.leadership.lease import Lease, boottime_ns
from sisamu_ops.leadership.port import LeasedTenure

_log = logging.getLogger(__name__)

NAME = "leases.jsonl"
#: Of this size the file is put aside, over the one put aside before: some six hours each.
ROTATE_BYTES = 4 << 20
#: Lines kept while the disk refuses them: some ten minutes of renewals.
_KEPT = 1000
#: How long an ending process waits for its last line, in seconds.
_DRAIN_S = 1.0
#: What was refused is tried again after this, in seconds.
_RETRY_S = 0.5


class LeaseRecord:
    """The lines of one process; a file that cannot be written stops nobody."""

    def __init__(self, path: Path, *, rotate_bytes: int = ROTATE_BYTES) -> None:
        """Append to `path`; nothing is opened before the first tenure."""
        self._path = path
        self._rotate_bytes = rotate_bytes
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._writer: threading.Thread | None = None

    def follow(self, tenure: LeasedTenure) -> None:
        """Record every renewal of a tenure, from now until its lease is over."""
        if self._writer is None:
            self._writer = threading.Thread(target=self._write, name="leases", daemon=True)
            self._writer.start()
            atexit.register(self.close)
        ended = threading.Event()

        def note(lease: Lease) -> None:
            if not ended.is_set():
                self._lines.put(line_of(tenure.site, tenure.epoch, boottime_ns(), lease))
            if lease.end_ns == 0:
                ended.set()

        tenure.on_lease(note)

    def close(self) -> None:
        """Wait until all is written, a second at most; nothing is recorded from here on."""
        writer, self._writer = self._writer, None
        if writer is not None:
            self._lines.put(None)
            writer.join(_DRAIN_S)
            atexit.unregister(self.close)

    def _write(self) -> None:
        kept: deque[str] = deque(maxlen=_KEPT)
        refused = False
        while (line := self._next(again=refused)) is not None:
            if line:
                kept.append(line)
            try:
                # Behind a refused write a torn line may stand: it must not swallow the next.
                self._append(["\n", *kept] if refused else kept)
            except OSError as error:
                if not refused:
                    _log.warning("leases are not recorded: %s", error)
                refused = True
                continue
            refused = False
            kept.clear()

    def _next(self, *, again: bool) -> str | None:
        """Wait for a line; an empty one when what was refused is to be tried again."""
        try:
            return self._lines.get(timeout=_RETRY_S if again else None)
        except queue.Empty:
            return ""

    def _append(self, lines: Iterable[str]) -> None:
        with self._path.open("a", encoding="ascii") as file:
            file.writelines(lines)
            file.flush()
            size = file.tell()
        if size >= self._rotate_bytes:
            self._path.replace(self._path.with_name(f"{self._path.name}.1"))


def line_of(site: str, epoch: int, at_ns: int, lease: Lease) -> str:
    """Return the line that says what this process holds at `at_ns`."""
    facts = {"site": site, "pid": os.getpid(), "epoch": epoch}
    return json.dumps(facts | {"at_ns": at_ns, "end_ns": lease.end_ns}) + "\n"
