"""Quorum in the lab: the real ensemble, the real database, as an operator asks."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sisamu_ops.lab import Lab
from sisamu_ops.lab.database import ask_database, missing_from_cluster
from sisamu_ops.lab.programs import sql_socket
from sisamu_ops.lab.readiness import await_ensemble
from sisamu_ops.lab.topology import DATABASE_NODES
from tests.support.commands import ROOT
from tests.support.desk import Desk
from tests.support.waiting import await_that

SISAMU = str(Path(sys.executable).with_name("sisamu"))


def quorum(lab: Lab, *words: str) -> subprocess.CompletedProcess[str]:
    """Run `sisamu quorum …` on a lab; never a traceback."""
    told = subprocess.run(
        [SISAMU, "quorum", *words], cwd=ROOT, capture_output=True, text=True, check=False,
        env=os.environ | {"SISAMU_LAB_NAME": lab.place.name},
    )  # fmt: skip
    assert "Traceback" not in told.stderr, told.stderr
    return told


def check(lab: Lab, *options: str) -> tuple[int, dict[str, Any]]:
    """Run `sisamu quorum check -o json` on a lab."""
    told = quorum(lab, "check", "-o", "json", *options)
    return told.returncode, json.loads(told.stdout)


@pytest.fixture
def ensemble(lab: Lab) -> Iterator[Lab]:
    """Give the lab with all of ZooKeeper, and leave it so."""
    yield lab
    lab.start(("zookeeper-*",))
    await_ensemble(lab.place, 30)


def test_the_ensemble_is_judged_server_by_server(ensemble: Lab) -> None:
    """Whole: QUORATE; one killed: DEGRADED, without margin; two: LOST, and the last says so."""
    status, facts = check(ensemble, "--kind", "zookeeper")
    assert (status, facts["verdict"]) == (0, "QUORATE"), facts
    assert sorted(node["state"] for node in facts["nodes"]) == ["follower", "follower", "leader"]
    ensemble.stop(("zookeeper-lille",), kill=True)
    await_that(lambda: _leads_one(ensemble))
    status, facts = check(ensemble, "--kind", "zookeeper")
    assert (status, facts["verdict"]) == (3, "DEGRADED"), facts
    assert {one["id"] for one in facts["findings"]} == {
        "zookeeper.down", "quorum.no-margin", "site.loss-ends-quorum"}  # fmt: skip
    ensemble.stop(("zookeeper-lyon",), kill=True)
    await_that(lambda: check(ensemble, "--kind", "zookeeper")[1]["verdict"] != "DEGRADED")
    status, facts = check(ensemble, "--kind", "zookeeper")
    assert (status, facts["verdict"]) == (4, "LOST"), facts
    assert "zookeeper.not-serving" in {one["id"] for one in facts["findings"]}


def _leads_one(lab: Lab) -> bool:
    """Say whether the two left have settled on a leader that counts one follower."""
    _, facts = check(lab, "--kind", "zookeeper")
    return sorted(node["state"] for node in facts["nodes"]) == ["down", "follower", "leader"]


def test_a_database_node_that_hangs_costs_a_glance_its_deadline(lab: Lab) -> None:
    """mariadbd is stopped in its tracks: it is not called well, and the answer is not late."""
    await_that(lambda: missing_from_cluster(lab.place) == "")
    lab_status = {one.name: one.pid for one in lab.status().programs}
    pid = lab_status["galera-paris"]
    os.kill(pid, 19)
    try:
        status, facts = check(lab)
    finally:
        os.kill(pid, 18)
    assert (status, facts["verdict"]) == (3, "DEGRADED"), facts
    assert any(
        "db-paris" in one["message"] and "no answer in time" in one["message"]
        for one in facts["findings"]
    )
    await_that(lambda: missing_from_cluster(lab.place) == "")


def test_a_forced_bootstrap_is_refused_until_it_loses_nothing(lab: Lab) -> None:
    """Refused beside a primary component and while a node is not accounted for; then it works."""
    await_that(lambda: missing_from_cluster(lab.place) == "")
    assert quorum(lab, "bootstrap").returncode == 3
    lab.stop(("galera-lyon", "garbd-lille"), kill=True)
    try:
        await_that(lambda: check(lab)[1]["verdict"] == "LOST")
        refused = quorum(lab, "bootstrap")
        assert refused.returncode == 3 and "how far db-lyon got" in refused.stderr
        plan = json.loads(quorum(lab, "bootstrap", "--dead", "db-lyon", "-o", "json").stdout)
        assert plan["node"] == "db-paris"
        typed = shlex.split(plan["steps"][1].partition(": ")[2])
        socket = sql_socket(lab.place, DATABASE_NODES[0])
        ask_database(socket, typed[-1])
        await_that(lambda: check(lab)[1]["verdict"] == "DEGRADED")
    finally:
        lab.start(("galera-lyon", "garbd-lille"))
    await_that(lambda: missing_from_cluster(lab.place) == "")


def test_status_and_doctor_speak_of_the_database(desk: Desk) -> None:
    """Whole: QUORATE, and DEGRADED without any one site."""
    desk.await_leader()
    await_that(lambda: desk.read("status")["database"]["verdict"] == "QUORATE")
    without = desk.read("status")["database"]["without_site"]
    assert without == dict.fromkeys(("paris", "lyon", "lille"), "DEGRADED")
    checks = {one["check"]: one for one in desk.read("doctor")}
    assert checks["database"]["ok"]


def test_planned_moves_wait_for_the_database_and_rescues_do_not(desk: Desk) -> None:
    """Quorum lost: a switchover is refused by its rule, a failover goes on and says so."""
    desk.settle("nominal")
    await_that(lambda: missing_from_cluster(desk.lab.place) == "")
    desk.lab.stop(("galera-lyon", "garbd-lille"), kill=True)
    try:
        await_that(lambda: desk.read("status")["database"]["verdict"] == "LOST")
        planned = ("switchover", "start", "--samu", "300", "--reason", "maintenance")
        refused = desk.run(*planned, code=3)
        assert "database-quorum" in refused.stderr and "sisamu quorum check" in refused.stderr
        desk.run("failover", "start", "--samu", "300", "--reason", "platform down")
        findings = desk.last_operation()["findings"]
        assert any(one.startswith("database-quorum: ") for one in findings)
        desk.run("failback", "start", "--samu", "300", "--reason", "back", code=3)
    finally:
        desk.lab.start(("galera-lyon", "garbd-lille"))
    await_that(lambda: missing_from_cluster(desk.lab.place) == "", 40)
    desk.run("failback", "start", "--samu", "300", "--reason", "back")
    assert desk.samu()["mode"] == "nominal"
