"""The lab's networks: what reaches what, with links whole, cut and healed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sisamu_ops.lab import Lab
from sisamu_ops.lab.readiness import await_ensemble
from tests.support.lab import delivers, reaches

PARIS, OTN_PARIS, LYON, LILLE = (f"198.18.{end}" for end in ("1.10", "1.11", "2.10", "3.10"))


@pytest.fixture
def linked(lab: Lab) -> Iterator[Lab]:
    """A lab with every link whole, before and after."""
    assert lab.place.isolated, "these tests need network namespaces"
    assert not lab.status().cuts
    yield lab
    lab.heal()
    await_ensemble(lab.place, 20)


def test_a_site_cut_off_keeps_carrier_gateways_and_operators(linked: Lab) -> None:
    """A partitioned site reaches no other site either way; everybody else still reaches it."""
    linked.partition("paris")
    assert not reaches(linked, "paris", LYON)
    assert not reaches(linked, "lille", PARIS)
    assert reaches(linked, "lyon", LILLE)
    assert reaches(linked, "carrier", OTN_PARIS)
    assert reaches(linked, "ops", PARIS)
    assert reaches(linked, "paris", "198.18.5.11")
    assert reaches(linked, "paris", PARIS)


def test_a_cut_lets_nothing_through_in_either_direction(linked: Lab) -> None:
    """Not even one packet, which needs no answer, crosses a cut link."""
    there, back = ("paris", "lyon", LYON), ("lyon", "paris", PARIS)
    assert delivers(linked, *there)
    assert delivers(linked, *back)
    linked.partition("paris", "lyon")
    assert not delivers(linked, *there)
    assert not delivers(linked, *back)


def test_healing_joins_what_was_cut_and_nothing_else(linked: Lab) -> None:
    """`heal` of one pair leaves the other cuts; `heal` of nothing leaves none."""
    linked.partition("paris")
    linked.partition("paris")
    assert linked.heal("paris", "lyon") == (("lille", "paris"),)
    assert reaches(linked, "paris", LYON)
    assert not reaches(linked, "paris", LILLE)
    assert linked.heal("carrier", "ops") == (("lille", "paris"),)
    assert linked.heal() == ()
    assert reaches(linked, "paris", LILLE)


def test_one_pair_can_be_cut(linked: Lab) -> None:
    """Cutting the carrier from one site leaves it the other."""
    assert linked.partition("carrier", "lyon") == (("carrier", "lyon"),)
    assert not reaches(linked, "carrier", "198.18.2.11")
    assert reaches(linked, "carrier", OTN_PARIS)


def test_every_host_takes_a_login_under_its_own_key(linked: Lab) -> None:
    """From the operators' network, each host proves its key and lets the operator in, at a home of
    its own: nothing of what root's shell does on this machine.
    """
    place = linked.place
    for host in place.ssh_hosts:
        command = [
            *place.entering("ops"), "ssh", "-F", "none", "-i", f"{place.root}/operator/id_ed25519",
            "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "IdentitiesOnly=yes",
            "-o", f"UserKnownHostsFile={place.trust}/known_hosts",
            f"root@{host.address(place.prefix)}", "echo $HOME",
        ]  # fmt: skip
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        assert run.stdout == f"{place.host_dir(host.name)}\n", (host.name, run.stderr)


def test_a_stranger_is_not_let_in(linked: Lab) -> None:
    """The key that is in no list opens no host."""
    place = linked.place
    command = [
        *place.entering("ops"), "ssh", "-F", "none", "-i", f"{place.root}/operator/stranger",
        "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "IdentitiesOnly=yes",
        "-o", f"UserKnownHostsFile={place.trust}/known_hosts", f"root@{PARIS}", "true",
    ]  # fmt: skip
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 255
    assert "Permission denied" in run.stderr


def test_the_inventory_says_what_the_lab_is(linked: Lab) -> None:
    """Addresses and numbers of inventories/lab are those of the lab's plan."""
    inventory = Path(sys.executable).with_name("ansible-inventory")
    command = [str(inventory), "-i", str(linked.inventory), "--list"]
    environment = {**os.environ, "SISAMU_LAB_NAME": linked.place.name}
    run = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    hosts = json.loads(run.stdout)["_meta"]["hostvars"]
    assert set(hosts) == {host.name for host in linked.place.inventory_hosts}
    for host in linked.place.inventory_hosts:
        ends = hosts[host.name]["ansible_host"]
        assert ends == host.address("{{ lab_prefix }}")
    for samu in linked.place.samus:
        said = hosts[samu.gateway.name]
        numbers = (said["samu_id"], said["samu_number"], said["samu_test_number"])
        assert numbers == (samu.samu_id, samu.number, samu.test_number)
