"""Three agents on a real ensemble when disks, replicas, clocks and ZooKeeper itself fail."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import cycle
from pathlib import Path
from threading import Event, Thread

import pytest

from sisamu_ops.doors.zookeeper import ZooKeeperCoordination
from sisamu_ops.failover.fold.folding import Folding
from sisamu_ops.failover.fold.state import State
from sisamu_ops.failover.request import Verb
from sisamu_ops.journal.replicate import read_entry
from sisamu_ops.model.errors import LeadershipError
from sisamu_ops.model.outcome import Outcome
from sisamu_ops.model.platform import Certificate
from tests.support.sites import SITES, Sites, make_sites
from tests.support.waiting import await_that
from tests.support.world import ON_CALL, some_rules
from tests.support.zookeeper import Ensemble, ensemble

Begin = Callable[..., tuple[Sites, ZooKeeperCoordination]]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ensemble]:
    with ensemble(tmp_path_factory.mktemp("zookeeper"), servers=3) as running:
        yield running


@pytest.fixture
def begin(servers: Ensemble, tmp_path: Path) -> Iterator[Begin]:
    """Start three agents of a platform of this test's own, and wait until one leads."""
    made: list[Sites] = []
    opened: list[ZooKeeperCoordination] = []

    def start(keep: int = 1000, hosts: str = "") -> tuple[Sites, ZooKeeperCoordination]:
        sites = make_sites(tmp_path, hosts or servers.hosts, keep=keep)
        made.append(sites)
        sites.start()
        opened.append(sites.connect())
        await_that(lambda: opened[0].leader() is not None)
        return sites, opened[0]

    yield start
    for service in opened:
        service.close()
    for sites in made:
        sites.stop()


def leader_of(service: ZooKeeperCoordination) -> str:
    leader = service.leader()
    return leader.site if leader else ""


def fold_replica(sites: Sites, site: str) -> State:
    """Fold a site's replica as a stranger would."""
    state, reader = State(), sites.replica(site)
    for index, leaf in enumerate(reader.read(0, reader.size())):
        state.apply(read_entry(leaf, index=index, policy=sites.trust))
    return state


def folded(sites: Sites, service: ZooKeeperCoordination) -> State:
    """Fold what the service holds, which is all of a young journal."""
    folding = Folding(sites.trust)
    folding.pull(service)
    return folding.state


def assert_equal_replicas(sites: Sites, size: int) -> None:
    """Every site holds the same entries under the same root."""
    assert {sites.replica(site).root(size) for site in SITES} == {sites.replica("lille").root(size)}


def test_what_a_majority_holds_is_trimmed_and_an_absent_site_catches_up(begin: Begin) -> None:
    """ZooKeeper keeps the newest entries only; a site that was away takes the rest from a peer,
    stands only when it has no gap, and says so meanwhile.
    """
    sites, service = begin(keep=5)
    sites.stop("lyon")
    sites.write(service, 30)
    sites.await_agreed(service, "paris", "lille")
    # Trimmed once twice what is kept is agreed on: never more than that stays.
    await_that(lambda: service.size() - service.first() <= 2 * 5)
    sites.reachable = False
    sites.start("lyon")
    await_that(lambda: "replica-gap" in sites.problems(service, "lyon"))
    await_that(lambda: "lyon" not in service.contenders())
    sites.reachable = True
    size = sites.await_agreed(service)
    await_that(lambda: "lyon" in service.contenders())
    assert sites.problems(service, "lyon") == set()
    assert_equal_replicas(sites, size)


def test_after_zookeeper_is_rebuilt_indexes_and_epochs_go_on(
    begin: Begin, servers: Ensemble
) -> None:
    """Everything in ZooKeeper lost: the journal goes on where the longest replica ends."""
    sites, service = begin(keep=5)
    sites.write(service, 12)
    size = sites.await_agreed(service)
    sites.stop("lyon")
    before = service.size()
    epoch = service.leader().epoch if service.leader() else 0  # type: ignore[union-attr]
    sites.stop()
    service._client.delete(f"/sisamu/{sites.world.directory.name}", recursive=True)
    service.close()
    # Lyon, first in nothing and shorter than the others, comes back first.
    sites.start("lyon", "lille")
    fresh = sites.connect()
    sites.start("paris")
    await_that(lambda: fresh.leader() is not None and fresh.size() > before, 40)
    sites.write(fresh, 3)
    sites.await_agreed(fresh)
    newest = fold_replica(sites, "lille")
    fresh.close()
    assert newest.size > size
    assert newest.epoch > epoch
    assert_equal_replicas(sites, size)


