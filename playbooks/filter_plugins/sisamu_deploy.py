# SPDX-License-Identifier: Apache-2.0
"""What `sisamu status -o json` means to whoever deploys agents, site by site (pure).

An empty answer means that nothing speaks against going on; else each item is a reason, in words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

#: A new version may work by other rules. Such a site follows until they are adopted, signed; it
#: is no reason to take it back.
_RULES_DIFFER = "rules-differ"


def deploy_order(
    hosts: Sequence[str], sites: Sequence[str], roles: Sequence[str], leader: str
) -> list[str]:
    """Return the hosts in the order they are taken: arbiters first, the leading site's last."""
    known = zip(hosts, sites, roles, strict=True)
    ranks = {host: (site == leader, role != "arbiter") for host, site, role in known}
    return sorted(hosts, key=lambda host: ranks[host])


def ailments(
    status: Mapping[str, Any],
    site: str,
    release: str = "",
    heard: str = "",
    needs_leader: bool = True,
) -> list[str]:
    """Say why a site does not count as back and well.

    `release` is what its agent must run from, `heard` when it was last heard before its restart;
    either is left unjudged when empty.
    """
    if not _is_live(status):
        return ["ZooKeeper does not answer"]
    nobody = ["nobody leads"] if needs_leader and not status["leader"]["site"] else []
    return [*_ailments(status, said_by(status, site), release, heard), *nobody]


def hindrances(status: Mapping[str, Any], site: str) -> list[str]:
    """Say why a site's agent must not be stopped now: one at a time, and a leader must remain."""
    if not _is_live(status):
        return ["ZooKeeper does not answer"]
    others = [said for said in status["sites"] if said["id"] != site]
    return [
        *(f"{said['id']}: {why}" for said in others for why in _ailments(status, said)),
        *_without_successor(status, site, others),
    ]


def runs(status: Mapping[str, Any], site: str, release: str) -> bool:
    """Say whether a site's agent runs from a release now, by its own word."""
    said = said_by(status, site)
    return not said.get("silent", True) and said.get("release") == release


def leads(status: Mapping[str, Any], site: str) -> bool:
    """Say whether a site leads."""
    return bool(status) and status["leader"]["site"] == site


def led_elsewhere(status: Mapping[str, Any], site: str) -> bool:
    """Say whether another site leads."""
    return bool(status) and status["leader"]["site"] not in (None, site)


def said_by(status: Mapping[str, Any], site: str) -> Mapping[str, Any]:
    """Return what `status` says of a site; nothing when it says nothing."""
    return next((said for said in status.get("sites", ()) if said["id"] == site), {})


def _is_live(status: Mapping[str, Any]) -> bool:
    return bool(status) and bool(status["journal"]["live"])


def _ailments(
    status: Mapping[str, Any], said: Mapping[str, Any], release: str = "", heard: str = ""
) -> Iterator[str]:
    if said.get("silent", True) or said["said_at"] == heard:
        since = " since its restart" if heard else " of late"
        yield f"its agent has said nothing{since}"
        return
    if release and said.get("release") != release:
        yield f"its agent runs from {said.get('release') or said['version']}, not from {release}"
    yield from (one["message"] for one in said["problems"] if one["kind"] != _RULES_DIFFER)
    if said["cosigned_size"] < status["journal"]["agreed_size"]:
        agreed_size = status["journal"]["agreed_size"]
        yield f"it has cosigned {said['cosigned_size']} of {agreed_size} entries agreed"
    if said["role"] == "telephony" and not (_stands(said) or _works_by_other_rules(said)):
        yield "it does not stand for leader"


def _without_successor(
    status: Mapping[str, Any], site: str, others: Iterable[Mapping[str, Any]]
) -> Iterator[str]:
    if not status["leader"]["site"]:
        yield "nobody leads"
    elif leads(status, site) and not any(_stands(said) for said in others):
        yield f"{site} leads, and no other site stands to take over"
        if any(_works_by_other_rules(said) for said in others):
            yield "the new release works by other rules: sisamu journal adopt, then run this again"


def _stands(said: Mapping[str, Any]) -> bool:
    return bool(said["contends"] or said["leads"])


def _works_by_other_rules(said: Mapping[str, Any]) -> bool:
    return any(one["kind"] == _RULES_DIFFER for one in said["problems"])


class FilterModule:
    """The functions above, as Ansible finds them."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return each filter by its name."""
        return {
            "sisamu_deploy_order": deploy_order,
            "sisamu_ailments": ailments,
            "sisamu_hindrances": hindrances,
            "sisamu_runs": runs,
            "sisamu_leads": leads,
            "sisamu_led_elsewhere": led_elsewhere,
            "sisamu_said": said_by,
        }
