# SPDX-License-Identifier: Apache-2.0
"""Filters for moving SAMUs: which test call proves which path, and which path a rescue takes.

A mode is a path to be proved: `nominal` by an instance of the national platform, `degraded` by a
central call server asked for the SAMU's own number, `backup` by the SAMU's gateway. Pure: what a
call's verdict means is said here, and nowhere in the playbooks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

Json = dict[str, Any]

#: The central modes, and the inventory's group that serves each.
SERVERS = {"nominal": "national_platform", "degraded": "central_call_servers"}
VIAS = {"nominal": "platform", "degraded": "call-server", "backup": "gateway"}
#: What a verdict says of a path, for people.
WORDS = {
    "refused": "refuses calls",
    "silent": "is silent",
    "elsewhere": "is answered by another",
    "not called": "was not called",
}
#: A pattern that is empty would mean everybody.
NOBODY = ["all", "!all"]
DEPENDS = "which path is taken depends on test calls, which check mode does not place"


# --- What is where ---------------------------------------------------------------------------


def places(groups: Mapping[str, Any], hostvars: Mapping[str, Any]) -> Json:
    """Read once what calls need of the inventory: each SAMU's gateway, and the central servers."""
    samus = {}
    for host in groups.get("samus", []):
        known = hostvars[host]
        samus[str(known["samu_id"])] = {
            "host": str(host),
            "address": str(known["ansible_host"]),
            "number": str(known.get("samu_test_number") or ""),
        }
    servers = {
        mode: {str(host): str(hostvars[host]["ansible_host"]) for host in groups.get(group, [])}
        for mode, group in SERVERS.items()
    }
    known = [host for hosts in servers.values() for host in hosts]
    sites = {host: str(hostvars[host].get("site_id") or "") for host in known}
    return {"samus": samus, "servers": servers, "sites": sites}


def central(going: Mapping[str, str]) -> dict[str, str]:
    """Return of {samu: mode} what central telephony is to serve."""
    return {samu: mode for samu, mode in going.items() if mode in SERVERS}


def local(going: Mapping[str, str]) -> dict[str, str]:
    """Return of {samu: mode} what the SAMUs' own gateways are to serve."""
    return {samu: mode for samu, mode in going.items() if mode not in SERVERS}


def gateways(samus: Iterable[str], found: Json) -> list[str]:
    """Return a host pattern of SAMUs' gateways; a play on nobody runs on nobody."""
    known = found.get("samus", {})
    return [known[samu]["host"] for samu in samus if samu in known] or NOBODY


# --- Which calls -----------------------------------------------------------------------------


def path_calls(going: Mapping[str, str], found: Json) -> list[Json]:
    """Return the calls that prove the path of each SAMU ({samu: mode}) ahead of any routing.

    The platform serves all alike: one call to each of its instances says so for every SAMU.
    """
    to_mode = {mode: [s for s, wanted in going.items() if wanted == mode] for mode in VIAS}
    calls = _to_servers("nominal", _one_with_a_number(to_mode["nominal"], found), found)
    calls += _to_servers("degraded", to_mode["degraded"], found)
    for samu in to_mode["backup"]:
        gateway = found["samus"][samu]
        calls.append(_call(samu, "backup", gateway["host"], gateway["address"], found))
    return calls


def trial_calls(samus: Sequence[str], modes: Iterable[str], found: Json) -> list[Json]:
    """Return the calls that try several paths of each SAMU at once."""
    trials = [path_calls(dict.fromkeys(samus, mode), found) for mode in modes]
    return [call for calls in trials for call in calls]


def site_calls(going: Mapping[str, str], found: Json, site: str) -> list[Json]:
    """Return the calls that prove a site's own servers in every central mode that is in use."""
    return [
        {**call, "expected": expected(call["samu"], mode, site)}
        for mode in SERVERS
        for call in path_calls({s: m for s, m in going.items() if m == mode}, found)
        if found["sites"][call["host"]] == site
    ]


def unserved(going: Mapping[str, str], found: Json, site: str) -> list[str]:
    """Return the central modes in use that a site has no server for."""
    at_site = [host for host, where in found["sites"].items() if where == site]
    in_use = [mode for mode in SERVERS if mode in going.values()]
    return [mode for mode in in_use if not set(at_site) & set(found["servers"][mode])]


def router_calls(
    going: Mapping[str, str], found: Json, sites: Mapping[str, str] | None = None
) -> list[Json]:
    """Return a call for each SAMU that has a test number, to be placed through a router.

    `sites` is the site that shall answer a SAMU where one is meant: {samu: site}.
    """
    numbers = {samu: found["samus"][samu]["number"] for samu in going}
    sites = sites or {}
    return [
        {
            "samu": samu,
            "number": numbers[samu],
            "expected": expected(samu, mode, sites.get(samu, "")),
        }
        for samu, mode in going.items()
        if numbers[samu]
    ]


