"""Perform declared actions; as a program, heal one fault when its deadline has passed.

`python -I -S healer.py RECORD` reads an armed cure, goes on in a session of its own, and returns
0 once it stands ready. It heals at the deadline or on SIGTERM, whichever is first, and removes the
record when all is healed. Nothing but the standard library: it must work whatever becomes of the
process that injected, of its files and of its environment.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Action = dict[str, Any]

_COMMAND_S = 10.0
_SETTLE_S = 15.0
_HOLD_S = 20.0
_POLL_S = 0.01
#: How long a cure that fails is tried again after the deadline, and how often.
_INSIST_S = 60.0
_RETRY_S = 0.5
_MNT_DETACH = 2
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class NotPerformedError(RuntimeError):
    """An action was tried and did not come about."""


def perform(action: Action) -> None:
    """Do one action and return when its effect is there; NotPerformedError otherwise."""
    try:
        _DOINGS[action["do"]](action)
    except (OSError, subprocess.SubprocessError) as error:
        raise NotPerformedError(f"{action['do']}: {error}") from error


def heal_record(record: Path) -> list[str]:
    """Perform the cures of an armed record, all of them; remove it, or say what failed."""
    with contextlib.suppress(FileNotFoundError), held(record):
        cures = json.loads(record.read_text("utf-8"))["heal"]
        failures = [said for cure in cures if (said := _failure_of(cure))]
        if failures:
            return failures
        healer_file(record).unlink(missing_ok=True)
        record.unlink()
    return []


@contextlib.contextmanager
def held(record: Path) -> Iterator[None]:
    """Hold a record, so that nobody heals what is being injected; FileNotFoundError: it is healed.

    Whoever holds it for too long stands still, and is waited for no more: healing matters most.
    """
    deadline = time.monotonic() + _HOLD_S
    with record.open("rb") as file:
        while not _locked(file.fileno()) and time.monotonic() < deadline:
            time.sleep(_POLL_S)  # flock(2) knows no time-out
        record.stat()
        yield


def healer_file(record: Path) -> Path:
    """Return the file that names the healer's process: PID and start time."""
    return record.with_suffix(".healer")


def state_of(pid: int) -> tuple[str, int]:
    """Return a process's state letter and start time, (`""`, 0) when there is none (proc(5))."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text("latin-1").rpartition(")")[2].split()
        return fields[0], int(fields[19])
    return "", 0


def lives(process: dict[str, int]) -> bool:
    """Say whether this very process runs, or stands still."""
    state, started = state_of(process["pid"])
    return started == process["started"] and state not in "ZX"


def _failure_of(action: Action) -> str:
    try:
        perform(action)
    except NotPerformedError as error:
        return str(error)
    return ""


def _locked(descriptor: int) -> bool:
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


# --- actions ------------------------------------------------------------------------------


def _run(action: Action) -> None:
    finished = subprocess.run(
        action["command"], input=action["text"], capture_output=True, text=True,
        timeout=_COMMAND_S, check=False, env={"PATH": _PATH, "LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    if finished.returncode:
        said = finished.stderr.strip() or f"exit {finished.returncode}"
        raise NotPerformedError(f"{' '.join(action['command'])}: {said}")


def _kill(action: Action) -> None:
    process = action["process"]
    _require_living(process)
    os.kill(process["pid"], signal.SIGKILL)
    _await(lambda: not lives(process), f"process {process['pid']} does not end")


def _stop(action: Action) -> None:
    process = action["process"]
    _require_living(process)
    os.kill(process["pid"], signal.SIGSTOP)
    _await(lambda: state_of(process["pid"])[0] in ("T", ""), f"{process['pid']} does not stop")


def _go_on(action: Action) -> None:
    process = action["process"]
    if lives(process):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process["pid"], signal.SIGCONT)


def _require_living(process: dict[str, int]) -> None:
    if not lives(process):
        raise NotPerformedError(f"process {process['pid']} is gone")


def _start(action: Action) -> None:
    """Start a program; what the supervisor has not yet seen to have ended is asked for again."""
    from xmlrpc.client import Error

    supervisor = _supervisor(action["supervisor"])
    try:
        _await(lambda: _runs(supervisor, action["program"]), "it does not start")
    except Error as error:
        raise NotPerformedError(f"{action['program']}: {error}") from error


def _runs(supervisor: Any, program: str) -> bool:
    """Say whether a program runs; ask for it to be started when it does not."""
    info = supervisor.getProcessInfo(program)
    if info["statename"] == "RUNNING":
        return state_of(info["pid"])[0] not in ("", "Z", "X")
    if info["statename"] in ("STOPPED", "EXITED", "FATAL"):
        supervisor.startProcess(program, False)
    return False


def _supervisor(path: str) -> Any:
    """Return supervisord's XML-RPC interface, over its Unix socket."""
    from http.client import HTTPConnection
    from xmlrpc.client import ServerProxy, Transport

    class UnixConnection(HTTPConnection):
        def connect(self) -> None:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(_COMMAND_S)
            self.sock.connect(path)

    class UnixTransport(Transport):
        def make_connection(self, host: Any) -> HTTPConnection:  # noqa: ARG002 - its signature
            return UnixConnection("localhost")

    return ServerProxy("http://localhost/RPC2", transport=UnixTransport()).supervisor


