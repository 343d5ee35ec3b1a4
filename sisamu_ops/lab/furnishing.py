"""Write each host's directory: configurations always, durable lists and identities only once.

What a host has learnt (a mode, a journal, a key) survives another `up`; what this package says
(a configuration) is written again.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from string import Template
from types import MappingProxyType

from sisamu_ops.lab.programs import FILES
from sisamu_ops.lab.requirements import find_tool
from sisamu_ops.lab.topology import (
    CALL_SERVERS,
    DESKS,
    PHONES,
    PLATFORM_INSTANCES,
    ROUTERS,
    SITE_HOSTS,
    TELEPHONY_SITES,
    ZOOKEEPER_PORT,
    Host,
    LabPlace,
    LabSamu,
)
from sisamu_ops.model.errors import ConfigurationError

#: The lab's ZooKeeper tick, in milliseconds; session time-outs are at least twice as long.
TICK_MS = 500

_COLUMNS = (
    "id(int,auto) key_name(string) key_type(int) value_type(int) key_value(string) expires(int)"
)
#: The version the htable module asks of its tables (its `table_version`, db_text `version` file).
_HTABLE_VERSION = 2


class _Form(Template):
    """A configuration file with `@{name}` places: `$` belongs to Kamailio's own language."""

    delimiter = "@"


def furnish_hosts(place: LabPlace, fence: Path) -> None:
    """Give every host its directory and configurations; `fence` is the helper's source file.

    ConfigurationError when the fence helper is not there.
    """
    if not fence.is_file():
        raise ConfigurationError(
            "the fence helper is missing", place=str(fence), remedy="run from a whole checkout"
        )
    for index, host in enumerate(SITE_HOSTS, start=1):
        _furnish_site(place, host, index)
    for host in place.ssh_hosts:
        keys = "authorized_keys_sites" if host in SITE_HOSTS else "authorized_keys"
        values = {"trust": str(place.trust), "authorized_keys": keys}
        write_form(place, host, "sshd_config", "sshd_config", values)
    for host in ROUTERS:
        _furnish_router(place, host, fence)
    for samu in place.samus:
        _furnish_gateway(place, samu, fence)
    for host in CALL_SERVERS:
        _furnish_call_server(place, host)
    for host in (*PLATFORM_INSTANCES, DESKS, PHONES):
        place.host_dir(host).mkdir(parents=True, exist_ok=True)


def write_table(directory: Path, name: str, rows: dict[str, str]) -> None:
    """Write one htable's db_text table unless it is there, and name it in `version`.

    Source: Kamailio 5.6, modules db_text and htable.
    """
    directory.mkdir(parents=True, exist_ok=True)
    table = directory / name
    if not table.exists():
        lines = [f"{i}:{key}:0:0:{value}:0" for i, (key, value) in enumerate(rows.items(), start=1)]
        table.write_text("\n".join([_COLUMNS, *lines]) + "\n")
    tables = sorted(one.name for one in directory.iterdir() if one.name != "version")
    versions = [f"{one}:{_HTABLE_VERSION}" for one in tables]
    header = "table_name(string) table_version(int)"
    (directory / "version").write_text("\n".join([header, *versions]) + "\n")


def write_form(place: LabPlace, host: Host, form: str, name: str, values: dict[str, str]) -> None:
    """Write one configuration of a host from a form of this package, with every place filled."""
    home = place.host_dir(host)
    home.mkdir(parents=True, exist_ok=True)
    text = (FILES / form).read_text("utf-8")
    (home / name).write_text(_Form(text).substitute(_common(place, host) | values), "utf-8")


def _furnish_site(place: LabPlace, host: Host, index: int) -> None:
    home = place.host_dir(host)
    for name in ("zookeeper", "journal", "runs", "tmp"):
        (home / name).mkdir(parents=True, exist_ok=True)
    _furnish_release(place.install_dir(host) / "current")
    (home / "zookeeper" / "myid").write_text(f"{index}\n")
    values = {
        "tick_ms": str(TICK_MS), "port": str(ZOOKEEPER_PORT),
        "authority": str(place.trust / "authority.pem"),
    }  # fmt: skip
    write_form(place, host, "zoo.cfg", "zoo.cfg", values)
    servers = [
        f"server.{i}={one.address(place.prefix)}:2888:3888"
        for i, one in enumerate(SITE_HOSTS, start=1)
    ]
    with (home / "zoo.cfg").open("a") as file:
        file.write("\n".join(servers) + "\n")


