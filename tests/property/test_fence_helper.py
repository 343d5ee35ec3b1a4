"""The fence under every order of requests and a crash at every line."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.fence import HELPER, Target, answer_at_once, fence, make_target

TOKENS = st.builds("{}.{}".format, st.integers(0, 3), st.integers(0, 3))
CHANGES = st.dictionaries(
    st.sampled_from(["300", "680"]), st.sampled_from(["nominal", "backup"]), min_size=1
)
REQUESTS = st.lists(
    st.one_of(
        st.tuples(st.just("enrol"), TOKENS, st.none()),
        st.tuples(st.just("seal"), TOKENS, st.none()),
        st.tuples(st.just("apply"), TOKENS, CHANGES),
    ),
    max_size=8,
)


def order(token: str) -> tuple[int, int]:
    epoch, index = token.split(".")
    return int(epoch), int(index)


def is_accepted(answer: dict[str, Any]) -> bool:
    return bool(answer.get("accepted") or answer.get("enrolled"))


@settings(max_examples=60, deadline=None)
@given(requests=REQUESTS)
def test_accepted_tokens_never_go_down(requests: list[tuple[str, str, Any]]) -> None:
    """Whatever is sent in whatever order: no token below an accepted one is accepted after it,
    and the target holds what the accepted changes make of it, in that order.
    """
    with tempfile.TemporaryDirectory() as home:
        target = make_target(Path(home) / "target")
        highest, expected, enrolled = (-1, -1), {"300": "nominal"}, False
        for verb, token, change in requests:
            answer = target.ask(verb, token, change)
            refused_by_age = order(token) < highest
            if verb == "enrol" or enrolled:
                assert is_accepted(answer) is not refused_by_age or (
                    answer["reason"] == "other-content"
                )
            else:
                assert answer["reason"] == "not-enrolled"
            if is_accepted(answer):
                assert order(token) >= highest
                highest, enrolled = order(token), True
                expected.update(change or {})
            assert target.live() == target.durable() == expected


@settings(max_examples=200, deadline=None)
@given(
    values=st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1),
        st.text(st.characters(exclude_categories=["Cs"])),
    ),
    change=CHANGES,
)
def test_the_durable_list_loses_nothing(values: dict[str, str], change: dict[str, str]) -> None:
    """Any text survives being written as a db_text field and read back beside a change."""
    rows = [
        f"{number}:{fence.escape(key)}:0:0:{fence.escape(value)}:0\n"
        for number, (key, value) in enumerate(values.items(), 1)
    ]
    header = "id(int) key_name(string) key_type(int) value_type(int) key_value(string) expires(int)"
    table = fence.Table(header + "\n" + "".join(rows))
    for key, value in change.items():
        table.put(key, value)
    assert fence.Table(table.text()).values() == {
        **{fence.escape(key): value for key, value in values.items()},
        **change,
    }


class LineCounter:
    """A trace function that counts the helper's lines, and dies at one of them.

    A line of a loop counts the first three times: the fourth field parsed teaches nothing.
    """

    def __init__(self, crash_at: int) -> None:
        self.crash_at = crash_at
        self.lines = 0
        self.seen: Counter[int] = Counter()

    def __call__(self, frame: FrameType, event: str, argument: object) -> Any:
        if frame.f_code.co_filename != str(HELPER):
            return None
        self.seen[frame.f_lineno] += event == "line"
        if event == "line" and self.seen[frame.f_lineno] <= 3:
            if self.lines == self.crash_at:
                os._exit(77)
            self.lines += 1
        return self


def crash(target: Target, crash_at: int, verb: str, token: str, change: Any) -> bool:
    """Ask in a fork that dies before the given line; False when it ended before that line."""
    child = os.fork()
    if child == 0:
        sys.settrace(LineCounter(crash_at))
        target.ask(verb, token, change)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, 77)
    return status == 77


def take_snapshot(target: Target) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in target.home.rglob("*") if path.is_file()}


def set_back(target: Target, snapshot: dict[Path, bytes]) -> None:
    """Put a target's files back to a snapshot."""
    for path in take_snapshot(target).keys() - snapshot.keys():
        path.unlink()
    for path, content in snapshot.items():
        if not path.exists() or path.read_bytes() != content:
            path.write_bytes(content)


def shows_token(target: Target, before: dict[str, str]) -> bool:
    """Whether anything outside shows that 3.5 was accepted: the record, or an effect."""
    on_record = any(line["token"] == {"epoch": 3, "index": 5} for line in target.accepted())
    return on_record or target.live() != before or target.durable() != before


def assert_refused(target: Target, token: str) -> None:
    for verb, change in (("apply", {"300": "nominal"}), ("seal", None), ("enrol", None)):
        assert not is_accepted(target.ask(verb, token, change)), (verb, token)


BACKUP = {"300": "backup", "680": "backup"}
SCENES = {
    "apply": ("apply", BACKUP, True),
    "seal-with-a-full-record": ("seal", None, True),
    "seal": ("seal", None, True),
    "enrol": ("enrol", None, True),
    "enrol-over-corrupt-state": ("enrol", None, False),
}


@pytest.mark.parametrize("scene", SCENES)
def test_a_crash_at_any_line_never_lets_an_older_token_in(
    tmp_path: Path, scene: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The helper dies before each of its lines in turn. Whatever was accepted or took effect by
    then is still refused to anything older, and the same request sent again is carried out.
    """
    verb, change, is_sound = SCENES[scene]
    # The helper dies, and never in the midst of a kamcmd.
    monkeypatch.setattr(
        fence, "subprocess", SimpleNamespace(run=answer_at_once, DEVNULL=subprocess.DEVNULL)
    )
    if "full" in scene:
        monkeypatch.setattr(fence, "ROTATE_BYTES", 1)
    target = make_target(tmp_path / "target", enrolled="2.0")
    if not is_sound:
        (target.directory / "fence.state").write_bytes(b"{")
    snapshot, before = take_snapshot(target), target.live()
    crashes = 0
    while crash(target, crashes, verb, "3.5", change):
        assert_refused(target, "3.4" if shows_token(target, before) else "1.9")
        assert "full" not in scene or fence.highest_recorded(target.directory) >= fence.Token(2, 0)
        again = target.ask(verb, "3.5", change)
        assert is_accepted(again), (crashes, again)
        assert change is None or (again["outcome"], target.live()) == ("done", change)
        assert target.live() == target.durable()
        assert_refused(target, "3.4")
        set_back(target, snapshot)
        crashes += 1
    assert crashes > 50
