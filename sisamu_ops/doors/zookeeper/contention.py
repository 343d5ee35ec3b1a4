"""Standing for leader: visible to others, and the one way to a new epoch."""

from __future__ import annotations

import json
from contextlib import suppress

from kazoo.client import TransactionRequest
from kazoo.exceptions import (
    BadVersionError,
    KazooException,
    NodeExistsError,
    NoNodeError,
    RolledBackError,
)
from kazoo.handlers.threading import KazooTimeoutError

from sisamu_ops.doors.zookeeper.client import Client, commit, unreachable
from sisamu_ops.doors.zookeeper.tenure import ZooKeeperTenure
from sisamu_ops.leadership.lease import boottime_ns, lease_from


class ZooKeeperContention:
    """One site's standing, as an ephemeral node of its own session."""

    def __init__(
        self, client: Client, root: str, site: str, *, timeout_ms: int, tick_ms: int
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
            raise unreachable(error) from error

    def present(self) -> frozenset[str]:
        """Return the sites that stand, as this session reads it."""
        try:
            path = f"{self._root}/contenders"
            return frozenset(self._client.get_children_async(path).get(timeout=self._wait_s))
        except (KazooException, KazooTimeoutError) as error:
            raise unreachable(error) from error

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
            commit(transaction, self._wait_s)
        except (NodeExistsError, BadVersionError, RolledBackError):
            return None
        except (KazooException, KazooTimeoutError) as error:
            raise unreachable(error) from error
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
