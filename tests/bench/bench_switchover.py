"""Request to verified for one SAMU, beside the same playbook under stock ansible-playbook.

    SISAMU_LAB_NAME=bench .venv/bin/python -m tests.bench.bench_switchover [ROUNDS]

Needs root. Brings its lab up, and takes it down. A round moves SAMU 300 to backup and back, once
through the leader and once by hand, and asks a fence one question that changes nothing, over an
SSH connection that is open already: no way of moving a SAMU can be quicker than that.

The runs by hand take tokens of the leader's own epoch: the indices of the newest two entries. Both
lie above the last `step.started`, which the targets know, and below the next one, so the fence
lets every run in and the leader is not locked out, as a break-glass token would.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from sisamu_ops.lab.topology import ROUTERS, locate_lab
from tests.bench.timing import report, run, seconds_of

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
SISAMU = str(BIN / "sisamu")
INVENTORY = str(ROOT / "inventories/lab")
PLAYBOOKS = ROOT / "playbooks"
MOVES = {"switchover": "backup", "failback": "nominal"}


def ask(*arguments: str) -> Any:
    """Return what a command shows as JSON; it must succeed."""
    done = subprocess.run(
        [SISAMU, *arguments, "-o", "json"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        sys.exit(f"sisamu {' '.join(arguments)}: exit {done.returncode}\n{done.stderr}")
    return json.loads(done.stdout)


def led(verb: str) -> tuple[float, float]:
    """Move through the leader; return the seconds of the command, and from accepted to ended."""
    told: list[Any] = []
    whole_s = seconds_of(
        lambda: told.append(ask(verb, "start", "--samu", "300", "--reason", "benchmark"))
    )
    accepted, ended = (datetime.fromisoformat(told[0][k]) for k in ("accepted_at", "ended_at"))
    return whole_s, (ended - accepted).total_seconds()


def by_hand(verb: str, token: str, enter: list[str]) -> float:
    """Move with stock ansible-playbook; return its seconds."""
    command = [
        *enter, str(BIN / "ansible-playbook"), "-i", INVENTORY,
        "-e", f"sisamu_samus=300 sisamu_to={MOVES[verb]} sisamu_token={token}",
        str(PLAYBOOKS / f"samu_{verb}.yml"),
    ]  # fmt: skip
    environment = os.environ | {"ANSIBLE_CONFIG": str(PLAYBOOKS / "ansible.cfg")}
    return seconds_of(lambda: run(command, env=environment, cwd=PLAYBOOKS))


@contextmanager
def warm_question(enter: list[str]) -> Iterator[list[str]]:
    """Open an SSH connection to a router; yield the command that asks its fence over it."""
    place = locate_lab()
    router = ROUTERS[0]
    home = place.host_dir(router)
    with tempfile.TemporaryDirectory(prefix="sisamu-bench-") as directory:
        key, hosts = place.root / "operator/id_ed25519", place.trust / "known_hosts"
        ssh = [
            *enter, "ssh", "-S", f"{directory}/master", "-i", str(key),
            "-o", f"UserKnownHostsFile={hosts}", "-o", "StrictHostKeyChecking=yes",
            "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes",
        ]  # fmt: skip
        who = f"root@{router.address(place.prefix)}"
        # It detaches, and must not hold our pipes open.
        subprocess.run([*ssh, "-f", "-N", "-M", who], stderr=subprocess.DEVNULL, check=True)
        question = ["/usr/bin/python3", f"{home}/sisamu-fence", "--dir", f"{home}/fence", "read"]
        try:
            yield [*ssh, who, *question]
        finally:
            subprocess.run([*ssh, "-O", "exit", who], stderr=subprocess.DEVNULL, check=False)


def measure(rounds: int, enter: list[str]) -> dict[str, dict[str, list[float]]]:
    """Measure all ways in turn."""
    samples: dict[str, dict[str, list[float]]] = {
        verb: {"sisamu start, the whole command": [], "accepted to ended": [], "stock": []}
        for verb in MOVES
    }
    floor: list[float] = []
    with warm_question(enter) as question:
        for number in range(rounds):
            sys.stderr.write(f"round {number + 1} of {rounds}\n")
            for verb in MOVES:
                whole_s, led_s = led(verb)
                samples[verb]["sisamu start, the whole command"].append(whole_s)
                samples[verb]["accepted to ended"].append(led_s)
            facts = ask("status")
            epoch, size = facts["leader"]["epoch"], facts["journal"]["size"]
            for verb, index in zip(MOVES, (size - 2, size - 1), strict=True):
                samples[verb]["stock"].append(by_hand(verb, f"{epoch}.{index}", enter))
            floor += [seconds_of(lambda: run(question, input="{}")) for _ in range(5)]
    return {
        verb: {
            "sisamu start, the whole command": series["sisamu start, the whole command"],
            "of which: request accepted to ended": series["accepted to ended"],
            "floor: one fence read over warm SSH": floor,
            "stock ansible-playbook": series["stock"],
        }
        for verb, series in samples.items()
    }


def main(rounds: int) -> None:
    """Bring the lab up, measure, take it down."""
    name = os.environ.setdefault("SISAMU_LAB_NAME", "bench")
    run([SISAMU, "lab", "up"], cwd=ROOT)
    try:
        isolated = ask("lab", "status")["isolated"]
        enter = ["nsenter", f"--net=/run/netns/{name}-ops", "--"] if isolated else []
        for verb, series in measure(rounds, enter).items():
            report(verb, series)
    finally:
        run([SISAMU, "lab", "down"], cwd=ROOT)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
