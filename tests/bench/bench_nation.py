"""What moving every SAMU of the nation at once costs, by hand, in a lab of 102.

    SISAMU_LAB_NAME=bench .venv/bin/python -m tests.bench.bench_nation [ROUNDS]

Needs root. Brings its lab up without agents, and takes it down. A round is a rescue of all to
backup, a failback of twelve, a rescue of all to the desks, a call to each through both routers, a
failback of all, and a rescue while no gateway can be reached.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from sisamu_ops.lab import Lab
from tests.bench.timing import seconds_of
from tests.support.playbooks import Run, ask_fence, forget_fence, run_playbook

SAMUS = 102
GATEWAYS_FIRST, DESKS_FIRST = ["backup", "degraded"], ["degraded", "backup"]


def enrol(lab: Lab) -> None:
    """Give every target its fence file, and have every SAMU nominal."""
    nominal = {samu.samu_id: "nominal" for samu in lab.place.samus}
    unarmed = {samu.gateway.name: {samu.samu_id: "unarmed"} for samu in lab.place.samus}

    def prepare(host: str) -> None:
        forget_fence(lab, host)
        ask_fence(lab, host, "enrol", "0.1")
        ask_fence(lab, host, "apply", "0.2", unarmed.get(host, nominal))

    with ThreadPoolExecutor(max_workers=8) as pool:
        list(pool.map(prepare, [host.name for host in lab.place.fenced_hosts]))


def cpu_s() -> float:
    """Return the processor time of what this process has run so far: not that of the lab."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def tell(what: str, play: Callable[[], Run]) -> None:
    """Run a playbook and say what it took; it must end well."""
    before = cpu_s()
    run = play()
    if run.code != 0:
        sys.exit(f"{what}: exit {run.code}\n{run.output[-2000:]}")
    cost = f"{run.seconds:5.1f} s, {cpu_s() - before:4.1f} s of CPU"
    sys.stdout.write(f"  {what:<44} {cost}, {len(run.of('call'))} calls\n")


def measure(lab: Lab) -> None:
    """Play one round."""
    everybody = [samu.samu_id for samu in lab.place.samus]

    def play(verb: str, token: str, samus: list[str], **more: object) -> Run:
        return run_playbook(lab, verb, samus=samus, token=token, **more)

    enrol(lab)
    tell(
        "rescue of all to backup", lambda: play("failover", "1.1", everybody, order=GATEWAYS_FIRST)
    )
    tell("failback of twelve", lambda: play("failback", "1.2", everybody[:12], to="nominal"))
    tell(
        "rescue of all to the desks", lambda: play("failover", "1.3", everybody, order=DESKS_FIRST)
    )
    expected = dict.fromkeys(everybody, "degraded")
    tell(
        "a call to each through both routers", lambda: run_playbook(lab, "prove", expected=expected)
    )
    tell("failback of all", lambda: play("failback", "1.4", everybody, to="nominal"))
    lab.partition("ops", "samus")
    try:
        tell("rescue of all, no gateway in reach",
             lambda: play("failover", "1.5", everybody, order=GATEWAYS_FIRST))  # fmt: skip
    finally:
        lab.heal()


def main(rounds: int) -> None:
    """Bring the lab up, measure, take it down."""
    lab = Lab()
    lab.down()
    try:
        up_s = seconds_of(lambda: lab.up(agents=False, samus=SAMUS))
        sys.stdout.write(f"up: {up_s:.1f} s\n")
        for turn in range(1, rounds + 1):
            sys.stdout.write(f"round {turn}\n")
            measure(lab)
    finally:
        lab.down()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
