"""What is said of a target that cannot be asked."""

from __future__ import annotations

import errno
import socket
from pathlib import Path

import pytest

from sisamu_ops.doors.ssh import SshTargets
from sisamu_ops.model.platform import Target


def one_target(directory: Path) -> SshTargets:
    for name in ("key", "known_hosts"):
        (directory / name).touch()
    target = Target(host="h", address="192.0.2.1", user="root", fence_command=(), fence_dir="")
    return SshTargets({"h": target}, key=directory / "key", known_hosts=directory / "known_hosts")


@pytest.mark.parametrize(
    ("told", "read"),
    [
        ({"directory_at": 1_700_000_000_123}, 1_700_000_000_123),
        ({"directory_at": None}, None),
        ({"directory_at": "yesterday"}, None),
        ({"directory_at": True}, None),
        ({}, None),
    ],
)
def test_a_directorys_age_is_read_where_it_is_told(
    told: dict[str, object], read: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older helper tells none; one that tells it wrongly still tells the values."""
    values = {"enrolled": True, "values": {"300": "armed"}, "durable": {"300": "armed"}}
    monkeypatch.setattr(SshTargets, "_call", lambda *_: values | told)
    reading = one_target(tmp_path).read(["h"])["h"]
    assert (reading.directory_at, reading.value("300")) == (read, "armed")


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
    reading = one_target(tmp_path).read(["h"])["h"]
    assert (reading.reachable, reading.problem) == (False, f"h: {said}")
