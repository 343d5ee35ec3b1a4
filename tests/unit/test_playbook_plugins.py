"""What the playbooks' plugins make of a fence's answer, of calls' traces, and of phone numbers."""

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
paths = load("filter_plugins/sisamu_paths.py")


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


def invite(call: int = 1) -> tuple[str, str]:
    return "00.000000", f"INVITE sip:t@h SIP/2.0\r\nCall-ID: {call}-7@h\r\nCSeq: 1 INVITE\r\n"


def answer(status: int, by: str = "", call: int = 1, at: str = "00.040000") -> tuple[str, str]:
    header = f"x-answered-by: {by}\r\n" if by else ""
    named = f"Call-ID: {call}-7@h\r\nCSeq: 1 INVITE\r\n"
    return at, f"SIP/2.0 {status} Word\r\n{named}{header}\r\n"


INVITE = invite()
TRYING = answer(100, at="00.001000")
BYE_REFUSED = ("00.300000", "SIP/2.0 481 Gone\r\nCall-ID: 1-7@h\r\nCSeq: 2 BYE\r\n")


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
    (call,) = calls.judge_calls(trace(*messages), ["backup;samu=300"])
    assert (call["verdict"], call["status"]) == (verdict, status)
    assert call["pdd_ms"] == (40 if status else 0)


def test_calls_of_one_trace_are_told_apart() -> None:
    """However their messages are mixed, each is judged by its own answer and expectation."""
    mixed = [
        invite(1), invite(2), invite(3), invite(12),
        answer(200, "degraded;samu=680", call=2), answer(503, call=12),
        answer(200, "degraded;samu=680", call=1),
    ]  # fmt: skip
    wanted = [f"degraded;samu={samu}" for samu in ("300", "680", "120", *["300"] * 9)]
    judged = calls.judge_calls(trace(*mixed), wanted)
    assert [call["verdict"] for call in judged] == [
        "elsewhere", "expected", "silent", *["silent"] * 8, "refused",
    ]  # fmt: skip


def test_a_failure_names_the_first_few_bad_calls() -> None:
    """Of many, five; each with its SAMU and what was wanted; the good ones are not named."""
    good = {"samu": "120", "verdict": "expected", "expected": "nominal;"}
    bad = [{"samu": f"{n}00", "verdict": "silent", "expected": "nominal;"} for n in range(1, 8)]
    result = calls.conclude([good, *bad], {"timeout_ms": 1500})
    assert result["failed"] and result["calls"] == [good, *bad]
    assert re.search(r"SAMU 100 not answered within 1500 ms; .*500.*; and 2 more", result["msg"])
    assert "120" not in result["msg"]
    assert "failed" not in calls.conclude([good], {"timeout_ms": 1500})


def test_what_has_no_number_is_not_called() -> None:
    """It has no verdict of a call, and nobody else's call is held up by it."""
    call = {"samu": "300", "number": "", "expected": "backup;samu=300", "address": "h"}
    (told,) = calls.place_calls([call], {})
    assert told["verdict"] == "not called" and "samu_test_number" in told["detail"]
    assert "answered" not in told and "number" not in told


# --- which path a rescue takes ---------------------------------------------------------------

FOUND = {
    "samus": {
        samu: {"host": f"samu-{samu}", "address": f"192.0.2.{n}", "number": f"0465719{samu}"}
        for n, samu in enumerate(("300", "680", "120"), start=11)
    },
    "servers": {
        "nominal": {"npl-paris": "192.0.2.1", "npl-lyon": "192.0.2.2"},
        "degraded": {"ccs-paris": "192.0.2.3", "ccs-lyon": "192.0.2.4"},
    },
    "sites": {f"{what}-{site}": site for what in ("npl", "ccs") for site in ("paris", "lyon")},
}


def heard(**verdicts: str) -> list[dict[str, Any]]:
    """Return results of calls for SAMU 300, by path: gateway="silent", call_server="a,b"."""
    return [
        {"samu": "300", "via": via.replace("_", "-"), "verdict": verdict}
        for via, told in verdicts.items()
        for verdict in told.split(",")
    ]


BACKUP_FIRST = ["backup", "degraded"]
CENTRAL_FIRST = ["nominal", "degraded", "backup"]


