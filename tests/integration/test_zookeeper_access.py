"""Who may do what at a real ZooKeeper over TLS: without our certificate nothing, else by role."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import NoAuthError
from kazoo.handlers.threading import KazooTimeoutError
from kazoo.security import OPEN_ACL_UNSAFE

from sisamu_ops.doors.zookeeper import ZooKeeperCoordination
from sisamu_ops.doors.zookeeper.access import Role, rights
from sisamu_ops.doors.zookeeper.client import _Handler, tls_context
from sisamu_ops.journal.port import InboxItem
from sisamu_ops.lab.certificates import CERTIFICATE, KEY, Authority
from sisamu_ops.model.errors import ConfigurationError, LeadershipError
from sisamu_ops.model.platform import Credentials
from tests.support.zookeeper import Ensemble, ensemble

PLATFORM = "guarded"
ROOT = f"/sisamu/{PLATFORM}"
ITEM = InboxItem(name="request-1.aa", payload=b"{}")
Open = Callable[[str], ZooKeeperCoordination]
Raw = Callable[..., KazooClient]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ensemble]:
    """One server, and a journal founded there by a site, with one item in its inbox."""
    authority = Authority(directory=tmp_path_factory.mktemp("authority"), platform=PLATFORM)
    authority.establish()
    with ensemble(tmp_path_factory.mktemp("secured"), authority=authority) as running:
        site = coordination(running, running.credentials("site"))
        tenure = site.contend("paris").try_lead()
        assert tenure is not None
        tenure.append([b"first"], index=0)
        site.publish("site.paris", b"well")
        site.put(ITEM)
        yield running
        tenure.leave()
        site.close()


def coordination(
    server: Ensemble, credentials: Credentials | None, wait_s: float = 5
) -> ZooKeeperCoordination:
    return ZooKeeperCoordination(
        [server.hosts], PLATFORM, timeout_ms=4000, tick_ms=500, wait_s=wait_s,
        credentials=credentials,
    )  # fmt: skip


@pytest.fixture
def open_as(server: Ensemble) -> Iterator[Open]:
    opened: list[ZooKeeperCoordination] = []

    def open_one(unit: str) -> ZooKeeperCoordination:
        opened.append(coordination(server, server.credentials(unit)))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


@pytest.fixture
def raw(server: Ensemble) -> Iterator[Raw]:
    """Speak to the server with stock kazoo: what a client tries is its own affair."""
    opened: list[KazooClient] = []

    def open_one(shown: Credentials | None, authority: Path, patience_s: float = 30) -> KazooClient:
        files = {"certfile": shown.certificate, "keyfile": shown.key} if shown else {}
        client = KazooClient(
            hosts=server.hosts, timeout=4, use_ssl=True, ca=authority,
            **{name: str(path) for name, path in files.items()},
        )  # fmt: skip
        opened.append(client)
        client.start(timeout=patience_s)
        return client

    yield open_one
    for one in opened:
        one.stop()
        one.close()


# --- without our certificate -------------------------------------------------------------


def test_a_client_without_a_certificate_gets_no_session(server: Ensemble, raw: Raw) -> None:
    """It can neither read nor write: the server ends the handshake."""
    with pytest.raises(KazooTimeoutError):
        raw(None, server.credentials("site").authority, patience_s=2)


def test_a_certificate_of_another_authority_gets_no_session(
    server: Ensemble, tmp_path: Path, raw: Raw
) -> None:
    """The same subject, signed by somebody else, is nobody."""
    stranger = Authority(directory=tmp_path / "stranger", platform=PLATFORM)
    stranger.establish()
    stranger.issue(tmp_path / "forged", "site", "paris")
    forged = Credentials(
        authority=server.credentials("site").authority,
        certificate=tmp_path / "forged/certificate.pem", key=tmp_path / "forged/key.pem",
    )  # fmt: skip
    with pytest.raises(KazooTimeoutError):
        raw(forged, forged.authority, patience_s=2)
    with pytest.raises(LeadershipError, match="no trust"):
        coordination(server, forged, wait_s=2)


def test_a_client_in_the_clear_gets_no_word(server: Ensemble) -> None:
    """Neither a session nor a four-letter word: there is no port without TLS."""
    with pytest.raises(LeadershipError):
        coordination(server, None, wait_s=1)
    address = server.hosts.split(":")
    with socket.create_connection((address[0], int(address[1])), 2) as link, suppress(OSError):
        link.sendall(b"srvr")
        assert b"Mode" not in link.recv(4096)


def test_a_server_that_is_not_ours_is_not_spoken_to(server: Ensemble, tmp_path: Path) -> None:
    """A client that trusts another authority sends this server nothing."""
    other = Authority(directory=tmp_path / "other", platform=PLATFORM)
    other.establish()
    mine = replace(server.credentials("operator"), authority=other.certificate)
    with pytest.raises(LeadershipError, match="CERTIFICATE_VERIFY_FAILED"):
        coordination(server, mine, wait_s=2)


def test_another_address_than_the_certificates_is_not_spoken_to(
    server: Ensemble, tmp_path: Path
) -> None:
    """Whoever has stolen one server's place in the network has not its name."""
    assert server.authority is not None
    server.authority.issue(tmp_path / "elsewhere", "server", "127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "elsewhere/certificate.pem", tmp_path / "elsewhere/key.pem")
    with socket.create_server(("127.0.0.2", 0)) as listening:
        port = listening.getsockname()[1]
        with context.wrap_socket(listening, server_side=True) as secured:
            secured.settimeout(2)
            with pytest.raises(LeadershipError):
                ZooKeeperCoordination(
                    [f"127.0.0.2:{port}"], PLATFORM, timeout_ms=2000, tick_ms=500, wait_s=1,
                    credentials=server.credentials("operator"),
                )  # fmt: skip
            with pytest.raises(ssl.SSLError):
                secured.accept()


@pytest.mark.parametrize("file", ["authority", "certificate", "key"])
def test_a_missing_file_is_named(server: Ensemble, file: str, tmp_path: Path) -> None:
    """Before anything is connected to: one error with the place."""
    lacking = replace(server.credentials("operator"), **{file: tmp_path / "nowhere.pem"})
    with pytest.raises(ConfigurationError, match="not a usable certificate"):
        coordination(server, lacking)


# --- by role -----------------------------------------------------------------------------


@pytest.mark.parametrize("unit", ["operator", "arbiter"])
def test_who_may_not_lead_reads_and_submits(open_as: Open, unit: str) -> None:
    """Everything is read, and what is asked goes into the inbox."""
    mine = open_as(unit)
    assert mine.read(0, 1) == [b"first"]
    assert mine.leader() is not None
    assert mine.published()["site.paris"] == b"well"
    mine.put(InboxItem(name=f"request-{unit}.bb", payload=b"{}"))
    assert f"request-{unit}.bb" in {item.name for item in mine.items()}


def test_the_arbiter_shows_what_it_cosigns_and_an_operator_does_not(open_as: Open) -> None:
    """Its own notes, twice; an operator's would stand among the sites' words."""
    arbiter = open_as("arbiter")
    arbiter.publish("site.lille", b"well")
    arbiter.publish("site.lille", b"still well")
    assert arbiter.published()["site.lille"] == b"still well"
    with pytest.raises(LeadershipError, match="does not allow"):
        open_as("operator").publish("site.nobody", b"well")


@pytest.mark.parametrize("unit", ["operator", "arbiter"])
def test_who_may_not_lead_does_not_get_to_stand(open_as: Open, unit: str) -> None:
    """The arbiter votes and witnesses: ZooKeeper itself keeps it from leading."""
    with pytest.raises(LeadershipError, match="does not allow"):
        open_as(unit).contend("lyon")


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.ARBITER])
def test_nothing_else_is_written_whatever_is_tried(server: Ensemble, raw: Raw, role: Role) -> None:
    """Head, epoch, lease, leader, entries, others' inbox items and rights: each is refused."""
    shown = server.credentials(role.value)
    client = raw(shown, shown.authority)
    before = client.get(f"{ROOT}/head")
    tries: list[Callable[[], object]] = [
        *(lambda n=name: client.set(f"{ROOT}/{n}", b"9") for name in ("head", "epoch", "first")),
        *(lambda n=name: client.set(f"{ROOT}/{n}", b"9") for name in ("lease", "leader")),
        lambda: client.set(f"{ROOT}/entries/0000000000", b"forged"),
        lambda: client.create(f"{ROOT}/entries/0000000001", b"forged"),
        lambda: client.create(f"{ROOT}/another", b""),
        lambda: client.create(f"{ROOT}/contenders/lyon", b"", ephemeral=True),
        lambda: client.delete(f"{ROOT}/leader"),
        lambda: client.delete(f"{ROOT}/entries/0000000000"),
        lambda: client.delete(f"{ROOT}/inbox/{ITEM.name}"),
        lambda: client.set(f"{ROOT}/inbox/{ITEM.name}", b"other"),
        lambda: client.set_acls(f"{ROOT}/head", OPEN_ACL_UNSAFE),
    ]
    for attempt in tries:
        with pytest.raises(NoAuthError):
            attempt()
    assert client.get(f"{ROOT}/head") == before


