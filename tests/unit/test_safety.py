"""The safety rules: every cell of the matrix, their settings, and setting one aside by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sisamu_ops.app.experiments import LabExperiments, find_experiments
from sisamu_ops.chaos import Ground, Scene
from sisamu_ops.failover.answering.in_force import platform_document
from sisamu_ops.failover.ports import DatabaseWord, NoExperiments
from sisamu_ops.failover.request import Verb, rfc3339
from sisamu_ops.failover.safety import (
    RULES,
    Cell,
    Facts,
    Finding,
    cells,
    judge,
    judge_overrides,
)
from sisamu_ops.failover.safety.settings import read_safety, written
from sisamu_ops.model.outcome import Outcome
from sisamu_ops.model.platform import TelephonyMode, site_target
from sisamu_ops.model.safety import FreezeWindows, Safety, SecondSignature, WeeklyWindow
from tests.support.safety import (
    BREAKS,
    HAND,
    HOUR,
    IN_FORCE,
    MATRIX,
    NOT_ALONE,
    NOW,
    VERBS,
    a_platform,
    an_operation,
    sound,
    with_safety,
)
from tests.support.told import folded

WORDS = {"B": "blocks", "F": "finding", "-": "-"}
CELLS = [
    (rule, verb, WORDS[row[n]]) for rule, row in MATRIX.items() for n, verb in enumerate(VERBS)
]


def found_of(rule: str, facts: Facts) -> Finding | None:
    """Return what a rule found, once at most."""
    found = [finding for finding in judge(facts) if finding.rule == rule]
    assert len(found) <= 1
    return found[0] if found else None


def seen(rule: str, facts: Facts) -> str:
    """Return in the matrix's words what a rule did."""
    finding = found_of(rule, facts)
    if finding is None:
        return "-"
    return "blocks" if finding.blocks else "finding"


# --- the matrix ---------------------------------------------------------------------------


def test_the_matrix_is_the_one_written_down_here() -> None:
    """Rules and verbs are all here, in the order they are printed."""
    assert list(MATRIX) == list(BREAKS) == list(RULES)
    assert [verb.value for verb in RULES["test-number"].default] == list(VERBS)


@pytest.mark.parametrize(("rule", "verb", "cell"), CELLS)
def test_every_cell_does_what_it_says(rule: str, verb: str, cell: str) -> None:
    """A broken rule blocks the verb, is told to it, or does not concern it; so says its row."""
    facts = BREAKS[rule](sound(Verb(verb)))
    assert seen(rule, facts) == cell
    assert cells(RULES[rule], IN_FORCE)[Verb(verb)].value == cell
    finding = found_of(rule, facts)
    assert finding is None or (finding.message and finding.remedy)


@pytest.mark.parametrize("verb", VERBS)
def test_what_is_sound_breaks_no_rule(verb: str) -> None:
    """With every rule in force and satisfied, just so, nothing is found."""
    assert judge(sound(Verb(verb))) == ()


@pytest.mark.parametrize(("rule", "verb", "cell"), [case for case in CELLS if case[2] == "blocks"])
def test_each_block_can_be_set_aside_by_name(rule: str, verb: str, cell: str) -> None:
    """The rule still tells what it found, marked; other names set nothing aside."""
    facts = BREAKS[rule](sound(Verb(verb)))
    named = found_of(rule, replace(facts, overrides=(rule,)))
    assert named is not None
    assert (named.blocks, named.overridden) == (False, True)
    assert named.told.startswith(f"overridden: {rule}: ")
    others = tuple(name for name in RULES if name != rule)
    assert seen(rule, replace(facts, overrides=others)) == cell


@pytest.mark.parametrize("rule", [name for name, one in RULES.items() if one.of_rescue])
def test_a_rescue_overrides_nothing(rule: str) -> None:
    """Naming a rule changes nothing for a rescue: nothing stood in its way."""
    finding = found_of(rule, replace(BREAKS[rule](sound(Verb.FAILOVER)), overrides=(rule,)))
    assert finding is not None
    assert (finding.blocks, finding.overridden) == (False, False)