@pytest.mark.parametrize(
    ("order", "told", "to"),
    [
        (BACKUP_FIRST, heard(gateway="expected"), "backup"),
        (BACKUP_FIRST, heard(gateway="refused", call_server="silent,expected"), "degraded"),
        (BACKUP_FIRST, heard(gateway="elsewhere", call_server="expected"), "degraded"),
        (BACKUP_FIRST, heard(gateway="silent", call_server="silent,silent"), "degraded"),
        (BACKUP_FIRST, heard(gateway="silent", call_server="refused,refused"), "backup"),
        (BACKUP_FIRST, heard(gateway="silent", call_server="refused,silent"), "degraded"),
        (BACKUP_FIRST, heard(gateway="refused", call_server="refused,refused"), ""),
        (BACKUP_FIRST, heard(gateway="refused", call_server="not called"), "degraded"),
        (BACKUP_FIRST, [], "degraded"),
        (["backup"], heard(gateway="refused"), ""),
        (["backup"], heard(gateway="silent"), "backup"),
        (CENTRAL_FIRST, heard(platform="refused,expected"), "nominal"),
        (CENTRAL_FIRST, heard(platform="refused", call_server="expected"), "degraded"),
        (CENTRAL_FIRST, heard(platform="silent", call_server="silent", gateway="refused"),
         "degraded"),
    ],
)  # fmt: skip
def test_a_rescue_takes_what_is_proved_else_the_last_that_does_not_refuse(
    order: list[str], told: list[dict[str, Any]], to: str
) -> None:
    """A path is known to refuse when all who serve it answered so; silence is not a refusal."""
    (choice,) = paths.choose(["300"], order, told, FOUND, False)
    assert (choice["samu"], choice["host"], choice["to"]) == ("300", "samu-300", to)
    proved = f"{to} is proved by a test call" if "expected" in str(told) else ""
    assert choice["why"].endswith(
        proved or (to and f"{to} is taken unproved") or "left where it is"
    )
    assert paths.moves([choice]) == ({"300": to} if to else {})


def test_a_choice_says_what_was_wrong_with_the_paths_before_it() -> None:
    """The reason is for people: each path passed over, and how it was heard."""
    told = heard(gateway="refused", call_server="silent,refused")
    (choice,) = paths.choose(["300"], BACKUP_FIRST, told, FOUND, False)
    assert choice["why"] == (
        "backup refuses calls; degraded is silent and refuses calls; degraded is taken unproved"
    )


def test_one_samus_calls_say_nothing_of_another() -> None:
    """But for the platform's, which serves all alike."""
    told = heard(gateway="expected", platform="expected")
    chosen = paths.choose(["300", "680"], ["backup", "nominal"], told, FOUND, False)
    assert [choice["to"] for choice in chosen] == ["backup", "nominal"]
    assert paths.undecided(["300", "680"], ["backup"], told) == ["680"]
    assert paths.undecided(["300", "680"], [], told) == ["300", "680"]


def test_planned_work_needs_every_path_proved() -> None:
    """One answer of a central server is enough; each SAMU that has none is named."""
    going = {"300": "degraded", "680": "degraded", "120": "nominal"}
    told = heard(call_server="silent,expected", platform="refused")
    assert paths.unproved(going, told) == [
        "SAMU 680: degraded was not called", "SAMU 120: nominal refuses calls",
    ]  # fmt: skip


def test_each_path_is_called_where_it_is_served() -> None:
    """The platform once an instance, call servers for every SAMU, each gateway for its own."""
    going = {"300": "backup", "680": "degraded", "120": "nominal"}
    told = [(c["host"], c["samu"], c["expected"]) for c in paths.path_calls(going, FOUND)]
    assert told == [
        ("npl-paris", "120", "nominal;"), ("npl-lyon", "120", "nominal;"),
        ("ccs-paris", "680", "degraded;samu=680"), ("ccs-lyon", "680", "degraded;samu=680"),
        ("samu-300", "300", "backup;samu=300"),
    ]  # fmt: skip
    assert len(paths.path_calls(dict.fromkeys(going, "nominal"), FOUND)) == 2
    assert len(paths.trial_calls(list(going), ["nominal", "degraded"], FOUND)) == 2 + 6


def test_a_site_proves_its_own_servers_in_every_mode_in_use() -> None:
    """The other site's are not called, local lines belong to none, and each signs for its site."""
    going = {"300": "backup", "680": "degraded", "120": "nominal"}
    told = [(c["host"], c["expected"]) for c in paths.site_calls(going, FOUND, "lyon")]
    assert told == [
        ("npl-lyon", "nominal;instance=lyon"),
        ("ccs-lyon", "degraded;samu=680;site=lyon"),
    ]
    assert paths.site_calls({"300": "backup"}, FOUND, "lyon") == []
    assert paths.unserved(going, FOUND, "lyon") == []
    assert paths.unserved(going, FOUND, "brest") == ["nominal", "degraded"]
    without = {**FOUND, "servers": {**FOUND["servers"], "degraded": {"ccs-paris": "192.0.2.3"}}}
    assert paths.unserved(going, without, "lyon") == ["degraded"]
    assert paths.unserved({"300": "backup"}, without, "lyon") == []


