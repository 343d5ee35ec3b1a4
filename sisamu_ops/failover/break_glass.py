"""Acting alone on a cut-off site: under which epoch, by whose word, on what (pure).

A site that reaches no leader may move SAMUs from a log of its own, under an epoch above all it has
seen and unlike any other site's (DESIGN.md section 2). Towards a safer mode one signature is
enough and the second is due within an hour; for all else two come first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sisamu_ops.failover.request import Request
from sisamu_ops.failover.safety import Finding, judge_overrides
from sisamu_ops.model.errors import ConfigurationError
from sisamu_ops.model.platform import TelephonyMode
from sisamu_ops.model.token import Epoch, break_glass_epoch

#: Modes that need less of the platform: whoever is cut off may go there on one word.
SAFER_MODES = frozenset({TelephonyMode.DEGRADED.value, TelephonyMode.BACKUP.value})
SECOND_WITHIN = timedelta(hours=1)
LEADER_REACHABLE = "leader-reachable"


@dataclass(frozen=True, kw_only=True)
class Alone:
    """The site that acts alone; `leader` is the site that leads and was reached after all."""

    site: str
    leader: str = ""


def own_epoch(site: str, sites: Sequence[str], seen: Iterable[int]) -> Epoch:
    """Return the epoch a site may act under alone: its number is its place in the inventory.

    ConfigurationError for a site the inventory does not have.
    """
    if site not in sites:
        raise ConfigurationError(
            f"the inventory has no site {site!r}",
            place="--site",
            remedy="use one of: " + ", ".join(sites),
        )
    return break_glass_epoch(max([0, *seen]), list(sites).index(site) + 1)


def signatures_needed(to: str) -> int:
    """Return how many must have signed before a move to this mode."""
    return 1 if to in SAFER_MODES else 2


def second_due(approvers: Sequence[str], accepted: datetime) -> datetime | None:
    """Return when the second signature is due, None when it is there."""
    return None if approvers else accepted + SECOND_WITHIN


def judge_alone(
    request: Request, to: str, approvers: Sequence[str], alone: Alone | None
) -> tuple[Finding, ...]:
    """Judge whether a request is one for whoever judges: an elected leader (None), or one alone."""
    found = _elected(request) if alone is None else _alone(request, to, approvers, alone)
    return tuple(found)


def _elected(request: Request) -> Iterator[Finding]:
    if request.site:
        yield Finding(
            rule="break-glass-site", blocks=True,
            message=f"the request is for {request.site} alone, not for a leader",
            remedy="ask the leader: sisamu failover start; or sisamu break-glass start",
        )  # fmt: skip
    yield from judge_overrides(request.verb, request.overrides)


def _alone(request: Request, to: str, approvers: Sequence[str], alone: Alone) -> Iterator[Finding]:
    if request.site != alone.site:
        yield Finding(
            rule="break-glass-site", blocks=True,
            message=f"it is for {request.site or 'the leader'}, not for {alone.site} alone",
            remedy=f"sisamu break-glass start … --site {alone.site}",
        )  # fmt: skip
    if not request.verb.moves:
        yield Finding(
            rule="break-glass-verb", blocks=True,
            message=f"a {request.verb.value} is not for a site alone",
            remedy="switchover, failover and failback are",
        )  # fmt: skip
    if 1 + len(approvers) < signatures_needed(to):
        yield Finding(
            rule="signatures", blocks=True,
            message=f"alone, a move to {to} needs a second signature",
            remedy="write it with --out FILE, then: sisamu request approve FILE",
        )  # fmt: skip
    yield from _reached(request, alone)


def _reached(request: Request, alone: Alone) -> Iterator[Finding]:
    if alone.leader:
        yield Finding(
            rule=LEADER_REACHABLE, blocks=LEADER_REACHABLE not in request.overrides,
            message=f"{alone.leader} leads and can be reached: this site is not cut off",
            remedy=f"sisamu {request.verb.value} start; or --override {LEADER_REACHABLE}",
        )  # fmt: skip
    yield from judge_overrides(request.verb, request.overrides, also=[LEADER_REACHABLE])