@pytest.mark.parametrize("rule", list(RULES))
def test_what_a_lone_site_cannot_have_does_not_stop_it(rule: str) -> None:
    """Rules about other sites, a leader or their word are findings for a site alone."""
    for verb, letter in zip(VERBS, MATRIX[rule], strict=True):
        if letter == "B":
            facts = replace(BREAKS[rule](sound(Verb(verb))), alone=True)
            assert seen(rule, facts) == ("finding" if rule in NOT_ALONE else "blocks")


@pytest.mark.parametrize("rule", [name for name, one in RULES.items() if one.needs_settings])
def test_a_rule_without_settings_is_not_in_force(rule: str) -> None:
    """Where the inventory says nothing of it, breaking it breaks nothing."""
    facts = BREAKS[rule](sound(Verb.FAILOVER))
    platform = with_safety(facts.platform, **{rule.replace("-", "_"): None})
    assert seen(rule, replace(facts, platform=platform)) == "-"


# --- what an inventory may say of the matrix ------------------------------------------------


@pytest.mark.parametrize("rule", list(RULES))
@pytest.mark.parametrize("blocks", [(), ("failback",), ("failover",), VERBS])
def test_no_inventory_makes_a_rule_block_a_rescue(rule: str, blocks: tuple[str, ...]) -> None:
    """Whatever it names: nothing blocks a failover, and what does not apply is not made to."""
    row = cells(RULES[rule], Safety(blocks={rule: blocks}))
    of_rescue = RULES[rule].of_rescue
    assert row[Verb.FAILOVER] is (Cell.FINDING if of_rescue else Cell.NOTHING)
    for verb, cell in RULES[rule].default.items():
        assert (row[verb] is Cell.NOTHING) == (cell is Cell.NOTHING)
    facts = BREAKS[rule](sound(Verb.FAILOVER))
    facts = replace(facts, platform=with_safety(facts.platform, blocks={rule: blocks}))
    assert seen(rule, facts) == ("finding" if of_rescue else "-")


def test_an_inventory_narrows_and_widens_planned_verbs() -> None:
    """Blocked are the planned verbs it names, and no other."""
    facts = {verb: _is_there(verb) for verb in (Verb.SWITCHOVER, Verb.FAILBACK)}
    assert [seen("mode-changes", one) for one in facts.values()] == ["blocks", "finding"]
    chosen = {
        verb: replace(
            one, platform=with_safety(one.platform, blocks={"mode-changes": ("failback",)})
        )
        for verb, one in facts.items()
    }
    assert [seen("mode-changes", one) for one in chosen.values()] == ["finding", "blocks"]


def _is_there(verb: Verb) -> Facts:
    return BREAKS["mode-changes"](sound(verb))


WRONG: list[tuple[Any, str]] = [
    ([], "sisamu_safety: must be a mapping"),
    ({"nothing": {}}, "nothing is no rule: use test-number, "),
    ({"mode-known": {"at_most": 1}}, "sisamu_safety.mode-known: at_most is no setting of it"),
    ({"mode-known": {"blocks": ["failover"]}}, "a rescue is never blocked"),
    ({"freeze-window": {"windows": [], "blocks": ["failover"]}}, "a rescue is never blocked"),
    ({"mode-changes": {"blocks": ["evacuate"]}}, "it may name switchover, failback, revert"),
    ({"mode-known": {"blocks": "switchover"}}, "blocks must be a list"),
    ({"outside-nominal": {}}, "at_most must be a whole number of at least 0, not None"),
    ({"outside-nominal": {"at_most": True}}, "at_most must be a whole number"),
    ({"outside-nominal": 3}, "must be a mapping of settings, not 3"),
    ({"telephony-site-active": {"site": 1}}, "site is no setting of it"),
    ({"target-capacity": {}}, "needs one of degraded, backup, site"),
    ({"target-capacity": {"site": {"lille1": 1}}}, "lille1 is no setting of it: use paris"),
    ({"target-capacity": {"backup": -1}}, "backup must be a whole number"),
    ({"freeze-window": []}, "windows must be a list of at least one"),
    ({"freeze-window": [{"from": "2026-07-14T00:00:00Z"}]}, "windows[0]: name must be a text"),
    ({"freeze-window": [{"name": "n", "from": "x", "to": "y"}]}, "from must be an instant in UTC"),
    (
        {"freeze-window": [{"name": "n", "from": "2026-07-14T00:00:00+02:00", "to": "x"}]},
        "from must be an instant in UTC",
    ),
    (
        {"freeze-window": [{"name": "n", "from": "2026-07-14T00:00:00", "to": "x"}]},
        "from must be an instant in UTC",
    ),
    (
        {
            "freeze-window": [
                {"name": "n", "from": "2026-07-14T00:00:00Z", "to": "2026-07-13T00:00:00Z"}
            ]
        },
        "to must be after from",
    ),
    ({"freeze-window": [{"name": "n", "days": ["fry"], "from": "18:00", "to": "08:00"}]}, "'fry'"),
    ({"freeze-window": [{"name": "n", "days": ["fri"], "from": 1080, "to": "08:00"}]}, "in quotes"),
    ({"freeze-window": [{"name": "n", "days": ["fri"], "from": "1800", "to": "24:00"}]}, "24:00"),
    ({"minimum-interval": {"minutes": 0}}, "minutes must be a whole number of at least 1"),
    ({"second-signature": {"above": "ten"}}, "above must be a whole number"),
    ({"backup-proved": {"within_hours": 0.5}}, "within_hours must be a whole number"),
    ({"experiment-running": {"minutes": 1}}, "minutes is no setting of it"),
    ({"agents-confirmed": {}}, "within_minutes must be a whole number of at least 1"),
    ({"exit-checklist": {"backup": {"item": 1}}}, "item must be a text"),
    ({"exit-checklist": {"nominal": {}}}, "nominal is no setting of it: use degraded, backup"),
    ({"directory-fresh": {"within_hours": 0}}, "within_hours must be a whole number"),
]


