"""The fence of one target: what it refuses, what it repeats, what it never calls done."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from tests.support.fence import HEADER, HELPER, Target, answer_at_once, fence, make_target

BACKUP = {"300": "backup"}
NOMINAL = {"300": "nominal"}


@pytest.fixture
def target(tmp_path: Path) -> Target:
    return make_target(tmp_path / "otn-paris", enrolled="1.0")


def test_an_apply_changes_and_reads_back_both_places(target: Target) -> None:
    """Done means that the durable list and the running Kamailio both show the change."""
    answer = target.ask("apply", "1.1", BACKUP)
    assert answer["outcome"] == "done" and answer["changed"] and not answer["repeated"]
    assert answer["before"] == NOMINAL and answer["values"] == answer["durable"] == BACKUP
    assert target.live() == target.durable() == BACKUP


@pytest.mark.parametrize("older", ["0.9", "1.4", "1.0"])
@pytest.mark.parametrize("verb", ["seal", "apply", "enrol"])
def test_an_older_token_is_refused_and_changes_nothing(
    target: Target, verb: str, older: str
) -> None:
    """Once 1.5 was accepted no verb takes anything below it, whatever it brings."""
    target.ask("apply", "1.5", BACKUP)
    before = (target.directory / "fence.state").read_bytes()
    answer = target.ask(verb, older, NOMINAL if verb == "apply" else None)
    assert answer["reason"] == "older-token" and answer["last"] == {"epoch": 1, "index": 5}
    assert not answer.get("accepted") and not answer.get("enrolled")
    assert target.live() == BACKUP and (target.directory / "fence.state").read_bytes() == before


def test_a_later_epoch_wins_over_a_higher_index(target: Target) -> None:
    """Tokens are ordered by epoch first: a new leader's first step beats an old one's last."""
    target.ask("apply", "1.900", BACKUP)
    assert target.ask("apply", "2.1", NOMINAL)["outcome"] == "done"
    assert target.ask("apply", "1.901", BACKUP)["reason"] == "older-token"
    assert target.live() == NOMINAL


def test_a_seal_closes_the_door_behind_it(target: Target) -> None:
    """After a seal the step it overtook is refused, and the seal told what the target holds."""
    sealed = target.ask("seal", "2.0")
    assert sealed["accepted"] and sealed["values"] == sealed["durable"] == NOMINAL
    assert sealed["outcome"] is None
    assert target.ask("apply", "1.7", BACKUP)["reason"] == "older-token"
    assert target.live() == NOMINAL


def test_a_seal_tells_the_outcome_of_the_last_apply(target: Target) -> None:
    """A new leader learns what its predecessor's step became, and which step that was."""
    target.ask("apply", "1.3", BACKUP)
    record = target.ask("seal", "2.0")["outcome"]
    assert record["token"] == {"epoch": 1, "index": 3} and record["outcome"] == "done"


def test_a_repeated_request_gets_its_outcome_back(target: Target) -> None:
    """The same token with the same change is answered from the record, and not carried out."""
    first = target.ask("apply", "1.1", BACKUP)
    (target.home / "live").write_text("300 elsewhere\n")
    assert target.ask("apply", "1.1", BACKUP) == {**first, "repeated": True}
    assert target.live() == {"300": "elsewhere"}


def test_a_token_is_used_for_one_change_only(target: Target) -> None:
    """The same token with another change is refused, also when the first is unfinished."""
    target.ask("apply", "1.1", BACKUP)
    assert target.ask("apply", "1.1", NOMINAL)["reason"] == "other-content"
    assert target.live() == BACKUP


def test_a_target_not_enrolled_is_refused(tmp_path: Path) -> None:
    """A rebuilt target takes nothing, and says how it is enrolled."""
    target = make_target(tmp_path / "rebuilt")
    for verb, change in (("seal", None), ("apply", BACKUP)):
        answer = target.ask(verb, "9.9", change)
        assert (answer["accepted"], answer["reason"]) == (False, "not-enrolled")
        assert "target enrol" in answer["remedy"]
    assert target.live() == NOMINAL and not target.accepted()
    assert target.ask("read")["enrolled"] is False


