"""What the lab means by names, decided without touching the machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sisamu_ops.lab import requirements
from sisamu_ops.lab.calls import run_calls
from sisamu_ops.lab.database import furnish_database
from sisamu_ops.lab.lab import Lab
from sisamu_ops.lab.network import cuts_meant
from sisamu_ops.lab.processes import mentions
from sisamu_ops.lab.programs import all_programs, match_programs
from sisamu_ops.lab.roster import choose_samus, settle_roster
from sisamu_ops.lab.topology import (
    DATABASE_HOSTS,
    DATABASE_NODES,
    SAMUS,
    SITES,
    LabPlace,
    locate_lab,
)
from sisamu_ops.model.errors import ConfigurationError, RefusedError

NATIONAL = Path(__file__).parents[2] / "inventories/national"
NAMES = ("zookeeper-paris", "agent-paris", "npl-paris", "npl-lyon")


def test_one_site_is_cut_from_the_other_sites_only() -> None:
    """Carrier, gateways and operators stay linked to a site cut from the other sites."""
    assert cuts_meant(("paris",)) == {("lyon", "paris"), ("lille", "paris")}


def test_two_networks_are_one_link() -> None:
    """A pair means the same in either order."""
    assert cuts_meant(("ops", "lyon")) == cuts_meant(("lyon", "ops")) == {("lyon", "ops")}


@pytest.mark.parametrize("names", [("carrier",), ("nowhere",), (), ("paris", "paris")])
def test_what_names_no_link_is_refused_with_the_remedy(names: tuple[str, ...]) -> None:
    """A network alone, an unknown one, nothing, or one twice: a configuration error."""
    with pytest.raises(ConfigurationError) as caught:
        cuts_meant(names)
    assert caught.value.remedy


def test_programs_are_meant_by_name_or_glob() -> None:
    """Globs choose among the lab's programs and keep their order."""
    assert match_programs(("npl-*", "agent-paris"), NAMES) == NAMES[1:]


@pytest.mark.parametrize("patterns", [("npl-*", "typo"), ()])
def test_a_pattern_that_means_nothing_stops_the_command(patterns: tuple[str, ...]) -> None:
    """One idle pattern refuses the whole command and lists the names there are."""
    with pytest.raises(ConfigurationError, match="no program") as caught:
        match_programs(patterns, NAMES)
    assert "zookeeper-paris" in caught.value.remedy


def test_every_host_has_an_address_of_its_own() -> None:
    """No two hosts of the plan share an address, with every SAMU of the nation."""
    place = replace(locate_lab("unit"), samus=choose_samus(102, NATIONAL))
    addresses = [host.address("198.18") for host in place.all_hosts]
    assert len(set(addresses)) == len(addresses) == len(place.inventory_hosts) + 4
    assert len(place.gateways) == 102


def test_the_usual_samus_come_first_in_a_lab_of_any_size() -> None:
    """A larger lab has those of the usual one at the same addresses, then others of the nation."""
    twelve, nation = choose_samus(12, NATIONAL), choose_samus(102, NATIONAL)
    assert choose_samus(3, NATIONAL) == twelve[:3] == SAMUS
    assert nation[:12] == twelve
    assert len({samu.samu_id for samu in nation}) == 102


@pytest.mark.parametrize("count", [0, 2, 103])
def test_a_lab_no_nation_can_fill_is_refused(count: int) -> None:
    """Fewer than the usual SAMUs, or more than there are: the remedy says how many may be."""
    with pytest.raises(RefusedError) as caught:
        choose_samus(count, NATIONAL)
    assert "3 to 102" in caught.value.remedy