@pytest.mark.parametrize(("value", "said"), WRONG, ids=[said for _, said in WRONG])
def test_a_setting_that_is_wrong_is_told_and_nothing_is_in_force(value: Any, said: str) -> None:
    """Each by its place and what it may be; half of the settings is none."""
    safety, problems = read_safety(value, ["paris", "lyon", "lille"])
    assert any(said in problem for problem in problems), problems
    assert all(problem.startswith("sisamu_safety") for problem in problems)
    assert safety == Safety()


def test_all_that_is_wrong_is_told_at_once() -> None:
    """One run names every problem of every rule."""
    wrong = {
        "outside-nominal": {"at_most": -1, "atmost": 1}, "minimum-interval": {}, "other": {},
    }  # fmt: skip
    assert len(read_safety(wrong, [])[1]) == 4


SAID: dict[str, Any] = {
    "mode-changes": {"blocks": ["failback"]},
    "outside-nominal": {"at_most": 3, "blocks": []},
    "telephony-site-active": {},
    "target-capacity": {"degraded": 0, "backup": 5, "site": {"lyon": 9}},
    "freeze-window": {
        "windows": [
            {
                "name": "14 July",
                "from": "2026-07-14T00:00:00.000Z",
                "to": "2026-07-15T06:00:00.000Z",
            },
            {"name": "nights", "days": ["fri", "sat"], "from": "18:00", "to": "08:00"},
        ],
        "blocks": ["switchover"],
    },
    "minimum-interval": {"minutes": 20},
    "second-signature": {"above": 10},
    "backup-proved": {"within_hours": 24},
    "experiment-running": {},
    "agents-confirmed": {"within_minutes": 60},
    "exit-checklist": {"backup": {"agents-back": "agents are at their consoles"}},
    "directory-fresh": {"within_hours": 24},
}


def test_settings_are_written_as_they_were_read() -> None:
    """What `safety list` shows of each rule can be put back into an inventory."""
    safety, problems = read_safety(SAID, ["lyon"])
    assert problems == []
    shown = {rule: written(safety, rule) for rule in RULES}
    assert {rule: one for rule, one in shown.items() if one is not None} == SAID
    assert (
        read_safety(SAID | {"freeze-window": SAID["freeze-window"]["windows"]}, ["lyon"])[1] == []
    )


def test_every_setting_is_among_the_rules_in_force() -> None:
    """To change one, or what a rule blocks, is to work by other rules."""
    platform = a_platform()
    documents = {platform_document(platform)}
    for rule in RULES.values():
        if rule.needs_settings:
            changes = {rule.rule_id.replace("-", "_"): None}
            documents.add(platform_document(with_safety(platform, **changes)))
    narrowed = with_safety(platform, blocks={"mode-known": ()})
    documents.add(platform_document(narrowed))
    documents.add(platform_document(replace(platform, router_sites={})))
    assert len(documents) == 3 + sum(rule.needs_settings for rule in RULES.values())
    assert json.loads(platform_document(narrowed))["matrix"]["mode-known"]["revert"] == "finding"


