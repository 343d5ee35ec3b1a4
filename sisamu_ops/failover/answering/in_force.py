"""The rules in force: digests of what an agent works by, and whether they are those adopted (pure).

The inventory's policy, the operators' allowed signers, the sites' public keys and the version are
adopted by a signed request. An agent whose copy differs follows and does not lead; so does one
older than the version adopted. A newer one may lead: it knows every kind of entry of the older.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from datetime import date, time
from enum import Enum
from pathlib import Path
from typing import Any

from sisamu_ops.failover.request import digest_of
from sisamu_ops.failover.safety import RULES, Rule, cells
from sisamu_ops.journal.canonical import canonical_bytes
from sisamu_ops.model.platform import Platform, Policy, Site
from sisamu_ops.model.safety import Safety

POLICY = "policy"
SIGNERS = "allowed_signers"
TRUST = "trust"
VERSION = "version"
#: What an adoption names: three digests (SHA-256, hexadecimal) and a version.
NAMES = (POLICY, SIGNERS, TRUST, VERSION)

#: Where things are on one machine is no rule; every site may have its own.
_LOCAL = (
    "allowed_signers", "known_hosts", "verify_policy", "identity", "network_namespace",
    "zookeeper_credentials",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What one agent works by: each document whole, by its name in `NAMES`, and its version."""

    documents: Mapping[str, bytes]
    version: str

    def digests(self) -> dict[str, str]:
        """Return what an adoption of this copy names."""
        digests = {name: digest_of(content) for name, content in self.documents.items()}
        return digests | {VERSION: self.version}


def platform_document(platform: Platform) -> bytes:
    """Return the topology, the policy and the matrix of rules, as canonical JSON."""
    policy = {f.name: getattr(platform.policy, f.name) for f in fields(Policy)}
    content: dict[str, Any] = {
        "policy": {name: _plain(v) for name, v in policy.items() if name not in _LOCAL},
        "sites": {name: _site(site) for name, site in platform.sites.items()},
        "samus": {name: _plain(asdict(samu)) for name, samu in platform.samus.items()},
        "targets": {name: _plain(asdict(target)) for name, target in platform.targets.items()},
        "routers": list(platform.routers),
        "router_sites": dict(platform.router_sites),
        "database": _plain(asdict(platform.database)) if platform.database else None,
        "matrix": {name: _row(rule, platform.policy.safety) for name, rule in RULES.items()},
    }
    return canonical_bytes(content)


def _row(rule: Rule, safety: Safety) -> dict[str, str]:
    return {verb.value: cell.value for verb, cell in cells(rule, safety).items()}


def _site(site: Site) -> dict[str, Any]:
    return {name: _plain(v) for name, v in asdict(site).items() if name not in _LOCAL}


def differing(here: Mapping[str, str], in_force: Mapping[str, str]) -> list[str]:
    """Return the names under which this copy is not the one in force; none before any is."""
    return [name for name, adopted in in_force.items() if _differs(name, here.get(name), adopted)]


def _differs(name: str, here: str | None, adopted: str) -> bool:
    if here is None:
        return True
    return _older(here, adopted) if name == VERSION else here != adopted


def _older(version: str, than: str) -> bool:
    return _numbers(version) < _numbers(than)


def _numbers(version: str) -> tuple[int, ...]:
    """Read the release segment of a version (PEP 440): 1.10.2.dev3 is 1, 10, 2."""
    numbers = []
    for part in version.split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers)


def _plain(value: Any) -> Any:
    """Return a value as canonical JSON can hold it."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, date | time):
        return value.isoformat()
    return str(value) if isinstance(value, Path) else value
