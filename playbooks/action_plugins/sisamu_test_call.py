# SPDX-License-Identifier: GPL-3.0-or-later
"""Action `sisamu_test_call`: place SIP calls with SIPp from the controller, say who answered each.

An action rather than a module: the calls leave from where the playbook runs, and half a second
of starting a module is saved. One SIPp for all calls of an address, and all addresses at once:
what is silent delays nobody else.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import datetime
import pathlib
import random
import re
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from typing import Any

from ansible.plugins.action import ActionBase

Json = dict[str, Any]

CALL = {
    "samu": {"type": "str", "required": True},
    "number": {"type": "str", "default": ""},
    "expected": {"type": "str", "required": True},
    "host": {"type": "str", "default": ""},
    "address": {"type": "str", "default": ""},
    "via": {"type": "str", "default": ""},
}
SPEC = {
    "calls": {"type": "list", "elements": "dict", "required": True, "options": CALL},
    "address": {"type": "str", "default": ""},
    "port": {"type": "int", "default": 5060},
    "via": {"type": "str", "default": ""},
    "rate_per_s": {"type": "int", "default": 40},
    "timeout_ms": {"type": "int", "default": 3000},
    "scenario": {"type": "str", "required": True},
}

STAMP = re.compile(r"^-{20,} (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6})\n", re.MULTILINE)
STATUS = re.compile(r"^SIP/2\.0 (\d{3}) ", re.MULTILINE)
ANSWERED_BY = re.compile(r"^X-Answered-By:[ \t]*(.*?)\s*$", re.MULTILINE | re.IGNORECASE)
IS_INVITE = re.compile(r"^CSeq:[ \t]*1 INVITE", re.MULTILINE | re.IGNORECASE)
#: SIPp numbers its calls from 1, in the order of the numbers file; see `-cid_str` below.
CALL_ID = re.compile(r"^(?:Call-ID|i):[ \t]*(\d+)-", re.MULTILINE | re.IGNORECASE)
NUMBER = re.compile(r"\+?[0-9]{3,15}")
BACKSTOP_S = 2
#: SIPp processes at a time; a silent address holds one for as long as its calls may take.
AT_ONCE = 128
MEDIA_PORTS = range(10_000, 30_000, 8)
#: Calls a failure names, one by one.
NAMED = 5
UNCALLED = "not called"


class ActionModule(ActionBase):  # type: ignore[misc]
    """Test calls, each for a SAMU."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: Any = None) -> Json:
        """Place the calls; every verdict but `expected` is a failure."""
        super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(argument_spec=SPEC)
        calls = complete(args)
        if self._task.check_mode and calls:
            said = f"not evaluated in check mode: {describe(calls)}"
            self._display.warning(said)
            return {"changed": False, "not_evaluated": describe(calls), "calls": [], "msg": said}
        return conclude(place_calls(calls, args), args)


def complete(args: Json) -> list[Json]:
    """Return the calls, each with the address and the path it is placed through."""
    shared = {name: args[name] for name in ("address", "via")}
    return [{**call, **{k: call[k] or v for k, v in shared.items()}} for call in args["calls"]]


def describe(calls: list[Json]) -> str:
    """Say which calls are meant, by SAMU and path."""
    vias = " and ".join(dict.fromkeys(call["via"] or call["address"] for call in calls))
    samus = ", ".join(dict.fromkeys(call["samu"] for call in calls))
    return f"test calls by {vias} for SAMU {samus}"


def conclude(results: list[Json], args: Json) -> Json:
    """Turn verdicts into a result: one bad call fails the task, and the first few are named."""
    bad = [call for call in results if call["verdict"] != "expected"]
    result: Json = {"changed": False, "calls": results}
    if bad:
        more = [f"and {len(bad) - NAMED} more"] if len(bad) > NAMED else []
        said = [explain(call, args["timeout_ms"]) for call in bad[:NAMED]]
        result.update(failed=True, msg="; ".join(said + more))
    return result


def explain(call: Json, timeout_ms: int) -> str:
    """Say in one line what became of a call that did not prove its path."""
    who = f"test call for SAMU {call['samu']}"
    wanted = f"wanted an answer by {call['expected']}"
    detail = f" ({call['detail']})" if call.get("detail") else ""
    if call["verdict"] == UNCALLED:
        return f"{who} not placed{detail}"
    if call["verdict"] == "elsewhere":
        return f"{who} answered by {call['answered_by'] or 'nobody named'}; {wanted}"
    if call["verdict"] == "refused":
        return f"{who} refused with {call['status']}; {wanted}"
    return f"{who} not answered within {timeout_ms} ms{detail}; {wanted}"


# --- Placing them ----------------------------------------------------------------------------


def place_calls(calls: list[Json], args: Json) -> list[Json]:
    """Place all calls and return each with its verdict, in the order given."""
    batches: dict[str, list[int]] = {}
    for index, call in enumerate(calls):
        if NUMBER.fullmatch(call["number"]):
            batches.setdefault(call["address"], []).append(index)
    results = [{**call, **uncalled("no test number: set samu_test_number")} for call in calls]
    with concurrent.futures.ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        batched = [[calls[index] for index in indexes] for indexes in batches.values()]
        placed = pool.map(lambda batch: place_batch(batch, args), batched)
        for indexes, told in zip(batches.values(), placed, strict=True):
            for index, verdict in zip(indexes, told, strict=True):
                results[index] = {**calls[index], **verdict}
    return [{name: v for name, v in call.items() if name != "number"} for call in results]