def test_a_rescue_asked_of_a_leader_with_a_full_disk_is_carried_out_by_another(
    begin: Begin,
) -> None:
    """It could begin no playbook: it gives leadership up, and the open step is settled first."""
    sites, service = begin()
    await_that(lambda: service.contenders() == {"paris", "lyon"})
    first = leader_of(service)
    sites.members[first].disk.refuses = errno.ENOSPC
    asked = sites.ask(service, Verb.FAILOVER, samus=["300"], to="backup")
    await_that(lambda: leader_of(service) not in ("", first))
    await_that(lambda: asked in folded(sites, service).finished)
    assert folded(sites, service).finished[asked] is Outcome.DONE
    sites.members[first].disk.empty()
    size = sites.await_agreed(service)
    assert_equal_replicas(sites, size)


@pytest.mark.parametrize("room", range(5))
def test_a_disk_that_fills_in_the_midst_of_a_write_ends_no_agent(begin: Begin, room: int) -> None:
    """Whichever write finds no room: the site says so, and goes on by itself when there is."""
    sites, service = begin()
    member = sites.members["lille"]
    assert member.thread is not None
    member.disk.room = room
    # How many writes an entry costs depends on how many it comes with: so, until it is full.
    await_that(lambda: sites.write(service, 1) or member.disk.full)
    await_that(lambda: "disk" in sites.problems(service, "lille"))
    assert member.thread.is_alive()
    member.disk.empty()
    assert_equal_replicas(sites, sites.await_agreed(service))
    await_that(lambda: not sites.problems(service, "lille"))


@pytest.mark.parametrize("reason", [errno.ENOSPC, errno.EROFS], ids=["full", "read-only"])
def test_a_leader_that_cannot_write_its_replica_lets_another_lead(
    begin: Begin, reason: int
) -> None:
    """No acknowledged entry is lost, the state is shown, and the site goes on by itself."""
    sites, service = begin()
    sites.write(service, 3)
    first = leader_of(service)
    sites.members[first].disk.refuses = reason
    sites.write(service, 2)
    await_that(lambda: sites.problems(service, first) == {"disk"})
    await_that(lambda: leader_of(service) not in ("", first))
    await_that(lambda: first not in service.contenders())
    sites.write(service, 3)
    sites.members[first].disk.empty()
    size = sites.await_agreed(service)
    await_that(lambda: first in service.contenders())
    assert sites.problems(service, first) == set()
    assert_equal_replicas(sites, size)


def test_a_corrupted_tile_is_found_set_aside_and_copied_anew(begin: Begin) -> None:
    """A flipped bit on the leader's disk: an alarm in the journal, a new copy, the old one kept."""
    sites, service = begin()
    sites.write(service, 260)
    sites.await_agreed(service)
    home = sites.members["paris"].home
    tile = home / "journal/tile/entries/000"
    data = bytearray(tile.read_bytes())
    data[1000] ^= 4
    tile.write_bytes(bytes(data))
    await_that(lambda: len(list(home.glob("journal.damaged-*"))) == 1)
    await_that(lambda: "replica-damaged" in str(service.read(260, service.size())))
    size = sites.await_agreed(service)
    assert_equal_replicas(sites, size)
    alarms = fold_replica(sites, "lille").alarms.values()
    assert [(a.site, a.about) for a in alarms] == [("paris", "replica-damaged")]


def test_a_replica_rolled_back_says_so_and_confirms_before_it_cosigns(begin: Begin) -> None:
    """An older copy of the directory put back: an alarm, then caught up and equal again."""
    sites, service = begin(keep=3)
    sites.write(service, 4)
    sites.await_agreed(service)
    sites.stop("lyon")
    home = sites.members["lyon"].home
    shutil.copytree(home / "journal", home / "older")
    sites.start("lyon")
    sites.write(service, 12)
    sites.await_agreed(service)
    sites.stop("lyon")
    shutil.rmtree(home / "journal")
    (home / "older").rename(home / "journal")
    sites.reachable = False
    sites.start("lyon")
    await_that(lambda: "replica-gap" in sites.problems(service, "lyon"))
    await_that(lambda: "lyon" not in service.contenders())
    sites.reachable = True
    # What it cosigned before is shown until it cosigns again: that alone proves nothing.
    await_that(lambda: not sites.problems(service, "lyon"))
    size = sites.await_agreed(service)
    assert_equal_replicas(sites, size)


