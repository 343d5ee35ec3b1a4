# SPDX-License-Identifier: GPL-3.0-or-later
# This file imports Ansible, so it is licensed as Ansible is.
"""The Ansible inventory, read and templated as Ansible reads it: the only topology."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar
from ansible.vars.manager import VariableManager

from sisamu_ops.failover.safety.settings import read_safety
from sisamu_ops.model.errors import ConfigurationError
from sisamu_ops.model.platform import (
    Credentials,
    Database,
    DatabaseHost,
    Platform,
    Policy,
    Samu,
    Site,
    SiteRole,
    Target,
    Waves,
    site_target,
)
from sisamu_ops.model.safety import Safety

_MISSING = object()


class _Problems:
    """Collects every problem of an inventory, so that one run shows them all."""

    def __init__(self, inventory: Path) -> None:
        self._inventory = inventory
        self._found: list[str] = []

    def note(self, where: str, what: str) -> None:
        problem = f"{where}: {what}"
        if problem not in self._found:
            self._found.append(problem)

    def raise_any(self) -> None:
        if self._found:
            raise ConfigurationError(
                "; ".join(self._found),
                place=str(self._inventory),
                remedy="mend the variables named, then look with `ansible-inventory --list`",
            )


class _Vars:
    """The templated variables of one host, each asked for by name and type."""

    def __init__(self, host: str, values: Mapping[str, Any], problems: _Problems) -> None:
        self.host = host
        self._values = values
        self._problems = problems

    def text(self, name: str, default: object = _MISSING) -> str:
        value = self._value(name, default)
        return str(value) if value is not None else ""

    def number(self, name: str, default: object = _MISSING) -> int:
        value = self._value(name, default)
        if value is None:
            return 0
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
        self.note(f"{name} must be a whole number above 0, not {value!r}")
        return 0

    def count(self, name: str, default: int) -> int:
        value = self._value(name, default)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
        self.note(f"{name} must be a whole number, not {value!r}")
        return default

    def texts(self, name: str, default: object = _MISSING) -> tuple[str, ...]:
        value = self._value(name, default)
        if value is None:
            return ()
        if isinstance(value, list | tuple):
            return tuple(str(item) for item in value)
        self.note(f"{name} must be a list, not {value!r}")
        return ()

    def words(self, name: str) -> dict[str, str]:
        value = self._value(name, None)
        if value is None:
            return {}
        if isinstance(value, Mapping):
            return {str(key): str(word) for key, word in value.items()}
        self.note(f"{name} must be a mapping, not {value!r}")
        return {}

    def mapping(self, name: str) -> dict[str, Any]:
        value = self._value(name, None)
        if value is None or isinstance(value, Mapping):
            return dict(value or {})
        self.note(f"{name} must be a mapping, not {value!r}")
        return {}

    def whatever(self, name: str) -> Any:
        """Return a variable as it is, None when there is none."""
        return self._value(name, None)

    def choice(self, name: str, default: str, choices: tuple[str, ...]) -> str:
        value = self.text(name, default)
        if value not in choices:
            self.note(f"{name} must be {' or '.join(choices)}, not {value!r}")
            return default
        return value

    def note(self, what: str) -> None:
        self._problems.note(self.host, what)

    def flag(self, name: str, default: bool) -> bool:
        value = self._value(name, default)
        if isinstance(value, bool):
            return value
        self.note(f"{name} must be true or false, not {value!r}")
        return default

    def path(self, name: str) -> Path:
        return Path(self.text(name))

    def _value(self, name: str, default: object) -> Any:
        if name in self._values:
            return self._values[name]
        if default is _MISSING:
            self.note(f"{name} is missing")
            return None
        return default


def load_platform(inventory: Path) -> Platform:
    """Read the inventory; ConfigurationError with every problem at once, each with its place."""
    if not inventory.exists():
        raise ConfigurationError(
            "no such inventory",
            place=str(inventory),
            remedy="name one with -i or SISAMU_INVENTORY, for example inventories/lab",
        )
    problems = _Problems(inventory)
    try:
        groups = _Groups(inventory, problems)
        platform = _platform(inventory, groups)
    except AnsibleError as error:
        raise ConfigurationError(
            str(error).splitlines()[0],
            place=str(inventory),
            remedy=f"run: ansible-inventory -i {inventory} --list",
        ) from error
    problems.raise_any()
    return platform


def match_hosts(inventory: Path, pattern: str) -> list[str]:
    """Return the hosts an Ansible pattern means (Ansible's manual, patterns); [] for none."""
    init_plugin_loader()
    manager = InventoryManager(loader=DataLoader(), sources=[str(inventory)])
    try:
        return [str(host.name) for host in manager.get_hosts(pattern)]
    except AnsibleError as error:
        raise ConfigurationError(
            str(error).splitlines()[0], place="--pattern", remedy="see Ansible's manual: patterns"
        ) from error


class _Groups:
    """The inventory's hosts by group, with templated variables."""

    def __init__(self, inventory: Path, problems: _Problems) -> None:
        init_plugin_loader()
        self._loader = DataLoader()
        self._inventory = InventoryManager(loader=self._loader, sources=[str(inventory)])
        self._variables = VariableManager(loader=self._loader, inventory=self._inventory)
        self._problems = problems

    def hosts(self, group: str) -> Iterator[_Vars]:
        if group not in self._inventory.groups:
            self._problems.note("inventory", f"group {group} is missing")
            return
        for host in self._inventory.get_hosts(group):
            yield self._vars(host)

    def hosts_if_any(self, group: str) -> Iterator[_Vars]:
        return self.hosts(group) if group in self._inventory.groups else iter(())

    def _vars(self, host: Any) -> _Vars:
        raw = self._variables.get_vars(host=host)
        templar = Templar(loader=self._loader, variables=raw)
        return _Vars(str(host.name), _Templated(raw, templar.template), self._problems)


class _Templated(dict[str, Any]):
    """Templates a variable when it is asked for: most never are."""

    def __init__(self, raw: Mapping[str, Any], template: Callable[[Any], Any]) -> None:
        super().__init__(raw)
        self._template = template

    def __getitem__(self, name: str) -> Any:
        return _plain(self._template(super().__getitem__(name)))


def _plain(value: Any) -> Any:
    """Return plain Python values: Ansible's are tagged with where they came from."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {_plain(key): _plain(item) for key, item in value.items()}
    return value


def _platform(inventory: Path, groups: _Groups) -> Platform:
    sites = {v.text("site_id"): _site(v) for v in groups.hosts("sites")}
    routers = list(groups.hosts("otn_routers"))
    gateways = list(groups.hosts("samus"))
    samus = {v.text("samu_id"): _samu(v, sites) for v in gateways}
    targets = {v.host: _target(v) for v in (*routers, *gateways)}
    targets |= {one.host: one for v in routers for one in _site_fence(v)}
    first = next(iter(groups.hosts("sites")), None)
    if first is None:
        raise ConfigurationError(
            "no site is declared", place=str(inventory), remedy="add hosts to the group sites"
        )
    return Platform(
        inventory=inventory, policy=_policy(first, sites), sites=sites, samus=samus,
        targets=targets,
        routers=tuple(v.host for v in routers), router_sites=dict(_router_sites(routers, sites)),
        platform_instances=tuple(v.host for v in groups.hosts("national_platform")),
        database=_database(first, list(groups.hosts_if_any("database"))),
    )  # fmt: skip


def _router_sites(routers: list[_Vars], sites: Collection[str]) -> Iterator[tuple[str, str]]:
    """Give each router's site, where the inventory says one."""
    for v in routers:
        site = v.text("site_id", "")
        if site and site not in sites:
            v.note(f"site_id {site!r} is no site: {', '.join(sites)}")
        elif site:
            yield v.host, site


def _address(v: _Vars) -> str:
    text = v.text("ansible_host", v.host)
    try:
        ipaddress.ip_address(text)
    except ValueError:
        v.note(f"ansible_host {text!r} is not an IP address")
    return text


def _site(v: _Vars) -> Site:
    role = v.text("site_role")
    if role not in {r.value for r in SiteRole}:
        v.note(f"site_role must be telephony or arbiter, not {role!r}")
        role = SiteRole.ARBITER.value
    return Site(
        site_id=v.text("site_id"), role=SiteRole(role), address=_address(v),
        home=v.path("sisamu_home"), network_namespace=v.text("sisamu_site_namespace", ""),
    )  # fmt: skip


def _samu(v: _Vars, sites: Collection[str]) -> Samu:
    site = v.text("samu_site", "")
    if site and site not in sites:
        v.note(f"samu_site {site!r} is no site: use {', '.join(sites)}")
    return Samu(
        samu_id=v.text("samu_id"), name=v.text("samu_name"), gateway=v.host,
        number=v.text("samu_number"), test_number=v.text("samu_test_number", ""),
        bridge=v.text("samu_bridge", ""), region=v.text("samu_region", ""),
        fallback_numbers=v.texts("samu_fallback_numbers", ()), site=site,
    )  # fmt: skip


def _target(v: _Vars) -> Target:
    return Target(
        host=v.host, address=_address(v), user=v.text("ansible_user", "root"),
        fence_command=v.texts("sisamu_fence_command"), fence_dir=v.text("sisamu_fence_dir"),
    )  # fmt: skip


def _site_fence(v: _Vars) -> Iterator[Target]:
    """Give the router's second fence, where it has one: of the sites it asks first."""
    directory = v.text("sisamu_site_fence_dir", "")
    if directory and not v.text("site_id", ""):
        v.note("sisamu_site_fence_dir is given, but site_id is missing")
    elif directory:
        yield replace(_target(v), host=site_target(v.host), fence_dir=directory)


#: What `sisamu_database` may say; `none` where the platform's database is not looked at.
_DATABASES = ("none", "oracle_rac", "galera")


def _database(policy: _Vars, hosts: list[_Vars]) -> Database | None:
    kind = policy.choice("sisamu_database", "none", _DATABASES)
    if kind == "none":
        return None
    if not hosts:
        policy.note("sisamu_database is declared, but the group database has no host")
        return None
    first = hosts[0]
    return Database(
        kind=kind, hosts={v.host: _database_host(v, kind) for v in hosts},
        command_ms=first.number("sisamu_database_command_ms", 5_000),
        deadline_ms=first.number("sisamu_database_deadline_ms", 20_000),
        version=_version(first), databases=first.texts("sisamu_rac_databases", ()),
        voting_files=first.words("sisamu_rac_voting_files"),
        data_guard=first.flag("sisamu_rac_data_guard", True),
        site_loss_degrades=first.choice(
            "sisamu_database_site_loss", "warning", ("warning", "degraded")) == "degraded",
    )  # fmt: skip


def _version(v: _Vars) -> str:
    text = v.text("sisamu_database_version", "")
    if text and not all(word.isdecimal() for word in text.split(".")):
        v.note(f"sisamu_database_version {text!r} is not a version such as 19.24")
        return ""
    return text


def _database_host(v: _Vars, kind: str) -> DatabaseHost:
    role = v.choice("database_role", "data", ("data", "arbiter"))
    galera = kind == "galera" and role == "data"
    return DatabaseHost(
        host=v.host, address=_address(v), user=v.text("ansible_user", "root"),
        site=v.text("site_id"), is_arbiter=role == "arbiter",
        weight=v.count("sisamu_rac_weight", 0), votes=v.count("sisamu_galera_weight", 1),
        sudo=v.texts("sisamu_rac_sudo", ()), database_sudo=v.texts("sisamu_rac_database_sudo", ()),
        path=v.texts("sisamu_rac_path", ()), environment=v.words("sisamu_rac_environment"),
        broker_environment=v.words("sisamu_rac_broker_environment"),
        client=v.texts("sisamu_galera_client") if galera else (),
        directory=v.text("sisamu_galera_directory") if galera else "",
    )  # fmt: skip


def _policy(v: _Vars, sites: Collection[str]) -> Policy:
    identity = v.text("sisamu_identity", "")
    return Policy(
        platform=v.text("sisamu_platform"), coordination=v.text("sisamu_coordination"),
        zookeeper=v.texts("sisamu_zookeeper", ()),
        session_timeout_ms=v.number("sisamu_session_timeout_ms"),
        tick_ms=v.number("sisamu_tick_ms"), hold_off_ms=v.number("sisamu_hold_off_ms"),
        site_order=v.texts("sisamu_site_order"), mode_order=v.texts("sisamu_mode_order"),
        allowed_signers=v.path("sisamu_allowed_signers"), known_hosts=v.path("sisamu_known_hosts"),
        verify_policy=v.path("sisamu_policy"), identity=Path(identity) if identity else None,
        network_namespace=v.text("sisamu_network_namespace", ""),
        bridge=v.text("sisamu_bridge", ""), operators=v.texts("sisamu_operators"),
        journal_keep=v.number("sisamu_journal_keep", 1_000),
        untrimmed_limit=v.number("sisamu_untrimmed_limit", 20_000),
        is_lab=v.flag("sisamu_lab", False), zookeeper_credentials=_credentials(v),
        waves=_waves(v), safety=_safety(v, sites),
    )  # fmt: skip


def _waves(v: _Vars) -> Waves:
    """Read `sisamu_waves`: canary, growth, at_most, soak_ms, rescue, each with its default."""
    asked = v.mapping("sisamu_waves")
    known = {f.name for f in fields(Waves)}
    for name in set(asked) - known:
        v.note(f"sisamu_waves has no {name}: it has {', '.join(sorted(known))}")
    numbers = {name: value for name, value in asked.items() if name in known}
    for name, value in numbers.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < (name != "soak_ms"):
            v.note(f"sisamu_waves.{name} must be a whole number above 0, not {value!r}")
            return Waves()
    return Waves(**numbers)


def _safety(v: _Vars, sites: Collection[str]) -> Safety:
    safety, problems = read_safety(v.whatever("sisamu_safety"), sites)
    for problem in problems:
        v.note(problem)
    return safety


def _credentials(v: _Vars) -> Credentials | None:
    """Return the operator's credentials: all three files, or none where there is no TLS."""
    names = ("authority", "certificate", "key")
    given = {name: v.text(f"sisamu_zookeeper_{name}", "") for name in names}
    if not any(given.values()):
        return None
    for name in (name for name in names if not given[name]):
        v.note(f"sisamu_zookeeper_{name} is missing: the others are given")
    return Credentials(**{name: Path(value) for name, value in given.items()})
