"""Which SAMUs a lab has: chosen by the first `up`, kept until `down`, and an inventory for them.

Three of them are in `inventories/lab`. A larger lab takes more of `inventories/national`, which
lends identifiers, names, regions and numbers; addresses are the lab's. Nobody is both in a plan
and in an inventory by hand: the larger inventory is written from the plan, below the lab's root.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from sisamu_ops.lab.topology import SAMUS, TELEPHONY_SITES, LabPlace, LabSamu, gateway
from sisamu_ops.model.errors import RefusedError

_HEAD = "---\n# Written by `sisamu lab up`, out of inventories/lab and inventories/national.\n"


def settle_roster(place: LabPlace, wanted: int | None, national: Path) -> None:
    """Note which SAMUs the lab has, once; `wanted` None takes what is noted, else the usual three.

    RefusedError when another number of them is noted, or the nation has not as many.
    """
    if not place.roster.exists():
        samus = choose_samus(wanted or len(SAMUS), national)
        draft = place.roster.with_suffix(".new")
        draft.write_text(json.dumps([_noted(samu) for samu in samus]), "utf-8")
        draft.replace(place.roster)
    elif wanted not in (None, len(place.samus)):
        raise RefusedError(
            f"the lab {place.name} has {len(place.samus)} SAMUs, not {wanted}",
            remedy=f"sisamu lab down, then sisamu lab up --samus {wanted}",
        )


def choose_samus(count: int, national: Path) -> tuple[LabSamu, ...]:
    """Return the usual SAMUs, then others of the national inventory in its order.

    RefusedError for fewer than the usual ones, or more than there are.
    """
    others = [] if count == len(SAMUS) else list(_others(national))
    if not len(SAMUS) <= count <= len(SAMUS) + len(others):
        raise RefusedError(
            f"there is no lab of {count} SAMUs",
            remedy=f"use {len(SAMUS)} to {len(SAMUS) + len(list(_others(national)))}",
        )
    return (*SAMUS, *others[: count - len(SAMUS)])


def write_inventory(place: LabPlace, usual: Path) -> Path:
    """Write the inventory of this lab's SAMUs below its root, and return it.

    `usual` is the inventory of the usual lab: all but its group `samus` is taken over.
    """
    inventory = place.root / "inventory"
    shutil.copytree(usual, inventory, dirs_exist_ok=True)
    hosts = yaml.safe_load((usual / "hosts.yml").read_text("utf-8"))
    hosts["all"]["children"]["samus"] = {"children": _regions(place)}
    text = yaml.safe_dump(hosts, allow_unicode=True, sort_keys=False, width=1000)
    (inventory / "hosts.yml").write_text(_HEAD + text, "utf-8")
    return inventory


def _others(national: Path) -> Iterator[LabSamu]:
    hosts = yaml.safe_load((national / "hosts.yml").read_text("utf-8"))
    usual = {samu.samu_id for samu in SAMUS}
    place = len(SAMUS)
    for group in hosts["all"]["children"]["samus"]["children"].values():
        for said in group["hosts"].values():
            if said["samu_id"] not in usual:
                yield _samu(said, group["vars"]["samu_region"], place)
                place += 1


def _samu(said: Mapping[str, str], region: str, place: int) -> LabSamu:
    return LabSamu(
        samu_id=said["samu_id"], name=said["samu_name"], region=region,
        gateway=gateway(said["samu_id"], place),
        number=said["samu_number"], test_number=said["samu_test_number"],
    )  # fmt: skip


def _noted(samu: LabSamu) -> dict[str, str]:
    return {name: value for name, value in vars(samu).items() if name != "gateway"}


def _regions(place: LabPlace) -> dict[str, Any]:
    """Return a group a region; their names need only be unlike each other."""
    names = list(dict.fromkeys(samu.region for samu in place.samus))
    return {
        f"region_{number}": {
            "vars": {"samu_region": region, "samu_site": TELEPHONY_SITES[number % 2]},
            "hosts": {s.gateway.name: _variables(s) for s in place.samus if s.region == region},
        }
        for number, region in enumerate(names, start=1)
    }


def _variables(samu: LabSamu) -> dict[str, Any]:
    stem = samu.number[:-1]
    return {
        "ansible_host": samu.gateway.address("{{ lab_prefix }}"),
        "samu_id": samu.samu_id,
        "samu_name": samu.name,
        "samu_number": samu.number,
        "samu_test_number": samu.test_number,
        "samu_bridge": f"{samu.name} crisis bridge, {stem}9",
        "samu_fallback_numbers": [f"{stem}1", f"{stem}2"],
    }
