"""Who is in the cluster (pure), and does everybody agree."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from sisamu_ops.quorum.rac.commands import (
    ASK_AGAIN,
    COMMANDS,
)
from sisamu_ops.quorum.rac.membership import node_key
from sisamu_ops.quorum.rac.reading import Readings, denies
from sisamu_ops.quorum.verdict import Evidence, Finding, Severity


def check_css(readings: Readings) -> Iterator[Finding]:
    """Find that cluster synchronisation is down wherever it could be asked."""
    if readings.reached and not readings.speaking:
        yield Finding(
            finding_id="css.down-everywhere",
            severity=Severity.LOST,
            message="cluster synchronisation is down on every node that could be asked",
            remedy="the alert log says why; crsctl start cluster -all is a DBA's call",
            evidence=tuple(
                e for one in readings.reached for e in one.evidence("check_crs", "CRS-45")
            ),
        )


def check_split_brain(readings: Readings) -> Iterator[Finding]:
    """Find nodes that may be in the cluster and take each other for out of it."""
    for first, second in combinations(readings.speaking, 2):
        out = [one for one, other in ((first, second), (second, first)) if denies(one, other.key)]
        if len(out) == 2:
            yield Finding(
                finding_id="membership.split-brain",
                severity=Severity.UNKNOWN,
                message=f"possible split brain: {first.host} and {second.host} each claim the "
                "other is out of the cluster",
                remedy="change nothing; have a DBA look at both before either is restarted",
                evidence=(*first.evidence("olsnodes", second.host),
                          *second.evidence("olsnodes", first.host)),
            )  # fmt: skip
        elif out:
            other = second if out[0] is first else first
            yield Finding(
                finding_id="membership.contradictory",
                severity=Severity.UNKNOWN,
                message=f"{out[0].host} claims {other.host} is out of the cluster, "
                f"{other.host} does not say so",
                remedy=ASK_AGAIN,
                evidence=out[0].evidence("olsnodes", other.host),
            )


def check_views(readings: Readings) -> Iterator[Finding]:
    """Find nodes whose view of the membership leaves somebody out."""
    for one in readings.speaking:
        listed = {node_key(row.name) for row in one.olsnodes.rows}
        active = {node_key(row.name) for row in one.olsnodes.rows if row.active}
        heard = {node_key(name) for name in one.check_cluster.nodes}
        known = {node_key(node.name): node.name for node in readings.nodes}
        for name, gone in (
            ("olsnodes", set(known) - listed),
            ("check_cluster", active - heard),
        ):
            if gone and not one.problem(name):
                left = ", ".join(sorted(known[key] for key in gone))
                yield Finding(
                    finding_id="membership.incomplete",
                    severity=Severity.UNKNOWN,
                    message=f"{one.host}: {COMMANDS[name]} does not name {left}",
                    remedy="name the hosts in the inventory as olsnodes does, or ask again",
                    evidence=one.evidence(name),
                )


def check_nodes(readings: Readings) -> Iterator[Finding]:
    """Find nodes that are not in the cluster."""
    if not readings.speaking:
        return
    for node in readings.nodes:
        if node.css is False:
            own = readings.host(node.name)
            told = (own,) if own and own.reached and own.css is False else readings.speaking
            name = "check_crs" if told[0] is own else "olsnodes"
            part = "CRS-4530" if name == "check_crs" else node.name
            yield Finding(
                finding_id="node.down",
                severity=Severity.DEGRADED,
                message=f"{node.name} is not in the cluster",
                remedy=f"its clusterware alert log says why; then crsctl start crs on {node.name}",
                evidence=told[0].evidence(name, part),
            )


def check_daemons(readings: Readings) -> Iterator[Finding]:
    """Find nodes in the cluster with a daemon down, by their own word or another's."""
    found: dict[tuple[str, str], tuple[Evidence, ...]] = {}
    for one in readings.speaking:
        for about, up in one.check_crs.up.items():
            if up is False and about != "css":
                found.setdefault((one.host, about), one.evidence("check_crs", "cannot"))
        for name, daemons in one.check_cluster.nodes.items():
            target = readings.host(name)
            if daemons.css is False or (target is not None and not target.speaks):
                continue
            for about, up in daemons.up.items():
                if up is False:
                    said_by = one.evidence("check_cluster", name)
                    found.setdefault((target.host if target else name, about), said_by)
    for (host, about), evidence in found.items():
        yield Finding(
            finding_id="node.daemons",
            severity=Severity.DEGRADED,
            message=f"{host}: {_DAEMONS[about]} is not up",
            remedy="crsctl stat res -t -init there shows what is stuck",
            evidence=evidence,
        )


_DAEMONS = {
    "ohas": "the high availability daemon (ohasd)",
    "crs": "cluster ready services (crsd)",
    "evm": "the event manager (evmd)",
    "css": "cluster synchronisation (ocssd)",
}
