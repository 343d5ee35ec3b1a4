"""Facts that break no rule, and for each rule what breaks it and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sisamu_ops.failover.fold.modes import Confirmation, SamuMode, Tick
from sisamu_ops.failover.fold.operation import Operation, SamuEnd
from sisamu_ops.failover.fold.state import State
from sisamu_ops.failover.ports import DatabaseWord
from sisamu_ops.failover.reading import ModeReading, Reading
from sisamu_ops.failover.request import Verb, rfc3339
from sisamu_ops.failover.safety import Facts
from sisamu_ops.model.outcome import Outcome
from sisamu_ops.model.platform import Platform, Site, SiteRole, TelephonyMode, site_target
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
    Safety,
    SecondSignature,
    TargetCapacity,
    TelephonySiteActive,
)
from sisamu_ops.model.token import Token, break_glass_epoch
from tests.support.world import ROUTERS, SAMUS, _platform

NOW = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
#: The matrix once more, written down by hand: B blocks, F is a finding, - does not apply.
VERBS = ("switchover", "failover", "failback", "revert", "evacuate", "check")
MATRIX: Mapping[str, str] = {
    "test-number": "BFBBBB",
    "routers-read": "BFBBBF",
    "targets-enrolled": "BFBBBB",
    "one-operation": "BFBBBB",
    "mode-known": "BFBFBF",
    "mode-changes": "BFFF--",
    "leader-paused": "BFBBBB",
    "journal-untrimmed": "BFBBBB",
    "target-held": "BFBBBB",
    "database-quorum": "BFBBBF",
    "database-survives": "----B-",
    "outside-nominal": "BF-B--",
    "telephony-site-active": "BFBBBF",
    "target-capacity": "BF-BB-",
    "freeze-window": "BFBBBF",
    "minimum-interval": "BFBBB-",
    "second-signature": "BFBBB-",
    "backup-proved": "BF-B--",
    "experiment-running": "BFBBBB",
    "agents-confirmed": "FF----",
    "exit-checklist": "-FB---",
    "directory-fresh": "BF-F-F",
}
#: What a site that is cut off and acts alone cannot have.
NOT_ALONE = {
    "routers-read", "mode-known", "leader-paused", "journal-untrimmed", "database-quorum",
    "database-survives", "telephony-site-active", "second-signature", "backup-proved",
    "directory-fresh",
}  # fmt: skip
IN_FORCE = Safety(
    outside_nominal=OutsideNominal(at_most=1),
    telephony_site_active=TelephonySiteActive(),
    target_capacity=TargetCapacity(degraded=1, backup=1, site={"paris": 3, "lyon": 3}),
    freeze_window=FreezeWindows(windows=(DatedWindow(
        name="New Year", begins=NOW - 24 * HOUR, ends=NOW),)),
    minimum_interval=MinimumInterval(minutes=30),
    second_signature=SecondSignature(above=1),
    backup_proved=BackupProved(within_hours=24),
    experiment_running=ExperimentRunning(),
    agents_confirmed=AgentsConfirmed(within_minutes=60),
    exit_checklist=ExitChecklist(backup={"agents-back": "agents are at their consoles"}),
    directory_fresh=DirectoryFresh(within_hours=24),
)  # fmt: skip


def with_safety(platform: Platform, **settings: Any) -> Platform:
    """Return the platform with other settings of its rules."""
    safety = replace(platform.policy.safety, **settings)
    return replace(platform, policy=replace(platform.policy, safety=safety))


def a_platform(directory: Path = Path("/nowhere")) -> Platform:
    """Return three SAMUs, two telephony sites, a router at each, an arbiter; all rules in force."""
    platform = _platform(directory)
    roles = {"paris": SiteRole.TELEPHONY, "lyon": SiteRole.TELEPHONY, "lille": SiteRole.ARBITER}
    sites = {
        name: Site(site_id=name, role=role, address="127.0.0.1", home=directory)
        for name, role in roles.items()
    }
    router_sites = dict(zip(ROUTERS, ("paris", "lyon"), strict=True))
    policy = replace(platform.policy, safety=IN_FORCE, mode_order=("degraded", "backup"))
    fences = {
        (name := site_target(r)): replace(platform.targets[r], host=name) for r in router_sites
    }
    return replace(
        platform, sites=sites, router_sites=router_sites, policy=policy,
        targets={**platform.targets, **fences},
    )  # fmt: skip


def sound(verb: Verb) -> Facts:
    """Return facts of a request for SAMU 300 that no rule has anything to say of."""
    platform = a_platform()
    to = {Verb.FAILBACK: "nominal", Verb.EVACUATE: ""}.get(verb, "backup")
    mode = TelephonyMode.BACKUP if verb is Verb.FAILBACK else TelephonyMode.NOMINAL
    reading = dict.fromkeys(ROUTERS, mode.value)
    return Facts(
        platform=platform, verb=verb, samus=("300",), to=to, now=NOW,
        site="paris" if verb is Verb.EVACUATE else "",
        state=State(
            epoch=9,
            proved={s: {"backup": rfc3339(NOW - HOUR)} for s in SAMUS},
            confirmations={s: confirmed(NOW - HOUR) for s in SAMUS},
            modes={s: on_backup("agents-back") for s in SAMUS},
        ),
        readings={
            host: Reading(
                host=host, reachable=True, enrolled=True, last=Token(1, 1), values={}, durable={},
                directory_at=milliseconds(NOW - 24 * HOUR),
            )
            for host in platform.targets
        },
        modes={
            s: ModeReading(samu_id=s, mode=mode, read_at=NOW, routers=reading) for s in SAMUS
        },
    )  # fmt: skip


def milliseconds(moment: datetime) -> int:
    """Return an instant as a gateway says it."""
    return round(moment.timestamp() * 1000)


def confirmed(at: datetime) -> Confirmation:
    """Return the word that agents are in place."""
    return Confirmation(
        by="shift lead", channel="phone", at="", principal="oncall@lab", time=rfc3339(at)
    )


def on_backup(*ticked: str) -> SamuMode:
    """Return the mode of a SAMU on backup, with what of the checklist is ticked."""
    tick = Tick(principal="oncall@lab", time=rfc3339(NOW))
    return SamuMode(mode="backup", since=rfc3339(NOW - HOUR), ticked=dict.fromkeys(ticked, tick))


def an_operation(facts: Facts, verb: Verb, **changes: Any) -> Operation:
    """Put an operation of SAMU 300 into the state of the facts."""
    fields: dict[str, Any] = {
        "operation_id": f"{verb.value}-0001", "verb": verb, "samus": ("300",), "to": "backup",
        "principal": "oncall@lab", "reason": "a test", "plan": "", "index": 1,
        "accepted_at": rfc3339(NOW - 2 * HOUR), "targets": {}, "previous": {},
    }  # fmt: skip
    operation = Operation(**fields | changes)
    facts.state.add_operation(operation)
    return operation


Break = Callable[[Facts], Facts]


def _no_test_number(facts: Facts) -> Facts:
    samus = {k: replace(s, test_number="") for k, s in facts.platform.samus.items()}
    return replace(facts, platform=replace(facts.platform, samus=samus))


def _reading(facts: Facts, host: str, **changes: Any) -> Facts:
    readings = {**facts.readings, host: replace(facts.readings[host], **changes)}
    return replace(facts, readings=readings)


def _mode(facts: Facts, mode: TelephonyMode) -> Facts:
    modes = {s: replace(one, mode=mode) for s, one in facts.modes.items()}
    return replace(facts, modes=modes)


def _is_there(facts: Facts) -> Facts:
    facts = facts if facts.to else replace(facts, to="nominal")
    return _mode(facts, TelephonyMode(facts.to))


def _unsettled(facts: Facts) -> Facts:
    unknown = SamuEnd(outcome=Outcome.UNKNOWN, to="backup", moved=True)
    an_operation(facts, Verb.FAILOVER, outcome=Outcome.UNKNOWN, ends={"300": unknown})
    return facts


def _paused(facts: Facts) -> Facts:
    facts.state.paused = True
    return facts


def _untrimmed(facts: Facts) -> Facts:
    return replace(facts, untrimmed=facts.platform.policy.untrimmed_limit + 1)


def _database_lost(facts: Facts) -> Facts:
    return replace(facts, database=DatabaseWord(holds=False, said="LOST"))


def _database_of_one_site(facts: Facts) -> Facts:
    without = {"paris": "LOST", "lyon": "QUORATE"}
    return replace(facts, database=DatabaseWord(holds=True, said="QUORATE", without=without))


def _bare(facts: Facts) -> Facts:
    """An evacuation changes the routers' second fences, all else the gateways as well."""
    evacuates = facts.verb is Verb.EVACUATE
    return _reading(facts, "otn-lyon/site" if evacuates else "samu-300", enrolled=False)