def test_a_site_whose_root_differs_stops_and_alarms(begin: Begin) -> None:
    """It neither cosigns nor stands; the others go on; the journal records the alarm."""
    sites, service = begin()
    sites.write(service, 4)
    size = sites.await_agreed(service)
    sites.stop("lyon")
    replica = sites.members["lyon"].home / "journal"
    other = sites.replica("lyon").read(0, size)
    shutil.rmtree(replica)
    forged = sites.world.directory / "forged"
    from sisamu_ops.journal.replica import Replica

    copy = Replica(forged)
    copy.append([*other[:-1], other[0]])
    copy.close()
    forged.rename(replica)
    sites.start("lyon")
    await_that(lambda: "replica-diverged" in sites.problems(service, "lyon"))
    sites.write(service, 3)
    sites.await_agreed(service, "paris", "lille")
    await_that(lambda: "lyon" not in service.contenders())
    alarms = [a.about for a in fold_replica(sites, "lille").alarms.values()]
    await_that(lambda: "replica-diverged" in str(service.read(size, service.size())))
    assert set(alarms) <= {"replica-diverged"}


def test_clocks_minutes_apart_are_told_and_change_no_leadership(begin: Begin) -> None:
    """Each site tells how far the other's clock is; the leader stays, entries are agreed on."""
    sites, service = begin()
    leader = service.leader()
    sites.members["lyon"].ahead = timedelta(minutes=4)
    await_that(lambda: "clock-differs" in sites.problems(service, "paris"))
    await_that(lambda: "clock-differs" in sites.problems(service, "lille"))
    sites.write(service, 3)
    sites.await_agreed(service)
    assert service.leader() == leader
    sites.members["lyon"].ahead = timedelta()
    await_that(lambda: not sites.problems(service, "paris"))


def test_a_certificate_near_its_end_is_told_and_keeps_nobody_from_leading(begin: Begin) -> None:
    """The site says until when it is known to ZooKeeper; renewed, it says so no more."""
    sites, service = begin()
    leader = service.leader()
    assert leader is not None
    ends = datetime.now(UTC) + timedelta(days=3)
    member = sites.members[leader.site]
    member.certificate = Certificate(role="site", holder=leader.site, ends=ends)
    await_that(lambda: "certificate-ends" in sites.problems(service, leader.site))
    sites.write(service, 1)
    assert service.leader() == leader
    member.certificate = replace(member.certificate, ends=ends + timedelta(days=60))
    await_that(lambda: not sites.problems(service, leader.site))


def test_a_transfer_is_done_when_the_new_epoch_stands(begin: Begin) -> None:
    """The site named leads next, although the other is preferred; nothing counts as a loss."""
    sites, service = begin()
    await_that(lambda: {"paris", "lyon"} <= service.contenders())
    before = leader_of(service)
    to = "lyon" if before == "paris" else "paris"
    wanted = sites.ask(service, Verb.TRANSFER, to=to)
    await_that(lambda: leader_of(service) == to)
    sites.write(service, 1)
    sites.await_agreed(service)
    state = fold_replica(sites, "lille")
    assert state.finished[wanted].value == "done"
    assert state.losses == []


def adopt(sites: Sites, service: ZooKeeperCoordination, site: str) -> str:
    """Ask, as an operator, for the adoption of the copy a site has."""
    return sites.ask(service, Verb.ADOPT, rules=sites.members[site].rules.digests())


def await_rules(sites: Sites, site: str) -> None:
    """Wait until the copy of this site is in force, by the arbiter's replica."""
    wanted = sites.members[site].rules.digests()
    await_that(lambda: fold_replica(sites, "lille").rules == wanted)


def test_a_site_with_another_copy_of_the_rules_follows_and_does_not_lead(begin: Begin) -> None:
    """It cosigns, says what differs, and stands again once it has the copy in force."""
    sites, service = begin()
    adopt(sites, service, "paris")
    await_rules(sites, "paris")
    sites.members["lyon"].rules = some_rules(policy=b"another")
    await_that(lambda: sites.problems(service, "lyon") == {"rules-differ"})
    await_that(lambda: service.contenders() == {"paris"})
    assert leader_of(service) == "paris"
    sites.await_agreed(service)
    sites.members["lyon"].rules = some_rules()
    await_that(lambda: "lyon" in service.contenders())


