"""How far an operation is: exact at every entry, in a picture that fits, and as JSON lines."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from rich.console import Console

from sisamu_ops.cli.progress import picture, telling
from sisamu_ops.failover.telling.progress import Progress
from tests.support.told import ID, START, numbered

WAVES = [["120"], ["300", "680"]]
TARGETS = {f"samu-{s}": {s: "armed"} for wave in WAVES for s in wave}
ACCEPTED: tuple[str, dict[str, Any]] = (
    "request.accepted",
    {"verb": "switchover", "samus": ["120", "300", "680"], "waves": WAVES, "soak_ms": 9000},
)


def started(wave: int) -> tuple[str, dict[str, Any]]:
    return "step.started", {
        "wave": wave, "targets": {h: c for h, c in TARGETS.items() if set(c) & set(WAVES[wave])}
    }  # fmt: skip


def ended(wave: int, **words: str) -> tuple[str, dict[str, Any]]:
    said = {
        name[1:]: {"outcome": word, "to": "backup", "moved": True, "detail": ""}
        for name, word in words.items()
    }
    return "wave.ended", {"wave": wave, "samus": said}


def after(*entries: tuple[str, dict[str, Any]]) -> Progress:
    progress = Progress(operation_id=ID)
    for entry in numbered(entries):
        progress.apply(entry)
    return progress


def shown(progress: Progress, second: float = 99) -> list[str]:
    console = Console(width=80, color_system=None)
    with console.capture() as capture:
        console.print(picture(progress, START + timedelta(seconds=second)))
    return capture.get().splitlines()


def test_every_samu_is_counted_in_the_state_it_is_in() -> None:
    """Waiting, moving, done: at each entry the whole adds up."""
    assert after(ACCEPTED).counts() == {"waiting": 3}
    assert after(ACCEPTED, started(0)).counts() == {"moving": 1, "waiting": 2}
    assert after(ACCEPTED, started(0), ended(0, s120="done")).counts() == {"done": 1, "waiting": 2}
    over = ("operation.ended", {"outcome": "failed", "not_begun": ["300", "680"]})
    held = after(ACCEPTED, started(0), ended(0, s120="failed"), over)
    assert held.counts() == {"failed": 1, "not begun": 2}


def test_what_is_left_follows_from_what_it_took() -> None:
    """Nothing is promised before the first wave has ended."""
    assert after(ACCEPTED, started(0)).remaining(START) is None
    progress = after(ACCEPTED, started(0), ended(0, s120="done"))
    # One SAMU took a second; two remain, and one soak of nine.
    assert progress.remaining(START + timedelta(seconds=2)) == timedelta(seconds=11)


def test_other_operations_change_nothing() -> None:
    """Entries of others pass by."""
    progress = after(ACCEPTED)
    assert not progress.apply(numbered([("operation.ended", {"operation": "other"})])[0])
    assert progress.ended == ""


def test_the_picture_says_what_happens_and_what_one_can_do() -> None:
    """The whole, each SAMU, the time left, and commands as they are typed; 80 columns."""
    lines = shown(after(ACCEPTED, started(0), ended(0, s120="done")), 2)
    assert lines[0] == "switchover to backup: 1 done, 2 waiting"
    assert lines[1] == "soaking after wave 1 of 2; about 11 s left"
    assert any(line.startswith("  120  wave  1  done") for line in lines)
    assert f"     sisamu operation pause {ID} --reason TEXT" in lines
    assert max(map(len, lines)) <= 80


def test_held_the_picture_says_why_and_how_to_go_on() -> None:
    """The failed SAMU stands first."""
    held = ("operation.held", {"cause": "SAMU 120 ended failed"})
    lines = shown(after(ACCEPTED, started(0), ended(0, s120="failed"), held))
    assert lines[1] == "held: SAMU 120 ended failed"
    assert lines[2].split()[:4] == ["120", "wave", "1", "failed"]
    assert lines[-1] == f"now: sisamu operation resume {ID} --reason TEXT"


def test_a_target_of_one_samu_tells_that_samus_line() -> None:
    """Whatever it is called; a router that carries two tells neither."""
    targets = {"gate-a": {"300": "armed"}, "otn-paris": {"300": "backup", "680": "backup"}}
    begun = ("step.started", {"wave": 1, "targets": targets})
    for target in targets:
        outcome = ("step.outcome", {"target": target, "outcome": "done"})
        progress = after(ACCEPTED, begun, outcome)
        told = {s: line.detail for s, line in progress.lines.items()}
        assert told["300"] == ("gate-a done" if target == "gate-a" else "")
        assert told["680"] == ""


def test_a_hundred_samus_fit_on_a_screen() -> None:
    """Those in trouble have a line each; the others are counted."""
    samus = [f"{number:03d}" for number in range(102)]
    accepted = ("request.accepted", {"samus": samus, "waves": [samus]})
    changes = {f"samu-{s}": {s: "armed"} for s in samus}
    told = {"outcome": "done", "to": "backup", "moved": True, "detail": ""}
    failed = told | {"outcome": "failed", "detail": "unreachable"}
    ends = {s: failed if s == "101" else told for s in samus}
    lines = shown(
        after(accepted, ("step.started", {"targets": changes}), ("wave.ended", {"samus": ends}))
    )
    assert lines[2].split()[0] == "101"
    assert len(lines) < 24
    assert "  and 90 more" in lines


def test_json_lines_are_one_object_an_entry(capsys: pytest.CaptureFixture[str]) -> None:
    """Of this operation only, and without the signed document."""
    with telling(ID, "jsonl") as tell:
        for entry in numbered([ACCEPTED, ("leadership.taken", {}), started(0)]):
            tell(entry)
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["event"] for one in events] == ["request.accepted", "step.started"]
    assert "request" not in events[0]["data"]


def test_sentences_tell_of_each_target_only_while_there_are_few(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A hundred SAMUs have hundreds of targets: what is piped tells their waves."""
    many = [f"{number:03d}" for number in range(9)]
    outcome = ("step.outcome", {"target": "samu-001"})
    for samus, told in ((["300"], 2), (many, 1)):
        with telling(ID, "table") as tell:
            for entry in numbered([("request.accepted", {"samus": samus}), outcome]):
                tell(entry)
        assert len([ln for ln in capsys.readouterr().err.splitlines() if ln[:2] == "03"]) == told
