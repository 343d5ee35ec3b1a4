"""What the clusterware should keep up and does not (pure), by its own listing."""

from __future__ import annotations

from collections.abc import Iterator

from sisamu_ops.quorum.rac.commands import ASK_AGAIN
from sisamu_ops.quorum.rac.layouts import ResourceRow
from sisamu_ops.quorum.rac.membership import node_key
from sisamu_ops.quorum.rac.reading import HostReading, NodeFact, Readings
from sisamu_ops.quorum.verdict import Finding, Severity

#: Further than this from the other nodes is worth a word, in milliseconds.
_CLOCK_LIMIT_MS = 1_000
#: Resources whose fault is worth a word and no more: calls and data do not need them.
_MINOR = frozenset(
    {"cvu", "qosmserver", "ons", "chad", "gsd", "oc4j", "proxy_advm", "rhpserver", "crf", "diskmon"}
    | {"gns", "mgmtdb", "mgmtlsnr"}
)


def check_resources(readings: Readings) -> Iterator[Finding]:
    """Find resources that should be up and are not, each once."""
    seen: dict[tuple[str, int, str], tuple[ResourceRow, HostReading]] = {}
    for one in readings.speaking:
        for row in one.stat_res.rows:
            if _is_fault(row, readings):
                key = (row.resource.casefold(), row.ordinal, row.server if not row.ordinal else "")
                seen.setdefault(key, (row, one))
    for row, one in seen.values():
        yield _resource_finding(row, one, readings)


def _is_fault(row: ResourceRow, readings: Readings) -> bool:
    if _failed_over(row, readings):
        return True
    return row.faulty and not _spare_slot(row, readings)


def _spare_slot(row: ResourceRow, readings: Readings) -> bool:
    """Say whether a row is a slot of Flex ASM for a node there is none of.

    The group asks for three whatever the number of nodes, so on two the third is OFFLINE.
    """
    members = len([one for one in readings.nodes if one.css is not False])
    everybody = len(readings.nodes)
    return "asmgroup" in row.resource.casefold() and row.ordinal > max(everybody, members, 1)


def _failed_over(row: ResourceRow, readings: Readings) -> bool:
    """Say whether a node's address is on another node (or a row says so, wherever it stands)."""
    if "FAILED OVER" in row.details.upper():
        return True
    node = node_key(row.subject)
    nodes = {node_key(one.name) for one in readings.nodes}
    return row.kind == "vip" and node in nodes and row.server != "" and node != node_key(row.server)


def _resource_finding(row: ResourceRow, one: HostReading, readings: Readings) -> Finding:
    finding_id, severity, remedy = _resource_judgement(row, readings)
    state = row.state if row.faulty else f"on {row.server}"
    details = f" ({row.details})" if row.details and row.details.upper() != "STABLE" else ""
    return Finding(
        finding_id=finding_id,
        severity=severity,
        message=f"{row} should be ONLINE and is {state}{details}",
        remedy=remedy,
        evidence=one.witness("stat_res", row.line),
    )


def _resource_judgement(row: ResourceRow, readings: Readings) -> tuple[str, Severity, str]:
    start = f"crsctl stat res {row.resource} -v, then start what is down"
    if _failed_over(row, readings):
        return "vip.failed-over", Severity.DEGRADED, "bring the node back; its address follows"
    if row.is_scan:
        return "scan.down", Severity.WARNING, "srvctl start scan_listener"
    if row.kind in _MINOR or row.subject.casefold() == "gns":
        return "resource.minor", Severity.WARNING, start
    if row.kind == "db":
        if "MOUNTED" in row.details.upper() and is_standby(row, readings):
            return "instance.mounted", Severity.WARNING, "nothing: a physical standby is mounted"
        return "instance.down", Severity.DEGRADED, "srvctl start instance, after its alert log"
    if row.kind == "svc":
        return "service.down", Severity.DEGRADED, "srvctl start service"
    if row.kind == "dg":
        return "asm.dismounted", Severity.DEGRADED, "asmcmd lsdg there; srvctl start diskgroup"
    return "resource.down", Severity.DEGRADED, start


def is_standby(row: ResourceRow, readings: Readings) -> bool:
    """Say whether a database resource is a physical standby, by the broker's word."""
    roles = [one.broker.role_of(row.subject) for one in readings.speaking]
    return any(role.startswith("physical standby") for role in roles)


def check_lower_stack(readings: Readings) -> Iterator[Finding]:
    """Find what is down of a node's lower stack."""
    for one in readings.speaking:
        for row in one.stat_res_init.rows:
            if row.faulty:
                central = row.resource.casefold() in ("ora.crsd", "ora.cssd", "ora.evmd", "ora.asm")
                yield Finding(
                    finding_id="node.lower-stack",
                    severity=Severity.DEGRADED if central else Severity.WARNING,
                    message=f"{one.host}: {row.resource} should be ONLINE and is {row.state}",
                    remedy="its trace below the clusterware's diag directory says why",
                    evidence=one.witness("stat_res_init", row.line),
                )


def check_clock(readings: Readings) -> Iterator[Finding]:
    """Find nodes whose clock the clusterware steers, and which are far off."""
    for one in readings.speaking:
        for row in one.stat_res_init.rows:
            mode, _, offset = row.details.split(",")[0].partition(":")
            far = offset.lstrip("-").isdecimal() and abs(int(offset)) > _CLOCK_LIMIT_MS
            if row.resource.casefold() == "ora.ctssd" and mode.upper() == "ACTIVE" and far:
                yield Finding(
                    finding_id="node.clock",
                    severity=Severity.WARNING,
                    message=f"{one.host}: the clock is {offset} ms off, by the clusterware's word",
                    remedy="have chrony or ntpd keep the time on every node",
                    evidence=one.witness("stat_res_init", row.line),
                )


def check_addresses(readings: Readings) -> Iterator[Finding]:
    """Find nodes whose virtual address is not listed while those of others are."""
    for one in readings.speaking:
        listed = {node_key(row.subject) for row in one.stat_res.of_kind("vip") if not row.is_scan}
        missing = [node.name for node in _members(readings) if node_key(node.name) not in listed]
        if listed and missing:
            yield Finding(
                finding_id="vip.not-listed",
                severity=Severity.DEGRADED,
                message=f"{one.host}: no virtual address of {', '.join(missing)} is listed",
                remedy=ASK_AGAIN,
                evidence=one.evidence("stat_res", ".vip"),
            )


def _members(readings: Readings) -> list[NodeFact]:
    return [node for node in readings.nodes if node.css]
