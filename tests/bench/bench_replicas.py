"""A hundred thousand entries on three sites: equal roots, the agents' memory, ZooKeeper's nodes.

    .venv/bin/python -m tests.bench.bench_replicas [ENTRIES]

Three agents, each a process of its own, on an ensemble of three servers. The one that leads writes
entries as a busy platform would, eight for an operation, as fast as they are acknowledged, and
trims what a majority has cosigned; the others follow. Then every replica's root is compared.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from sisamu_ops.agent import SiteAgent
from sisamu_ops.leadership.port import Coordination
from sisamu_ops.term import Term
from tests.support.sites import SITES, Sites, make_sites
from tests.support.told import DATA
from tests.support.zookeeper import ensemble

CHAIN = ("request.accepted", "step.started", "step.outcome", "call.proved", "operation.ended")
BATCH = 5


def operation(index: int) -> list[tuple[str, dict[str, Any]]]:
    """Return the entries of one operation, the first of which is to stand at this index."""
    name = f"failover-{index:012x}"
    ids = {"id": name, "digest": f"{index:064x}"}
    return [
        (kind, DATA[kind] | (ids if kind == "request.accepted" else {"operation": name})
         | ({"step": index + 1} if kind in ("step.outcome", "call.proved") else {}))
        for kind in CHAIN
    ]  # fmt: skip


class Busy(SiteAgent):
    """An agent whose leadership is spent on writing."""

    entries = 0

    def _serve(self, term: Term, coordination: Coordination) -> None:
        while term.state.size < self.entries:
            term.writer.write_all(operation(term.state.size))
            if term.state.size % (BATCH * 20) < BATCH:
                term.trim(coordination.published().values())
        while not self._stop.wait(1):
            term.trim(coordination.published().values())


def run_agent(site: str, directory: Path, hosts: str, entries: int) -> None:
    """Be one site's agent until told to stop by the end of standard input."""
    Busy.entries = entries
    sites = make_sites(directory, hosts, agent_type=Busy)
    sites.start(site)
    sys.stdin.read()
    sites.stop(site)


def memory_mb(pid: int) -> float:
    """Return the resident memory of a process, in megabytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def watch(sites: Sites, agents: dict[str, subprocess.Popen[bytes]], entries: int) -> None:
    """Print size, memory and nodes until all is replicated."""
    service = sites.connect()
    began, most_nodes, most_mb = monotonic(), 0, 0.0
    sizes: dict[str, int] = {}
    while min(sizes.get(site, 0) for site in SITES) < entries:
        sleep(1)
        held = service.size() - service.first()
        most_nodes = max(most_nodes, held)
        most_mb = max(most_mb, *(memory_mb(agent.pid) for agent in agents.values()))
        sizes = {site: sites.replica(site).size() for site in SITES}
    seconds = monotonic() - began
    roots = {sites.replica(site).root(entries).hex()[:16] for site in SITES}
    service.close()
    sys.stdout.write(
        f"{entries} entries on three sites in {seconds:.0f} s ({entries / seconds:.0f} a second)\n"
        f"  roots of the first {entries}: {', '.join(roots)} (one is right)\n"
        f"  entry nodes in ZooKeeper at most {most_nodes}, at the end {held}\n"
        f"  resident memory of an agent at most {most_mb:.0f} MB\n"
    )
    if len(roots) != 1:
        sys.exit("the replicas differ")


def main(entries: int) -> None:
    """Run the agents and watch them."""
    with (
        tempfile.TemporaryDirectory() as root,
        ensemble(Path(root) / "zookeeper", servers=3) as servers,
        ExitStack() as stack,
    ):
        directory = Path(root) / "platform"
        sites = make_sites(directory, servers.hosts)
        agents = {}
        for site in SITES:
            command = [sys.executable, "-m", "tests.bench.bench_replicas", site, str(directory)]
            command += [servers.hosts, str(entries)]
            agents[site] = stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE))
        watch(sites, agents, entries)
        for agent in agents.values():
            assert agent.stdin is not None
            agent.stdin.close()


if __name__ == "__main__":
    if len(sys.argv) == 5:
        run_agent(sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
