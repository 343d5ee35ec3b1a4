"""The programs of the lab: what the supervisor runs, where, and how one sees that it is ready.

Pure: from the plan of addresses to command lines.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.resources import files
from pathlib import Path

from sisamu_ops.lab.clock import clock_environment
from sisamu_ops.lab.requirements import JARS, find_tool
from sisamu_ops.lab.topology import (
    CALL_SERVERS,
    DATABASE_ARBITER,
    DATABASE_NODES,
    DESKS,
    GALERA_PORT,
    PHONES,
    PLATFORM_INSTANCES,
    SITE_HOSTS,
    ZOOKEEPER_PORT,
    Host,
    LabPlace,
)
from sisamu_ops.model.errors import ConfigurationError

FILES = Path(str(files("sisamu_ops.lab") / "files"))

#: Small and quick to start: a lab's ensemble holds a few thousand nodes.
_JAVA_OPTIONS = (
    "-Xmx128m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Djava.net.preferIPv4Stack=true",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dzookeeper.jmx.log4j.disable=true",
)
#: Seconds to leave the cluster and write everything down: killed meanwhile, it would have crashed.
_LEAVE_S = 20


@dataclass(frozen=True, kw_only=True)
class Program:
    """One supervised program.

    `listens` is (`tcp` or `udp`, address, port); `control` is Kamailio's control socket; `sql` is
    a database node's; `keeps_log` is false for what prints a screen rather than a log;
    `environment` is what it sees beside what every program does; `stop_wait_s` is what it has to
    end after SIGTERM before its whole process group is killed.
    """

    name: str
    command: tuple[str, ...]
    directory: Path
    listens: tuple[str, str, int] | None = None
    control: Path | None = None
    sql: Path | None = None
    keeps_log: bool = True
    environment: tuple[tuple[str, str], ...] = ()
    stop_wait_s: int = 3

    @property
    def is_agent(self) -> bool:
        """Whether this is a site's agent, which starts after everything it works on."""
        return self.name.startswith("agent-")


def all_programs(place: LabPlace, inventory: Path) -> tuple[Program, ...]:
    """Return every program of the lab, in the order they start: agents last, paris first."""
    return (
        *(_zookeeper(place, host) for host in SITE_HOSTS),
        *(_mariadb(place, host) for host in DATABASE_NODES),
        _garbd(place, DATABASE_ARBITER),
        *(_sshd(place, host) for host in place.ssh_hosts),
        *(_kamailio(place, host) for host in (*place.fenced_hosts, *CALL_SERVERS)),
        *(_answerer(place, host, _instance(host)) for host in PLATFORM_INSTANCES),
        _answerer(place, DESKS, "desks"),
        _answerer(place, PHONES, "phones"),
        *(_agent(place, host, inventory) for host in SITE_HOSTS),
    )


def match_programs(patterns: tuple[str, ...], names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names the globs mean, in the given order.

    ConfigurationError when there is no pattern, or one matches nothing.
    """
    idle = [one for one in patterns if not any(fnmatchcase(name, one) for name in names)]
    if idle or not patterns:
        raise ConfigurationError(
            f"no program {', '.join(idle)}" if idle else "no program named",
            remedy="use names or globs of: " + ", ".join(names),
        )
    return tuple(name for name in names if any(fnmatchcase(name, one) for one in patterns))


def _zookeeper(place: LabPlace, host: Host) -> Program:
    home = place.host_dir(host)
    classes = ":".join(map(str, JARS))
    main = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
    command = (find_tool("java"), *_JAVA_OPTIONS, "-cp", classes, main, str(home / "zoo.cfg"))
    return Program(
        name=f"zookeeper-{host.name}",
        command=(*place.entering(host.network), *command),
        directory=home,
        listens=("tcp", host.address(place.prefix), ZOOKEEPER_PORT),
    )


def _sshd(place: LabPlace, host: Host) -> Program:
    home = place.host_dir(host)
    command = (find_tool("sshd"), "-D", "-e", "-f", str(home / "sshd_config"))
    return Program(
        name=f"sshd-{host.name}",
        command=(*place.entering(host.network), *command),
        directory=home,
        listens=("tcp", host.address(place.prefix), 22),
    )


def _kamailio(place: LabPlace, host: Host) -> Program:
    home = place.host_dir(host)
    # In the foreground, log to stderr. A transaction takes 16 kB of shared memory for 5 s after its
    # end: 64 MB carry some 400 calls a second, and are touched only when needed.
    options = ("-DD", "-E", "-m", "64", "-M", "4", "-Y", str(home))
    command = (find_tool("kamailio"), "-f", str(home / "kamailio.cfg"), *options)
    return Program(
        name=host.name,
        command=(*place.entering(host.network), *command),
        directory=home,
        listens=("udp", host.address(place.prefix), 5060),
        control=home / "kamailio.sock",
    )


def _answerer(place: LabPlace, host: Host, answered_by: str) -> Program:
    address = host.address(place.prefix)
    command = (
        *(find_tool("sipp"), "-sf", str(FILES / "answering.xml"), "-key", "answered_by"),
        *(answered_by, "-i", address, "-p", "5060", "-nostdin"),
        # Its watchdog ends a SIPp that was held up ten times: a loaded machine is no reason to.
        *("-watchdog_interval", "0"),
        # A BYE for a call this process never had must not be answered as if it had ended well.
        *("-default_behaviors", "all,-bye"),
    )
    return Program(
        name=host.name,
        command=(*place.entering(host.network), *command),
        directory=place.host_dir(host),
        listens=("udp", address, 5060),
        keeps_log=False,
    )


def _mariadb(place: LabPlace, host: Host) -> Program:
    home = place.host_dir(host)
    return Program(
        name=f"galera-{host.network}",
        command=(
            *place.entering(host.network),
            "/bin/sh",
            str(FILES / "galera_node.sh"),
            str(home),
        ),
        directory=home,
        listens=("tcp", host.address(place.prefix), GALERA_PORT),
        sql=sql_socket(place, host),
        stop_wait_s=_LEAVE_S,
    )


def _garbd(place: LabPlace, host: Host) -> Program:
    configuration = str(place.host_dir(host) / "garbd.conf")
    return Program(
        name=f"garbd-{host.network}",
        command=(*place.entering(host.network), find_tool("garbd"), "--cfg", configuration),
        # It writes its view of the cluster, gvwstate.dat, where it is started.
        directory=place.galera_dir(host),
        listens=("tcp", host.address(place.prefix), GALERA_PORT),
        stop_wait_s=_LEAVE_S,
    )


def sql_socket(place: LabPlace, host: Host) -> Path:
    """Return where root asks a database node, without a password."""
    return place.galera_dir(host) / "mariadb.sock"


def _agent(place: LabPlace, host: Host, inventory: Path) -> Program:
    home = place.host_dir(host)
    sisamu = str(place.install_dir(host) / "current/bin/sisamu")
    run = ("agent", "run", "--site", host.name, "--home", str(home))
    return Program(
        name=f"agent-{host.name}",
        command=(*place.entering(host.network), sisamu, "-i", str(inventory), *run),
        directory=home,
        environment=clock_environment(place, host.name),
    )


def _instance(host: Host) -> str:
    return f"nominal;instance={host.network}"
