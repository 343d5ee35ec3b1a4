"""From the loss of a leader to the first seal of the next one that a target accepts.

    sudo SISAMU_LAB_NAME=bench .venv/bin/python -m tests.bench.bench_takeover \\
        [ROUNDS] [SESSION_MS] [SITES_LOST] [FILE]

With FILE every round is added to it as it ends, and all it holds is told: a long measurement may be
made in several goes, each round of which is whole. Brings its lab up with that session time-out
(default 2000 ms; tick 500 ms), and takes it down. In a round,
interleaved: the leading agent is killed in the midst of an operation, at a random instant of the
second after a step began; it is stopped there; a stock kazoo `Election` among two processes loses
the one elected, by kill and by stop at a random instant too, and its callback makes the same seal;
and leadership is transferred as planned, measured from the request's
arrival in the inbox to the new leader's first entry. In as many rounds as SITES_LOST says, the
leading site is also cut from everything while the leader of the ZooKeeper ensemble stands there.
All instants are CLOCK_BOOTTIME of one machine; a seal's is the target's own record of it.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any

from sisamu_ops.app import App, Options
from sisamu_ops.failover.fold.folding import Folding
from sisamu_ops.failover.fold.state import State
from sisamu_ops.failover.request import Envelope, Verb, inbox_name
from sisamu_ops.journal.port import InboxItem
from sisamu_ops.lab.certificates import CERTIFICATE, KEY
from sisamu_ops.lab.lab import Lab
from sisamu_ops.lab.readiness import is_listening
from sisamu_ops.lab.topology import SITE_HOSTS
from sisamu_ops.leadership.lease import boottime_ns
from tests.support.waiting import await_that

ROOT = Path(__file__).resolve().parents[2]
TICK_MS = 500
#: In ticks, as the lab's zoo.cfg says.
SYNC_LIMIT = 5
_FOLLOWERS_PORT = 2888
_MINUTES = timedelta(minutes=5)
#: A session's last sign of life is of no chosen age when its owner is lost.
_instants = random.Random(5)

#: A contender with stock kazoo: elected, it seals the target with the token it is given, and holds.
STOCK = """
import sys, time, json, subprocess
from kazoo.client import KazooClient
from pathlib import Path
from sisamu_ops.app import App, Options
from sisamu_ops.model.token import Token
inventory, hosts, timeout_ms, name = sys.argv[1:5]
app = App(Options(inventory=Path(inventory)))
app.enter()
targets = app.targets(app.identity)
shown = app.platform.policy.zookeeper_credentials
client = KazooClient(
    hosts=hosts, timeout=int(timeout_ms) / 1000, use_ssl=True, ca=str(shown.authority),
    certfile=sys.argv[5], keyfile=sys.argv[6],
)
client.start()
def elected():
    epoch, index = json.loads(Path(name).read_text())
    targets.seal(["samu-300", "otn-paris", "otn-lyon"], Token(epoch, index))
    print("elected", flush=True)
    time.sleep(600)
