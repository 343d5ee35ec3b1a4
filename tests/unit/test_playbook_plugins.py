"""What the playbooks' plugins make of a fence's answer, of a call's trace, and of phone numbers."""

from __future__ import annotations

import importlib.util
import json
import os
import re
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail

from tests.support.playbooks import PLAYBOOKS


def load(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"plugin_{Path(path).stem}", PLAYBOOKS / path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


fence = load("action_plugins/sisamu_fence.py")
calls = load("action_plugins/sisamu_test_call.py")
events = load("callback_plugins/sisamu_events.py")


@pytest.mark.parametrize("text", ["", "7", "7.", ".7", "7.x", "-1.2", "1.2.3", "1,2", "٣.١"])
def test_a_token_is_epoch_dot_index(text: str) -> None:
    """Anything else is refused with the way to get one."""
    with pytest.raises(AnsibleActionFail, match="sisamu samu card"):
        fence.parse_token(text)


def test_a_whole_token_is_read_exactly() -> None:
    """A break-glass epoch is beyond 32 bits, and an index may end in 0."""
    assert fence.parse_token("4294967296.10") == {"epoch": 2**32, "index": 10}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"error": "no table"}, "could not act: no table"),
        ({"accepted": False, "reason": "older-token", "last": {"epoch": 2, "index": 3}},
         "older-token.*last accepted 2.3"),
        ({"accepted": False, "reason": "not-enrolled", "last": None}, "sisamu target enrol"),
        ({"accepted": False, "reason": "other-content", "last": None}, "other-content"),
        ({"accepted": False, "reason": "corrupt-state", "last": None, "remedy": "look"}, "look"),
        ({"accepted": True, "outcome": "unknown", "detail": "no answer"}, "unknown: no answer"),
        ({"accepted": True, "outcome": "failed", "detail": ""}, "failed: no detail"),
    ],
)  # fmt: skip
def test_all_but_done_is_a_failure(answer: dict[str, Any], said: str) -> None:
    """A refusal, `failed` and `unknown` fail the task with one readable message."""
    result = fence.conclude({"verb": "apply", "token": "1.1"}, answer)
    assert result["failed"] and result["answer"] is answer
    assert re.search(said, result["msg"])


def test_a_repeated_answer_is_no_change() -> None:
    """What an earlier request changed is not counted again."""
    answer = {"accepted": True, "outcome": "done", "changed": True, "repeated": True}
    assert fence.conclude({"verb": "apply", "token": "1.1"}, answer)["changed"] is False


def trace(*messages: tuple[str, str]) -> str:
    stamp = "-" * 47 + " 2026-01-01 00:00:"
    return "\n".join(f"{stamp}{at}\nUDP message\n\n{text}\n" for at, text in messages)


INVITE = ("00.000000", "INVITE sip:t@h SIP/2.0\r\nCSeq: 1 INVITE\r\n")
TRYING = ("00.001000", "SIP/2.0 100 Trying\r\nCSeq: 1 INVITE\r\n")
BYE_REFUSED = ("00.300000", "SIP/2.0 481 Gone\r\nCSeq: 2 BYE\r\n")


def answer(status: int, by: str = "") -> tuple[str, str]:
    header = f"x-answered-by: {by}\r\n" if by else ""
    return ("00.040000", f"SIP/2.0 {status} Word\r\nCSeq: 1 INVITE\r\n{header}\r\n")


@pytest.mark.parametrize(
    ("messages", "verdict", "status"),
    [
        ([INVITE, TRYING, answer(200, "backup;samu=300")], "expected", 200),
        ([INVITE, answer(200, "nominal;instance=paris")], "elsewhere", 200),
        ([INVITE, answer(200)], "elsewhere", 200),
        ([INVITE, TRYING, answer(503)], "refused", 503),
        ([INVITE, answer(302)], "refused", 302),
        ([INVITE, TRYING], "silent", 0),
        ([INVITE], "silent", 0),
        ([INVITE, answer(200, "backup;samu=300"), BYE_REFUSED], "expected", 200),
    ],
)
def test_a_call_is_judged_by_the_final_answer_to_its_invite(
    messages: list[tuple[str, str]], verdict: str, status: int
) -> None:
    """No answer is not a refusal, and what becomes of the BYE proves nothing."""
    call = calls.judge_call(trace(*messages), "backup;samu=300")
    assert (call["verdict"], call["status"]) == (verdict, status)
    assert call["pdd_ms"] == (40 if status else 0)


def test_phone_numbers_are_masked() -> None:
    """Nine digits in a row, a leading +, and French pairs are hidden; addresses are not."""
    text = "0465710300 +33465710300 04 65 71 03 00 from 198.18.4.101:5060"
    assert events.mask(text) == "[masked] [masked] [masked] from 198.18.4.101:5060"


def test_without_a_descriptor_the_callback_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand nobody reads events: none are written, nothing fails."""
    monkeypatch.delenv("SISAMU_EVENTS_FD", raising=False)
    events.CallbackModule().emit({"event": "end"})


def test_a_reader_that_has_gone_does_not_stop_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent that asked has died: the run goes on, and says no more."""
    reader, writer = os.pipe()
    os.close(reader)
    monkeypatch.setenv("SISAMU_EVENTS_FD", str(writer))
    callback = events.CallbackModule()
    callback.emit({"event": "end"})
    assert callback.descriptor is None
    os.close(writer)


def test_failures_of_loop_items_are_told_once_and_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The event of a failed loop holds each item's message, without the number called."""
    reader, writer = os.pipe()
    monkeypatch.setenv("SISAMU_EVENTS_FD", str(writer))
    items = [{"failed": True, "msg": "no 0465710300"}, {"failed": False, "msg": "fine"}]
    task = SimpleNamespace(action="sisamu_test_call", get_name=lambda: "Call")
    host = SimpleNamespace(get_name=lambda: "otn-paris")
    result = SimpleNamespace(host=host, task=task, result={"results": items, "msg": "one failed"})
    events.CallbackModule().v2_runner_on_failed(result)
    os.close(writer)
    with os.fdopen(reader) as lines:
        told = [json.loads(line) for line in lines]
    assert told == [
        {"event": "failed", "host": "otn-paris", "task": "Call", "message": "no [masked]"}
    ]
