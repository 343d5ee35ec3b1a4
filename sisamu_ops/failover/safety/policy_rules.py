"""The rules an inventory puts in force: how many at once, when, by whose word (pure).

Each is in force where `sisamu_safety` gives it settings.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from sisamu_ops.failover.reading import DEFAULT_MODE
from sisamu_ops.failover.request import Verb, rfc3339
from sisamu_ops.failover.safety.facts import Facts, Said, name_options
from sisamu_ops.failover.safety.rule import Cell, Rule
from sisamu_ops.model.naming import name_few
from sisamu_ops.model.platform import SiteRole, TelephonyMode
from sisamu_ops.model.safety import TargetCapacity

B, F, N = Cell.BLOCKS, Cell.FINDING, Cell.NOTHING
EXPERIMENT_RUNNING = "experiment-running"
SECOND_SIGNATURE = "second-signature"


def _outside_nominal(facts: Facts) -> Said:
    rule = facts.safety.outside_nominal
    if rule is None or facts.to == DEFAULT_MODE:
        return
    out = _together(facts, [s for s in facts.platform.samus if not _is_intended(facts, s)])
    if len(out) > rule.at_most:
        yield (
            f"{len(out)} SAMUs would be outside nominal, and {rule.at_most} at most may: "
            f"{name_few(out)}",
            _fewer(len(out) - rule.at_most),
        )


def _is_intended(facts: Facts, samu_id: str, mode: str = DEFAULT_MODE) -> bool:
    return facts.state.intended_mode(samu_id) == mode


def _together(facts: Facts, others: list[str]) -> tuple[str, ...]:
    """Return some SAMUs and those of this change, each once."""
    return tuple(dict.fromkeys([*others, *facts.samus]))


def _fewer(excess: int) -> str:
    return f"bring {excess} back first, with sisamu failback start, or move {excess} fewer"


def _site_active(facts: Facts) -> Said:
    if facts.safety.telephony_site_active is None:
        return
    others = [site for site in _telephony_sites(facts) if site != facts.site]
    why = {site: _why_not_active(facts, site) for site in others}
    if all(why.values()):
        left = "; ".join(f"{site} {reason}" for site, reason in why.items())
        yield (
            f"no telephony site would be active: {left or 'there is no other'}",
            "bring a site back, and see that its router is read: sisamu doctor",
        )


def _telephony_sites(facts: Facts) -> list[str]:
    sites = facts.platform.sites.values()
    return [site.site_id for site in sites if site.role is SiteRole.TELEPHONY]


def _why_not_active(facts: Facts, site: str) -> str:
    """Say why a site does not count as active; nothing when it does."""
    if site in facts.state.evacuated:
        return "is evacuated"
    routers = [r for r, where in facts.platform.router_sites.items() if where == site]
    if not routers:
        return "has no router the inventory knows of (site_id)"
    read = (facts.readings.get(router) for router in routers)
    return "" if any(one and one.values is not None for one in read) else "has no router read"


def _capacity(facts: Facts) -> Said:
    rule = facts.safety.target_capacity
    if rule is None:
        return
    if facts.verb is Verb.EVACUATE:
        yield from _of_sites(facts, rule)
        return
    limit = {
        TelephonyMode.DEGRADED.value: rule.degraded, TelephonyMode.BACKUP.value: rule.backup
    }.get(facts.to)  # fmt: skip
    there = _together(facts, [s for s in facts.platform.samus if _is_intended(facts, s, facts.to)])
    if limit is not None and len(there) > limit:
        yield (
            f"{len(there)} SAMUs would be on {facts.to}, which carries {limit}",
            _fewer(len(there) - limit),
        )


def _of_sites(facts: Facts, rule: TargetCapacity) -> Said:
    """Compare what the sites that stay can carry with the SAMUs that need a site.

    A SAMU on backup needs none. A site without a figure has no limit.
    """
    gone = {facts.site, *facts.state.evacuated} - {facts.to}
    stay = [site for site in _telephony_sites(facts) if site not in gone]
    if not rule.site or any(site not in rule.site for site in stay):
        return
    backup, capacity = TelephonyMode.BACKUP.value, sum(rule.site[site] for site in stay)
    served = [s for s in facts.platform.samus if not _is_intended(facts, s, backup)]
    needing = len(_together(facts, served))
    if needing > capacity:
        yield (
            f"{needing} SAMUs would be left to {name_few(stay) or 'no site'}, "
            f"which carries {capacity}",
            f"move {needing - capacity} to backup first, with sisamu switchover start, "
            "or bring another site back",
        )


def _frozen(facts: Facts) -> Said:
    rule = facts.safety.freeze_window
    names = rule.frozen(facts.now) if rule else ()
    if rule and names:
        free = rule.free_from(facts.now)
        yield (
            f"changes are frozen: {name_few(names)}",
            f"wait until {rfc3339(free)}" if free else "it never ends: see sisamu_safety",
        )


def _interval(facts: Facts) -> Said:
    rule = facts.safety.minimum_interval
    last = max(_planned_ends(facts), default=None)
    if rule is None or last is None:
        return
    ended, operation = last
    may_start = ended + timedelta(minutes=rule.minutes)
    if facts.now < may_start:
        yield (
            f"{operation} ended at {rfc3339(ended)}: {rule.minutes} minutes must pass",
            f"wait until {rfc3339(may_start)}",
        )


def _planned_ends(facts: Facts) -> Iterator[tuple[datetime, str]]:
    """Give when each planned change ended; a check changes nothing, and often comes first."""
    for operation in facts.state.operations.values():
        if operation.verb.planned and operation.verb is not Verb.CHECK and operation.ended_at:
            yield datetime.fromisoformat(operation.ended_at), operation.operation_id


def _second_signature(facts: Facts) -> Said:
    rule = facts.safety.second_signature
    if rule is None or len(facts.samus) <= rule.above or facts.approvers:
        return
    yield (
        f"{len(facts.samus)} SAMUs are more than {rule.above}: it needs a second signature",
        "start it: it waits; then another operator: sisamu request approve ID"
        if facts.verb.planned
        else "within an hour, another operator: sisamu request approve ID",
    )


def _proved(facts: Facts) -> Said:
    rule = facts.safety.backup_proved
    if rule is None or facts.to not in _OTHER_PATHS:
        return
    since = facts.now - timedelta(hours=rule.within_hours)
    old = [s for s in facts.samus if not _proved_since(facts, s, since)]
    if old:
        word = "SAMU" if len(old) == 1 else "SAMUs"
        yield (
            f"the {facts.to} path of {word} {name_few(old)} was not proved "
            f"within {rule.within_hours} h",
            f"sisamu samu check {name_options('--samu', old)}",
        )


_OTHER_PATHS = (TelephonyMode.DEGRADED.value, TelephonyMode.BACKUP.value)


def _proved_since(facts: Facts, samu_id: str, since: datetime) -> bool:
    proved = facts.state.proved.get(samu_id, {}).get(facts.to)
    return proved is not None and datetime.fromisoformat(proved) >= since


def _experiment(facts: Facts) -> Said:
    if facts.safety.experiment_running is not None and facts.experiments:
        yield (
            f"an experiment runs: {name_few(facts.experiments)}",
            "wait for its end, or sisamu chaos heal"
            if facts.verb.planned
            else "nothing to do: it is stopped first",
        )


#: Each row says what the rule does to a switchover, failback, revert, evacuation and check. To come
#: back to nominal is never held up by there being many outside it.
POLICY_RULES = (
    Rule(
        rule_id="outside-nominal", check=_outside_nominal, row=(B, N, B, N, N),
        needs_settings=True, passing=True,
        asks="After the change no more than `at_most` SAMUs are outside nominal.",
        remedy="bring some back first, or move fewer",
    ),
    Rule(
        rule_id="telephony-site-active", check=_site_active, row=(B, B, B, B, F),
        needs_settings=True, binds_alone=False, passing=True,
        asks="A telephony site that is not evacuated stays, with a router that is read.",
        remedy="bring a site back, and see that its router is read: sisamu doctor",
    ),
    Rule(
        rule_id="target-capacity", check=_capacity, row=(B, N, B, B, N), needs_settings=True,
        passing=True,
        asks="The mode, or in an evacuation the sites that stay, can carry all SAMUs meant for it.",
        remedy="bring some back first, or move fewer",
    ),
    Rule(
        rule_id="freeze-window", check=_frozen, row=(B, B, B, B, F), needs_settings=True,
        passing=True,
        asks="It is not a time at which changes are frozen.",
        remedy="wait until the window has ended",
    ),
    Rule(
        rule_id="minimum-interval", check=_interval, row=(B, B, B, B, N), needs_settings=True,
        passing=True,
        asks="The last planned change ended at least `minutes` ago.",
        remedy="wait until they have passed",
    ),
    Rule(
        rule_id=SECOND_SIGNATURE, check=_second_signature, row=(B, B, B, B, N),
        needs_settings=True, binds_alone=False, passing=True,
        asks="Two have signed for a change of more than `above` SAMUs.",
        remedy="have another operator approve it: sisamu request approve ID",
    ),
    Rule(
        rule_id="backup-proved", check=_proved, row=(B, N, B, N, N), needs_settings=True,
        binds_alone=False, passing=True,
        asks="A test call proved each SAMU's new path within `within_hours`.",
        remedy="sisamu samu check proves it",
    ),
    Rule(
        rule_id=EXPERIMENT_RUNNING, check=_experiment, row=(B, B, B, B, B), needs_settings=True,
        passing=True,
        asks="No experiment runs.",
        remedy="wait for its end, or sisamu chaos heal",
    ),
)  # fmt: skip
