"""Data Guard (pure): a broker in error, a failover that nobody would start."""

from __future__ import annotations

from collections.abc import Iterator

from sisamu_ops.quorum.rac.commands import (
    BROKER,
)
from sisamu_ops.quorum.rac.reading import HostReading, Readings
from sisamu_ops.quorum.verdict import Finding, Severity


def check_broker(readings: Readings) -> Iterator[Finding]:
    """Find what the Data Guard broker complains of, each kind once."""
    told: set[str] = set()
    for one in readings.speaking:
        broker = one.broker
        for finding_id, severity, message in _broker_faults(one):
            if finding_id not in told:
                told.add(finding_id)
                yield Finding(
                    finding_id=finding_id,
                    severity=severity,
                    message=f"Data Guard{f' {broker.name}' * bool(broker.name)}: {message}",
                    remedy="dgmgrl show configuration verbose; show fast_start failover",
                    evidence=one.evidence(BROKER, "Error:" if broker.troubles else "Status"),
                )


def _broker_faults(one: HostReading) -> Iterator[tuple[str, Severity, str]]:
    broker = one.broker
    if not broker.runs:
        yield "broker.absent", Severity.WARNING, "no broker runs: no Data Guard, or nobody minds it"
        return
    trouble = broker.troubles[0] if broker.troubles else "no reason given"
    if broker.status in ("ERROR", "DISABLED"):
        yield "broker.error", Severity.DEGRADED, f"{broker.status}: {trouble}"
    elif any(line.casefold().startswith("error") for line in broker.troubles):
        yield "broker.error", Severity.DEGRADED, trouble
    elif broker.status == "WARNING":
        yield "broker.warning", Severity.WARNING, trouble
    if broker.fast_start and (broker.unobserved or broker.status != "SUCCESS"):
        watched = "no observer watches" if broker.unobserved else f"the broker says {broker.status}"
        yield (
            "broker.unobserved",
            Severity.DEGRADED,
            f"fast-start failover is enabled, but {watched}",
        )
