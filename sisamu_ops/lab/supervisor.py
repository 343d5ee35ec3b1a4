"""The door to supervisord (supervisord.org), which owns every long-lived process of the lab.

Nothing restarts by itself: what a test or a trainee has killed stays dead until `lab start`.
"""

from __future__ import annotations

import os
import shlex
import signal
import socket
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault, ServerProxy

from supervisor.xmlrpc import SupervisorTransport  # type: ignore[import-untyped]

from sisamu_ops.lab.commands import CLEAN_ENVIRONMENT, run_command
from sisamu_ops.lab.programs import Program
from sisamu_ops.lab.topology import SETTINGS, LabPlace
from sisamu_ops.model.errors import FailedError

#: XML-RPC faults that mean the wanted state is already there (supervisor.xmlrpc.Faults).
_ALREADY = {60, 70}


@dataclass(frozen=True, kw_only=True)
class ProgramStatus:
    """What the supervisor says of one program; `pid` is 0 when it does not run."""

    name: str
    state: str
    pid: int

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self.state == "RUNNING"


def write_supervisor_config(place: LabPlace, programs: Iterable[Program]) -> Path:
    """Write supervisord's configuration and return its path."""
    path = place.root / "supervisord.conf"
    (place.root / "logs").mkdir(parents=True, exist_ok=True)
    sections = [_supervisor_section(place), *(_program_section(place, one) for one in programs)]
    path.write_text("\n".join(sections), "utf-8")
    return path


def start_supervisor(place: LabPlace, config: Path) -> None:
    """Start supervisord unless it answers; it has opened its socket when this returns."""
    if supervisor_answers(place):
        return
    run_command((sys.executable, "-m", "supervisor.supervisord", "-c", str(config)))
    if not supervisor_answers(place):
        raise FailedError(
            "the supervisor did not start",
            place=str(place.root / "supervisord.log"),
            remedy="sisamu lab down, then sisamu lab up",
        )


def supervisor_answers(place: LabPlace) -> bool:
    """Whether a supervisor listens on the lab's socket."""
    with suppress(OSError), socket.socket(socket.AF_UNIX) as link:
        link.connect(str(place.supervisor_socket))
        return True
    return False


def read_programs(place: LabPlace) -> dict[str, ProgramStatus]:
    """Return every program's status by name; nothing when no supervisor runs."""
    if not supervisor_answers(place):
        return {}
    found = [
        ProgramStatus(name=one["name"], state=one["statename"], pid=one["pid"])
        for one in _calls(place).getAllProcessInfo()
    ]
    return {one.name: one for one in found}


def start_programs(place: LabPlace, names: Iterable[str]) -> None:
    """Start programs; those that run already are left alone."""
    for name in names:
        _tolerating(_calls(place).startProcess, name, False)


def stop_programs(place: LabPlace, names: Iterable[str], *, kill: bool) -> None:
    """Stop programs: SIGTERM, then SIGKILL; with `kill`, SIGKILL to the whole group at once."""
    wanted = list(names)
    if kill:
        present = read_programs(place)
        for pid in [present[name].pid for name in wanted if present[name].pid]:
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
    for name in wanted:
        _tolerating(_calls(place).stopProcess, name, False)


def _calls(place: LabPlace) -> Any:
    """Return the supervisor's XML-RPC interface, over its Unix socket."""
    transport = SupervisorTransport(None, None, f"unix://{place.supervisor_socket}")
    return ServerProxy("http://127.0.0.1", transport=transport).supervisor


def _tolerating(call: Any, *arguments: object) -> None:
    try:
        call(*arguments)
    except Fault as fault:
        if fault.faultCode not in _ALREADY:
            raise FailedError(
                f"{arguments[0]}: {fault.faultString}", remedy="sisamu lab status"
            ) from fault


def _supervisor_section(place: LabPlace) -> str:
    return f"""\
[unix_http_server]
file={place.supervisor_socket}
chmod=0700

[supervisord]
directory={place.root}
logfile={place.root}/supervisord.log
logfile_maxbytes=1MB
logfile_backups=1
pidfile={place.root}/supervisord.pid
childlogdir={place.root}/logs
user=root
silent=true

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
"""


def _program_section(place: LabPlace, program: Program) -> str:
    log = f"{place.root}/logs/{program.name}.log" if program.keeps_log else "NONE"
    return f"""
[program:{program.name}]
command={_escaped(shlex.join(program.command))}
directory={program.directory}
environment={_environment(place, program)}
autostart=false
autorestart=false
startsecs=0
startretries=0
stopwaitsecs={program.stop_wait_s}
stopasgroup=true
killasgroup=true
redirect_stderr=true
stdout_logfile={log}
stdout_logfile_maxbytes=2MB
stdout_logfile_backups=1
"""


def _environment(place: LabPlace, program: Program) -> str:
    binaries = Path(sys.executable).parent
    variables = {
        "SISAMU_LAB_NAME": place.name,
        "SISAMU_LAB_ROOT": str(place.root),
        # What a program keeps under its home directory goes away with the lab.
        "HOME": str(program.directory),
        "PATH": f"{binaries}:{CLEAN_ENVIRONMENT['PATH']}",
        **{name: os.environ[name] for name in SETTINGS if name in os.environ},
        **dict(program.environment),
    }
    return ",".join(f"{name}={_quoted(value)}" for name, value in variables.items())


def _quoted(text: str) -> str:
    """Quote a value for the environment; JSON brings quotes of its own."""
    quote = "'" if '"' in text else '"'
    return f"{quote}{_escaped(text)}{quote}"


def _escaped(text: str) -> str:
    """Double the percent signs, which supervisord expands."""
    return text.replace("%", "%%")
