"""Who may stand for leader (pure).

Sites have an order of preference: a less preferred site lets a more preferred one that is
present go first, for the hold-off. The arbiter votes and witnesses, never leads. Two sites
without a third vote are refused: neither could tell a cut from a loss.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sisamu_ops.model.errors import ConfigurationError
from sisamu_ops.model.platform import Platform, SiteRole


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Whether a site stands now, after a wait, or not at all, and why."""

    stands: bool
    wait_ms: int
    reason: str


def judge_standing(
    site: str,
    *,
    order: Sequence[str],
    arbiters: Collection[str],
    present: Collection[str],
    gap_free: bool,
    hold_off_ms: int,
) -> Standing:
    """Judge whether `site` may stand while nobody leads; `present` are the contenders seen."""
    if site in arbiters or site not in order:
        return Standing(stands=False, wait_ms=0, reason="this site votes, it does not lead")
    if not gap_free:
        return Standing(stands=False, wait_ms=0, reason="this site's replica has a gap")
    before = [s for s in order[: order.index(site)] if s in present]
    if before:
        reason = f"{before[0]} is preferred and present"
        return Standing(stands=True, wait_ms=hold_off_ms * len(before), reason=reason)
    return Standing(stands=True, wait_ms=0, reason="no preferred site is present")


def check_votes(platform: Platform) -> None:
    """Refuse a platform whose sites cannot form a majority after one loss."""
    if len(platform.sites) < 3:
        raise ConfigurationError(
            f"{len(platform.sites)} sites cannot elect: a cut looks like a loss to both",
            place=str(platform.inventory),
            remedy="declare a third site with site_role: arbiter",
        )
    leaders = [s for s in platform.sites.values() if s.role is SiteRole.TELEPHONY]
    unordered = [s.site_id for s in leaders if s.site_id not in platform.policy.site_order]
    if unordered:
        raise ConfigurationError(
            f"sisamu_site_order does not name {', '.join(unordered)}",
            place=str(platform.inventory),
            remedy="list every telephony site in order of preference",
        )
