"""Read the Data Guard broker: `dgmgrl show configuration` (pure).

`Databases:` (11.2) became `Members:`; `Fast-Start Failover: DISABLED` (12.1) became `Disabled`;
"enabled" does not protect while no observer watches (ORA-16819, ORA-16820).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sisamu_ops.quorum.capture import Output
from sisamu_ops.quorum.rac.text import Text, codes_of, read_text

#: There is no broker configuration, or no broker runs, as where there is no Data Guard.
NO_CONFIGURATION = frozenset({"ORA-16532"})
NO_BROKER = frozenset({"ORA-16525"})
#: Nobody observes: the observer was not started, or no longer sees the database.
UNOBSERVED = frozenset({"ORA-16819", "ORA-16820", "ORA-16658"})

_CONFIGURATION = re.compile(r"^(?:Configuration|Database)\s+-\s+(?P<name>\S+)$", re.IGNORECASE)
_MODE = re.compile(r"^Protection Mode:\s*(?P<mode>\w+)$", re.IGNORECASE)
_MEMBERS = re.compile(r"^(?:Members|Databases):$", re.IGNORECASE)
_MEMBER = re.compile(
    r"^(?P<name>\S+)\s+-\s+(?:\(\*\)\s*)?(?P<role>(?:Primary|Physical standby|Logical standby|"
    r"Snapshot standby|Far sync|Recovery appliance).*)$",
    re.IGNORECASE,
)
_FAST_START = re.compile(r"^Fast-Start Failover:\s*(?P<state>\w+)(?P<more>.*)$", re.IGNORECASE)
_STATUS = re.compile(
    r"^(?:Configuration|Database) Status:(?:\s*(?P<status>\w+).*)?$", re.IGNORECASE
)
_RESULT = re.compile(r"^(?P<status>SUCCESS|WARNING|ERROR|DISABLED)\b(?P<rest>.*)$", re.IGNORECASE)
_UPDATED = re.compile(r"^(?:\s*\(status updated .*\)?)?\s*$", re.IGNORECASE)
_TROUBLE = re.compile(r"^(?P<kind>Error|Warning):\s*(?P<text>.+)$", re.IGNORECASE)
_OBSERVER = re.compile(r"^Observer:\s*(?P<name>.*)$", re.IGNORECASE)
_DETAIL = re.compile(
    r"^(?:\w[\w -]*(?:=|:)|\(\*\)|Properties:|DGMGRL|Copyright |Version |Welcome to |Connected )",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)
class Broker:
    """What the broker says of its configuration; empty `status` where it does not say."""

    configured: bool = True
    runs: bool = True
    name: str = ""
    status: str = ""
    fast_start: bool | None = None
    unobserved: bool = False
    members: tuple[tuple[str, str], ...] = ()
    troubles: tuple[str, ...] = ()
    complaints: tuple[str, ...] = ()

    def role_of(self, database: str) -> str:
        """Return a member's role in lower case; empty when it is none."""
        return next((role for name, role in self.members if name == database.casefold()), "")


def read_broker(output: Output) -> Broker:
    """Read the configuration; not intact without name, members, fast-start failover and status."""
    text = read_text(output, "show configuration")
    codes = set(codes_of(text))
    lines = [line.strip() for line in text.lines if not line.strip().startswith("DGMGRL>")]
    if codes & (NO_CONFIGURATION | NO_BROKER) and not any(_MEMBER.match(one) for one in lines):
        return Broker(configured=False, runs=not codes & NO_BROKER)
    name = next((match["name"] for line in lines if (match := _CONFIGURATION.match(line))), "")
    fast = [match for line in lines if (match := _FAST_START.match(line))]
    enabled = fast[0]["state"].casefold() != "disabled" if fast else None
    observers = [match["name"] for line in lines if (match := _OBSERVER.match(line))]
    missing = bool(codes & UNOBSERVED) or any(_nobody(one) for one in observers)
    return Broker(
        name=name, status=_status(lines), fast_start=enabled,
        unobserved=missing,
        members=tuple(
            (match["name"].casefold(), match["role"].casefold())
            for line in lines if (match := _MEMBER.match(line))
        ),
        troubles=tuple(line for line in lines if _TROUBLE.match(line)),
        complaints=tuple(_complaints(text, lines, name, enabled)),
    )  # fmt: skip


def _nobody(observer: str) -> bool:
    return observer.strip().casefold() in ("", "(none)", "none")


def _status(lines: Sequence[str]) -> str:
    """Return the one result behind `Configuration Status:`; empty when there is none, or two."""
    if not any(_STATUS.match(line) for line in lines):
        return ""
    said = {match["status"].upper() for line in lines if (match := _result(line))}
    said |= {
        match["status"].upper()
        for line in lines
        if (match := _STATUS.match(line)) and match["status"]
    }
    return said.pop() if len(said) == 1 else ""


def _result(line: str) -> re.Match[str] | None:
    match = _RESULT.match(line)
    return match if match and _UPDATED.match(match["rest"]) else None


def _complaints(text: Text, lines: Sequence[str], name: str, enabled: bool | None) -> Iterator[str]:
    if text.complaint:
        yield text.complaint
    if not name:
        said = " ".join(codes_of(text)) or (lines[0][:60] if lines else "nothing")
        yield f"no configuration named: {said}"
    if not any(_MEMBERS.match(line) for line in lines) or not any(map(_MEMBER.match, lines)):
        yield "no members listed"
    if enabled is None:
        yield "no word on fast-start failover"
    if not _status(lines):
        yield "no one configuration status"
    known = (_CONFIGURATION, _MODE, _MEMBERS, _MEMBER, _FAST_START, _STATUS, _TROUBLE, _DETAIL)
    for line in lines:
        if not any(one.match(line) for one in known) and not _result(line):
            yield f"unreadable: {line[:60]}"
