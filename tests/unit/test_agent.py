"""The site daemon: a site that cannot fold the journal follows, and lets others lead."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from threading import Event, Thread
from types import SimpleNamespace
from typing import Any

import pytest

from sisamu_ops.agent import SiteAgent
from sisamu_ops.journal.keys import load_site_keys
from sisamu_ops.journal.replica import Replica
from sisamu_ops.journal.replicate import Replicator
from tests.support.waiting import await_that
from tests.support.world import make_world


class Patience(Event):
    """Notes how long it was waited for, and does not wait."""

    def __init__(self) -> None:
        super().__init__()
        self.waited: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waited.append(timeout)
        return False


@pytest.mark.parametrize(("evacuated", "waits"), [({}, []), ({"local": "lyon"}, [7.0, 7.0])])
def test_an_evacuated_site_lets_the_others_go_first(
    evacuated: dict[str, str], waits: list[float], tmp_path: Path
) -> None:
    """First in the inventory's order, it waits when it starts, and while another stands."""
    world = make_world(tmp_path / "world")
    policy = replace(world.platform.policy, site_order=("local", "lyon"), hold_off_ms=7000)
    keys = load_site_keys(world.directory / "keys")
    replica = Replica(tmp_path / "copy")
    agent = SiteAgent(
        platform=replace(world.platform, policy=policy), keys=keys, policy=world.trust,
        replicator=Replicator(replica=replica, keys=keys, policy=world.trust, now_s=lambda: 1),
        neighbours=world.neighbours(),
    )  # fmt: skip
    agent._stop = patience = Patience()
    agent._folding.state.evacuated |= evacuated
    contention: Any = SimpleNamespace(
        present=lambda: {"local", "lyon"}, try_lead=lambda **_: "a tenure"
    )
    agent._let_preferred_go_first()
    assert agent._try_lead(world.coordination, contention) == "a tenure"
    assert patience.waited == waits
    replica.close()


def test_an_unknown_entry_kind_ends_the_wish_to_lead(tmp_path: Path) -> None:
    """An agent that meets an entry of a later version keeps copying, and does not stand."""
    world = make_world(tmp_path / "world")
    with world.leading() as term:
        term.writer.write("future.thing", {})
    keys = load_site_keys(world.directory / "keys")
    replica = Replica(tmp_path / "copy")
    replicator = Replicator(replica=replica, keys=keys, policy=world.trust, now_s=lambda: 1)
    agent = SiteAgent(
        platform=world.platform, keys=keys, policy=world.trust, replicator=replicator,
        neighbours=world.neighbours(),
    )  # fmt: skip
    running = Thread(target=agent.run)
    running.start()
    try:
        epoch = world.directory / "state/epoch"
        await_that(
            lambda: b"unknown-entries" in world.coordination.published().get("site.local", b"")
        )
        await_that(lambda: replica.size == 1)
        other = world.coordination.contend("other")
        tenure = other.try_lead()
        assert tenure is not None
        assert tenure.epoch == 2
        other.close()
    finally:
        agent.stop()
        running.join()
        replica.close()
    assert epoch.read_bytes() == b"2\n"
