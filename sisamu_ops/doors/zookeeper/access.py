"""Who may do what to which node, by what a client's certificate says (pure).

ZooKeeper's `x509` scheme compares the whole subject of a certificate (ZooKeeper Administrator's
Guide, "Authentication & Authorization Options"). So a subject says what one is, never who: rights
stay as they are when people and sites come and go. Who it is stands in the subject's other name.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType

from kazoo.security import ACL, Id, Permissions


class Role(Enum):
    """What the organisational unit of a certificate's subject says one is."""

    #: A site that may lead, and its agent.
    SITE = "site"
    #: A site that votes and witnesses.
    ARBITER = "arbiter"
    OPERATOR = "operator"


#: What a role may do beside reading, by node below the platform's; a site may do everything.
#: To create and delete are rights at the parent (ZooKeeper Programmer's Guide, "ACL Permissions").
_RIGHTS: Mapping[tuple[str, Role], int] = MappingProxyType(
    {
        ("inbox", Role.ARBITER): Permissions.CREATE,
        ("inbox", Role.OPERATOR): Permissions.CREATE,
        ("published", Role.ARBITER): Permissions.CREATE | Permissions.WRITE,
        ("published/*", Role.ARBITER): Permissions.WRITE,
    }
)


def subject(role: Role, platform: str) -> str:
    """Return the subject of a role's certificates as ZooKeeper writes it (RFC 2253)."""
    return f"OU={role.value},O={platform}"


def rights(platform: str, node: str = "") -> list[ACL]:
    """Return the access list of a node, named below the platform's; "" is any without its own."""
    others = [
        ACL(Permissions.READ | _RIGHTS.get((node, role), 0), Id("x509", subject(role, platform)))
        for role in (Role.ARBITER, Role.OPERATOR)
    ]
    return [ACL(Permissions.ALL, Id("x509", subject(Role.SITE, platform))), *others]