def test_a_node_made_with_other_rights_is_put_right(server: Ensemble, raw: Raw) -> None:
    """Where an ensemble was open before, whoever may lead closes it before it stands."""
    shown = server.credentials("site")
    client = raw(shown, shown.authority)
    for name in ("/lease", "/inbox", "/head", ""):
        client.set_acls(ROOT + name, OPEN_ACL_UNSAFE)
    site = coordination(server, shown)
    site.contend("lyon").close()
    for name in ("lease", "inbox", "head", ""):
        held, _ = client.get_acls(f"{ROOT}/{name}".rstrip("/"))
        assert sorted(held) == sorted(rights(PLATFORM, name))
    site.close()


def test_whoever_comes_first_makes_nothing_its_own(server: Ensemble) -> None:
    """On an empty ensemble an operator's look leaves a place that only a site can furnish."""
    assert server.authority is not None
    authority = replace(server.authority, platform="empty")
    held = {role: credentials_of(authority, server.root, role) for role in Role}

    def look(role: Role, wait_s: float = 5) -> ZooKeeperCoordination:
        return ZooKeeperCoordination(
            [server.hosts], "empty", timeout_ms=4000, tick_ms=500, wait_s=wait_s,
            credentials=held[role],
        )  # fmt: skip

    for role in (Role.OPERATOR, Role.ARBITER):
        with pytest.raises(LeadershipError, match="no site has made its place"):
            look(role, wait_s=2)
    site = look(Role.SITE)
    tenure = site.contend("paris").try_lead()
    assert tenure is not None
    tenure.append([b"first"], index=0)
    operator = look(Role.OPERATOR)
    assert operator.read(0, 1) == [b"first"]
    tenure.leave()
    for one in (operator, site):
        one.close()


