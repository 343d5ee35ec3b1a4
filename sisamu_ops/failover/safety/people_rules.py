"""The rules about people: who is in place, what is checked before they go back (pure).

Each is in force where `sisamu_safety` gives it settings.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sisamu_ops.failover.fold.modes import open_items, unconfirmed
from sisamu_ops.failover.reading import DEFAULT_MODE
from sisamu_ops.failover.safety.facts import Facts, Said, name_options, say_of
from sisamu_ops.failover.safety.rule import Cell, Rule
from sisamu_ops.model.platform import TelephonyMode

B, F, N = Cell.BLOCKS, Cell.FINDING, Cell.NOTHING
AGENTS_CONFIRMED = "agents-confirmed"


def _confirmed(facts: Facts) -> Said:
    rule = facts.safety.agents_confirmed
    if rule is None or facts.to == DEFAULT_MODE:
        return iter(())
    waiting = unconfirmed(facts.samus, facts.state.confirmations, facts.now, rule.within_minutes)
    what = "waits for them" if facts.verb.planned else "acts first: call them"
    return say_of(
        waiting,
        one=f"the agents of SAMU {{}} are not confirmed in place; this {what}",
        many=f"the agents of SAMUs {{}} are not confirmed in place; this {what}",
        remedy=f"sisamu samu confirm {name_options('--samu', waiting)} --by ROLE --channel phone",
    )


def _checklist(facts: Facts) -> Said:
    lists = facts.safety.checklists
    still = {s: open_items(facts.state.mode_of(s), lists) for s in facts.samus}
    waiting = [s for s in facts.samus if still[s]]
    items = list(dict.fromkeys(item for s in waiting for item in still[s]))
    return say_of(
        waiting,
        one=f"the exit checklist of SAMU {{}} is open: {', '.join(items)}",
        many=f"the exit checklists of SAMUs {{}} are open: {', '.join(items)}",
        remedy=f"sisamu samu checklist {name_options('--samu', waiting)} "
        f"{name_options('--tick', items)} --reason TEXT",
    )


def _directory(facts: Facts) -> Said:
    rule = facts.safety.directory_fresh
    if rule is None or facts.to != TelephonyMode.BACKUP.value:
        return iter(())
    oldest = facts.now - timedelta(hours=rule.within_hours)
    stale = [s for s in facts.samus if not _is_fresh(facts, s, oldest)]
    within = f"brought up to date within {rule.within_hours} h"
    return say_of(
        stale,
        one=f"the telephone directory of SAMU {{}} was not {within}",
        many=f"the telephone directories of SAMUs {{}} were not {within}",
        remedy="synchronise the directory at the gateway of SAMU {}, then: sisamu samu show",
    )


def _is_fresh(facts: Facts, samu_id: str, oldest: datetime) -> bool:
    reading = facts.readings.get(facts.platform.samus[samu_id].gateway)
    if reading is None or not reading.reachable:
        return True  # what cannot be reached is another rule's affair
    at = reading.directory_at
    return at is not None and datetime.fromtimestamp(at / 1000, UTC) >= oldest


#: Each row says what the rule does to a switchover, failback, revert, evacuation and check. Agents
#: who are not in place do not refuse a switchover: it is accepted, and waits for them.
PEOPLE_RULES = (
    Rule(
        rule_id=AGENTS_CONFIRMED, check=_confirmed, row=(F, N, N, N, N), needs_settings=True,
        passing=True,
        asks="The agents of each SAMU were confirmed in place within `within_minutes`.",
        remedy="sisamu samu confirm; an accepted switchover waits for it",
    ),
    Rule(
        rule_id="exit-checklist", check=_checklist, row=(N, B, N, N, N), needs_settings=True,
        passing=True,
        asks="Every item of the exit checklist of the mode that is left was ticked.",
        remedy="sisamu samu checklist --tick",
    ),
    Rule(
        rule_id="directory-fresh", check=_directory, row=(B, N, F, N, F), needs_settings=True,
        binds_alone=False, passing=True,
        asks="The telephone directory at each gateway is no older than `within_hours`.",
        remedy="synchronise it",
    ),
)  # fmt: skip
