"""Can it be told at all (pure): who was heard, and can what they said be relied on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from sisamu_ops.quorum.rac.commands import (
    ASK_AGAIN,
    BROKER,
    COMMANDS,
    ESSENTIAL,
    EXPECTED,
    SETTINGS,
)
from sisamu_ops.quorum.rac.reading import HostReading, Readings
from sisamu_ops.quorum.rac.settings import DEFAULTS
from sisamu_ops.quorum.verdict import Evidence, Finding, Severity

#: Differences that are named.
_NAMED = 5


def check_anybody_reached(readings: Readings) -> Iterator[Finding]:
    """Find that nobody could be asked at all."""
    if not readings.reached:
        why = "; ".join(f"{one.host}: {one.capture.unreachable}" for one in readings.hosts)
        yield Finding(
            finding_id="evidence.none",
            severity=Severity.UNKNOWN,
            message=f"no node could be asked ({why or 'no host in the capture'})",
            remedy="sisamu doctor; check sshd, known_hosts and the network to the nodes",
        )


def check_reached(readings: Readings) -> Iterator[Finding]:
    """Find hosts that could not be asked."""
    for one in readings.hosts:
        if not one.reached:
            yield Finding(
                finding_id="host.unreachable",
                severity=Severity.DEGRADED,
                message=f"{one.host} could not be asked: {one.capture.unreachable}",
                remedy=f"check sshd on {one.host}, known_hosts and the network there",
                evidence=(Evidence(host=one.host, command="ssh"),),
            )


def check_asked(readings: Readings) -> Iterator[Finding]:
    """Find nodes that others speak of and that nobody has asked."""
    for node in readings.nodes:
        if readings.reached and readings.host(node.name) is None and node.css is not False:
            yield Finding(
                finding_id="host.not-asked",
                severity=Severity.DEGRADED,
                message=f"{node.name} is in the cluster and has not been asked itself",
                remedy=f"add {node.name} to the group database of the inventory, or to the capture",
            )


def check_essential(readings: Readings) -> Iterator[Finding]:
    """Find essential outputs that cannot be relied on: nothing can be told then."""
    for one in readings.speaking:
        for name in ESSENTIAL:
            problem = one.problem(name)
            if problem:
                yield _unreadable(one, name, problem, Severity.UNKNOWN)


def check_expected(readings: Readings) -> Iterator[Finding]:
    """Find other outputs that cannot be relied on: something may be down unseen."""
    wanted = [one for one in EXPECTED if one != BROKER or readings.declared.data_guard]
    for one in readings.speaking:
        for name in wanted:
            problem = "" if one.crs_down and name != "stat_res_init" else one.problem(name)
            if not problem and _says_too_little(one, name):
                problem = "it says nothing"
            if problem:
                yield _unreadable(one, name, problem, Severity.DEGRADED)


def _says_too_little(one: HostReading, name: str) -> bool:
    """Say whether srvctl is silent on what the resources show to be registered."""
    status = one.srvctl.get(name)
    if status is None or one.crs_down:
        return False
    if name == "srvctl_scan_listener":
        registered = any(row.is_scan for row in one.stat_res.rows)
        return registered and not status.scan_listeners
    if name == "srvctl_service":
        return bool(one.stat_res.of_kind("svc")) and not status.services
    return bool(one.stat_res.of_kind("db")) and not (status.instances or status.databases_down)


def _unreadable(one: HostReading, name: str, problem: str, severity: Severity) -> Finding:
    said = "missing" if problem == "missing" else "unreadable"
    remedy = ASK_AGAIN
    if "sudo refused" in problem:
        remedy = "allow the command in sudoers: docs/quorum.md has the list"
    elif "no such command" in problem:
        remedy = "set sisamu_rac_path in the inventory to where the command is"
    elif name == BROKER:
        remedy = "where there is no Data Guard: sisamu_rac_data_guard: false; else ask again"
    elif name == "votedisk" and "last line" in problem:
        remedy = "declare the voting files and their sites: sisamu_rac_voting_files"
    return Finding(
        finding_id=f"evidence.{said}",
        severity=severity,
        message=f"{one.host}: {COMMANDS[name]}: {problem}",
        remedy=remedy,
        evidence=one.evidence(name),
    )


def check_settings(readings: Readings) -> Iterator[Finding]:
    """Find time-outs that are not what Oracle installs, or not known."""
    for name in SETTINGS:
        said = {one.settings[name] for one in readings.speaking if one.settings[name] is not None}
        unsaid = [one.host for one in readings.speaking if one.settings[name] is None]
        if said - {DEFAULTS[name]}:
            values = ", ".join(f"{value} s" for value in sorted(said, key=str))
            yield Finding(
                finding_id="settings.changed",
                severity=Severity.INFO,
                message=f"{name} is {values}, not the {DEFAULTS[name]} s Oracle installs",
                remedy="reckon with it: it is how long the cluster waits before it evicts",
            )
        if unsaid:
            yield Finding(
                finding_id="settings.unread",
                severity=Severity.INFO,
                message=f"{name} is not known of {', '.join(unsaid)}",
                remedy=f"crsctl get css {name}",
            )


def check_agreement(readings: Readings) -> Iterator[Finding]:
    """Find outputs that should list the same things wherever they are asked, and do not."""
    asked = [one for one in readings.speaking if not one.crs_down]
    for name, subjects in _SUBJECTS.items():
        sound = [one for one in asked if not one.problem(name)]
        said = [subjects(one) for one in sound]
        for one, mine in zip(sound[1:], said[1:], strict=True):
            if mine != said[0]:
                odd = ", ".join(sorted(mine ^ said[0])[:_NAMED])
                yield Finding(
                    finding_id="evidence.differs",
                    severity=Severity.DEGRADED,
                    message=f"{COMMANDS[name]}: {sound[0].host} and {one.host} differ on {odd}",
                    remedy="something may be changing: ask again; else have a DBA look",
                    evidence=(*sound[0].evidence(name), *one.evidence(name)),
                )
                break


def _status_subjects(name: str) -> Callable[[HostReading], frozenset[str]]:
    def subjects(one: HostReading) -> frozenset[str]:
        status = one.srvctl[name]
        return frozenset(status.names)

    return subjects


#: What an output names, where all nodes should name the same; an instance is asked of its own node.
_SUBJECTS: Mapping[str, Callable[[HostReading], frozenset[str]]] = {
    "stat_res": lambda one: frozenset(
        f"{row.resource} {row.ordinal or row.server}" for row in one.stat_res.rows
    ),
    "srvctl_database": _status_subjects("srvctl_database"),
    "srvctl_service": _status_subjects("srvctl_service"),
    "srvctl_scan_listener": _status_subjects("srvctl_scan_listener"),
    BROKER: lambda one: frozenset(name for name, _ in one.broker.members),
}


def check_counts(readings: Readings) -> Iterator[Finding]:
    """Find where srvctl and the resources do not name as many instances."""
    for one in readings.speaking:
        status = one.srvctl["srvctl_database"]
        listed, named = len(one.stat_res.of_kind("db")), len(status.instances)
        sound = not one.problem("stat_res") and not one.problem("srvctl_database")
        both = sound and listed and not one.crs_down and not status.databases_down
        if both and listed != named:
            yield Finding(
                finding_id="evidence.differs",
                severity=Severity.DEGRADED,
                message=f"{one.host}: {listed} instances among the resources, {named} by srvctl",
                remedy=ASK_AGAIN,
                evidence=(*one.evidence("stat_res", ".db"), *one.evidence("srvctl_database")),
            )
