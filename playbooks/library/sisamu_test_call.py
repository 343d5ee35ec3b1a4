#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: place one test call and say who answered."""

from __future__ import annotations

import datetime
import pathlib
import re
import socket
import subprocess
import tempfile
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: sisamu_test_call
short_description: Place one SIP test call with SIPp
description:
  - Calls the test number at the address over UDP, hangs up at once, and says who answered.
  - Fails unless the call was answered 200 by C(expected).
options:
  address:
    description: Address the INVITE goes to.
    type: str
    required: true
  port:
    description: UDP port the INVITE goes to.
    type: int
    default: 5060
  number:
    description: Test number of the SAMU. Never one a caller uses; refused when empty.
    type: str
    required: true
  expected:
    description: What the header X-Answered-By of the 200 must start with.
    type: str
    required: true
  timeout_ms:
    description: How long to wait for the final answer, in milliseconds.
    type: int
    default: 3000
  scenario:
    description: Path of the SIPp scenario on the machine that calls.
    type: path
    required: true
  via:
    description: What is called (C(gateway), C(router) or C(platform)), for whoever reads events.
    type: str
    default: ""
  samu:
    description: The samu_id the call is for, for whoever reads events.
    type: str
    default: ""
author: [sisamu-ops]
"""

EXAMPLES = r"""
- name: Prove a gateway
  sisamu_test_call:
    address: 198.18.5.11
    number: "{{ samu_test_number }}"
    expected: backup;samu=300
    scenario: "{{ playbook_dir }}/files/sisamu_test_call.xml"
  delegate_to: localhost
"""

RETURN = r"""
verdict:
  description: >
    C(expected), C(elsewhere) (answered by another path), C(refused) (a final SIP error), or
    C(silent) (no final answer in time).
  type: str
answered:
  description: Whether a 200 came back.
  type: bool
status:
  description: Status of the final answer, 0 without one.
  type: int
answered_by:
  description: The header X-Answered-By, empty without one.
  type: str
via, samu:
  description: As given, for whoever reads the result.
  type: str
pdd_ms:
  description: From the first INVITE to the final answer, in milliseconds, 0 without one.
  type: int
"""

STAMP = re.compile(r"^-{20,} (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6})\n", re.MULTILINE)
STATUS = re.compile(r"^SIP/2\.0 (\d{3}) ", re.MULTILINE)
ANSWERED_BY = re.compile(r"^X-Answered-By:[ \t]*(.*?)\s*$", re.MULTILINE | re.IGNORECASE)
IS_INVITE = re.compile(r"^CSeq:[ \t]*1 INVITE", re.MULTILINE | re.IGNORECASE)
BACKSTOP_S = 2


def local_address(address: str, port: int) -> str:
    """Return the address packets to the target leave from; raises OSError without a route.

    SIPp would take the machine's name for it, which in a namespace is nobody's address.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((address, port))
        name: str = probe.getsockname()[0]
        return name


def build_command(params: dict[str, Any], trace: pathlib.Path) -> list[str]:
    """Build the SIPp command line of exactly one call."""
    target = f"{params['address']}:{params['port']}"
    timeout_ms = params["timeout_ms"]
    command = ["sipp", target, "-sf", params["scenario"], "-s", params["number"]]
    command += ["-i", local_address(params["address"], params["port"])]
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


def judge_call(trace: str, expected: str) -> dict[str, Any]:
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


def name_verdict(call: dict[str, Any], expected: str) -> str:
    """Name what a final answer means for the path that was to be proved."""
    if not call["answered"]:
        return "refused"
    return "expected" if call["answered_by"].startswith(expected) else "elsewhere"


def place_call(module: AnsibleModule) -> dict[str, Any]:
    """Place the call; fails the module when no INVITE could be sent at all."""
    with tempfile.TemporaryDirectory(prefix="sisamu-call-") as directory:
        trace = pathlib.Path(directory) / "trace"
        try:
            command = build_command(module.params, trace)
            wait_s = backstop_s(module.params["timeout_ms"]) + BACKSTOP_S
            run = subprocess.run(
                command, cwd=directory, capture_output=True, text=True, check=False, timeout=wait_s
            )
        except FileNotFoundError:
            module.fail_json(msg="sipp is not installed here; apt-get install sip-tester")
        except (OSError, subprocess.TimeoutExpired) as error:
            return {**judge_call("", ""), "detail": str(error)}
        if not trace.exists() or not trace.stat().st_size:
            module.fail_json(msg=f"sipp sent nothing (exit {run.returncode}): {run.stderr[-400:]}")
        return judge_call(trace.read_text(errors="replace"), module.params["expected"])


def explain(call: dict[str, Any], params: dict[str, Any]) -> str:
    """Say in one line what became of a call that did not prove its path."""
    wanted = f"wanted an answer by {params['expected']}"
    if call["verdict"] == "elsewhere":
        return f"test call answered by {call['answered_by'] or 'nobody named'}; {wanted}"
    if call["verdict"] == "refused":
        return f"test call refused with {call['status']}; {wanted}"
    detail = f" ({call['detail']})" if call.get("detail") else ""
    return f"test call not answered within {params['timeout_ms']} ms{detail}; {wanted}"


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "address": {"required": True},
            "port": {"type": "int", "default": 5060},
            "number": {"required": True},
            "expected": {"required": True},
            "timeout_ms": {"type": "int", "default": 3000},
            "scenario": {"type": "path", "required": True},
            "via": {"default": ""},
            "samu": {"default": ""},
        },
        supports_check_mode=True,
    )
    if not re.fullmatch(r"\+?[0-9]{3,15}", module.params["number"]):
        module.fail_json(
            msg="no test number: test calls go only to the inventory's samu_test_number; set it"
        )
    if module.check_mode:
        module.exit_json(skipped=True, msg="no test call in check mode: not evaluated")
    named = {name: module.params[name] for name in ("via", "samu")}
    call = {**place_call(module), **named}
    if call["verdict"] != "expected":
        module.fail_json(msg=explain(call, module.params), **call)
    module.exit_json(changed=False, **call)


if __name__ == "__main__":
    main()
