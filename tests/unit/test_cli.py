"""Bad input: the documented exit code, one readable message with its remedy, nothing changed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sisamu_ops.app import App
from sisamu_ops.cli.main import NOUNS
from sisamu_ops.journal.keys import write_policy
from sisamu_ops.lab.certificates import Authority
from sisamu_ops.lab.topology import PLATFORM
from tests.support.signed_journal import (
    KEYS,
    ORIGIN,
    FastDisk,
    Replica,
    sealed_journal,
    signed_checkpoint,
)
from tests.support.terminal import Shown, Terminal, open_terminal

# Ansible is set up once a process; here one process is many commands.
pytestmark = pytest.mark.filterwarnings("ignore:AnsibleCollectionFinder")

ROOT = Path(__file__).resolve().parents[2]
LAB = ROOT / "inventories/lab"
REASON = ("--reason", "a test")
START = ("failover", "start", "--samu", "300")
#: Neither a namespace nor a server can be behind addresses of this prefix.
PREFIX = "127.251"


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Terminal:
    monkeypatch.setattr(App.connect, "__defaults__", (0.3, None))
    return open_terminal(monkeypatch, capsys)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the files of a lab whose servers are all down: trust, and an operator's key."""
    root = tmp_path / "lab"
    for part in ("trust", "operator"):
        (root / part).mkdir(parents=True)
    (root / "prefix").write_text(PREFIX)
    key = root / "operator/id_ed25519"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    signers = f"oncall@sisamu-lab {key.with_suffix('.pub').read_text()}"
    (root / "trust/allowed_signers").write_text(signers)
    (root / "trust/known_hosts").write_text("")
    make_policy(root / "trust/policy.json")
    authority = Authority(directory=root / "authority", platform=PLATFORM)
    authority.establish()
    shutil.copyfile(authority.certificate, root / "trust/authority.pem")
    authority.issue(root / "operator/tls", "operator", "oncall@sisamu-lab")
    monkeypatch.setenv("SISAMU_LAB_ROOT", str(root))
    monkeypatch.setenv("SISAMU_LAB_NAME", "nosuchlab")
    monkeypatch.setenv("SISAMU_INVENTORY", str(LAB))
    return root


def make_policy(path: Path) -> Path:
    publics = [keys.publics for keys in KEYS.values()]
    write_policy(path, origin=ORIGIN, publics=publics, threshold=2, allowed_signers="")
    return path


def tree(directory: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in directory.rglob("*") if p.is_file()}


def check(shown: Shown, code: int, *said: str) -> None:
    """Check that a command failed as documented, in words one can act on."""
    assert shown.code == code, shown
    assert "Traceback" not in shown.out + shown.err
    assert [fact for fact in said if fact not in shown.err] == [], shown.err
    if "Usage:" in shown.err:
        assert "--help" in shown.err
    else:
        assert shown.err.count("error: ") == 1
        assert "remedy: " in shown.err


# --- usage --------------------------------------------------------------------------------

USAGE: list[tuple[tuple[str, ...], str]] = [
    (("frobnicate",), "frobnicate"),
    (("samu", "frobnicate"), "frobnicate"),
    (("status", "--frobnicate"), "--frobnicate"),
    (("status", "-o", "xml"), "xml"),
    (("failover", "start", *REASON), "--samu"),
    (START, "--reason"),
    ((*START, *REASON, "--expires-in", "0"), "--expires-in"),
    ((*START, *REASON, "--expires-in", "1441"), "--expires-in"),
    (("--coordination", "paper", "status"), "paper"),
    (("samu", "show"), "--samu"),
    (("operation", "show"), "OPERATION"),
    (("target", "enrol", *REASON), "HOSTS"),
    (("agent", "run", "--site", "paris", "--home", "/no/such/home"), "/no/such/home"),
]


@pytest.mark.parametrize(("words", "said"), USAGE, ids=lambda v: " ".join(v))
def test_wrong_usage_is_two(
    words: tuple[str, ...], said: str, terminal: Terminal, place: Path
) -> None:
    """Words the command does not know are named, with where to look; exit 2."""
    check(terminal(*words), 2, said)


# --- what is asked for does not exist, or may not be said -----------------------------------