def test_enrolling_twice_is_harmless_and_never_goes_back(target: Target) -> None:
    """The same token again is answered the same; a lower one is refused; a higher one holds."""
    assert target.ask("enrol", "1.0")["enrolled"]
    assert target.ask("enrol", "3.0")["enrolled"]
    assert target.ask("enrol", "2.0")["reason"] == "older-token"
    assert target.ask("read")["last"] == {"epoch": 3, "index": 0}


def test_a_lost_state_does_not_reopen_the_past(target: Target) -> None:
    """With fence.state deleted, enrolling needs a token above all in accepted.jsonl."""
    target.ask("apply", "5.5", BACKUP)
    (target.directory / "fence.state").unlink()
    assert target.ask("apply", "5.6", NOMINAL)["reason"] == "not-enrolled"
    assert target.ask("enrol", "5.5")["last"] == {"epoch": 5, "index": 5}
    assert target.ask("enrol", "5.6")["enrolled"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: b"",
        lambda text: b"not json",
        lambda text: text[:-3],
        lambda text: text.replace(b'"epoch": 7', b'"epoch": 1'),
        lambda text: b'{"state": {}, "sha256": ""}',
    ],
    ids=["empty", "no-json", "torn", "older-token", "no-content"],
)
def test_a_corrupt_state_is_refused_and_kept(target: Target, damage: object) -> None:
    """A state that is not what was written is never overwritten: it is set aside by enrol."""
    target.ask("apply", "7.1", BACKUP)
    path = target.directory / "fence.state"
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    corrupt = path.read_bytes()
    for verb, change in (("seal", None), ("apply", NOMINAL), ("enrol", None)):
        answer = target.ask(verb, "7.1", change)
        assert answer["reason"] == "corrupt-state" and "enrol" in answer["remedy"]
    assert target.ask("read")["reason"] == "corrupt-state"
    assert path.read_bytes() == corrupt and target.live() == BACKUP
    assert target.ask("enrol", "7.2")["enrolled"]
    kept = list(target.directory.glob("fence.state.corrupt-*"))
    assert [file.read_bytes() for file in kept] == [corrupt]


def test_with_kamailio_down_the_durable_list_is_written_and_nothing_called_done(
    target: Target,
) -> None:
    """A router that is down comes back with the change; until read it is unknown, never done."""
    (target.home / "down").touch()
    answer = target.ask("apply", "1.1", BACKUP)
    assert answer["outcome"] == "unknown" and answer["values"] is None
    assert answer["durable"] == target.durable() == BACKUP
    assert answer["detail"] == "the running Kamailio cannot be read"
    assert target.live() == NOMINAL


def test_a_set_that_is_refused_is_not_done(target: Target) -> None:
    """A Kamailio that answers and does not change, with the list written, is unknown."""
    (target.home / "refuse").touch()
    answer = target.ask("apply", "1.1", BACKUP)
    assert answer["outcome"] == "unknown"
    assert "No such htable; the running Kamailio does not show it" in answer["detail"]
    assert (answer["values"], answer["durable"]) == (NOMINAL, BACKUP)


def test_a_durable_list_that_cannot_be_written_leaves_kamailio_alone(target: Target) -> None:
    """Without the durable list a restart would undo the change: nothing moves, it failed."""
    (target.home / ".samu_mode.new").mkdir()  # in the way of the replacement
    answer = target.ask("apply", "1.1", BACKUP)
    assert answer["outcome"] == "failed" and "durable list not written" in answer["detail"]
    assert target.live() == target.durable() == NOMINAL


def test_a_request_to_change_what_holds_already_is_done_without_change(target: Target) -> None:
    """Changes are declarative: wanting what is gives done, and says nothing changed."""
    answer = target.ask("apply", "1.1", NOMINAL)
    assert answer["outcome"] == "done" and answer["changed"] is False


def test_one_change_carries_several_samus(target: Target) -> None:
    """Several SAMUs move in one step; one the list has not held is added."""
    change = {"300": "backup", "76B": "backup", "680": "nominal"}
    assert target.ask("apply", "1.1", change)["outcome"] == "done"
    assert target.live() == target.durable() == change


