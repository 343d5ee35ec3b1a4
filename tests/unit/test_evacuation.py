"""Evacuating a site: whom each router asks, who may be asked to, and who leads afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import click
import pytest

from sisamu_ops.app import clusters
from sisamu_ops.cli.choose import confirm_national, site_to_leave
from sisamu_ops.cli.move import _print_plan
from sisamu_ops.failover.acting.ledger import judge_preference
from sisamu_ops.failover.fold.known import Handover
from sisamu_ops.failover.fold.operation import Operation, SamuEnd, Step
from sisamu_ops.failover.fold.state import State
from sisamu_ops.failover.fold.timeline import paths_allowed
from sisamu_ops.failover.planning.evacuation import (
    check_refuge,
    check_sites,
    is_signed,
    preferences,
    signature,
)
from sisamu_ops.failover.planning.plan import Plan
from sisamu_ops.failover.ports import DatabaseWord
from sisamu_ops.failover.request import Verb, new_request
from sisamu_ops.failover.telling.story import tell
from sisamu_ops.leadership.contending import judge_standing
from sisamu_ops.model.errors import ConfigurationError, RefusedError
from sisamu_ops.model.outcome import Outcome
from sisamu_ops.model.platform import Platform, Waves, site_target
from sisamu_ops.quorum.rac.assess import assess_rac
from tests.support.rac import healthy
from tests.support.safety import a_platform
from tests.support.world import SAMUS, Killed, World, load_helper, make_world
from tests.unit.test_admission import entries

PARIS, LYON = site_target("otn-paris"), site_target("otn-lyon")


@pytest.fixture(scope="module")
def helper() -> ModuleType:
    return load_helper()


@pytest.fixture
def world(tmp_path: Path, helper: ModuleType) -> World:
    made = make_world(tmp_path / "world", helper)
    made.prefer_sites()
    return made


# --- whom each router asks ----------------------------------------------------------------------


def of_three() -> Platform:
    """Return a platform with a third telephony site and its router."""
    platform = a_platform()
    third = replace(platform.sites["paris"], site_id="marseille")
    target = replace(platform.targets[PARIS], host=site_target("otn-marseille"))
    return replace(
        platform, sites={**platform.sites, "marseille": third},
        routers=(*platform.routers, "otn-marseille"),
        router_sites={**platform.router_sites, "otn-marseille": "marseille"},
        targets={**platform.targets, target.host: target},
    )  # fmt: skip


def asked(evacuated: Mapping[str, str], site: str, to: str) -> list[str]:
    """Return whom the routers of paris, lyon and marseille ask for SAMU 300."""
    found = preferences(of_three(), ["300"], evacuated, site, to)
    return [change["300"] for change in found.values()]


def test_only_the_evacuated_sites_calls_go_elsewhere() -> None:
    """A third site's router goes on asking its own."""
    assert asked({}, "paris", "lyon") == ["lyon", "lyon", "marseille"]


def test_a_site_that_took_over_and_is_evacuated_passes_all_on() -> None:
    """What paris left to lyon goes where lyon goes."""
    assert asked({"paris": "lyon"}, "lyon", "marseille") == ["marseille"] * 3


def test_who_comes_home_leaves_those_evacuated_where_they_are() -> None:
    """Paris at home again, lyon is still at marseille."""
    gone = {"paris": "lyon", "lyon": "marseille"}
    assert asked(gone, "paris", "paris") == ["paris", "marseille", "marseille"]


@pytest.mark.parametrize(
    ("site", "to", "place"),
    [("lille", "lyon", "--site"), ("paris", "lille", "--to"), ("", "lyon", "--site")],
)
def test_only_sites_that_serve_calls_are_evacuated(site: str, to: str, place: str) -> None:
    """An arbiter has nothing to leave, and takes nothing over."""
    with pytest.raises(ConfigurationError, match="serves calls") as caught:
        check_sites(a_platform(), site, to)
    assert caught.value.place == place
    assert "paris, lyon" in caught.value.remedy


def test_a_router_without_the_second_fence_is_named() -> None:
    """Nothing holds whom it asks: the remedy says which variable is missing."""
    platform = a_platform()
    targets = {name: one for name, one in platform.targets.items() if name != LYON}
    with pytest.raises(ConfigurationError, match="otn-lyon") as caught:
        check_sites(replace(platform, targets=targets), "paris", "lyon")
    assert "sisamu_site_fence_dir" in caught.value.remedy


