"""A session for reading, submitting and publishing."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from time import monotonic, sleep
from typing import Any

from kazoo.exceptions import BadVersionError, KazooException, NodeExistsError, NoNodeError
from kazoo.handlers.threading import KazooTimeoutError
from kazoo.security import ACL, OPEN_ACL_UNSAFE

from sisamu_ops.doors.zookeeper.access import rights
from sisamu_ops.doors.zookeeper.client import Client, ForbiddenError, commit, connect, unreachable
from sisamu_ops.doors.zookeeper.contention import ZooKeeperContention
from sisamu_ops.journal.port import InboxItem
from sisamu_ops.leadership.port import Leadership
from sisamu_ops.model.errors import LeadershipError
from sisamu_ops.model.platform import Credentials

#: The lasting nodes below the platform's, which is the first: made by whoever comes first.
_MADE_FIRST = ("", "lease", "published", "entries", "inbox", "contenders")
#: Those that the first leader makes.
_FOUNDED = ("epoch", "head", "first")
#: How often is looked whether a site has made its place, in seconds.
_LOOK_S = 0.1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class ZooKeeperCoordination:
    """A session for reading, submitting and publishing; contending opens its own."""

    def __init__(
        self,
        hosts: Sequence[str],
        platform: str,
        *,
        timeout_ms: int,
        tick_ms: int,
        wait_s: float,
        credentials: Credentials | None = None,
    ) -> None:
        """Connect within `wait_s` seconds; LeadershipError when no server answers.

        With credentials the session is over TLS, and what it makes is protected.
        """
        self._platform = platform
        self._root = f"/sisamu/{platform}"
        self._timeout_ms = timeout_ms
        self._tick_ms = tick_ms
        self._wait_s = wait_s
        self._hosts = ",".join(hosts)
        self._credentials = credentials
        self._changed = threading.Event()
        self._client = self._connect()
        try:
            self._prepare()
            self._watch()
        except LeadershipError:
            self.close()
            raise

    def _connect(self) -> Client:
        return connect(
            self._hosts, self._timeout_ms, self._wait_s, self._platform, self._credentials
        )

    def _prepare(self) -> None:
        deadline = monotonic() + self._wait_s
        while not self._furnish():
            if monotonic() > deadline:
                raise LeadershipError(
                    "no site has made its place in ZooKeeper yet",
                    remedy="start the agents; by hand, with the card: sisamu samu card",
                )
            sleep(_LOOK_S)

    def _furnish(self) -> bool:
        """Make what is not there; False where it is for a site to do so, and none has yet."""
        try:
            # Other platforms may live beside this one: what lies above it belongs to none.
            self._make("/sisamu", b"", acl=OPEN_ACL_UNSAFE)
            for name in _MADE_FIRST:
                self._ensure(name, b"")
        except ForbiddenError:
            return False
        return True

    def _ensure(self, name: str, data: bytes, like: str = "") -> None:
        """Make a node that is not there, with the rights of its name or of what it is like."""
        self._make(self._path(name), data, acl=self._rights(like or name))

    def _make(self, path: str, data: bytes, acl: list[ACL] | None) -> None:
        if self._ask(self._client.exists_async(path)) is None:
            with suppress(NodeExistsError):
                self._raw(self._client.create_async(path, data, acl=acl))

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    def _rights(self, name: str) -> list[ACL] | None:
        return rights(self._platform, name) if self._client.protected else None

    def _protect(self) -> None:
        """Give every lasting node its rights, where somebody made it with others.

        An ensemble that was open before, or a node made by a client without a certificate.
        """
        for name in (*_MADE_FIRST, *_FOUNDED) if self._client.protected else ():
            wanted = rights(self._platform, name)
            with suppress(NoNodeError):
                held, _ = self._raw(self._client.get_acls_async(self._path(name)))
                if sorted(held) != sorted(wanted):
                    self._raw(self._client.set_acls_async(self._path(name), wanted))

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
            raise unreachable(error) from error
        self._client.add_listener(note)

    def _raw(self, pending: Any) -> Any:
        """Await one call; only node errors (exists, missing, version) pass through."""
        try:
            return pending.get(timeout=self._wait_s)
        except (NodeExistsError, NoNodeError, BadVersionError):
            raise
        except (KazooException, KazooTimeoutError) as error:
            raise unreachable(error) from error

    def _ask(self, pending: Any) -> Any:
        try:
            return self._raw(pending)
        except NoNodeError as error:
            raise unreachable(error) from error

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
        self._protect()
        return ZooKeeperContention(
            self._connect(), self._root, site, timeout_ms=self._timeout_ms, tick_ms=self._tick_ms
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
        self._ensure(f"published/{name}", b"", like="published/*")
        transaction = self._client.transaction()
        transaction.set_data(path, note)
        transaction.set_data(f"{self._root}/published", name.encode())
        try:
            commit(transaction, self._wait_s)
        except (KazooException, KazooTimeoutError) as error:
            raise unreachable(error) from error

    def published(self) -> Mapping[str, bytes]:
        """Return every note shown."""
        names = self._ask(self._client.get_children_async(f"{self._root}/published"))
        pending = {n: self._client.get_async(f"{self._root}/published/{n}") for n in names}
        return {name: self._ask(one)[0] for name, one in pending.items()}

    def close(self) -> None:
        """Close the session."""
        self._client.end()