def test_rows_of_the_durable_list_that_are_not_ours_stay(target: Target) -> None:
    """Unknown rows, escapes and other columns' order survive; ours loses its expiry."""
    target.table.write_text(
        "key_name(string) id(int,auto) key_type(int) value_type(int) expires(int) "
        "key_value(string) note(string)\n"
        "other:7:0:0:0:a\\:b\\\\c\\td:kept\n300:2:0:1:99:3:\nlist:3:1:0:0:x:\n"
    )
    target.ask("apply", "1.1", {"300": "backup", "680": "backup"})
    assert target.table.read_text().splitlines()[1:] == [
        "other:7:0:0:0:a\\:b\\\\c\\td:kept",
        "300:2:0:0:0:backup:",
        "list:3:1:0:0:x:",
        "680:8:0:0:0:backup:",
    ]
    assert target.durable()["other"] == "a:b\\c\td"


@pytest.mark.parametrize("text", ["", "nonsense\n", HEADER + "1:300:0\n"])
def test_a_durable_list_that_cannot_be_read_is_not_written(target: Target, text: str) -> None:
    """What is not an htable's db_text table is left as it is, and the outcome is not done."""
    target.table.write_text(text)
    answer = target.ask("apply", "1.1", BACKUP)
    assert answer["outcome"] == "unknown" and answer["durable"] is None
    assert target.table.read_text() == text and target.live() == NOMINAL


def test_the_durable_list_keeps_its_mode(target: Target) -> None:
    """Kamailio may run as another user: the replaced file is readable to whom it was."""
    target.table.chmod(0o640)
    target.ask("apply", "1.1", BACKUP)
    assert target.table.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    ("token", "change"),
    [
        ("1.1", {"3000": "backup"}),
        ("1.1", {"A00": "backup"}),
        ("1.1", {"300": "degraded"}),
        ("1.1", {"300": 1}),
        ("1.1", {}),
        ("1.1", None),
        ("1.1", ["300"]),
        ("", BACKUP),
    ],
)
def test_a_request_out_of_bounds_changes_nothing(
    target: Target, token: str, change: dict[str, str] | None
) -> None:
    """Only configured values, three-character SAMUs and whole tokens are taken."""
    before = (target.directory / "fence.state").read_bytes()
    with pytest.raises(fence.UsageError):
        target.ask("apply", token, change)
    assert (target.directory / "fence.state").read_bytes() == before
    assert target.live() == target.durable() == NOMINAL


@pytest.mark.parametrize(
    "token",
    [None, 7, {}, {"epoch": 1}, {"epoch": True, "index": 1}, {"epoch": 1, "index": -1},
     {"epoch": "1", "index": 1}, {"epoch": 1.5, "index": 1}, {"epoch": 2**53, "index": 0},
     {"epoch": 1, "index": 1, "more": 1}],
)  # fmt: skip
def test_a_loose_token_is_an_error(token: object) -> None:
    """A token is two integers from 0 on and nothing else."""
    with pytest.raises(fence.UsageError):
        fence.parse_token(token)


@pytest.mark.parametrize(
    "configuration",
    [
        None,
        [],
        {},
        {"table": "a b", "values": ["x"], "durable": "/d", "kamcmd": ["k"]},
        {"table": "t", "values": "x", "durable": "/d", "kamcmd": ["k"]},
        {"table": "t", "values": ["a:b"], "durable": "/d", "kamcmd": ["k"]},
        {"table": "t", "values": ["x"], "durable": "d", "kamcmd": ["k"]},
        {"table": "t", "values": ["x"], "durable": "/d", "kamcmd": "k"},
    ],
)
def test_a_wrong_configuration_is_an_error(target: Target, configuration: object) -> None:
    """What guards calls does not guess: fence.json is whole and plain, or nothing runs."""
    (target.directory / "fence.json").write_text(json.dumps(configuration))
    with pytest.raises(fence.UsageError, match=r"fence\.json"):
        target.ask("apply", "1.1", BACKUP)


