"""ZooKeeper as the coordination service: the newest entries, the inbox, the election.

Layout below `/sisamu/<platform>`: `epoch` (counter), `leader` (ephemeral), `lease` (heartbeat),
`head` (journal size), `first` (oldest index kept), `entries/<index>`, `inbox/<name>`,
`contenders/<site>` (ephemeral), `published/<name>` (checkpoints, cosignatures). `epoch`, `head` and
`first` are founded by the first leader, so that a rebuilt ensemble goes on from the replicas.

Every write of a leader is one transaction that checks the version of `epoch` and the existence
of `leader`: both change together and only in the transaction that makes a new leader, so the
pair stands for "this tenure still holds". Reads and `sync` prove nothing of the kind.
Two traps of kazoo are kept behind this door: `commit()` returns exceptions instead of raising
them, and calls made while disconnected wait for ever unless a time-out is given.
"""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from kazoo.client import KazooClient, TransactionRequest
from kazoo.exceptions import (
    BadVersionError,
    ConnectionLoss,
    KazooException,
    NodeExistsError,
    NoNodeError,
    OperationTimeoutError,
    RolledBackError,
    SessionExpiredError,
)
from kazoo.handlers.threading import KazooTimeoutError, SequentialThreadingHandler
from kazoo.protocol.states import KazooState, ZnodeStat

from sisamu_ops.journal.port import InboxItem
from sisamu_ops.leadership.lease import Lease, boottime_ns, heartbeat_interval_s, lease_from
from sisamu_ops.leadership.port import Leadership
from sisamu_ops.model.errors import LeadershipError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
#: ConnectionLoss and time-outs leave it open whether the transaction was carried out.
_AMBIGUOUS = (ConnectionLoss, OperationTimeoutError, KazooTimeoutError)
#: Far below the 1 MB at which the server ends the connection, so that a transaction never does.
_MAX_TRANSACTION_BYTES = 512 * 1024
#: Entries trimmed in one transaction.
_TRIMMED_AT_ONCE = 500
#: Of the session time-out, what connecting to one server may take.
_CONNECT_SHARE = 0.2
#: The longest rest between two rounds of all servers, in seconds: elections take no longer.
_RECONNECT_S = 0.2
_REMEDY = "check the ensemble with `sisamu doctor`; calls go on without it"


def _unreachable(cause: BaseException) -> LeadershipError:
    name = type(cause).__name__
    return LeadershipError(f"ZooKeeper cannot be reached ({name})", remedy=_REMEDY)


class _Handler(SequentialThreadingHandler):  # type: ignore[misc]  # kazoo has no types
    """Gives a server that does not answer at all a share of the session, not all of it.

    kazoo waits the whole session time-out for each: while a site is cut off, one that is not may
    stand in that queue until its session is over.
    """

    def __init__(self, connect_s: float) -> None:
        super().__init__()
        self._connect_s = connect_s

    def create_connection(self, *args: Any, **kwargs: Any) -> Any:
        kwargs["timeout"] = min(kwargs.get("timeout") or self._connect_s, self._connect_s)
        return super().create_connection(*args, **kwargs)


class _Client(KazooClient):  # type: ignore[misc]  # kazoo has no types
    """A client that two threads may end: kazoo minds being closed while it is stopping."""

    def __init__(self, hosts: str, timeout_s: float) -> None:
        super().__init__(
            hosts=hosts, timeout=timeout_s, handler=_Handler(timeout_s * _CONNECT_SHARE),
            connection_retry={"max_tries": -1, "delay": 0.05, "max_delay": _RECONNECT_S},
        )  # fmt: skip
        self._ending = threading.Lock()
        self._ended = False

    def end(self) -> None:
        with self._ending:
            if not self._ended:
                with suppress(KazooException, OSError):
                    self.stop()
                    self.close()
            self._ended = True


def _connect(hosts: str, timeout_ms: int, wait_s: float) -> _Client:
    logging.getLogger("kazoo").setLevel(logging.CRITICAL)
    client = _Client(hosts, timeout_ms / 1000)
    try:
        client.start(timeout=wait_s)
    except KazooTimeoutError as error:
        client.end()
        raise _unreachable(error) from error
    return client


def _commit(transaction: TransactionRequest, timeout_s: float) -> list[Any]:
    """Commit and raise what kazoo would have returned as a value."""
    results: list[Any] = transaction.commit_async().get(timeout=timeout_s)
    failures = [r for r in results if isinstance(r, Exception)]
    for failure in failures:
        if not isinstance(failure, RolledBackError):
            raise failure
    if failures:
        raise failures[0]
    return results


