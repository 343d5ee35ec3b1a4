"""The inventory is the only topology: the lab's is the lab, a wrong one says all its problems."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from itertools import chain
from pathlib import Path

import pytest
from supervisor.datatypes import dict_of_key_value_pairs
from supervisor.options import expand

from sisamu_ops.doors.inventory import load_platform
from sisamu_ops.failover.safety import RULES
from sisamu_ops.lab import topology
from sisamu_ops.lab.roster import choose_samus, write_inventory
from sisamu_ops.lab.supervisor import _quoted
from sisamu_ops.leadership.contending import check_votes
from sisamu_ops.model.errors import ConfigurationError
from sisamu_ops.model.platform import Platform, SiteRole, router_of, site_target
from sisamu_ops.model.safety import OutsideNominal, Safety

# Ansible is set up once a process; here one process reads many inventories.
pytestmark = pytest.mark.filterwarnings("ignore:AnsibleCollectionFinder")

LAB = Path(__file__).resolve().parents[2] / "inventories/lab"
NATIONAL = LAB.with_name("national")
#: RFC 5737 and RFC 2544; and the blocks Arcep keeps for fiction.
RESERVED = [ip_network(one) for one in
            ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "198.18.0.0/15")]  # fmt: skip
FICTION = ("046571", "035301", "053649", "019900", "026191", "063998")
PREFIX = topology.NAMESPACE_PREFIX


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> topology.LabPlace:
    monkeypatch.setenv("SISAMU_LAB_ROOT", str(tmp_path / "root"))
    monkeypatch.setenv("SISAMU_LAB_NAME", "nosuchlab")
    return topology.locate_lab()


@pytest.fixture
def lab(place: topology.LabPlace) -> Platform:
    return load_platform(LAB)


def test_the_sites_are_those_of_the_plan(lab: Platform, place: topology.LabPlace) -> None:
    """Sites, addresses, homes and roles as the lab builds them; together they can elect."""
    assert {s.site_id: s.address for s in lab.sites.values()} == {
        host.name: host.address(PREFIX) for host in topology.SITE_HOSTS
    }
    assert {s.site_id: s.home for s in lab.sites.values()} == {
        site: place.host_dir(site) for site in topology.SITES
    }
    leading = {s.site_id for s in lab.sites.values() if s.role is SiteRole.TELEPHONY}
    assert leading == set(topology.TELEPHONY_SITES) == set(lab.policy.site_order)
    check_votes(lab)


def test_the_targets_are_those_of_the_plan(lab: Platform, place: topology.LabPlace) -> None:
    """Every fenced host is a target at its address, with its own fence."""
    fenced = {host.name: host for host in place.fenced_hosts}
    routers = {host.name for host in topology.ROUTERS}
    assert set(lab.targets) == set(fenced) | {site_target(router) for router in routers}
    assert lab.site_targets == {router: site_target(router) for router in routers}
    assert lab.routers == tuple(host.name for host in topology.ROUTERS)
    assert lab.platform_instances == tuple(host.name for host in topology.PLATFORM_INSTANCES)
    for target in lab.targets.values():
        name = router_of(target.host)
        directory = "fence" if name == target.host else "site-fence"
        assert target.address == fenced[name].address(PREFIX)
        assert target.fence_dir == str(place.host_dir(name) / directory)
        assert target.fence_command[-1] == str(place.host_dir(name) / "sisamu-fence")


def test_the_samus_are_those_of_the_plan(lab: Platform) -> None:
    """Each SAMU with its gateway and numbers; identifiers are text."""
    assert {s.samu_id for s in topology.SAMUS} == set(lab.samus)
    for wanted in topology.SAMUS:
        samu = lab.samus[wanted.samu_id]
        assert (samu.gateway, samu.number) == (wanted.gateway.name, wanted.number)
        assert samu.test_number == wanted.test_number
        assert samu.fallback_numbers
        assert samu.bridge


def test_the_policy_is_that_of_the_plan(lab: Platform, place: topology.LabPlace) -> None:
    """Platform, operators, servers and trust files are where the lab puts them."""
    policy = lab.policy
    assert (policy.platform, policy.origin) == (topology.PLATFORM, topology.ORIGIN)
    assert set(policy.operators) == {name for name in topology.OPERATORS.values() if name}
    servers = [f"{h.address(PREFIX)}:{topology.ZOOKEEPER_PORT}" for h in topology.SITE_HOSTS]
    assert list(policy.zookeeper) == servers
    assert policy.zookeeper_credentials is not None
    assert policy.zookeeper_credentials.certificate.parent == place.operator_tls
    assert policy.allowed_signers.parent == policy.known_hosts.parent == place.trust
    assert policy.verify_policy == place.trust / "policy.json"
    assert policy.network_namespace == "nosuchlab-ops"
    assert (policy.session_timeout_ms, policy.tick_ms) == (4000, 500)


def test_a_lab_on_loopback_has_no_namespace(place: topology.LabPlace) -> None:
    """The prefix that `lab up` noted moves every address, and nothing is entered."""
    place.root.mkdir()
    (place.root / "prefix").write_text(topology.LOOPBACK_PREFIX)
    lab = load_platform(LAB)
    assert lab.policy.network_namespace == ""
    addresses = [
        *(s.address for s in lab.sites.values()),
        *(t.address for t in lab.targets.values()),
    ]
    assert all(address.startswith(topology.LOOPBACK_PREFIX + ".") for address in addresses)


# --- larger labs, and the nation ----------------------------------------------------------


def test_a_larger_lab_has_an_inventory_of_its_plan(place: topology.LabPlace) -> None:
    """Every SAMU of the plan, at its gateway's address, and all else as in the usual lab."""
    larger = replace(place, samus=choose_samus(102, NATIONAL))
    written, usual = load_platform(write_inventory(larger, LAB)), load_platform(LAB)
    assert {s.samu_id: (s.name, s.region, s.number, s.test_number, s.gateway)
            for s in written.samus.values()} == {
        s.samu_id: (s.name, s.region, s.number, s.test_number, s.gateway.name)
        for s in larger.samus
    }  # fmt: skip
    for host in larger.fenced_hosts:
        assert written.targets[host.name].address == host.address(PREFIX)
    assert (written.policy, written.sites, written.routers, written.database) == (
        usual.policy, usual.sites, usual.routers, usual.database,
    )  # fmt: skip
    for samu_id, samu in usual.samus.items():
        assert written.samus[samu_id] == samu