ASKED: list[tuple[tuple[str, ...], tuple[str, ...]]] = [
    (("samu", "show", "--samu", "999"), ("no SAMU matches '999'", "300 (Nîmes)")),
    (("samu", "card", "--samu", ""), ("no SAMU",)),
    (("failover", "start", "--samu", "999", *REASON), ("no SAMU", "680 (Mulhouse)")),
    (("failover", "start", "--samu", "300", "--samu", "xyz", *REASON), ("no SAMU matches 'XYZ'",)),
    (("target", "enrol", "otn-lille", *REASON), ("no target 'otn-lille'", "otn-lyon")),
    ((*START, "--to", "nominal", *REASON), ("does not lead to 'nominal'", "backup")),
    ((*START, "--to", "sideways", *REASON), ("does not lead to 'sideways'",)),
    ((*START, "--reason", "caller 06 39 98 01 02"), ("telephone number", "--reason")),
    ((*START, "--reason", "  "), ("a reason is required", "--reason")),
    ((*START, *REASON, "--plan", "abc"), ("not the digest of a plan", "--plan")),
    (("reconcile", "--reason", "call +33639980102"), ("telephone number",)),
    (("--identity", "/no/such/key", *START, *REASON), ("SSH key", "/no/such/key")),
]


@pytest.mark.parametrize(("words", "said"), ASKED, ids=lambda v: " ".join(v))
def test_what_cannot_be_asked_is_two(
    words: tuple[str, ...], said: tuple[str, ...], terminal: Terminal, place: Path
) -> None:
    """Unknown SAMUs, targets, modes and plans, and numbers in a reason: told, nothing sent."""
    before = tree(place)
    shown = terminal(*words)
    check(shown, 2, *said)
    assert "39 98" not in shown.err
    assert tree(place) == before


def test_a_key_that_is_no_key_is_two(terminal: Terminal, place: Path) -> None:
    """A file that ssh-keygen cannot sign with is named."""
    wrong = place / "operator/wrong"
    wrong.write_text("no key\n")
    wrong.chmod(0o600)
    check(terminal("--identity", wrong, *START, *REASON), 2, str(wrong))


@pytest.mark.parametrize(("name", "said"), [("known_hosts", "known"), ("policy.json", "policy")])
def test_missing_trust_is_two(name: str, said: str, terminal: Terminal, place: Path) -> None:
    """Without host keys or without a policy nothing is asked of anybody."""
    (place / "trust" / name).unlink()
    check(terminal(*START, *REASON), 2, said, str(place / "trust" / name))


# --- the inventory ---------------------------------------------------------------------------


def test_no_such_inventory_is_two(terminal: Terminal, place: Path) -> None:
    """An inventory that is not there is named, with how to name one."""
    check(terminal("-i", "/no/such", "samu", "list"), 2, "/no/such", "SISAMU_INVENTORY")


def test_all_problems_of_an_inventory_at_once(
    terminal: Terminal, place: Path, tmp_path: Path
) -> None:
    """Missing and mistyped variables are all told in one go, each with its host."""
    shutil.copytree(LAB, copy := tmp_path / "inventory")
    everywhere, hosts = copy / "group_vars/all.yml", copy / "hosts.yml"
    text = everywhere.read_text().replace("sisamu_platform: sisamu-lab\n", "")
    everywhere.write_text(text.replace("sisamu_tick_ms: 500", "sisamu_tick_ms: soon"))
    hosts.write_text(hosts.read_text().replace('samu_number: "0353010680"\n', "\n"))
    said = ("sisamu_platform is missing", "sisamu_tick_ms", "samu-680: samu_number is missing")
    for words in (("samu", "list"), (*START, *REASON)):
        check(terminal("-i", copy, *words), 2, *said)


def test_an_inventory_of_rubbish_is_two(terminal: Terminal, place: Path, tmp_path: Path) -> None:
    """A file that is no inventory is told as one."""
    (rubbish := tmp_path / "hosts.yml").write_text("all: [")
    check(terminal("-i", rubbish, "samu", "list"), 2, str(rubbish))


# --- nothing answers ------------------------------------------------------------------------


def test_a_lab_that_is_down_is_two(terminal: Terminal, place: Path) -> None:
    """Without its namespaces there is no lab: the remedy is the command that starts it."""
    (place / "prefix").write_text("198.18")
    for words in (("status",), (*START, *REASON), ("leader", "show")):
        check(terminal(*words), 2, "nosuchlab-ops", "sisamu lab up")


