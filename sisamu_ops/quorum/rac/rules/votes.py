"""The voting files (pure): a node stays while it sees more than half of the configured."""

from __future__ import annotations

from collections.abc import Iterator

from sisamu_ops.quorum.cluster import required_of
from sisamu_ops.quorum.rac.reading import HostReading, Readings
from sisamu_ops.quorum.verdict import Evidence, Finding, Severity


def check_majority(readings: Readings) -> Iterator[Finding]:
    """Find nodes that see too few voting files; where all of them do, quorum is lost."""
    views = [one for one in readings.speaking if not one.problem("votedisk")]
    below = [one for one in views if one.votedisk.online < required_of(one.votedisk.configured)]
    if not below:
        return
    lost = len(below) == len(readings.speaking)
    most = max(below, key=lambda one: one.votedisk.online).votedisk
    yield Finding(
        finding_id="votedisk.lost" if lost else "votedisk.host-below-majority",
        severity=Severity.LOST if lost else Severity.DEGRADED,
        message=f"{', '.join(one.host for one in below)}: {most.online} of {most.configured} "
        f"voting files are online, {required_of(most.configured)} are required",
        remedy="bring back the storage of the voting files that are not ONLINE",
        evidence=tuple(e for one in below for e in _offline_evidence(one)),
    )


def check_same_files(readings: Readings) -> Iterator[Finding]:
    """Find nodes that list different voting files."""
    views = [one for one in readings.speaking if not one.problem("votedisk")]
    identities = [_identities(one) for one in views]
    for one, identity in zip(views[1:], identities[1:], strict=True):
        if identity != identities[0]:
            yield Finding(
                finding_id="votedisk.contradictory",
                severity=Severity.UNKNOWN,
                message=f"{views[0].host} and {one.host} list different voting files",
                remedy="a replacement may be under way: ask again; else have a DBA look",
                evidence=(*views[0].evidence("votedisk"), *one.evidence("votedisk")),
            )


def _identities(one: HostReading) -> frozenset[str]:
    return frozenset(row.file_id or row.path for row in one.votedisk.rows)


def check_files_online(readings: Readings) -> Iterator[Finding]:
    """Find voting files that are not online, by anybody."""
    seen: dict[str, tuple[str, HostReading]] = {}
    for one in readings.speaking:
        for row in one.votedisk.rows:
            if not row.online:
                seen.setdefault(row.name, (row.state, one))
    for name, (state, one) in seen.items():
        yield Finding(
            finding_id="votedisk.offline",
            severity=Severity.DEGRADED,
            message=f"voting file {name} is {state}",
            remedy="bring its disk back, then crsctl query css votedisk",
            evidence=one.evidence("votedisk", name),
        )


def _offline_evidence(one: HostReading) -> tuple[Evidence, ...]:
    rows = [row for row in one.votedisk.rows if not row.online]
    return tuple(e for row in rows for e in one.evidence("votedisk", row.name))