# --- what each rule looks at -----------------------------------------------------------------


def test_those_outside_already_count_and_none_counts_twice() -> None:
    """Who moves from one mode outside nominal to another is outside once."""
    facts = sound(Verb.SWITCHOVER)
    facts.state.intended["300"] = "degraded"
    assert seen("outside-nominal", facts) == "-"
    facts.state.intended["no longer a SAMU"] = "backup"
    assert seen("outside-nominal", facts) == "-"


@pytest.mark.parametrize(
    ("evacuated", "leaving", "unread", "cell"),
    [
        (set(), "paris", "", "-"),
        ({"lyon"}, "", "", "-"),
        ({"lyon"}, "paris", "", "blocks"),
        (set(), "paris", "otn-lyon", "blocks"),
        (set(), "paris", "otn-paris", "-"),
        ({"paris"}, "", "otn-lyon", "blocks"),
    ],
)
def test_a_site_counts_when_it_stays_and_its_router_is_read(
    evacuated: set[str], leaving: str, unread: str, cell: str
) -> None:
    """Neither the one evacuated now nor those evacuated before, nor one nobody can read."""
    facts = replace(sound(Verb.EVACUATE), site=leaving)
    facts.state.evacuated |= dict.fromkeys(evacuated, "lyon")
    if unread:
        readings = {**facts.readings, unread: replace(facts.readings[unread], values=None)}
        facts = replace(facts, readings=readings)
    assert seen("telephony-site-active", facts) == cell


@pytest.mark.parametrize(
    ("leaving", "to", "needed", "cell"),
    [("paris", "lyon", 3, "blocks"), ("", "paris", 3, "-"), ("", "lyon", 3, "blocks")],
)
def test_who_comes_home_is_counted_among_those_that_stay(
    leaving: str, to: str, needed: int, cell: str
) -> None:
    """Lyon carries two of three: paris may not be left to it, and must be let home again."""
    facts = replace(sound(Verb.EVACUATE), site=leaving, to=to)
    facts.state.evacuated["paris"] = "lyon"
    capacity = replace(IN_FORCE.target_capacity, site={"lyon": needed - 1, "paris": needed})  # type: ignore[type-var]
    facts = replace(facts, platform=with_safety(facts.platform, target_capacity=capacity))
    assert seen("target-capacity", facts) == cell


@pytest.mark.parametrize("verdict", ["QUORATE", "DEGRADED", "LOST", "UNKNOWN"])
def test_the_database_must_survive_the_site_that_is_left(verdict: str) -> None:
    """LOST and UNKNOWN keep a site; what another site's loss would do does not matter."""
    word = DatabaseWord(holds=True, said="", without={"paris": verdict, "lyon": "LOST"})
    facts = replace(sound(Verb.EVACUATE), database=word)
    assert seen("database-survives", facts) == ("blocks" if verdict in ("LOST", "UNKNOWN") else "-")
    assert seen("database-survives", replace(facts, site="")) == "-"


def test_an_evacuation_looks_at_the_second_fence_of_each_router() -> None:
    """Unread, bare or held it stands in the way; a gateway does not, nobody touches one."""
    for name, cell in ((site_target("otn-lyon"), "blocks"), ("samu-300", "-")):
        facts = sound(Verb.EVACUATE)
        bare = replace(facts.readings[name], enrolled=False)
        assert (
            seen("targets-enrolled", replace(facts, readings={**facts.readings, name: bare}))
            == cell
        )
        held = replace(facts.readings[name], last=HAND)
        assert seen("target-held", replace(facts, readings={**facts.readings, name: held})) == cell
        unread = replace(facts.readings[name], values=None)
        assert (
            seen("routers-read", replace(facts, readings={**facts.readings, name: unread})) == cell
        )


def test_a_site_whose_router_nobody_knows_does_not_count() -> None:
    """An inventory that names no router's site is told so."""
    facts = sound(Verb.SWITCHOVER)
    facts = replace(facts, platform=replace(facts.platform, router_sites={}))
    finding = found_of("telephony-site-active", facts)
    assert finding is not None
    assert "site_id" in finding.message