def test_a_gateways_directory_is_told_with_its_age(target: Target) -> None:
    """Milliseconds since 1970 of its last synchronisation; nothing when it is missing."""
    path = target.directory / "fence.json"
    assert target.ask("read")["directory_at"] is None
    directory = target.home / "directory.csv"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"directory": str(directory)}))
    assert target.ask("read")["directory_at"] is None
    directory.touch()
    os.utime(directory, ns=(0, 1_700_000_000_123_456_789))
    told = [target.ask("read"), target.ask("seal", "1.1")]
    assert [answer["directory_at"] for answer in told] == [1_700_000_000_123] * 2
    path.write_text(json.dumps(json.loads(path.read_text()) | {"directory": 7}))
    assert target.ask("read")["directory_at"] is None
    assert target.ask("apply", "1.2", BACKUP)["outcome"] == "done"


def test_every_acceptance_and_outcome_is_on_record(target: Target) -> None:
    """accepted.jsonl tells what was accepted before its effect, and what came of it."""
    target.ask("apply", "1.1", BACKUP)
    target.ask("seal", "2.0")
    target.ask("apply", "1.2", NOMINAL)
    said = [(line["what"], line["token"]["epoch"]) for line in target.accepted()]
    assert said == [("enrol", 1), ("apply", 1), ("outcome", 1), ("seal", 2)]
    assert target.accepted()[1]["record"]["finished"] is False
    assert target.accepted()[2]["record"]["outcome"] == "done"


def test_what_is_accepted_says_when_by_a_clock_nobody_sets(target: Target) -> None:
    """Every line has CLOCK_BOOTTIME, in order, of before the acceptance: who compares it with
    the sites' records needs no wall clock.
    """
    before_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    target.ask("apply", "1.1", BACKUP)
    instants = [line["boot_ns"] for line in target.accepted()[1:]]
    after_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    assert [before_ns, *instants, after_ns] == sorted([before_ns, *instants, after_ns])


def test_every_refusal_is_on_record_and_counts_for_nothing(target: Target) -> None:
    """refused.jsonl tells verb, token shown, why and when; what was refused is no token known."""
    target.ask("apply", "1.3", BACKUP)
    target.ask("apply", "1.2", NOMINAL)
    target.ask("apply", "1.3", NOMINAL)
    (target.directory / "fence.state").unlink()
    target.ask("seal", "9.9")
    target.ask("enrol", "1.1")
    said = [(one["what"], one["shown"], one["reason"]) for one in target.lines("refused.jsonl")]
    assert said == [
        ("apply", {"epoch": 1, "index": 2}, "older-token"),
        ("apply", {"epoch": 1, "index": 3}, "other-content"),
        ("seal", {"epoch": 9, "index": 9}, "not-enrolled"),
        ("enrol", {"epoch": 1, "index": 1}, "older-token"),
    ]
    assert all(one["boot_ns"] > 0 for one in target.lines("refused.jsonl"))
    assert fence.highest_recorded(target.directory) == fence.Token(1, 3)


def test_a_refusal_that_cannot_be_noted_is_still_one(target: Target) -> None:
    """With no room for the note the answer is the refusal, as ever."""
    (target.directory / "refused.jsonl").mkdir()
    assert target.ask("apply", "0.9", BACKUP)["reason"] == "older-token"


