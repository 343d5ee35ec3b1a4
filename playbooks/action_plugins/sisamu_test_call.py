# SPDX-License-Identifier: GPL-3.0-or-later
"""Action `sisamu_test_call`: place one SIP call with SIPp from the controller, say who answered.

An action rather than a module: the call leaves from where the playbook runs, and half a second
of starting a module is saved for each call.
"""

from __future__ import annotations

import datetime
import pathlib
import re
import socket
import subprocess
import tempfile
from typing import Any

from ansible.plugins.action import ActionBase

Json = dict[str, Any]

SPEC = {
    "address": {"type": "str", "required": True},
    "port": {"type": "int", "default": 5060},
    "number": {"type": "str", "required": True},
    "expected": {"type": "str", "required": True},
    "timeout_ms": {"type": "int", "default": 3000},
    "scenario": {"type": "str", "required": True},
    "via": {"type": "str", "default": ""},
    "samu": {"type": "str", "default": ""},
}

STAMP = re.compile(r"^-{20,} (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6})\n", re.MULTILINE)
STATUS = re.compile(r"^SIP/2\.0 (\d{3}) ", re.MULTILINE)
ANSWERED_BY = re.compile(r"^X-Answered-By:[ \t]*(.*?)\s*$", re.MULTILINE | re.IGNORECASE)
IS_INVITE = re.compile(r"^CSeq:[ \t]*1 INVITE", re.MULTILINE | re.IGNORECASE)
NUMBER = re.compile(r"\+?[0-9]{3,15}")
BACKSTOP_S = 2


class ActionModule(ActionBase):  # type: ignore[misc]
    """One test call."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: Any = None) -> Json:
        """Place the call; every verdict but `expected` is a failure."""
        super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(argument_spec=SPEC)
        if not NUMBER.fullmatch(args["number"]):
            return not_called("no test number: set the samu_test_number of the SAMU")
        if self._task.check_mode:
            said = f"not evaluated in check mode: the test call to {self._task.args['address']}"
            self._display.warning(said)
            return {"changed": False, "msg": said}
        call = {**place_call(args), "via": args["via"], "samu": args["samu"], "changed": False}
        if call.get("verdict", "expected") != "expected":
            call.update(failed=True, msg=explain(call, args))
        return call


def not_called(why: str) -> Json:
    """Build the result of a call that was never placed: it has no verdict.

    A result rather than an exception, so that `failed_when` can let a rescue go on.
    """
    return {"failed": True, "msg": why}


def local_address(address: str, port: int) -> str:
    """Return the address packets to the target leave from; raises OSError without a route.

    SIPp would take the machine's name for it, which in a namespace is nobody's address.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((address, port))
        name: str = probe.getsockname()[0]
        return name


def build_command(args: Json, trace: pathlib.Path) -> list[str]:
    """Build the SIPp command line of exactly one call."""
    target = f"{args['address']}:{args['port']}"
    timeout_ms = args["timeout_ms"]
    command = ["sipp", target, "-sf", args["scenario"], "-s", args["number"]]
    command += ["-i", local_address(args["address"], args["port"])]
    command += ["-m", "1", "-l", "1", "-nostdin", "-recv_timeout", str(timeout_ms)]
    command += ["-timeout", f"{backstop_s(timeout_ms)}s"]
    return [*command, "-trace_msg", "-message_file", str(trace)]


def backstop_s(timeout_ms: int) -> int:
    """Return the seconds after which SIPp itself gives up: the answer's wait, then the BYE's."""
    return 2 * timeout_ms // 1000 + BACKSTOP_S


def parse_trace(trace: str) -> list[tuple[float, str]]:
    """Split SIPp's message trace into (time in seconds, message) of the INVITE transaction."""
    parts = STAMP.split(trace)[1:]
    pairs = zip(parts[::2], parts[1::2], strict=True)
    seconds = [(datetime.datetime.fromisoformat(at).timestamp(), text) for at, text in pairs]
    return [(at, text.replace("\r", "")) for at, text in seconds if IS_INVITE.search(text)]


def judge_call(trace: str, expected: str) -> Json:
    """Say from the message trace who answered the INVITE, how, and how soon."""
    messages = parse_trace(trace)
    call = {"verdict": "silent", "answered": False, "status": 0, "answered_by": "", "pdd_ms": 0}
    for at, text in messages:
        found = STATUS.search(text)
        if found and int(found.group(1)) >= 200:
            header = ANSWERED_BY.search(text)
            call["status"] = int(found.group(1))
            call["answered"] = call["status"] == 200
            call["answered_by"] = header.group(1) if header else ""
            call["pdd_ms"] = round((at - messages[0][0]) * 1000)
            call["verdict"] = name_verdict(call, expected)
            break
    return call


def name_verdict(call: Json, expected: str) -> str:
    """Name what a final answer means for the path that was to be proved."""
    if not call["answered"]:
        return "refused"
    return "expected" if call["answered_by"].startswith(expected) else "elsewhere"


def place_call(args: Json) -> Json:
    """Place the call and judge it, or say why no INVITE could be sent."""
    with tempfile.TemporaryDirectory(prefix="sisamu-call-") as directory:
        trace = pathlib.Path(directory) / "trace"
        try:
            run = run_sipp(build_command(args, trace), directory, args["timeout_ms"])
        except FileNotFoundError:
            return not_called("sipp is missing: apt-get install sip-tester")
        except (OSError, subprocess.TimeoutExpired) as error:  # no route is no answer
            return {**judge_call("", ""), "detail": str(error)}
        if not trace.exists() or not trace.stat().st_size:
            said = run.stderr.strip()[-400:]
            return not_called(f"sipp sent nothing (exit {run.returncode}): {said}")
        return judge_call(trace.read_text(errors="replace"), args["expected"])


def run_sipp(
    command: list[str], directory: str, timeout_ms: int
) -> subprocess.CompletedProcess[str]:
    """Run SIPp to its end, or to a little after it should have ended by itself."""
    return subprocess.run(
        command,
        cwd=directory,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=backstop_s(timeout_ms) + BACKSTOP_S,
    )


def explain(call: Json, args: Json) -> str:
    """Say in one line what became of a call that did not prove its path."""
    wanted = f"wanted an answer by {args['expected']}"
    if call["verdict"] == "elsewhere":
        return f"test call answered by {call['answered_by'] or 'nobody named'}; {wanted}"
    if call["verdict"] == "refused":
        return f"test call refused with {call['status']}; {wanted}"
    detail = f" ({call['detail']})" if call.get("detail") else ""
    return f"test call not answered within {args['timeout_ms']} ms{detail}; {wanted}"
