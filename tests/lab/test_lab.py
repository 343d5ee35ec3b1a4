"""The lab end to end: it comes up, it answers, it can be broken and mended, it goes away."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import gettempdir

import pytest

from sisamu_ops.chaos import inject, parse_fault
from sisamu_ops.lab import Lab
from sisamu_ops.lab import lab as lab_module
from sisamu_ops.lab.supervisor import supervisor_answers
from sisamu_ops.lab.topology import CALL_SERVERS
from sisamu_ops.model.errors import RefusedError
from sisamu_ops.telephony.ledger import tally
from tests.support.lab import (
    NIMES,
    ROUTER_NAMES,
    arm,
    await_that,
    backup_ready,
    calling,
    calls,
    invite,
    kamcmd,
    set_mode,
    stopped,
    traces,
)


@pytest.fixture(autouse=True)
def healthy(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test leaves each server running, each link whole, each SAMU nominal."""
    yield
    if "lab" in request.fixturenames:
        lab = request.getfixturevalue("lab")
        status = lab.status()
        assert not status.cuts
        assert not [p for p in status.programs if not p.running and not p.name.startswith("agent")]
        for router in ROUTER_NAMES:
            modes = kamcmd(lab, router, "htable.dump", "samu_mode")
            assert "backup" not in modes and "degraded" not in modes


@pytest.fixture(scope="module")
def spare(lab: Lab) -> Iterator[Lab]:
    """A second lab beside the session's, to crash and remove; up or down, as a test left it.

    It leaves the temporary tables of the machine's other databases alone: a starting mariadbd
    deletes all that it finds in its temporary directory.
    """
    other = Lab(f"{lab.place.name[:12]}B")
    anothers_table = Path(gettempdir()) / f"#sql-temptable-{os.getpid()}-1-1.MAI"
    anothers_table.touch()
    shutil.chown(anothers_table, "mysql")
    try:
        with pytest.MonkeyPatch.context() as patched:
            patched.delenv("SISAMU_LAB_ROOT", raising=False)
            yield other
        assert anothers_table.exists()
    finally:
        anothers_table.unlink(missing_ok=True)
        other.down()


def test_up_again_changes_nothing(lab: Lab) -> None:
    """A second `up` leaves every process, key and durable list as they are."""
    before = lab.status()
    host_key = lab.place.host_dir("paris") / "ssh" / "host_ed25519"
    modes = lab.place.host_dir("otn-paris") / "dbtext" / "samu_mode"
    kept = host_key.read_bytes(), modes.read_bytes()
    lab.up(agents=False)
    assert lab.status() == before
    assert (host_key.read_bytes(), modes.read_bytes()) == kept


