"""A plan: the path that shall carry the calls comes first, and its digest says what was decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from sisamu_ops.failover.fold.state import State
from sisamu_ops.failover.planning.plan import Plan, build_plan, check_direction
from sisamu_ops.failover.ports import DatabaseWord
from sisamu_ops.failover.reading import Reading
from sisamu_ops.failover.request import Verb
from sisamu_ops.failover.safety import AGENTS_CONFIRMED, RULES, Cell
from sisamu_ops.model.errors import ConfigurationError
from sisamu_ops.model.platform import Platform
from sisamu_ops.model.token import Token
from tests.support.told import START
from tests.support.world import ROUTERS, _platform


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    return _platform(tmp_path)


def healthy(platform: Platform, mode: str = "nominal") -> dict[str, Reading]:
    """Return readings of every target, all SAMUs in one mode."""
    routed, armed = (dict.fromkeys(platform.samus, word) for word in (mode, "unarmed"))
    return {
        host: Reading(
            host=host, reachable=True, enrolled=True, last=Token(1, 1),
            values=routed if host in ROUTERS else armed,
            durable=routed if host in ROUTERS else armed,
        )
        for host in platform.targets
    }  # fmt: skip


def plan(
    platform: Platform,
    readings: Mapping[str, Reading] | None = None,
    verb: Verb = Verb.SWITCHOVER,
    *samus: str,
) -> Plan:
    now, then = ("backup", "nominal") if verb is Verb.FAILBACK else ("nominal", "backup")
    return build_plan(
        platform=platform, state=State(epoch=9), verb=verb, samus=samus or ("300",), read_at=START,
        to=then, readings=healthy(platform, now) if readings is None else readings,
    )  # fmt: skip


def test_the_gateway_is_armed_before_any_router_moves(platform: Platform) -> None:
    """Out to backup: gateway first, then the routers, each named with what it was and will be."""
    moves = [(m.order, m.host, m.before, m.after) for m in plan(platform).transitions]
    assert moves == [
        (1, "samu-300", "unarmed", "armed"),
        (2, "otn-paris", "nominal", "backup"),
        (3, "otn-lyon", "nominal", "backup"),
    ]


def test_the_gateway_is_disarmed_last(platform: Platform) -> None:
    """Back to nominal: the routers first, then the path that was left."""
    moves = [(m.host, m.after) for m in plan(platform, verb=Verb.FAILBACK).transitions]
    assert moves == [("otn-paris", "nominal"), ("otn-lyon", "nominal"), ("samu-300", "unarmed")]


def test_one_change_a_target_carries_several_samus(platform: Platform) -> None:
    """Several SAMUs are one change on each router, and each has its own gateway."""
    made = plan(platform, None, Verb.SWITCHOVER, "680", "300", "300")
    assert made.samus == ("300", "680")
    assert made.changes == {
        "samu-300": {"300": "armed"},
        "samu-680": {"680": "armed"},
        "otn-paris": {"300": "backup", "680": "backup"},
        "otn-lyon": {"300": "backup", "680": "backup"},
    }


def test_a_target_not_read_is_planned_as_such(platform: Platform) -> None:
    """A rescue is planned on what cannot be read too, and says so."""
    readings = healthy(platform)
    del readings["otn-lyon"]
    made = plan(platform, readings, Verb.FAILOVER)
    assert [m.before for m in made.transitions if m.host == "otn-lyon"] == ["not read"]
    assert made.blocked_by == ()
    assert {f.rule for f in made.findings} == {"routers-read", "mode-known"}


def test_measurements_do_not_change_the_digest(platform: Platform) -> None:
    """Read later, under later tokens, the same decision has the same digest."""
    readings = {
        host: replace(reading, last=Token(9, 9), record={"x": 1})
        for host, reading in healthy(platform).items()
    }
    assert plan(platform, readings).digest == plan(platform).digest


def test_each_decision_changes_the_digest(platform: Platform) -> None:
    """Verb, SAMUs, targets, what was found there and what the rules say: each is in the digest."""
    readings = healthy(platform)
    cut = readings | {"otn-lyon": Reading(host="otn-lyon", reachable=False)}
    rebuilt = readings | {"otn-lyon": replace(readings["otn-lyon"], enrolled=False)}
    plans = [
        plan(platform),
        plan(platform, verb=Verb.FAILOVER),
        plan(platform, verb=Verb.FAILBACK),
        plan(platform, None, Verb.SWITCHOVER, "680"),
        plan(platform, None, Verb.SWITCHOVER, "300", "680"),
        plan(platform, healthy(platform, "backup")),
        plan(platform, cut),
        plan(platform, rebuilt),
        plan(replace(platform, routers=("otn-paris",))),
        plan(replace(platform, routers=("otn-lyon", "otn-paris"))),
    ]
    assert len({one.digest for one in plans}) == len(plans)


def test_what_a_rescue_does_not_wait_for_is_no_part_of_its_plan(platform: Platform) -> None:
    """The database's word may come too late for it; planned work waits, and there it counts."""
    lost = DatabaseWord(holds=False, said="LOST")
    for verb in (Verb.FAILOVER, Verb.SWITCHOVER):
        made = [
            build_plan(
                platform=platform, state=State(epoch=9), verb=verb, samus=("300",), read_at=START,
                to="backup", readings=healthy(platform), database=word,
            )
            for word in (None, lost)
        ]  # fmt: skip
        assert [f.rule for f in made[1].findings] == ["database-quorum"]
        assert (made[0].digest == made[1].digest) == (verb is Verb.FAILOVER)
        assert bool(made[1].blocked_by) == verb.planned


def test_the_matrix_blocks_no_rescue() -> None:
    """Not one rule blocks a failover, and each blocks some planned verb."""
    blocked = {
        name: {verb for verb, cell in rule.default.items() if cell is Cell.BLOCKS}
        for name, rule in RULES.items()
    }
    assert not any(Verb.FAILOVER in verbs for verbs in blocked.values())
    assert all(verb.planned for verbs in blocked.values() for verb in verbs)
    # A switchover whose agents are not in place is not refused: it waits for them.
    assert [name for name, verbs in blocked.items() if not verbs] == [AGENTS_CONFIRMED]


@pytest.mark.parametrize(
    ("verb", "to", "wanted"),
    [
        (Verb.SWITCHOVER, "", "degraded"),
        (Verb.SWITCHOVER, "backup", "backup"),
        (Verb.FAILOVER, "", "degraded"),
        (Verb.FAILBACK, "", "nominal"),
        (Verb.FAILBACK, "nominal", "nominal"),
    ],
)
def test_a_verb_leads_somewhere(verb: Verb, to: str, wanted: str) -> None:
    """Unless named, the first mode of the inventory's order; a failback leads to nominal."""
    assert check_direction(verb, to, ("degraded", "backup")) == wanted


@pytest.mark.parametrize(
    ("verb", "to"),
    [
        (Verb.SWITCHOVER, "nominal"), (Verb.FAILOVER, "nominal"), (Verb.FAILOVER, "unknown"),
        (Verb.FAILBACK, "backup"), (Verb.SWITCHOVER, "BACKUP"),
    ],
)  # fmt: skip
def test_a_verb_leads_nowhere_else(verb: Verb, to: str) -> None:
    """A mode the verb does not lead to is refused, and those it leads to are named."""
    with pytest.raises(ConfigurationError, match="does not lead") as caught:
        check_direction(verb, to, ("degraded", "backup"))
    assert caught.value.remedy
