"""A session with a host: paramiko, host keys always checked, every wait bounded."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import paramiko

from sisamu_ops.model.errors import ConfigurationError, said_of

CONNECT_TIMEOUT_S = 2.0
#: Hosts asked at the same time.
AT_ONCE = 16
#: What goes wrong on the way to a host and back.
TROUBLE = (paramiko.SSHException, OSError, EOFError)


@contextmanager
def open_session(
    address: str, user: str, key: Path, known_hosts: Path
) -> Iterator[paramiko.SSHClient]:
    """Log in with a private key; raises what is in TROUBLE, for whoever asks to translate."""
    # Its own account of a failed connection is a traceback; ours is the error raised.
    logging.getLogger("paramiko").setLevel(logging.CRITICAL)
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    try:
        client.load_host_keys(str(known_hosts))
        client.connect(
            address, sock=_dial(address), username=user, key_filename=str(key),
            allow_agent=False, look_for_keys=False, timeout=CONNECT_TIMEOUT_S,
            banner_timeout=CONNECT_TIMEOUT_S, auth_timeout=CONNECT_TIMEOUT_S,
        )  # fmt: skip
        yield client
    finally:
        client.close()


def _dial(address: str) -> socket.socket:
    link = socket.create_connection((address, 22), CONNECT_TIMEOUT_S)
    # Small packets, each waited for: held back until the last is acknowledged, each costs 40 ms.
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return link


def reason_of(error: Exception) -> str:
    """Return what went wrong, in one line."""
    if isinstance(error, TimeoutError):
        return "no answer over SSH in time"
    text = said_of(error) if isinstance(error, OSError) else str(error)
    return (text or type(error).__name__).splitlines()[0]


def check_files(key: Path, known_hosts: Path) -> None:
    """Raise ConfigurationError unless the private key and the known hosts are there."""
    for path, what in ((key, "SSH key"), (known_hosts, "known hosts file")):
        if not path.is_file():
            raise ConfigurationError(
                f"the {what} is missing",
                place=str(path),
                remedy="set sisamu_identity and sisamu_known_hosts, or start the lab",
            )
