"""Safety rules before the leader: planned work refused, a rule set aside and journalled so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from sisamu_ops.desk import Desk
from sisamu_ops.failover.request import Approval, Envelope, Request, Verb, inbox_name, rfc3339
from sisamu_ops.failover.safety import RULES, SECOND_SIGNATURE, Cell
from sisamu_ops.failover.telling.overview import second_due_facts
from sisamu_ops.failover.telling.story import tell
from sisamu_ops.journal.entry import Entry
from sisamu_ops.journal.port import InboxItem
from sisamu_ops.model.errors import ConfigurationError
from sisamu_ops.model.safety import (
    AgentsConfirmed,
    BackupProved,
    DatedWindow,
    DirectoryFresh,
    ExitChecklist,
    ExperimentRunning,
    FreezeWindows,
    MinimumInterval,
    OutsideNominal,
    SecondSignature,
    TargetCapacity,
    TelephonySiteActive,
)
from tests.support.safety import with_safety
from tests.support.world import ON_CALL, START, World, load_helper, make_world
from tests.unit.test_admission import BREAKS, a_request, answers, entries, on_backup

LEAD = "lead@sisamu-lab"
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def helper() -> ModuleType:
    return load_helper()


@pytest.fixture
def world(tmp_path: Path, helper: ModuleType) -> World:
    made = make_world(tmp_path / "world", helper)
    made.signers.add(LEAD)
    policy = replace(made.platform.policy, operators=(ON_CALL, LEAD))
    made.platform = replace(made.platform, policy=policy)
    return made


@dataclass
class Disturbed:
    """Experiments that run until they are stopped; `asked` counts who looked."""

    names: tuple[str, ...] = ("cut-site lyon",)
    asked: int = 0
    moved_when_stopped: list[int] = field(default_factory=list)
    sent: Callable[[], int] = lambda: 0

    def running(self) -> tuple[str, ...]:
        self.asked += 1
        return self.names

    def stop(self) -> tuple[str, ...]:
        self.moved_when_stopped.append(self.sent())
        stopped, self.names = self.names, ()
        return stopped


def set_rule(world: World, **settings: Any) -> None:
    world.platform = with_safety(world.platform, **settings)


def a_window(begins: timedelta, ends: timedelta) -> FreezeWindows:
    window = DatedWindow(name="14 July", begins=START + begins, ends=START + ends)
    return FreezeWindows(windows=(window,))


# --- each rule that settings put in force: just satisfied, and just not ---------------------


def stands(world: World) -> None:
    set_rule(world, telephony_site_active=TelephonySiteActive())
    world.platform = replace(world.platform, router_sites={"otn-lyon": "local"})


def nowhere(world: World) -> None:
    stands(world)
    world.platform = replace(world.platform, router_sites={"otn-lyon": "lyon"})


def long_ago(world: World, minutes: int = 30) -> None:
    """A planned change has ended half an hour ago."""
    set_rule(world, minimum_interval=MinimumInterval(minutes=minutes))
    world.ask(Verb.SWITCHOVER, samus=["680"], to="backup")
    world.lead_until_idle()
    world.now += HOUR / 2


def proved(world: World, hours: int = 1) -> None:
    """SAMU 300 was on backup two hours ago, and a call went through."""
    set_rule(world, backup_proved=BackupProved(within_hours=hours))
    on_backup(world)
    world.ask(Verb.FAILBACK, samus=["300"], to="nominal")
    world.lead_until_idle()
    world.now += HOUR


def at_rest(world: World) -> None:
    set_rule(world, experiment_running=ExperimentRunning())
    world.experiments = Disturbed(names=())


def disturbed(world: World) -> None:
    set_rule(world, experiment_running=ExperimentRunning())
    world.experiments = Disturbed()


def confirmed(world: World) -> None:
    set_rule(world, agents_confirmed=AgentsConfirmed(within_minutes=60))
    world.ask(Verb.CONFIRM, samus=["300"], details={"by": "shift lead", "channel": "phone"})
    world.lead_until_idle()


def to_be_checked(world: World) -> None:
    set_rule(world, exit_checklist=ExitChecklist(backup={"agents-back": "at their consoles"}))
    on_backup(world)


def checked(world: World) -> None:
    to_be_checked(world)
    world.ask(Verb.TICK, samus=["300"], details={"items": "agents-back"})
    world.lead_until_idle()


def in_step(world: World) -> None:
    """The directory at the gateway was brought up to date an hour ago."""
    set_rule(world, directory_fresh=DirectoryFresh(within_hours=1))
    world.fences.directories["samu-300"] = round((START - HOUR).timestamp() * 1000)


def out_of_step(world: World) -> None:
    in_step(world)
    world.fences.directories["samu-300"] -= 1


SATISFIED: Mapping[str, Callable[[World], None]] = {
    "outside-nominal": lambda w: set_rule(w, outside_nominal=OutsideNominal(at_most=1)),
    "telephony-site-active": stands,
    "target-capacity": lambda w: set_rule(w, target_capacity=TargetCapacity(backup=1)),
    "freeze-window": lambda w: set_rule(w, freeze_window=a_window(-HOUR, timedelta())),
    "minimum-interval": long_ago,
    "second-signature": lambda w: set_rule(w, second_signature=SecondSignature(above=1)),
    "backup-proved": proved,
    "experiment-running": at_rest,
    "agents-confirmed": confirmed,
    "exit-checklist": checked,
    "directory-fresh": in_step,
}
BROKEN: Mapping[str, Callable[[World], None]] = {
    "outside-nominal": lambda w: set_rule(w, outside_nominal=OutsideNominal(at_most=0)),
    "telephony-site-active": nowhere,
    "target-capacity": lambda w: set_rule(w, target_capacity=TargetCapacity(backup=0)),
    "freeze-window": lambda w: set_rule(w, freeze_window=a_window(timedelta(), HOUR)),
    "minimum-interval": lambda w: long_ago(w, minutes=31),
    "second-signature": lambda w: set_rule(w, second_signature=SecondSignature(above=0)),
    "backup-proved": lambda w: set_rule(w, backup_proved=BackupProved(within_hours=1)),
    "experiment-running": disturbed,
    "agents-confirmed": lambda w: set_rule(w, agents_confirmed=AgentsConfirmed(within_minutes=1)),
    "exit-checklist": to_be_checked,
    "directory-fresh": out_of_step,
}
#: Rules that block some planned verb; agents who are not in place are waited for.
BLOCKING = [rule for rule in BROKEN if Cell.BLOCKS in RULES[rule].row]
EVERY = [
    *((rule, BROKEN[rule]) for rule in BLOCKING),
    *((rule, how) for rule, hows in BREAKS.items() for how in hows),
]
EVERY.append(("mode-changes", on_backup))


def verb_of(rule: str) -> Verb:
    """Return a planned verb that a rule concerns."""
    return Verb.FAILBACK if rule == "exit-checklist" else Verb.SWITCHOVER


def now_asked(world: World, verb: Verb = Verb.SWITCHOVER, **changes: Any) -> Request:
    """Ask at the world's time."""
    times = {"created": world.now, "expires": world.now + timedelta(minutes=5)}
    return a_request(verb, **times | changes)