def test_nobody_is_sent_to_a_site_that_is_evacuated() -> None:
    """It must come home first; to come home is another matter."""
    with pytest.raises(RefusedError, match="lyon is evacuated") as caught:
        check_refuge({"lyon": "paris"}, "paris", "lyon")
    assert "--site lyon --to lyon" in caught.value.remedy
    check_refuge({"lyon": "paris"}, "lyon", "lyon")


# --- one SAMU -----------------------------------------------------------------------------------


def an_evacuation(**changes: Any) -> Operation:
    """Return an evacuation of paris with one step that went well."""
    targets = {PARIS: {"300": "lyon"}, LYON: {"300": "lyon"}}
    fields: dict[str, Any] = {
        "operation_id": "evacuate-1", "verb": Verb.EVACUATE, "samus": ("300",), "to": "lyon",
        "site": "paris", "principal": "", "reason": "", "plan": "", "index": 1, "previous": {},
        "accepted_at": "2026-01-02T03:04:05.000Z", "targets": targets,
    }  # fmt: skip
    operation = Operation(**fields | changes)
    outcomes = dict.fromkeys(targets, Outcome.DONE)
    step = Step(
        index=5, epoch=1, time="2026-01-02T03:04:06.000Z", playbook="", targets=targets,
        outcomes=outcomes,
    )  # fmt: skip
    operation.steps.append(step)
    return operation


def calls(**answers: str) -> list[dict[str, Any]]:
    """Return a test call through each router, paris's and lyon's, by how it was answered."""
    return [
        {
            "via": "router", "host": f"otn-{site}", "samu": "300", "step": 5,
            "result": {"answered": bool(said), "status": 200 if said else 503, "answered_by": said},
        }
        for site, said in answers.items()
    ]  # fmt: skip


NOMINAL = "nominal;instance=lyon"


@pytest.mark.parametrize(
    ("mode", "paris", "lyon", "outcome"),
    [
        ("nominal", NOMINAL, NOMINAL, Outcome.DONE),
        ("nominal", "nominal;instance=paris", NOMINAL, Outcome.FAILED),
        ("nominal", NOMINAL, "", Outcome.FAILED),
        ("degraded", "degraded;samu=300;site=lyon", "degraded;samu=300;site=lyon", Outcome.DONE),
        ("degraded", "degraded;samu=300;site=paris", "degraded;samu=300;site=lyon", Outcome.FAILED),
        ("degraded", NOMINAL, NOMINAL, Outcome.FAILED),
        ("backup", "backup;samu=300", "backup;samu=300", Outcome.DONE),
        ("backup", "backup;samu=680", "backup;samu=300", Outcome.FAILED),
    ],
)
def test_a_samu_is_done_when_the_site_answers_on_its_path(
    mode: str, paris: str, lyon: str, outcome: Outcome
) -> None:
    """Through every router, by the site that takes over, in the mode it is in all along."""
    operation = an_evacuation(calls=calls(paris=paris, lyon=lyon))
    end = judge_preference(operation, "300", mode, wanted=True)
    assert (end.outcome, end.to, end.moved) == (outcome, "lyon", True)
    assert bool(end.detail) is (outcome is not Outcome.DONE)


def test_a_router_nobody_called_through_proves_nothing() -> None:
    """One good call of two is not enough, and no call at all is unknown too."""
    for placed in (calls(lyon=NOMINAL), []):
        end = judge_preference(an_evacuation(calls=placed), "300", "nominal", wanted=True)
        assert end.outcome is Outcome.UNKNOWN
        assert "no test call through otn-paris" in end.detail


def test_each_router_answers_by_whom_it_asks() -> None:
    """Home again paris's router is answered at paris, lyon's at lyon."""
    operation = an_evacuation(
        to="paris", targets={PARIS: {"300": "paris"}, LYON: {"300": "lyon"}},
        calls=calls(paris="nominal;instance=paris", lyon=NOMINAL),
    )  # fmt: skip
    assert judge_preference(operation, "300", "nominal", wanted=True).outcome is Outcome.DONE
    assert signature("300", "nominal", "paris") == "nominal;instance=paris"


@pytest.mark.parametrize(
    ("said", "mode", "site", "signed"),
    [
        ("nominal;instance=paris", "nominal", "", True),
        ("nominal;instance=paris", "nominal", "lyon", False),
        ("nominal;instance=paris-2", "nominal", "paris", False),
        ("degraded;samu=300;site=lyon", "degraded", "", True),
        ("degraded;samu=300;site=lyon", "degraded", "lyon", True),
        ("degraded;samu=300;site=lyon", "degraded", "paris", False),
        ("backup;samu=300", "backup", "paris", True),
        ("backup;samu=3000", "backup", "", False),
        ("backup;samu=680", "backup", "", False),
        ("backups", "backup", "", False),
        ("", "nominal", "", False),
    ],
)
def test_an_answer_is_known_by_its_whole_signature(
    said: str, mode: str, site: str, signed: bool
) -> None:
    """Without a site any site's will do; another SAMU's, or one that begins alike, will not."""
    assert is_signed(said, signature("300", mode, site)) is signed


