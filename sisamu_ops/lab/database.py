"""The lab's Galera cluster: its configurations, its first data, and whether it is whole.

The first data are made once: a cluster of one node is founded on a template, stopped cleanly, and
copied to every node. All copies then hold the same position of the same history, which spares the
second node a full copy over the network when it joins.

A cluster is founded only by a file `found-cluster` in a node's home, which the node takes away as
it starts (`files/galera_node.sh`). `up` puts one there when the data are new; or when no member
runs and a node's grastate.dat says that it was the last to leave. Nothing else does: nodes that
were all stopped cleanly do not found a cluster by being started.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep

from sisamu_ops.lab.commands import CLEAN_ENVIRONMENT, run_command
from sisamu_ops.lab.furnishing import write_form
from sisamu_ops.lab.programs import sql_socket
from sisamu_ops.lab.requirements import GALERA_PROVIDER, find_tool
from sisamu_ops.lab.supervisor import read_programs
from sisamu_ops.lab.topology import (
    DATABASE_ARBITER,
    DATABASE_CLUSTER,
    DATABASE_HOSTS,
    DATABASE_NODES,
    GALERA_PORT,
    Host,
    LabPlace,
)
from sisamu_ops.model.errors import FailedError

#: What a test may write to, so as to see whether the cluster commits.
_SCHEMA = """\
CREATE DATABASE calls;
CREATE TABLE calls.probe (id BIGINT AUTO_INCREMENT PRIMARY KEY, at DATETIME(3), said VARCHAR(80))
  ENGINE=InnoDB;
