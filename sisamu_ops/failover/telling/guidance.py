"""What one can do now, as one types it: from the facts of `status` alone (pure)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sisamu_ops.failover.safety import name_options
from sisamu_ops.model.platform import Platform, SiteRole, TelephonyMode

Facts = Mapping[str, Any]
#: So many SAMUs are named one by one.
_FEW = 5
_NOT_READ = ("unreachable", "not read")


def guidance(facts: Facts, platform: Platform) -> list[dict[str, str]]:
    """Return what to do next, most urgent first: why, and the command."""
    return [{"why": why, "command": command} for why, command in _guidance(facts, platform)]


def _guidance(facts: Facts, platform: Platform) -> Iterator[tuple[str, str]]:
    if not facts["leader"]["site"] and not facts["embedded"]:
        yield from _alone(facts, platform)
    for operation in facts["operations"]:
        if operation["held"]:
            yield f"held: {operation['held']}", f"sisamu operation show {operation['id']}"
        elif operation["outcome"] == "running":
            yield "it goes on", f"sisamu operation follow {operation['id']}"
    unknown = [s["remedy"] for s in facts["samus"] if s["remedy"]]
    for remedy in dict.fromkeys(unknown):
        many = unknown.count(remedy)
        yield f"{many} SAMU not known" if many > 1 else "a SAMU not known", remedy
    drifted = [s["id"] for s in facts["samus"] if _has_drifted(s)]
    if drifted:
        yield f"{len(drifted)} SAMU not where intended", "sisamu samu drift"


def _alone(facts: Facts, platform: Platform) -> Iterator[tuple[str, str]]:
    """Nobody leads: a site whose router answers can act alone, and calls go on meanwhile."""
    for site in _reachable_sites(facts, platform):
        named = _named(_not_safe(facts), facts["platform"])
        yield (
            f"nobody leads; calls go on as they are; {site} can act alone",
            f"sisamu break-glass start failover --site {site} {named} --reason TEXT",
        )
    yield "and by hand", "sisamu samu card --samu ID"


def _named(samus: Sequence[str], platform: str) -> str:
    """Name the SAMUs as one types it: each while they are few, else all of them."""
    if len(samus) > _FEW:
        return f"--all --confirm {platform}"
    return name_options("--samu", samus) or "--samu ID"


def _reachable_sites(facts: Facts, platform: Platform) -> list[str]:
    answers = {router: said for samu in facts["samus"] for router, said in samu["routers"].items()}
    read = [r for r, said in answers.items() if said not in _NOT_READ]
    telephony = [s.site_id for s in platform.sites.values() if s.role is SiteRole.TELEPHONY]
    return [s for s in telephony if any(platform.router_sites.get(r) == s for r in read)]


def _not_safe(facts: Facts) -> Sequence[str]:
    """Return the SAMUs not known to be on a mode that needs less of the platform."""
    safe = (TelephonyMode.BACKUP.value, TelephonyMode.DEGRADED.value)
    return [s["id"] for s in facts["samus"] if s["mode"] not in safe]


def _has_drifted(samu: Facts) -> bool:
    last = samu["operation"]
    under_way = bool(last) and last["outcome"] in ("running", "held", "unknown")
    known = samu["mode"] != TelephonyMode.UNKNOWN.value
    return known and not under_way and samu["mode"] != samu["intended_mode"]
