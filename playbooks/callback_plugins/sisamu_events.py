# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible callback: one JSON line per event, on the descriptor named in SISAMU_EVENTS_FD."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from typing import Any

from ansible.plugins.callback import CallbackBase

Json = dict[str, Any]

DOCUMENTATION = r"""
name: sisamu_events
type: notification
short_description: Events of a run as JSON lines
description:
  - Writes one JSON object per line to the file descriptor in the environment variable
    SISAMU_EVENTS_FD; silent when it is unset.
  - Phone-like strings are masked in free text; no number called appears.
requirements: [enabled in the configuration]
"""

# Nine digits or more in a row, or French pairs: 04 65 71 03 00.
PHONE = re.compile(r"\+?\d{9,}|\b0\d(?:[ .-]\d{2}){4}\b")
CALL_FIELDS = ("answered", "status", "answered_by", "pdd_ms", "verdict")
STATS = {"ok": "ok", "changed": "changed", "failed": "failures", "unreachable": "unreachable"}


def mask(text: str) -> str:
    """Hide whatever looks like a phone number."""
    return PHONE.sub("[masked]", text)


def module_of(task: Any) -> str:
    """Return a task's module without its collection."""
    return str(task.action).rpartition(".")[2]


def fence_events(host: str, result: Json) -> Iterator[Json]:
    """Tell a fence's answer, or what a change would be; nothing when the helper gave none."""
    if "preview" in result:
        yield {"event": "preview", "host": host, **result["preview"]}
    elif "answer" in result:
        yield {"event": "fence", "host": host, "result": result["answer"]}


def call_events(host: str, result: Json) -> Iterator[Json]:
    """Tell each test call that was placed, and which were left out by check mode."""
    if "not_evaluated" in result:
        yield {"event": "not-evaluated", "host": host, "what": result["not_evaluated"]}
    for call in result.get("calls", []):
        if "answered" in call:
            named = {"host": call["host"] or host, "via": call["via"], "samu": call["samu"]}
            shown = {name: call[name] for name in CALL_FIELDS}
            yield {"event": "call", **named, "result": shown}


def choice_events(host: str, result: Json) -> Iterator[Json]:
    """Tell which path a rescue has chosen for each SAMU, or that check mode cannot say."""
    del host
    for choice in result.get("ansible_facts", {}).get("sisamu_choices", []):
        named = {name: choice[name] for name in ("host", "samu", "to", "why")}
        if choice["evaluated"]:
            yield {"event": "choice", **named}
        else:
            what = f"SAMU {choice['samu']}: {choice['why']}"
            yield {"event": "not-evaluated", "host": choice["host"], "what": what}


BUILDERS = {
    "sisamu_fence": fence_events,
    "sisamu_test_call": call_events,
    "set_fact": choice_events,
}


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """Turns what Ansible reports into sisamu's events."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "sisamu_events"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        """Take the descriptor from the environment, once."""
        super().__init__()
        self.descriptor: int | None = None
        number = os.environ.get("SISAMU_EVENTS_FD", "")
        if number.isdigit():
            self.descriptor = int(number)

    def emit(self, event: Json) -> None:
        """Write one event whole; a reader that has gone must not stop a rescue."""
        if self.descriptor is None:
            return
        line = (json.dumps(event, sort_keys=True, default=str) + "\n").encode()
        try:
            while line:
                line = line[os.write(self.descriptor, line) :]
        except OSError:
            self.descriptor = None

    def emit_task(self, result: Any) -> None:
        """Emit what a fence, call or choice has to tell; loops were told item by item."""
        build = BUILDERS.get(module_of(result.task))
        if build and "results" not in result.result:
            for event in build(result.host.get_name(), result.result):
                self.emit(event)

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        """A task begins on a host."""
        names = {"task": task.get_name(), "module": module_of(task)}
        self.emit({"event": "start", "host": host.get_name(), **names})

    def v2_runner_on_ok(self, result: Any) -> None:
        """A task ended well."""
        self.emit_task(result)

    def v2_runner_item_on_ok(self, result: Any) -> None:
        """An item of a loop ended well."""
        self.emit_task(result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """A task failed."""
        del ignore_errors
        self.emit_task(result)
        self.emit_failure(result)

    def v2_runner_item_on_failed(self, result: Any) -> None:
        """An item of a loop failed."""
        self.emit_task(result)

    def emit_failure(self, result: Any) -> None:
        """Emit a failure with its message, masked."""
        items = result.result.get("results", [])
        messages = [item.get("msg", "") for item in items if item.get("failed")]
        message = "; ".join(messages) or str(result.result.get("msg", ""))
        named = {"host": result.host.get_name(), "task": result.task.get_name()}
        self.emit({"event": "failed", **named, "message": mask(message)})

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """A host could not be reached."""
        message = mask(str(result.result.get("msg", "")))
        self.emit({"event": "unreachable", "host": result.host.get_name(), "message": message})

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """The run ended."""
        hosts = {host: stats.summarize(host) for host in sorted(stats.processed)}
        counted = {
            host: {ours: counts[theirs] for ours, theirs in STATS.items()}
            for host, counts in hosts.items()
        }
        self.emit({"event": "end", "stats": counted})