def expected(samu: str, mode: str, site: str = "") -> str:
    """Return how the answer is signed when a SAMU's call has taken the path of a mode.

    Central servers name their site; local lines belong to none.
    """
    if mode == "nominal":
        return f"nominal;instance={site}" if site else "nominal;"
    return f"{mode};samu={samu}" + (f";site={site}" if site and mode in SERVERS else "")


def _to_servers(mode: str, samus: list[str], found: Json) -> list[Json]:
    servers = found["servers"][mode].items()
    return [_call(samu, mode, host, address, found) for host, address in servers for samu in samus]


def _one_with_a_number(samus: list[str], found: Json) -> list[str]:
    return sorted(samus, key=lambda samu: not found["samus"][samu]["number"])[:1]


def _call(samu: str, mode: str, host: str, address: str, found: Json) -> Json:
    number = found["samus"][samu]["number"]
    named = {"host": host, "address": address, "via": VIAS[mode]}
    return {"samu": samu, "number": number, "expected": expected(samu, mode), **named}


# --- What they have proved -------------------------------------------------------------------


def unproved(going: Mapping[str, str], calls: Sequence[Json]) -> list[str]:
    """Say of each SAMU whose path no call proved what became of the calls; [] when all are."""
    heard = _heard(calls)
    return [
        f"SAMU {samu}: {_say(mode, heard(samu, mode))}"
        for samu, mode in going.items()
        if "expected" not in heard(samu, mode)
    ]


def undecided(samus: Sequence[str], order: Sequence[str], calls: Sequence[Json]) -> list[str]:
    """Return the SAMUs for which no mode of the order has been proved so far."""
    heard = _heard(calls)
    return [s for s in samus if not any("expected" in heard(s, mode) for mode in order)]


def choose(
    samus: Sequence[str], order: Sequence[str], calls: Sequence[Json], found: Json, check: bool
) -> list[Json]:
    """Choose each SAMU's mode in a rescue, and say why; `to` is empty for one left where it is.

    The first of the order that a call proved. If none was, the last that is not known to refuse
    calls: a silent path may be a path, the present one is known to be broken. In check mode no
    call was placed: the first of the order is shown, and that it was not evaluated.
    """
    heard = _heard(calls)
    choices = []
    for samu in samus:
        to, why = (order[0], DEPENDS) if check else _choice(samu, order, heard)
        host = found["samus"][samu]["host"]
        choices.append({"samu": samu, "to": to, "why": why, "host": host, "evaluated": not check})
    return choices


def moves(choices: Sequence[Json]) -> dict[str, str]:
    """Return {samu: mode} of the choices that move something."""
    return {choice["samu"]: choice["to"] for choice in choices if choice["to"]}


Heard = Callable[[str, str], list[str]]


def _choice(samu: str, order: Sequence[str], heard: Heard) -> tuple[str, str]:
    told = {mode: heard(samu, mode) for mode in order}
    proved = [mode for mode in order if "expected" in told[mode]]
    if proved:
        passed = [_say(mode, told[mode]) for mode in order[: order.index(proved[0])]]
        return proved[0], "; ".join([*passed, f"{proved[0]} is proved by a test call"])
    said = "; ".join(_say(mode, told[mode]) for mode in order)
    left = [mode for mode in order if set(told[mode]) != {"refused"}]
    if left:
        return left[-1], f"{said}; {left[-1]} is taken unproved"
    return "", f"{said}; left where it is"


def _heard(calls: Sequence[Json]) -> Heard:
    """Return what tells the verdicts of a SAMU's mode; the platform's are everybody's."""
    verdicts: dict[tuple[str, str], list[str]] = {}
    for call in calls:
        whose = "" if call["via"] == VIAS["nominal"] else call["samu"]
        verdicts.setdefault((whose, call["via"]), []).append(call["verdict"])

    def heard(samu: str, mode: str) -> list[str]:
        whose = "" if mode == "nominal" else samu
        return verdicts.get((whose, VIAS[mode]), ["not called"])

    return heard


def _say(mode: str, verdicts: Iterable[str]) -> str:
    return f"{mode} " + " and ".join(WORDS.get(one, one) for one in dict.fromkeys(verdicts))


class FilterModule:
    """The filters, under the names the playbooks use."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return every filter by name."""
        return {
            "sisamu_places": places,
            "sisamu_central": central,
            "sisamu_local": local,
            "sisamu_gateways": gateways,
            "sisamu_path_calls": path_calls,
            "sisamu_trial_calls": trial_calls,
            "sisamu_site_calls": site_calls,
            "sisamu_unserved": unserved,
            "sisamu_router_calls": router_calls,
            "sisamu_unproved": unproved,
            "sisamu_undecided": undecided,
            "sisamu_choose": choose,
            "sisamu_moves": moves,
        }