@pytest.mark.parametrize(
    "words",
    [("leader", "show"), ("operation", "list"), ("audit", "show"), (*START, *REASON)],
    ids=lambda v: " ".join(v),
)
def test_no_zookeeper_and_no_replica_is_four(
    words: tuple[str, ...], terminal: Terminal, place: Path
) -> None:
    """Where neither service nor replica answers: exit 4, where to look, and nothing sent."""
    before = tree(place)
    shown = terminal(*words)
    assert shown.code == 4, shown
    assert "error: " in shown.err
    assert "sisamu doctor" in shown.err
    assert tree(place) == before


def test_status_answers_all_the_same(terminal: Terminal, place: Path) -> None:
    """With nothing reachable `status` still answers, and calls every mode unknown."""
    shown = terminal("status", "-o", "json")
    facts = json.loads(shown.out)
    assert (shown.code, facts["leader"]["site"], facts["journal"]["live"]) == (0, None, False)
    assert {samu["mode"] for samu in facts["samus"]} == {"unknown"}


def test_the_card_is_printed_all_the_same(terminal: Terminal, place: Path) -> None:
    """With nothing reachable the card still gives the line to type and the numbers to call."""
    shown = terminal("samu", "card", "--samu", "30")
    assert shown.code == 0
    assert "playbooks/samu_failover.yml" in shown.out
    assert "0465710301" in shown.out


def test_doctor_names_everything_that_is_wrong(terminal: Terminal, place: Path) -> None:
    """With nothing reachable: key and certificate are seen, all else is named, by the gravest."""
    shown = terminal("doctor", "-o", "json")
    checks = {c["check"]: c for c in json.loads(shown.out)}
    assert shown.code == 4
    mine = ("identity", "certificate")
    assert all(checks[name]["ok"] for name in mine)
    assert not any(c["ok"] for name, c in checks.items() if name not in mine)
    assert all(c["remedy"] for name, c in checks.items() if name not in mine)
    assert {"leader", "site lille", "target otn-lyon", "target samu-120"} <= set(checks)


# --- the journal's integrity -----------------------------------------------------------------


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """Write a sound journal of three entries, agreed by two sites."""
    leaves = sealed_journal(3)
    replica = Replica(tmp_path / "journal", disk=FastDisk())
    replica.append(leaves)
    replica.write_checkpoint(signed_checkpoint(leaves).note)
    replica.close()
    return tmp_path / "journal"


def damage(journal: Path) -> None:
    bundle = next(p for p in (journal / "tile/entries").rglob("*") if p.is_file())
    bundle.write_bytes(bundle.read_bytes().replace(b"paris", b"lyons", 1))


def empty(journal: Path) -> None:
    shutil.rmtree(journal)
    journal.mkdir()


def remove(journal: Path) -> None:
    shutil.rmtree(journal)


def shorten(journal: Path) -> None:
    (journal / "checkpoint").unlink()


def garble(journal: Path) -> None:
    (journal / "checkpoint").write_bytes(b"\xff\x00")


def test_a_sound_journal_is_verified(terminal: Terminal, place: Path, journal: Path) -> None:
    """Directory and policy are enough, wherever the inventory is: exit 0, size and time said."""
    policy = make_policy(journal.parent / "policy.json")
    shown = terminal("-i", "/no/such", "audit", "verify", journal, "--policy", policy)
    assert (shown.code, shown.err) == (0, "")
    assert "size 3" in shown.out
    assert "cannot exclude" in shown.out


@pytest.mark.parametrize("harm", [damage, empty, remove, shorten, garble])
def test_a_journal_that_does_not_hold_is_eight(
    harm: Callable[[Path], None], terminal: Terminal, place: Path, journal: Path
) -> None:
    """Malformed, empty, absent or without checkpoint: exit 8, the finding and its place."""
    harm(journal)
    policy = make_policy(journal.parent / "policy.json")
    before = tree(journal.parent)
    shown = terminal("audit", "verify", journal, "--policy", policy)
    assert shown.code == 8
    assert "NOT VERIFIED" in shown.out
    assert "failure: " in shown.out
    assert "Traceback" not in shown.out + shown.err
    assert tree(journal.parent) == before


def test_a_missing_policy_is_eight(terminal: Terminal, place: Path, journal: Path) -> None:
    """Nobody's signature counts without a policy: that is no verification."""
    check(terminal("audit", "verify", journal, "--policy", "/no/such"), 8, "policy", "/no/such")


