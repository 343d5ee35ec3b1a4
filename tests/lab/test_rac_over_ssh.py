"""A RAC of four nodes, asked over SSH: a stand-in answers, everything else on the way is real."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from sisamu_ops.lab import Lab
from tests.support.commands import ROOT
from tests.support.rac import Rac
from tests.support.standin import FOUR, StandIn, scenario_of

SISAMU = str(Path(sys.executable).with_name("sisamu"))
#: A check has this long beside its deadline: to start Python and read the inventory, twice over.
SLACK_S = 5


@dataclass(frozen=True, kw_only=True)
class Told:
    """What one command said, how long it took, and the memory it needed at most."""

    status: int
    facts: dict[str, Any]
    said: str
    seconds: float
    peak_mib: int

    def messages(self, finding: str) -> list[str]:
        """Return the messages of one kind of finding."""
        return [one["message"] for one in self.facts["findings"] if one["id"] == finding]


@dataclass
class Desk:
    """An operator in front of the stand-in."""

    standin: StandIn
    directory: Path

    def answers(self, rac: Rac = FOUR, **changes: dict[str, dict[str, Any]]) -> None:
        """Let the nodes answer as a cluster stands, but for changes by node and output."""
        scenario = scenario_of(rac)
        for node, outputs in changes.items():
            for name, answer in outputs.items():
                scenario[node][name] = answer
        path = self.directory / "scenario.json"
        path.write_text(json.dumps(scenario), "utf-8")
        self.standin.install(path)

    def check(self, *options: str) -> Told:
        """Run `sisamu quorum check -o json`."""
        return self.run("check", "-o", "json", *options)

    def run(self, *words: str) -> Told:
        """Run a command of the noun."""
        command = [SISAMU, "-i", str(self.standin.inventory), "quorum", *words]
        started = monotonic()
        with (
            (self.directory / "said").open("w+") as out,
            (self.directory / "complained").open("w+") as err,
        ):
            process = subprocess.Popen(command, stdout=out, stderr=err, cwd=ROOT)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            took = monotonic() - started
            out.seek(0)
            err.seek(0)
            said, complained = out.read(), err.read()
        assert "Traceback" not in complained, complained
        return Told(
            status=process.returncode,
            facts=json.loads(said) if said.startswith("{") else {},
            said=said + complained,
            seconds=took,
            peak_mib=usage.ru_maxrss // 1024,
        )


@pytest.fixture
def rac(lab: Lab, tmp_path: Path) -> Iterator[Desk]:
    """The stand-in, all well, on the session's lab."""
    standin = StandIn(lab=lab, home=lab.place.root / "clusterware", inventory=tmp_path / "rac")
    standin.write_inventory()
    desk = Desk(standin=standin, directory=tmp_path)
    desk.answers()
    yield desk
    standin.remove()


def test_four_nodes_are_judged_and_captured_alike(rac: Desk) -> None:
    """All is well: QUORATE, exit 0; a capture judged offline says exactly the same."""
    now = rac.check()
    assert (now.status, now.facts["verdict"]) == (0, "QUORATE"), now.said
    assert now.facts["voting_files"] == {"configured": 5, "online": 5, "required": 3}
    assert [(n["name"], n["css"]) for n in now.facts["nodes"]] == [
        (f"rac{i}", "online") for i in range(1, 5)
    ]
    assert [i["name"] for i in now.facts["instances"]] == ["samu1", "samu2", "samu3", "samu4"]
    kept = rac.directory / "kept"
    assert rac.run("capture", "--out", str(kept)).status == 0
    later = rac.check("--capture", str(kept))
    assert later.facts == now.facts
    assert rac.run("capture", "--out", str(kept)).status == 3, "a capture is never written over"


@pytest.mark.parametrize(
    ("cluster", "options", "status", "verdict"),
    [
        (replace(FOUR, down=frozenset({"rac4"})), (), 3, "DEGRADED"),
        (replace(FOUR, down=frozenset({"rac4"})), ("--allow-degraded",), 0, "DEGRADED"),
        (replace(FOUR, offline=frozenset({0, 1, 2})), (), 4, "LOST"),
        (replace(FOUR, claims={"rac1": frozenset({"rac3"})}), (), 6, "UNKNOWN"),
    ],
    ids=["degraded", "degraded allowed", "lost", "unknown"],
)
def test_the_exit_code_is_the_verdict(
    rac: Desk, cluster: Rac, options: tuple[str, ...], status: int, verdict: str
) -> None:
    """0 QUORATE, 3 DEGRADED (0 when allowed), 4 LOST, 6 UNKNOWN."""
    rac.answers(cluster)
    told = rac.check(*options)
    assert (told.status, told.facts["verdict"]) == (status, verdict), told.said


