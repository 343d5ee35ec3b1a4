"""The cluster made whole again, whatever was done to it: by the mildest means that does it."""

from __future__ import annotations

import re
import shutil
from time import monotonic, sleep

from sisamu_ops.lab import Lab
from sisamu_ops.lab.database import ask_database, missing_from_cluster
from sisamu_ops.lab.programs import sql_socket
from sisamu_ops.lab.readiness import await_stopped
from sisamu_ops.lab.supervisor import read_programs, start_programs, stop_programs
from sisamu_ops.lab.topology import DATABASE_ARBITER, DATABASE_HOSTS, DATABASE_NODES, Host
from sisamu_ops.model.errors import SisamuError
from tests.galera_losses.members import PROGRAMS, ask_members, running_members

#: What a node needs to recover its position, find its peers and be sent what it missed, and more.
_WHOLE_S = 20.0
#: A cluster that finds itself again does so within 1.5 s of its members' start.
_LED_S = 5.0
_ENDED_S = 10.0
_POLL_S = 0.1


def make_whole(lab: Lab) -> str:
    """Return when the cluster is whole, and by which means; FailedError when none helps.

    `nothing`, `rejoined`, `bootstrapped`, `founded`, `remade` (new data), `new lab`.
    """
    means = {"rejoined": _rejoin, "bootstrapped": _bootstrap, "founded": _found}
    if _primary(lab) == {DATABASE_ARBITER.name}:
        del means["rejoined"]  # it has no data to give: a node that came back to it would give up
    lab.heal()
    if is_whole(lab):
        return "nothing"
    for name, try_it in means.items():
        if try_it(lab) and _await_whole(lab):
            return name
    return _remake(lab)


def is_whole(lab: Lab) -> bool:
    """Whether all members are one primary component by everybody's word, and all data in step."""
    words = ask_members(lab, running_members(lab))
    data = [words[host.name] for host in DATABASE_NODES if host.name in words]
    everyone = len(words) == len(DATABASE_HOSTS) and not missing_from_cluster(lab.place)
    alike = all(word.primary and word.size == len(DATABASE_HOSTS) for word in words.values())
    return everyone and alike and all(word.state == "Synced" for word in data)


def _await_whole(lab: Lab) -> bool:
    began = led = monotonic()
    while not is_whole(lab):
        now = monotonic()
        led = now if _primary(lab) else led
        if now - began > _WHOLE_S or now - led > _LED_S or _one_gave_up(lab):
            return False
        sleep(_POLL_S)
    return True


def _primary(lab: Lab) -> frozenset[str]:
    words = ask_members(lab, running_members(lab))
    return frozenset(name for name, word in words.items() if word.primary)


def _one_gave_up(lab: Lab) -> bool:
    """Whether a member that was started has ended: it will not come back by itself."""
    present = read_programs(lab.place)
    return not all(present[program].pid for program in PROGRAMS.values())


def _rejoin(lab: Lab) -> bool:
    start_programs(lab.place, PROGRAMS.values())
    return True


def _bootstrap(lab: Lab) -> bool:
    """Declare the data node that lives the primary component (`pc.bootstrap`), if nobody is."""
    words = ask_members(lab, running_members(lab))
    living = [host for host in DATABASE_NODES if host.name in words]
    if not living or any(word.primary for word in words.values()):
        return False
    statement = "SET GLOBAL wsrep_provider_options = 'pc.bootstrap=YES'"
    ask_database(sql_socket(lab.place, living[0]), statement)
    start_programs(lab.place, PROGRAMS.values())
    return True


def _found(lab: Lab) -> bool:
    """Let the data node found the cluster that left in good order furthest ahead, if any did."""
    _end_all(lab)
    founder = max(DATABASE_NODES, key=lambda host: _position(lab, host))
    if _position(lab, founder) < 0:
        return False
    state = lab.place.galera_dir(founder) / "grastate.dat"
    said = state.read_text("ascii").replace("safe_to_bootstrap: 0", "safe_to_bootstrap: 1")
    state.write_text(said, "ascii")
    (lab.place.host_dir(founder) / "found-cluster").touch()
    for host in DATABASE_HOSTS:  # who remembers the old component would restore it, beside the new
        (lab.place.galera_dir(host) / "gvwstate.dat").unlink(missing_ok=True)
    start_programs(lab.place, PROGRAMS.values())
    return True


def _position(lab: Lab, host: Host) -> int:
    """Return how far a stopped node says it is; -1 when it crashed."""
    state = (lab.place.galera_dir(host) / "grastate.dat").read_text("ascii")
    found = re.search(r"^seqno: *(-?\d+)$", state, re.MULTILINE)
    return int(found[1]) if found else -1


def _remake(lab: Lab) -> str:
    """Make the database anew; where even that fails, the lab."""
    _end_all(lab)
    for host in DATABASE_HOSTS:
        shutil.rmtree(lab.place.galera_dir(host), ignore_errors=True)
        (lab.place.host_dir(host) / "found-cluster").unlink(missing_ok=True)
    try:
        lab.up(agents=False)
    except SisamuError:
        lab.down()
        lab.up(agents=False)
        return "new lab"
    return "remade"


def _end_all(lab: Lab) -> None:
    stop_programs(lab.place, PROGRAMS.values(), kill=True)
    await_stopped(lab.place, PROGRAMS.values(), _ENDED_S)