@pytest.mark.parametrize(
    "stage",
    ["build_network", "furnish_hosts", "establish_trust", "start_supervisor", "await_ready"],
)
def test_down_after_up_crashed_leaves_nothing(
    stage: str, spare: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever `up` crashes, `down` of a new process removes what there was."""

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(lab_module, stage, crash)
        with pytest.raises(KeyboardInterrupt):
            spare.up(agents=False)
    assert traces(spare)
    Lab(spare.place.name).down()
    assert traces(spare) == []


def test_up_completes_an_up_that_was_killed(spare: Lab) -> None:
    """`up` killed with SIGKILL while servers start is completed by the next `up`."""
    command = [str(Path(sys.executable).with_name("sisamu")), "lab", "up", "--no-agents"]
    environment = {**os.environ, "SISAMU_LAB_NAME": spare.place.name}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        assert "servers" in next(line for line in running.stderr if line.startswith("servers"))
        running.send_signal(signal.SIGKILL)
    spare.up(agents=False)
    assert [one.name for one in spare.status().programs if one.running][-1] == "phones"
    assert tally(calls(spare, duration_s=0.5)).lost == 0


def test_up_replaces_a_dead_supervisor(spare: Lab) -> None:
    """The servers a killed supervisor left behind are ended, and run again under a new one."""
    spare.up(agents=False)
    before = {one.pid for one in spare.status().programs}
    os.kill(int((spare.place.root / "supervisord.pid").read_text()), signal.SIGKILL)
    await_that(lambda: not supervisor_answers(spare.place))
    spare.up(agents=False)
    programs = [one for one in spare.status().programs if not one.name.startswith("agent")]
    assert all(one.running and one.pid not in before for one in programs)


def test_down_leaves_nothing(spare: Lab) -> None:
    """After `down` there is no process, namespace, mount or file; another `down` is fine.

    Nor when faults stand: a disk shown as full, a server stopped, each with a healer.
    """
    spare.up(agents=False)
    for fault in ("disk-full lille", "slow-zookeeper paris"):
        inject(spare, parse_fault(fault), 20)
    assert {trace.split()[0] for trace in traces(spare)} >= {"namespace", "process", "file"}
    assert any("overlay" in trace for trace in traces(spare))
    spare.down()
    assert traces(spare) == []
    spare.down()


def test_without_namespaces_the_lab_runs_on_loopback(
    spare: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On loopback addresses calls are answered; links cannot be cut, and it says so."""
    monkeypatch.setenv("SISAMU_LAB_LOOPBACK", "1")
    spare.up(agents=False)
    assert "cannot be cut" in spare.status().note
    with pytest.raises(RefusedError):
        spare.partition("paris")
    records = calls(spare, duration_s=0.5)
    assert tally(records).answered_nominal == 10
    spare.down()
    assert traces(spare) == []


def test_an_unarmed_gateway_answers_503(lab: Lab) -> None:
    """A gateway is unarmed when the lab comes up, and refuses new calls until armed."""
    address = NIMES.gateway.address(lab.place.prefix)
    assert invite(lab, address, NIMES.test_number) == "SIP/2.0 503 Gateway Not Armed"


def test_nominal_calls_are_answered_by_each_routers_own_site(lab: Lab) -> None:
    """Each router asks the national platform's instance of its own site first."""
    records = calls(lab)
    assert {(r.via, r.instance) for r in records} == {("otn-paris", "paris"), ("otn-lyon", "lyon")}
    counted = tally(records)
    assert (counted.attempted, counted.answered_nominal) == (20, 20)
    assert counted.lost == counted.misrouted == counted.cut == 0


def test_switching_under_load_loses_no_call(lab: Lab) -> None:
    """Calls move to backup and back while they arrive; those in progress end normally."""
    with backup_ready(lab), calling(lab, duration_s=2) as placed:
        set_mode(lab, "backup")
        counted = tally(placed.result())
    assert counted.attempted == 40
    assert counted.answered_nominal > 0
    assert counted.answered_backup > 0
    assert counted.lost == counted.misrouted == counted.cut == 0


def test_a_restarted_router_comes_back_with_its_durable_list(lab: Lab) -> None:
    """The first call through a router killed and started again takes the mode on its disk."""
    modes = lab.place.host_dir("otn-paris") / "dbtext" / "samu_mode"
    nominal = modes.read_text()
    arm(lab)
    try:
        modes.write_text(nominal.replace(":300:0:0:nominal:", ":300:0:0:backup:"))
        lab.stop(("otn-paris",), kill=True)
        lab.start(("otn-paris",))
        records = calls(lab, duration_s=0.2)
    finally:
        modes.write_text(nominal)
        set_mode(lab, "nominal")
        arm(lab, "unarmed")
    assert {(r.via, r.path) for r in records} == {("otn-paris", "backup"), ("otn-lyon", "nominal")}


def test_a_dead_instance_is_replaced_by_the_other(lab: Lab) -> None:
    """With paris's instance killed, its router's calls are answered at lyon: none is lost."""
    lab.stop(("npl-paris",), kill=True)
    try:
        records = calls(lab)
    finally:
        lab.start(("npl-paris",))
    assert {r.instance for r in records} == {"lyon"}
    assert tally(records).lost == 0


def test_degraded_calls_reach_the_desks_through_each_routers_own_call_server(lab: Lab) -> None:
    """In degraded mode a SAMU's own desks answer; with a call server killed, through the other."""
    set_mode(lab, "degraded")
    try:
        records = calls(lab)
        with stopped(lab, "ccs-paris"):
            rerouted = calls(lab, duration_s=0.5)
            with stopped(lab, "ccs-lyon"):
                dead = tally(calls(lab, duration_s=0.2))
    finally:
        set_mode(lab, "nominal")
    assert {(r.via, r.answered_by) for r in records} == {
        (f"otn-{site}", f"degraded;samu=300;site={site}") for site in ("paris", "lyon")
    }
    assert {r.answered_by for r in rerouted} == {"degraded;samu=300;site=lyon"}
    assert tally(records).answered_degraded == 20
    slowest = {via: max(r.pdd_ms or 0 for r in rerouted if r.via == via) for via in ROUTER_NAMES}
    assert slowest["otn-lyon"] < 800 <= slowest["otn-paris"]
    assert (dead.failed, dead.lost) == (4, 4)


def test_a_call_server_serves_every_samu_and_no_unknown_number(lab: Lab) -> None:
    """No arming there: each number of a SAMU is answered, another is not known."""
    for server in CALL_SERVERS:
        address = server.address(lab.place.prefix)
        for number in (NIMES.number, NIMES.test_number):
            assert invite(lab, address, number) == "SIP/2.0 200 OK"
        assert invite(lab, address, "0465719999") == "SIP/2.0 404 Unknown Number"


def test_a_dead_platform_is_counted(lab: Lab) -> None:
    """With both instances killed under load: new calls fail, those in progress are cut."""
    with calling(lab, duration_s=2, hold_ms=1500) as placed:
        try:
            lab.stop(("npl-*",), kill=True)
            counted = tally(placed.result())
        finally:
            lab.start(("npl-*",))
    assert counted.failed > 0
    assert counted.failed == counted.lost
    assert counted.cut > 0
    assert counted.attempted == counted.answered_nominal + counted.lost


def test_a_dead_router_loses_its_calls_in_five_seconds(lab: Lab) -> None:
    """Calls to a router that is not there are lost without an answer; the other's are well."""
    lab.stop(("otn-lyon",), kill=True)
    try:
        records = calls(lab, duration_s=0.4)
    finally:
        lab.start(("otn-lyon",))
    counted = tally(records)
    assert (counted.attempted, counted.lost, counted.failed) == (8, 4, 0)
    assert {r.via for r in records if r.answered_at_ms is None} == {"otn-lyon"}


def test_a_cut_link_shows_in_the_calls(lab: Lab) -> None:
    """A carrier cut from one site loses that router's calls, and healing brings them back."""
    lab.partition("carrier", "lyon")
    try:
        counted = tally(calls(lab, duration_s=0.4))
    finally:
        lab.heal()
    assert (counted.attempted, counted.lost) == (8, 4)
    assert tally(calls(lab, duration_s=0.4)).lost == 0
