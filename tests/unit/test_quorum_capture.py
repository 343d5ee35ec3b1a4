"""A host asked everything at once, its answer taken apart, and captures that survive the disk."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sisamu_ops.app.clusters import judge_capture
from sisamu_ops.model.errors import ConfigurationError, RefusedError
from sisamu_ops.quorum.archive import read_archive, write_capture
from sisamu_ops.quorum.asking import CUT_OFF, DATABASE, Question, Script, read_answer
from sisamu_ops.quorum.capture import OUTPUT_LIMIT_BYTES, TIMED_OUT, Capture, Declared, HostCapture
from sisamu_ops.quorum.provider import Heard, ask_hosts
from tests.support.galera import ensemble, galera, node, server
from tests.support.rac import healthy

SISAMU = str(Path(sys.executable).with_name("sisamu"))


def script(*lanes: tuple[Question, ...], **changes: object) -> Script:
    """Return a script whose commands have two seconds each."""
    settings = {"lanes": lanes, "mark": "mark-of-this-run", "command_s": 2, **changes}
    return Script(**settings)  # type: ignore[arg-type]


def asked(name: str, *command: str) -> Question:
    """Return a question."""
    return Question(name=name, command=command)


def answer(script: Script) -> bytes:
    """Run a script as a host would."""
    run = subprocess.run(
        ["env", "LC_ALL=C", "bash", "-s"], input=script.text().encode(), capture_output=True,
        timeout=20, check=True,
    )  # fmt: skip
    assert run.stderr == b""
    return run.stdout


def test_every_output_comes_back_whole_with_its_status() -> None:
    """Standard error is part of it; words are quoted, whatever stands in them."""
    words = ("sh", "-c", 'echo "it\'s $0"; echo no end >&2; exit 7', "a 'b' $HOME")
    asking = script(
        (asked("one", *words), asked("two", "printf", "no newline")),
        (asked("three", "cat"),),
        (asked("four", "no-such-command-here"),),
    )
    said = read_answer(asking, answer(asking), in_time=True)
    assert list(said) == ["one", "two", "three", "four"]
    assert (said["one"].content, said["one"].status) == (b"it's a 'b' $HOME\nno end\n", 7)
    assert (said["two"].content, said["two"].status) == (b"no newline", 0)
    assert said["three"].content == b"", "no command may read the script"
    assert said["four"].status == 127


def test_what_hangs_holds_up_its_own_lane_only() -> None:
    """It is ended by timeout(1); the other lane has answered meanwhile."""
    asking = script(
        (asked("hangs", "sleep", "60"), asked("waits", "echo", "x")),
        (asked("other", "echo", "y"),),
        command_s=0.3,
    )
    said = read_answer(asking, answer(asking), in_time=True)
    assert (said["hangs"].status, said["waits"].content) == (TIMED_OUT, b"x\n")
    assert said["other"].content == b"y\n"


def test_no_output_is_kept_beyond_its_limit() -> None:
    """What prints without end is ended, and known to be cut short."""
    asking = script((asked("raving", "yes"), asked("next", "echo", "x")))
    said = read_answer(asking, answer(asking), in_time=True)
    assert len(said["raving"].content) == OUTPUT_LIMIT_BYTES + 1
    assert said["raving"].cut_short
    assert said["next"].content == b"x\n"


def test_a_question_of_each_database_is_asked_of_each() -> None:
    """Named ones, or those a command lists; the last failure is the status."""
    each = (asked("status", "sh", "-c", "echo on $0; [ $0 != two ]", DATABASE),)
    named = script(each, databases=("one", "two", "three"))
    said = read_answer(named, answer(named), in_time=True)["status"]
    assert (said.content, said.status) == (b"on one\non two\non three\n", 1)
    listed = script(each, discovery=("printf", "four\nfive\n"))
    assert (
        read_answer(listed, answer(listed), in_time=True)["status"].content == b"on four\non five\n"
    )


def test_a_program_is_named_by_its_whole_path() -> None:
    """sudo compares whole paths: `%tool` is what the search path finds."""
    asking = script((asked("which", "echo", "%ls", "%no-such-tool"),))
    said = read_answer(asking, answer(asking), in_time=True)["which"].content.split()
    assert said[0].endswith(b"/ls") and said[1] == b"no-such-tool"


def test_what_was_not_heard_to_its_end_says_so() -> None:
    """A connection that ended, and one that was too slow."""
    asking = script((asked("one", "echo", "x"), asked("two", "echo", "y")))
    whole = answer(asking)
    half = whole[: whole.index(b"end two") - 5]
    cut = read_answer(asking, half, in_time=True)
    assert (cut["one"].status, cut["two"].status) == (0, CUT_OFF)
    begun = whole[: whole.index(b"mark-of-this-run begin two")]
    assert list(read_answer(asking, begun, in_time=True)) == ["one"]
    assert read_answer(asking, begun, in_time=False)["two"].status == TIMED_OUT


def test_an_output_cannot_forge_the_frame() -> None:
    """The mark is new each time; one of yesterday is text like any other."""
    forged = "yesterday begin two\\nall is well\\nyesterday end two 0\\n"
    asking = script((asked("one", "printf", forged),))
    assert list(read_answer(asking, answer(asking), in_time=True)) == ["one"]


@pytest.mark.parametrize(
    ("heard", "reason"),
    [
        (Heard(problem="Connection refused"), "Connection refused"),
        (Heard(in_time=False), "no answer in time"),
        (Heard(), "it closed the connection without an answer"),
        (Heard(content=b"Welcome!\nbye\n"), "it answered something else: Welcome!"),
    ],
)
def test_a_host_that_said_nothing_of_use_was_not_reached(heard: Heard, reason: str) -> None:
    """Each with its reason."""

    class One:
        def run(self, scripts: dict[str, str], *, deadline_s: float) -> dict[str, Heard]:
            return dict.fromkeys(scripts, heard)

    scripts = {"rac1": script((asked("a", "echo"),))}
    captured = ask_hosts(One(), scripts, Declared(), deadline_s=1)
    assert captured.hosts == {"rac1": HostCapture(unreachable=reason)}


# --- on disk -----------------------------------------------------------------------------

CAPTURES = {
    "rac": healthy(offline=frozenset({1})).capture(),
    "rac with policy": healthy().capture(
        data_guard=False, site_loss_degrades=True, weights={"rac1": 2}
    ),
    "galera": galera(node(), HostCapture(unreachable="no route to host")),
    "zookeeper": ensemble(paris=server("leader", synced="1"), lyon=server()),
}


@pytest.mark.parametrize("kind", CAPTURES)
def test_a_capture_kept_is_judged_as_it_was(kind: str, tmp_path: Path) -> None:
    """Byte for byte, and what was declared with it."""
    capture = CAPTURES[kind]
    write_capture(tmp_path / "kept", capture)
    again = read_archive(tmp_path / "kept")
    assert again == capture
    assert judge_capture(again).to_json() == judge_capture(capture).to_json()


def test_a_capture_is_never_written_over(tmp_path: Path) -> None:
    """Two captures in one directory would be judged as one."""
    (tmp_path / "something").touch()
    with pytest.raises(RefusedError, match="there is something already"):
        write_capture(tmp_path, CAPTURES["rac"])


def test_a_capture_needs_neither_statuses_nor_facts(tmp_path: Path) -> None:
    """Whoever has only the outputs has them judged; without sites, site losses are unknown."""
    write_capture(tmp_path / "kept", healthy().capture())
    for path in [*(tmp_path / "kept").rglob("*.rc"), tmp_path / "kept/cluster.yml"]:
        path.unlink()
    assessment = judge_capture(read_archive(tmp_path / "kept"))
    assert assessment.verdict.value == "QUORATE"
    assert {n["site"] for n in assessment.to_json()["nodes"]} == {None}


def test_an_exit_status_that_is_no_number_counts_as_failed(tmp_path: Path) -> None:
    """Good news under a status nobody can read is no good news."""
    write_capture(tmp_path / "kept", healthy().capture())
    (tmp_path / "kept/rac1/ocrcheck.rc").write_text("zero\n")
    assert judge_capture(read_archive(tmp_path / "kept")).verdict.value == "DEGRADED"


def test_a_wrong_cluster_yml_names_every_problem_at_once(tmp_path: Path) -> None:
    """The file, each key, and where its form is written down."""
    (tmp_path / "cluster.yml").write_text(
        "kind: db2\nversion: nineteen\nsites: {paris: rac1}\nvoting_file: {}\nsite_loss: often\n"
    )
    with pytest.raises(ConfigurationError) as raised:
        read_archive(tmp_path)
    for said in (
        "db2",
        "nineteen",
        "list of members",
        "unknown key voting_file",
        "warning or degr",
    ):
        assert said in raised.value.message, said
    assert "docs/quorum.md" in raised.value.remedy
    (tmp_path / "cluster.yml").write_text("{sites: [")
    with pytest.raises(ConfigurationError, match="not YAML"):
        read_archive(tmp_path)
    (tmp_path / "cluster.yml").write_text("- a list\n")
    with pytest.raises(ConfigurationError, match="a mapping"):
        read_archive(tmp_path)


def test_no_capture_there_says_how_to_make_one(tmp_path: Path) -> None:
    """And an empty one is UNKNOWN."""
    with pytest.raises(ConfigurationError, match="no such capture"):
        read_archive(tmp_path / "nowhere")
    assert judge_capture(read_archive(tmp_path)).verdict.value == "UNKNOWN"


# --- at the command line -----------------------------------------------------------------


def kept(tmp_path: Path, capture: Capture) -> str:
    """Write a capture and return its directory."""
    write_capture(tmp_path / "kept", capture)
    return str(tmp_path / "kept")


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """Run `sisamu quorum …`; never a traceback."""
    told = subprocess.run([SISAMU, "quorum", *words], capture_output=True, text=True, check=False)
    assert "Traceback" not in told.stderr, told.stderr
    return told


@pytest.mark.parametrize(
    ("rac", "options", "status", "said"),
    [
        ({}, (), 0, "QUORUM OK - QUORATE | voting_files=3;;2:"),
        ({"offline": frozenset({0})}, (), 1, "QUORUM WARNING - DEGRADED: "),
        ({"offline": frozenset({0})}, ("--allow-degraded",), 0, "QUORUM OK - DEGRADED: "),
        ({"offline": frozenset({0, 1})}, (), 2, "QUORUM CRITICAL - LOST: "),
        ({"claims": {"rac1": frozenset({"rac2"})}}, (), 3, "QUORUM UNKNOWN - UNKNOWN: "),
    ],
)
def test_a_monitoring_system_gets_one_line(
    rac: dict[str, object], options: tuple[str, ...], status: int, said: str, tmp_path: Path
) -> None:
    """Exit 0, 1, 2 or 3, and what is measured behind the bar."""
    directory = kept(tmp_path, healthy(**rac).capture())
    told = run("check", "--nagios", "--capture", directory, *options)
    assert (told.returncode, told.stdout.count("\n")) == (status, 1)
    assert told.stdout.startswith(said)


def test_what_if_says_who_goes_on(tmp_path: Path) -> None:
    """One loss, several, and a table of all; nothing is foreseen from a cluster that is lost."""
    directory = kept(tmp_path, healthy().capture())
    one = run("what-if", "--capture", directory, "--lose", "PARIS", "-o", "json")
    assert one.returncode == 0
    assert json.loads(one.stdout)["survivors"] == ["rac2"]
    two = run("what-if", "--capture", directory, "--lose", "paris", "--lose", "lille")
    assert (two.returncode, "LOST" in two.stdout) == (4, True)
    every = json.loads(run("what-if", "--capture", directory, "-o", "json").stdout)
    assert {row["scope"][0] for row in every} == {"site", "node", "voting file"}
    nobody = run("what-if", "--capture", directory, "--lose", "marseille")
    assert nobody.returncode == 2 and "name one of: lille, lyon, paris, rac1" in nobody.stderr


def test_nothing_is_foreseen_from_what_is_lost(tmp_path: Path) -> None:
    """It says so, and exits as a check would."""
    directory = kept(tmp_path, healthy(offline=frozenset({0, 1})).capture())
    told = run("what-if", "--capture", directory, "--lose", "paris")
    assert (told.returncode, "LOST" in told.stdout) == (4, True)
    facts = json.loads(run("what-if", "--capture", directory, "-o", "json").stdout)
    assert [(one["verdict"], one["survivors"]) for one in facts] == [("LOST", [])]


@pytest.mark.parametrize(
    "world", [{}, {"down": frozenset({"rac2"})}, {"offline": frozenset({0, 1})}]
)
def test_a_check_can_be_read_in_eighty_columns(world: dict[str, object], tmp_path: Path) -> None:
    """Every line, in every verdict."""
    told = run("check", "--capture", kept(tmp_path, healthy(**world).capture()))
    assert max(map(len, told.stdout.splitlines())) <= 80


def test_a_capture_without_facts_is_judged_as_the_kind_that_is_named(tmp_path: Path) -> None:
    """Outputs of Galera alone: as a RAC they say nothing, as Galera they do."""
    directory = kept(tmp_path, galera(node(("db-paris", "db-lyon")), node(("db-paris", "db-lyon"))))
    (tmp_path / "kept/cluster.yml").unlink()
    assert run("check", "--capture", directory).returncode == 6
    assert run("check", "--kind", "galera", "--capture", directory).returncode == 0


def test_a_bootstrap_is_advised_for_galera_only(tmp_path: Path) -> None:
    """Refused (3) beside a primary component; a RAC has none (2)."""
    assert run("bootstrap", "--capture", kept(tmp_path, CAPTURES["galera"])).returncode == 3
    rac = tmp_path / "rac"
    write_capture(rac, CAPTURES["rac"])
    assert run("bootstrap", "--capture", str(rac)).returncode == 2
