"""From the loss of a leader to the first seal of the next one that a target accepts.

    sudo SISAMU_LAB_NAME=bench .venv/bin/python -m tests.bench.bench_takeover [ROUNDS] [SESSION_MS]

Brings its lab up with that session time-out (default 2000 ms; tick 500 ms), and takes it down. In a
round, interleaved: the leading agent is killed in the midst of an operation; it is stopped there;
a stock kazoo `Election` among two processes loses the one elected, by kill and by stop, and its
callback makes the same seal; and leadership is transferred as planned. All instants are
CLOCK_BOOTTIME of one machine; a seal's is the target's own record of it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from statistics import median

from sisamu_ops.app import App, Options
from sisamu_ops.failover.folding import Folding
from sisamu_ops.failover.request import Verb, inbox_name
from sisamu_ops.failover.state import State
from sisamu_ops.journal.port import InboxItem
from sisamu_ops.lab.lab import Lab
from sisamu_ops.lab.topology import FENCED_HOSTS
from sisamu_ops.leadership.lease import boottime_ns
from tests.bench.timing import report
from tests.support.waiting import await_that

ROOT = Path(__file__).resolve().parents[2]
TICK_MS = 500
_MINUTES = timedelta(minutes=5)

#: A contender with stock kazoo: elected, it seals the target with the token it is given, and holds.
STOCK = """
import sys, time, json, subprocess
from kazoo.client import KazooClient
from pathlib import Path
from sisamu_ops.app import App, Options
from sisamu_ops.model.token import Token
inventory, hosts, timeout_ms, name = sys.argv[1:]
app = App(Options(inventory=Path(inventory)))
app.enter()
targets = app.targets(app.identity)
client = KazooClient(hosts=hosts, timeout=int(timeout_ms) / 1000)
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
        for host in FENCED_HOSTS:
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
        request = self.app.desk.new_request(
            verb, reason="benchmark", lifetime=_MINUTES, samus=["300"], to=to
        )
        envelope = self.app.sign(request)
        before = self.service.size()
        payload = envelope.payload()
        name = inbox_name(request.request_id, payload)
        self.service.put(InboxItem(name=name, payload=payload))
        await_that(lambda: b'"step.started"' in b"".join(self._since(before)), 60)

    def _since(self, size: int) -> list[bytes]:
        return self.service.read(size, self.service.size())

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
    policy = stage.app.platform.policy
    process = subprocess.Popen(
        [sys.executable, "-c", STOCK, str(stage.inventory), ",".join(policy.zookeeper),
         str(policy.session_timeout_ms), str(token)],
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
            began = boottime_ns()
            first.send_signal(how)
            took = stage.await_seal(began)
            _await_line(second, "elected")
            return took


def transfer(stage: Stage) -> float:
    """Transfer leadership; return the seconds from accepted to the new epoch's first entry."""
    to = "lyon" if stage.await_leader() == "paris" else "paris"
    request = stage.app.desk.new_request(
        Verb.TRANSFER, reason="benchmark", lifetime=_MINUTES, to=to
    )
    began = boottime_ns()
    stage.app.desk.submit(request.request_id, stage.app.sign(request), lambda _: None)
    whole = (boottime_ns() - began) / 1e9
    stage.settle()
    return whole


def _await_line(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdout is not None
    while (said := process.stdout.readline()) != f"{line}\n":
        if not said:
            sys.exit("a stock contender ended")


WAYS: dict[str, Callable[[Stage], float]] = {
    "agent killed": lambda stage: lose(stage, signal.SIGKILL),
    "agent stopped": lambda stage: lose(stage, signal.SIGSTOP),
    "planned transfer": transfer,
    "stock Election, stopped": lambda stage: lose_stock(stage, signal.SIGSTOP),
    "stock Election, killed": lambda stage: lose_stock(stage, signal.SIGKILL),
}


def main(rounds: int, session_ms: int) -> None:
    """Run the rounds and print the table; the last line is the peer."""
    os.environ["SISAMU_LAB_SESSION_MS"] = str(session_ms)
    lab = Lab()
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    try:
        subprocess.run([Path(sys.executable).parent / "sisamu", "lab", "up"], check=True, cwd=ROOT)
        stage = Stage(lab)
        for number in range(rounds):
            for way, act in WAYS.items():
                seconds[way].append(act(stage))
            sys.stderr.write(f"round {number + 1}: {_newest(seconds)}\n")
    finally:
        lab.down()
    report(f"T = {session_ms} ms, tick {TICK_MS} ms, {rounds} rounds", seconds)
    for way, values in seconds.items():
        bound_s = (session_ms + TICK_MS) / 1000 + 1
        sys.stdout.write(f"  {way:<44} worst {max(values):.2f} s, median {median(values):.2f} s\n")
    sys.stdout.write(f"  bound for an agent lost: {bound_s:.1f} s\n")


def _newest(seconds: dict[str, list[float]]) -> str:
    return ", ".join(f"{way} {values[-1]:.2f} s" for way, values in seconds.items())


if __name__ == "__main__":
    main(
        int(sys.argv[1]) if len(sys.argv) > 1 else 30,
        int(sys.argv[2]) if len(sys.argv) > 2 else 2000,
    )
