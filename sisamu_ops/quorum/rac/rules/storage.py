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
    everywhere = {g.name for one in readings.speaking for g in one.lsdg.groups}
    for one in readings.speaking:
        mounted = {group.name for group in one.lsdg.groups if group.mounted}
        if one.lsdg.groups and not one.crs_down:
            for name in sorted(everywhere - mounted):
                yield Finding(
                    finding_id="asm.dismounted",
                    severity=Severity.DEGRADED,
                    message=f"{one.host}: disk group {name} is not mounted",
                    remedy=f"srvctl start diskgroup -diskgroup {name} -node {one.host}",
                    evidence=one.evidence("lsdg", name),
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