@pytest.fixture(scope="module")
def nation() -> Platform:
    return load_platform(NATIONAL)


def test_the_nation_has_its_samus(nation: Platform) -> None:
    """All 102, with the identifiers that are public; two departments have two each."""
    known = set(nation.samus)
    assert len(known) == 102
    assert all(re.fullmatch(r"[0-9][0-9AB]{2}", samu_id) for samu_id in known)
    assert known >= {"300", "680", "750", "76B", "971", "64A", "64B", "76A", "2A0", "2B0"}
    assert nation.samus["300"].name == "Nîmes"
    assert len({samu.region for samu in nation.samus.values()}) == 18
    assert all(samu.bridge for samu in nation.samus.values())
    check_votes(nation)


def test_the_nations_databases_are_asked_as_a_rac(nation: Platform) -> None:
    """Two nodes at each telephony site, and a voting file at every site."""
    assert nation.database is not None
    assert nation.database.kind == "oracle_rac"
    assert set(nation.database.voting_files.values()) == set(nation.sites)
    assert {host.site for host in nation.database.hosts.values()} == {"paris", "lyon"}


def test_nobody_of_the_nation_can_be_reached_or_called(nation: Platform) -> None:
    """Addresses are those kept for documentation and tests, numbers those kept for fiction."""
    targets = [t for t in nation.targets.values() if t.host == router_of(t.host)]
    hosts = [s.address for s in nation.sites.values()], [t.address for t in targets]
    addresses = [ip_address(one) for one in chain(*hosts)]
    assert len(set(addresses)) == len(addresses) == 3 + 2 + 102
    assert not [one for one in addresses if not any(one in kept for kept in RESERVED)]
    numbers = [
        number
        for s in nation.samus.values()
        for number in (s.number, s.test_number, *s.fallback_numbers)
    ]
    assert len(set(numbers)) == len(numbers) == 4 * 102
    written = re.findall(r"\b0\d{9}\b", "".join(f.read_text() for f in NATIONAL.rglob("*.yml")))
    assert set(numbers) < set(written)
    assert not [one for one in written if not one.startswith(FICTION)]


