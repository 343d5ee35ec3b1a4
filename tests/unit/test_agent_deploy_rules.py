"""What a deployment makes of `status`: the order, who may be stopped, who is back and well."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.playbooks import PLAYBOOKS
from tests.unit.test_playbook_plugins import load

rules = load("filter_plugins/sisamu_deploy.py")

SITES = ("paris", "lyon", "lille")
ROLES = ("telephony", "telephony", "arbiter")
NEW = "0.2.0-1a2b"
PROBLEM = {"kind": "disk", "message": "no space left", "remedy": "make room"}
OTHER_RULES = {"kind": "rules-differ", "message": "not the copy in force", "remedy": "adopt"}


def site(name: str, **facts: Any) -> dict[str, Any]:
    """Return what `status` says of a site that is well."""
    arbiter = name == "lille"
    well: dict[str, Any] = {
        "id": name, "role": "arbiter" if arbiter else "telephony", "leads": name == "paris",
        "contends": not arbiter, "cosigned_size": 9, "version": "0.1.0", "release": "0.1.0-aaaa",
        "said_at": "2026-01-02T03:04:05.000+00:00", "silent": False, "problems": [],
    }  # fmt: skip
    return well | facts


def status(leader: str | None = "paris", live: bool = True, **sites: dict[str, Any]) -> Any:
    """Return a status where all is well but for what is given of some sites."""
    return {
        "leader": {"site": leader, "epoch": 1},
        "journal": {"agreed_size": 9, "live": live},
        "sites": [site(name, **sites.get(name, {})) for name in SITES],
    }


@pytest.mark.parametrize("hosts", itertools.permutations(SITES))
@pytest.mark.parametrize("leader", ["paris", "lyon"])
def test_the_leader_comes_last_and_the_arbiter_first(hosts: tuple[str, ...], leader: str) -> None:
    """However the inventory lists them."""
    roles = [ROLES[SITES.index(host)] for host in hosts]
    order = rules.deploy_order(hosts, hosts, roles, leader)
    assert (order[0], order[-1], sorted(order)) == ("lille", leader, sorted(SITES))


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({}, "runs from 0.1.0-aaaa, not from 0.2.0-1a2b"),
        ({"release": None}, "runs from 0.1.0, not from 0.2.0-1a2b"),
        ({"release": NEW, "silent": True}, "nothing since its restart"),
        ({"release": NEW, "said_at": "before"}, "nothing since its restart"),
        ({"release": NEW, "problems": [PROBLEM]}, "no space left"),
        ({"release": NEW, "cosigned_size": 8}, "cosigned 8 of 9"),
        ({"release": NEW, "contends": False}, "does not stand for leader"),
    ],
)
def test_each_thing_that_keeps_a_site_from_being_well_is_said(
    facts: dict[str, Any], said: str
) -> None:
    """Another release, silence, a problem, a replica behind, standing aside: each alone."""
    (reason,) = rules.ailments(status(lyon=facts), "lyon", NEW, "before")
    assert said in reason


def test_a_site_that_runs_the_release_and_is_well_has_nothing_said_of_it() -> None:
    """Telephony site and arbiter alike; the arbiter never stands for leader."""
    now = status(lyon={"release": NEW}, lille={"release": NEW})
    assert rules.ailments(now, "lyon", NEW, "before") == []
    assert rules.ailments(now, "lille", NEW, "before") == []
    assert rules.runs(now, "lyon", NEW) and not rules.runs(now, "paris", NEW)


def test_a_new_release_may_work_by_other_rules() -> None:
    """It follows and does not stand until they are adopted: no reason to take it back."""
    apart = {"release": NEW, "problems": [OTHER_RULES], "contends": False}
    assert rules.ailments(status(lyon=apart), "lyon", NEW, "before") == []


def test_without_a_leader_no_site_is_well_but_in_a_first_installation() -> None:
    """A roll that ended leadership stops."""
    now = status(None, lille={"release": NEW})
    assert rules.ailments(now, "lille", NEW) == ["nobody leads"]
    assert rules.ailments(now, "lille", NEW, "", False) == []


@pytest.mark.parametrize("now", [{}, status(live=False)])
def test_what_cannot_be_heard_is_not_well(now: Any) -> None:
    """No status, or one from a replica, tells nothing of agents."""
    assert rules.ailments(now, "lyon") == rules.hindrances(now, "lyon")
    assert rules.ailments(now, "lyon") == ["ZooKeeper does not answer"]


@pytest.mark.parametrize("other", ["paris", "lille"])
def test_no_agent_is_stopped_while_another_site_is_not_well(other: str) -> None:
    """Two agents down at once could be two of three votes."""
    (reason,) = rules.hindrances(status(**{other: {"silent": True}}), "lyon")
    assert reason == f"{other}: its agent has said nothing of late"


def test_a_site_that_is_not_well_itself_may_be_deployed_to() -> None:
    """The new release may be what it needs."""
    assert rules.hindrances(status(lyon={"silent": True}), "lyon") == []


def test_a_leader_is_not_stopped_where_nobody_could_take_over() -> None:
    """Where the followers' release works by other rules, the way on is to adopt them."""
    apart = {"problems": [OTHER_RULES], "contends": False}
    alone, adopt = rules.hindrances(status(lyon=apart), "paris")
    assert "no other site stands" in alone and "sisamu journal adopt" in adopt
    assert rules.hindrances(status(), "paris") == []


def test_leadership_has_been_handed_over_when_another_site_has_it() -> None:
    """Nobody is not another site."""
    assert rules.led_elsewhere(status("lyon"), "paris")
    assert not rules.led_elsewhere(status(None), "paris")
    assert not rules.led_elsewhere(status("paris"), "paris")
    assert not rules.led_elsewhere({}, "paris")


def survey(install: Path) -> dict[str, Any]:
    """Ask as the playbook does: the script comes through standard input."""
    script = (PLAYBOOKS / "files/sisamu_survey.py").read_text("utf-8")
    run = subprocess.run(
        [sys.executable, "-", str(install), NEW], input=script, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(run.stdout)
    return found


def test_a_site_says_how_it_stands_and_is_left_as_it_is(tmp_path: Path) -> None:
    """Before anything is installed, with a release in service, and with something in the way."""
    install = tmp_path / "opt/sisamu"
    nothing = survey(install)
    assert not install.parent.exists()
    assert nothing["python"] == list(sys.version_info[:2]) and nothing["free_mb"] > 0
    told = [nothing[key] for key in ("current", "installed", "in_the_way")]
    assert told == ["", False, False]
    (install / "releases" / NEW).mkdir(parents=True)
    (install / "current").symlink_to(f"releases/{NEW}")
    half = survey(install)
    (install / "releases" / NEW / "installed").touch()
    whole = survey(install)
    assert (half["current"], half["installed"]) == (f"releases/{NEW}", False)
    assert (whole["current"], whole["installed"]) == (f"releases/{NEW}", True)
    (install / "current").unlink()
    (install / "current").mkdir()
    assert survey(install)["in_the_way"]
