"""ansible-playbook, run under the guard; events come back through a pipe, one JSON a line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from sisamu_ops.failover.ports import PlaybookRun, RunEnd
from sisamu_ops.leadership import guard
from sisamu_ops.leadership.lease import Lease, boottime_ns
from sisamu_ops.leadership.port import LeasedTenure
from sisamu_ops.model.errors import DiskError

#: Set in the lab for the one test that proves the fence alone stops a woken leader.
DISARM_VARIABLE = "SISAMU_GUARD_DISARMED"
_KEPT = ("PATH", "LANG", "LC_ALL", "TMPDIR", "SSH_AUTH_SOCK", "SISAMU_LAB_NAME", "SISAMU_LAB_ROOT")


class AnsiblePlaybooks:
    """Runs the playbooks of one directory against one inventory."""

    def __init__(
        self, *, playbooks: Path, inventory: Path, home: Path, ssh_key: Path | None
    ) -> None:
        """Keep logs of the runs below `home`/runs; use `ssh_key` to reach the targets."""
        self._playbooks = playbooks
        self._inventory = inventory
        self._home = home
        self._ssh_key = ssh_key

    def run(
        self,
        run: PlaybookRun,
        tenure: LeasedTenure,
        on_event: Callable[[Mapping[str, Any]], None],
    ) -> RunEnd:
        """Run to the end; never longer than the lease or the deadline of the run.

        DiskError when nothing was started, because its files cannot be written.
        """
        directory = self._make_directory(run)
        log = directory / "ansible.log"
        with _pipe() as (lease_reader, lease_writer), _pipe() as (event_reader, event_writer):
            with _appending(log) as output:
                deadline_ns = boottime_ns() + int(run.deadline_s * 1e9)
                process = subprocess.Popen(
                    self._command(run, directory, lease_reader.fileno(), deadline_ns),
                    stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                    pass_fds=(lease_reader.fileno(), event_writer.fileno()),
                    env=self._environment(event_writer.fileno()), cwd=self._playbooks,
                )  # fmt: skip
            lease_reader.close()
            event_writer.close()
            with _renewals(tenure, lease_writer.fileno()):
                for event in _events(event_reader):
                    on_event(event)
                code = process.wait()
        return RunEnd(code=code, killed=code in guard.KILLED, log=str(log))

    def check(self, run: PlaybookRun, on_event: Callable[[Mapping[str, Any]], None]) -> int:
        """Run in check mode, which changes nothing and so needs neither lease nor guard.

        Its log goes nowhere but below `home`; ended at the run's deadline.
        """
        directory = self._make_directory(run)
        with _pipe() as (event_reader, event_writer), _appending(directory / "check.log") as output:
            process = subprocess.Popen(
                [*self._ansible(run, directory), "--check"],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                pass_fds=(event_writer.fileno(),),
                env=self._environment(event_writer.fileno()), cwd=self._playbooks,
            )  # fmt: skip
            ending = threading.Timer(run.deadline_s, process.kill)
            ending.start()
            event_writer.close()
            try:
                for event in _events(event_reader):
                    on_event(event)
                return process.wait()
            finally:
                ending.cancel()

    def _make_directory(self, run: PlaybookRun) -> Path:
        directory = self._home / "runs" / f"{run.operation}-{run.token}"
        try:
            directory.mkdir(parents=True, exist_ok=True)
            (directory / "variables.json").write_text(json.dumps(self._variables(run)))
        except OSError as error:
            raise DiskError(error) from error
        return directory

    def _variables(self, run: PlaybookRun) -> dict[str, Any]:
        variables: dict[str, Any] = {
            "sisamu_samus": list(run.samus),
            "sisamu_to": run.to,
            "sisamu_token": str(run.token),
            "sisamu_routers": list(run.routers),
            "sisamu_operation": run.operation,
        }
        if self._ssh_key is not None:
            variables["sisamu_ssh_key"] = str(self._ssh_key)
        return variables | dict(run.extra)

    def _command(
        self, run: PlaybookRun, directory: Path, lease_fd: int, deadline_ns: int
    ) -> list[str]:
        armed = "disarmed" if os.environ.get(DISARM_VARIABLE) else "armed"
        return [
            sys.executable, "-I", "-S", str(guard.__file__), str(lease_fd), str(deadline_ns), armed,
            *self._ansible(run, directory),
        ]  # fmt: skip

    def _ansible(self, run: PlaybookRun, directory: Path) -> list[str]:
        return [
            str(Path(sys.executable).parent / "ansible-playbook"),
            "-i", str(self._inventory), "-e", f"@{directory / 'variables.json'}",
            str(self._playbooks / run.playbook),
        ]  # fmt: skip

    def _environment(self, events_fd: int) -> dict[str, str]:
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        return kept | {
            "HOME": str(self._home),
            "ANSIBLE_HOME": str(self._home / "ansible"),
            "ANSIBLE_CONFIG": str(self._playbooks / "ansible.cfg"),
            "ANSIBLE_NOCOLOR": "1",
            "PYTHONUNBUFFERED": "1",
            "SISAMU_EVENTS_FD": str(events_fd),
        }


def _appending(log: Path) -> BinaryIO:
    try:
        return log.open("ab")
    except OSError as error:
        raise DiskError(error) from error


@contextmanager
def _pipe() -> Iterator[tuple[Any, Any]]:
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as read_end, os.fdopen(writer, "wb", buffering=0) as write_end:
        yield read_end, write_end


@contextmanager
def _renewals(tenure: LeasedTenure, descriptor: int) -> Iterator[None]:
    """Tell the guard of each renewal; a guard that has ended needs no telling."""

    def tell(lease: Lease) -> None:
        with suppress(BrokenPipeError):
            os.write(descriptor, b"%d\n" % lease.end_ns)

    forget = tenure.on_lease(tell)
    try:
        yield
    finally:
        forget()


def _events(reader: Any) -> Iterator[Mapping[str, Any]]:
    for line in reader:
        with suppress(ValueError):  # a line cut short by a kill tells nothing
            event = json.loads(line)
            if isinstance(event, dict):
                yield event