def test_a_hanging_node_costs_its_deadline_and_no_more(rac: Desk) -> None:
    """Every command of one node hangs: the others are heard, and the deadline is kept."""
    hanging = {name: {"seconds": 60, "text": "late"} for name in FOUR.outputs("rac1")}
    rac.answers(rac2=hanging)
    told = rac.check()
    assert told.seconds < 6 + SLACK_S
    assert told.facts["verdict"] in ("DEGRADED", "UNKNOWN")
    assert any("rac2" in one and "no answer in time" in one
               for one in told.messages("evidence.unreadable"))  # fmt: skip
    assert sum(node["css"] == "online" for node in told.facts["nodes"]) >= 3


def test_one_command_that_hangs_costs_its_own_time_out(rac: Desk) -> None:
    """srvctl hangs on a node: 2 s, and all the rest of that node is still heard."""
    rac.answers(rac3={"srvctl_service": {"seconds": 60}})
    told = rac.check()
    assert told.seconds < 2 + SLACK_S
    assert told.facts["verdict"] == "DEGRADED"
    assert [f["id"] for f in told.facts["findings"] if f["severity"] == "degraded"] == [
        "evidence.unreadable"
    ]


def test_a_wrong_host_key_is_nobody(rac: Desk, lab: Lab) -> None:
    """A host that shows another key than the known one is not asked, and not believed."""
    known = (lab.place.trust / "known_hosts").read_text("ascii")
    mine = rac.standin.address("rac2")
    lines = known.splitlines(keepends=True)
    theirs = next(line for line in lines if not line.startswith(mine))
    forged = rac.directory / "known_hosts"
    forged.write_text(
        "".join(
            mine + theirs[theirs.index(" ") :] if line.startswith(f"{mine} ") else line
            for line in lines
        )
    )
    rac.standin.trust(forged)
    told = rac.check()
    assert told.facts["verdict"] == "DEGRADED", told.said
    assert any("rac2" in one and "does not match" in one
               for one in told.messages("host.unreachable")), told.said  # fmt: skip


def test_a_capture_of_nobody_is_not_done(rac: Desk) -> None:
    """No host can be reached: why is kept, and the exit code says that nothing was heard."""
    empty = rac.directory / "known_hosts"
    empty.touch()
    rac.standin.trust(empty)
    told = rac.run("capture", "--out", str(rac.directory / "kept"))
    assert (told.status, "kept 0 of 4 hosts" in told.said) == (6, True), told.said
    assert rac.check("--capture", str(rac.directory / "kept")).facts["verdict"] == "UNKNOWN"


def test_sudo_with_least_privilege_is_enough(rac: Desk) -> None:
    """The commands run as an account without privileges, through sudo, with whole paths."""
    rac.standin.write_inventory(sisamu_rac_sudo=["sudo", "-n", "-u", "nobody"])
    assert rac.check().facts["verdict"] == "QUORATE"


def test_sudo_that_refuses_says_so(rac: Desk) -> None:
    """An account that may not: nothing is told, and the remedy names sudoers."""
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    rac.standin.write_inventory(sisamu_rac_sudo=[*nobody, "sudo", "-n", "-u", "root"])
    told = rac.check()
    assert (told.status, told.facts["verdict"]) == (6, "UNKNOWN")
    refused = [one for one in told.facts["findings"] if "sudo refused" in one["message"]]
    assert refused and all("sudoers" in one["remedy"] for one in refused)


def test_commands_that_are_not_there_say_so(rac: Desk) -> None:
    """A wrong path: nothing is told, and the remedy names the variable."""
    rac.standin.write_inventory(sisamu_rac_path=["/nowhere"])
    told = rac.check()
    assert told.facts["verdict"] == "UNKNOWN"
    assert any("sisamu_rac_path" in one["remedy"] for one in told.facts["findings"])


@pytest.mark.parametrize(
    "answer",
    [
        {"text": ""},
        {"text": "\x00\x01\x02 nonsense \ufffd\n" * 50},
        {"megabytes": 50},
        {"text": "##  STATE    File Univ", "hangup": 1},
        {"text": "Located 5 voting disk(s).\n"},
    ],
    ids=["empty", "binary", "fifty megabytes", "closed half-way", "no row"],
)
def test_nonsense_is_never_good_news(rac: Desk, answer: dict[str, Any]) -> None:
    """UNKNOWN or DEGRADED with the reason, in bounded memory, without a traceback."""
    rac.answers(rac2={"votedisk": answer}, rac4={"stat_res": answer})
    told = rac.check()
    assert told.facts["verdict"] in ("DEGRADED", "UNKNOWN"), told.said
    assert told.status in (3, 6)
    assert any(one.startswith("rac2: crsctl query css votedisk: ")
               for one in told.messages("evidence.unreadable"))  # fmt: skip
    assert told.peak_mib < 200


def test_everything_is_nonsense_everywhere(rac: Desk) -> None:
    """Fifty megabytes of noise from every command of every node: UNKNOWN, in bounded memory."""
    noise = {name: {"megabytes": 50} for name in FOUR.outputs("rac1")}
    rac.answers(**dict.fromkeys(FOUR.nodes, noise))
    told = rac.check()
    assert (told.status, told.facts["verdict"]) == (6, "UNKNOWN")
    assert told.peak_mib < 200
