"""Galera and ZooKeeper: what is made of what the members say, and who may be bootstrapped."""

from __future__ import annotations

import pytest

from sisamu_ops.model.errors import ConfigurationError, RefusedError
from sisamu_ops.quorum.capture import REFUSED, Capture, HostCapture, Output
from sisamu_ops.quorum.galera.assess import assess_galera
from sisamu_ops.quorum.galera.bootstrap import plan_bootstrap
from sisamu_ops.quorum.galera.reading import read_galera
from sisamu_ops.quorum.verdict import Severity, Verdict
from sisamu_ops.quorum.zookeeper import assess_zookeeper
from tests.support.galera import DECLARED, MEMBERS, down, ensemble, galera, node, server

PAIR = ("db-paris", "db-lille")
CROWD = (*MEMBERS, "db-x")
ALONE = {"galera.member-missing", "quorum.no-margin"}
UNREACHED = HostCapture(unreachable="no answer over SSH in time")


def grave(findings: object) -> set[str]:
    """Return the ids of findings that make a verdict worse."""
    return {one.finding_id for one in findings if one.severity > Severity.WARNING}  # type: ignore[attr-defined]


GALERA = {
    "whole": (node(), node(), "QUORATE", set()),
    "clean leave": (node(PAIR), down(40), "DEGRADED", ALONE),
    "crash": (node(PAIR), down(), "DEGRADED", ALONE),
    "cut off and answering": (
        node(PAIR),
        node(("db-lyon",), status="non-Primary"),
        "DEGRADED",
        {"galera.member-missing", "galera.non-primary", "quorum.no-margin"},
    ),
    "arbiter gone": (
        node(MEMBERS[:2]),
        node(MEMBERS[:2]),
        "DEGRADED",
        {"galera.member-missing", "quorum.no-margin"},
    ),
    "no primary": (
        node(("db-paris",), status="non-Primary"),
        node(("db-lyon",), status="non-Primary"),
        "LOST",
        {"galera.no-primary", "galera.non-primary"},
    ),
    "both down": (down(), down(), "LOST", {"galera.no-primary"}),
    "one silent, one not primary": (
        node(("db-paris",), status="non-Primary"),
        UNREACHED,
        "UNKNOWN",
        {"galera.unheard", "galera.non-primary", "host.unreachable"},
    ),
    "one silent, one primary with it": (node(), UNREACHED, "DEGRADED", {"host.unreachable"}),
    "two primaries": (
        node(("db-paris",)),
        node(("db-lyon", "db-lille")),
        "UNKNOWN",
        {"galera.two-primaries", "galera.member-missing"},
    ),
    "views differ": (node(conf=3), node(conf=4), "UNKNOWN", {"galera.views-differ"}),
    "catching up": (node(), node(state="Joined"), "DEGRADED", {"galera.not-synced"}),
    "a stranger": (node(CROWD), node(CROWD), "DEGRADED", {"galera.stranger"}),
}  # fmt: skip


@pytest.mark.parametrize("case", GALERA)
def test_what_is_made_of_two_data_nodes(case: str) -> None:
    """Only a node's own word that it is Primary counts; who is missing is named."""
    paris, lyon, verdict, findings = GALERA[case]
    assessment = assess_galera(galera(paris, lyon))
    assert assessment.verdict is Verdict(verdict), assessment.findings
    assert grave(assessment.findings) == findings


@pytest.mark.parametrize("content", [b"", b"\x00\xff" * 5000, b"wsrep_cluster_status\tPrimary\n"])
def test_nonsense_of_one_node_is_no_good_news(content: bytes) -> None:
    """The other is Primary with it: DEGRADED; alone it is UNKNOWN."""
    raving = HostCapture(outputs={"wsrep_status": Output(content=content, status=0)})
    assert assess_galera(galera(node(), raving)).verdict is Verdict.DEGRADED
    assert assess_galera(galera(raving, raving)).verdict is Verdict.UNKNOWN


def test_votes_are_the_nodes_own_word() -> None:
    """pc.weight as read decides what one more loss would do."""
    heavy = assess_galera(galera(node(weight=2), node()))
    lost = {p.losses[0].name: p.verdict for p in heavy.prospects}
    assert lost["db-paris"] is Verdict.LOST  # 2 of 4 votes are not more than half
    assert lost["db-lyon"] is Verdict.DEGRADED


def alone(paris: HostCapture, lyon: HostCapture) -> Capture:
    """Return a capture without a primary component."""
    return Capture(declared=DECLARED, hosts={"db-paris": paris, "db-lyon": lyon})


def test_a_bootstrap_is_refused_beside_a_primary_component() -> None:
    """A second primary component splits the data: the remedy is to come back to the first."""
    with pytest.raises(RefusedError, match="a primary component exists at db-paris"):
        plan_bootstrap(read_galera(galera(node(PAIR), down(40))))


def test_a_bootstrap_is_refused_while_somebody_was_not_heard() -> None:
    """Out of sight a primary component may live; declared dead by name, it is not waited for."""
    capture = alone(node(("db-paris",), status="non-Primary"), UNREACHED)
    with pytest.raises(RefusedError, match="not heard: db-lyon") as refused:
        plan_bootstrap(read_galera(capture))
    assert "--dead db-lyon" in refused.value.remedy
    plan = plan_bootstrap(read_galera(capture), dead=("db-lyon",))
    assert plan.node == "db-paris"
    assert plan.steps[0].startswith("stop garbd on db-lille")
    assert "pc.bootstrap=YES" in plan.steps[1]