"""

#: Galera's defaults suit links between cities and notice a silent member after 5 to 15 s. Here a
#: test waits for it: every time-out is about a third, in the proportions of the defaults, so that
#: a member is missed within two to three seconds and a loaded machine misses none that lives.
_TIMINGS = (
    "evs.keepalive_period=PT0.3S",
    "evs.inactive_check_period=PT0.2S",
    "evs.suspect_timeout=PT1.5S",
    "evs.inactive_timeout=PT3S",
    "evs.install_timeout=PT3S",
    "evs.join_retrans_period=PT0.3S",
    "gmcast.peer_timeout=PT1S",
    "gmcast.time_wait=PT1S",
    "pc.announce_timeout=PT1S",
)
_TEMPLATE = "galera-template"
_FOUND = "found-cluster"
_FOUNDED_S = 30


def furnish_database(place: LabPlace) -> None:
    """Write every member's configuration; make the data unless there are some.

    Data of a cluster that was never whole are made again. FailedError when that fails.
    """
    for host in DATABASE_NODES:
        values = {
            "data": place.galera_dir(host),
            "socket": sql_socket(place, host),
            "tmp": _make_own_tmp(place, host),
        }
        _write_configuration(place, host, "galera.cnf", values)
    _write_configuration(place, DATABASE_ARBITER, "garbd.conf", {})
    if not _any_runs(place):
        founder = _founder(place)
        if founder is not None:
            (place.host_dir(founder) / _FOUND).touch()


def settle_database(place: LabPlace) -> None:
    """Note that the cluster has been whole: its data are kept from now on."""
    _unsettled(place).unlink(missing_ok=True)


def missing_from_cluster(place: LabPlace) -> str:
    """Say what the cluster still lacks to be Primary with all its members, as its nodes see it."""
    return "; ".join(
        f"{host.name} sees {seen or 'nobody'}"
        for host in DATABASE_NODES
        if (seen := _seen_by(place, host)) != f"Primary of {len(DATABASE_HOSTS)}"
    )


def takes_sql(socket: Path) -> bool:
    """Whether a database node takes part in a cluster that may write."""
    return ask_database(socket, "SHOW GLOBAL STATUS LIKE 'wsrep_ready'").split()[1:] == ["ON"]


def ask_database(socket: Path, statement: str) -> str:
    """Return what a node answers as rows of tab-separated columns; nothing when it does not."""
    client = (find_tool("mariadb"), "--no-defaults", f"--socket={socket}")
    with suppress(subprocess.TimeoutExpired):
        return subprocess.run(
            [*client, "--connect-timeout=2", "-N", "-B", "-e", statement],
            env=CLEAN_ENVIRONMENT, capture_output=True, text=True, timeout=2, check=False,
        ).stdout  # fmt: skip
    return ""


def _seen_by(place: LabPlace, host: Host) -> str:
    asked = (
        "SHOW GLOBAL STATUS WHERE Variable_name IN ('wsrep_cluster_status', 'wsrep_cluster_size')"
    )
    rows = dict(
        line.split("\t") for line in ask_database(sql_socket(place, host), asked).splitlines()
    )
    return f"{rows['wsrep_cluster_status']} of {rows['wsrep_cluster_size']}" if rows else ""


def _write_configuration(place: LabPlace, host: Host, form: str, own: dict[str, Path]) -> None:
    listening = f"gmcast.listen_addr=tcp://{host.address(place.prefix)}:{GALERA_PORT}"
    peers = ",".join(one.address(place.prefix) for one in DATABASE_HOSTS)
    values = {
        "cluster": DATABASE_CLUSTER, "members": f"gcomm://{peers}",
        "options": ";".join((listening, *_TIMINGS)), "provider": str(GALERA_PROVIDER),
        **{name: str(path) for name, path in own.items()},
    }  # fmt: skip
    write_form(place, host, form, form, values)
    place.galera_dir(host).mkdir(exist_ok=True)


def _make_own_tmp(place: LabPlace, host: Host) -> Path:
    """Return a node's own directory for temporary tables; it is there.

    A starting mariadbd deletes the temporary tables it finds as left by a crash. In a directory
    shared with another that runs, such as another lab's, it takes that one's, which then aborts.
    """
    own = place.host_dir(host) / "galera-tmp"
    own.mkdir(exist_ok=True)
    shutil.chown(own, "mysql")
    return own


def _any_runs(place: LabPlace) -> bool:
    running = {name for name, one in read_programs(place).items() if one.pid}
    return any(name.startswith(("galera-", "garbd-")) for name in running)


def _founder(place: LabPlace) -> Host | None:
    """Return the node that may found the cluster, if any: new data, or the last that left."""
    if _unsettled(place).exists() or not all(_has_data(place, host) for host in DATABASE_NODES):
        _unsettled(place).touch()
        _make_data(place)
    return next((host for host in DATABASE_NODES if _left_last(place, host)), None)


def _unsettled(place: LabPlace) -> Path:
    return place.root / "galera-unsettled"


def _has_data(place: LabPlace, host: Host) -> bool:
    return (place.galera_dir(host) / "grastate.dat").exists()


def _left_last(place: LabPlace, host: Host) -> bool:
    state = (place.galera_dir(host) / "grastate.dat").read_text("ascii")
    return re.search(r"^safe_to_bootstrap: 1$", state, re.MULTILINE) is not None


def _make_data(place: LabPlace) -> None:
    """Found a cluster of one on the template, stop it, and copy what it leaves to every node."""
    template = place.root / _TEMPLATE
    _open_way(place)
    shutil.rmtree(template, ignore_errors=True)
    founder, *others = DATABASE_NODES
    _install_tables(template, _make_own_tmp(place, founder))
    with _running_alone(place, founder, template):
        pass
    for host in DATABASE_NODES:
        shutil.rmtree(place.galera_dir(host))
        run_command(("cp", "-a", str(template), str(place.galera_dir(host))))
    for host in others:
        state = place.galera_dir(host) / "grastate.dat"
        state.write_text(state.read_text("ascii").replace("bootstrap: 1", "bootstrap: 0"), "ascii")
    shutil.rmtree(template)


def _open_way(place: LabPlace) -> None:
    """Let the user mysql pass through to the nodes' data, whatever root's umask is."""
    for directory in {
        place.root, *(path for one in DATABASE_NODES for path in (
            place.host_dir(one).parent, place.host_dir(one)))
    }:  # fmt: skip
        directory.chmod(directory.stat().st_mode | 0o011)


def _install_tables(template: Path, tmp: Path) -> None:
    schema = template.with_suffix(".sql")
    schema.write_text(_SCHEMA, "ascii")
    template.mkdir()
    run_command((
        find_tool("mariadb-install-db"), "--no-defaults", "--user=mysql",
        f"--datadir={template}", f"--tmpdir={tmp}",
        "--auth-root-authentication-method=socket", "--auth-root-socket-user=root",
        "--skip-test-db", "--skip-name-resolve", f"--extra-file={schema}",
        # What is made here must be what galera.cnf says.
        "--innodb-log-file-size=8M", "--innodb-data-file-path=ibdata1:4M:autoextend",
        "--innodb-autoextend-increment=1",
    ))  # fmt: skip
    schema.unlink()


@contextmanager
def _running_alone(place: LabPlace, host: Host, data: Path) -> Iterator[None]:
    """Have a node run on other data as a cluster of its own; it has ended cleanly afterwards."""
    log = place.root / "galera-template.log"
    socket = data / "mariadb.sock"
    own = (f"--datadir={data}", f"--socket={socket}", f"--pid-file={data}/mariadbd.pid")
    command = [
        *place.entering(host.network), find_tool("mariadbd"),
        f"--defaults-file={place.host_dir(host)}/galera.cnf", *own, "--wsrep-new-cluster",
    ]  # fmt: skip
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command, env=CLEAN_ENVIRONMENT, stdout=output, stderr=output, cwd=data
        ) as node,
    ):
        try:
            _await_founded(node, socket, log)
            yield
        finally:
            node.terminate()
    log.unlink()


def _await_founded(node: subprocess.Popen[bytes], socket: Path, log: Path) -> None:
    deadline = monotonic() + _FOUNDED_S
    while not takes_sql(socket):
        if node.poll() is not None or monotonic() > deadline:
            said = " / ".join(log.read_text("utf-8", "replace").splitlines()[-3:])
            raise FailedError(
                f"the database cluster cannot be founded: {said}",
                place=str(log),
                remedy="sisamu lab down, then sisamu lab up",
            )
        sleep(0.02)