def _furnish_release(current: Path) -> None:
    """Have a site's agent run from this very environment, unless something was deployed there."""
    current.parent.mkdir(exist_ok=True)
    if not current.exists():
        current.unlink(missing_ok=True)
        current.symlink_to(sys.prefix)


def _furnish_router(place: LabPlace, host: Host, fence: Path) -> None:
    other = next(site for site in TELEPHONY_SITES if site != host.network)
    values = {
        "other_site": other,
        **_own_and_other(place, host, PLATFORM_INSTANCES, "instance"),
        **_own_and_other(place, host, CALL_SERVERS, "call_server"),
    }
    write_form(place, host, "otn_router.cfg", "kamailio.cfg", values)
    tables = place.host_dir(host) / "dbtext"
    write_table(tables, "samu_number", _numbers(place))
    addresses = {s.samu_id: s.gateway.address(place.prefix) for s in place.samus}
    write_table(tables, "samu_address", addresses)
    write_table(tables, "samu_mode", {s.samu_id: "nominal" for s in place.samus})
    _furnish_fence(place, host, fence, "samu_mode", ["nominal", "degraded", "backup"])
    # No row: as long as nothing is evacuated, a router asks its own site first.
    write_table(tables, "samu_site", {})
    _furnish_fence(place, host, fence, "samu_site", list(TELEPHONY_SITES), name="site-fence")


def _own_and_other(
    place: LabPlace, host: Host, servers: tuple[Host, ...], what: str
) -> dict[str, str]:
    """Name the server of a host's own site, and the other site's."""
    return {
        f"{'own' if one.network == host.network else 'other'}_{what}": one.address(place.prefix)
        for one in servers
    }


def _numbers(place: LabPlace) -> dict[str, str]:
    return {number: s.samu_id for s in place.samus for number in (s.number, s.test_number)}


def _furnish_call_server(place: LabPlace, host: Host) -> None:
    values = {"desks": DESKS.address(place.prefix), "site": host.network}
    write_form(place, host, "call_server.cfg", "kamailio.cfg", values)
    write_table(place.host_dir(host) / "dbtext", "samu_number", _numbers(place))


def _furnish_gateway(place: LabPlace, samu: LabSamu, fence: Path) -> None:
    host = samu.gateway
    phones = PHONES.address(place.prefix)
    values = {"samu_id": samu.samu_id, "phones": phones}
    write_form(place, host, "samu_gateway.cfg", "kamailio.cfg", values)
    tables = place.host_dir(host) / "dbtext"
    write_table(tables, "samu_gateway", {samu.samu_id: "unarmed"})
    directory = place.host_dir(host) / "directory.csv"
    if not directory.exists():
        directory.write_text(f"desk 1;{samu.number[:-1]}1\ndesk 2;{samu.number[:-1]}2\n", "ascii")
    told = {"directory": str(directory)}
    _furnish_fence(place, host, fence, "samu_gateway", ["armed", "unarmed"], told)


def _furnish_fence(
    place: LabPlace,
    host: Host,
    fence: Path,
    table: str,
    values: list[str],
    told: Mapping[str, str] = MappingProxyType({}),
    *,
    name: str = "fence",
) -> None:
    home = place.host_dir(host)
    for directory in (name, "tmp"):
        (home / directory).mkdir(parents=True, exist_ok=True)
    shutil.copyfile(fence, home / "sisamu-fence")
    (home / "sisamu-fence").chmod(0o755)
    configuration = {
        "table": table,
        "values": values,
        "durable": str(home / "dbtext" / table),
        "kamcmd": [find_tool("kamcmd"), "-s", f"unix:{home}/kamailio.sock"],
        **told,
    }
    (home / name / "fence.json").write_text(json.dumps(configuration, indent=2) + "\n")


def _common(place: LabPlace, host: Host) -> dict[str, str]:
    return {
        "host": host.name,
        "address": host.address(place.prefix),
        "host_dir": str(place.host_dir(host)),
    }
