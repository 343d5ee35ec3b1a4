"""A session with the ensemble, and what kazoo needs to be told.

Traps of kazoo that are kept behind this door: `commit()` returns exceptions instead of raising
them; calls made while disconnected wait for ever unless a time-out is given; a server that does not
answer is waited for as long as the whole session; over TLS, what a record has brought beyond the
first answer waits in the socket's buffer, where `select` does not see it.
"""

from __future__ import annotations

import logging
import socket
import ssl
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from kazoo.client import KazooClient, TransactionRequest
from kazoo.exceptions import (
    ConnectionLoss,
    KazooException,
    NoAuthError,
    OperationTimeoutError,
    RolledBackError,
)
from kazoo.handlers.threading import KazooTimeoutError, SequentialThreadingHandler

from sisamu_ops.doors.zookeeper.access import rights
from sisamu_ops.model.errors import ConfigurationError, LeadershipError
from sisamu_ops.model.platform import Credentials

#: ConnectionLoss and time-outs leave it open whether the transaction was carried out.
AMBIGUOUS = (ConnectionLoss, OperationTimeoutError, KazooTimeoutError)
#: Of the session time-out, what connecting to one server may take, and what shaking hands may.
_CONNECT_SHARE = 0.2
_HANDSHAKE_SHARE = 0.35
#: The longest rest between two rounds of all servers, in seconds: elections take no longer.
_RECONNECT_S = 0.2
_REMEDY = "check the ensemble with `sisamu doctor`; calls go on without it"


class ForbiddenError(LeadershipError):
    """This certificate may not do that."""


def unreachable(cause: BaseException) -> LeadershipError:
    """Return our error for what kazoo says, in words."""
    if isinstance(cause, NoAuthError):
        return ForbiddenError(
            "ZooKeeper does not allow that to this certificate",
            remedy="use the certificate of the site or operator you act as: sisamu doctor",
        )
    name = type(cause).__name__
    return LeadershipError(f"ZooKeeper cannot be reached ({name})", remedy=_REMEDY)


def tls_context(credentials: Credentials) -> ssl.SSLContext:
    """Return how to speak with the ensemble, and with nobody whom our authority has not signed.

    ConfigurationError names the file that is missing or no certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        place = credentials.authority
        context.load_verify_locations(place)
        place = credentials.certificate
        context.load_cert_chain(place, credentials.key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"not a usable certificate with its key: {error.strerror or error}",
            place=str(place),
            remedy="name PEM files in sisamu_zookeeper_authority, …_certificate and …_key",
        ) from error
    return context


class _Handler(SequentialThreadingHandler):  # type: ignore[misc]  # kazoo has no types
    """Connects as the platform wants it: over TLS, and with a time-out of each server's own.

    kazoo waits the whole session time-out for each: while a site is cut off, one that is not may
    stand in that queue until its session is over.
    """

    def __init__(self, timeout_s: float, context: ssl.SSLContext | None) -> None:
        super().__init__()
        self._timeout_s = timeout_s
        self._context = context
        #: Why the last handshake failed, if it did: kazoo tries on and tells nobody.
        self.refused = ""

    def create_connection(self, address: tuple[str, int], **_: Any) -> socket.socket:
        connection = socket.create_connection(address, self._timeout_s * _CONNECT_SHARE)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._context is None:
            return connection
        connection.settimeout(self._timeout_s * _HANDSHAKE_SHARE)
        try:
            wrapped = self._context.wrap_socket(connection, server_hostname=address[0])
        except ssl.SSLError as error:
            connection.close()
            self.refused = error.reason or str(error)
            raise
        except OSError:
            connection.close()
            raise
        self.refused = ""
        return wrapped

    def select(self, rlist: Sequence[Any], *more: Any, **named: Any) -> Any:
        """Say also which sockets have something in their own buffer."""
        held = [one for one in rlist if isinstance(one, ssl.SSLSocket) and one.pending()]
        if not held:
            return super().select(rlist, *more, **named)
        readable, *others = super().select(rlist, *more[:2], 0)
        return ([*held, *(one for one in readable if one not in held)], *others)


class Client(KazooClient):  # type: ignore[misc]  # kazoo has no types
    """A client that two threads may end: kazoo minds being closed while it is stopping."""

    def __init__(
        self, hosts: str, timeout_s: float, platform: str, credentials: Credentials | None
    ) -> None:
        """Connect to nothing yet; ConfigurationError when the credentials cannot be read."""
        self.protected = credentials is not None
        super().__init__(
            hosts=hosts, timeout=timeout_s,
            handler=_Handler(timeout_s, tls_context(credentials) if credentials else None),
            connection_retry={"max_tries": -1, "delay": 0.05, "max_delay": _RECONNECT_S},
            default_acl=rights(platform) if credentials else None,
        )  # fmt: skip
        self._ending = threading.Lock()
        self._ended = False

    def end(self) -> None:
        """End the session, once."""
        with self._ending:
            if not self._ended:
                with suppress(KazooException, OSError):
                    self.stop()
                    self.close()
            self._ended = True


def connect(
    hosts: str, timeout_ms: int, wait_s: float, platform: str, credentials: Credentials | None
) -> Client:
    """Open a session within `wait_s` seconds; LeadershipError when no server takes us."""
    logging.getLogger("kazoo").setLevel(logging.CRITICAL)
    client = Client(hosts, timeout_ms / 1000, platform, credentials)
    try:
        client.start(timeout=wait_s)
    except KazooTimeoutError as error:
        client.end()
        if client.handler.refused:
            raise LeadershipError(
                f"no trust between this client and ZooKeeper ({client.handler.refused})",
                remedy="see that the certificates are of one authority and not expired",
            ) from error
        raise unreachable(error) from error
    return client


def commit(transaction: TransactionRequest, timeout_s: float) -> list[Any]:
    """Commit and raise what kazoo would have returned as a value."""
    results: list[Any] = transaction.commit_async().get(timeout=timeout_s)
    failures = [r for r in results if isinstance(r, Exception)]
    for failure in failures:
        if not isinstance(failure, RolledBackError):
            raise failure
    if failures:
        raise failures[0]
    return results
