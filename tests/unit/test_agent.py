"""The site daemon: a site that cannot fold the journal follows, and lets others lead."""

from __future__ import annotations

from pathlib import Path
from threading import Thread

from sisamu_ops.agent import SiteAgent
from sisamu_ops.journal.keys import load_site_keys
from sisamu_ops.journal.replica import Replica
from sisamu_ops.journal.replicate import Replicator
from tests.support.waiting import await_that
from tests.support.world import make_world


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
