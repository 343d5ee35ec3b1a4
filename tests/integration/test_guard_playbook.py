"""A slow real playbook under an agent that is stopped, then killed: nothing is left at lease end.

The suite does it a few times; SISAMU_GUARD_ROUNDS=20 does it twenty times.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sisamu_ops.leadership import guard
from sisamu_ops.leadership.lease import KILL_MS, boottime_ns
from tests.support.waiting import await_gone, await_that, lives

ROUNDS = int(os.environ.get("SISAMU_GUARD_ROUNDS", "3"))
LEASE_S = 1.5

#: Two hosts, so that Ansible forks workers, each of which calls setsid; each leaves a child that
#: leaves its session too and ignores what can be ignored.
PLAYBOOK = """
- hosts: all
  gather_facts: false
  connection: local
  tasks:
    - name: Be slow, in a session of its own
      ansible.builtin.shell: >-
        trap '' TERM HUP INT;
        setsid sh -c 'trap "" TERM HUP INT; echo $$ >> {{ told }}; sleep 600' &
        echo $$ >> {{ told }}; sleep 600
"""

#: Leads under a lease that is never renewed, and runs the playbook.
AGENT = """
import sys
from pathlib import Path
from sisamu_ops.doors.playbooks import AnsiblePlaybooks
from sisamu_ops.failover.ports import PlaybookRun
from sisamu_ops.leadership.lease import Lease, boottime_ns
from sisamu_ops.model.token import Token

playbooks, inventory, home, told = map(Path, sys.argv[1:])

class Tenure:
    def on_lease(self, listener):
        self.listener = listener
        listener(Lease(2**62))
        return lambda: None

tenure = Tenure()

def shorten():
    end = boottime_ns() + int(LEASE_S * 1e9)
    tenure.listener(Lease(end))
    print(end, flush=True)

import threading
threading.Thread(target=lambda: (sys.stdin.readline(), shorten()), daemon=True).start()
run = PlaybookRun(
    playbook="slow.yml", operation="slow-operation", token=Token(1, 1), samus=(), to="",
    routers=(), deadline_s=120, extra={"told": str(told)},
)
AnsiblePlaybooks(playbooks=playbooks, inventory=inventory, home=home, ssh_key=None).run(
    run, tenure, lambda event: None
)
""".replace("LEASE_S", str(LEASE_S))


@pytest.mark.parametrize("number", range(ROUNDS))
def test_nothing_of_a_slow_playbook_is_left_when_the_lease_ends(
    number: int, tmp_path: Path
) -> None:
    """The agent is stopped while the playbook runs, and killed before its lease ends, or after."""
    (tmp_path / "slow.yml").write_text(PLAYBOOK)
    (tmp_path / "inventory").write_text(
        "one\ntwo\n[all:vars]\nansible_python_interpreter=/usr/bin/python3\n"
    )
    told = tmp_path / "told"
    agent = subprocess.Popen(
        [sys.executable, "-c", AGENT, str(tmp_path), str(tmp_path / "inventory"), str(tmp_path),
         str(told)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert agent.stdin is not None
    assert agent.stdout is not None
    try:
        await_that(lambda: told.exists() and len(told.read_text().split()) >= 4, 60)
        started = guard.descendants(agent.pid) | {int(pid) for pid in told.read_text().split()}
        assert len(started) > 5
        agent.stdin.write("\n")
        agent.stdin.flush()
        end_ns = int(agent.stdout.readline())
        agent.send_signal(signal.SIGSTOP)
        if number % 2:
            agent.kill()
        await_gone(*started, timeout_s=LEASE_S + 5)
        if number % 2 == 0:
            assert boottime_ns() >= end_ns, "an agent that is only stopped keeps its lease"
        assert boottime_ns() < end_ns + KILL_MS * 1_000_000, "the kill takes what is kept for it"
        assert not [pid for pid in started if lives(pid)]
    finally:
        agent.kill()
        agent.wait()