@pytest.mark.parametrize(
    ("site", "on_backup", "cell"),
    [
        ({"lyon": 2}, set(), "blocks"), ({"lyon": 3}, set(), "-"), ({"paris": 0}, set(), "-"),
        ({"lyon": 2}, {"680"}, "-"), ({"lyon": 2}, {"300"}, "blocks"),
        ({"lyon": 2, "paris": 9}, set(), "blocks"),
    ],
)  # fmt: skip
def test_the_sites_that_stay_carry_every_samu_that_needs_one(
    site: dict[str, int], on_backup: set[str], cell: str
) -> None:
    """Who is on backup needs none, unless it is of this change; no figure is no limit."""
    facts = sound(Verb.EVACUATE)
    facts.state.intended.update(dict.fromkeys(on_backup, "backup"))
    capacity = replace(IN_FORCE.target_capacity, site=site)  # type: ignore[type-var]
    facts = replace(facts, platform=with_safety(facts.platform, target_capacity=capacity))
    assert seen("target-capacity", facts) == cell


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


NIGHTS = WeeklyWindow(
    name="nights", days=("fri", "sat"), begins=at("2026-01-01T18:00").time(),
    ends=at("2026-01-01T08:00").time(),
)  # fmt: skip


@pytest.mark.parametrize(
    ("now", "ends"),
    [
        ("2026-01-02T17:59:59", None),  # a Friday
        ("2026-01-02T18:00", "2026-01-03T08:00"),
        ("2026-01-03T07:59:59", "2026-01-03T08:00"),
        ("2026-01-03T08:00", None),
        ("2026-01-03T23:00", "2026-01-04T08:00"),
        ("2026-01-04T07:00", "2026-01-04T08:00"),
        ("2026-01-04T19:00", None),
    ],
)
def test_a_weekly_window_may_pass_midnight(now: str, ends: str | None) -> None:
    """It begins on its days, and ends the next morning; its end is outside."""
    assert NIGHTS.end_of(at(now)) == (at(ends) if ends else None)


def test_windows_in_a_row_end_with_the_last() -> None:
    """The remedy is when something can be done, not when the next freeze begins."""
    midnight = at("2026-01-01T00:00").time()
    weekend = WeeklyWindow(name="weekend", days=("sat", "sun"), begins=midnight, ends=midnight)
    monday = WeeklyWindow(
        name="monday", days=("mon",), begins=midnight, ends=at("2026-01-01T07:30").time()
    )
    windows = FreezeWindows(windows=(monday, weekend, NIGHTS))
    assert windows.free_from(at("2026-01-02T20:00")) == at("2026-01-05T07:30")
    assert windows.frozen(at("2026-01-03T05:00")) == ("weekend", "nights")
    facts = replace(sound(Verb.SWITCHOVER), now=at("2026-01-02T20:00"))
    facts = replace(facts, platform=with_safety(facts.platform, freeze_window=windows))
    finding = found_of("freeze-window", facts)
    assert finding is not None
    assert finding.remedy == "wait until 2026-01-05T07:30:00.000Z"


def test_a_freeze_without_end_says_so() -> None:
    """Nobody is told to wait for what does not come."""
    midnight = at("2026-01-01T00:00").time()
    days = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
    always = WeeklyWindow(name="always", days=days, begins=midnight, ends=midnight)
    facts = sound(Verb.SWITCHOVER)
    windows = FreezeWindows(windows=(always,))
    facts = replace(facts, platform=with_safety(facts.platform, freeze_window=windows))
    finding = found_of("freeze-window", facts)
    assert finding is not None
    assert "never ends" in finding.remedy


@pytest.mark.parametrize(
    ("verb", "cell"),
    [
        (Verb.SWITCHOVER, "blocks"), (Verb.EVACUATE, "blocks"), (Verb.FAILOVER, "-"),
        (Verb.CHECK, "-"),
    ],
)  # fmt: skip
def test_the_interval_counts_from_planned_changes(verb: Verb, cell: str) -> None:
    """A rescue is not planned, and a check, which must come before a move, changes nothing."""
    facts = sound(Verb.SWITCHOVER)
    ended = rfc3339(NOW - timedelta(minutes=1))
    an_operation(facts, verb, outcome=Outcome.FAILED, ended_at=ended)
    assert seen("minimum-interval", facts) == cell
    finding = found_of("minimum-interval", facts)
    assert finding is None or finding.remedy == "wait until 2026-01-02T12:29:00.000Z"


