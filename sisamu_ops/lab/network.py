"""Namespaces, links, and the cuts between them.

One namespace a network, and one for the router between them. A cut is an element of an nftables
set in the router's namespace: packets from one network to the other are dropped, silently, as a
dead link would. Whatever stands on one network goes on talking there.
"""

from __future__ import annotations

import ctypes
import json
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from pathlib import Path
from typing import TypeVar

from sisamu_ops.lab.commands import run_command
from sisamu_ops.lab.requirements import find_tool
from sisamu_ops.lab.topology import (
    NETWORKS,
    ROUTER,
    SITES,
    LabPlace,
    gateway_of,
)
from sisamu_ops.model.errors import ConfigurationError, FailedError, RefusedError

_T = TypeVar("_T")
_CLONE_NEWNET = 0x40000000
NAMESPACES = Path("/run/netns")

_CUTS_SET = "inet sisamu cuts"
_CUTS_TABLE = """\
add table inet sisamu
add set inet sisamu cuts { type ifname . ifname; }
add chain inet sisamu forward { type filter hook forward priority filter; policy accept; }
flush chain inet sisamu forward
add rule inet sisamu forward iifname . oifname @cuts drop
"""

#: A pair of networks with no traffic between them, in alphabetical order.
Cut = tuple[str, str]
#: Packets from the first network to the second.
Link = tuple[str, str]


def build_network(place: LabPlace) -> None:
    """Make every namespace, link, address and route that is not there yet."""
    if not place.isolated:
        return
    present = existing_namespaces(place)
    wanted = [place.namespace(name) for name in (ROUTER, *NETWORKS)]
    adding = [f"netns add {name}" for name in wanted if name not in present]
    _ip_batch(adding)
    router = place.namespace(ROUTER)
    _ip_batch(["link set lo up"], router)
    for network in NETWORKS:
        if not _linked(place, network):
            _link(place, network)
    inside(router, _forward_packets)
    run_command(nft_command(place), text=_CUTS_TABLE)


def remove_network(place: LabPlace) -> None:
    """Delete the namespaces; links, addresses and rules go with them."""
    present = existing_namespaces(place)
    if present:
        _ip_batch([f"netns del {name}" for name in sorted(present)])


def existing_namespaces(place: LabPlace) -> frozenset[str]:
    """Return those of the lab's namespaces that exist, by name."""
    names = [place.namespace(name) for name in (ROUTER, *NETWORKS)]
    return frozenset(name for name in names if (NAMESPACES / name).exists())


def read_cuts(place: LabPlace) -> tuple[Cut, ...]:
    """Return the pairs of networks cut from each other now, both ways."""
    links = read_cut_links(place)
    return tuple(sorted((a, b) for a, b in links if a < b and (b, a) in links))


def read_one_way_cuts(place: LabPlace) -> tuple[Link, ...]:
    """Return the links that carry nothing while those of the other way do."""
    links = read_cut_links(place)
    return tuple(sorted((a, b) for a, b in links if (b, a) not in links))


def read_cut_links(place: LabPlace) -> frozenset[Link]:
    """Return every link, from one network to another, that carries nothing now."""
    if not place.isolated or place.namespace(ROUTER) not in existing_namespaces(place):
        return frozenset()
    listing = json.loads(
        run_command((*place.entering(ROUTER), "nft", "--json", "list", "set", *_CUTS_SET.split()))
    )
    sets = [item["set"] for item in listing["nftables"] if "set" in item]
    pairs = [element["concat"] for one in sets for element in one.get("elem", [])]
    return frozenset((source, target) for source, target in pairs)


def cut_links(place: LabPlace, cuts: Iterable[Cut]) -> None:
    """Drop everything between these pairs of networks, both ways, from now on."""
    refuse_on_loopback(place)
    run_command(nft_command(place), text=cutting_script(_both(cuts)))


def heal_links(place: LabPlace, cuts: Iterable[Cut]) -> None:
    """Let these pairs of networks talk again, both ways; those not cut are left alone."""
    refuse_on_loopback(place)
    run_command(nft_command(place), text=joining_script(_both(cuts)))


def nft_command(place: LabPlace) -> tuple[str, ...]:
    """Return the command that reads a script for the router's rules."""
    return (*place.entering(ROUTER), find_tool("nft"), "-f", "-")


