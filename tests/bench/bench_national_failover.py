"""A rescue of the whole nation through the leader, beside an ordinary playbook and the floor.

    SISAMU_LAB_NAME=bench .venv/bin/python -W ignore -m tests.bench.bench_national_failover [ROUNDS]

Needs root. Brings up a lab of 102 SAMUs with its agents, and takes it down. A round is, in turn: a
rescue of all at once and a failback in waves, as typed; `ansible-playbook` with five ordinary tasks
on the same 104 targets and its default settings; and the floor: every target's fence asked one
question that changes nothing, over SSH connections that are open already. SISAMU_NATION names
another size.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from sisamu_ops.doors.namespace import enter_namespace
from sisamu_ops.doors.ssh.session import AT_ONCE, open_session
from sisamu_ops.lab import Lab
from sisamu_ops.leadership.guard import descendants
from tests.bench.timing import seconds_of
from tests.support.desk import Desk
from tests.support.playbooks import environment

ROOT = Path(__file__).resolve().parents[2]
MANY = os.environ.get("SISAMU_NATION", "102")
ALL = ("--all", "--confirm", "sisamu-lab", "--reason", "benchmark")
RESCUE, BACK = ("failover", "start", "--now", *ALL), ("failback", "start", *ALL)
ORDINARY = ROOT / "tests/bench/files/five_ordinary_tasks.yml"
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(kw_only=True)
class Cost:
    """What some processes and all they started have cost while it was watched."""

    seconds: float = 0.0
    cpu_s: float = 0.0
    peak_mib: float = 0.0


@dataclass(kw_only=True)
class Watch:
    """Watches a process and its descendants: memory by looking, processor time by its own account.

    A process accounts for its children once it has waited for them; what lives for a tenth of a
    second only is not missed so. `reaper` is whose account it is.
    """

    root: int
    reaper: int
    cost: Cost = field(default_factory=Cost)

    @contextmanager
    def watching(self) -> Iterator[Cost]:
        """Look until the body has ended; the processor time is what came in between."""
        over, before = threading.Event(), cpu_s(self.reaper)
        watcher = threading.Thread(target=self._until, args=(over,))
        watcher.start()
        try:
            yield self.cost
        finally:
            over.set()
            watcher.join()
            self.cost.cpu_s = cpu_s(self.reaper) - before

    def _until(self, over: threading.Event) -> None:
        while not over.wait(0.1):
            family = [self.root, *descendants(self.root)]
            self.cost.peak_mib = max(self.cost.peak_mib, sum(map(pss_mib, family)))


def cpu_s(pid: int) -> float:
    """Return the seconds a process and the children it has waited for have used (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / _TICKS


def pss_mib(pid: int) -> float:
    """Return a process's share of memory: pages shared by many count for each in part."""
    with suppress(OSError):  # it has ended meanwhile
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return 0.0


def led(desk: Desk, words: tuple[str, ...]) -> Cost:
    """Move all through the leader as typed; the cost is the command's time, the agent's work."""
    agent = desk.pid(f"agent-{desk.leader()}")
    with Watch(root=agent, reaper=agent).watching() as cost:
        cost.seconds = seconds_of(lambda: desk.run(*words))
    return cost


def ordinary(desk: Desk) -> Cost:
    """Run the ordinary playbook, with the settings Ansible has by itself."""
    place = desk.lab.place
    command = [
        "ip", "netns", "exec", f"{place.name}-ops",
        str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(desk.lab.inventory),
        str(ORDINARY),
    ]  # fmt: skip
    where = {"SISAMU_LAB_NAME": place.name}
    process = subprocess.Popen(
        command, env=environment(**where), cwd=place.root, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with Watch(root=process.pid, reaper=os.getpid()).watching() as cost:
        cost.seconds = seconds_of(process.wait)
    if process.returncode != 0:
        sys.exit(f"the ordinary playbook: exit {process.returncode}\n{process.communicate()[1]}")
    return cost


@contextmanager
def warm(desk: Desk) -> Iterator[list[tuple[object, str]]]:
    """Open a connection to every target; yield each with the question for its fence."""
    place = desk.lab.place
    key, known = place.root / "operator/id_ed25519", place.trust / "known_hosts"
    with ExitStack() as stack:
        found: list[tuple[object, str]] = []
        for host in place.fenced_hosts:
            client = stack.enter_context(
                open_session(host.address(place.prefix), "root", key, known)
            )
            home = place.host_dir(host)
            helper = f"/usr/bin/python3 -I -S {home}/sisamu-fence --dir {home}/fence read"
            found.append((client, helper))
        yield found


def ask(question: tuple[object, str]) -> None:
    """Ask one fence over its open connection; it must answer."""
    client, command = question
    stdin, stdout, _ = client.exec_command(command)  # type: ignore[attr-defined]
    stdin.write("{}")
    stdin.channel.shutdown_write()
    json.loads(stdout.read())


def floor(questions: list[tuple[object, str]]) -> float:
    """Return how long it takes to ask every fence once, many at a time."""
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        return seconds_of(lambda: list(pool.map(ask, questions)))


def measure(desk: Desk, rounds: int) -> dict[str, list[Cost]]:
    """Measure all ways in turn."""
    samples: dict[str, list[Cost]] = {
        "failover --all --now": [], "failback --all, in waves": [],
        "ansible-playbook, five ordinary tasks": [], "floor: every fence read, warm SSH": [],
    }  # fmt: skip
    rescue, back, peer, least = samples.values()
    with warm(desk) as questions:
        for number in range(rounds):
            sys.stderr.write(f"round {number + 1} of {rounds}\n")
            rescue.append(led(desk, RESCUE))
            least.append(Cost(seconds=floor(questions)))
            back.append(led(desk, BACK))
            peer.append(ordinary(desk))
            least.append(Cost(seconds=floor(questions)))
    return samples


def main() -> None:
    """Measure, and print the medians with their ratios to the floor."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    lab = Lab(os.environ.get("SISAMU_LAB_NAME", "bench"))
    lab.down()
    try:
        Desk(lab=lab).run("lab", "up", "--samus", MANY)
        desk = Desk(lab=Lab(lab.place.name))
        enter_namespace(f"{lab.place.name}-ops")
        tell(measure(desk, rounds))
    finally:
        lab.down()


def tell(samples: dict[str, list[Cost]]) -> None:
    """Print each series: seconds, processor time, memory, and the ratio to the floor."""
    base = median(cost.seconds for cost in list(samples.values())[-1])
    sys.stdout.write(f"{MANY} SAMUs\n")
    for name, costs in samples.items():
        times = [cost.seconds for cost in costs]
        sys.stdout.write(
            f"  {name:<40} {median(times):6.1f} s ({min(times):.1f}-{max(times):.1f})"
            f"  CPU {median(c.cpu_s for c in costs):6.1f} s"
            f"  peak {max(c.peak_mib for c in costs):5.0f} MiB  x{median(times) / base:.1f}\n"
        )


if __name__ == "__main__":
    main()
