"""The safety rules against a plain reading of what they say, on platforms nobody drew up.

The oracle below says of each rule, in its own way, whether it is broken. What is searched for: a
planned change that breaks a rule and is allowed though nobody set it aside, a rescue that is
blocked, and a rule that is told where it holds. SISAMU_SAFETY_CASES says how many cases are tried.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from sisamu_ops.failover.fold.operation import Operation, SamuEnd
from sisamu_ops.failover.fold.state import State
from sisamu_ops.failover.planning.plan import build_plan
from sisamu_ops.failover.ports import DatabaseWord
from sisamu_ops.failover.reading import Reading, judge_mode
from sisamu_ops.failover.request import Verb, rfc3339
from sisamu_ops.failover.safety import Facts, Finding, judge
from sisamu_ops.failover.safety.settings import read_safety, written
from sisamu_ops.model.outcome import Outcome
from sisamu_ops.model.platform import Platform, Samu, Site, SiteRole, Target
from sisamu_ops.model.safety import (
    DAYS,
    AgentsConfirmed,
    BackupProved,
    DatedWindow,
    DirectoryFresh,
    ExitChecklist,
    ExperimentRunning,
    FreezeWindows,
    MinimumInterval,
    OutsideNominal,
    Safety,
    SecondSignature,
    TargetCapacity,
    TelephonySiteActive,
    WeeklyWindow,
)
from sisamu_ops.model.token import Token
from tests.support.safety import MATRIX, NOT_ALONE, VERBS, confirmed, milliseconds, on_backup
from tests.support.world import _platform

CASES = int(os.environ.get("SISAMU_SAFETY_CASES") or 300)
NOW = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
SAMUS = ("300", "680", "120", "76B", "971")
TELEPHONY = ("paris", "lyon", "brest")
ROUTERS = ("otn-1", "otn-2", "otn-3")
MODES = ("nominal", "degraded", "backup")
LATER = Token(1 << 40, 1)
WORDS = (
    None, DatabaseWord(holds=True, said=""), DatabaseWord(holds=False, said=""),
    DatabaseWord(
        holds=True, said="", without={"paris": "LOST", "lyon": "DEGRADED", "brest": "UNKNOWN"}
    ),
)  # fmt: skip
BASE = _platform(Path("/nowhere"))

# --- worlds -----------------------------------------------------------------------------------

some_rules = st.lists(st.sampled_from(list(MATRIX)), unique=True, max_size=6)
moments = st.integers(-72 * 60, 72 * 60).map(lambda minutes: NOW + timedelta(minutes=minutes))
hours = st.builds(time, st.integers(0, 23), st.sampled_from([0, 1, 30, 59]))


def windows() -> st.SearchStrategy[FreezeWindows]:
    dated = st.builds(
        lambda begins, minutes: DatedWindow(
            name="dated", begins=begins, ends=begins + timedelta(minutes=minutes)
        ),
        moments,
        st.integers(1, 4000),
    )
    weekly = st.builds(
        WeeklyWindow, name=st.just("weekly"), begins=hours, ends=hours,
        days=st.lists(st.sampled_from(DAYS), min_size=1, unique=True).map(tuple),
    )  # fmt: skip
    return st.lists(dated | weekly, min_size=1, max_size=4).map(
        lambda found: FreezeWindows(windows=tuple(found))
    )


def rules_in_force() -> st.SearchStrategy[Safety]:
    few, some = st.integers(0, 5), st.none() | st.integers(0, 5)
    minutes = st.integers(1, 4000)
    sites = st.dictionaries(st.sampled_from(TELEPHONY), few)
    capacity = st.builds(TargetCapacity, degraded=some, backup=some, site=sites)
    chosen = st.dictionaries(
        st.sampled_from(list(MATRIX)), st.lists(st.sampled_from(VERBS), unique=True).map(tuple)
    )
    return st.builds(
        Safety,
        outside_nominal=st.none() | st.builds(OutsideNominal, at_most=few),
        telephony_site_active=st.none() | st.just(TelephonySiteActive()),
        target_capacity=st.none() | capacity,
        freeze_window=st.none() | windows(),
        minimum_interval=st.none() | st.builds(MinimumInterval, minutes=minutes),
        second_signature=st.none() | st.builds(SecondSignature, above=few),
        backup_proved=st.none() | st.builds(BackupProved, within_hours=st.integers(1, 100)),
        experiment_running=st.none() | st.just(ExperimentRunning()),
        agents_confirmed=st.none()
        | st.builds(AgentsConfirmed, within_minutes=st.integers(1, 4000)),
        exit_checklist=st.none() | st.just(ExitChecklist(backup={"a": "all are back"})),
        directory_fresh=st.none() | st.builds(DirectoryFresh, within_hours=st.integers(1, 100)),
        blocks=chosen,
    )


@st.composite
def platforms(draw: st.DrawFn) -> Platform:
    """Draw sites, routers and SAMUs, and what is in force."""
    samus = draw(st.lists(st.sampled_from(SAMUS), min_size=1, unique=True))
    telephony = draw(st.lists(st.sampled_from(TELEPHONY), min_size=1, unique=True))
    routers = tuple(draw(st.lists(st.sampled_from(ROUTERS), min_size=1, unique=True)))
    roles = dict.fromkeys(telephony, SiteRole.TELEPHONY) | {"lille": SiteRole.ARBITER}
    standing = st.sampled_from([*roles, ""])
    router_sites = {r: site for r in routers if (site := draw(standing))}
    hosts = [*routers, *(f"{r}/site" for r in routers), *(f"samu-{s}" for s in samus)]
    policy = replace(
        BASE.policy, safety=draw(rules_in_force()), mode_order=("degraded", "backup"),
        untrimmed_limit=100,
    )  # fmt: skip
    return replace(
        BASE, policy=policy, routers=routers, router_sites=router_sites,
        sites={n: Site(site_id=n, role=r, address="", home=Path("/")) for n, r in roles.items()},
        samus={s: a_samu(s, draw(st.sampled_from(["1", "1", "1", ""]))) for s in samus},
        targets={
            h: Target(host=h, address="", user="root", fence_command=(), fence_dir="")
            for h in hosts
        },
    )  # fmt: skip


def a_samu(samu_id: str, test_number: str) -> Samu:
    return Samu(
        samu_id=samu_id, name="", gateway=f"samu-{samu_id}", number="", test_number=test_number,
        bridge="", fallback_numbers=(), region="",
    )  # fmt: skip


@st.composite
def operations(draw: st.DrawFn, number: int) -> Operation:
    """Draw an operation, under way or ended."""
    verb = draw(st.sampled_from(VERBS))
    outcome = draw(st.sampled_from([None, *Outcome, Outcome.DONE]))
    samus = tuple(draw(st.lists(st.sampled_from(SAMUS), min_size=1, unique=True)))
    ended = samus if outcome else draw(st.lists(st.sampled_from(samus), unique=True))
    ends = {
        s: SamuEnd(outcome=draw(st.sampled_from(Outcome)), to="backup", moved=True) for s in ended
    }
    return Operation(
        operation_id=f"{verb}-{number}", verb=Verb(verb), to="backup", principal="", reason="",
        samus=samus, ends=ends, plan="",
        index=number, accepted_at="", targets={}, previous={}, outcome=outcome,
        ended_at=rfc3339(draw(moments)) if outcome else "",
    )  # fmt: skip


@st.composite
def states(draw: st.DrawFn) -> State:
    """Draw what the journal says."""
    count = draw(st.integers(0, 3))
    found = [draw(operations(number)) for number in range(count)]
    samu, mode = st.sampled_from([*SAMUS, "gone"]), st.sampled_from(MODES)
    times = st.dictionaries(st.sampled_from(["degraded", "backup"]), moments.map(rfc3339))
    state = State(
        epoch=9, paused=draw(st.booleans()),
        intended=draw(st.dictionaries(samu, mode)),
        evacuated=draw(st.dictionaries(st.sampled_from(TELEPHONY), st.sampled_from(TELEPHONY))),
        proved=draw(st.dictionaries(samu, times)),
        confirmations=draw(st.dictionaries(samu, moments.map(confirmed))),
        modes=draw(st.dictionaries(samu, st.sampled_from([on_backup(), on_backup("a")]))),
        held=draw(st.dictionaries(st.sampled_from(ROUTERS), st.sampled_from([Token(1, 1), LATER]))),
    )  # fmt: skip
    for operation in found:
        state.add_operation(operation)
    return state


@st.composite
def readings(draw: st.DrawFn, platform: Platform) -> dict[str, Reading]:
    """Draw what each target answered; most are well."""
    found = {}
    for host in platform.targets:
        how = draw(st.sampled_from(["well", "well", "well", "gone", "bare", "odd", "later"]))
        values = {s: draw(st.sampled_from(MODES)) for s in platform.samus}
        well = Reading(
            host=host, reachable=True, enrolled=how != "bare", values=values, durable=values,
            last=LATER if how == "later" else Token(1, 1),
            directory_at=draw(st.none() | moments.map(milliseconds)),
        )  # fmt: skip
        unread = Reading(host=host, reachable=False)
        found[host] = {"gone": unread, "odd": replace(well, durable={})}.get(how, well)
    return found


@st.composite
def cases(draw: st.DrawFn) -> Facts:
    """Draw one request against one platform at one moment."""
    platform, now, read = (p := draw(platforms())), draw(moments), draw(readings(p))
    verb = Verb(draw(st.sampled_from(VERBS)))
    samus = draw(st.lists(st.sampled_from(sorted(p.samus)), min_size=1, unique=True))
    samus = tuple(sorted(samus))
    modes = {s: judge_mode(s, p.routers, read, now) for s in samus}
    to = {Verb.FAILBACK: "nominal", Verb.EVACUATE: draw(st.sampled_from(TELEPHONY))}.get(verb)
    return Facts(
        platform=platform, state=draw(states()), verb=verb, samus=samus, readings=read, now=now,
        modes=modes, to=draw(st.sampled_from(_directions(verb))) if to is None else to,
        # Who comes home leaves no site.
        site=draw(st.sampled_from([*TELEPHONY, ""])) if verb is Verb.EVACUATE else "",
        approvers=draw(st.sampled_from([(), ("lead@lab",)])),
        overrides=tuple(draw(some_rules)),
        experiments=draw(st.sampled_from([(), ("cut-site lyon",)])),
        untrimmed=draw(st.sampled_from([0, 100, 101])),
        database=draw(st.sampled_from(WORDS)),
        alone=draw(st.sampled_from([False, False, True])),
    )  # fmt: skip


def _directions(verb: Verb) -> tuple[str, ...]:
    return MODES if verb is Verb.REVERT else MODES[1:]


# --- the oracle: what each rule says, read plainly ------------------------------------------------


def touched(f: Facts) -> set[str]:
    if f.verb is Verb.EVACUATE:
        return set(f.platform.routers) | {f"{r}/site" for r in f.platform.routers}
    return set(f.platform.routers) | {f"samu-{s}" for s in f.samus}


def open_on(f: Facts, samu: str) -> bool:
    # The last word on its mode, and the last on which site is asked first.
    last: dict[bool, Operation] = {}
    for operation in f.state.operations.values():
        # An aborted one says nothing of a SAMU it has not begun.
        if samu in operation.samus and (samu in operation.ends or operation.outcome is None):
            last[operation.verb is Verb.EVACUATE] = operation
    return any(
        samu not in one.ends or one.ends[samu].outcome is Outcome.UNKNOWN for one in last.values()
    )


def mode_read(f: Facts, samu: str) -> str:
    said = set()
    for router in f.platform.routers:
        reading = f.readings[router]
        if not reading.reachable or reading.values is None or reading.durable is None:
            return "unknown"
        said |= {reading.values.get(samu, "nominal"), reading.durable.get(samu, "nominal")}
    return said.pop() if len(said) == 1 else "unknown"


def is_held(f: Facts, host: str) -> bool:
    token = f.state.held[host] if host in f.state.held else f.readings[host].last
    return token is not None and token.epoch > 9


def intended(f: Facts) -> dict[str, str]:
    """Return what the journal wants of every SAMU of the platform once this change is made."""
    wanted = {samu: f.state.intended.get(samu, "nominal") for samu in f.platform.samus}
    return wanted | {samu: f.to or wanted[samu] for samu in f.samus}


def would_not_survive(f: Facts) -> bool:
    if f.database is None or f.site == "":
        return False
    if f.site in f.database.without:
        return f.database.without[f.site] in ("LOST", "UNKNOWN")
    return not f.database.holds


def too_many_outside(f: Facts) -> bool:
    rule = f.safety.outside_nominal
    if rule is None or f.to == "nominal":
        return False
    before = [s for s in f.platform.samus if f.state.intended.get(s, "nominal") != "nominal"]
    return len(set(before) | set(f.samus)) > rule.at_most


def no_site_stays(f: Facts) -> bool:
    if f.safety.telephony_site_active is None:
        return False
    for router, site in f.platform.router_sites.items():
        telephony = f.platform.sites[site].role is SiteRole.TELEPHONY
        read = f.readings[router].values is not None
        if telephony and read and site != f.site and site not in f.state.evacuated:
            return False
    return True


def no_room(f: Facts) -> bool:
    rule = f.safety.target_capacity
    if rule is None:
        return False
    if f.verb is not Verb.EVACUATE:
        limit = {"degraded": rule.degraded, "backup": rule.backup}.get(f.to)
        return limit is not None and list(intended(f).values()).count(f.to) > limit
    stay = {s for s, one in f.platform.sites.items() if one.role is SiteRole.TELEPHONY}
    stay -= ({f.site} | set(f.state.evacuated)) - {f.to}
    if not rule.site or not stay <= set(rule.site):
        return False
    need = {s for s in f.platform.samus if f.state.intended.get(s) != "backup"} | set(f.samus)
    return len(need) > sum(rule.site[site] for site in stay)


def is_frozen(windows: FreezeWindows, now: datetime) -> bool:
    """Look at the minute of the week, where the rule looks at dates."""
    minute = now.weekday() * 1440 + now.hour * 60 + now.minute
    for window in windows.windows:
        if isinstance(window, DatedWindow):
            if window.begins <= now < window.ends:
                return True
            continue
        first = window.begins.hour * 60 + window.begins.minute
        length = (window.ends.hour * 60 + window.ends.minute - first) % 1440 or 1440
        if any((minute - DAYS.index(d) * 1440 - first) % 10080 < length for d in window.days):
            return True
    return False


def too_soon(f: Facts) -> bool:
    rule = f.safety.minimum_interval
    planned = ("switchover", "failback", "revert", "evacuate")
    ends = [
        datetime.fromisoformat(o.ended_at)
        for o in f.state.operations.values()
        if o.verb.value in planned and o.ended_at
    ]
    return rule is not None and any(f.now - e < timedelta(minutes=rule.minutes) for e in ends)


def not_proved(f: Facts) -> bool:
    rule = f.safety.backup_proved
    if rule is None or f.to not in ("degraded", "backup"):
        return False
    for samu in f.samus:
        at = f.state.proved.get(samu, {}).get(f.to)
        if at is None or f.now - datetime.fromisoformat(at) > timedelta(hours=rule.within_hours):
            return True
    return False


def not_in_place(f: Facts) -> bool:
    rule = f.safety.agents_confirmed
    if rule is None or f.to == "nominal":
        return False
    said = {s: datetime.fromisoformat(c.time) for s, c in f.state.confirmations.items()}
    within = timedelta(minutes=rule.within_minutes)
    return not all(s in said and f.now - said[s] <= within for s in f.samus)


def not_ticked(f: Facts) -> bool:
    if f.safety.exit_checklist is None:
        return False
    return any(s in f.state.modes and "a" not in f.state.modes[s].ticked for s in f.samus)


def old_directory(f: Facts) -> bool:
    rule = f.safety.directory_fresh
    if rule is None or f.to != "backup":
        return False
    for reading in (f.readings[f"samu-{s}"] for s in f.samus):
        oldest = milliseconds(f.now) - rule.within_hours * 3_600_000
        if reading.reachable and (reading.directory_at is None or reading.directory_at < oldest):
            return True
    return False


def disturbed(f: Facts) -> bool:
    return f.safety.experiment_running is not None and f.experiments != ()


def frozen(f: Facts) -> bool:
    return f.safety.freeze_window is not None and is_frozen(f.safety.freeze_window, f.now)


def lacks_second(f: Facts) -> bool:
    rule = f.safety.second_signature
    return rule is not None and len(f.samus) > rule.above and not f.approvers


ORACLE: Mapping[str, Callable[[Facts], bool]] = {
    "test-number": lambda f: any(f.platform.samus[s].test_number == "" for s in f.samus),
    "routers-read": lambda f: any(
        f.readings[h].values is None for h in touched(f) if h.startswith("otn")
    ),
    "targets-enrolled": lambda f: any(
        f.readings[h].reachable and not f.readings[h].enrolled for h in touched(f)
    ),
    "one-operation": lambda f: any(open_on(f, s) for s in f.samus),
    "mode-known": lambda f: any(mode_read(f, s) == "unknown" for s in f.samus),
    "mode-changes": lambda f: any(mode_read(f, s) == f.to for s in f.samus),
    "leader-paused": lambda f: f.state.paused,
    "journal-untrimmed": lambda f: f.untrimmed > 100,
    "target-held": lambda f: any(is_held(f, h) for h in touched(f)),
    "database-quorum": lambda f: f.database is not None and not f.database.holds,
    "database-survives": would_not_survive,
    "outside-nominal": too_many_outside,
    "telephony-site-active": no_site_stays,
    "target-capacity": no_room,
    "freeze-window": frozen,
    "minimum-interval": too_soon,
    "second-signature": lacks_second,
    "backup-proved": not_proved,
    "experiment-running": disturbed,
    "agents-confirmed": not_in_place,
    "exit-checklist": not_ticked,
    "directory-fresh": old_directory,
}


def told(f: Facts) -> set[str]:
    """Return the rules that are broken, and concern the verb."""
    column = VERBS.index(f.verb.value)
    return {r for r, broken in ORACLE.items() if MATRIX[r][column] != "-" and broken(f)}


def would_block(f: Facts, rule: str) -> bool:
    """Say whether a broken rule would block, did nobody set it aside."""
    verb = f.verb.value
    if verb == "failover" or (f.alone and rule in NOT_ALONE):
        return False
    chosen = f.safety.blocks.get(rule)
    return MATRIX[rule][VERBS.index(verb)] == "B" if chosen is None else verb in chosen


# --- what must hold -----------------------------------------------------------------------------


@settings(max_examples=CASES)
@given(cases())
def test_no_planned_change_breaks_a_rule_and_no_rescue_is_blocked(facts: Facts) -> None:
    """What is broken is told; what is told and blocks is refused unless set aside by its name."""
    found = judge(facts)
    assert {f.rule for f in found} == told(facts)
    blocking = {rule for rule in told(facts) if would_block(facts, rule)}
    named = set(facts.overrides)
    assert {f.rule for f in found if f.blocks} == blocking - named
    assert {f.rule for f in found if f.overridden} == blocking & named
    assert all(f.message and f.remedy for f in found)
    if facts.verb is Verb.FAILOVER:
        assert not any(f.blocks or f.overridden for f in found)
    if facts.verb.moves:
        _check_plan(facts, found)


def _check_plan(facts: Facts, found: tuple[Finding, ...]) -> None:
    """Check that a plan of the same request finds the same, unless some need not move."""
    plan = build_plan(
        platform=facts.platform, state=facts.state, verb=facts.verb, samus=facts.samus,
        to=facts.to, readings=facts.readings, read_at=facts.now, untrimmed=facts.untrimmed,
        alone=facts.alone, database=facts.database, approvers=facts.approvers,
        overrides=facts.overrides, experiments=facts.experiments,
    )  # fmt: skip
    assert plan.blocked_by == tuple(f for f in plan.findings if f.blocks)
    assert plan.findings == found or plan.already


@given(windows(), moments, st.floats(0, 1, exclude_max=True))
def test_a_freeze_ends_when_it_says(windows: FreezeWindows, now: datetime, part: float) -> None:
    """Up to that instant it is frozen all along, and at it no more."""
    free = windows.free_from(now)
    assert (windows.frozen(now) != ()) == is_frozen(windows, now)
    if free is not None:
        assert not is_frozen(windows, free)
        between = now + (free - now) * part
        assert is_frozen(windows, between) or between == free


@given(rules_in_force())
def test_settings_survive_being_written(safety: Safety) -> None:
    """What is shown of any settings reads as the same settings, where an inventory may say them."""
    safety = replace(safety, blocks={})
    if safety.target_capacity == TargetCapacity():
        safety = replace(safety, target_capacity=None)
    shown = {rule: one for rule in MATRIX if (one := written(safety, rule)) is not None}
    assert read_safety(shown, TELEPHONY) == (safety, [])