def test_a_second_signature_satisfies() -> None:
    """With an approver there is nothing to find."""
    facts = BREAKS["second-signature"](sound(Verb.SWITCHOVER))
    assert seen("second-signature", replace(facts, approvers=("lead@lab",))) == "-"
    at_bound = with_safety(facts.platform, second_signature=SecondSignature(above=2))
    assert seen("second-signature", replace(facts, platform=at_bound)) == "-"


@pytest.mark.parametrize(
    ("answered", "said", "proved"),
    [
        (True, "backup;samu=300", {"300": {"backup": "2026-01-02T03:04:06.000Z"}}),
        (True, "degraded;samu=300;site=paris", {"300": {"degraded": "2026-01-02T03:04:06.000Z"}}),
        (False, "backup;samu=300", {}),
        (True, "nominal;instance=paris", {}),
        (True, "backup;samu=680", {}),
        (True, "backup;", {}),
        (True, "", {}),
    ],
)
def test_an_answered_call_proves_the_path_it_was_answered_on(
    answered: bool, said: str, proved: dict[str, dict[str, str]]
) -> None:
    """By the answerer's own word, and for a SAMU of the operation: else it is a misroute."""
    result = {"answered": answered, "status": 200, "answered_by": said, "pdd_ms": 1}
    state = folded(("request.accepted", {}), ("call.proved", {"result": result}))
    assert state.proved == proved


def test_a_call_answered_by_another_samu_of_the_operation_proves_neither() -> None:
    """Two move together, and the call to one rang at the other."""
    result = {"answered": True, "status": 200, "answered_by": "backup;samu=680", "pdd_ms": 1}
    both = ("request.accepted", {"samus": ["300", "680"]})
    assert folded(both, ("call.proved", {"samu": "300", "result": result})).proved == {}
    assert set(folded(both, ("call.proved", {"samu": "680", "result": result})).proved) == {"680"}


def test_a_proof_ages() -> None:
    """Just within the hours it counts, then no more."""
    facts = sound(Verb.SWITCHOVER)
    assert seen("backup-proved", replace(facts, now=NOW + 23 * HOUR)) == "-"
    late = replace(facts, now=NOW + 23 * HOUR + timedelta(milliseconds=1))
    assert seen("backup-proved", late) == "blocks"


# --- many at once -----------------------------------------------------------------------------


def many(verb: Verb = Verb.SWITCHOVER) -> Facts:
    """Return facts of a request for 102 SAMUs."""
    facts = sound(verb)
    one = facts.platform.samus["300"]
    names = [f"{number:03}" for number in range(1, 103)]
    samus = {s: replace(one, samu_id=s, gateway=f"samu-{s}") for s in names}
    reading = facts.readings["samu-300"]
    readings = {f"samu-{s}": replace(reading, host=f"samu-{s}") for s in names}
    return replace(
        facts, platform=replace(facts.platform, samus=samus), samus=tuple(names),
        modes=dict.fromkeys(names, facts.modes["300"]), readings={**facts.readings, **readings},
    )  # fmt: skip


def all_unread(facts: Facts) -> Facts:
    modes = {s: replace(m, mode=TelephonyMode.UNKNOWN) for s, m in facts.modes.items()}
    return replace(facts, modes=modes)


def all_open(facts: Facts) -> Facts:
    for samu in facts.samus:
        an_operation(facts, Verb.FAILOVER, operation_id=f"failover-{samu}", samus=(samu,))
    return facts


def all_readings(facts: Facts, **changes: Any) -> Facts:
    readings = {host: replace(one, **changes) for host, one in facts.readings.items()}
    return replace(facts, readings=readings)