def test_every_rule_is_in_force_for_the_nation(nation: Platform) -> None:
    """The example shows each rule that an inventory may put in force, and waves that soak."""
    rules = [rule.rule_id for rule in RULES.values() if rule.needs_settings]
    assert [rule for rule in rules if nation.policy.safety.settings(rule) is None] == []
    waves = nation.policy.waves
    assert (waves.canary, waves.soak_ms >= 60_000) == (1, True)


def test_the_nation_is_no_lab(nation: Platform) -> None:
    """No fault may be injected there, and a rescue tries central telephony first."""
    assert not nation.policy.is_lab
    assert nation.policy.mode_order == ("degraded", "backup")


Change = Callable[[str], str]


@pytest.fixture
def changed(tmp_path: Path) -> Callable[[Change], Path]:
    """Copy the lab's inventory with every file put through a change."""

    def copy(change: Change) -> Path:
        shutil.copytree(LAB, inventory := tmp_path / "inventory")
        for file in inventory.rglob("*.yml"):
            file.write_text(change(file.read_text()))
        return inventory

    return copy


def without(*names: str) -> Change:
    lines = re.compile(rf"^ *({'|'.join(names)}):.*\n((?: +- .*\n)*)", re.MULTILINE)
    return lambda text: lines.sub("", text)


def instead(name: str, value: str) -> Change:
    line = re.compile(rf"^( *{name}:).*\n((?: +- .*\n)*)", re.MULTILINE)
    return lambda text: line.sub(rf"\1 {value}\n", text)


def problems(inventory: Path) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load_platform(inventory)
    assert caught.value.place == str(inventory)
    assert caught.value.remedy
    return caught.value.message


NEEDED = [
    "site_id", "site_role", "samu_id", "samu_name", "samu_number", "sisamu_platform",
    "sisamu_coordination", "sisamu_session_timeout_ms", "sisamu_tick_ms", "sisamu_site_order",
    "sisamu_hold_off_ms", "sisamu_mode_order", "sisamu_allowed_signers", "sisamu_known_hosts",
    "sisamu_policy", "sisamu_operators", "sisamu_home", "sisamu_fence_command", "sisamu_fence_dir",
]  # fmt: skip


def test_every_missing_variable_is_named_at_once(changed: Callable[[Change], Path]) -> None:
    """One run names all that is missing, each with a host that lacks it."""
    said = problems(changed(without(*NEEDED)))
    assert [name for name in NEEDED if f": {name} is missing" not in said] == []


WRONG = [
    ("sisamu_tick_ms", "soon", "whole number"),
    ("sisamu_tick_ms", "0", "whole number"),
    ("sisamu_hold_off_ms", "true", "whole number"),
    ("sisamu_session_timeout_ms", "1.5", "whole number"),
    ("sisamu_site_order", "paris", "must be a list"),
    ("sisamu_operators", "{a: b}", "must be a list"),
    ("sisamu_fence_command", "python3", "must be a list"),
    ("site_role", "observer", "telephony or arbiter"),
    ("ansible_host", "paris.example", "not an IP address"),
]


@pytest.mark.parametrize(("name", "value", "said"), WRONG)
def test_a_variable_of_another_type_is_named(
    name: str, value: str, said: str, changed: Callable[[Change], Path]
) -> None:
    """A number that is none, a list that is none, a role or address nobody has: told as such."""
    message = problems(changed(instead(name, value)))
    assert said in message
    assert name in message


def test_missing_and_mistyped_are_told_together(changed: Callable[[Change], Path]) -> None:
    """Problems of one kind do not hide those of another, nor is one told twice."""
    lacking, wrong = without("samu_name"), instead("sisamu_tick_ms", "soon")
    message = problems(changed(lambda text: wrong(lacking(text))))
    assert message.count("samu_name is missing") == 3
    assert message.count("sisamu_tick_ms") == 1


