"""Read who is in the cluster (pure): `olsnodes`, `crsctl check crs`, `check cluster -all`.

Messages may be translated; their codes are not, so only codes are read (Oracle Database Error
Messages, CRS-4xxx).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sisamu_ops.quorum.capture import Output
from sisamu_ops.quorum.rac.text import Text, read_text

#: Code → (what it is about, whether that is up).
_STATEMENTS: Mapping[str, tuple[str, bool]] = {
    "CRS-4638": ("ohas", True),
    "CRS-4639": ("ohas", False),
    "CRS-4537": ("crs", True),
    "CRS-4692": ("crs", False),  # in exclusive mode: for repair, not for service
    "CRS-4535": ("crs", False),
    "CRS-4529": ("css", True),
    "CRS-4530": ("css", False),
    "CRS-4533": ("evm", True),
    "CRS-4534": ("evm", False),
}
#: The node did not answer `check cluster -all` in time.
_NO_REPLY = "CRS-4404"
_CODE = re.compile(r"\bCRS-\d{4}\b", re.IGNORECASE)
_SILENT = ("CRS-4535", "CRS-4530", "CRS-4534")
_NAME = re.compile(r"^[A-Za-z][\w.-]*$")
_NODE_LINE = re.compile(r"^(?P<node>[A-Za-z][\w.-]*):$")


def node_key(name: str) -> str:
    """Return what two spellings of a node's name share: its first label, in lower case.

    An address has no labels: it stays whole.
    """
    first = name.split(".")[0].casefold()
    return name if first.isdecimal() else first


@dataclass(frozen=True, kw_only=True)
class NodeRow:
    """One row of `olsnodes`; `active` is None where the row does not say."""

    name: str
    number: int
    vip: str = ""
    active: bool | None = None


@dataclass(frozen=True, kw_only=True)
class NodeList:
    """The nodes of the cluster as one of them sees them."""

    rows: tuple[NodeRow, ...]
    complaints: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Daemons:
    """What is up on one node: `ohas`, `crs`, `css`, `evm`; None where it is not said, or twice."""

    up: Mapping[str, bool | None] = field(default_factory=dict)
    complaints: tuple[str, ...] = ()

    @property
    def css(self) -> bool | None:
        """Whether cluster synchronisation, which decides membership, is up."""
        if self.up.get("css") is None and self.up.get("ohas") is False:
            return False
        return self.up.get("css")


@dataclass(frozen=True, kw_only=True)
class ClusterCheck:
    """What one node hears of each node's daemons."""

    nodes: Mapping[str, Daemons]
    complaints: tuple[str, ...] = ()

    @property
    def tells_of_a_fault(self) -> bool:
        """Whether anything is said to be down."""
        return any(False in daemons.up.values() for daemons in self.nodes.values())


_OLSNODES = re.compile(
    r"^(?P<name>[A-Za-z][\w.-]*)\s+(?P<number>\d{1,3})"
    r"(?:\s+(?P<vip>\S+))??(?:\s+(?P<status>Active|Inactive)(?:\s+(?P<pinned>Pinned|Unpinned))?)?$",
    re.IGNORECASE,
)


def read_olsnodes(output: Output) -> NodeList:
    """Read the node list; a row without its status makes it not intact."""
    text = read_text(output)
    rows, complaints = [], [text.complaint] if text.complaint else []
    for line in text.lines:
        match = _OLSNODES.match(line.strip())
        if match is None:
            complaints.append(f"unreadable: {line.strip()[:60]}")
            continue
        rows.append(_node_row(match))
        if not match["status"]:
            complaints.append(f"no status of {match['name']}")
    if len({node_key(one.name) for one in rows}) != len(rows):
        complaints.append("a node stands twice")
    return NodeList(rows=tuple(rows), complaints=tuple(complaints))


def _node_row(match: re.Match[str]) -> NodeRow:
    status = match["status"]
    active = status.casefold() == "active" if status else None
    return NodeRow(
        name=match["name"], number=int(match["number"]), vip=match["vip"] or "", active=active
    )


def read_check_crs(output: Output) -> Daemons:
    """Read the daemons of the node itself: four statements, one on each."""
    text = read_text(output)
    daemons = _daemons(text.lines, ("ohas", "crs", "css", "evm"))
    first = (text.complaint,) if text.complaint else ()
    if daemons.up.get("ohas") is False:  # nothing else is said then
        return Daemons(up=daemons.up, complaints=first)
    return Daemons(up=daemons.up, complaints=(*first, *daemons.complaints))


def read_check_cluster(output: Output) -> ClusterCheck:
    """Read the daemons of every node, each under a line with its name."""
    text = read_text(output)
    blocks, complaints = _blocks(text)
    nodes = {}
    for name, lines in blocks.items():
        nodes[name] = _daemons(lines, ("crs", "css", "evm"))
        complaints += [f"{name}: {one}" for one in nodes[name].complaints]
    if text.complaint:
        complaints.insert(0, text.complaint)
    return ClusterCheck(nodes=nodes, complaints=tuple(complaints))


def _blocks(text: Text) -> tuple[dict[str, list[str]], list[str]]:
    blocks: dict[str, list[str]] = {}
    complaints: list[str] = []
    name, silent = "", False
    for line in (one.strip() for one in text.lines):
        match = _NODE_LINE.match(line)
        if _NO_REPLY in line.upper():
            silent = True
        elif set(line) <= {"*"}:
            name, silent = "", False
        elif match or (silent and _NAME.match(line)):
            name = line.rstrip(":")
            complaints += [f"{name} stands twice"] * (name in blocks)
            # Not heard of in time counts as down, for whoever said so.
            blocks.setdefault(name, list(_SILENT) if silent else [])
        elif name:
            blocks[name].append(line)
        else:
            complaints.append(f"said of no node: {line[:60]}")
    if not blocks:
        complaints.append("no node is named")
    return blocks, complaints


def _daemons(lines: Iterable[str], expected: tuple[str, ...]) -> Daemons:
    said: dict[str, list[bool]] = {one: [] for one in expected}
    complaints = []
    for line in lines:
        codes = [code.upper() for code in _CODE.findall(line)]
        if any(code not in _STATEMENTS for code in codes):
            complaints.append(f"unreadable: {line[:60]}")
            continue
        for about, up in (_STATEMENTS[code] for code in codes):  # none where a message wraps
            said.setdefault(about, []).append(up)
    up_now = {about: words[0] if len(set(words)) == 1 else None for about, words in said.items()}
    for about in expected:
        if len(said[about]) != 1:
            complaints.append(f"{len(said[about]) or 'no'} word on {about}")
    return Daemons(up=up_now, complaints=tuple(complaints))