# --- the fold -----------------------------------------------------------------------------------


def ended(world: World, site: str, to: str) -> State:
    """Evacuate, and return the state."""
    world.ask(Verb.EVACUATE, samus=SAMUS, to=to, details={"site": site})
    world.lead_until_idle()
    return world.state()


def test_leadership_follows_the_calls_last(world: World) -> None:
    """The evacuated site leads: with the end, and not before, leadership is to be handed over."""
    world.platform = replace(
        world.platform, router_sites={"otn-paris": "local", "otn-lyon": "lyon"}
    )
    for target in (PARIS, LYON):
        world.fences.add(target, "samu_site", ["local", "lyon"])
    world.playbooks.first_sites = {"otn-paris": "local", "otn-lyon": "lyon"}
    refused = world.ask(Verb.EVACUATE, samus=SAMUS, to="lyon", details={"site": "local"})
    world.lead_until_idle()
    answer = world.state().answers[refused.request_id]
    assert (answer.accepted, answer.rules) == (False, ("contender-present",))
    world.standing = frozenset({"local", "lyon"})
    state = ended(world, "local", "lyon")
    operation = list(state.operations)[-1]
    assert state.handover == Handover(request_id=operation, to="lyon")
    assert entries(world)[-1].kind == "operation.ended"
    assert state.finished[operation] is Outcome.DONE
    # Who takes over instead changes nothing of what the evacuation came to.
    world.lead_until_idle()
    state = world.state()
    assert (state.handover, state.finished[operation]) == (None, Outcome.DONE)


def test_leadership_stays_where_nobody_leaves(world: World) -> None:
    """Another site leads, or the site comes home: nothing is handed over."""
    assert ended(world, "paris", "lyon").handover is None
    assert ended(world, "paris", "paris").handover is None


def test_an_evacuated_site_stands_last() -> None:
    """It leads only where nobody else does, and again by its rank once it is home."""
    state = State(evacuated={"paris": "lyon"})
    order = state.standing_order(["paris", "lyon"])
    assert order == ("lyon", "paris")
    standing = judge_standing(
        "paris", order=order, arbiters=(), present={"lyon"}, gap_free=True, hold_off_ms=1000
    )
    assert standing.wait_ms == 1000
    assert State().standing_order(["paris", "lyon"]) == ("paris", "lyon")


def test_it_changes_no_path_a_call_may_take(world: World) -> None:
    """Modes and allowed paths are those of before; the story says what was asked."""
    state = ended(world, "paris", "lyon")
    assert paths_allowed(state)("300", 1 << 60) == frozenset({"nominal"})
    assert (state.intended, state.modes) == ({}, {})
    told = [tell(entry) for entry in entries(world)]
    assert any("paris evacuated to lyon, with SAMU 120, 300, 680" in one for one in told)


def test_a_move_does_not_settle_an_evacuation_nor_it_a_move() -> None:
    """Each SAMU has a last word on its mode, and one on whom is asked first."""
    end = SamuEnd(outcome=Outcome.UNKNOWN, to="lyon", moved=True)
    lost = an_evacuation(outcome=Outcome.UNKNOWN, ends={"300": end})
    done = SamuEnd(outcome=Outcome.DONE, to="backup", moved=True)
    rescue = a_rescue(an_evacuation(), index=9, ends={"300": done}, outcome=Outcome.DONE)
    state = State()
    state.add_operation(lost)
    state.add_operation(replace(rescue, operation_id="another"))
    assert state.open_operation("300") is lost
    assert state.unknown() == [lost]
    again = an_evacuation(index=10, ends={"300": replace(done, to="lyon")}, outcome=Outcome.DONE)
    state.add_operation(replace(again, operation_id="yet another"))
    assert (state.open_operation("300"), state.unknown()) == (None, [])
    assert (state.wants(lost, "300"), state.wants(again, "300")) == (False, True)