def test_missing_groups_are_named(tmp_path: Path) -> None:
    """An inventory without sites, routers or SAMUs is none of a platform."""
    (inventory := tmp_path / "hosts.yml").write_text("all:\n  hosts:\n    lonely:\n")
    with pytest.raises(ConfigurationError) as caught:
        load_platform(inventory)
    assert "site" in caught.value.message
    assert caught.value.remedy


def test_a_template_that_fails_is_told(changed: Callable[[Change], Path]) -> None:
    """A variable that refers to what is not there is a problem of the inventory, not a crash."""
    assert problems(changed(instead("sisamu_platform", '"{{ no_such_variable }}"')))


# --- the database ------------------------------------------------------------------------


def test_the_database_is_that_of_the_plan(lab: Platform, place: topology.LabPlace) -> None:
    """Two data nodes and the arbiter, each with its site, and how a node is asked."""
    assert lab.database is not None
    assert lab.database.kind == "galera"
    hosts = lab.database.hosts
    assert {name: (h.site, h.address) for name, h in hosts.items()} == {
        host.name: (host.network, host.address(PREFIX)) for host in topology.DATABASE_HOSTS
    }
    assert [name for name, one in hosts.items() if one.is_arbiter] == ["db-lille"]
    directory = place.galera_dir(topology.DATABASE_NODES[0])
    assert hosts["db-paris"].directory == str(directory)
    assert f"--socket={directory}/mariadb.sock" in hosts["db-paris"].client


def also(text: str) -> Change:
    """Add lines to the variables of the group of the database."""
    marker = "sisamu_galera_directory:"
    return lambda old: f"{old}{text}\n" if marker in old and "lookup(" not in old else old


WRONG_DATABASE = [
    (instead("sisamu_database", "db2"), "sisamu_database must be none or oracle_rac or galera"),
    (instead("database_role", "witness"), "database_role must be data or arbiter"),
    (also("sisamu_database_version: nineteen"), "is not a version such as 19.24"),
    (also("sisamu_rac_voting_files: [/dev/a]"), "sisamu_rac_voting_files must be a mapping"),
    (also("sisamu_rac_data_guard: perhaps"), "sisamu_rac_data_guard must be true or false"),
    (also("sisamu_rac_weight: heavy"), "sisamu_rac_weight must be a whole number"),
    (also("sisamu_database_site_loss: often"), "must be warning or degraded"),
    (also("sisamu_database_command_ms: 0"), "sisamu_database_command_ms must be a whole number"),
    (without("sisamu_galera_client"), "sisamu_galera_client is missing"),
    (without("sisamu_galera_directory"), "'sisamu_galera_directory' is undefined"),
    (
        lambda text: text.replace("    database:\n", "    other:\n"),
        "the group database has no host",
    ),
]


@pytest.mark.parametrize(
    ("change", "said"), WRONG_DATABASE, ids=[said for _, said in WRONG_DATABASE]
)
def test_a_wrong_database_is_told(
    change: Change, said: str, changed: Callable[[Change], Path]
) -> None:
    """Each variable by its name, with what it may be."""
    assert said in problems(changed(change))


def test_a_platform_need_not_have_a_database(changed: Callable[[Change], Path]) -> None:
    """Nothing is declared, and nothing is asked, whatever hosts there are."""
    assert load_platform(changed(without("sisamu_database"))).database is None


