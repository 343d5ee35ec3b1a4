"""Read `crsctl query css votedisk` (pure).

A path may wrap to the next line, an index may lack its blank, and the last line, which says how
many there are, may be missing or contradict the rows: then how many are configured is not known.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from sisamu_ops.quorum.capture import Output
from sisamu_ops.quorum.rac.text import Text, codes_of, read_text

_ROW = re.compile(
    r"(?P<index>\d{1,2})\s*\.\s*(?P<state>[A-Z]+)\s+(?P<id>(?:[0-9A-F]\s*){32}|[\w-]+)?\s*"
    r"\(\s*(?P<path>[^()]*?)\s*\)\s*(?:\[\s*(?P<group>[^\[\]]*?)\s*\])?",
    re.IGNORECASE,
)
_LOCATED = re.compile(r"Located\s+(?P<count>\d+)\s+voting\s+(?:disk|file)\(s\)\.?", re.IGNORECASE)
_HEADER = re.compile(
    r"##\s*STATE\s+File\s+Universal\s+Id\s+File\s+Name\s+Disk\s+group|-{2}(?:\s+-{2,})+",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)
class VotingFileRow:
    """One row: a voting file and its state, `ONLINE` or another."""

    index: int
    state: str
    file_id: str
    path: str
    disk_group: str

    @property
    def name(self) -> str:
        """Return what tells it from others: one that is gone may have lost its path."""
        return self.path or self.file_id

    @property
    def online(self) -> bool:
        """Whether the clusterware uses it."""
        return self.state == "ONLINE"


@dataclass(frozen=True, kw_only=True)
class VotingFiles:
    """The rows, the count the last line gives, and what does not fit together."""

    rows: tuple[VotingFileRow, ...]
    located: int | None
    complaints: tuple[str, ...] = ()

    @property
    def configured(self) -> int:
        """Return how many are configured, as far as this output tells."""
        return max(self.located or 0, len(self.rows))

    @property
    def online(self) -> int:
        """Return how many are online."""
        return sum(one.online for one in self.rows)


def read_votedisk(output: Output, declared: Collection[str] = ()) -> VotingFiles:
    """Read the voting files; `declared` paths stand in for a last line that is missing."""
    text = read_text(output, "votedisk")
    rows = tuple(_row(match) for match in _ROW.finditer(text.joined))
    counts = [int(match["count"]) for match in _LOCATED.finditer(text.joined)]
    located = counts[0] if counts else None
    complaints = tuple(_complaints(text, rows, counts, declared))
    return VotingFiles(rows=rows, located=located, complaints=complaints)


def _row(match: re.Match[str]) -> VotingFileRow:
    return VotingFileRow(
        index=int(match["index"]),
        state=match["state"].upper(),
        file_id="".join((match["id"] or "").lower().split()),
        path="".join(match["path"].split()),
        disk_group="".join((match["group"] or "").split()),
    )


def _complaints(
    text: Text, rows: tuple[VotingFileRow, ...], counts: list[int], declared: Collection[str]
) -> list[str]:
    if text.complaint:
        return [text.complaint]
    if not rows:
        said = " ".join(codes_of(text)) or text.lines[0].strip()
        return [f"no voting file listed: {said}"]
    found = []
    if [one.index for one in sorted(rows, key=lambda one: one.index)] != [
        *range(1, len(rows) + 1)
    ] or len({one.name for one in rows}) != len(rows):
        found.append("rows are missing or stand twice")
    if not counts and {one.path for one in rows} != set(declared):
        found.append("the last line, which says how many there are, is missing")
    if counts and set(counts) != {len(rows)}:
        located = ", ".join(map(str, counts))
        found.append(f"{len(rows)} rows, but the last line says {located}")
    rest = _LOCATED.sub(" ", _ROW.sub(" ", _HEADER.sub(" ", text.joined))).split()
    if rest:
        found.append(f"unreadable: {' '.join(rest)[:60]}")
    return found