def _chunks(leaves: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """Cut leaves into what one transaction may hold."""
    start, size = 0, 0
    for at, leaf in enumerate(leaves):
        if size and size + len(leaf) > _MAX_TRANSACTION_BYTES:
            yield leaves[start:at]
            start, size = at, 0
        size += len(leaf)
    if start < len(leaves):
        yield leaves[start:]


class ZooKeeperCoordination:
    """A session for reading, submitting and publishing; contending opens its own."""

    def __init__(
        self, hosts: Sequence[str], platform: str, *, timeout_ms: int, tick_ms: int, wait_s: float
    ) -> None:
        """Connect within `wait_s` seconds; LeadershipError when no server answers."""
        self._hosts = ",".join(hosts)
        self._root = f"/sisamu/{platform}"
        self._timeout_ms = timeout_ms
        self._tick_ms = tick_ms
        self._wait_s = wait_s
        self._changed = threading.Event()
        self._client = _connect(self._hosts, timeout_ms, wait_s)
        try:
            self._prepare()
            self._watch()
        except LeadershipError:
            self.close()
            raise

    def _prepare(self) -> None:
        for path in ("lease", "published", "entries", "inbox", "contenders"):
            self._ensure(f"{self._root}/{path}", b"")

    def _ensure(self, path: str, data: bytes) -> None:
        if self._ask(self._client.exists_async(path)) is None:
            with suppress(NodeExistsError):
                self._raw(self._client.create_async(path, data, makepath=True))

    def _watch(self) -> None:
        def note(*_: object) -> bool:
            self._changed.set()
            return True

        try:
            self._client.DataWatch(f"{self._root}/head", note)
            self._client.DataWatch(f"{self._root}/leader", note)
            self._client.DataWatch(f"{self._root}/published", note)
            self._client.ChildrenWatch(f"{self._root}/inbox", note)
            self._client.ChildrenWatch(f"{self._root}/contenders", note)
        except KazooException as error:
            raise _unreachable(error) from error
        self._client.add_listener(note)

    def _raw(self, pending: Any) -> Any:
        """Await one call; only node errors (exists, missing, version) pass through."""
        try:
            return pending.get(timeout=self._wait_s)
        except (NodeExistsError, NoNodeError, BadVersionError):
            raise
        except (KazooException, KazooTimeoutError) as error:
            raise _unreachable(error) from error

    def _ask(self, pending: Any) -> Any:
        try:
            return self._raw(pending)
        except NoNodeError as error:
            raise _unreachable(error) from error

    def founded(self) -> bool:
        """Say whether a leader has founded the journal here, as this session reads it."""
        return self._raw(self._client.exists_async(f"{self._root}/head")) is not None

    def first(self) -> int:
        """Return the index of the oldest entry kept, as this session reads it."""
        return self._number("first")

    def size(self) -> int:
        """Return the number of entries acknowledged, as this session reads it."""
        return self._number("head")

    def _number(self, name: str) -> int:
        """Read a counter; 0 before the journal is founded."""
        try:
            return int(self._raw(self._client.get_async(f"{self._root}/{name}"))[0])
        except NoNodeError:
            return 0

    def read(self, start: int, stop: int) -> list[bytes]:
        """Return the leaves [start, stop), pipelined in one round of the network."""
        paths = [self._entry(i) for i in range(start, stop)]
        pending = [self._client.get_async(path) for path in paths]
        return [self._ask(one)[0] for one in pending]

    def _entry(self, index: int) -> str:
        return f"{self._root}/entries/{index:010d}"

    def put(self, item: InboxItem) -> None:
        """Submit a document; the same name with other bytes is a ValueError."""
        if not _NAME.fullmatch(item.name):
            raise ValueError(f"{item.name!r} is not an inbox name")
        path = f"{self._root}/inbox/{item.name}"
        try:
            self._raw(self._client.create_async(path, item.payload))
        except NodeExistsError:
            with suppress(NoNodeError):
                if self._raw(self._client.get_async(path))[0] != item.payload:
                    raise ValueError(f"{item.name} is in the inbox with other bytes") from None

    def items(self) -> list[InboxItem]:
        """Return what waits in the inbox, in order of name."""
        names = sorted(self._ask(self._client.get_children_async(f"{self._root}/inbox")))
        found = []
        for name in names:
            with suppress(NoNodeError):
                path = f"{self._root}/inbox/{name}"
                payload = self._raw(self._client.get_async(path))[0]
                found.append(InboxItem(name=name, payload=payload))
        return found

    def epoch(self) -> int:
        """Return the highest epoch anybody has led under, as this session reads it."""
        return self._number("epoch")

    def leader(self) -> Leadership | None:
        """Return who leads as this session reads it."""
        try:
            data = self._raw(self._client.get_async(f"{self._root}/leader"))[0]
        except NoNodeError:
            return None
        fields = json.loads(data)
        return Leadership(site=fields["site"], epoch=fields["epoch"])

    def contenders(self) -> frozenset[str]:
        """Return the sites that stand, as this session reads it."""
        return frozenset(self._ask(self._client.get_children_async(f"{self._root}/contenders")))

    def contend(self, site: str) -> ZooKeeperContention:
        """Stand for leader with a session of its own."""
        client = _connect(self._hosts, self._timeout_ms, self._wait_s)
        return ZooKeeperContention(
            client, self._root, site, timeout_ms=self._timeout_ms, tick_ms=self._tick_ms
        )

    def await_change(self, timeout_s: float) -> bool:
        """Wait for a watch to fire; False on time-out."""
        fired = self._changed.wait(timeout_s)
        self._changed.clear()
        return fired

    def wake(self) -> None:
        """End a wait from another thread."""
        self._changed.set()

    def publish(self, name: str, note: bytes) -> None:
        """Show a note under `name`, and let watchers know."""
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a name")
        path = f"{self._root}/published/{name}"
        self._ensure(path, b"")
        transaction = self._client.transaction()
        transaction.set_data(path, note)
        transaction.set_data(f"{self._root}/published", name.encode())
        try:
            _commit(transaction, self._wait_s)
        except (KazooException, KazooTimeoutError) as error:
            raise _unreachable(error) from error

    def published(self) -> Mapping[str, bytes]:
        """Return every note shown."""
        names = self._ask(self._client.get_children_async(f"{self._root}/published"))
        pending = {n: self._client.get_async(f"{self._root}/published/{n}") for n in names}
        return {name: self._ask(one)[0] for name, one in pending.items()}

    def close(self) -> None:
        """Close the session."""
        self._client.end()


class ZooKeeperContention:
    """One site's standing, as an ephemeral node of its own session."""

    def __init__(
        self, client: _Client, root: str, site: str, *, timeout_ms: int, tick_ms: int
    ) -> None:
        """Show that `site` stands."""
        self._client = client
        self._root = root
        self._site = site
        self._timeout_ms = timeout_ms
        self._tick_ms = tick_ms
        self._wait_s = timeout_ms / 1000
        self._show()

    def _show(self) -> None:
        path = f"{self._root}/contenders/{self._site}"
        try:
            # A node left by this site's previous session would vanish under us: replace it.
            with suppress(NoNodeError):
                self._client.delete_async(path).get(timeout=self._wait_s)
            self._client.create_async(path, b"", ephemeral=True).get(timeout=self._wait_s)
        except (KazooException, KazooTimeoutError) as error:
            self._client.end()
            raise _unreachable(error) from error

    def present(self) -> frozenset[str]:
        """Return the sites that stand, as this session reads it."""
        try:
            path = f"{self._root}/contenders"
            return frozenset(self._client.get_children_async(path).get(timeout=self._wait_s))
        except (KazooException, KazooTimeoutError) as error:
            raise _unreachable(error) from error

    def try_lead(self, *, floor: int = 0, size: int = 0) -> ZooKeeperTenure | None:
        """Raise the epoch and create the leader node in one transaction.

        Where no journal is founded the same transaction founds it, from `size` on.
        """
        sent_ns = boottime_ns()
        try:
            transaction = self._client.transaction()
            epoch, version = self._raise_epoch(transaction, floor, size)
            leader = json.dumps({"site": self._site, "epoch": epoch}, sort_keys=True)
            transaction.create(f"{self._root}/leader", leader.encode(), ephemeral=True)
            _commit(transaction, self._wait_s)
        except (NodeExistsError, BadVersionError, RolledBackError):
            return None
        except (KazooException, KazooTimeoutError) as error:
            raise _unreachable(error) from error
        lease = lease_from(sent_ns, timeout_ms=self._timeout_ms, tick_ms=self._tick_ms)
        return ZooKeeperTenure(
            self._client, self._root, self._site, epoch, epoch_version=version, lease=lease,
            timeout_ms=self._timeout_ms, tick_ms=self._tick_ms,
        )  # fmt: skip

    def _raise_epoch(
        self, transaction: TransactionRequest, floor: int, size: int
    ) -> tuple[int, int]:
        """Add the counter's change, or the founding; return the epoch and its node's version."""
        try:
            data, stat = self._client.get_async(f"{self._root}/epoch").get(timeout=self._wait_s)
        except NoNodeError:
            for name, number in (("epoch", floor + 1), ("head", size), ("first", size)):
                transaction.create(f"{self._root}/{name}", str(number).encode())
            return floor + 1, 0
        epoch = max(int(data), floor) + 1
        transaction.set_data(f"{self._root}/epoch", str(epoch).encode(), version=stat.version)
        return epoch, stat.version + 1

    def close(self) -> None:
        """Close the session: the contender node, and leadership if held, end with it."""
        self._client.end()


class ZooKeeperTenure:
    """Leadership held: heartbeats, the lease, and the only way to append."""

    def __init__(
        self,
        client: _Client,
        root: str,
        site: str,
        epoch: int,
        *,
        epoch_version: int,
        lease: Lease,
        timeout_ms: int,
        tick_ms: int,
    ) -> None:
        """Begin heartbeats; the session belongs to the tenure from here on."""
        self.site = site
        self.epoch = epoch
        self._client = client
        self._root = root
        self._epoch_version = epoch_version
        self._timeout_ms = timeout_ms
        self._tick_ms = tick_ms
        self._lease = lease
        #: Size and node version of the head, once read: both rise with every append.
        self._head: tuple[int, int] | None = None
        self._lost = False
        self._suspended = False
        self._stop = threading.Event()
        self._listeners: list[Callable[[Lease], None]] = []
        client.add_listener(self._on_state)
        self._beats = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._beats.start()

    def lease(self) -> Lease:
        """Return the lease as last renewed; ended for good once leadership is known lost."""
        return Lease(0) if self._lost else self._lease

    def may_start(self) -> bool:
        """Say whether something new may be started now."""
        return not self._suspended and self.lease().holds(boottime_ns())

    def on_lease(self, listener: Callable[[Lease], None]) -> Callable[[], None]:
        """Call `listener` now and at every renewal; with an ended lease when it is lost."""
        self._listeners.append(listener)
        listener(self.lease())
        return lambda: self._listeners.remove(listener)

    def _on_state(self, state: str) -> None:
        self._suspended = state == KazooState.SUSPENDED
        if state == KazooState.LOST:
            self._lose()

    def _lose(self) -> None:
        self._lost = True
        self._tell()

    def _tell(self) -> None:
        for listener in list(self._listeners):
            listener(self.lease())

    def _begin(self) -> TransactionRequest:
        transaction = self._client.transaction()
        transaction.check(f"{self._root}/epoch", self._epoch_version)
        transaction.check(f"{self._root}/leader", 0)
        return transaction

    def _beat(self) -> None:
        """Renew by a write, one in flight, until stopped or lost."""
        interval_s = heartbeat_interval_s(self._timeout_ms)
        while not self._stop.wait(interval_s):
            if not self._renew():
                self._lose()
                # Whatever the agent is busy with, another site may lead from here on.
                self._client.end()
                return

    def _renew(self) -> bool:
        """Send one heartbeat; False when leadership is lost or its lease has run out."""
        while True:
            sent_ns = boottime_ns()
            remaining_s = self.lease().remaining_s(sent_ns)
            if remaining_s <= 0:
                return False
            transaction = self._begin()
            transaction.set_data(f"{self._root}/lease", str(self.epoch).encode())
            try:
                _commit(transaction, remaining_s)
            except _AMBIGUOUS:
                if self._stop.wait(0.05):
                    return True
                continue
            except KazooException:
                return False
            self._lease = lease_from(sent_ns, timeout_ms=self._timeout_ms, tick_ms=self._tick_ms)
            self._tell()
            return True

    def first(self) -> int:
        """Return the index of the oldest entry kept."""
        return int(self._get("first")[0])

    def size(self) -> int:
        """Return the number of entries: this session made the leader node after all of them."""
        data, stat = self._get("head")
        self._head = (int(data), stat.version)
        return int(data)

    def read(self, start: int, stop: int) -> list[bytes]:
        """Return the leaves [start, stop)."""
        pending = [
            self._client.get_async(f"{self._root}/entries/{i:010d}") for i in range(start, stop)
        ]
        try:
            return [one.get(timeout=self._timeout_ms / 1000)[0] for one in pending]
        except (KazooException, KazooTimeoutError) as error:
            raise _unreachable(error) from error

    def _get(self, name: str) -> tuple[bytes, ZnodeStat]:
        try:
            pending = self._client.get_async(f"{self._root}/{name}")
            data, stat = pending.get(timeout=self._timeout_ms / 1000)
            return data, stat
        except (KazooException, KazooTimeoutError) as error:
            raise _unreachable(error) from error

    def append(self, leaves: Sequence[bytes], *, index: int, consume: Sequence[str] = ()) -> None:
        """Write the entries, move the head and remove the inbox items, in one transaction.

        Above 512 KiB in several, the items with the first. LeadershipError unless all is known to
        be committed: it may then still have been written, which the next leader's fold shows.
        """
        if self._head is None:
            self.size()
        for chunk in _chunks(leaves):
            self._append(chunk, index, consume)
            index, consume = index + len(chunk), ()

    def _append(self, leaves: Sequence[bytes], index: int, consume: Sequence[str]) -> None:
        size, version = self._head or (-1, -1)
        if index != size:
            raise self._ended()
        self._commit_append(leaves, index, version, consume)
        self._head = (index + len(leaves), version + 1)

    def _commit_append(
        self, leaves: Sequence[bytes], index: int, version: int, consume: Sequence[str]
    ) -> None:
        """Write them once, however often it takes; LeadershipError unless known committed."""
        while True:
            now_ns = boottime_ns()
            if not self.lease().holds(now_ns):
                raise self._ended()
            try:
                transaction = self._appending(leaves, index, version, consume)
                _commit(transaction, self.lease().remaining_s(now_ns))
            except _AMBIGUOUS:
                if self._stop.wait(0.02):
                    raise self._ended() from None
                continue
            except SessionExpiredError as error:
                raise self._ended() from error
            except KazooException as error:
                if self._is_ours(leaves, index):
                    return
                waiting = self._waiting(consume)
                if waiting == list(consume):
                    raise self._ended() from error
                consume = waiting
                continue
            return

    def _appending(
        self, leaves: Sequence[bytes], index: int, version: int, consume: Sequence[str]
    ) -> TransactionRequest:
        transaction = self._begin()
        for at, leaf in enumerate(leaves, start=index):
            transaction.create(f"{self._root}/entries/{at:010d}", leaf)
        size = str(index + len(leaves)).encode()
        transaction.set_data(f"{self._root}/head", size, version=version)
        for name in consume:
            transaction.delete(f"{self._root}/inbox/{name}")
        return transaction

    def _is_ours(self, leaves: Sequence[bytes], index: int) -> bool:
        """Say, after an ambiguous answer and a refusal, whether the first try had counted.

        The first of them tells of all: they are written together.
        """
        try:
            pending = self._client.get_async(f"{self._root}/entries/{index:010d}")
            return bool(pending.get(timeout=self._wait_s())[0] == leaves[0])
        except (KazooException, KazooTimeoutError):
            return False

    def _waiting(self, names: Sequence[str]) -> list[str]:
        """Return those still in the inbox, as the tenure's own session reads it.

        The inbox is read by another session, and a server that lags shows it items that are
        answered already: naming one again for removal must not cost the leadership.
        """
        paths = {name: f"{self._root}/inbox/{name}" for name in names}
        pending = {name: self._client.exists_async(path) for name, path in paths.items()}
        try:
            return [n for n, one in pending.items() if one.get(timeout=self._wait_s())]
        except (KazooException, KazooTimeoutError) as error:
            raise self._ended() from error

    def _wait_s(self) -> float:
        return max(0.05, self.lease().remaining_s(boottime_ns()))

    def _ended(self) -> LeadershipError:
        return LeadershipError(
            f"{self.site} no longer leads under epoch {self.epoch}",
            remedy="see who leads: sisamu leader show",
        )

    def trim(self, stop: int) -> None:
        """Delete the entries before `stop`, a few hundred at a time; LeadershipError otherwise."""
        start = self.first()
        while start < stop:
            upto = min(stop, start + _TRIMMED_AT_ONCE)
            transaction = self._begin()
            for index in range(start, upto):
                transaction.delete(f"{self._root}/entries/{index:010d}")
            transaction.set_data(f"{self._root}/first", str(upto).encode())
            try:
                _commit(transaction, self._wait_s())
            except (KazooException, KazooTimeoutError) as error:
                # Whether it was trimmed or not, `first` says it; nothing is lost either way.
                raise _unreachable(error) from error
            start = upto

    def leave(self) -> None:
        """Stop heartbeats and close the session, which frees leadership at once."""
        self._stop.set()
        self._lost = True
        # Told first: once the session is closed another site may lead.
        self._tell()
        self._client.end()
