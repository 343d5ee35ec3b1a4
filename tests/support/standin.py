"""Hosts of the lab that answer as the nodes of a RAC would: a scenario file, and an inventory.

A scenario is JSON: by node, by output, `text` and where wanted `status`, `seconds` to wait first,
`megabytes` of noise, `hangup`. `install` lays it out on the lab; `write_inventory` declares it.
"""

from __future__ import annotations

import json
import shutil
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sisamu_ops.lab import Lab
from sisamu_ops.lab.topology import DATABASE_NODES, ROUTERS, Host
from tests.support.commands import ROOT
from tests.support.rac import Rac

_SCRIPT = ROOT / "tests/standin/clusterware"
_COMMANDS = ("crsctl", "srvctl", "olsnodes", "ocrcheck", "asmcmd", "dgmgrl")
#: The lab's hosts that play the four nodes: each has an sshd of its own.
PLAYERS: dict[str, Host] = dict(
    zip(
        ("rac1", "rac2", "rac3", "rac4"),
        (ROUTERS[0], DATABASE_NODES[0], ROUTERS[1], DATABASE_NODES[1]),
        strict=True,
    )
)
FOUR = Rac(
    nodes=tuple(PLAYERS),
    sites=("paris", "paris", "lyon", "lyon"),
    files=("paris", "paris", "lyon", "lyon", "lille"),
)
Scenario = dict[str, dict[str, dict[str, Any]]]


def scenario_of(rac: Rac) -> Scenario:
    """Return the scenario in which every node answers at once, as the cluster stands."""
    return {
        node: {
            **{name: {"text": said} for name, said in rac.outputs(node).items()},
            "databases": {"text": f"{rac.database}\n"},
        }
        for node in rac.nodes
    }


@dataclass(frozen=True, kw_only=True)
class StandIn:
    """The stand-in on one lab, and the inventory that declares it."""

    lab: Lab
    home: Path
    inventory: Path

    def install(self, scenario: Path) -> None:
        """Lay out what each node answers; what an earlier scenario said is gone."""
        for node, answers in json.loads(scenario.read_text("utf-8")).items():
            home = self.home / node
            shutil.rmtree(home, ignore_errors=True)
            (home / "answers").mkdir(parents=True)
            (home / "bin").mkdir()
            for command in _COMMANDS:
                shutil.copy(_SCRIPT, home / "bin" / command)
            for name, answer in answers.items():
                _write_answer(home / "answers" / name, answer)
        _open_to_all(self.home)

    def write_inventory(self, **settings: object) -> None:
        """Declare the nodes in place of the lab's database; `settings` are group variables."""
        shutil.rmtree(self.inventory, ignore_errors=True)
        shutil.copytree(ROOT / "inventories/lab", self.inventory)
        hosts = self.inventory / "hosts.yml"
        declared = yaml.safe_load(hosts.read_text("utf-8"))
        declared["all"]["children"]["database"] = {"hosts": self._nodes()}
        hosts.write_text(json.dumps(declared), "utf-8")
        variables = {**self._variables(), **settings}
        (self.inventory / "group_vars/database.yml").write_text(json.dumps(variables), "utf-8")
        everywhere = self.inventory / "group_vars/all.yml"
        text = everywhere.read_text("utf-8").replace(": galera", ": oracle_rac")
        everywhere.write_text(text, "utf-8")

    def trust(self, known_hosts: Path) -> None:
        """Have the inventory name other known hosts."""
        everywhere = self.inventory / "group_vars/all.yml"
        lines = everywhere.read_text("utf-8").splitlines(keepends=True)
        named = [f"sisamu_known_hosts: {known_hosts}\n" if line.startswith("sisamu_known_hosts:")
                 else line for line in lines]  # fmt: skip
        everywhere.write_text("".join(named), "utf-8")

    def address(self, node: str) -> str:
        """Return the address of the host that plays a node."""
        return PLAYERS[node].address(self.lab.place.prefix)

    def remove(self) -> None:
        """Take the stand-in off the lab."""
        shutil.rmtree(self.home, ignore_errors=True)

    def _nodes(self) -> dict[str, dict[str, str]]:
        prefix = self.lab.place.prefix
        return {
            node: {"ansible_host": player.address(prefix), "site_id": player.network}
            for node, player in PLAYERS.items()
        }

    def _variables(self) -> Mapping[str, object]:
        return {
            "sisamu_rac_path": [f"{self.home}/{{{{ inventory_hostname }}}}/bin"],
            "sisamu_rac_databases": ["samu"],
            "sisamu_database_version": "19.24",
            "sisamu_rac_voting_files": FOUR.declared().voting_files,
            "sisamu_database_command_ms": 2_000,
            "sisamu_database_deadline_ms": 6_000,
        }


def _write_answer(path: Path, answer: Mapping[str, Any]) -> None:
    if "text" in answer:
        path.write_text(answer["text"], "utf-8")
    for what in ("status", "seconds", "megabytes", "hangup"):
        if what in answer:
            path.with_name(f"{path.name}.{what}").write_text(f"{answer[what]}\n", "ascii")


def _open_to_all(home: Path) -> None:
    """Let an account without privileges run the commands: sudo is told to use one."""
    for path in (home, *home.rglob("*")):
        path.chmod(path.stat().st_mode | stat.S_IROTH | (stat.S_IXOTH if path.is_dir() else 0))
