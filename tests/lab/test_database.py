"""The lab's database is a real cluster: it commits with a majority, and only then."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sisamu_ops.lab import Lab
from sisamu_ops.lab.database import ask_database, missing_from_cluster
from sisamu_ops.lab.programs import sql_socket
from sisamu_ops.lab.topology import DATABASE_HOSTS, DATABASE_NODES, Host
from tests.support.commands import ROOT
from tests.support.waiting import await_that

Ask = Callable[[Host, str], list[str]]

PARIS, LYON = DATABASE_NODES
MEMBERS = "SELECT name FROM information_schema.wsrep_membership ORDER BY name"
STATUS = (
    "SELECT variable_value FROM information_schema.global_status "
    "WHERE variable_name IN ('wsrep_cluster_size', 'wsrep_cluster_status') ORDER BY variable_name"
)


@pytest.fixture
def ask(lab: Lab) -> Ask:
    """Ask a node what it answers in rows of one column; nothing is a refusal."""
    return lambda node, statement: ask_database(sql_socket(lab.place, node), statement).split()


@pytest.fixture(autouse=True)
def whole(lab: Lab) -> Iterator[None]:
    """Every test finds the cluster whole, and leaves it so."""
    await_that(lambda: missing_from_cluster(lab.place) == "")
    yield
    lab.heal()
    lab.start(("galera-*", "garbd-*"))
    await_that(lambda: missing_from_cluster(lab.place) == "")


def test_what_one_site_commits_the_other_reads(lab: Lab, ask: Ask) -> None:
    """Two nodes and the arbiter are one Primary component; a row of paris is read at lyon."""
    for node in DATABASE_NODES:
        assert ask(node, STATUS) == ["3", "Primary"]
        assert ask(node, MEMBERS) == sorted(host.name for host in DATABASE_HOSTS)
    written = ask(PARIS, "INSERT INTO calls.probe (at, said) VALUES (NOW(3), 'x') RETURNING id")
    reading = f"SET wsrep_sync_wait = 1; SELECT id FROM calls.probe WHERE id = {written[0]}"
    assert ask(LYON, reading) == written


def test_the_inventory_says_how_a_node_is_asked(lab: Lab) -> None:
    """Over SSH, with the client of the inventory and no password, a node tells what it sees."""
    ansible = str(Path(sys.executable).with_name("ansible"))
    asking = "{{ sisamu_galera_client | join(' ') }} -N -B -e \"SHOW STATUS LIKE 'wsrep_ready'\""
    looking = "; ls {{ sisamu_galera_directory }}/grastate.dat"
    command = [
        *lab.place.entering("ops"), ansible, "-i", str(lab.inventory), "database",
        "--limit", "!db-lille", "-m", "ansible.builtin.raw", "-a", asking + looking,
    ]  # fmt: skip
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT / "playbooks")
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.count("wsrep_ready\tON") == len(DATABASE_NODES)


@pytest.mark.parametrize("kill", [False, True], ids=["stopped", "killed"])
def test_two_of_three_go_on(kill: bool, lab: Lab, ask: Ask) -> None:
    """Without lyon's node, gone cleanly or killed, two members stay Primary; it comes back."""
    lab.stop(("galera-lyon",), kill=kill)
    await_that(lambda: ask(PARIS, STATUS) == ["2", "Primary"])
    assert ask(PARIS, "INSERT INTO calls.probe (said) VALUES ('two') RETURNING said") == ["two"]
    lab.start(("galera-lyon",))
    await_that(lambda: ask(PARIS, STATUS) == ["3", "Primary"])


def test_a_node_cut_off_answers_and_commits_nothing(lab: Lab, ask: Ask) -> None:
    """Cut off, paris is non-Primary and says so; the other sites go on; healed, it is back."""
    lab.partition("paris")
    await_that(lambda: ask(PARIS, STATUS) == ["1", "non-Primary"])
    await_that(lambda: ask(LYON, STATUS) == ["2", "Primary"])
    assert ask(PARIS, "INSERT INTO calls.probe (said) VALUES ('cut') RETURNING said") == []
    assert ask(PARIS, MEMBERS) == ["db-paris"]
    lab.heal()
    await_that(lambda: missing_from_cluster(lab.place) == "")
    assert ask(PARIS, "SELECT COUNT(*) FROM calls.probe WHERE said = 'cut'") == ["0"]


def test_a_cluster_killed_whole_recovers(lab: Lab) -> None:
    """All members killed find each other again when started, with nobody founding anything."""
    lab.stop(("galera-*", "garbd-*"), kill=True)
    lab.start(("galera-*", "garbd-*"))
    await_that(lambda: missing_from_cluster(lab.place) == "")