def _others_outside(facts: Facts) -> Facts:
    """One other is degraded, and one may be; what is asked for is the second."""
    facts.state.intended["680"] = "degraded"
    return facts


def _both_evacuated(facts: Facts) -> Facts:
    facts.state.evacuated |= {"paris": "lyon", "lyon": "paris"}
    settings = replace(IN_FORCE, target_capacity=None)
    return replace(facts, platform=with_safety(facts.platform, **vars(settings)))


def _full(facts: Facts) -> Facts:
    """One other is on backup, which carries one; lyon carries two of three."""
    if facts.verb is not Verb.EVACUATE:
        facts.state.intended["680"] = "backup"
    capacity = TargetCapacity(backup=1, site={"paris": 3, "lyon": 2})
    settings = replace(IN_FORCE, target_capacity=capacity, outside_nominal=None)
    return replace(facts, platform=with_safety(facts.platform, **vars(settings)))


def _frozen(facts: Facts) -> Facts:
    return replace(facts, now=facts.now - timedelta(milliseconds=1))


def _just_now(facts: Facts) -> Facts:
    ended = rfc3339(NOW - timedelta(minutes=30) + timedelta(milliseconds=1))
    an_operation(facts, Verb.FAILBACK, outcome=Outcome.DONE, ended_at=ended, samus=("120",))
    return facts


