"""Leadership held: the heartbeat, which is a write, and the only way to append."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence

from kazoo.client import TransactionRequest
from kazoo.exceptions import KazooException, SessionExpiredError
from kazoo.handlers.threading import KazooTimeoutError
from kazoo.protocol.states import KazooState, ZnodeStat

from sisamu_ops.doors.zookeeper.client import AMBIGUOUS, Client, commit, unreachable
from sisamu_ops.leadership.lease import Lease, boottime_ns, heartbeat_interval_s, lease_from
from sisamu_ops.model.errors import LeadershipError

#: Far below the 1 MB at which the server ends the connection, so that a transaction never does.
_MAX_TRANSACTION_BYTES = 512 * 1024
#: Entries trimmed in one transaction.
_TRIMMED_AT_ONCE = 500


class ZooKeeperTenure:
    """Leadership held: heartbeats, the lease, and the only way to append."""

    def __init__(
        self,
        client: Client,
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
                commit(transaction, remaining_s)
            except AMBIGUOUS:
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
            raise unreachable(error) from error

    def _get(self, name: str) -> tuple[bytes, ZnodeStat]:
        try:
            pending = self._client.get_async(f"{self._root}/{name}")
            data, stat = pending.get(timeout=self._timeout_ms / 1000)
            return data, stat
        except (KazooException, KazooTimeoutError) as error:
            raise unreachable(error) from error

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
                commit(transaction, self.lease().remaining_s(now_ns))
            except AMBIGUOUS:
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
                commit(transaction, self._wait_s())
            except (KazooException, KazooTimeoutError) as error:
                # Whether it was trimmed or not, `first` says it; nothing is lost either way.
                raise unreachable(error) from error
            start = upto

    def leave(self) -> None:
        """Stop heartbeats and close the session, which frees leadership at once."""
        self._stop.set()
        self._lost = True
        # Told first: once the session is closed another site may lead.
        self._tell()
        self._client.end()


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
