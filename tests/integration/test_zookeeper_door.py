"""The ZooKeeper door when servers, sessions and clients die: once or never, one leader at most."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from time import monotonic

import pytest

from sisamu_ops.doors.zookeeper import (
    ZooKeeperContention,
    ZooKeeperCoordination,
    ZooKeeperTenure,
)
from sisamu_ops.journal.port import InboxItem
from sisamu_ops.leadership.lease import KILL_MS, Lease, boottime_ns
from sisamu_ops.model.errors import LeadershipError
from tests.support.waiting import await_that
from tests.support.zookeeper import TICK_MS, Ensemble, ensemble

TIMEOUT_MS = 2000
TIMEOUT_S = TIMEOUT_MS / 1000

#: Leads in a process of its own, appends one entry, says so, and holds on.
LEADER = """
import sys, time
from sisamu_ops.doors.zookeeper import ZooKeeperCoordination
hosts, platform, timeout_ms, tick_ms = sys.argv[1:]
service = ZooKeeperCoordination(
    hosts.split(","), platform, timeout_ms=int(timeout_ms), tick_ms=int(tick_ms), wait_s=10
)
tenure = service.contend("paris").try_lead()
tenure.append([b"of the dead"], index=0)
print("leads", flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ensemble]:
    with ensemble(tmp_path_factory.mktemp("zookeeper"), servers=3) as running:
        yield running


Connect = Callable[..., ZooKeeperCoordination]


@pytest.fixture
def connect(servers: Ensemble, tmp_path: Path) -> Iterator[Connect]:
    """Open sessions on a platform of this test's own; all servers serve again afterwards."""
    opened: list[ZooKeeperCoordination] = []

    def open_one(wait_s: float = 5, timeout_ms: int = TIMEOUT_MS) -> ZooKeeperCoordination:
        opened.append(
            ZooKeeperCoordination(
                servers.hosts.split(","), tmp_path.name, timeout_ms=timeout_ms, tick_ms=TICK_MS,
                wait_s=wait_s,
            )
        )  # fmt: skip
        return opened[-1]

    yield open_one
    for server in servers.ids:
        if server in servers.processes:
            servers.resume(server)
        else:
            servers.start(server)
    servers.await_serving()
    for coordination in opened:
        coordination.close()


def lead(connect: Connect, site: str = "paris") -> tuple[ZooKeeperContention, ZooKeeperTenure]:
    contention = connect().contend(site)
    tenure = contention.try_lead()
    assert tenure is not None
    return contention, tenure


def test_the_epoch_rises_with_every_tenure(connect: Connect) -> None:
    """Five leaders in turn, five epochs, each above the last."""
    epochs = []
    for site in ("paris", "lyon", "paris", "paris", "lyon"):
        contention, tenure = lead(connect, site)
        epochs.append(tenure.epoch)
        contention.close()
    assert epochs == sorted(set(epochs))


def test_a_tenure_reads_all_of_the_former(connect: Connect) -> None:
    """A new leader sees every entry of the epochs before its own, wherever it is connected."""
    written: list[bytes] = []
    for site in ("paris", "lyon", "paris"):
        contention, tenure = lead(connect, site)
        assert tenure.read(0, tenure.size()) == written
        for _ in range(20):
            leaf = b"%d of %d" % (len(written), tenure.epoch)
            tenure.append([leaf], index=len(written))
            written.append(leaf)
        contention.close()
    assert len(written) == 60


def test_a_thousand_entries_are_read_at_once(connect: Connect, tmp_path: Path) -> None:
    """A long journal is read in one go, whole and in order, by reader and leader."""
    coordination = connect()
    leaves = [b"%05d" % i * 40 for i in range(1000)]
    transaction = coordination._client.transaction()
    for index, leaf in enumerate(leaves):
        transaction.create(f"/sisamu/{tmp_path.name}/entries/{index:010d}", leaf)
    transaction.commit()
    contention, tenure = lead(connect)
    assert coordination.read(0, 1000) == leaves
    assert tenure.read(0, 1000) == leaves
    contention.close()


