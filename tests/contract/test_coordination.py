"""One contract, two adapters: what leadership and the journal rely on, proved on both.

The ZooKeeper runs are against a real server, over TLS too; `local` is a directory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sisamu_ops.doors.local import LocalCoordination
from sisamu_ops.doors.zookeeper import ZooKeeperCoordination
from sisamu_ops.journal.port import InboxItem
from sisamu_ops.lab.certificates import Authority
from sisamu_ops.leadership.lease import boottime_ns
from sisamu_ops.leadership.port import Coordination, Leadership
from sisamu_ops.model.errors import LeadershipError
from sisamu_ops.model.platform import Credentials
from tests.support.zookeeper import Ensemble, ensemble

Connect = Callable[[], Coordination]
ITEM = InboxItem(name="request-1.aa", payload=b"{}")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ensemble]:
    with ensemble(tmp_path_factory.mktemp("zookeeper")) as running:
        yield running


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ensemble]:
    authority = Authority(directory=tmp_path_factory.mktemp("authority"), platform="contract")
    authority.establish()
    with ensemble(tmp_path_factory.mktemp("secured"), authority=authority) as running:
        yield running


@pytest.fixture(params=["local", "zookeeper", "zookeeper over TLS"])
def connect(
    request: pytest.FixtureRequest, tmp_path: Path, server: Ensemble, secured: Ensemble
) -> Iterator[Connect]:
    opened: list[Coordination] = []

    def local() -> Coordination:
        return LocalCoordination(tmp_path / "state")

    def zookeeper(servers: Ensemble, credentials: Credentials | None = None) -> Coordination:
        return ZooKeeperCoordination(
            [servers.hosts], tmp_path.name, timeout_ms=2000, tick_ms=500, wait_s=5,
            credentials=credentials,
        )  # fmt: skip

    def over_tls() -> Coordination:
        # Rights go with the platform's name, which is this test's own.
        assert secured.authority is not None
        secured.authority = replace(secured.authority, platform=tmp_path.name)
        return zookeeper(secured, secured.credentials("site"))

    ways = {"local": local, "zookeeper": lambda: zookeeper(server), "zookeeper over TLS": over_tls}

    def keep() -> Coordination:
        opened.append(ways[request.param]())
        return opened[-1]

    yield keep
    for coordination in opened:
        coordination.close()


def test_a_new_journal_is_empty_and_leaderless(connect: Connect) -> None:
    """Before anybody leads there are no entries, no items and no leader."""
    coordination = connect()
    assert (coordination.size(), coordination.items(), coordination.leader()) == (0, [], None)


def test_putting_the_same_item_twice_is_harmless(connect: Connect) -> None:
    """The same bytes under the same name are one item."""
    coordination = connect()
    coordination.put(ITEM)
    coordination.put(ITEM)
    assert coordination.items() == [ITEM]


def test_other_bytes_under_a_taken_name_are_refused(connect: Connect) -> None:
    """An item cannot be overwritten."""
    coordination = connect()
    coordination.put(ITEM)
    with pytest.raises(ValueError, match="other bytes"):
        coordination.put(InboxItem(name=ITEM.name, payload=b"[]"))


@pytest.mark.parametrize("name", ["", "../x", "a/b", "a b", ".hidden"])
def test_odd_names_are_refused(connect: Connect, name: str) -> None:
    """A name never reaches outside the inbox."""
    with pytest.raises(ValueError, match="inbox name"):
        connect().put(InboxItem(name=name, payload=b"x"))


def test_what_the_leader_appends_everybody_reads(connect: Connect) -> None:
    """Entries are read back in order, by another connection, and by the tenure itself."""
    contention = connect().contend("paris")
    tenure = contention.try_lead()
    assert tenure is not None
    for index, leaf in enumerate([b"one", b"two", b"three"]):
        tenure.append([leaf], index=index)
    reader = connect()
    assert (reader.size(), reader.read(0, 3)) == (3, [b"one", b"two", b"three"])
    assert (tenure.size(), tenure.read(1, 2)) == (3, [b"two"])
    assert reader.leader() == Leadership(site="paris", epoch=tenure.epoch)
    tenure.leave()
    contention.close()


def test_an_append_consumes_the_items_it_answers(connect: Connect) -> None:
    """Answered items leave the inbox, others stay."""
    coordination = connect()
    coordination.put(ITEM)
    coordination.put(InboxItem(name="request-2.bb", payload=b"{}"))
    contention = coordination.contend("paris")
    tenure = contention.try_lead()
    assert tenure is not None
    tenure.append([b"one"], index=0, consume=[ITEM.name])
    assert [item.name for item in coordination.items()] == ["request-2.bb"]
    contention.close()


def test_an_item_already_gone_is_no_hindrance(connect: Connect) -> None:
    """An item named for removal that is answered already costs neither entry nor leadership."""
    contention = connect().contend("paris")
    tenure = contention.try_lead()
    assert tenure is not None
    tenure.append([b"one"], index=0, consume=["gone.aa"])
    tenure.append([b"two"], index=1)
    assert connect().read(0, 2) == [b"one", b"two"]
    contention.close()


@pytest.mark.parametrize("index", [1, 7])
def test_an_append_never_leaves_a_gap(connect: Connect, index: int) -> None:
    """Only the next index is written."""
    contention = connect().contend("paris")
    tenure = contention.try_lead()
    assert tenure is not None
    with pytest.raises(LeadershipError):
        tenure.append([b"late"], index=index)
    assert connect().size() == 0
    contention.close()


def test_an_index_is_written_once(connect: Connect) -> None:
    """Writing an index again with other content is refused and changes nothing."""
    contention = connect().contend("paris")
    tenure = contention.try_lead()
    assert tenure is not None
    tenure.append([b"one"], index=0)
    with pytest.raises(LeadershipError):
        tenure.append([b"other"], index=0)
    assert connect().read(0, 1) == [b"one"]
    contention.close()


def test_only_one_leads(connect: Connect) -> None:
    """A second contender gets nothing while the first leads, and a higher epoch after."""
    first, second = connect().contend("paris"), connect().contend("lyon")
    tenure = first.try_lead()
    assert tenure is not None
    assert second.try_lead() is None
    tenure.leave()
    after = second.try_lead()
    assert after is not None
    assert after.epoch > tenure.epoch
    second.close()


def test_a_tenure_that_left_appends_no_more(connect: Connect) -> None:
    """After leaving there is no lease, and an append raises and writes nothing."""
    contention = connect().contend("paris")
    tenure = contention.try_lead()
    assert tenure is not None
    assert tenure.may_start()
    tenure.leave()
    assert not tenure.may_start()
    assert not tenure.lease().holds(boottime_ns())
    with pytest.raises(LeadershipError):
        tenure.append([b"late"], index=0)
    assert connect().size() == 0


def test_a_lease_listener_hears_now_and_can_stop(connect: Connect) -> None:
    """Whoever starts something learns at once how long it may run."""
    contention = connect().contend("paris")
    tenure = contention.try_lead()
    assert tenure is not None
    heard = []
    forget = tenure.on_lease(heard.append)
    assert heard[0].holds(boottime_ns())
    forget()
    contention.close()


def test_a_change_ends_the_wait(connect: Connect) -> None:
    """An item put by another connection wakes a reader."""
    coordination = connect()
    coordination.await_change(1)
    connect().put(ITEM)
    assert coordination.await_change(5)


def test_notes_are_shown_to_all(connect: Connect) -> None:
    """A published note is read by others, and replaced by the next under its name."""
    connect().publish("log.paris", b"old")
    connect().publish("log.paris", b"new")
    assert connect().published() == {"log.paris": b"new"}


def test_an_epoch_rises_above_the_floor(connect: Connect) -> None:
    """Whoever knows of a higher epoch leads above it, and every later leader too."""
    first = connect().contend("paris")
    tenure = first.try_lead(floor=2**32)
    assert tenure is not None
    assert tenure.epoch == 2**32 + 1
    first.close()
    second = connect().contend("paris").try_lead(floor=7)
    assert second is not None
    assert second.epoch == 2**32 + 2


def test_the_counter_is_read_without_leading(connect: Connect) -> None:
    """Whoever must act above every epoch can ask for the highest, led or not."""
    assert connect().epoch() == 0
    contention = connect().contend("paris")
    tenure = contention.try_lead(floor=41)
    assert tenure is not None
    assert connect().epoch() == 42
    contention.close()
    assert connect().epoch() == 42


def test_several_entries_are_appended_at_once(connect: Connect) -> None:
    """A batch is entries like any other, and its items are gone."""
    coordination = connect()
    coordination.put(ITEM)
    tenure = coordination.contend("paris").try_lead()
    assert tenure is not None
    tenure.append([b"one", b"two"], index=0, consume=[ITEM.name])
    tenure.append([b"three"], index=2)
    reader = connect()
    assert (reader.read(0, reader.size()), reader.items()) == ([b"one", b"two", b"three"], [])


@pytest.mark.parametrize("index", [0, 2])
def test_an_index_that_is_not_next_is_refused(connect: Connect, index: int) -> None:
    """An entry stands at the end of the journal or nowhere."""
    tenure = connect().contend("paris").try_lead()
    assert tenure is not None
    tenure.append([b"one"], index=0)
    with pytest.raises(LeadershipError):
        tenure.append([b"astray"], index=index)
    assert connect().size() == 1
