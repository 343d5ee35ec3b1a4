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
from sisamu_ops.lab.topology import (
    NETWORKS,
    ROUTER,
    SITES,
    LabPlace,
    addresses_on,
    gateway_of,
)
from sisamu_ops.model.errors import ConfigurationError, FailedError, RefusedError

_T = TypeVar("_T")
_CLONE_NEWNET = 0x40000000
NAMESPACES = Path("/run/netns")

_CUTS_TABLE = """\
add table inet sisamu
add set inet sisamu cuts { type ifname . ifname; }
add chain inet sisamu forward { type filter hook forward priority filter; policy accept; }
flush chain inet sisamu forward
add rule inet sisamu forward iifname . oifname @cuts drop
"""

#: A pair of networks with no traffic between them, in alphabetical order.
Cut = tuple[str, str]


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
    _nft(place, _CUTS_TABLE)


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
    """Return the pairs of networks cut from each other now."""
    if not place.isolated or place.namespace(ROUTER) not in existing_namespaces(place):
        return ()
    listing = json.loads(
        run_command(
            (*place.entering(ROUTER), "nft", "--json", "list", "set", "inet", "sisamu", "cuts")
        )
    )
    sets = [item["set"] for item in listing["nftables"] if "set" in item]
    pairs = [element["concat"] for one in sets for element in one.get("elem", [])]
    return tuple(sorted({_cut(first, second) for first, second in pairs}))


def cut_links(place: LabPlace, cuts: Iterable[Cut]) -> None:
    """Drop everything between these pairs of networks, both ways, from now on."""
    _refuse_on_loopback(place)
    _nft(place, "".join(f"add element inet sisamu cuts {{ {pair} }}\n" for pair in _both(cuts)))


def heal_links(place: LabPlace, cuts: Iterable[Cut]) -> None:
    """Let these pairs of networks talk again; those that are not cut are left alone."""
    _refuse_on_loopback(place)
    present = set(read_cuts(place)).intersection(cuts)
    _nft(
        place, "".join(f"delete element inet sisamu cuts {{ {pair} }}\n" for pair in _both(present))
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
    addresses = [f"addr add {one}/24 dev eth0" for one in addresses_on(network, place.prefix)]
    links = ["link set lo up", "link set eth0 up"]
    _ip_batch([*addresses, *links, f"route add default via {gateway}"], namespace)


def _ip_batch(lines: list[str], namespace: str | None = None) -> None:
    where = ("-n", namespace) if namespace else ()
    if lines:
        run_command(("ip", *where, "-batch", "-"), text="\n".join(lines) + "\n")


def _nft(place: LabPlace, script: str) -> None:
    if script:
        run_command((*place.entering(ROUTER), "nft", "-f", "-"), text=script)


def _cut(first: str, second: str) -> Cut:
    return (first, second) if first <= second else (second, first)


def _both(cuts: Iterable[Cut]) -> list[str]:
    return [pair for a, b in cuts for pair in (f'"{a}" . "{b}"', f'"{b}" . "{a}"')]


def _refuse_on_loopback(place: LabPlace) -> None:
    if not place.isolated:
        raise RefusedError(
            "this lab runs on loopback addresses: it has no links to cut",
            remedy="run it where network namespaces can be had (root, CAP_SYS_ADMIN)",
        )