def uncalled(why: str) -> Json:
    """Build the verdict of a call that was never placed."""
    return {"verdict": UNCALLED, "detail": why}


def place_batch(batch: list[Json], args: Json) -> list[Json]:
    """Place all calls of one address with one SIPp; return a verdict for each."""
    wanted = [call["expected"] for call in batch]
    with tempfile.TemporaryDirectory(prefix="sisamu-call-") as name:
        directory = pathlib.Path(name)
        trace, numbers = directory / "trace", directory / "numbers.csv"
        rows = [f"{call['number']};" for call in batch]
        numbers.write_text("\n".join(["SEQUENTIAL", *rows]) + "\n")
        limit_s = backstop_s(len(batch), args)
        try:
            here = local_address(batch[0]["address"], args["port"])
            with media_port(here) as port:
                command = build_command(batch, args, numbers, trace)
                command += ["-i", here, "-mp", str(port)]
                run = run_sipp(command, directory, limit_s + BACKSTOP_S)
        except FileNotFoundError:
            return [uncalled("sipp is missing: apt-get install sip-tester") for _ in batch]
        except (OSError, subprocess.TimeoutExpired) as error:  # no route is no answer
            return [{**one, "detail": str(error)} for one in judge_calls("", wanted)]
        if not trace.exists() or not trace.stat().st_size:
            said = " ".join(run.stderr.split())[-200:]
            return [uncalled(f"sipp sent nothing (exit {run.returncode}): {said}") for _ in batch]
        return judge_calls(trace.read_text(errors="replace"), wanted)


def local_address(address: str, port: int) -> str:
    """Return the address packets to the target leave from; raises OSError without a route.

    SIPp would take the machine's name for it, which in a namespace is nobody's address.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((address, port))
        name: str = probe.getsockname()[0]
        return name


def build_command(
    batch: list[Json], args: Json, numbers: pathlib.Path, trace: pathlib.Path
) -> list[str]:
    """Build the SIPp command line of exactly these calls."""
    address, port, count = batch[0]["address"], args["port"], str(len(batch))
    command = ["sipp", f"{address}:{port}", "-sf", args["scenario"], "-inf", str(numbers)]
    command += ["-cid_str", "%u-%p@%s"]
    command += ["-m", count, "-l", count, "-r", str(args["rate_per_s"])]
    command += ["-nostdin", "-watchdog_interval", "0", "-recv_timeout", str(args["timeout_ms"])]
    command += ["-timeout", f"{backstop_s(len(batch), args)}s"]
    return [*command, "-trace_msg", "-message_file", str(trace)]


@contextlib.contextmanager
def media_port(address: str) -> Iterator[int]:
    """Hold a block of ports while one SIPp runs: it opens media ports though no media flow.

    It tries no others when they are taken. The last port of a block is the mark that it is held.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mark:
        for first in random.sample(MEDIA_PORTS, len(MEDIA_PORTS)):
            with contextlib.suppress(OSError):
                mark.bind((address, first + MEDIA_PORTS.step - 1))
                break
        yield first


def backstop_s(count: int, args: Json) -> int:
    """Return the seconds after which SIPp gives up: placing the calls, two waits for answers."""
    return int(count / args["rate_per_s"] + 2 * args["timeout_ms"] / 1000) + BACKSTOP_S


def run_sipp(
    command: list[str], directory: pathlib.Path, limit_s: int
) -> subprocess.CompletedProcess[str]:
    """Run SIPp to its end, or to a little after it should have ended by itself."""
    return subprocess.run(
        command,
        cwd=directory,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=limit_s,
    )


# --- Judging them ----------------------------------------------------------------------------


def judge_calls(trace: str, wanted: list[str]) -> list[Json]:
    """Say of each call from the message trace who answered it, how, and how soon."""
    messages: dict[int, list[tuple[float, str]]] = {}
    for at, text in parse_trace(trace):
        found = CALL_ID.search(text)
        if found:
            messages.setdefault(int(found.group(1)), []).append((at, text))
    return [judge_call(messages.get(n, []), expected) for n, expected in enumerate(wanted, start=1)]


def parse_trace(trace: str) -> list[tuple[float, str]]:
    """Split SIPp's message trace into (time in seconds, message) of the INVITE transactions."""
    parts = STAMP.split(trace)[1:]
    pairs = zip(parts[::2], parts[1::2], strict=True)
    seconds = [(datetime.datetime.fromisoformat(at).timestamp(), text) for at, text in pairs]
    return [(at, text.replace("\r", "")) for at, text in seconds if IS_INVITE.search(text)]


def judge_call(messages: list[tuple[float, str]], expected: str) -> Json:
    """Judge one call by the final answer to its INVITE."""
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