def test_a_missing_checkpoint_file_is_eight(terminal: Terminal, place: Path, journal: Path) -> None:
    """A checkpoint one means to compare with and cannot read is no comparison."""
    policy = make_policy(journal.parent / "policy.json")
    words = ("audit", "verify", journal, "--policy", policy, "--checkpoint", "/no/such")
    check(terminal(*words), 8, "/no/such")


def test_no_replica_that_answers_is_eight(terminal: Terminal, place: Path) -> None:
    """Without any replica there is nothing to verify."""
    check(terminal("audit", "verify"), 8, "nothing to verify", "sisamu doctor")


# --- the embedded coordination needs no lab ---------------------------------------------------


@pytest.fixture
def local(terminal: Terminal, place: Path, tmp_path: Path) -> Terminal:
    """Give a terminal whose journal is a directory, and whose lab does not exist."""
    shutil.rmtree(place)
    state = ("--coordination", "local", "--state-dir", tmp_path / "state")
    return lambda *words: terminal(*state, *words)


def test_a_new_local_journal_is_empty(local: Terminal) -> None:
    """With no lab at all, the embedded journal can be listed, and has nothing to verify."""
    for words in (("operation", "list"), ("audit", "show")):
        shown = local(*words, "-o", "json")
        assert (shown.code, json.loads(shown.out), shown.err) == (0, [], "")
    assert local("audit", "verify").code == 8


@pytest.mark.parametrize(
    ("words", "code"),
    [(("operation", "show", "nope"), 2), (("audit", "story", "nope"), 2)],
)
def test_an_unknown_operation_is_two(words: tuple[str, ...], code: int, local: Terminal) -> None:
    """An operation the journal does not hold is named, with how to list those it holds."""
    check(local(*words), code, "nope", "sisamu operation list")


def test_a_state_directory_that_cannot_be_is_two(
    terminal: Terminal, place: Path, tmp_path: Path
) -> None:
    """A state directory below a file is refused with how to name another."""
    (file := tmp_path / "file").write_text("")
    words = ("--coordination", "local", "--state-dir", file / "state", "operation", "list")
    check(terminal(*words), 2, str(file))


# --- the process itself -----------------------------------------------------------------------


def run_process(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).parent / "sisamu", *words], capture_output=True, text=True, cwd=ROOT,
        env=os.environ | environment, check=False,
    )  # fmt: skip


def test_a_bug_is_one_line_and_a_log(tmp_path: Path) -> None:
    """Exit 1 shows where the traceback is, not the traceback."""
    script = (
        "import sys; from sisamu_ops.cli import main; import sisamu_ops.app as app\n"
        "app.App.platform = property(lambda self: 1 // 0)\n"
        "sys.argv = ['sisamu', 'samu', 'list']; main.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False,
        env=os.environ | {"XDG_STATE_HOME": str(tmp_path)},
    )  # fmt: skip
    log = tmp_path / "sisamu/sisamu.log"
    assert done.returncode == 1
    assert done.stderr == f"error: a bug (ZeroDivisionError); the traceback is in {log}\n"
    assert "ZeroDivisionError" in log.read_text()


def test_a_closed_pipe_is_neither_bug_nor_done() -> None:
    """Output cut off by its reader, as `| head` does, ends quietly, as stopped.

    What was cut off may have been an outcome, so it is never 0.
    """
    process = subprocess.Popen(
        [Path(sys.executable).parent / "sisamu", "samu", "list", "-o", "json"], cwd=ROOT,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == 9
    process.stderr.close()


def test_every_noun_has_help(terminal: Terminal) -> None:
    """Each noun of the command line says what it is for, on 80 columns, and exits 0."""
    for noun in NOUNS:
        shown = terminal(noun, "--help")
        assert shown.code == 0
        assert "Usage:" in shown.out
        assert max(map(len, shown.out.splitlines())) <= 80


def test_facts_are_the_same_in_every_form(terminal: Terminal, place: Path) -> None:
    """JSON, YAML and JSON lines carry the same facts; the table carries their words."""
    import yaml

    as_json: list[dict[str, Any]] = json.loads(terminal("samu", "list", "-o", "json").out)
    as_yaml = yaml.safe_load(terminal("samu", "list", "-o", "yaml").out)
    lines = terminal("samu", "list", "-o", "jsonl").out.splitlines()
    assert as_json == as_yaml == [json.loads(line) for line in lines]
    assert "Nîmes" in terminal("samu", "list").out