def credentials_of(authority: Authority, root: Path, role: Role) -> Credentials:
    directory = root / f"{authority.platform}-{role.value}"
    authority.issue(directory, role.value, "somebody")
    return Credentials(
        authority=authority.certificate, certificate=directory / CERTIFICATE, key=directory / KEY
    )


# --- kazoo over TLS ----------------------------------------------------------------------


@contextmanager
def a_pair(server: Ensemble, address: str) -> Iterator[tuple[_Handler, Any, ssl.SSLSocket]]:
    """Connect our handler to a server of this test's own; yield it and both ends."""
    assert server.authority is not None
    directory = server.root / f"server-{address}"
    server.authority.issue(directory, "server", address)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / CERTIFICATE, directory / KEY)
    handler = _Handler(4, tls_context(server.credentials("operator")))
    with socket.create_server((address, 0)) as listening, ThreadPoolExecutor(1) as pool:
        theirs = pool.submit(lambda: context.wrap_socket(listening.accept()[0], server_side=True))
        ours = handler.create_connection(listening.getsockname())
        with ours, theirs.result() as other:
            yield handler, ours, other


def test_two_answers_in_one_record_are_both_heard_at_once(server: Ensemble) -> None:
    """What a record brings beyond the first answer is not left until the next one arrives."""
    with a_pair(server, "127.0.0.3") as (handler, ours, theirs):
        theirs.sendall(b"onetwo")
        assert handler.select([ours], [], [], 2)[0] == [ours]
        assert ours.recv(3) == b"one"
        assert handler.select([ours], [], [], 0)[0] == [ours], "the second one waits, unheard"
        assert ours.recv(3) == b"two"
        ours.setblocking(False)
        assert handler.select([ours], [], [], 0)[0] == []


def test_a_long_journal_is_read_whole(open_as: Open) -> None:
    """A thousand pipelined answers come in many records: each is heard, and in order."""
    mine = open_as("operator")
    paths = [f"{ROOT}/head", f"{ROOT}/entries/0000000000"] * 500
    pending = [mine._client.get_async(path) for path in paths]
    assert [one.get(timeout=30)[0] for one in pending] == [b"1", b"first"] * 500
