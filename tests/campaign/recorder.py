"""Watching the journal from outside: every entry and every checkpoint, and when it was seen.

Runs in a thread of its own on the operators' network. What is seen is written down at once, so
that the evidence is there whatever becomes of the schedule.
"""

from __future__ import annotations

import json
import threading
from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from sisamu_ops.app import App
from sisamu_ops.journal.merkle import leaf_hash
from sisamu_ops.leadership.lease import boottime_ns
from sisamu_ops.leadership.port import Coordination
from sisamu_ops.model.errors import LeadershipError

#: How long the recorder waits for a change before it looks anyway, in seconds.
_LOOK_S = 0.2
#: What sites show besides, such as how they are, is no checkpoint.
_SIGNED = ("log.", "cosign.")


class Recorder:
    """Follows the journal for one life of a lab.

    `size` counts the entries seen; `leader` is the site that led when last somebody did.
    """

    def __init__(self, app: App, directory: Path) -> None:
        """Write `sightings.jsonl` and `heads.jsonl` below `directory`."""
        self._app = app
        self._directory = directory
        self._stop = threading.Event()
        self._notes: set[bytes] = set()
        self._thread = threading.Thread(target=self._record, name="recorder", daemon=True)
        self.size = 0
        self.leader = app.platform.policy.site_order[0]

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Watch no more, and return when all is written."""
        self._stop.set()
        self._thread.join(20)

    def _record(self) -> None:
        self._app.enter()
        with (
            (self._directory / "sightings.jsonl").open("a") as sightings,
            (self._directory / "heads.jsonl").open("a") as heads,
        ):
            self._sessions(lambda session: self._look(session, sightings, heads))

    def _sessions(self, look: Callable[[Coordination], None]) -> None:
        """Look again and again; a session that is lost is opened anew."""
        while not self._stop.is_set():
            with suppress(LeadershipError):
                session = self._app.connect()
                try:
                    while not self._stop.is_set():
                        look(session)
                        session.await_change(_LOOK_S)
                finally:
                    session.close()

    def _look(self, session: Coordination, sightings: TextIO, heads: TextIO) -> None:
        stop = session.size()
        # What was trimmed before it was seen is in the replicas, and was never seen.
        start = max(self.size, session.first())
        leaves = session.read(start, stop) if stop > start else []
        seen_ns = boottime_ns()
        for index, leaf in enumerate(leaves, start):
            facts = {"index": index, "hash": leaf_hash(leaf).hex(), "at_ns": seen_ns}
            sightings.write(json.dumps(facts) + "\n")
        self.size = max(self.size, stop)
        sightings.flush()
        leadership = session.leader()
        self.leader = leadership.site if leadership else self.leader
        self._note_heads(session, heads)

    def _note_heads(self, session: Coordination, heads: TextIO) -> None:
        shown = session.published().items()
        notes = {name: note for name, note in shown if name.startswith(_SIGNED)}
        for site in self._app.platform.sites.values():
            with suppress(OSError):  # none agreed yet, or its disk is being troubled
                notes[f"replica.{site.site_id}"] = (site.home / "journal/checkpoint").read_bytes()
        for place, note in notes.items():
            if note and note not in self._notes:
                self._notes.add(note)
                facts = {"place": place, "note": b64encode(note).decode()}
                heads.write(json.dumps(facts) + "\n")
        heads.flush()
