"""Read where the cluster keeps itself (pure): `ocrcheck`, and ASM's `asmcmd lsdg`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sisamu_ops.quorum.capture import Output
from sisamu_ops.quorum.rac.text import Text, codes_of, read_text

#: The OCR has up to five locations; each slot is listed, used or not (since 11.2).
_SLOTS = 5
_DEVICE = re.compile(r"^Device/File Name\s*:\s*(?P<name>\S+)$", re.IGNORECASE)
_FIGURES = (
    "version",
    "total space (kbytes)",
    "used space (kbytes)",
    "available space (kbytes)",
    "id",
)
_FIGURE = re.compile(r"^(?P<name>[A-Za-z][\w ()]*?)\s*:\s*[0-9A-Za-z]+$")
_HEAD = re.compile(r"^Status of Oracle Cluster Registry is as follows\s*:$", re.IGNORECASE)
_GOOD = {
    "device/file integrity check succeeded": "device",
    "device/file not configured": "slot",
    "cluster registry integrity check succeeded": "registry",
    "logical corruption check succeeded": "logical",
    "logical corruption check bypassed due to non-privileged user": "logical",
}
_BAD = re.compile(r"fail|corrupt|insufficient|synchroniz|unavailable|error", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Registry:
    """The OCR as one node sees it: `faults` say what is wrong, `complaints` what is unreadable."""

    devices: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    complaints: tuple[str, ...] = ()


def read_ocrcheck(output: Output) -> Registry:
    """Read the OCR's locations; well only where every location and the whole are said to be."""
    text = read_text(output)
    lines = [line.strip() for line in text.lines]
    if text.complaint and not lines:
        return Registry(complaints=(text.complaint,))
    if failed := [code for code in codes_of(text) if not code.startswith("CRS-4")]:
        return Registry(faults=(f"the OCR cannot be read: {' '.join(failed)}",))
    words = [_GOOD.get(line.casefold(), "") for line in lines]
    bad = tuple(line for line, word in zip(lines, words, strict=True) if not word and _is_bad(line))
    devices = tuple(match["name"] for line in lines if (match := _DEVICE.match(line)))
    complaints = tuple(_registry_complaints(text, lines, words, len(devices), len(bad)))
    return Registry(devices=devices, faults=bad, complaints=complaints)


def _is_bad(line: str) -> bool:
    return bool(_BAD.search(line)) and not _FIGURE.match(line)


def _registry_complaints(
    text: Text, lines: Sequence[str], words: Sequence[str], devices: int, bad: int
) -> Iterator[str]:
    if text.complaint:
        yield text.complaint
    figures = {match["name"].casefold() for line in lines if (match := _FIGURE.match(line))}
    if missing := [one for one in _FIGURES if one not in figures]:
        yield f"not said: {', '.join(missing)}"
    unused = words.count("slot")
    if not bad and (words.count("device") != devices or not devices):
        yield f"{devices} locations, {words.count('device')} of them said to be well"
    if unused and not bad and words.count("device") + unused != _SLOTS:
        yield f"{words.count('device') + unused} locations, used or not, instead of {_SLOTS}"
    for what in ("registry", "logical"):
        if not bad and words.count(what) != 1:
            yield f"no word on the {what} check"
    for line, word in zip(lines, words, strict=True):
        placed = word or any(one.match(line) for one in (_DEVICE, _FIGURE, _HEAD))
        if not placed and not _is_bad(line):
            yield f"unreadable: {line[:60]}"


@dataclass(frozen=True, kw_only=True)
class DiskGroup:
    """One ASM disk group as one node's ASM sees it."""

    name: str
    state: str
    redundancy: str = ""
    offline_disks: int = 0
    holds_voting_files: bool = False

    @property
    def mounted(self) -> bool:
        """Whether this node can use it."""
        return self.state == "MOUNTED"


@dataclass(frozen=True, kw_only=True)
class DiskGroups:
    """Every disk group listed; a row nobody can place makes it not intact."""

    groups: tuple[DiskGroup, ...] = ()
    complaints: tuple[str, ...] = ()


_STATES = ("MOUNTED", "DISMOUNTED", "CONNECTED", "BROKEN", "UNKNOWN", "QUIESCING", "FORCING")
_LAST_COLUMNS = ["offline_disks", "voting_files", "name"]


def read_lsdg(output: Output) -> DiskGroups:
    """Read ASM's disk groups; columns are found by the header, Type may be empty."""
    text = read_text(output)
    complaints = [text.complaint] if text.complaint else []
    header: list[str] = []
    groups = []
    for line in text.lines:
        words = line.split()
        if words[0].casefold() in ("state", "inst_id") and not header:
            header = [one.casefold() for one in words]
        elif group := _disk_group(words, header):
            groups.append(group)
        else:
            complaints.append(f"unreadable: {line.strip()[:60]}")
    if not groups:
        complaints.append("no disk group listed: " + " ".join(codes_of(text)))
    if len({one.name for one in groups}) != len(groups) and "inst_id" not in header:
        complaints.append("a disk group stands twice")
    return DiskGroups(groups=tuple(groups), complaints=tuple(complaints))


def _disk_group(words: list[str], header: list[str]) -> DiskGroup | None:
    """Return a row's disk group; None when it does not fit under the header."""
    if header[-3:] != _LAST_COLUMNS or "state" not in header:
        return None
    first = header.index("state")
    empty_type = len(words) == len(header) - 1
    if len(words) != len(header) and not (empty_type and words[first].upper() != "MOUNTED"):
        return None
    state, name = words[first].upper(), words[-1]
    offline, voting = words[-3], words[-2].upper()
    if state not in _STATES or not offline.isdigit() or voting not in ("Y", "N"):
        return None
    if not name.endswith("/"):
        return None
    return DiskGroup(
        name=name.rstrip("/"),
        state=state,
        redundancy="" if empty_type else words[first + 1].upper(),
        offline_disks=int(offline),
        holds_voting_files=voting == "Y",
    )