def test_a_server_killed_in_the_midst_of_appends(servers: Ensemble, connect: Connect) -> None:
    """Each append is written once, or raises and is the last: never twice, never out of order.

    The server this session speaks to is killed and started again while appends go on.
    """
    contention, tenure = lead(connect)
    acknowledged: list[bytes] = []
    address = tenure._client._connection._socket.getpeername()[0]
    server = next(s for s in servers.ids if servers.address(s) == address)

    def upset() -> None:
        await_that(lambda: len(acknowledged) > 20)
        servers.kill(server)
        servers.start(server)
        servers.await_serving()

    with ThreadPoolExecutor(max_workers=1) as worker, suppress(LeadershipError):
        upsetting = worker.submit(upset)
        while not upsetting.done():
            leaf = b"entry %d" % len(acknowledged)
            tenure.append([leaf], index=len(acknowledged))
            acknowledged.append(leaf)
    servers.await_serving()
    contention.close()
    after = connect().contend("lyon")
    taken: list[ZooKeeperTenure] = []

    def takes() -> bool:
        taken.extend(filter(None, [after.try_lead()]))
        return bool(taken)

    # The session's end may not have reached a server: then it expires.
    await_that(takes, timeout_s=5 * TIMEOUT_S)
    leaves = taken[0].read(0, taken[0].size())
    assert len(acknowledged) > 20
    assert leaves[: len(acknowledged)] == acknowledged
    assert leaves[len(acknowledged) :] in ([], [b"entry %d" % len(acknowledged)])
    after.close()


def test_an_expired_session_leads_no_more(servers: Ensemble, connect: Connect) -> None:
    """All servers paused past T: the lease has ended before they can let anybody else lead.

    Afterwards nothing may be started, an append raises and writes nothing, and another leads.
    """
    contention, tenure = lead(connect)
    tenure.append([b"one"], index=0)
    heard: list[Lease] = []
    tenure.on_lease(heard.append)
    for server in servers.ids:
        servers.pause(server)
    paused_ns = boottime_ns()
    await_that(lambda: not tenure.may_start(), timeout_s=TIMEOUT_S)
    last_ns = max(lease.end_ns for lease in heard)
    assert last_ns <= paused_ns + (TIMEOUT_MS - TICK_MS - KILL_MS) * 1_000_000
    await_that(lambda: heard[-1] == Lease(0), timeout_s=TIMEOUT_S)
    with pytest.raises(LeadershipError):
        tenure.append([b"late"], index=1)
    await_that(lambda: boottime_ns() > paused_ns + (TIMEOUT_MS + 2 * TICK_MS) * 1_000_000)
    for server in servers.ids:
        servers.resume(server)
    servers.await_serving()
    other = connect(wait_s=10).contend("lyon")
    taken: list[ZooKeeperTenure] = []

    def takes() -> bool:
        taken.extend(filter(None, [other.try_lead()]))
        return bool(taken)

    await_that(takes, timeout_s=20)
    assert taken[0].epoch > tenure.epoch
    assert taken[0].read(0, taken[0].size()) == [b"one"]
    with pytest.raises(LeadershipError):
        tenure.append([b"late"], index=1)
    assert (tenure.may_start(), taken[0].size()) == (False, 1)
    other.close()
    contention.close()


def test_while_suspended_nothing_new_is_started(servers: Ensemble, connect: Connect) -> None:
    """With the majority gone a leader starts nothing, well before its session could expire."""
    contention, tenure = lead(connect)
    for server in (1, 2):
        servers.kill(server)
    await_that(lambda: not tenure.may_start(), timeout_s=TIMEOUT_S - TICK_MS / 1000)
    with pytest.raises(LeadershipError):
        tenure.append([b"late"], index=0)
    contention.close()