def answered(world: World, request: Request, *approvers: str) -> Entry:
    """Return the entry that answers a request, with approvals."""
    approvals = tuple(Approval(principal=one, signature="signed") for one in approvers)
    document = request.document().decode()
    envelope = Envelope(
        document=document, signature="signed", principal=ON_CALL, approvals=approvals
    )
    payload = envelope.payload()
    name = inbox_name(request.request_id, payload)
    found = answers(world, InboxItem(name=name, payload=payload))
    (mine,) = [entry for entry in found if entry.data.get("id") == request.request_id]
    return mine


def test_every_rule_is_tried_here() -> None:
    """No rule is added without a world that breaks it, and settings that are satisfied."""
    # What is asked of an evacuation alone is tried where sites are evacuated (test_evacuation).
    assert {rule for rule, _ in EVERY} == set(RULES) - {"agents-confirmed", "database-survives"}
    assert (
        set(BROKEN)
        == set(SATISFIED)
        == {name for name, rule in RULES.items() if rule.needs_settings}
    )


@pytest.mark.parametrize("rule", SATISFIED)
def test_a_rule_just_satisfied_finds_nothing(rule: str, world: World) -> None:
    """At the bound that was set, planned work goes on and nothing is told."""
    SATISFIED[rule](world)
    answer = answered(world, now_asked(world, verb_of(rule)))
    assert (answer.kind, answer.data["findings"]) == ("request.accepted", [])


