"""Who may stand for leader (pure).

Sites have an order of preference: a less preferred site lets a more preferred one that is
present go first, for the hold-off. A planned transfer names the next leader: all others let it go
first. Who has just left, or has lost leadership again and again, waits as long as others are
there: a flapping site does not take it back and forth. The arbiter votes and witnesses, never
leads. Two sites without a third vote are refused: neither could tell a cut from a loss.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sisamu_ops.model.errors import ConfigurationError
from sisamu_ops.model.platform import Platform, SiteRole

#: How many hold-offs the others wait for the site that a transfer names.
TRANSFER_HOLD_OFFS = 3
_MOST_LOSSES = 5


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
    asked_for: str = "",
    left_by: str = "",
    losses: int = 0,
) -> Standing:
    """Judge whether `site` may stand while nobody leads; `present` are the contenders seen.

    `asked_for` is the site a transfer names, `left_by` the one that gave leadership up of its own
    accord, `losses` how often this site lost it of late.
    """
    if site in arbiters or site not in order:
        return Standing(stands=False, wait_ms=0, reason="this site votes, it does not lead")
    if not gap_free:
        return Standing(stands=False, wait_ms=0, reason="this site's replica has a gap")
    if asked_for == site:
        return Standing(stands=True, wait_ms=0, reason="leadership was transferred to this site")
    if asked_for in present:
        reason = f"leadership was transferred to {asked_for}"
        return Standing(stands=True, wait_ms=TRANSFER_HOLD_OFFS * hold_off_ms, reason=reason)
    patience = min(losses, _MOST_LOSSES) + (TRANSFER_HOLD_OFFS if left_by == site else 0)
    if patience and present:
        reason = "this site has left, or lost leadership of late"
        return Standing(stands=True, wait_ms=hold_off_ms * patience, reason=reason)
    before = [s for s in order[: order.index(site)] if s in present]
    if before:
        reason = f"{before[0]} is preferred and present"
        return Standing(stands=True, wait_ms=hold_off_ms * len(before), reason=reason)
    return Standing(stands=True, wait_ms=0, reason="no preferred site is present")


def judge_founding(
    site: str, *, sizes: Mapping[str, int], sites: int, threshold: int, waited: bool
) -> bool:
    """Say whether `site` may found the journal on a service that has none.

    `sizes` are the replicas' sizes as each site told its own; all are waited for, for a while
    (`waited`), then a majority must do. Any majority has a site that holds
    all that was agreed; the longest of it founds. What only a site missing from it holds was
    never agreed on: that site will find that its copy differs, and say so.
    """
    mine = sizes.get(site)
    needed = threshold if waited else sites
    return mine is not None and len(sizes) >= needed and mine == max(sizes.values())


def check_leader_site(platform: Platform, site: str) -> None:
    """Refuse a site that can never lead, before anything is signed."""
    if site not in platform.policy.site_order or site in platform.arbiters():
        raise ConfigurationError(
            f"{site!r} cannot lead",
            place="--to",
            remedy="use one of: " + ", ".join(platform.policy.site_order),
        )


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