def test_a_killed_leader_is_replaced(servers: Ensemble, connect: Connect, tmp_path: Path) -> None:
    """A leader killed with kill -9 is replaced, and its successor has all that it wrote."""
    contention = connect().contend("lyon")
    command = [sys.executable, "-c", LEADER, servers.hosts, tmp_path.name]
    leader = subprocess.Popen(
        [*command, str(TIMEOUT_MS), str(TICK_MS)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert leader.stdout is not None
        assert leader.stdout.readline() == "leads\n"
        assert contention.try_lead() is None
        leader.send_signal(signal.SIGKILL)
        taken: list[ZooKeeperTenure] = []

        def takes() -> bool:
            taken.extend(filter(None, [contention.try_lead()]))
            return bool(taken)

        await_that(takes, timeout_s=5 * TIMEOUT_S)
        assert taken[0].read(0, taken[0].size()) == [b"of the dead"]
    finally:
        leader.kill()
        leader.communicate()
        contention.close()


@pytest.mark.parametrize("wait_s", [0.3, 1.0])
def test_a_service_out_of_reach_is_told_in_time(wait_s: float) -> None:
    """Where no server answers, a command learns it within the time it would wait."""
    began = monotonic()
    with pytest.raises(LeadershipError) as caught:
        ZooKeeperCoordination(
            ["127.199.199.199:1"], "nowhere", timeout_ms=TIMEOUT_MS, tick_ms=TICK_MS, wait_s=wait_s
        )
    assert monotonic() - began < wait_s + 10
    assert caught.value.remedy


def test_a_service_that_stops_answering_is_told_in_time(
    servers: Ensemble, connect: Connect
) -> None:
    """An open session whose servers are paused gives an error, it does not hang."""
    coordination = connect(wait_s=1)
    for server in servers.ids:
        servers.pause(server)
    for ask in (coordination.size, coordination.items, coordination.leader, coordination.published):
        began = monotonic()
        with pytest.raises(LeadershipError):
            ask()
        assert monotonic() - began < 10


def test_only_a_tenure_that_stands_consumes(connect: Connect) -> None:
    """An item leaves the inbox with the entry that answers it, or stays when that is refused."""
    coordination = connect()
    contention, tenure = lead(connect)
    for name in ("request-1.aa", "request-2.bb"):
        coordination.put(InboxItem(name=name, payload=b"{}"))
    tenure.append([b"one"], index=0, consume=["request-1.aa"])
    contention.close()
    with pytest.raises(LeadershipError):
        tenure.append([b"two"], index=1, consume=["request-2.bb"])
    after, successor = lead(connect, "lyon")
    assert (successor.size(), [i.name for i in connect().items()]) == (1, ["request-2.bb"])
    after.close()


def test_a_lost_lease_frees_leadership(servers: Ensemble, connect: Connect) -> None:
    """A tenure whose lease ended frees leadership by itself, also while its agent is busy."""
    contention, tenure = lead(connect)
    for server in servers.ids:
        servers.pause(server)
    await_that(lambda: not tenure.lease().holds(boottime_ns()), timeout_s=5)
    for server in servers.ids:
        servers.resume(server)
    servers.await_serving()
    other = connect(wait_s=10).contend("lyon")
    await_that(lambda: other.try_lead() is not None, timeout_s=10)
    other.close()
    contention.close()


def test_the_first_leader_founds_the_journal_where_the_replicas_end(
    connect: Connect,
) -> None:
    """On an ensemble rebuilt from nothing, indexes and epochs go on; later sizes change nothing."""
    coordination = connect()
    assert (coordination.founded(), coordination.first(), coordination.size()) == (False, 0, 0)
    contention = coordination.contend("paris")
    tenure = contention.try_lead(floor=41, size=300)
    assert tenure is not None
    tenure.append([b"on"], index=300)
    found = (coordination.founded(), coordination.first(), coordination.size())
    assert (tenure.epoch, found) == (42, (True, 300, 301))
    contention.close()
    second = connect().contend("lyon").try_lead(floor=5, size=7)
    assert second is not None
    assert (second.epoch, second.size(), second.first()) == (43, 301, 300)


def test_trimmed_entries_are_gone_and_the_others_stay(connect: Connect) -> None:
    """Trimming moves the first index, in several transactions where there are many."""
    tenure = connect().contend("paris").try_lead()
    assert tenure is not None
    tenure.append([b"%d" % n for n in range(1100)], index=0)
    tenure.trim(1050)
    reader = connect()
    assert (reader.first(), reader.size()) == (1050, 1100)
    assert reader.read(1050, 1052) == [b"1050", b"1051"]
    with pytest.raises(LeadershipError):
        reader.read(1049, 1050)
    tenure.append([b"more"], index=1100)
    tenure.trim(1000)
    assert (reader.first(), reader.size()) == (1050, 1101)


def test_a_batch_above_what_a_transaction_may_hold_is_split(connect: Connect) -> None:
    """Two megabytes of entries arrive, and the connection lives."""
    tenure = connect().contend("paris").try_lead()
    assert tenure is not None
    leaves = [bytes([65 + n]) * 65_000 for n in range(30)]
    tenure.append(leaves, index=0)
    assert connect().read(0, 30) == leaves