def test_a_lab_keeps_its_size_until_it_is_down(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The first `up` decides; another without a size keeps it, another size is refused."""
    monkeypatch.setenv("SISAMU_LAB_ROOT", str(tmp_path / "root"))
    lab = Lab("unit")
    assert lab.place.samus == SAMUS and lab.inventory.name == "lab"
    lab.place.root.mkdir()
    for wanted in (12, None, 12):
        settle_roster(lab.place, wanted, NATIONAL)
        lab = Lab("unit")
        assert lab.place.samus == choose_samus(12, NATIONAL)
    assert lab.inventory == lab.place.root / "inventory"
    with pytest.raises(RefusedError, match="has 12 SAMUs, not 3") as caught:
        settle_roster(lab.place, 3, NATIONAL)
    assert "lab down" in caught.value.remedy


def test_every_samu_has_its_programs() -> None:
    """Each gateway has a Kamailio and an sshd; agents come last and read the inventory given."""
    place = replace(locate_lab("unit"), samus=choose_samus(12, NATIONAL))
    programs = all_programs(place, Path("inventory"))
    names = [one.name for one in programs]
    for host in place.gateways:
        assert {host.name, f"sshd-{host.name}"} <= set(names)
    assert names[-3:] == ["agent-paris", "agent-lyon", "agent-lille"]
    assert all("inventory" in one.command for one in programs[-3:])
    assert {"ccs-paris", "ccs-lyon"} <= set(names)
    assert not {"sshd-ccs-paris", "sshd-npl-paris"} & set(names)


@pytest.mark.parametrize("name", ["two words", "../x", "-lab", "x" * 17])
def test_a_name_no_namespace_can_have_is_refused(name: str) -> None:
    """A lab's name becomes a file's and a namespace's name."""
    with pytest.raises(ConfigurationError):
        locate_lab(name)


@pytest.mark.parametrize("root", ["/", "/var", "var/lib/lab"])
def test_a_root_that_down_must_not_empty_is_refused(
    root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`lab down` deletes its root, so the root cannot be a directory of the system."""
    monkeypatch.setenv("SISAMU_LAB_ROOT", root)
    with pytest.raises(ConfigurationError):
        locate_lab("lab")


def test_all_that_is_missing_is_said_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Missing programs, jars and rights are one error whose remedy is the set-up script."""
    monkeypatch.setattr(requirements, "SEARCH_PATH", str(tmp_path))
    monkeypatch.setattr(requirements, "JARS", {tmp_path / "zookeeper.jar": "zookeeper"})
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(ConfigurationError) as caught:
        requirements.check_requirements()
    words = (
        "kamailio", "sip-tester", "nftables", "openssh-server", "zookeeper", "mariadb-server",
        "galera-arbitrator-4", "not root",
    )  # fmt: skip
    for word in words:
        assert word in caught.value.message
    assert "script/bootstrap" in caught.value.remedy
    assert "sudo" in caught.value.remedy


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> LabPlace:
    """A lab whose database has data, and of which nothing runs."""
    monkeypatch.setenv("SISAMU_LAB_ROOT", str(tmp_path / "root"))
    place = locate_lab("unit")
    for host in DATABASE_HOSTS:
        place.galera_dir(host).mkdir(parents=True)
    return place


@pytest.mark.parametrize(
    ("safe", "founding"),
    [({"db-paris"}, ["db-paris"]), ({"db-lyon"}, ["db-lyon"]), (set(), [])],
)
def test_up_founds_the_database_only_where_the_last_node_left(
    safe: set[str], founding: list[str], nodes: LabPlace
) -> None:
    """With no member running, grastate.dat says who may found; if it names nobody, nobody does."""
    for host in DATABASE_NODES:
        state = f"seqno: 7\nsafe_to_bootstrap: {int(host.name in safe)}\n"
        (nodes.galera_dir(host) / "grastate.dat").write_text(state)
    furnish_database(nodes)
    marks = sorted(path.parent.name for path in nodes.root.rglob("found-cluster"))
    assert marks == founding


def test_the_database_votes_with_one_member_at_each_site() -> None:
    """Two nodes where telephony is, the arbiter at the site that only votes; each may leave."""
    programs = {one.name: one for one in all_programs(locate_lab("unit"), Path("inventory"))}
    members = ("galera-paris", "galera-lyon", "garbd-lille")
    assert [host.network for host in DATABASE_HOSTS] == list(SITES)
    assert {programs[name].stop_wait_s for name in members} == {20}
    assert [name for name in programs if programs[name].sql] == list(members[:2])


@pytest.mark.parametrize("samus", [{"300": ""}, {}])
def test_calls_go_to_test_numbers_only(samus: dict[str, str]) -> None:
    """A SAMU without a test number is not called, and the refusal names the variable to set."""
    with pytest.raises(RefusedError) as caught:
        run_calls(Lab("unit").place, rate_per_s=1, duration_s=1, hold_ms=0, samus=samus)
    assert "samu_test_number" in caught.value.remedy


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("sshd\0-f\0/var/lib/sisamu-lab/hosts/paris/sshd_config", True),
        ("supervisord\0-c\0/var/lib/sisamu-lab/supervisord.conf", True),
        ("kamcmd\0-s\0unix:/var/lib/sisamu-lab/x.sock", True),
        ("sshd\0-f\0/var/lib/sisamu-lab2/sshd_config", False),
        ("ls\0/srv/var/lib/sisamu-lab/x", False),
        ("tail\0/var/lib/sisamu-lab.log", False),
    ],
)
def test_another_lab_s_processes_are_not_ours(words: str, said: bool) -> None:
    """A command line belongs to a lab only when it names something under that lab's root."""
    assert mentions(words, Path("/var/lib/sisamu-lab")) is said
