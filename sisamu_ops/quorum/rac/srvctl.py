"""Read `srvctl status database|instance|service|scan_listener` (pure)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from sisamu_ops.quorum.capture import Output
from sisamu_ops.quorum.rac.text import codes_of, read_text

_ABOUT = r"srvctl status (?:database|instance|service|scan_listener)"
_INSTANCE = re.compile(
    r"^Instance (?P<name>\S+) is (?P<not>not )?running on node (?P<node>[^\s,]+?)"
    r"(?: with online services (?P<services>\S+?))?\.?"
    r"(?:\s*Instance status: (?P<status>[^.]+)\.?)?$",
    re.IGNORECASE,
)
_DATABASE_DOWN = re.compile(r"^Database is not running\.?$", re.IGNORECASE)
_SERVICE = re.compile(
    r"^Service (?P<name>\S+) is (?:(?P<not>not running)|running on (?:instance\(s\)|nodes:?)"
    r" (?P<where>[\w.,$# -]+?))\.?$",
    re.IGNORECASE,
)
_SCAN = re.compile(
    r"^SCAN listener (?P<name>\S+) is (?:(?P<not>not running)|running on node (?P<node>\S+?))\.?$",
    re.IGNORECASE,
)
#: What else `srvctl status` speaks of: `scan`, `nodeapps`.
_OTHER = re.compile(
    r"^(?P<name>(?:SCAN VIP|VIP|Network|ONS)(?: daemon| \S+)?) is (?P<not>not )?running"
    r"(?: on node:? (?P<node>\S+))?\.?$",
    re.IGNORECASE,
)
#: Lines that say what is configured, not what runs.
_BESIDE = re.compile(
    r"^(?:(?:(?:SCAN Listener|SCAN VIP|VIP) \S+|Network|ONS) is (?:enabled|disabled)|"
    r"Online relocation: INACTIVE|Database unique name: \S+)\.?$",
    re.IGNORECASE,
)
#: The codes of an idempotent step that had nothing to do: no fault.
ALREADY = frozenset({"PRCC-1014", "PRCC-1016", "CRS-5702"})
#: Said by 11.2 and later of a database that nobody has registered.
NOT_REGISTERED = frozenset({"PRCD-1120", "PRCR-1001"})


@dataclass(frozen=True, kw_only=True)
class InstanceStatus:
    """One instance: does it run, where, and is it open (`status`, where it is said)."""

    name: str
    node: str
    running: bool
    status: str = ""
    services: tuple[str, ...] = ()

    @property
    def open(self) -> bool:
        """Whether it serves, as far as is said."""
        return self.running and self.status.casefold() in ("", "open")


@dataclass(frozen=True, kw_only=True)
class ServiceStatus:
    """One service and the instances it runs on."""

    name: str
    running_on: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ScanListener:
    """One SCAN listener and the node it runs on; empty when it does not run."""

    name: str
    node: str = ""


@dataclass(frozen=True, kw_only=True)
class Status:
    """What `srvctl status` said; `codes` are those of its errors."""

    instances: tuple[InstanceStatus, ...] = ()
    services: tuple[ServiceStatus, ...] = ()
    scan_listeners: tuple[ScanListener, ...] = ()
    others_down: tuple[str, ...] = ()
    databases_down: int = 0
    codes: tuple[str, ...] = ()
    complaints: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Return the name of everything that is spoken of."""
        instances = tuple(one.name for one in self.instances)
        services = tuple(one.name for one in self.services)
        return (*instances, *services, *(one.name for one in self.scan_listeners))

    @property
    def tells_of_a_fault(self) -> bool:
        """Whether anything is said not to run."""
        return (
            not all(one.running for one in self.instances)
            or not all(one.running_on for one in self.services)
            or not all(one.node for one in self.scan_listeners)
            or self.databases_down > 0
        )

    @property
    def nothing_to_do(self) -> bool:
        """Whether its only errors say that what was asked for was so already."""
        return bool(ALREADY & set(self.codes))


def read_srvctl(output: Output) -> Status:
    """Read one `srvctl status`; empty output says that nothing is registered.

    The caller knows whether that can be. A sentence nobody can place makes it not intact.
    """
    text = read_text(output, _ABOUT)
    codes = codes_of(text)
    complaints = [] if text.complaint in ("", "empty") else [text.complaint]
    complaints += [" ".join(codes)] if codes else []
    instances, services, listeners, others, down = [], [], [], [], 0
    for line in (one.strip() for one in text.lines):
        if match := _INSTANCE.match(line):
            instances.append(_instance(match))
        elif match := _SERVICE.match(line):
            where = re.split(r"[,\s]+", match["where"] or "")
            services.append(
                ServiceStatus(name=match["name"], running_on=tuple(one for one in where if one))
            )
        elif match := _SCAN.match(line):
            listeners.append(ScanListener(name=match["name"], node=match["node"] or ""))
        elif match := _OTHER.match(line):
            others += [match["name"]] * bool(match["not"])
        elif _DATABASE_DOWN.match(line):
            down += 1
        elif not _BESIDE.match(line) and not codes:
            complaints.append(f"unreadable: {line[:60]}")
    return Status(
        instances=tuple(instances), services=tuple(services), scan_listeners=tuple(listeners),
        others_down=tuple(others), databases_down=down, codes=codes,
        complaints=(*complaints, *_twice(instances)),
    )  # fmt: skip


def _instance(match: re.Match[str]) -> InstanceStatus:
    return InstanceStatus(
        name=match["name"],
        node=match["node"],
        running=not match["not"],
        status=(match["status"] or "").strip(),
        services=tuple((match["services"] or "").split(",")) if match["services"] else (),
    )


def _twice(instances: Iterable[InstanceStatus]) -> list[str]:
    names = [one.name for one in instances]
    return ["an instance stands twice"] if len(set(names)) != len(names) else []