MANY: dict[str, Callable[[Facts], Facts]] = {
    "test-number": BREAKS["test-number"],
    "targets-enrolled": lambda facts: all_readings(facts, enrolled=False),
    "one-operation": all_open,
    "mode-known": all_unread,
    "mode-changes": BREAKS["mode-changes"],
    "target-held": lambda facts: all_readings(
        facts, last=BREAKS["target-held"](facts).readings["otn-lyon"].last
    ),
    "outside-nominal": lambda facts: facts,
    "target-capacity": lambda facts: facts,
    "backup-proved": lambda facts: facts,
    "agents-confirmed": lambda facts: facts,
    "directory-fresh": lambda facts: all_readings(facts, directory_at=None),
}


@pytest.mark.parametrize("rule", MANY)
def test_of_many_samus_a_rule_names_five_and_counts_the_rest(rule: str) -> None:
    """One finding fits a screen, whatever it is about, and so does what to do about it."""
    facts = MANY[rule](replace(many(), now=NOW))
    facts.state.proved.clear()
    finding = found_of(rule, facts)
    assert finding is not None
    counted = any(f"and {n} more" in finding.message for n in (97, 99))
    assert counted or "102 SAMUs would be on" in finding.message
    assert len(finding.message) < 400
    assert len(finding.remedy) < 400


# --- by name ------------------------------------------------------------------------------------


def test_only_rules_of_the_matrix_can_be_named() -> None:
    """What is no rule is refused, and all that are one are named."""
    (finding,) = judge_overrides(Verb.SWITCHOVER, ["freeze-windows", "mode-known"])
    assert (finding.rule, finding.blocks) == ("override", True)
    assert "freeze-windows" in finding.message
    assert all(rule in finding.remedy for rule in RULES)
    (finding,) = judge_overrides(Verb.RECONCILE, ["mode-known"])
    assert finding.remedy == "leave --override out"
    assert list(judge_overrides(Verb.FAILOVER, ["here"], also=["here"])) == []


# --- experiments ----------------------------------------------------------------------------------


class Cures:
    """A place with armed cures, and nothing else of a lab."""

    def __init__(self, cures: Path) -> None:
        self.cures = cures

    def scene(self) -> Scene:
        raise NotImplementedError


def armed(directory: Path, fault: str = "cut-link paris lyon", **heal: Any) -> Ground:
    """Write down a fault as the injector does."""
    directory.mkdir(exist_ok=True)
    facts = {
        "fault": fault, "deadline_ns": 1, "heal": [heal] if heal else [], "pulse": None,
        "touches": [], "weakened": [], "cut": [],
    }  # fmt: skip
    (directory / f"{fault.split()[0]}-1.json").write_text(json.dumps(facts))
    return Cures(directory)


def test_a_fault_that_stands_is_an_experiment_and_can_be_stopped(tmp_path: Path) -> None:
    """It is named by what was injected; stopped, its cure is gone from the disk."""
    ground = armed(tmp_path / "cures", "kill-agent paris")
    experiments = LabExperiments(lambda: ground)
    assert experiments.running() == ("kill-agent paris",)
    assert experiments.stop() == ("kill-agent paris",)
    assert experiments.running() == experiments.stop() == ()


def test_a_fault_that_cannot_be_healed_still_runs(tmp_path: Path) -> None:
    """Nobody is told that it was stopped."""
    ground = armed(tmp_path / "cures", "kill-agent paris", do="run", command=["false"], text="")
    experiments = LabExperiments(lambda: ground)
    assert experiments.stop() == ()
    assert experiments.running() == ("kill-agent paris",)


@pytest.mark.parametrize("content", ["", "{}", '{"fault": "nothing known"}'])
def test_what_cannot_be_read_is_no_experiment(content: str, tmp_path: Path) -> None:
    """A lab that is not up, or a record half written, stops nobody."""
    assert LabExperiments(lambda: Cures(tmp_path / "none")).running() == ()
    (tmp_path / "odd.json").write_text(content)
    assert LabExperiments(lambda: Cures(tmp_path)).running() == ()
    assert LabExperiments(lambda: Cures(tmp_path)).stop() == ()


def test_only_a_lab_has_experiments() -> None:
    """On a platform that serves callers nothing is looked for."""
    platform = a_platform()
    lab = replace(platform, policy=replace(platform.policy, is_lab=True))
    ground = Cures(Path("/nowhere"))
    assert isinstance(find_experiments(platform, lambda: ground), NoExperiments)
    assert isinstance(find_experiments(lab, lambda: ground), LabExperiments)
