"""What is said of a target that cannot be asked."""

from __future__ import annotations

import errno
import socket
from pathlib import Path

import pytest

from sisamu_ops.doors.ssh import SshTargets
from sisamu_ops.model.platform import Target


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), "Connection refused"),
        (OSError(errno.EHOSTUNREACH, "No route to host"), "No route to host"),
        (TimeoutError("timed out"), "no answer over SSH in time"),
        (socket.gaierror("a name"), "a name"),
        (EOFError(), "EOFError"),
    ],
)
def test_a_target_that_cannot_be_asked_says_why(
    error: Exception, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the system's words, in one line, and read as unreachable."""

    def refuse(*_: object) -> socket.socket:
        raise error

    monkeypatch.setattr(socket, "create_connection", refuse)
    for name in ("key", "known_hosts"):
        (tmp_path / name).touch()
    target = Target(host="h", address="192.0.2.1", user="root", fence_command=(), fence_dir="")
    targets = SshTargets({"h": target}, key=tmp_path / "key", known_hosts=tmp_path / "known_hosts")
    reading = targets.read(["h"])["h"]
    assert (reading.reachable, reading.problem) == (False, f"h: {said}")
