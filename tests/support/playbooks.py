"""Runs of the playbooks against a lab, by hand: plain `ansible-playbook`, as an operator would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from sisamu_ops.lab import Lab
from sisamu_ops.model.platform import router_of
from tests.support.fence import fence, request
from tests.support.lab import from_network

ROOT = Path(__file__).parents[2]
PLAYBOOKS = ROOT / "playbooks"
TARGETS = {
    "otn-paris": {"300": "nominal", "680": "nominal", "120": "nominal"},
    "otn-lyon": {"300": "nominal", "680": "nominal", "120": "nominal"},
    "samu-300": {"300": "unarmed"},
    "samu-680": {"680": "unarmed"},
    "samu-120": {"120": "unarmed"},
}


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run: its exit code, what it printed, and the events of the callback."""

    code: int
    output: str
    events: list[dict[str, Any]]
    seconds: float

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Return the events of one kind."""
        return [event for event in self.events if event["event"] == kind]

    def fences(self) -> list[tuple[str, str]]:
        """Return who answered at its fence, in order, with the outcome or the refusal."""
        results = [(event["host"], event["result"]) for event in self.of("fence")]
        return [(host, told.get("outcome") or told["reason"]) for host, told in results]

    def calls(self) -> list[tuple[str, str, str]]:
        """Return each test call: host, via, verdict."""
        return [(e["host"], e["via"], e["result"]["verdict"]) for e in self.of("call")]


def environment(**more: str) -> dict[str, str]:
    """Return the environment of a run: the project's tools first, nothing of a user's Ansible."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**kept, "PATH": path, "ANSIBLE_NOCOLOR": "1", **more}


def run_playbook(lab: Lab, verb: str, *arguments: str, **variables: Any) -> Run:
    """Run one playbook from the operators' network; variables lose their prefix `sisamu_`."""
    named = {f"sisamu_{name}": value for name, value in variables.items()}
    with tempfile.TemporaryFile("w+") as events:
        more = {
            "ANSIBLE_CONFIG": str(PLAYBOOKS / "ansible.cfg"),
            "SISAMU_EVENTS_FD": str(events.fileno()),
            "SISAMU_LAB_NAME": lab.place.name,
            "SISAMU_LAB_ROOT": str(lab.place.root),
        }
        command = ["ansible-playbook", "-i", str(lab.inventory), "-e", json.dumps(named)]
        command += [*arguments, str(PLAYBOOKS / playbook_of(verb))]
        before = monotonic()
        run = from_network(
            lab,
            "ops",
            lambda: subprocess.run(
                command,
                env=environment(**more),
                pass_fds=[events.fileno()],
                capture_output=True,
                text=True,
                check=False,
            ),
        )
        seconds = monotonic() - before
        events.seek(0)
        told = [json.loads(line) for line in events]
    return Run(code=run.returncode, output=run.stdout + run.stderr, events=told, seconds=seconds)


def playbook_of(verb: str) -> str:
    """Return the file that carries a verb out."""
    return "site_evacuate.yml" if verb == "evacuate" else f"samu_{verb}.yml"


def fence_directory(lab: Lab, target: str) -> Path:
    """Return where a target of the lab keeps its fence: a router has two."""
    host = router_of(target)
    directory: Path = lab.place.host_dir(host) / ("fence" if host == target else "site-fence")
    return directory


def ask_fence(
    lab: Lab, host: str, verb: str, token: str = "", change: dict[str, str] | None = None
) -> Any:
    """Ask a host's fence without SSH."""
    return fence.VERBS[verb](fence_directory(lab, host), request(token, change))


def forget_fence(lab: Lab, host: str) -> None:
    """Make a host one that was rebuilt: its fence has no memory."""
    for name in ("fence.state", "accepted.jsonl"):
        (fence_directory(lab, host) / name).unlink(missing_ok=True)


def reset_targets(lab: Lab) -> None:
    """Enrol every target afresh at 0.1 and put it to nominal, unarmed."""
    for host, values in TARGETS.items():
        forget_fence(lab, host)
        ask_fence(lab, host, "enrol", "0.1")
        assert ask_fence(lab, host, "apply", "0.2", values)["outcome"] == "done", host


def held(lab: Lab, host: str, samu_id: str = "300") -> tuple[str, str]:
    """Return what a host holds for a SAMU: running, durable."""
    answer = ask_fence(lab, host, "read")
    return answer["values"].get(samu_id), answer["durable"].get(samu_id)