def test_the_node_furthest_ahead_is_bootstrapped() -> None:
    """What another node has and the chosen one has not would be lost."""
    capture = alone(node(("db-paris",), status="non-Primary", committed=41), down(42))
    assert plan_bootstrap(read_galera(capture)).node == "db-lyon"
    assert "on db-lyon: galera_new_cluster" in plan_bootstrap(read_galera(capture)).steps
    with pytest.raises(RefusedError, match="db-paris stands at 41, db-lyon at 42"):
        plan_bootstrap(read_galera(capture), wanted="db-paris")


def test_a_crashed_node_must_say_how_far_it_got() -> None:
    """A seqno of -1 is not a position: it may be furthest ahead."""
    capture = alone(node(("db-paris",), status="non-Primary"), down(-1))
    with pytest.raises(RefusedError, match="how far db-lyon got is not known"):
        plan_bootstrap(read_galera(capture))


def test_after_a_crash_of_all_a_person_says_who_is_furthest() -> None:
    """Both crashed: each recovers its seqno by hand, then one is named and the other declared."""
    with pytest.raises(RefusedError, match="not known") as refused:
        plan_bootstrap(read_galera(alone(down(-1), down(-1))))
    assert "--wsrep-recover" in refused.value.remedy
    plan = plan_bootstrap(
        read_galera(alone(down(-1), down(-1))), dead=("db-paris",), wanted="db-lyon"
    )
    assert (plan.node, plan.seqno) == ("db-lyon", -1)
    assert any("safe_to_bootstrap: 1" in one for one in plan.steps)


def test_a_node_that_answers_is_not_dead() -> None:
    """Neither is one that nobody knows."""
    capture = alone(node(("db-paris",), status="non-Primary"), down(40))
    with pytest.raises(ConfigurationError, match="db-paris answers"):
        plan_bootstrap(read_galera(capture), dead=("db-paris",))
    with pytest.raises(ConfigurationError, match="no data node 'db-x'"):
        plan_bootstrap(read_galera(capture), dead=("db-x",))
    with pytest.raises(RefusedError, match="no data node is left"):
        plan_bootstrap(read_galera(alone(down(1), down(1))), dead=("db-paris", "db-lyon"))


DOWN = HostCapture(unreachable=REFUSED)
LEADER = server("leader", synced="2")
ENSEMBLES = {
    "whole": ({"paris": LEADER, "lyon": server(), "lille": server()}, "QUORATE", set()),
    "one gone": (
        {"paris": server("leader", synced="1"), "lyon": server(), "lille": UNREACHED},
        "DEGRADED",
        {"host.unreachable", "quorum.no-margin"},
    ),
    "one in no quorum": (
        {"paris": server("leader", synced="1"), "lyon": server(), "lille": server("")},
        "DEGRADED",
        {"zookeeper.not-serving", "quorum.no-margin"},
    ),
    "none serves": (
        {"paris": server(""), "lyon": server(""), "lille": UNREACHED},
        "LOST",
        {"zookeeper.no-majority", "zookeeper.not-serving", "host.unreachable"},
    ),
    "one serves": (
        {"paris": server("leader", synced="0"), "lyon": server(""), "lille": server("")},
        "LOST",
        {"zookeeper.no-majority", "zookeeper.not-serving"},
    ),
    "two silent": (
        {"paris": LEADER, "lyon": UNREACHED, "lille": UNREACHED},
        "DEGRADED",
        {"host.unreachable", "quorum.no-margin"},
    ),
    "two down": (
        {"paris": server(""), "lyon": DOWN, "lille": DOWN},
        "LOST",
        {"zookeeper.no-majority", "zookeeper.not-serving", "zookeeper.down"},
    ),
    "a new epoch without a write": (
        {"paris": server("leader", zxid=2 << 32, synced="2"), "lyon": server(zxid=1 << 32 | 7),
         "lille": server(zxid=0)},
        "QUORATE",
        set(),
    ),
    "all silent": (
        {"paris": UNREACHED, "lyon": UNREACHED, "lille": UNREACHED},
        "UNKNOWN",
        {"zookeeper.unheard", "host.unreachable"},
    ),
    "two leaders": (
        {"paris": LEADER, "lyon": LEADER, "lille": server()},
        "UNKNOWN",
        {"zookeeper.contradictory"},
    ),
    "none leads": (
        {"paris": server(), "lyon": server(), "lille": server()},
        "UNKNOWN",
        {"zookeeper.contradictory"},
    ),
    "one behind": (
        {"paris": server("leader", zxid=9_000, synced="2"), "lyon": server(zxid=100),
         "lille": server(zxid=9_000)},
        "DEGRADED",
        {"zookeeper.behind"},
    ),
    "a follower out of step": (
        {"paris": server("leader", synced="1"), "lyon": server(), "lille": server()},
        "DEGRADED",
        {"zookeeper.not-synced"},
    ),
    "requests wait": (
        {"paris": LEADER, "lyon": server(waiting=500), "lille": server()}, "QUORATE", set()),
}  # fmt: skip


@pytest.mark.parametrize("case", ENSEMBLES)
def test_what_is_made_of_an_ensemble(case: str) -> None:
    """A majority of the configured servers, one leader among them, all in step."""
    servers, verdict, findings = ENSEMBLES[case]
    assessment = assess_zookeeper(ensemble(**servers))
    assert assessment.verdict is Verdict(verdict), assessment.findings
    assert grave(assessment.findings) == findings


def test_waiting_requests_are_a_word_and_no_more() -> None:
    """A warning with its figure."""
    servers = ENSEMBLES["requests wait"][0]
    found = assess_zookeeper(ensemble(**servers)).findings
    assert [(f.finding_id, "500" in f.message) for f in found] == [("zookeeper.outstanding", True)]