@pytest.mark.parametrize("rule", BLOCKING)
def test_a_rule_not_satisfied_refuses_planned_work(rule: str, world: World) -> None:
    """Just beyond the bound it is refused by the rule's name, with what would satisfy it.

    What lacks only a second signature is not dead: it waits for it, under the same name.
    """
    BROKEN[rule](world)
    sent = len(world.playbooks.sent)
    answer = answered(world, now_asked(world, verb_of(rule)))
    waits = rule == SECOND_SIGNATURE
    kind, remedy = ("waiting", "needs") if waits else ("refused", "remedy")
    assert (answer.kind, answer.data["rules"]) == (f"request.{kind}", [rule])
    assert answer.data[remedy]
    assert len(world.playbooks.sent) == sent


@pytest.mark.parametrize("rule", BROKEN)
def test_no_rule_that_is_set_blocks_a_rescue(rule: str, world: World) -> None:
    """The same is a finding in its entry, and the SAMU moves."""
    BROKEN[rule](world)
    answer = answered(world, now_asked(world, Verb.FAILOVER))
    assert answer.kind == "request.accepted"
    assert any(str(f).startswith(f"{rule}: ") for f in answer.data["findings"])  # type: ignore[union-attr]
    assert world.modes() == ["backup", "backup"]


@pytest.mark.parametrize(("rule", "how"), EVERY, ids=lambda v: getattr(v, "__name__", v))
def test_a_rule_is_set_aside_by_name_and_journalled_so(
    rule: str, how: Callable[[World], None], world: World
) -> None:
    """Named, it blocks no more; the entry and its telling say that it was overridden, and why."""
    how(world)
    verb = verb_of(rule)
    # Some worlds cannot break one rule alone: the others are named as well.
    first = answered(world, now_asked(world, verb))
    named = tuple(dict.fromkeys(str(name) for name in first.data["rules"]))  # type: ignore[union-attr]
    assert rule in named
    others = tuple(name for name in RULES if name not in named)
    if others:
        refused = answered(world, now_asked(world, verb, overrides=others))
        assert refused.kind != "request.accepted"
    answer = answered(world, now_asked(world, verb, overrides=named))
    assert answer.kind == "request.accepted"
    said = [str(f) for f in answer.data["findings"]]  # type: ignore[union-attr]
    assert any(one.startswith(f"overridden: {rule}: ") for one in said)
    assert f"Finding: overridden: {rule}: " in tell(answer)


def test_what_is_no_rule_is_refused_and_those_there_are_named(world: World) -> None:
    """A name mistyped does not set anything aside unseen."""
    answer = answered(world, now_asked(world, overrides=("freeze",)))
    assert (answer.kind, answer.data["rules"]) == ("request.refused", ["override"])
    assert "freeze-window" in str(answer.data["remedy"])


# --- the second signature ---------------------------------------------------------------------


def test_an_override_makes_the_second_signature_due_within_an_hour(world: World) -> None:
    """It begins on one, says until when the other is due, and takes it when it comes."""
    BROKEN["second-signature"](world)
    request = now_asked(world, overrides=("second-signature",))
    answer = answered(world, request)
    assert answer.data["second_due"] == rfc3339(START + HOUR)
    assert world.modes() == ["backup", "backup"]
    (due,) = second_due_facts(world.state(), START)
    assert (due["operation"], due["rule"]) == (request.request_id, "second-signature")
    kinds = [e.kind for e in sent_again(world, request, LEAD)]
    assert kinds[-1] == "request.approved"
    assert second_due_facts(world.state(), START) == []