print("stands", flush=True)
client.Election("/stock", sys.argv[0]).run(elected)
"""


class Stage:
    """The lab, its platform, and the operator's desk."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.inventory = ROOT / "inventories/lab"
        self.app = App(Options(inventory=self.inventory))
        self.app.enter()
        self.service = self.app.connect(10)
        self._folding = Folding(self.app.trust)

    def leader(self) -> str:
        leader = self.service.leader()
        return leader.site if leader else ""

    def await_leader(self) -> str:
        await_that(lambda: self.leader() != "", 30)
        return self.leader()

    def pid(self, site: str) -> int:
        """Return the process of a site's agent."""
        found = [p for p in self.lab.status().programs if p.name == f"agent-{site}"]
        return found[0].pid

    def accepted_after(self, since_ns: int) -> int:
        """Return when the first fence accepted a seal after an instant, or 0."""
        instants = []
        for host in self.lab.place.fenced_hosts:
            record = self.lab.place.host_dir(host) / "fence/accepted.jsonl"
            for line in record.read_text().splitlines()[-8:]:
                told = json.loads(line)
                if told.get("what") == "seal" and told["boot_ns"] > since_ns:
                    instants.append(told["boot_ns"])
        return min(instants, default=0)

    def await_seal(self, since_ns: int) -> float:
        """Wait for a seal after an instant; return the seconds that took."""
        await_that(lambda: self.accepted_after(since_ns) > 0, 60)
        return (self.accepted_after(since_ns) - since_ns) / 1e9

    def begin_operation(self) -> None:
        """Ask for a move of SAMU 300, and return once a step is started and not ended."""
        state = self.state()
        back = state.intended_mode("300") == "nominal"
        verb, to = (Verb.SWITCHOVER, "backup") if back else (Verb.FAILBACK, "nominal")
        item = self.item(verb, samus=["300"], to=to)
        before = self.service.size()
        self.service.put(item)
        await_that(lambda: b'"step.started"' in b"".join(self.since(before)), 60)

    def signed(self, verb: Verb, **fields: Any) -> tuple[str, Envelope]:
        """Return a request's id, and the request signed."""
        request = self.app.desk.new_request(verb, reason="benchmark", lifetime=_MINUTES, **fields)
        return request.request_id, self.app.sign(request)

    def item(self, verb: Verb, **fields: Any) -> InboxItem:
        """Return a signed request as it is put into the inbox."""
        request_id, envelope = self.signed(verb, **fields)
        payload = envelope.payload()
        return InboxItem(name=inbox_name(request_id, payload), payload=payload)

    def since(self, size: int) -> list[bytes]:
        """Read the entries from a size on."""
        return self.service.read(size, self.service.size())

    def await_zookeeper_leader(self) -> str:
        """Return the site whose server leads the ensemble, once that is one that may lead here."""
        while (site := self._zookeeper_leader()) not in {"paris", "lyon"}:
            self.lab.stop((f"zookeeper-{site}",))
            self.lab.start((f"zookeeper-{site}",))
            await_that(lambda: self._zookeeper_leader() != "", 30)
        return site

    def _zookeeper_leader(self) -> str:
        """Return the site whose server listens for followers: only the leading one does."""
        for host in SITE_HOSTS:
            pids = [p.pid for p in self.lab.status().programs if p.name == f"zookeeper-{host.name}"]
            address = host.address(self.lab.place.prefix)
            if pids and is_listening(pids[0], "tcp", address, _FOLLOWERS_PORT):
                return host.name
        return ""

    def state(self) -> State:
        """Fold what is new since the last time."""
        self._folding.pull(self.service)
        return self._folding.state

    def settle(self) -> None:
        """Wait until nothing runs and both sites stand."""
        await_that(lambda: not self.state().running(), 90)
        await_that(lambda: {"paris", "lyon"} <= self.service.contenders(), 60)


def lose(stage: Stage, how: signal.Signals) -> float:
    """Lose the leading agent in the midst of an operation; return the seconds to the seal."""
    stage.begin_operation()
    site = stage.await_leader()
    pid = stage.pid(site)
    time.sleep(_instants.random())
    began = boottime_ns()
    os.kill(pid, how)
    took = stage.await_seal(began)
    if how is signal.SIGSTOP:
        os.kill(pid, signal.SIGCONT)
    else:
        stage.lab.start((f"agent-{site}",))
    stage.settle()
    return took


