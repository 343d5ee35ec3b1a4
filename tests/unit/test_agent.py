"""The site daemon: a site that cannot fold follows; one that stands reaches targets ahead."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

from sisamu_ops.agent import SiteAgent
from sisamu_ops.failover.request import Verb
from sisamu_ops.journal.keys import load_site_keys
from sisamu_ops.journal.replica import Replica
from sisamu_ops.journal.replicate import Replicator
from tests.support.waiting import await_that
from tests.support.world import World, make_world


@contextmanager
def running_agent(world: World, copy: Path) -> Iterator[Replica]:
    """Run the agent of this world's site on a replica of its own."""
    keys, replica = load_site_keys(world.directory / "keys"), Replica(copy)
    replicator = Replicator(replica=replica, keys=keys, policy=world.trust, now_s=lambda: 1)
    agent = SiteAgent(
        platform=world.platform, keys=keys, policy=world.trust, replicator=replicator,
        neighbours=world.neighbours(),
    )  # fmt: skip
    running = Thread(target=agent.run)
    running.start()
    try:
        yield replica
    finally:
        agent.stop()
        running.join()
        replica.close()


def test_an_unknown_entry_kind_ends_the_wish_to_lead(tmp_path: Path) -> None:
    """An agent that meets an entry of a later version keeps copying, and does not stand."""
    world = make_world(tmp_path / "world")
    with world.leading() as term:
        term.writer.write("future.thing", {})
    with running_agent(world, tmp_path / "copy") as replica:
        await_that(
            lambda: b"unknown-entries" in world.coordination.published().get("site.local", b"")
        )
        await_that(lambda: replica.size == 1)
        other = world.coordination.contend("other")
        tenure = other.try_lead()
        assert tenure is not None
        assert tenure.epoch == 2
        other.close()
    assert (world.directory / "state/epoch").read_bytes() == b"2\n"


def test_who_stands_reaches_ahead_what_the_next_leader_will_seal(tmp_path: Path) -> None:
    """The targets of what runs, while another leads; nothing once this site leads itself."""
    world = make_world(tmp_path / "world")
    targets = {*world.platform.routers, "samu-300"}

    def strike(moment: str) -> None:
        if world.state().running():
            await_that(lambda: targets in world.fences.prepared)

    world.strike = strike
    with world.leading() as term, running_agent(world, tmp_path / "copy"):
        world.ask(Verb.FAILOVER, samus=["300"], to="backup")
        while term.serve(world.coordination):
            pass
        assert targets in world.fences.prepared
        term.tenure.leave()
        await_that(lambda: world.fences.prepared[-1] == frozenset())