def _two_at_once(facts: Facts) -> Facts:
    settings = replace(IN_FORCE, outside_nominal=None, target_capacity=None)
    platform = with_safety(facts.platform, **vars(settings))
    return replace(facts, platform=platform, samus=("300", "680"))


def _not_proved(facts: Facts) -> Facts:
    facts.state.proved["300"] = {"degraded": rfc3339(NOW)}
    return facts


def _experiment(facts: Facts) -> Facts:
    return replace(facts, experiments=("cut-link paris lyon",))


def _not_confirmed(facts: Facts) -> Facts:
    late = confirmed(NOW - HOUR - timedelta(milliseconds=1))
    facts.state.confirmations["300"] = late
    return facts


def _not_ticked(facts: Facts) -> Facts:
    facts.state.modes["300"] = on_backup("something else")
    return facts


def _old_directory(facts: Facts) -> Facts:
    return _reading(facts, "samu-300", directory_at=milliseconds(NOW - 24 * HOUR) - 1)


HAND = Token(break_glass_epoch(1, 15), 1)
#: For each rule, what breaks it; for a rescue and all planned verbs alike.
BREAKS: Mapping[str, Break] = {
    "test-number": _no_test_number,
    "routers-read": lambda f: _reading(f, "otn-lyon", reachable=False, values=None, last=None),
    "targets-enrolled": _bare,
    "one-operation": _unsettled,
    "mode-known": lambda f: _mode(f, TelephonyMode.UNKNOWN),
    "mode-changes": _is_there,
    "leader-paused": _paused,
    "journal-untrimmed": _untrimmed,
    "target-held": lambda f: _reading(f, "otn-lyon", last=HAND),
    "database-quorum": _database_lost,
    "database-survives": _database_of_one_site,
    "outside-nominal": _others_outside,
    "telephony-site-active": _both_evacuated,
    "target-capacity": _full,
    "freeze-window": _frozen,
    "minimum-interval": _just_now,
    "second-signature": _two_at_once,
    "backup-proved": _not_proved,
    "experiment-running": _experiment,
    "agents-confirmed": _not_confirmed,
    "exit-checklist": _not_ticked,
    "directory-fresh": _old_directory,
}