@contextmanager
def contender(stage: Stage, token: Path) -> Iterator[subprocess.Popen[str]]:
    """Run one stock contender, until the block ends."""
    policy, tls = stage.app.platform.policy, stage.lab.place.host_dir("paris") / "tls"
    process = subprocess.Popen(
        [sys.executable, "-c", STOCK, str(stage.inventory), ",".join(policy.zookeeper),
         str(policy.session_timeout_ms), str(token), str(tls / CERTIFICATE), str(tls / KEY)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        _await_line(process, "stands")
        yield process
    finally:
        process.kill()
        process.wait()


def lose_stock(stage: Stage, how: signal.Signals) -> float:
    """Lose the elected of two stock contenders; return the seconds to the other's seal."""
    token = stage.lab.place.root / "stock-token"
    epoch, size = stage.state().epoch, stage.service.size()
    token.write_text(json.dumps([epoch, size - 2]))
    with contender(stage, token) as first:
        _await_line(first, "elected")
        with contender(stage, token) as second:
            token.write_text(json.dumps([epoch, size - 1]))
            time.sleep(_instants.random())
            began = boottime_ns()
            first.send_signal(how)
            took = stage.await_seal(began)
            _await_line(second, "elected")
            return took


def transfer(stage: Stage) -> float:
    """Transfer leadership; return the seconds from the inbox to the new epoch's first entry."""
    took = transfer_to(stage, "lyon" if stage.await_leader() == "paris" else "paris")
    stage.settle()
    return took


def transfer_to(stage: Stage, site: str) -> float:
    """Have a site lead; return the seconds from the inbox to its first entry."""
    item = stage.item(Verb.TRANSFER, to=site)
    before, began = stage.service.size(), boottime_ns()
    stage.service.put(item)
    while b'"leadership.taken"' not in b"".join(stage.since(before)):
        if boottime_ns() - began > 30 * 10**9:
            sys.exit("a transfer did not end")
    return (boottime_ns() - began) / 1e9


def lose_site(stage: Stage) -> float:
    """Cut the leading site off, and ZooKeeper's leader with it; return the seconds to the seal."""
    site = stage.await_zookeeper_leader()
    if stage.await_leader() != site:
        transfer_to(stage, site)
        stage.settle()
    stage.begin_operation()
    began = boottime_ns()
    stage.lab.partition(site)
    try:
        return stage.await_seal(began)
    finally:
        stage.lab.heal(site)
        stage.settle()
        stage.app.desk.submit(*stage.signed(Verb.RECONCILE), lambda _: None)
        stage.settle()


def _await_line(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdout is not None
    while (said := process.stdout.readline()) != f"{line}\n":
        if not said:
            sys.exit("a stock contender ended")


SITE_LOST = "site and ZooKeeper's leader lost"
KILLED, STOPPED = "agent killed", "agent stopped"
STOCK_KILLED, STOCK_STOPPED = "stock Election, killed", "stock Election, stopped"
TRANSFER = "planned transfer"
WAYS: dict[str, Callable[[Stage], float]] = {
    KILLED: lambda stage: lose(stage, signal.SIGKILL),
    STOCK_KILLED: lambda stage: lose_stock(stage, signal.SIGKILL),
    STOPPED: lambda stage: lose(stage, signal.SIGSTOP),
    STOCK_STOPPED: lambda stage: lose_stock(stage, signal.SIGSTOP),
    TRANSFER: transfer,
}


def main(rounds: int, session_ms: int, sites_lost: int, kept: Path | None) -> None:
    """Run the rounds and print the figures beside their bounds."""
    os.environ["SISAMU_LAB_SESSION_MS"] = str(session_ms)
    lab = Lab()
    made: list[dict[str, float]] = []
    with ExitStack() as stack:
        stack.callback(lambda: tell(_by_way(read_rounds(kept) if kept else made), session_ms))
        stack.callback(lab.down)
        subprocess.run([Path(sys.executable).parent / "sisamu", "lab", "up"], check=True, cwd=ROOT)
        stage = Stage(lab)
        stack.callback(stage.service.close)
        for number in range(max(rounds, sites_lost)):
            ways = WAYS if number < rounds else {}
            ways = {**ways, SITE_LOST: lose_site} if number < sites_lost else ways
            made.append({way: act(stage) for way, act in ways.items()})
            sys.stderr.write(f"round {number + 1}: {_in_words(made[-1])}\n")
            if kept:
                with kept.open("a") as file:
                    file.write(json.dumps(made[-1]) + "\n")


def read_rounds(kept: Path) -> list[dict[str, float]]:
    """Return every round a file holds: seconds by way."""
    lines = kept.read_text().splitlines() if kept.exists() else []
    return [json.loads(line) for line in lines]


def _by_way(made: Iterable[dict[str, float]]) -> dict[str, list[float]]:
    rounds = list(made)
    return {way: [one[way] for one in rounds if way in one] for way in [*WAYS, SITE_LOST]}


def tell(seconds: dict[str, list[float]], session_ms: int) -> None:
    """Print every series, and each bound beside what was measured."""
    sys.stdout.write(f"T = {session_ms} ms, tick {TICK_MS} ms, load {os.getloadavg()}\n")
    for way, values in seconds.items():
        if values:
            sys.stdout.write(
                f"  {way:<34} median {median(values):.2f} s, "
                f"{min(values):.2f} to {max(values):.2f} (n={len(values)})\n"
            )
    lost_s = (session_ms + TICK_MS) / 1000 + 1
    site_s = (SYNC_LIMIT * TICK_MS + session_ms + 2 * TICK_MS) / 1000 + 1.5
    for way, bound_s in ((KILLED, lost_s), (STOPPED, lost_s), (SITE_LOST, site_s)):
        worst = max(seconds[way], default=0.0)
        sys.stdout.write(f"  {way}: worst {worst:.2f} s, at most {bound_s:.1f} s wanted\n")
    for way, stock in ((KILLED, STOCK_KILLED), (STOPPED, STOCK_STOPPED)):
        if seconds[way] and seconds[stock]:
            ratio = median(seconds[way]) / median(seconds[stock])
            sys.stdout.write(f"  {way}: median x{ratio:.2f} of stock, at most x1.10 wanted\n")


def _in_words(seconds: dict[str, float]) -> str:
    return ", ".join(f"{way} {value:.2f} s" for way, value in seconds.items())


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:4]]
    numbers = [*given, *(30, 2000, 10)[len(given) :]]
    main(*numbers, Path(sys.argv[4]).resolve() if len(sys.argv) > 4 else None)
