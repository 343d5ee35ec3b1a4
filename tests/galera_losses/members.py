"""What each member says of itself, asked on its own host and past the tool on trial."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic, sleep

from sisamu_ops.lab import Lab
from sisamu_ops.lab.database import ask_database
from sisamu_ops.lab.programs import sql_socket
from sisamu_ops.lab.supervisor import read_programs
from sisamu_ops.lab.topology import DATABASE_ARBITER, DATABASE_HOSTS, DATABASE_NODES, Host
from tests.support.lab import reaches

#: How long one may try to commit; where it is refused the answer comes at once.
_COMMIT_S = 1.0
_ASKED = """\
SHOW GLOBAL STATUS WHERE Variable_name IN ('wsrep_cluster_status', 'wsrep_cluster_size',
  'wsrep_cluster_conf_id', 'wsrep_ready', 'wsrep_local_state_comment');
SELECT 'member', name FROM information_schema.wsrep_membership ORDER BY name;"""
#: Two threads of garbd write its log: another line may begin where this one should have ended.
_COMPONENT = re.compile(
    r"New COMPONENT: primary = (\w+), .*memb_num = (\d+?)(?:\n|\d{4}-\d\d-\d\d )"
)


@dataclass(frozen=True, kw_only=True)
class Word:
    """What one running member says: whether it is Primary, and with whom.

    `others` is empty for the arbiter, which tells how many they are and not who; `view` is any
    mark that changes when the membership does.
    """

    member: str
    primary: bool
    size: int
    named: frozenset[str] = frozenset()
    state: str = ""
    view: str = ""

    def hears_only(self, group: frozenset[str]) -> bool:
        """Whether it counts nobody but members of this group."""
        return self.named <= group and self.size <= len(group)


def program_of(host: Host) -> str:
    """Return the name of a member's program."""
    return f"{'garbd' if host == DATABASE_ARBITER else 'galera'}-{host.network}"


PROGRAMS = {host.name: program_of(host) for host in DATABASE_HOSTS}
SITE_OF = {host.name: host.network for host in DATABASE_HOSTS}


def running_members(lab: Lab) -> frozenset[str]:
    """Return the members whose process lives."""
    present = read_programs(lab.place)
    return frozenset(name for name, program in PROGRAMS.items() if present[program].pid)


def ask_members(lab: Lab, names: Iterable[str]) -> dict[str, Word]:
    """Return what these members say of themselves; one that does not answer is left out."""
    wanted = frozenset(names)
    words = [_data_node(lab, host) for host in DATABASE_NODES if host.name in wanted]
    if DATABASE_ARBITER.name in wanted:
        words.append(_arbiter(lab))
    return {one.member: one for one in words if one is not None}


def _data_node(lab: Lab, host: Host) -> Word | None:
    rows = [line.partition("\t") for line in _lines(lab, host, _ASKED)]
    said = {name: value for name, _, value in rows if name != "member"}
    with suppress(KeyError):  # it is ending, or has not opened for queries yet
        return Word(
            member=host.name,
            primary=said["wsrep_cluster_status"] == "Primary" and said["wsrep_ready"] == "ON",
            size=int(said["wsrep_cluster_size"]),
            named=frozenset(value for name, _, value in rows if name == "member"),
            state=said["wsrep_local_state_comment"],
            view=said["wsrep_cluster_conf_id"],
        )
    return None


def _arbiter(lab: Lab) -> Word | None:
    """Read garbd's log: it answers no query, and writes every component it comes to be in."""
    log = lab.place.root / "logs" / f"{PROGRAMS[DATABASE_ARBITER.name]}.log"
    files = [one for one in (log.with_name(f"{log.name}.1"), log) if one.exists()]
    return read_arbiter("".join(one.read_text("utf-8", "replace") for one in files))


def read_arbiter(log: str) -> Word | None:
    """Return the arbiter's word: the last component in its log, if there is one."""
    found = list(_COMPONENT.finditer(log))
    if not found:
        return None
    # Each component is written down once, so how many there have been is a mark of the view.
    return Word(
        member=DATABASE_ARBITER.name,
        primary=found[-1][1] == "yes",
        size=int(found[-1][2]),
        view=str(len(found)),
    )


def committing(lab: Lab, said: str) -> tuple[str, ...]:
    """Return the data nodes, of those an operator reaches, that commit a write and give it back.

    Each is tried, through the client on its own host, until the time is over.
    """
    left = [host for host in DATABASE_NODES if reaches(lab, "ops", host.address(lab.place.prefix))]
    done: list[str] = []
    deadline = monotonic() + _COMMIT_S
    while left:
        done += [host.name for host in left if _commits(lab, host, said)]
        left = [host for host in left if host.name not in done]
        if monotonic() > deadline:
            break
        sleep(0.2)
    return tuple(sorted(done))


def _commits(lab: Lab, host: Host, said: str) -> bool:
    row = f"(NOW(3), '{said}') RETURNING id"
    written = _lines(lab, host, f"INSERT INTO calls.probe (at, said) VALUES {row}")
    if len(written) != 1:
        return False
    return _lines(lab, host, f"SELECT said FROM calls.probe WHERE id = {written[0]}") == [said]


def _lines(lab: Lab, host: Host, statement: str) -> list[str]:
    return ask_database(sql_socket(lab.place, host), statement).splitlines()
