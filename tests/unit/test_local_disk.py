"""A machine whose own disk cannot be written: nothing was begun, and that is what it says."""

from __future__ import annotations

import errno
import tempfile
from pathlib import Path

import pytest

from sisamu_ops.doors import openssh
from sisamu_ops.doors.playbooks import AnsiblePlaybooks
from sisamu_ops.failover.planning.plan import PLAYBOOKS
from sisamu_ops.failover.ports import PlaybookRun
from sisamu_ops.failover.request import Verb
from sisamu_ops.model.errors import DiskError, said_of
from sisamu_ops.model.outcome import Outcome
from sisamu_ops.model.token import Token
from tests.support.world import CHECK, World, make_world

RUN = PlaybookRun(
    playbook="samu_failover.yml", operation="failover-1", token=Token(1, 1), samus=("300",),
    to="backup", routers=("otn-paris",), deadline_s=1,
)  # fmt: skip


def test_alone_a_leader_with_a_full_disk_says_failed_and_why(tmp_path: Path) -> None:
    """Nobody else can go on, nothing has gone out: failed, not unknown; other work goes on."""
    world: World = make_world(tmp_path)
    world.playbooks.no_room_for = {PLAYBOOKS[Verb.FAILOVER]}
    request = world.ask(Verb.FAILOVER, samus=["300"], to="backup").request_id
    world.lead_until_idle()
    state = world.state()
    assert state.finished[request] is Outcome.FAILED
    told = set(state.operations[request].steps[0].details.values())
    assert told == {"not begun: No space left on device: /home/runs"}
    assert not world.playbooks.sent


def test_a_check_that_cannot_begin_has_failed_and_is_not_begun_again(tmp_path: Path) -> None:
    """It is told with the disk's reason, once, and nothing is armed."""
    world: World = make_world(tmp_path)
    world.playbooks.no_room_for = {CHECK}
    request = world.ask(Verb.CHECK, samus=["300"], to="backup").request_id
    world.lead_until_idle()
    state = world.state()
    check = state.checks[request]
    assert state.finished[request] is Outcome.FAILED
    assert check.failed == {"300": "not begun: No space left on device: /home/runs"}
    assert check.left_armed == {}


@pytest.mark.parametrize("verb", [Verb.FAILOVER, Verb.CHECK])
def test_where_another_site_stands_it_is_left_to_that_one(verb: Verb, tmp_path: Path) -> None:
    """Nothing is called failed: whoever leads next has a disk of its own."""
    world: World = make_world(tmp_path)
    world.standing = frozenset({"local", "lyon"})
    world.playbooks.no_room_for = {CHECK, PLAYBOOKS[Verb.FAILOVER]}
    request = world.ask(verb, samus=["300"], to="backup").request_id
    with pytest.raises(DiskError):
        world.lead_until_idle()
    assert request not in world.state().finished
    world.playbooks.no_room_for = set()
    world.lead_until_idle()
    assert request in world.state().finished


@pytest.mark.parametrize("name", ["runs", f"runs/{RUN.operation}-{RUN.token}/ansible.log"])
def test_a_run_that_cannot_write_its_files_is_not_begun(name: str, tmp_path: Path) -> None:
    """Neither the directory of the run nor its log: no process is started."""
    blocked = tmp_path / name
    blocked.parent.mkdir(parents=True, exist_ok=True)
    if name == "runs":
        blocked.write_text("a file where a directory should be")
    else:
        blocked.mkdir()
    playbooks = AnsiblePlaybooks(
        playbooks=tmp_path, inventory=tmp_path, home=tmp_path, ssh_key=None
    )
    with pytest.raises(DiskError, match=str(blocked)):
        playbooks.run(RUN, None, pytest.fail)  # type: ignore[arg-type]


def test_a_signature_that_cannot_be_checked_for_want_of_disk_is_not_called_bad(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request stays unanswered; it is not refused for a signature nobody looked at."""
    signers = tmp_path / "allowed_signers"
    signers.touch()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(DiskError):
        openssh.verify(b"document", "signature", "oncall", "sisamu", signers)


def test_what_the_system_said_is_kept() -> None:
    """With the file if there is one, and never `None`."""
    assert said_of(OSError(errno.ENOSPC, "No space", "/x")) == "No space: /x"
    assert said_of(OSError(errno.ENOSPC, "No space")) == "No space"
    assert said_of(OSError("odd")) == "odd"
