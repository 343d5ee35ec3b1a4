"""What a check of a RAC of four nodes costs beside one SSH connection with one command.

SISAMU_LAB_NAME=bench .venv/bin/python -m tests.bench.bench_quorum [ROUNDS]

The stand-in answers at once on four hosts of a lab that is brought up and taken down again. Two
pairs, interleaved: in one process (our door, once with one command on one host), and as commands
(`sisamu quorum check` beside OpenSSH's `ssh`).
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from sisamu_ops.app import App, Options
from sisamu_ops.doors.ssh import ShellHost, SshShells
from sisamu_ops.lab import Lab
from sisamu_ops.quorum.verdict import Verdict
from tests.bench.timing import report, run, seconds_of
from tests.support.standin import FOUR, StandIn, scenario_of

SISAMU = str(Path(sys.executable).with_name("sisamu"))


def main(rounds: int) -> None:
    """Bring a lab up, time all in turn, take it down."""
    lab = Lab()
    lab.up(agents=False)
    try:
        with tempfile.TemporaryDirectory(prefix="sisamu-bench-") as directory:
            measure(lab, Path(directory), rounds)
    finally:
        lab.down()


def measure(lab: Lab, directory: Path, rounds: int) -> None:
    """Time a check and its parts; the first round only warms the disk's cache."""
    standin = StandIn(lab=lab, home=lab.place.root / "clusterware", inventory=directory / "rac")
    standin.write_inventory()
    scenario = directory / "scenario.json"
    scenario.write_text(json.dumps(scenario_of(FOUR)), "utf-8")
    standin.install(scenario)
    command = [SISAMU, "-i", str(standin.inventory), "quorum", "check"]
    ssh = [*lab.place.entering("ops"), *_ssh(lab, standin.address("rac1")), "true"]
    app = App(Options(inventory=standin.inventory)).enter()
    provider = app.quorum()
    policy = app.platform.policy
    shells = SshShells(
        {"rac1": ShellHost(address=standin.address("rac1"), user="root")},
        interpreter="true",
        key=app.identity,
        known_hosts=policy.known_hosts,
    )

    def check() -> None:
        assert provider.assess(provider.capture()).verdict is Verdict.QUORATE

    def one_command() -> None:
        assert not shells.run({"rac1": ""}, deadline_s=5)["rac1"].problem

    actions = {
        "check of four nodes, in this process": check,
        "one connection, one command, our door": one_command,
        "sisamu quorum check, whole command": lambda: run(command),
        "ssh HOST true (OpenSSH), whole command": lambda: run(ssh),
    }
    samples: dict[str, list[float]] = {name: [] for name in actions}
    for number in range(rounds + 1):
        for name, action in actions.items():
            spent_s = seconds_of(action)
            if number:
                samples[name].append(spent_s)
    names = list(samples)
    report("in one process", {name: samples[name] for name in names[:2]})
    report("as commands", {name: samples[name] for name in names[2:]})


def _ssh(lab: Lab, address: str) -> list[str]:
    key = lab.place.root / "operator/id_ed25519"
    options = [f"UserKnownHostsFile={lab.place.trust}/known_hosts", "StrictHostKeyChecking=yes",
               "IdentitiesOnly=yes", "BatchMode=yes"]  # fmt: skip
    return [
        "ssh",
        "-F",
        "none",
        "-i",
        str(key),
        *(f"-o{one}" for one in options),
        f"root@{address}",
    ]


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
