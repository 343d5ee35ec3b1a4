"""Paris evacuated to lyon and brought home, under real calls in two modes.

Of three SAMUs in the suite; the long form evacuates it of the whole nation:

    SISAMU_DESK_SAMUS=102 .venv/bin/python -m pytest tests/lab/test_evacuation.py
"""

from __future__ import annotations

import itertools
import json
import os
import signal
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.desk import Desk, load
from tests.support.lab import ROUTER_NAMES, kamcmd, stopped, transactions
from tests.support.waiting import await_that

REASON = ("--reason", "a test of the lab")
EVACUATE = ("switchover", "start", "--site", "paris", "--to", "lyon", "--confirm", "sisamu-lab")
HOME = ("switchover", "start", "--site", "paris", "--to", "paris", "--confirm", "sisamu-lab")


@pytest.fixture(scope="module", autouse=True)
def two_modes(desk: Desk) -> Iterator[None]:
    """SAMU 300 is nominal, SAMU 680 degraded, and all is nominal afterwards."""
    desk.lab.start(("*",))
    desk.settle("nominal")
    desk.run("switchover", "start", "--samu", "680", "--to", "degraded", *REASON)
    yield
    desk.lab.start(("*",))
    desk.await_leader()
    desk.run("failback", "start", "--samu", "680", *REASON)


@pytest.fixture
def led_by_paris(desk: Desk) -> None:
    if desk.leader() != "paris":
        desk.run("leader", "transfer", "--to", "paris", *REASON)
        desk.await_leader(other_than="lyon")


def asked_first(desk: Desk, router: str) -> set[str]:
    """Return whom a running router asks first, without the product; nothing where it has no say."""
    words = kamcmd(desk.lab, router, "htable.dump", "samu_site").split()
    return {value for name, value in itertools.pairwise(words) if name == "value:"}


def await_calls(desk: Desk) -> None:
    """Wait until each router has had as many transactions as the calls in progress have left."""
    wanted = {router: transactions(desk.lab, router) + 20 for router in ROUTER_NAMES}
    await_that(lambda: all(transactions(desk.lab, r) >= n for r, n in wanted.items()))


def milliseconds(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def answered(calls: list[dict[str, Any]], since: str, until: str = "") -> set[tuple[str, str]]:
    """Return through which router calls placed in a time went, and who answered them."""
    end = milliseconds(until) if until else 1 << 60
    return {
        (c["via"], c["answered_by"])
        for c in calls
        if milliseconds(since) < c["invited_at_ms"] < end
    }


def test_paris_is_evacuated_and_comes_home_without_a_call_lost(
    desk: Desk, led_by_paris: None, tmp_path: Path
) -> None:
    """Nothing lost, misrouted or cut. Lyon answers all, and leads; home again, each router's own.

    What is left is idle: it is killed, and nobody notices. So is the leader, half-way home.
    """
    ledger = tmp_path / "calls.jsonl"
    with load(desk, 20, "--all", "--ledger", str(ledger)) as placed:
        there = desk.read(*EVACUATE, *REASON)
        assert there["outcome"] == "done"
        assert [asked_first(desk, router) for router in ROUTER_NAMES] == [{"lyon"}] * 2
        status = desk.await_leader(other_than="paris")
        assert status["leader"]["site"] == "lyon"
        assert status["evacuated"] == [{"site": "paris", "to": "lyon"}]
        modes = {s["id"]: (s["mode"], s["intended_mode"]) for s in status["samus"]}
        assert (modes["300"], modes["680"]) == (("nominal",) * 2, ("degraded",) * 2)
        await_calls(desk)
        with stopped(desk.lab, "npl-paris", "ccs-paris"):
            await_calls(desk)
        process = desk.start(*HOME, *REASON, "-o", "json")
        await_that(lambda: "paris" in asked_first(desk, "otn-paris"))
        os.kill(desk.pid("agent-lyon"), signal.SIGKILL)
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        home = json.loads(out)
        await_calls(desk)
    assert placed.clean == (0, 0, 0)
    assert desk.read("status")["evacuated"] == []
    assert (home["outcome"], desk.leader()) == ("done", "paris")
    calls = [json.loads(line) for line in ledger.read_text().splitlines()]
    meanwhile = answered(calls, there["ended_at"], home["accepted_at"])
    expect(desk, meanwhile, {"otn-paris": "lyon", "otn-lyon": "lyon"})
    expect(desk, answered(calls, home["ended_at"]), {"otn-paris": "paris", "otn-lyon": "lyon"})


def expect(desk: Desk, found: set[tuple[str, str]], sites: dict[str, str]) -> None:
    """Check which site answered the calls through each router, in both modes.

    Among 102 SAMUs the one that is degraded need not have been called within a second or two.
    """
    nominal = {(router, f"nominal;instance={site}") for router, site in sites.items()}
    degraded = {(router, f"degraded;samu=680;site={site}") for router, site in sites.items()}
    assert nominal <= found <= nominal | degraded
    assert degraded <= found or len(desk.lab.place.samus) > 3
