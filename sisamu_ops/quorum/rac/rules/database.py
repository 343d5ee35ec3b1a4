"""Instances, services and SCAN listeners (pure), by the word of srvctl."""

from __future__ import annotations

from collections.abc import Iterator

from sisamu_ops.quorum.rac.layouts import ResourceRow
from sisamu_ops.quorum.rac.membership import node_key
from sisamu_ops.quorum.rac.reading import HostReading, Readings
from sisamu_ops.quorum.rac.rules.resources import is_standby
from sisamu_ops.quorum.verdict import Finding, Severity


def check_instances(readings: Readings) -> Iterator[Finding]:
    """Find what srvctl says is down, beyond what the resources show to be meant so."""
    down: dict[str, tuple[str, HostReading, str]] = {}
    for one in readings.speaking:
        for name in ("srvctl_database", "srvctl_instance"):
            status = one.srvctl[name]
            for instance in status.instances:
                if not instance.running:
                    down.setdefault(instance.name, (instance.node, one, name))
            if status.databases_down:
                down.setdefault("the database", ("any node", one, name))
    if len(down) > _meant_offline(readings, "db") + _told_down(readings, "db"):
        for instance_name, (node, one, name) in down.items():
            yield Finding(
                finding_id="instance.down",
                severity=Severity.DEGRADED,
                message=f"{instance_name} is not running on {node}",
                remedy="srvctl start instance, after its alert log",
                evidence=one.evidence(name, "not running"),
            )


def _meant_offline(readings: Readings, kind: str) -> int:
    """Return how many rows of a kind somebody wanted OFFLINE, where everybody agrees."""
    counts = [
        sum(row.target == "OFFLINE" for row in one.stat_res.of_kind(kind))
        for one in readings.speaking
    ]
    return min(counts, default=0)


def _told_down(readings: Readings, kind: str) -> int:
    """Return how many rows of a kind are findings of their own already."""
    faults = [sum(row.faulty for row in one.stat_res.of_kind(kind)) for one in readings.speaking]
    return max(faults, default=0)


def check_instances_open(readings: Readings) -> Iterator[Finding]:
    """Find instances that run and do not serve."""
    for one in readings.speaking:
        for name in ("srvctl_database", "srvctl_instance"):
            for instance in one.srvctl[name].instances:
                if instance.running and not instance.open:
                    standby = any(_standby_row(row, readings) for row in one.stat_res.of_kind("db"))
                    yield Finding(
                        finding_id="instance.mounted" if standby else "instance.not-open",
                        severity=Severity.WARNING if standby else Severity.DEGRADED,
                        message=f"{instance.name} on {instance.node}: {instance.status}, not open",
                        remedy="its alert log says why it was not opened",
                        evidence=one.evidence(name, instance.name),
                    )


def _standby_row(row: ResourceRow, readings: Readings) -> bool:
    return "MOUNTED" in row.details.upper() and is_standby(row, readings)


def check_services(readings: Readings) -> Iterator[Finding]:
    """Find services that run nowhere, unless somebody wanted it so."""
    meant = {
        row.resource.casefold().removesuffix(".svc").rsplit(".", 1)[-1]
        for one in readings.speaking
        for row in one.stat_res.of_kind("svc")
        if row.target == "OFFLINE" or row.faulty
    }
    told: set[str] = set()
    for one in readings.speaking:
        for service in one.srvctl["srvctl_service"].services:
            name = service.name.casefold()
            if not service.running_on and name not in meant and name not in told:
                told.add(name)
                yield Finding(
                    finding_id="service.down",
                    severity=Severity.DEGRADED,
                    message=f"service {service.name} is not running",
                    remedy=f"srvctl start service -s {service.name}",
                    evidence=one.evidence("srvctl_service", service.name),
                )


def check_scan(readings: Readings) -> Iterator[Finding]:
    """Find SCAN listeners that are down, or all on one node."""
    for one in readings.speaking:
        listeners = one.srvctl["srvctl_scan_listener"].scan_listeners
        nodes = {node_key(listener.node) for listener in listeners if listener.node}
        stopped = [listener.name for listener in listeners if not listener.node]
        if stopped:
            yield Finding(
                finding_id="scan.down",
                severity=Severity.WARNING,
                message=f"not running: {', '.join(stopped)}",
                remedy="srvctl start scan_listener",
                evidence=one.evidence("srvctl_scan_listener", "not running"),
            )
        if len(listeners) > 1 and len(nodes) == 1 and not stopped and len(readings.nodes) > 1:
            yield Finding(
                finding_id="scan.one-node",
                severity=Severity.WARNING,
                message=f"all {len(listeners)} SCAN listeners run on {listeners[0].node}",
                remedy="srvctl relocate scan_listener, when it is quiet",
                evidence=one.evidence("srvctl_scan_listener", "running on node"),
            )
        if stopped or listeners:
            return
