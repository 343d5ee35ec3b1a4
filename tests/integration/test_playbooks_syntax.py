"""The playbooks before any target is touched: syntax, and what they say of bad input."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.support.playbooks import PLAYBOOKS, ROOT, environment, playbook_of

VERBS = ("switchover", "failover", "failback")
ALL = (*VERBS, "check", "prove", "evacuate")
GOOD = {"sisamu_samus": "300", "sisamu_to": "backup", "sisamu_token": "4294967296.1"}


def play(
    verb: str, *arguments: str, inventory: str = "lab", **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run as an operator would by hand, from the project's directory, without our ansible.cfg."""
    extra = [word for name, value in variables.items() for word in ("-e", f"{name}={value}")]
    command = ["ansible-playbook", "-i", f"inventories/{inventory}", *extra, *arguments]
    return subprocess.run(
        [*command, str(PLAYBOOKS / playbook_of(verb))],
        cwd=ROOT,
        env=environment(ANSIBLE_LOCALHOST_WARNING="false"),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("inventory", ["lab", "national"])
def test_every_playbook_is_sound(inventory: str) -> None:
    """Ansible takes each playbook's syntax, with the lab's inventory and with the nation's."""
    others = [str(PLAYBOOKS / playbook_of(verb)) for verb in ALL[1:]]
    run = play(ALL[0], "--syntax-check", *others, inventory=inventory, **GOOD)
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("playbook: ") == len(ALL)


@pytest.mark.parametrize("verb", VERBS)
def test_everything_missing_is_said_at_once(verb: str) -> None:
    """Without variables one message names each, and says where a token comes from."""
    run = play(verb)
    assert run.returncode == 2
    for said in ("sisamu_samus is missing", "sisamu_to must be", "sisamu samu card"):
        assert said in run.stdout + run.stderr
    assert "Traceback" not in run.stdout + run.stderr


def test_every_bad_value_has_its_message_at_once() -> None:
    """Values out of bounds are named, with those that would do, before any target is touched."""
    wrong = {"sisamu_samus": "999", "sisamu_to": "sideways", "sisamu_token": "7"}
    run = play("switchover", **wrong, sisamu_routers="otn-nowhere")
    told = " ".join((run.stdout + run.stderr).split())
    assert run.returncode == 2 and "PLAY [Arm" not in told
    for said in (
        "no SAMU 999; it has 300", "sisamu_to must be backup or degraded or nominal", "EPOCH.INDEX",
        "not otn-nowhere; there are otn-paris, otn-lyon",
    ):  # fmt: skip
        assert said in told


def test_a_good_value_is_not_named_beside_a_bad_one() -> None:
    """A token whose index is no number is all that is said."""
    run = play("switchover", **{**GOOD, "sisamu_token": "7.x"})
    told = " ".join((run.stdout + run.stderr).split())
    assert run.returncode == 2 and "EPOCH.INDEX" in told
    assert not any(name in told for name in ("sisamu_samus", "sisamu_to must", "sisamu_routers"))


def test_a_failback_goes_to_nominal_only() -> None:
    """Failback is the return to nominal; another wish is refused."""
    run = play("failback", **GOOD)
    assert run.returncode == 2 and "sisamu_to must be nominal" in run.stdout + run.stderr


@pytest.mark.parametrize(
    ("verb", "variables", "said"),
    [
        ("failover", {"sisamu_order": ["backup", "sideways"]}, "must be backup or degraded"),
        ("failover", {"sisamu_order": []}, "sisamu_order names no mode"),
        ("switchover", {"sisamu_moves": {"999": "backup"}}, "no SAMU 999"),
        ("switchover", {"sisamu_moves": {"300": "sideways"}}, "must be backup or degraded"),
        ("prove", {"sisamu_expected": {"300": "unknown"}}, "must be backup or degraded"),
        ("prove", {}, "sisamu_samus is missing"),
        ("check", {"sisamu_samus": "300", "sisamu_to": "backup", "sisamu_token": "1.1"},
         "sisamu_token_after is missing"),
    ],
)  # fmt: skip
def test_what_a_playbook_is_given_in_other_forms_is_checked_as_well(
    verb: str, variables: dict[str, object], said: str
) -> None:
    """Orders, moves and expectations name SAMUs of the inventory and modes there are."""
    given = {"sisamu_samus": "300", "sisamu_token": "1.1"} if verb == "failover" else {}
    run = play(verb, "-e", json.dumps({**given, **variables}))
    told = " ".join((run.stdout + run.stderr).split())
    assert run.returncode == 2 and said in told and "Traceback" not in told


def deploy(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the deployment by hand, where no lab is up and nobody leads."""
    extra = [word for name, value in variables.items() for word in ("-e", f"{name}={value}")]
    return subprocess.run(
        ["ansible-playbook", "-i", "inventories/lab", *extra, *arguments,
         str(PLAYBOOKS / "agent_deploy.yml")],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env=environment(ANSIBLE_LOCALHOST_WARNING="false", SISAMU_LAB_NAME="nowhere"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("wheels", "said"),
    [
        (None, ("sisamu_wheels is missing",)),
        ([], ("sisamu_wheels holds no wheel",)),
        (["pip-1-py3-none-any.whl"], ("exactly one wheel of sisamu_ops, not none",)),
        (
            ["sisamu_ops-2-py3-none-any.whl", "sisamu_ops-3-py3-none-any.whl"],
            ("ops-2-py3-none-any", "exactly one wheel of pip"),
        ),
        (["sisamu_ops-2-py3-none-any.whl", "pip-1-py3-none-any.whl"], ("no leader can be asked",)),
    ],
)
def test_a_deployment_says_what_it_lacks_before_it_reaches_a_site(
    wheels: list[str] | None, said: tuple[str, ...], tmp_path: Path
) -> None:
    """Wheels that are not there or not one of each, and a platform that nobody leads."""
    for name in wheels or ():
        (tmp_path / name).touch()
    run = deploy(**({} if wheels is None else {"sisamu_wheels": str(tmp_path)}))
    told = " ".join((run.stdout + run.stderr).split())
    assert run.returncode == 2 and all(one in told for one in said)
    assert "Traceback" not in told and "PLAY [Look at" not in told


def test_a_directory_of_wheels_that_is_not_there_is_named(tmp_path: Path) -> None:
    """The path as the control machine sees it."""
    run = deploy(sisamu_wheels=str(tmp_path / "nothing"))
    assert f"no directory here: {tmp_path}/nothing" in " ".join((run.stdout + run.stderr).split())
