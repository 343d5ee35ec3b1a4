"""A row of resources, and the two older ways of listing them (pure).

`crs_stat -t` (until 11.2) shortens names; `crsctl stat res -v` gives attributes by the block.
Nobody is asked for these; whoever brings one along gets it read, and nothing good is made of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_LEGACY = re.compile(
    r"^(?P<name>ora\.\S+)\s+\S+\s+(?P<target>ONLINE|OFFLINE)\s+"
    r"(?P<state>ONLINE|OFFLINE|UNKNOWN|INTERMEDIATE)(?:\s+(?P<server>\S+))?$",
    re.IGNORECASE,
)
_LEGACY_HEADER = re.compile(r"^Name\s+Type\s+Target\s+State\s+Host$", re.IGNORECASE)
_SCAN = re.compile(r"^ora\.(?:LISTENER_SCAN\d+\w*\.lsnr|scan\d+\w*\.vip)$", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"^(?P<name>[A-Z_]+)=(?P<value>.*)$")


@dataclass(frozen=True, kw_only=True)
class ResourceRow:
    """One row: an instance of a resource; `ordinal` is 0 for a local resource."""

    resource: str
    ordinal: int
    target: str
    state: str
    server: str = ""
    details: str = ""
    line: str = ""

    @property
    def faulty(self) -> bool:
        """Whether it should be up and is not, or not wholly."""
        return self.target == "ONLINE" and self.state != "ONLINE"

    @property
    def kind(self) -> str:
        """Return the resource's type by its name: `db`, `svc`, `dg`, `vip`, `lsnr`, ….

        `ora.DATA.dg(ora.asmgroup)` is a `dg`; `ora.asm` is `asm`.
        """
        return self.resource.split("(")[0].rsplit(".", 1)[-1].casefold()

    @property
    def subject(self) -> str:
        """Return whose resource it is: the node of an address, the database of an instance.

        `samu` of `ora.samu.db`; empty for a name of another form.
        """
        parts = self.resource.split("(")[0].split(".")
        return parts[1] if len(parts) > 2 and parts[0].casefold() == "ora" else ""

    @property
    def is_scan(self) -> bool:
        """Whether it is a SCAN listener or address, by Oracle's own naming."""
        return _SCAN.match(self.resource) is not None

    def __str__(self) -> str:
        """Name it as a person would look it up."""
        where = f" on {self.server}" if self.server else ""
        which = f" {self.ordinal}" if self.ordinal else ""
        return f"{self.resource}{which}{where}"


def read_other_layout(lines: Sequence[str]) -> tuple[ResourceRow, ...]:
    """Return the rows of an older layout; none where the lines are of neither."""
    if any(_LEGACY_HEADER.match(line.strip()) for line in lines):
        return tuple(_legacy_row(m) for line in lines if (m := _LEGACY.match(line.strip())))
    if any(line.startswith("NAME=") for line in lines):
        return tuple(_rows_of_attributes(lines))
    return ()


def _legacy_row(match: re.Match[str]) -> ResourceRow:
    return ResourceRow(
        resource=match["name"],
        ordinal=0,
        target=match["target"].upper(),
        state=match["state"].upper(),
        server=match["server"] or "",
        line=" ".join(match.group().split()),
    )


def _rows_of_attributes(lines: Sequence[str]) -> Iterator[ResourceRow]:
    """Give a row for each pair of TARGET and STATE under a name, whichever comes first."""
    name, ordinal, seen = "", 0, dict[str, str]()
    for match in (m for line in lines if (m := _ATTRIBUTE.match(line))):
        if match["name"] == "NAME":
            name, ordinal, seen = match["value"], 0, {}
        elif match["name"] in ("TARGET", "STATE"):
            seen[match["name"]] = match["value"]
        elif match["name"] == "LAST_SERVER":
            seen["server"] = match["value"]
        if {"TARGET", "STATE"} <= set(seen):
            ordinal += 1
            state, _, where = seen["STATE"].partition(" on ")
            yield ResourceRow(
                resource=name,
                ordinal=ordinal,
                target=seen["TARGET"],
                state=state,
                server=where or seen.get("server", ""),
                line=f"{name}: TARGET={seen['TARGET']} STATE={seen['STATE']}",
            )
            seen = {}
