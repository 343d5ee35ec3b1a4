"""Ask each server of the ensemble what it says of itself: the four-letter words.

A session is with the ensemble, and there is none while it has no majority; these words are answered
by one server for itself. Where it takes TLS only, they go over TLS, with the caller's certificate.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

from sisamu_ops.model.errors import said_of
from sisamu_ops.model.platform import Credentials
from sisamu_ops.quorum.capture import OUTPUT_LIMIT_BYTES, REFUSED, HostCapture, Output

TIMEOUT_S = 3.0


class ServerWords:
    """The servers of an ensemble by name; see `quorum.zookeeper.FourLetterWords`."""

    def __init__(self, servers: Mapping[str, str], credentials: Credentials | None) -> None:
        """Reach servers at `address:port`, over TLS when credentials are given."""
        self._servers = servers
        self._credentials = credentials

    def ask(self, words: tuple[str, ...]) -> Mapping[str, HostCapture]:
        """Ask every server every word at the same time; never raises for a server."""
        with ThreadPoolExecutor(max_workers=max(1, len(self._servers))) as pool:
            found = pool.map(lambda name: self._capture(name, words), self._servers)
            return dict(zip(self._servers, found, strict=True))

    def _capture(self, name: str, words: tuple[str, ...]) -> HostCapture:
        ends = monotonic() + TIMEOUT_S
        try:
            outputs = {word: self._ask(self._servers[name], word, ends) for word in words}
        except ConnectionRefusedError:
            return HostCapture(unreachable=REFUSED)
        except OSError as error:
            late = isinstance(error, TimeoutError)
            return HostCapture(unreachable="no answer in time" if late else said_of(error))
        return HostCapture(outputs=outputs)

    def _ask(self, server: str, word: str, ends: float) -> Output:
        address, _, port = server.rpartition(":")
        left = max(0.1, ends - monotonic())
        with socket.create_connection((address, int(port)), left) as link:
            secured = self._secure(link, address)
            secured.sendall(word.encode())
            return Output(content=_hear(secured, ends), status=0)

    def _secure(self, link: socket.socket, address: str) -> socket.socket:
        if self._credentials is None:
            return link
        context = ssl.create_default_context(cafile=str(self._credentials.authority))
        context.load_cert_chain(self._credentials.certificate, self._credentials.key)
        return context.wrap_socket(link, server_hostname=address)


def _hear(link: socket.socket, ends: float) -> bytes:
    """Read to the end of the answer; TimeoutError when the time is over first."""
    parts, room = [], OUTPUT_LIMIT_BYTES + 1
    while room > 0:
        left = ends - monotonic()
        if left <= 0:
            raise TimeoutError
        link.settimeout(left)
        part = link.recv(min(65_536, room))
        if not part:
            break
        parts.append(part)
        room -= len(part)
    return b"".join(parts)
