"""One fenced target without Kamailio: a `kamcmd` of shell that keeps the htable in a file."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

HELPER = Path(__file__).parents[2] / "playbooks" / "files" / "sisamu_fence.py"
HEADER = (
    "id(int,auto) key_name(string) key_type(int) value_type(int) key_value(string) expires(int)\n"
)

# The live values are lines `key value`. `down` makes every command fail as a dead Kamailio does,
# `refuse` answers sets with an error, `gate` (a FIFO) holds a set until somebody writes to it.
KAMCMD = """#!/bin/sh
live=$1/live; verb=$2; key=${4#s:}; value=${5#s:}
entry='\\t{\\n\\t\\tname: %s\\n\\t\\tvalue: %s\\n\\t}\\n'
[ -e "$1/down" ] && exit 255
case $verb in
htable.dump)
  while read -r name held; do printf "$entry" "$name" "$held"; done <"$live" ;;
htable.sets)
  [ -e "$1/refuse" ] && { echo 'error: 500 - No such htable'; exit 0; }
  [ -p "$1/gate" ] && { echo waiting >"$1/waiting"; read -r _ <"$1/gate"; }
  : >"$live.new"
  while read -r name held; do
    [ "$name" = "$key" ] || echo "$name $held" >>"$live.new"
  done <"$live"
  echo "$key $value" >>"$live.new"; mv "$live.new" "$live"
  echo 'Ok. Key set to new value.' ;;
esac
"""


def answer_at_once(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
    """Answer as the shell `kamcmd` does, in this process: for thousands of questions."""
    home, verb, _table, *rest = command[command.index("KILL") + 3 :]
    live = Path(home) / "live"
    values = dict(line.split(" ") for line in live.read_text().splitlines())
    if verb == "htable.dump":
        entries = (f"\t{{\n\t\tname: {k}\n\t\tvalue: {v}\n\t}}\n" for k, v in values.items())
        return subprocess.CompletedProcess(command, 0, "".join(entries), "")
    key, value = (word.removeprefix("s:") for word in rest)
    values.pop(key, None)
    new = live.with_suffix(".new")
    new.write_text("".join(f"{k} {v}\n" for k, v in {**values, key: value}.items()))
    new.rename(live)
    return subprocess.CompletedProcess(command, 0, "Ok. Key set to new value.\n", "")


def load_helper() -> ModuleType:
    """Import the helper from its file, as it is on a target: outside any package."""
    spec = importlib.util.spec_from_file_location("sisamu_fence_helper", HELPER)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


fence = load_helper()


@dataclass(frozen=True, kw_only=True)
class Target:
    """A target with its fence, its durable list and its pretended Kamailio."""

    home: Path

    @property
    def directory(self) -> Path:
        return self.home / "fence"

    @property
    def table(self) -> Path:
        return self.home / "samu_mode"

    def ask(self, verb: str, token: str = "", change: dict[str, str] | None = None) -> Any:
        """Ask in this process; the token is written EPOCH.INDEX."""
        return fence.VERBS[verb](self.directory, request(token, change))

    def spawn(
        self, verb: str, token: str, change: dict[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """Ask in a process of its own, as on a target."""
        command = [sys.executable, "-S", str(HELPER), "--dir", str(self.directory), verb]
        pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        process = subprocess.Popen(command, **pipes)
        assert process.stdin is not None
        process.stdin.write(json.dumps(request(token, change)))
        process.stdin.close()
        process.stdin = None
        return process

    def live(self) -> dict[str, str]:
        """Return what the pretended Kamailio holds."""
        return dict(line.split(" ") for line in (self.home / "live").read_text().splitlines())

    def durable(self) -> Any:
        """Return what the durable list holds."""
        return fence.read_durable(self.table)

    def accepted(self) -> list[dict[str, Any]]:
        """Return the lines of accepted.jsonl, those put aside first."""
        return self.lines("accepted.jsonl.1") + self.lines("accepted.jsonl")

    def lines(self, name: str) -> list[dict[str, Any]]:
        """Return the lines of a record."""
        path = self.directory / name
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line) for line in lines]


def request(token: str, change: dict[str, str] | None) -> dict[str, Any]:
    """Build a request as the Ansible action does."""
    built: dict[str, Any] = {} if change is None else {"change": change}
    if token:
        epoch, index = token.split(".")
        built["token"] = {"epoch": int(epoch), "index": int(index)}
    return built


def make_target(home: Path, enrolled: str = "") -> Target:
    """Make a target; enrolled with this token when one is given."""
    target = Target(home=home)
    target.directory.mkdir(parents=True)
    target.table.write_text(HEADER + "1:300:0:0:nominal:0\n")
    (home / "live").write_text("300 nominal\n")
    kamcmd = home / "kamcmd"
    kamcmd.write_text(KAMCMD)
    kamcmd.chmod(0o755)
    configuration = {
        "table": "samu_mode",
        "values": ["nominal", "backup"],
        "durable": str(target.table),
        "kamcmd": [str(kamcmd), str(home)],
    }
    (target.directory / "fence.json").write_text(json.dumps(configuration))
    if enrolled:
        assert target.ask("enrol", enrolled)["enrolled"]
    return target