def test_through_a_router_the_site_it_asks_must_answer() -> None:
    """Where a site is meant the answer must be signed by it; a SAMU without one may be anywhere."""
    going = {"300": "nominal", "680": "degraded", "120": "backup"}
    called = paths.router_calls(going, FOUND, {"300": "lyon", "680": "lyon", "120": "lyon"})
    assert [call["expected"] for call in called] == [
        "nominal;instance=lyon", "degraded;samu=680;site=lyon", "backup;samu=120",
    ]  # fmt: skip
    assert paths.router_calls(going, FOUND, {})[0]["expected"] == "nominal;"


def test_through_a_router_only_what_has_a_number_is_called() -> None:
    """A rescue moves a SAMU without a test number, and calls nobody else's."""
    numberless = {**FOUND["samus"], "680": {**FOUND["samus"]["680"], "number": ""}}
    found = {**FOUND, "samus": numberless}
    called = paths.router_calls({"300": "degraded", "680": "nominal"}, found)
    assert called == [{"samu": "300", "number": "0465719300", "expected": "degraded;samu=300"}]
    assert paths.path_calls(dict.fromkeys(["680", "300"], "nominal"), found)[0]["samu"] == "300"


def test_a_play_on_no_gateway_runs_on_nobody() -> None:
    """To Ansible an empty pattern means everybody."""
    assert paths.gateways(["680", "300"], FOUND) == ["samu-680", "samu-300"]
    assert paths.gateways([], FOUND) == paths.gateways(["300"], {}) == ["all", "!all"]
    going = {"300": "backup", "680": "degraded", "120": "nominal"}
    assert (list(paths.local(going)), list(paths.central(going))) == (["300"], ["680", "120"])


# --- what is told ----------------------------------------------------------------------------


def told_of(monkeypatch: pytest.MonkeyPatch, action: str, result: dict[str, Any]) -> list[Any]:
    """Return the events of a task that ended well on host `localhost`."""
    reader, writer = os.pipe()
    monkeypatch.setenv("SISAMU_EVENTS_FD", str(writer))
    task = SimpleNamespace(action=action, get_name=lambda: "Task")
    host = SimpleNamespace(get_name=lambda: "localhost")
    events.CallbackModule().v2_runner_on_ok(SimpleNamespace(host=host, task=task, result=result))
    os.close(writer)
    with os.fdopen(reader) as lines:
        return [json.loads(line) for line in lines]


def test_each_call_placed_is_an_event_of_what_was_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its SAMU, under the host called; what was not placed is no call."""
    judged = calls.judge_call([], "backup;samu=300")
    placed = {"samu": "300", "via": "gateway", "host": "samu-300", "expected": "x", **judged}
    through = {**placed, "via": "router", "host": ""}
    left = {"samu": "680", "via": "gateway", "host": "samu-680", **calls.uncalled("no number")}
    told = told_of(monkeypatch, "sisamu_test_call", {"calls": [placed, through, left]})
    assert [(e["event"], e["host"], e["via"], e["samu"]) for e in told] == [
        ("call", "samu-300", "gateway", "300"), ("call", "localhost", "router", "300"),
    ]  # fmt: skip
    assert told[0]["result"] == judged


def test_each_choice_is_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the SAMU goes and why; in check mode that it cannot be said."""
    facts = {"sisamu_choices": paths.choose(["300"], BACKUP_FIRST, [], FOUND, False)}
    assert told_of(monkeypatch, "ansible.builtin.set_fact", {"ansible_facts": facts}) == [
        {"event": "choice", "host": "samu-300", "samu": "300", "to": "degraded",
         "why": facts["sisamu_choices"][0]["why"]},
    ]  # fmt: skip
    facts = {"sisamu_choices": paths.choose(["300"], BACKUP_FIRST, [], FOUND, True)}
    (told,) = told_of(monkeypatch, "ansible.builtin.set_fact", {"ansible_facts": facts})
    assert (told["event"], told["host"]) == ("not-evaluated", "samu-300")
    assert told["what"].startswith("SAMU 300: ")
    assert facts["sisamu_choices"][0]["to"] == "backup"
    assert told_of(monkeypatch, "set_fact", {"ansible_facts": {"other": 1}}) == []


def test_check_mode_previews_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """Running value and durable one, before and after; never an answer of the fence."""
    reading = {"last": {"epoch": 1, "index": 1}, "values": {"300": "nominal"}, "durable": {}}
    args = {"verb": "apply", "token": "1.2"}
    request = {"token": fence.parse_token("1.2"), "change": {"300": "backup"}}
    result = fence.preview(args, request, reading)
    assert told_of(monkeypatch, "sisamu_fence", result) == [
        {"event": "preview", "host": "localhost", "before": {"300": ["nominal", None]},
         "after": {"300": ["backup", "backup"]}, "problem": ""},
    ]  # fmt: skip
    older = fence.preview(args, {**request, "token": fence.parse_token("1.0")}, reading)
    assert older["failed"] and "older-token" in older["preview"]["problem"]


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
