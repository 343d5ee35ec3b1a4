"""Clients: signed requests, one after the other, by the same code as the command line.

Each client is a thread on the operators' network with an `App` of its own, as if it were a
`sisamu` command. It writes down what it asked and what it was told, and never what it believes.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from random import Random

from sisamu_ops.app import App
from sisamu_ops.failover.request import Verb, digest_of
from sisamu_ops.journal.entry import Entry
from sisamu_ops.leadership.lease import boottime_ns
from sisamu_ops.model.errors import SisamuError
from tests.campaign.history import RequestMade

_LIFETIME = timedelta(minutes=5)
_VERBS = (Verb.SWITCHOVER, Verb.FAILBACK, Verb.FAILOVER)
#: A client whose request was not answered, or refused, asks again after this, in seconds.
_PAUSE_S = 0.3


class Ledger:
    """`requests.jsonl`: what all clients asked and were told, in the order they were told it."""

    def __init__(self, path: Path) -> None:
        """Append to `path`."""
        self._path = path
        self._lock = threading.Lock()
        self._closed = False
        self.made: list[RequestMade] = []

    def note(self, request: RequestMade) -> None:
        """Keep a request that has come to its end, for its client."""
        with self._lock:
            if not self._closed:
                with self._path.open("a") as file:
                    file.write(json.dumps(asdict(request)) + "\n")
                self.made.append(request)

    def close(self) -> None:
        """Keep nothing more: a client may still wait for an answer of a lab that is gone."""
        with self._lock:
            self._closed = True


def ask(app: App, verb: Verb, samus: Sequence[str], *, closing: bool = False) -> RequestMade:
    """Make, sign and submit one request, and follow it; return what this client was told."""
    request = app.desk.new_request(verb, reason="campaign", lifetime=_LIFETIME, samus=samus)
    envelope = app.signing.sign(request)
    digest = digest_of(envelope.document.encode())
    told: list[Entry] = []
    sent_ns, outcome, problem = boottime_ns(), "", ""
    try:
        view = app.desk.submit(request.request_id, envelope, told.append)
        outcome = view.state.finished[request.request_id].value
        told = list(view.entries)
    except SisamuError as error:
        problem = error.message
    answered = {e.kind: e.index for e in told if e.data.get("id") == request.request_id}
    return RequestMade(
        request_id=request.request_id, digest=digest, verb=verb.value, sent_ns=sent_ns,
        accepted=answered.get("request.accepted"), refused=answered.get("request.refused"),
        outcome=outcome, error=problem, closing=closing,
    )  # fmt: skip


class Client(threading.Thread):
    """Asks to move a SAMU, mostly its own, until stopped; without SAMUs, to reconcile."""

    def __init__(self, app: App, ledger: Ledger, samus: Sequence[str], random: Random) -> None:
        """Prefer the first of `samus`."""
        super().__init__(name=f"client-{''.join(samus[:1])}", daemon=True)
        self._app = app
        self._ledger = ledger
        self._samus = samus
        self._random = random
        self._stopping = threading.Event()

    def finish(self) -> None:
        """Ask nothing more; what is asked already is followed to its end."""
        self._stopping.set()

    def run(self) -> None:
        """Ask, one request after the other."""
        self._app.enter()
        while not self._stopping.is_set():
            made = ask(self._app, *self._choose())
            self._ledger.note(made)
            if not made.outcome or not self._samus:
                self._stopping.wait(_PAUSE_S)

    def _choose(self) -> tuple[Verb, list[str]]:
        if not self._samus:
            return Verb.RECONCILE, []
        weights = [6, *[1] * (len(self._samus) - 1)]
        return self._random.choice(_VERBS), self._random.choices(self._samus, weights)
