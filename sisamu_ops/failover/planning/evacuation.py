"""Whose central servers a router asks first: evacuating a site, and bringing it home (pure).

Each router holds, per SAMU, the site whose national platform and call server take its calls first.
An evacuation of paris to lyon has every router ask lyon; bringing paris home has each ask again
whom it asked before. The mode of a SAMU is another matter, and stays what it is.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sisamu_ops.failover.fold.operation import Operation
from sisamu_ops.model.errors import ConfigurationError, RefusedError
from sisamu_ops.model.platform import Platform, TelephonyMode, router_of

#: The name, among a request's details, of the site that is evacuated or brought home.
SITE = "site"


def check_sites(platform: Platform, site: str, to: str) -> None:
    """Refuse, before anything is signed, sites that serve no calls; ConfigurationError."""
    known = platform.telephony_sites()
    for wanted, option in ((site, "--site"), (to, "--to")):
        if wanted not in known:
            raise ConfigurationError(
                f"{wanted!r} is no site that serves calls", place=option,
                remedy=f"use one of: {', '.join(known)}",
            )  # fmt: skip
    without = [router for router in platform.routers if router not in platform.site_targets]
    if without:
        raise ConfigurationError(
            f"{', '.join(without)}: nothing holds which site is asked first",
            place=str(platform.inventory),
            remedy="set sisamu_site_fence_dir and site_id of each, then: sisamu target enrol",
        )


def check_refuge(evacuated: Collection[str], site: str, to: str) -> None:
    """Refuse to evacuate a site to one that is evacuated itself; RefusedError."""
    if site != to and to in evacuated:
        raise RefusedError(
            f"{to} is evacuated itself",
            remedy=f"first: sisamu switchover start --site {to} --to {to}",
        )


def preferences(
    platform: Platform, samus: Sequence[str], evacuated: Mapping[str, str], site: str, to: str
) -> dict[str, dict[str, str]]:
    """Return by target the site that is asked first for each SAMU, once it is done."""
    gone = {one: taken_by for one, taken_by in evacuated.items() if one != site}
    if site != to:
        gone[site] = to
    return {
        target: {s: _refuge(platform.router_sites[router], gone) for s in samus}
        for router, target in platform.site_targets.items()
    }


def _refuge(site: str, gone: Mapping[str, str]) -> str:
    """Follow from an evacuated site to the one that serves in its place."""
    passed: set[str] = set()
    while site in gone and site not in passed:
        passed.add(site)
        site = gone[site]
    return site


def asked_first(platform: Platform, target: str) -> str:
    """Return the site a router asks first where its target holds nothing: its own."""
    return platform.router_sites.get(router_of(target), "")


def playbook_facts(
    changes: Mapping[str, Mapping[str, str]],
    modes: Mapping[str, str],
    served: Mapping[str, str],
) -> dict[str, Any]:
    """Return what a playbook is told: whom each router shall ask, and the mode of each SAMU.

    `served` are the modes of all SAMUs of the evacuation: every path in use is proved at the site
    that takes over, before any router is touched.
    """
    return {
        "sisamu_sites": {router_of(target): dict(change) for target, change in changes.items()},
        "sisamu_expected": dict(modes),
        "sisamu_served": dict(served),
    }


def signatures(operation: Operation, samu_id: str, mode: str) -> dict[str, str]:
    """Return by router how a call to a SAMU is answered once it asks the site it shall."""
    return {
        router_of(target): signature(samu_id, mode, change[samu_id])
        for target, change in operation.targets.items()
        if samu_id in change
    }


def signature(samu_id: str, mode: str, site: str = "") -> str:
    """Return how a site's servers sign an answer, or what the answers of all sites begin with.

    Local lines belong to no site.
    """
    if mode == TelephonyMode.NOMINAL.value:
        return f"nominal;instance={site}" if site else "nominal"
    local = f"{mode};samu={samu_id}"
    return f"{local};site={site}" if site and mode == TelephonyMode.DEGRADED.value else local


def is_signed(said: str, signature: str) -> bool:
    """Whether an answer begins with this signature; its parameters are compared whole."""
    return f"{said};".startswith(f"{signature};")