def sent_again(world: World, request: Request, approver: str) -> list[Entry]:
    """Send the same request again, approved, and return all entries about requests."""
    approval = Approval(principal=approver, signature="signed")
    envelope = Envelope(
        document=request.document().decode(), signature="signed", principal=ON_CALL,
        approvals=(approval,),
    )  # fmt: skip
    payload = envelope.payload()
    item = InboxItem(name=inbox_name(request.request_id, payload), payload=payload)
    return answers(world, item)


def test_a_rescue_of_many_begins_and_the_second_is_due(world: World) -> None:
    """More SAMUs than one person may move are moved at once, and the other signature follows."""
    BROKEN["second-signature"](world)
    answer = answered(world, now_asked(world, Verb.FAILOVER))
    assert answer.data["second_due"] == rfc3339(START + HOUR)
    assert len(second_due_facts(world.state(), START)) == 1


def test_with_two_signatures_none_is_due(world: World) -> None:
    """Approved beforehand there is nothing to find and nothing to wait for."""
    BROKEN["second-signature"](world)
    for verb in (Verb.SWITCHOVER, Verb.FAILBACK):
        answer = answered(world, now_asked(world, verb), LEAD)
        assert (answer.kind, answer.data["findings"]) == ("request.accepted", [])
        assert "second_due" not in answer.data


# --- experiments ------------------------------------------------------------------------------


def test_a_rescue_stops_the_experiment_before_anything_is_sent(world: World) -> None:
    """It is healed first, and the entry says what was stopped."""
    disturbed(world)
    experiments = world.experiments
    assert isinstance(experiments, Disturbed)
    experiments.sent = lambda: len(world.playbooks.sent)
    answer = answered(world, now_asked(world, Verb.FAILOVER))
    assert experiments.moved_when_stopped == [0]
    assert "experiment-running: stopped cut-site lyon" in answer.data["findings"]  # type: ignore[operator]


def test_planned_work_stops_no_experiment(world: World) -> None:
    """Neither refused nor with the rule set aside: it goes on beside what was begun."""
    disturbed(world)
    experiments = world.experiments
    assert isinstance(experiments, Disturbed)
    answered(world, now_asked(world))
    answered(world, now_asked(world, overrides=("experiment-running",)))
    assert world.modes() == ["backup", "backup"]
    assert experiments.moved_when_stopped == []


def test_where_the_rule_is_not_in_force_nobody_asks(world: World) -> None:
    """A lab may disturb what it moves: that is what its tests do."""
    experiments = world.experiments = Disturbed()
    for verb in (Verb.SWITCHOVER, Verb.FAILOVER):
        assert answered(world, now_asked(world, verb)).data["findings"] in (
            [],
            ["mode-changes: SAMU 300 is on backup already"],
        )
    assert (experiments.asked, experiments.moved_when_stopped) == (0, [])


def test_an_experiment_that_cannot_be_stopped_is_told_and_stops_nobody(world: World) -> None:
    """The rescue goes on, and its entry does not claim what is not so."""
    disturbed(world)
    world.experiments.stop = lambda: ()  # type: ignore[method-assign]
    answer = answered(world, now_asked(world, Verb.FAILOVER))
    assert "experiment-running: not stopped yet" in answer.data["findings"]  # type: ignore[operator]
    assert world.modes() == ["backup", "backup"]


# --- the plan that was reviewed -----------------------------------------------------------------


def desk_of(world: World) -> Desk:
    """Return the operator's desk over the world's journal."""
    record: Any = SimpleNamespace(
        journal=lambda: SimpleNamespace(state=world.state(), entries=entries(world))
    )
    return Desk(
        platform=world.platform, record=record, targets=world.fences, sign=lambda _: None,  # type: ignore[arg-type, return-value]
        now=lambda: world.now, database=lambda: world.database(), experiments=world.experiments,
    )  # fmt: skip