def test_a_rac_is_declared_with_all_it_needs(changed: Callable[[Change], Path]) -> None:
    """Paths, sudo, environment and voting files reach whoever asks."""
    settings = also(
        "sisamu_database_version: '19.24'\n"
        "sisamu_rac_sudo: [sudo, -n, -u, grid]\nsisamu_rac_path: [/u01/grid/bin]\n"
        "sisamu_rac_environment: {ORACLE_SID: +ASM1}\n"
        "sisamu_rac_voting_files: {/dev/vote1: paris}\nsisamu_rac_databases: [samu]"
    )
    kind = instead("sisamu_database", "oracle_rac")
    database = load_platform(changed(lambda text: kind(settings(text)))).database
    assert database is not None
    assert (database.version, database.databases) == ("19.24", ("samu",))
    assert dict(database.voting_files) == {"/dev/vote1": "paris"}
    host = database.hosts["db-paris"]
    assert (host.sudo[-1], host.path) == ("grid", ("/u01/grid/bin",))
    assert dict(host.environment) == {"ORACLE_SID": "+ASM1"}


# --- safety rules ------------------------------------------------------------------------


def safety(value: str) -> Change:
    """Set the safety rules, in the lines of a YAML mapping."""
    return instead("sisamu_safety", value)


def test_the_lab_puts_nothing_in_force_unless_it_is_told(
    lab: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own tests disturb what they move; one that wants a rule says so in the environment."""
    assert lab.policy.safety == Safety()
    assert lab.router_sites == {f"otn-{site}": site for site in topology.TELEPHONY_SITES}
    monkeypatch.setenv("SISAMU_LAB_SAFETY", '{"outside-nominal": {"at_most": 2}}')
    assert load_platform(LAB).policy.safety == Safety(outside_nominal=OutsideNominal(at_most=2))
    assert "SISAMU_LAB_SAFETY" in topology.SETTINGS


def test_programs_of_the_lab_get_the_rules_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """JSON passes the supervisor's configuration as it is."""
    text = '{"outside-nominal": {"at_most": 2}, "freeze-window": [{"name": "100 %"}]}'
    written = f"A={_quoted('x')},SAFETY={_quoted(text)},B={_quoted('y')}"
    read = dict_of_key_value_pairs(expand(written, {}, "environment"))
    assert read == {"A": "x", "SAFETY": text, "B": "y"}


def test_a_platform_need_not_say_anything_of_rules(changed: Callable[[Change], Path]) -> None:
    """Without the variable only those are in force that always are."""
    assert load_platform(changed(without("sisamu_safety"))).policy.safety == Safety()


def test_instants_may_be_written_with_quotes_or_without(
    changed: Callable[[Change], Path],
) -> None:
    """YAML reads an instant as one: both mean the same."""
    window = "{name: a, from: 2026-07-14T00:00:00Z, to: '2026-07-15T00:00:00Z'}"
    platform = load_platform(changed(safety(f"{{freeze-window: [{window}]}}")))
    freeze = platform.policy.safety.freeze_window
    assert freeze is not None
    assert freeze.free_from(datetime(2026, 7, 14, tzinfo=UTC)) == datetime(2026, 7, 15, tzinfo=UTC)


def test_wrong_safety_rules_are_told_with_all_else(changed: Callable[[Change], Path]) -> None:
    """Each by its rule, its setting and what it may be, beside problems of another kind."""
    wrong = (
        "{outside-nominal: {at_most: many}, mode-known: {blocks: [failover]}, speed-limit: {},"
        " freeze-window: [{name: n, days: [fri], from: 18:00, to: '08:00'}]}"
    )
    rules, tick = safety(wrong), instead("sisamu_tick_ms", "soon")
    message = problems(changed(lambda text: tick(rules(text))))
    for said in (
        "sisamu_safety.outside-nominal: at_most must be a whole number",
        "sisamu_safety.mode-known: blocks names failover: a rescue is never blocked",
        "sisamu_safety: speed-limit is no rule: use test-number",
        "sisamu_safety.freeze-window.windows[0]: from must be an hour of the day in quotes",
        "sisamu_tick_ms must be a whole number",
    ):
        assert message.count(said) == 1, said


def test_a_router_stands_at_a_site_there_is(changed: Callable[[Change], Path]) -> None:
    """One of no site is told; one whose site is not said stands nowhere."""
    elsewhere = changed(
        lambda text: text.replace("site_id: lyon\n    # Galera", "site_id: bonn\n    # Galera")
    )
    assert "otn-lyon: site_id 'bonn' is no site: paris, lyon, lille" in problems(elsewhere)
