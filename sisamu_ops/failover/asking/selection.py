"""Which SAMUs are meant: one by one, by site, by region, by an Ansible pattern, or all (pure)."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from shlex import quote

from sisamu_ops.model.errors import ConfigurationError
from sisamu_ops.model.platform import Platform

#: Returns the hosts of the inventory that an Ansible pattern means.
MatchHosts = Callable[[str], Collection[str]]


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What was named on the command line; several ways add up."""

    samus: tuple[str, ...] = field(default=())
    sites: tuple[str, ...] = field(default=())
    regions: tuple[str, ...] = field(default=())
    patterns: tuple[str, ...] = field(default=())
    everything: bool = False

    @property
    def is_empty(self) -> bool:
        """Say whether nothing was named."""
        return not (self.samus or self.sites or self.regions or self.patterns or self.everything)

    def words(self) -> list[str]:
        """Return it as one types it."""
        if self.everything:
            return ["--all"]
        named = (
            ("--samu", self.samus), ("--site", self.sites), ("--region", self.regions),
            ("--pattern", self.patterns),
        )  # fmt: skip
        return [word for option, values in named for v in values for word in (option, quote(v))]


def select_samus(platform: Platform, selection: Selection, match: MatchHosts) -> tuple[str, ...]:
    """Return the SAMUs meant, each once, in order of their identifiers.

    ConfigurationError for a name that means none, and when nothing was named.
    """
    if selection.is_empty:
        raise ConfigurationError(
            "no SAMU is named",
            place="--samu",
            remedy="name some: --samu ID, --site SITE, --region REGION, --pattern PATTERN, --all",
        )
    if selection.everything:
        return tuple(sorted(platform.samus))
    found = {platform.samu(wanted).samu_id for wanted in selection.samus}
    for site in selection.sites:
        found |= _of_site(platform, site)
    for region in selection.regions:
        found |= _of_region(platform, region)
    for pattern in selection.patterns:
        found |= _matching(platform, pattern, match)
    return tuple(sorted(found))


def _of_site(platform: Platform, wanted: str) -> set[str]:
    site = platform.site(wanted).site_id
    return _some(
        {s.samu_id for s in platform.samus.values() if s.site == site},
        f"no SAMU has its calls first at {site}", "--site", "set samu_site in the inventory",
    )  # fmt: skip


def _of_region(platform: Platform, wanted: str) -> set[str]:
    known = sorted({s.region for s in platform.samus.values() if s.region})
    return _some(
        {s.samu_id for s in platform.samus.values() if _folded(s.region) == _folded(wanted)},
        f"no SAMU is in the region {wanted!r}", "--region", "use one of: " + ", ".join(known),
    )  # fmt: skip


def _folded(region: str) -> str:
    """Compare names of regions as people type them: without case, blanks for hyphens."""
    return region.casefold().replace("-", " ").replace("_", " ")


def _matching(platform: Platform, pattern: str, match: MatchHosts) -> set[str]:
    of_gateway = {samu.gateway: samu.samu_id for samu in platform.samus.values()}
    return _some(
        {of_gateway[host] for host in match(pattern) if host in of_gateway},
        f"the pattern {pattern!r} means no SAMU", "--pattern",
        "look at the groups: ansible-inventory --graph samus",
    )  # fmt: skip


def _some(found: set[str], problem: str, place: str, remedy: str) -> set[str]:
    if not found:
        raise ConfigurationError(problem, place=place, remedy=remedy)
    return found