def cutting_script(links: Iterable[Link]) -> str:
    """Return the rules that cut links, one way each; a link already cut is fine."""
    return "".join(f"add element {_CUTS_SET} {_element(link)}\n" for link in sorted(links))


def joining_script(links: Iterable[Link]) -> str:
    """Return the rules that join links again; a link that is not cut is fine.

    What is deleted must be there, so it is added first: the script is one transaction.
    """
    ordered = sorted(links)
    deleting = "".join(f"delete element {_CUTS_SET} {_element(link)}\n" for link in ordered)
    return cutting_script(ordered) + deleting


def refuse_on_loopback(place: LabPlace) -> None:
    """Raise RefusedError where there are no links to cut."""
    if not place.isolated:
        raise RefusedError(
            "this lab runs on loopback addresses: it has no links to cut",
            remedy="run it where network namespaces can be had (root, CAP_SYS_ADMIN)",
        )


def cuts_meant(names: tuple[str, ...]) -> frozenset[Cut]:
    """Say which pairs are meant: a site from all other sites, or one pair of networks.

    ConfigurationError for an unknown network, or one alone that is not a site.
    """
    unknown = [name for name in names if name not in NETWORKS]
    if unknown:
        raise ConfigurationError(
            f"no network {', '.join(unknown)}", remedy="use one of: " + ", ".join(NETWORKS)
        )
    if len(names) == 1 and names[0] in SITES:
        return frozenset(_cut(names[0], other) for other in SITES if other != names[0])
    if len(set(names)) == 2:
        return frozenset({_cut(names[0], names[1])})
    raise ConfigurationError(
        f"{' '.join(names) or 'nothing'} names no link",
        remedy="name one site (cut from the other sites) or two networks",
    )


def all_cuts() -> frozenset[Cut]:
    """Return every pair of networks."""
    return frozenset(_cut(first, second) for first, second in combinations(NETWORKS, 2))


def inside(namespace: str, action: Callable[[], _T]) -> _T:
    """Run an action in a namespace, in a thread of its own: setns(2) moves one thread only."""

    def enter_and_act() -> _T:
        descriptor = os.open(NAMESPACES / namespace, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _setns(descriptor, namespace)
        finally:
            os.close(descriptor)
        return action()

    with ThreadPoolExecutor(max_workers=1) as worker:
        return worker.submit(enter_and_act).result()


def _setns(descriptor: int, namespace: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _CLONE_NEWNET) != 0:
        reason = os.strerror(ctypes.get_errno())
        raise FailedError(f"cannot enter the namespace {namespace}: {reason}", remedy="use sudo")


def _forward_packets() -> None:
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1\n")


def _linked(place: LabPlace, network: str) -> bool:
    """Whether a network's default route, the last thing made, is there."""
    listing = run_command(("ip", "-n", place.namespace(network), "route", "show", "default"))
    return "via" in listing


def _link(place: LabPlace, network: str) -> None:
    """Join one network to the router; the router's end carries the network's name."""
    namespace, router = place.namespace(network), place.namespace(ROUTER)
    # A link that an interrupted `up` left half-made would be in the way; deleting one end is both.
    existing = run_command(("ip", "-n", router, "-o", "link", "show"))
    if f": {network}@" in existing:
        run_command(("ip", "-n", router, "link", "del", "dev", network))
    _ip_batch(
        [f"link add name {network} netns {router} type veth peer name eth0 netns {namespace}"]
    )
    gateway = gateway_of(network, place.prefix)
    _ip_batch([f"addr add {gateway}/24 dev {network}", f"link set dev {network} up"], router)
    addresses = [f"addr add {one}/24 dev eth0" for one in place.addresses_on(network)]
    links = ["link set lo up", "link set eth0 up"]
    _ip_batch([*addresses, *links, f"route add default via {gateway}"], namespace)


def _ip_batch(lines: list[str], namespace: str | None = None) -> None:
    where = ("-n", namespace) if namespace else ()
    if lines:
        run_command(("ip", *where, "-batch", "-"), text="\n".join(lines) + "\n")


def _cut(first: str, second: str) -> Cut:
    return (first, second) if first <= second else (second, first)


def _element(link: Link) -> str:
    return f'{{ "{link[0]}" . "{link[1]}" }}'


def _both(cuts: Iterable[Cut]) -> list[Link]:
    return [link for a, b in cuts for link in ((a, b), (b, a))]
