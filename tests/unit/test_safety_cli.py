"""`sisamu safety` and `--override`: what a terminal shows of the rules."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from sisamu_ops.failover.safety import RULES
from sisamu_ops.journal.keys import write_policy
from tests.support.safety import MATRIX, VERBS
from tests.support.signed_journal import KEYS, ORIGIN
from tests.support.terminal import Shown, Terminal, open_terminal

# Ansible is set up once a process; here one process is many commands.
pytestmark = pytest.mark.filterwarnings("ignore:AnsibleCollectionFinder")

LAB = Path(__file__).resolve().parents[2] / "inventories/lab"
SETTINGS = {
    "outside-nominal": {"at_most": 2},
    "freeze-window": [
        {"name": f"night {number}", "days": ["fri", "sat"], "from": "18:00", "to": "08:00"}
        for number in range(4)
    ],
    "target-capacity": {"backup": 5, "site": {"paris": 3, "lyon": 2}},
    "mode-changes": {"blocks": []},
}


@pytest.fixture
def terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Terminal:
    monkeypatch.setenv("SISAMU_LAB_ROOT", str(tmp_path / "root"))
    monkeypatch.setenv("SISAMU_LAB_NAME", "nosuchlab")
    monkeypatch.setenv("SISAMU_INVENTORY", str(LAB))
    monkeypatch.setenv("SISAMU_LAB_SAFETY", json.dumps(SETTINGS))
    return open_terminal(monkeypatch, capsys)


def facts(shown: Shown) -> Any:
    assert (shown.code, shown.err) == (0, "")
    return json.loads(shown.out)


def test_the_matrix_is_printed_in_80_columns(terminal: Terminal) -> None:
    """A line for every rule, a column for every verb, and what the inventory says of each."""
    shown = terminal("safety", "list")
    assert shown.code == 0
    lines = shown.out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == ["rule", *VERBS]
    cells = {"B": "blocks", "F": "finding", "-": "-"}
    matrix = {line.split()[0]: line.split()[1:] for line in lines[1 : 1 + len(RULES)]}
    expected = {rule: [cells[letter] for letter in row] for rule, row in MATRIX.items()}
    expected["mode-changes"][0] = "finding"  # narrowed by the settings above
    assert matrix == expected
    said = " ".join(shown.out.partition("settings")[2].split())
    assert "outside-nominal at_most 2 " in said
    assert "site paris 3 lyon 2" in said
    assert "minimum-interval not set" in said
    assert "mode-changes blocks - " in said


def test_the_same_facts_are_given_as_data(terminal: Terminal) -> None:
    """Cells, settings, and whether a rule is in force."""
    found = {one["rule"]: one for one in facts(terminal("safety", "list", "-o", "json"))}
    assert list(found) == list(RULES)
    assert found["outside-nominal"]["settings"] == SETTINGS["outside-nominal"]
    assert found["freeze-window"]["settings"] == {"windows": SETTINGS["freeze-window"]}
    in_force = {rule for rule, one in found.items() if one["in_force"]}
    always = {rule for rule, one in RULES.items() if not one.needs_settings}
    assert in_force == always | {"outside-nominal", "freeze-window", "target-capacity"}
    assert found["mode-changes"]["override"] is None


def test_every_rule_is_explained(terminal: Terminal) -> None:
    """What it asks, its settings, which verbs it blocks, how it is set aside, and where it is."""
    listed = {one["rule"]: one for one in facts(terminal("safety", "list", "-o", "json"))}
    explained = facts(terminal("safety", "explain", "freeze-window", "-o", "json"))
    assert explained == listed["freeze-window"]
    for rule in RULES:
        check_explained(terminal("safety", "explain", rule), listed[rule])


def check_explained(shown: Shown, one: dict[str, Any]) -> None:
    """Check that the page of a rule says in 80 columns what is listed of it."""
    rule = one["rule"]
    assert shown.code == 0, rule
    assert max(map(len, shown.out.splitlines())) <= 80, rule
    told = " ".join(shown.out.split())
    assert told.startswith(f"{rule} asks {one['asks']} satisfied by {one['remedy']}")
    assert "source sisamu_ops/failover/safety/" in told
    assert (LAB.parents[1] / one["source"]).is_file()
    narrowed = {"mode-changes", "agents-confirmed"}
    assert (f"--override {rule} --reason TEXT" in told) == (rule not in narrowed)
    assert ("failover" in told.partition("blocks")[2].partition("only told to")[0]) is False


def test_a_rule_there_is_not_is_told_with_those_there_are(terminal: Terminal) -> None:
    """Exit 2, and every rule is named."""
    shown = terminal("safety", "explain", "freeze")
    assert shown.code == 2
    assert all(rule in shown.err for rule in RULES)


@pytest.mark.parametrize("verb", ["switchover", "failover", "failback"])
@pytest.mark.parametrize("do", ["plan", "start"])
def test_a_name_that_is_no_rule_is_refused_before_anything_is_asked(
    verb: str, do: str, terminal: Terminal, tmp_path: Path
) -> None:
    """No server of this lab is there: nobody was asked, and nothing signed."""
    (trust := tmp_path / "root/trust").mkdir(parents=True)
    (tmp_path / "root/prefix").write_text("127.251")
    publics = [keys.publics for keys in KEYS.values()]
    write_policy(
        trust / "policy.json", origin=ORIGIN, publics=publics, threshold=2, allowed_signers=""
    )
    (trust / "known_hosts").write_text("")
    (operator := tmp_path / "root/operator").mkdir()
    key = operator / "id_ed25519"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    reason = ("--reason", "a test") if do == "start" else ()
    shown = terminal(verb, do, "--samu", "300", "--override", "freeze", *reason)
    assert shown.code == 2, shown
    assert "--override: freeze is not a rule to override here" in shown.err
    assert "freeze-window" in shown.err