def test_an_evacuation_that_never_came_to_a_samu_says_nothing_of_it() -> None:
    """What was wanted before is still wanted, once it has ended; until then it may come."""
    state, earlier = State(), an_evacuation(index=5)
    later = replace(an_evacuation(index=9), operation_id="evacuate-2", steps=[])
    state.add_operation(earlier)
    state.add_operation(later)
    assert not state.wants(earlier, "300")
    later.outcome = Outcome.FAILED
    assert state.wants(earlier, "300")


def test_the_last_word_on_a_samu_is_that_of_its_newest_move() -> None:
    """Of moves and of evacuations apart; one that told nothing of it is passed over."""
    state = State()
    words = [("backup", True), ("nominal", True), ("degraded", False)]
    for number, (to, told) in enumerate(words):
        end = {"300": SamuEnd(outcome=Outcome.DONE, to=to, moved=True)} if told else {}
        rescue = a_rescue(an_evacuation(), index=number, ends=end)
        state.add_operation(replace(rescue, operation_id=f"rescue-{number}"))
    found = state.last_end("300", evacuates=False)
    assert (found and found.to, state.last_end("300", evacuates=True)) == ("nominal", None)


def a_rescue(operation: Operation, **changes: Any) -> Operation:
    return replace(operation, verb=Verb.FAILOVER, to="backup", site="", **changes)


# --- admission ----------------------------------------------------------------------------------


def refused(world: World, **fields: Any) -> str:
    """Ask, and return why it is refused; an empty text where it is not."""
    asked_for = {"samus": SAMUS, "to": "lyon", "details": {"site": "paris"}} | fields
    request = world.ask(Verb.EVACUATE, **asked_for)
    world.lead_until_idle()
    answer = world.state().answers[request.request_id]
    return "" if answer.accepted else answer.reason


def test_a_site_is_evacuated_of_all_or_not_at_all(world: World) -> None:
    """Half of it would not be left; a site nobody names is none."""
    assert "every SAMU" in refused(world, samus=["300"])
    assert "serves calls" in refused(world, details={"owner": "me"})
    assert "serves calls" in refused(world, to="backup")
    assert world.playbooks.sent == []


def test_nobody_is_evacuated_to_where_nobody_is(world: World) -> None:
    """The leader refuses what the desk would: two sites cannot leave to each other."""
    assert refused(world) == ""
    assert "paris is evacuated" in refused(world, to="paris", details={"site": "lyon"})


def test_those_on_backup_are_left_alone_after_an_evacuation(world: World) -> None:
    """The last word on a SAMU's mode is that of its move, whatever came of an evacuation since."""
    world.ask(Verb.FAILOVER, samus=["300"], to="backup")
    world.lead_until_idle()
    assert refused(world) == ""
    world.ask(Verb.FAILOVER, samus=["300", "680"], to="backup")
    world.lead_until_idle()
    assert list(world.state().operations.values())[-1].samus == ("680",)


def test_a_router_that_holds_nothing_asks_its_own_site(world: World) -> None:
    """Sealed before anything was sent, it is known whom it asks: paris's its own, lyon's lyon."""
    world.ask(Verb.EVACUATE, samus=SAMUS, to="lyon", details={"site": "paris"})

    def strike(moment: str) -> None:
        if moment == "after" and entries(world)[-1].kind == "step.started":
            raise Killed

    world.strike = strike
    with pytest.raises(Killed):
        world.lead_until_idle()
    world.strike = lambda _: None
    with world.leading() as term:
        term.begin()
    step = list(world.state().operations.values())[-1].steps[0]
    assert step.outcomes == {PARIS: Outcome.FAILED, LYON: Outcome.DONE}
    assert step.details[PARIS] == "after sealing: 120 reads paris"


def test_a_soak_sees_a_call_that_another_site_answers(world: World) -> None:
    """Turned back by a hand between two waves: held, though the mode is right."""
    waves = Waves(canary=1, growth=1, soak_ms=3_000)
    world.platform = replace(world.platform, policy=replace(world.platform.policy, waves=waves))
    world.ask(Verb.EVACUATE, samus=SAMUS, to="lyon", details={"site": "paris"})
    world.lead_until_idle()
    world.fences.running[PARIS]["120"] = "paris"
    world.now += timedelta(seconds=3)
    world.lead_until_idle()
    operation = list(world.state().operations.values())[-1]
    assert "nominal;instance=paris" in operation.held


def test_the_leader_hears_what_each_sites_loss_would_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """The database's word brings the what-if of every site."""
    brief = assess_rac(healthy().capture()).brief()
    monkeypatch.setattr(clusters, "glance_at_database", lambda platform, key: brief)
    word = clusters.hear_database(a_platform(), Path("key"))
    assert word is not None
    assert word.without == brief["without_site"] != {}


