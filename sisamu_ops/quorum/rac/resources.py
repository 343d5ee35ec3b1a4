"""Read `crsctl stat res -t`, and `-init` (pure).

What is fixed is the order of the columns, not their place: TARGET, STATE, SERVER, details. A row
that is OFFLINE has no server; details wrap in mid-word onto lines of their own. A fault is a row
whose TARGET is ONLINE and whose STATE is not; OFFLINE on both sides is what somebody wanted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby

from sisamu_ops.quorum.capture import Output
from sisamu_ops.quorum.rac.layouts import ResourceRow, read_other_layout
from sisamu_ops.quorum.rac.text import codes_of, read_text

_TARGET = r"ONLINE|OFFLINE"
_STATE = r"ONLINE|OFFLINE|INTERMEDIATE|UNKNOWN"
_ROW = re.compile(
    rf"^(?P<before>\s+(?:(?P<ordinal>\d{{1,3}})\s+)?(?P<target>{_TARGET})\s+(?P<state>{_STATE}))"
    r"(?:(?P<gap>\s+)(?P<rest>\S.*?))?\s*$",
    re.IGNORECASE,
)
_NAME = re.compile(
    rf"^(?P<name>(?!(?:{_STATE}|STABLE|Started)\s*$)[a-z][\w.$()-]{{2,}})\s*$", re.IGNORECASE
)
_RULE = re.compile(r"^-{20,}\s*$")
_HEADER = re.compile(r"^NAME\s+TARGET\s+STATE\s+SERVER\s+STATE[ _]DETAILS\s*$", re.IGNORECASE)
_SECTION = re.compile(r"^(?P<section>Local|Cluster)\s+Resources\s*$", re.IGNORECASE)
#: Where details begin in every layout since 11.2; a server's name begins well before.
_DETAILS_AT = 50
#: What cannot stand in details: two rows that were joined.
_NOT_DETAILS = re.compile(r"\b(?:ONLINE|OFFLINE|INTERMEDIATE)\b|(?:^|\s)ora\.", re.IGNORECASE)
#: 11.2 heads its columns with STATE_DETAILS, and closes the listing with nothing.
_OLD_HEADER = "STATE_DETAILS"


@dataclass(frozen=True, kw_only=True)
class Resources:
    """Every row, in order, and what does not fit together."""

    rows: tuple[ResourceRow, ...] = ()
    complaints: tuple[str, ...] = ()

    def of_kind(self, kind: str) -> tuple[ResourceRow, ...]:
        """Return the rows of resources of one type."""
        return tuple(one for one in self.rows if one.kind == kind)


@dataclass
class _Listing:
    """What has been read so far."""

    rows: list[ResourceRow] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    sections: list[str] = field(default_factory=list)
    header: str = ""
    closed: bool = False
    name: str = ""


def read_resources(output: Output, *, init: bool = False) -> Resources:
    """Read a listing; `init` for the lower stack of one node, which has one section only."""
    text = read_text(output)
    if rows := read_other_layout(text.lines):
        return Resources(rows=rows, complaints=("another listing than crsctl stat res -t",))
    listing = _Listing(complaints=[text.complaint] if text.complaint else [])
    for line in text.lines:
        _read_line(listing, line)
    if not listing.rows:
        said = " ".join(codes_of(text)) or (text.lines[0].strip()[:60] if text.lines else "empty")
        return Resources(complaints=(f"no resource listed: {said}",))
    listing.complaints += _frame_complaints(listing, init)
    listing.complaints += _shape_complaints(listing)
    return Resources(rows=tuple(listing.rows), complaints=tuple(listing.complaints))


def _read_line(listing: _Listing, line: str) -> None:
    row, name, section = _ROW.match(line), _NAME.match(line), _SECTION.match(line)
    if _RULE.match(line):
        listing.closed = bool(listing.rows)
    elif _HEADER.match(line):
        listing.header = line
    elif section:
        listing.sections.append(section["section"].casefold())
        listing.name = ""
    elif row:
        _read_row(listing, row)
    elif name:
        listing.name = name["name"]
        listing.names.append(listing.name)
        listing.closed = False
    elif line.startswith(" " * _DETAILS_AT) and listing.rows and _is_details(line.strip()):
        last = listing.rows[-1]
        listing.rows[-1] = ResourceRow(**{**vars(last), "details": last.details + line.strip()})
    else:
        listing.complaints.append(f"unreadable: {line.strip()[:60]}")


def _is_details(words: str) -> bool:
    return not _NOT_DETAILS.search(words)


def _read_row(listing: _Listing, match: re.Match[str]) -> None:
    state = match["state"].upper()
    server, details = _server_and_details(match, state)
    if not listing.name or not _is_details(details):
        listing.complaints.append(f"unreadable: {match.group().strip()[:60]}")
    if state == "ONLINE" and not server:
        listing.complaints.append(f"{listing.name or 'a row'} is ONLINE nowhere")
    listing.closed = False
    listing.rows.append(
        ResourceRow(
            resource=listing.name or "?",
            ordinal=int(match["ordinal"] or 0),
            target=match["target"].upper(),
            state=state,
            server=server,
            details=details,
            line=f"{listing.name}: {' '.join(match.group().split())}",
        )
    )


def _server_and_details(match: re.Match[str], state: str) -> tuple[str, str]:
    rest = match["rest"] or ""
    if state == "OFFLINE" and (
        len(match["before"]) + len(match["gap"] or "") >= _DETAILS_AT
        or rest.upper() in ("STABLE", "INSTANCE SHUTDOWN")
    ):
        return "", rest
    server, _, details = rest.partition(" ")
    return server, details.strip()


def _frame_complaints(listing: _Listing, init: bool) -> Iterator[str]:
    """Say what of the frame is missing: a listing that was cut looks whole without it."""
    if not listing.header:
        yield "the header is missing"
    elif not listing.closed and _OLD_HEADER not in listing.header.upper():
        yield "the closing line is missing: cut short"
    wanted = ["cluster"] if init else ["local", "cluster"]
    if listing.sections != wanted:
        yield "the sections are not " + " and ".join(wanted)


def _shape_complaints(listing: _Listing) -> Iterator[str]:
    """Say what is missing inside: a name without rows, an ordinal left out, a server left out."""
    listed = [one.resource for one in listing.rows]
    for name in listing.names:
        if name not in listed:
            yield f"{name} has no row"
    if len(set(listing.names)) != len(listing.names):
        yield "a resource stands twice"
    servers = []
    for name, group in groupby(listing.rows, key=lambda one: one.resource):
        rows = list(group)
        ordinals = [one.ordinal for one in rows]
        if not any(ordinals):
            servers.append((name, sorted(one.server for one in rows)))
        elif ordinals != list(range(1, len(rows) + 1)):
            yield f"{name} has the rows {', '.join(map(str, ordinals))}"
    for name, found in servers:
        if found != servers[0][1]:
            yield f"{name} is listed on {', '.join(found)}, others on {', '.join(servers[0][1])}"
