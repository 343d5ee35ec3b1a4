"""OCR and ASM disk groups (pure): voting files alone give false greens."""

from __future__ import annotations

from collections.abc import Iterator

from sisamu_ops.quorum.rac.reading import Readings
from sisamu_ops.quorum.verdict import Finding, Severity


def check_registry(readings: Readings) -> Iterator[Finding]:
    """Find what a node says is wrong with the OCR."""
    for one in readings.speaking:
        for fault in one.ocrcheck.faults:
            yield Finding(
                finding_id="ocr.failed",
                severity=Severity.DEGRADED,
                message=f"{one.host}: {fault}",
                remedy="ocrcheck as root there; keep the last OCR backup at hand",
                evidence=one.evidence("ocrcheck", fault[:30]),
            )


def check_disk_groups(readings: Readings) -> Iterator[Finding]:
    """Find disk groups that a node does not mount, or that have disks offline."""
    wanted = _disk_groups_in_use(readings)
    for one in readings.speaking:
        mounted = {group.name.casefold() for group in one.lsdg.groups if group.mounted}
        if one.lsdg.groups and not one.crs_down:
            for key in sorted(set(wanted) - mounted):
                yield Finding(
                    finding_id="asm.dismounted",
                    severity=Severity.DEGRADED,
                    message=f"{one.host}: disk group {wanted[key]} is not mounted",
                    remedy=f"srvctl start diskgroup -diskgroup {wanted[key]} -node {one.host}",
                    evidence=one.evidence("lsdg", wanted[key]),
                )
        for group in one.lsdg.groups:
            if group.offline_disks:
                yield Finding(
                    finding_id="asm.offline-disks",
                    severity=Severity.DEGRADED,
                    message=f"{one.host}: disk group {group.name} has {group.offline_disks} "
                    "disks offline",
                    remedy="bring the failure group back before ASM drops its disks",
                    evidence=one.evidence("lsdg", group.name),
                )


def _disk_groups_in_use(readings: Readings) -> dict[str, str]:
    """Return every disk group that any output names as used, by its name in lower case.

    A row that is missing from every node's listing is missed by what else speaks of it: voting
    files, the OCR, the resource that should be up.
    """
    names: list[str] = []
    for one in readings.speaking:
        names += [group.name for group in one.lsdg.groups]
        names += [row.disk_group for row in one.votedisk.rows]
        names += [device[1:] for device in one.ocrcheck.devices if device.startswith("+")]
        names += [row.subject for row in one.stat_res.of_kind("dg") if row.target == "ONLINE"]
    return {name.casefold(): name for name in reversed(names) if name}
