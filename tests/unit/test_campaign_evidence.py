"""The evidence as files: what helpers, agents, recorder and clients wrote is read as a history."""

from __future__ import annotations

import json
import shutil
from base64 import b64encode
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from sisamu_ops.journal.keys import write_policy
from sisamu_ops.journal.merkle import leaf_hash
from sisamu_ops.lab.topology import SITES
from tests.campaign.__main__ import main
from tests.campaign.checker import check
from tests.campaign.evidence import FENCED_HOSTS, read_history
from tests.campaign.history import LeaseLine
from tests.support.fence import make_target
from tests.support.history import STORY, good_history
from tests.support.signed_journal import (
    ORIGIN,
    POLICY,
    an_entry,
    sealed,
    signed_checkpoint,
    written_journal,
)

LEADERS = {1: "paris", 2: "lyon"}


@pytest.fixture
def evidence(tmp_path: Path) -> Path:
    """The good history as files, the targets' by the fence helper, the replicas really signed."""
    home = tmp_path / "evidence"
    home.mkdir()
    leaves = [
        sealed(an_entry(index, epoch=epoch, site=LEADERS[epoch], kind=kind, data=data))
        for index, (epoch, kind, data) in enumerate(STORY)
    ]
    for site in SITES:
        written_journal(home / "replicas" / site, leaves)
    write_policy(
        home / "policy.json", origin=ORIGIN, publics=POLICY.sites.values(), threshold=2,
        allowed_signers="",
    )  # fmt: skip
    note = b64encode(signed_checkpoint(leaves[:7]).note).decode()
    write_lines(home / "heads.jsonl", [{"place": "replica.lille", "note": note}])
    write_lines(home / "sightings.jsonl", [
        {"index": index, "hash": leaf_hash(leaf).hex(), "at_ns": index + 10**18}
        for index, leaf in enumerate(leaves)
    ])  # fmt: skip
    good = good_history()
    write_lines(home / "requests.jsonl", [asdict(one) for one in good.requests])
    (home / "leases").mkdir()
    for site in ("paris", "lyon"):
        lines = [asdict(line) for line in good.leases if line.site == site]
        write_lines(home / f"leases/{site}.jsonl", lines)
    (home / "targets").mkdir()
    for host in FENCED_HOSTS:
        write_target(tmp_path / host.name, home / f"targets/{host.name}.jsonl")
    facts = {"renewal_ns": good.renewal_ns, "settled": True, "missing": []}
    (home / "facts.json").write_text(json.dumps(facts))
    return home


def write_lines(path: Path, lines: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def write_target(directory: Path, record: Path) -> None:
    """Let a fence accept what the story says; gateways are only enrolled."""
    target = make_target(directory, enrolled="0.0")
    if directory.name == "otn-paris":
        target.ask("apply", "1.2", {"300": "backup"})
    if directory.name.startswith("otn-"):
        target.ask("seal", "2.4")
        target.ask("apply", "2.8", {"300": "backup"})
    shutil.copy(target.directory / "accepted.jsonl", record)


def test_evidence_as_it_is_written_is_a_good_history(evidence: Path) -> None:
    """What the fence helper, the replicas, the recorder and the clients write passes whole."""
    history = read_history(evidence)
    assert check(history) == []
    assert [len(copy.entries) for copy in history.replicas.values()] == [12, 12, 12]
    assert [line.what for line in history.targets["otn-paris"].lines] == [
        "enrol", "apply", "outcome", "seal", "apply", "outcome",
    ]  # fmt: skip
    changed = [one.changed for one in history.targets["otn-paris"].lines if one.what == "outcome"]
    assert changed == [True, False]
    assert (history.heads[0].size, history.heads[0].agreed) == (7, True)


def overwrite(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


def lower_token(home: Path) -> None:
    path = home / "targets/otn-lyon.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines, lines[0]]))


def second_leader(home: Path) -> None:
    line = asdict(LeaseLine(site="lille", pid=9, epoch=1, at_ns=0, end_ns=10**12))
    write_lines(home / "leases/lille.jsonl", [line])


INCOMPLETE = "unknown: evidence is complete"
DAMAGE: dict[str, tuple[str, Callable[[Path], None]]] = {
    "a replica is missing": (
        f"{INCOMPLETE}: evidence: replica of lyon",
        lambda home: shutil.rmtree(home / "replicas/lyon")),
    "a replica's entry is changed": (
        f"{INCOMPLETE}: evidence: replica of lille",
        lambda home: overwrite(
            home / "replicas/lille/tile/entries/000.p/12",
            lambda content: content.replace(b"switch-1", b"switch-2"))),
    "a target's record is missing": (
        f"{INCOMPLETE}: evidence: samu-120",
        lambda home: (home / "targets/samu-120.jsonl").unlink()),
    "a target's line is torn": (
        f"{INCOMPLETE}: evidence: targets/otn-paris.jsonl, line 7",
        lambda home: overwrite(
            home / "targets/otn-paris.jsonl", lambda content: content + b'{"at": "20')),
    "a checkpoint is nobody's": (
        f"{INCOMPLETE}: evidence: heads.jsonl, line 1",
        lambda home: overwrite(
            home / "heads.jsonl",
            lambda content: content.replace(b'note": "', b'note": "AAAA'))),
    "the clients' word is missing": (
        f"{INCOMPLETE}: evidence: requests.jsonl",
        lambda home: (home / "requests.jsonl").unlink()),
    "a tenure's lease is missing": (
        f"{INCOMPLETE}: paris", lambda home: (home / "leases/paris.jsonl").unlink()),
    "a target went back": ("violation: tokens never fall: otn-lyon", lower_token),
    "two led at once": ("violation: one valid lease", second_leader),
}  # fmt: skip


@pytest.mark.parametrize("scene", DAMAGE)
def test_damaged_evidence_is_never_a_pass(
    evidence: Path, scene: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever is missing, torn or wrong is told with its place, and the exit code is 8."""
    said, damage = DAMAGE[scene]
    damage(evidence)
    assert main(["--check", str(evidence)]) == 8
    assert any(line.startswith(said) for line in capsys.readouterr().out.splitlines())


def test_a_torn_lease_line_is_written_again(evidence: Path) -> None:
    """A full disk takes half a line; the agent writes it whole later, so nothing is missing."""
    overwrite(evidence / "leases/paris.jsonl", lambda content: b'{"site": "pa\n' + content)
    assert check(read_history(evidence)) == []