def test_a_paused_leader_is_a_rule_like_any_other(world: World) -> None:
    """It is refused by the rule's name."""
    world.ask(Verb.PAUSE)
    world.lead_until_idle()
    assert "paused" in refused(world)
    assert refused(world, overrides=["leader-paused"]) == ""


def test_a_database_that_would_not_survive_keeps_the_site(world: World) -> None:
    """The what-if without the site is LOST: refused; without another site it is nobody's affair."""
    without = {"paris": "LOST", "lyon": "QUORATE"}
    world.database = lambda: DatabaseWord(holds=True, said="", without=without)
    assert "without paris the database would be LOST" in refused(world)
    assert refused(world, overrides=["database-survives"]) == ""
    # To come home leaves no site.
    assert refused(world, to="paris") == ""


@pytest.mark.parametrize(
    ("holds", "without", "verdict"),
    [(True, {}, "QUORATE"), (False, {}, "UNKNOWN"), (True, {"paris": "DEGRADED"}, "DEGRADED")],
)
def test_what_is_foreseen_without_a_site(
    holds: bool, without: dict[str, str], verdict: str
) -> None:
    """Nothing is lost by a site that is not used; of a database that does not hold nobody knows."""
    word = DatabaseWord(holds=holds, said="", without=without)
    assert word.without_site("paris") == verdict


# --- the command line ---------------------------------------------------------------------------


def leaving(to: str, **found: Any) -> str:
    """Return the site that a command line evacuates."""
    app: Any = SimpleNamespace(platform=a_platform())
    with click.Context(click.Command("start")) as context:
        context.meta["sisamu.chosen"] = found
        return site_to_leave(app, to)


def test_a_destination_that_is_a_site_makes_it_an_evacuation() -> None:
    """Of one site; where the destination is a mode, `--site` chooses SAMUs as ever."""
    assert leaving("lyon", sites=("paris",)) == "paris"
    assert leaving("backup", sites=("paris",)) == leaving("", sites=("paris", "lyon")) == ""


@pytest.mark.parametrize(
    "found",
    [
        {}, {"sites": ("paris", "lyon")}, {"sites": ("nowhere",)}, {"everything": True},
        {"sites": ("paris",), "samus": ("300",)}, {"sites": ("paris",), "everything": True},
        {"sites": ("paris",), "regions": ("Occitanie",)}, {"sites": ("paris",), "patterns": ("x",)},
    ],
)  # fmt: skip
def test_an_evacuation_names_one_site_and_nothing_else(found: dict[str, Any]) -> None:
    """All its SAMUs are meant: to name some besides is a misunderstanding."""
    with pytest.raises(ConfigurationError) as caught:
        leaving("lyon", **found)
    assert caught.value.remedy


def test_the_platform_is_named_for_a_whole_site() -> None:
    """In scripts with `--confirm`; another word, or none, is refused."""
    app: Any = SimpleNamespace(platform=a_platform())
    with click.Context(click.Command("start")) as context:
        context.meta["sisamu.chosen"] = {"sites": ("paris",)}
        confirm_national(app)
        for word in ("", "somewhere else"):
            context.meta["sisamu.confirmed"] = word
            with pytest.raises(RefusedError, match="all 3 SAMUs"):
                confirm_national(app, everything=True)
        context.meta["sisamu.confirmed"] = "world"
        confirm_national(app, everything=True)


def a_plan(world: World, to: str) -> Plan:
    request = new_request(
        platform="world", verb=Verb.EVACUATE, reason="r", now=world.now, samus=SAMUS, to=to,
        lifetime=timedelta(minutes=5), details={"site": "paris"},
    )  # fmt: skip
    with world.leading() as term:
        return term.admission.judge.plan(request)


def test_a_plan_tells_the_order(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """The site proved, the routers, leadership; and what the database would be without it."""
    without = {"paris": "DEGRADED"}
    world.database = lambda: DatabaseWord(holds=True, said="", without=without)
    _print_plan(a_plan(world, "lyon"), None)
    told = capsys.readouterr().out
    order = [told.index(said) for said in (
        "paris evacuated to lyon", "1. lyon is proved", "otn-paris, then otn-lyon",
        "3. leadership is handed to lyon", "database without paris: DEGRADED",
    )]  # fmt: skip
    assert order == sorted(order)
    _print_plan(a_plan(world, "paris"), None)
    told = capsys.readouterr().out
    assert "paris comes home" in told and "leadership stays" in told and "database" not in told
    assert a_plan(world, "lyon").digest != a_plan(world, "paris").digest