@pytest.mark.parametrize(("rule", "how"), EVERY, ids=lambda v: getattr(v, "__name__", v))
def test_desk_and_leader_judge_alike(rule: str, how: Callable[[World], None], world: World) -> None:
    """What is printed as refused is refused; set aside, what was reviewed is what is done."""
    how(world)
    for verb in (Verb.SWITCHOVER, Verb.FAILOVER):
        request = now_asked(world, verb)
        with world.leading() as term:
            term.begin()
            leader = term.admission.judge.plan(request)
        if rule != "journal-untrimmed":  # only the leader knows what a majority has
            assert desk_of(world).plan(verb, ["300"], "backup").findings == leader.findings
        assert bool(leader.blocked_by) == verb.planned


def test_the_digest_covers_what_was_set_aside(world: World) -> None:
    """Reviewed with a rule set aside, and asked without: another plan; asked alike: the same."""
    BROKEN["freeze-window"](world)
    plan = desk_of(world).plan(Verb.SWITCHOVER, ["300"], "backup", overrides=["freeze-window"])
    assert plan.blocked_by == ()
    also = now_asked(world, plan=plan.digest, overrides=("freeze-window", "mode-known"))
    assert answered(world, also).data["rules"] == ["plan-digest"]
    same = now_asked(world, plan=plan.digest, overrides=("freeze-window",))
    assert answered(world, same).data["plan"] == plan.digest


def test_a_signature_given_for_a_plan_does_not_change_it(world: World) -> None:
    """The approver signs the digest: it cannot depend on the signature."""
    BROKEN["second-signature"](world)
    plan = desk_of(world).plan(Verb.SWITCHOVER, ["300"], "backup")
    assert [f.rule for f in plan.blocked_by] == ["second-signature"]
    assert answered(world, now_asked(world, plan=plan.digest), LEAD).kind == "request.accepted"


@pytest.mark.parametrize("rule", sorted(set(BROKEN) - {"exit-checklist"}))
def test_what_passes_by_itself_makes_a_rescue_no_other_plan(rule: str, world: World) -> None:
    """A freeze that begins between review and start must not refuse the rescue reviewed."""
    if rule in ("minimum-interval", "backup-proved"):
        SATISFIED[rule](world)
    plan = desk_of(world).plan(Verb.FAILOVER, ["300"], "backup")
    BROKEN[rule](world)
    request = now_asked(world, Verb.FAILOVER, plan=plan.digest)
    assert answered(world, request).kind == "request.accepted"


def test_the_desk_refuses_to_set_aside_what_is_no_rule(world: World) -> None:
    """Before anything is signed, and naming those there are."""
    desk = desk_of(world)
    for ask in (
        lambda: desk.plan(Verb.FAILOVER, ["300"], "backup", overrides=["freeze"]),
        lambda: desk.new_request(
            Verb.SWITCHOVER, reason="r", lifetime=HOUR, samus=["300"], overrides=["freeze"]
        ),
        lambda: desk.new_request(
            Verb.FAILOVER, reason="r", lifetime=HOUR, samus=["300"], overrides=["leader-reachable"]
        ),
    ):
        with pytest.raises(ConfigurationError, match="not a rule to override") as caught:
            ask()
        assert "freeze-window" in (caught.value.remedy or "")
    made = desk.new_request(
        Verb.FAILOVER, reason="r", lifetime=HOUR, samus=["300"], site="local",
        overrides=["leader-reachable", "mode-known"],
    )  # fmt: skip
    assert made.overrides == ("leader-reachable", "mode-known")


def test_an_accepted_request_can_be_taken_out_for_its_second_signature(world: World) -> None:
    """The bytes that were signed, as they were; of others there are none."""
    request = now_asked(world, Verb.FAILOVER)
    answered(world, request)
    assert desk_of(world).find_request(request.request_id).document == request.document().decode()
    with pytest.raises(ConfigurationError, match="no request"):
        desk_of(world).find_request("failover-000000000000")
