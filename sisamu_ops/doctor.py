"""What `sisamu doctor` looks at: each check is made, judged, and never stops the next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sisamu_ops.failover.reading import Reading
from sisamu_ops.leadership.port import Coordination
from sisamu_ops.model.errors import SisamuError
from sisamu_ops.model.platform import Certificate, Platform
from sisamu_ops.quorum.verdict import Verdict

UNAUTHORISED, UNLED, UNREACHED = 3, 4, 6


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing looked at: whether it holds, what was seen, what would mend it."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""
    exit_code: int = 0


@dataclass(frozen=True, kw_only=True)
class Doctor:
    """Makes every check with what it is given; changes nothing."""

    platform: Platform
    principal: Callable[[], str]
    connect: Callable[[], Coordination]
    sites_reached: Callable[[], Mapping[str, object]]
    read_targets: Callable[[], Mapping[str, Reading]]
    embedded: bool = False
    certificate: Callable[[], Certificate | None] = lambda: None
    #: How the database is, in brief; None where none is declared.
    database: Callable[[], Mapping[str, Any] | None] = lambda: None
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def examine(self) -> list[Check]:
        """Return every check, good ones too."""
        return [
            *self._guarded("identity", UNAUTHORISED, lambda: [self._check_identity()]),
            *self._guarded("certificate", UNLED, self._check_certificate),
            *self._guarded("leader", UNLED, lambda: [self._check_leader()]),
            *self._guarded("sites", UNREACHED, self._check_sites),
            *self._guarded("targets", UNREACHED, self._check_targets),
            *self._guarded("database", UNREACHED, self._check_database),
        ]

    def _guarded(self, name: str, exit_code: int, check: Callable[[], list[Check]]) -> list[Check]:
        try:
            return check()
        except SisamuError as error:
            remedy = error.remedy or "see README, Troubleshooting"
            return [
                Check(name=name, ok=False, detail=error.message, remedy=remedy, exit_code=exit_code)
            ]

    def _check_identity(self) -> Check:
        principal = self.principal()
        policy = self.platform.policy
        if not principal:
            return Check(
                name="identity",
                ok=False,
                detail="your key is not in allowed_signers",
                remedy=f"have it added to {policy.allowed_signers}",
                exit_code=UNAUTHORISED,
            )
        if principal not in policy.operators:
            return Check(
                name="identity",
                ok=False,
                detail=f"{principal} is not an operator",
                remedy="have the principal added to sisamu_operators in the inventory",
                exit_code=UNAUTHORISED,
            )
        return Check(name="identity", ok=True, detail=f"you sign as {principal}")

    def _check_certificate(self) -> list[Check]:
        """Look at what one shows to ZooKeeper, where it asks for that."""
        certificate = self.certificate()
        if certificate is None:
            return []
        return [
            Check(
                name="certificate",
                ok=not certificate.ends_soon(self.now()),
                detail=f"ZooKeeper knows you as {certificate}",
                remedy="have it renewed: after its end ZooKeeper takes you for nobody",
                exit_code=UNLED,
            )
        ]

    def _check_leader(self) -> Check:
        coordination = self.connect()
        try:
            leader = coordination.leader()
        finally:
            coordination.close()
        if leader is None and self.embedded:
            return Check(name="leader", ok=True, detail="none at rest: this journal is local")
        if leader is None:
            return Check(
                name="leader",
                ok=False,
                detail="nobody leads",
                remedy="start the agents; by hand, with the card: sisamu samu card",
                exit_code=UNLED,
            )
        return Check(name="leader", ok=True, detail=f"{leader.site}, epoch {leader.epoch}")

    def _check_sites(self) -> list[Check]:
        reached = self.sites_reached()
        return [
            Check(
                name=f"site {site}",
                ok=site in reached,
                detail="replica readable" if site in reached else "replica not readable over SSH",
                remedy="check sshd there, known_hosts and the link",
                exit_code=UNREACHED,
            )
            for site in (reached if "local" in reached else self.platform.sites)
        ]

    def _check_database(self) -> list[Check]:
        """Look whether the database can be judged, and holds; what is degraded is told."""
        facts = self.database()
        if facts is None:
            return []
        verdict, found = facts["verdict"], [one["message"] for one in facts["findings"]]
        return [
            Check(
                name="database",
                ok=not facts["blocks_planned"],
                detail=": ".join([f"{facts['kind']} {verdict}", *found[:1]]),
                remedy="sisamu quorum check says what is wrong, and what would mend it",
                exit_code=UNLED if verdict == Verdict.LOST.value else UNREACHED,
            )
        ]

    def _check_targets(self) -> list[Check]:
        return [_check_target(host, reading) for host, reading in self.read_targets().items()]


def _check_target(host: str, reading: Reading) -> Check:
    name = f"target {host}"
    if not reading.reachable:
        remedy = "check sshd there, known_hosts and the link"
        return Check(
            name=name, ok=False, detail=reading.problem, remedy=remedy, exit_code=UNREACHED
        )
    if not reading.enrolled:
        remedy = f"sisamu target enrol {host} --reason TEXT"
        return Check(name=name, ok=False, detail="not enrolled", remedy=remedy, exit_code=UNREACHED)
    if reading.values is None:
        remedy = f"start Kamailio on {host}; its durable list is in force when it is back"
        return Check(
            name=name, ok=False, detail="Kamailio silent", remedy=remedy, exit_code=UNREACHED
        )
    return Check(name=name, ok=True, detail=f"last token {reading.last}")