def test_the_records_are_bounded_and_forget_no_token(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full record is put aside, once; the highest token goes on into the new one."""
    monkeypatch.setattr(fence, "ROTATE_BYTES", 2000)
    for number in range(1, 60):
        target.ask("seal", f"1.{number}")
        target.ask("seal", "0.1")
    kept = [path for path in target.directory.iterdir() if ".jsonl" in path.name]
    assert len(kept) == 4 and all(path.stat().st_size < 2500 for path in kept)
    (target.directory / "accepted.jsonl.1").unlink()
    assert target.lines("accepted.jsonl")[0]["what"] == "carried"
    assert fence.highest_recorded(target.directory) == fence.Token(1, 59)


def test_a_torn_record_line_does_not_swallow_the_next(target: Target) -> None:
    """A line cut short by a power loss is ended before the next is written."""
    path = target.directory / "accepted.jsonl"
    with path.open("a") as file:
        file.write('{"at": "20')
    target.ask("seal", "2.0")
    assert json.loads(path.read_text().splitlines()[-1])["what"] == "seal"


def run_helper(target: Target, *arguments: str, text: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(HELPER), "--dir", str(target.directory), *arguments]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False)


def test_the_command_prints_one_answer_and_exits_0(target: Target) -> None:
    """A refusal is an answer: exit 0 with one line of JSON."""
    run = run_helper(target, "seal", text='{"token": {"epoch": 0, "index": 0}}')
    assert run.returncode == 0 and json.loads(run.stdout)["reason"] == "older-token"


@pytest.mark.parametrize("text", ["{", "[]", '{"token": 1}', '"x"'])
def test_the_command_says_what_is_wrong_and_exits_2(target: Target, text: str) -> None:
    """Bad input is one JSON object with `error`, without a traceback."""
    run = run_helper(target, "seal", text=text)
    assert run.returncode == 2 and set(json.loads(run.stdout)) == {"error"}
    assert run.stderr == ""


def test_a_disk_that_does_not_write_is_unknown(target: Target) -> None:
    """An I/O error after the request was read is told as such, and never as done."""
    (target.directory / ".fence.state.new").mkdir()
    text = json.dumps({"token": {"epoch": 1, "index": 1}, "change": BACKUP})
    run = run_helper(target, "apply", text=text)
    assert run.returncode == 2 and json.loads(run.stdout)["outcome"] == "unknown"
    assert target.live() == target.durable() == NOMINAL


def test_two_requests_at_once_are_judged_one_after_the_other(target: Target) -> None:
    """Of two processes at once the newer token always has the last word."""
    for round_ in range(5):
        older = target.spawn("apply", f"1.{2 * round_ + 1}", BACKUP)
        newer = target.spawn("apply", f"1.{2 * round_ + 2}", NOMINAL)
        answers = [json.loads(process.communicate()[0]) for process in (older, newer)]
        assert answers[1]["outcome"] == "done"
        assert answers[0].get("reason") == "older-token" or answers[0]["outcome"] == "done"
        assert target.live() == target.durable() == NOMINAL


def is_locked(target: Target) -> bool:
    with (target.directory / "lock").open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def test_the_pretended_kamcmd_answers_in_process_as_its_shell_does(target: Target) -> None:
    """What the crashes at every line are tried on is what all other tests are tried on."""
    command = ["timeout", "-s", "KILL", "3", str(target.home / "kamcmd"), str(target.home)]
    sets = ["htable.sets", "t", "s:680", "s:backup"]
    told = []
    for ask in (answer_at_once, partial(subprocess.run, capture_output=True, text=True)):
        (target.home / "live").write_text("300 nominal\n")
        dumps = [ask([*command, *words]).stdout for words in (["htable.dump", "t"], sets) * 2]
        told.append((dumps, target.live()))
    assert told[0] == told[1]
    assert told[0][1] == {"300": "nominal", "680": "backup"}


def test_an_orphaned_kamcmd_keeps_the_lock_until_it_has_ended(target: Target) -> None:
    """The helper killed under a kamcmd: what the orphan still writes comes before a newer token."""
    os.mkfifo(target.home / "waiting")
    os.mkfifo(target.home / "gate")
    stale = target.spawn("apply", "1.1", BACKUP)
    (target.home / "waiting").read_text()  # returns when kamcmd has reached the gate
    stale.kill()
    stale.wait()
    assert is_locked(target)
    newer = target.spawn("apply", "2.1", NOMINAL)
    gate = (target.home / "gate").open("w")
    (target.home / "gate").unlink()  # the newer one meets no gate
    gate.write("go\n")
    gate.close()
    assert json.loads(newer.communicate()[0])["outcome"] == "done"
    assert target.live() == target.durable() == NOMINAL


def test_a_kamailio_that_hangs_is_given_up(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kamcmd without an answer is ended; nothing is sent to a Kamailio that does not answer."""
    monkeypatch.setattr(fence, "KAMCMD_TIMEOUT_S", 0.2)
    (target.home / "kamcmd").write_text(f'#!/bin/sh\necho "$2" >>{target.home}/sent\nsleep 60\n')
    answer = target.ask("apply", "1.1", BACKUP)
    assert answer["outcome"] == "unknown" and answer["durable"] == BACKUP
    assert set((target.home / "sent").read_text().split()) == {"htable.dump"}