def test_new_rules_are_adopted_under_a_leader_that_has_the_old_ones(begin: Begin) -> None:
    """The leader gives way to a site that works by the copy named, which adopts it."""
    sites, service = begin()
    adopt(sites, service, "paris")
    await_rules(sites, "paris")
    before = leader_of(service)
    other = "lyon" if before == "paris" else "paris"
    sites.members[other].rules = some_rules(policy=b"new")
    await_that(lambda: other not in service.contenders())
    wanted = adopt(sites, service, other)
    await_rules(sites, other)
    await_that(lambda: sites.problems(service, before) == {"rules-differ"})
    state = fold_replica(sites, "lille")
    assert (leader_of(service), state.losses) == (other, [])
    await_that(lambda: fold_replica(sites, "lille").finished.get(wanted) is not None)
    assert fold_replica(sites, "lille").finished[wanted].value == "done"


def test_when_no_site_has_the_copy_in_force_an_operators_adoption_lets_one_lead(
    begin: Begin,
) -> None:
    """Every site was given new rules and the leader died: nobody leads until an operator says so;
    an adoption that no operator signed changes nothing.
    """
    sites, service = begin()
    adopt(sites, service, "paris")
    await_rules(sites, "paris")
    sites.stop("paris", "lyon")
    for site in ("paris", "lyon"):
        sites.members[site].rules = some_rules(policy=b"new")
    sites.start("paris", "lyon")
    for site in ("paris", "lyon"):
        await_that(lambda: sites.problems(service, site) == {"rules-differ"})  # noqa: B023
    sites.world.signers.clear()
    adopt(sites, service, "paris")
    await_that(lambda: len(service.items()) == 1)
    assert service.leader() is None
    sites.world.signers.add(ON_CALL)
    await_rules(sites, "paris")
    await_that(lambda: leader_of(service) != "")


def test_versions_may_be_mixed_while_an_upgrade_rolls(begin: Begin) -> None:
    """A newer agent leads and follows beside the version in force; once the newer is adopted, the
    older one follows only.
    """
    sites, service = begin()
    adopt(sites, service, "paris")
    await_rules(sites, "paris")
    sites.members["lyon"].rules = some_rules(version="0.2.0")
    sites.await_agreed(service)
    assert sites.problems(service, "lyon") == set()
    await_that(lambda: "lyon" in service.contenders())
    sites.ask(service, Verb.TRANSFER, to="lyon")
    await_that(lambda: leader_of(service) == "lyon")
    adopt(sites, service, "lyon")
    await_rules(sites, "lyon")
    await_that(lambda: sites.problems(service, "paris") == {"rules-differ"})
    sites.await_agreed(service)


def test_a_slow_zookeeper_is_told_and_nothing_acknowledged_is_lost(
    begin: Begin, servers: Ensemble
) -> None:
    """Two servers that stand still again and again: a site says how long a write took.

    All speak to the third, so that it is their writes that wait: a read waits for no majority.
    """
    sites, service = begin(hosts=servers.hosts.split(",")[2])
    sites.write(service, 2)
    before = sites.await_agreed(service)
    told = Event()
    slowing = Thread(target=_hinder, args=(servers, sites, told))
    slowing.start()
    try:
        await_that(lambda: _says_slow(sites, service), 40)
    finally:
        told.set()
        slowing.join()
    fresh = sites.connect()
    await_that(lambda: fresh.leader() is not None)
    sites.write(fresh, 2)
    await_that(lambda: not any(sites.problems(fresh, site) for site in SITES))
    size = sites.await_agreed(fresh)
    fresh.close()
    assert size > before
    assert_equal_replicas(sites, size)


def _hinder(servers: Ensemble, sites: Sites, told: Event) -> None:
    """Stop the majority until told; each time lille has something new to say meanwhile.

    A site looks after a second at the latest, and then its write waits for the rest of the stand.
    """
    soon = datetime.now(UTC) + timedelta(days=1)
    lille = sites.members["lille"]
    for certificate in cycle((Certificate(role="site", holder="lille", ends=soon), None)):
        for server in (1, 2):
            servers.pause(server)
        lille.certificate = certificate
        told.wait(1.5)
        for server in (1, 2):
            servers.resume(server)
        if told.wait(0.5):
            break
    lille.certificate = None


def _says_slow(sites: Sites, service: ZooKeeperCoordination) -> bool:
    try:
        return any("zookeeper-slow" in sites.problems(service, site) for site in SITES)
    except LeadershipError:  # too slow for this reader too
        return False