def _write(action: Action) -> None:
    path = Path(action["path"])
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.write_text(action["text"], "utf-8")
    unfinished.replace(path)


def _make_directories(action: Action) -> None:
    for path in action["paths"]:
        Path(path).mkdir(parents=True, exist_ok=True)


def _remove_directories(action: Action) -> None:
    for path in action["paths"]:
        with contextlib.suppress(FileNotFoundError):
            Path(path).rmdir()


def _fill(action: Action) -> None:
    try:
        for number in itertools.count():
            Path(action["path"], f"fill-{number}").touch(exist_ok=True)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise


def _unmount(action: Action) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    for path in action["paths"]:
        while is_mounted(path):
            if libc.umount2(os.fsencode(path), _MNT_DETACH) != 0:
                raise OSError(ctypes.get_errno(), f"cannot unmount {path}")


def is_mounted(path: str) -> bool:
    """Say whether something is mounted on exactly this place (proc(5), mountinfo)."""
    lines = Path("/proc/self/mountinfo").read_text("utf-8").splitlines()
    return any(line.split()[4].replace("\\040", " ") == path for line in lines)


def _await(holds: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + _SETTLE_S
    while not holds():
        if time.monotonic() > deadline:
            raise NotPerformedError(otherwise)
        time.sleep(_POLL_S)  # neither the kernel nor the supervisor tells a stranger


_DOINGS: dict[str, Callable[[Action], None]] = {
    "run": _run,
    "kill": _kill,
    "stop": _stop,
    "go-on": _go_on,
    "start": _start,
    "write": _write,
    "make-directories": _make_directories,
    "remove-directories": _remove_directories,
    "fill": _fill,
    "unmount": _unmount,
}


# --- the program --------------------------------------------------------------------------


def main(record: Path) -> int:
    """Go on in a process of its own; return 0 when that stands ready to heal, 1 otherwise."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    armed = json.loads(record.read_text("utf-8"))
    ready, tell = os.pipe()
    if os.fork():
        os.close(tell)
        return 0 if os.read(ready, 1) else 1
    os.setsid()
    os.chdir("/")
    pid = os.getpid()
    healer_file(record).write_text(f"{pid} {state_of(pid)[1]}", "ascii")
    os.write(tell, b"1")
    os.close(tell)
    os.close(ready)
    told = _keep_up(armed, record)
    return _heal(record, insist_s=0 if told else _INSIST_S)


def _keep_up(armed: dict[str, Any], record: Path) -> bool:
    """Return at the deadline, when somebody else has healed, or, with true, on SIGTERM."""
    while record.exists() and _left_s(armed) > 0:
        if _told_within(_wait_s(armed)):
            return True
        if pulse := armed["pulse"]:
            _pulse(pulse)
    return False


def _wait_s(armed: dict[str, Any]) -> float:
    pulse = armed["pulse"]
    longest_s = pulse["running_ms"] / 1000 if pulse else 1.0
    return max(0.0, min(longest_s, _left_s(armed)))


def _pulse(pulse: dict[str, Any]) -> None:
    process = pulse["process"]
    if lives(process):
        os.kill(process["pid"], signal.SIGSTOP)
        time.sleep(pulse["stopped_ms"] / 1000)
        os.kill(process["pid"], signal.SIGCONT)


def _left_s(armed: dict[str, Any]) -> float:
    left_ns: int = armed["deadline_ns"] - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    return left_ns / 1e9


def _told_within(seconds: float) -> bool:
    return signal.sigtimedwait({signal.SIGTERM}, seconds) is not None


def _heal(record: Path, insist_s: float) -> int:
    """Heal, again and again while a cure fails: whatever it needs may be starting.

    Whoever sent SIGTERM waits for this, tries again itself, and says what fails.
    """
    give_up = time.monotonic() + insist_s
    while failures := heal_record(record):
        print(f"{record.stem}: {'; '.join(failures)}", file=sys.stderr, flush=True)  # noqa: T201
        if time.monotonic() > give_up:
            return 5
        time.sleep(_RETRY_S)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
