"""The settings of the rules, read from what an inventory says, and written again (pure).

`sisamu_safety` maps a rule's id to its settings. Every rule may have `blocks`, the planned verbs it
blocks on this platform. All that is wrong is told at once; what is wrong puts nothing in force.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime, time
from typing import Any

from sisamu_ops.failover.request import Verb, rfc3339
from sisamu_ops.failover.safety.matrix import RULES
from sisamu_ops.failover.safety.part import Part
from sisamu_ops.failover.safety.rule import PLANNED, Cell, Rule
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
    Settings,
    TargetCapacity,
    TelephonySiteActive,
    WeeklyWindow,
)

BLOCKS = "blocks"
_WINDOWS = "windows"


def read_safety(value: object, sites: Collection[str]) -> tuple[Safety, list[str]]:
    """Read `sisamu_safety`; return what is in force and every problem, each with its place."""
    problems: list[str] = []
    whole = Part("sisamu_safety", value, problems)
    whole.only(*RULES, what="rule")
    found: dict[str, Any] = {}
    blocks: dict[str, tuple[str, ...]] = {}
    for name in (name for name in whole.names() if name in RULES):
        part = _of_rule(whole, name)
        if part.has(BLOCKS):
            blocks[name] = tuple(_blocks(part, RULES[name]))
        if name in _READERS:
            found[name.replace("-", "_")] = _READERS[name](part, sites)
        else:
            part.only(BLOCKS)
    return (Safety() if problems else Safety(**found, blocks=blocks)), problems


def _of_rule(whole: Part, name: str) -> Part:
    """Return a rule's settings; those of a rule of windows may be the list of them alone."""
    if name == "freeze-window" and whole.lists(name):
        return whole.member(name, {_WINDOWS: whole.items(name)})
    return whole.part(name)


def _blocks(part: Part, rule: Rule) -> Iterator[str]:
    """Give the planned verbs an inventory lets a rule block: never a rescue."""
    choice = [v.value for v in PLANNED if rule.default[v] is not Cell.NOTHING]
    for verb in part.items(BLOCKS, least=0):
        if verb == Verb.FAILOVER.value:
            part.note("blocks names failover: a rescue is never blocked")
        elif verb not in choice:
            part.note(f"blocks names {verb!r}; of this rule it may name {', '.join(choice)}")
        else:
            yield str(verb)


def _outside_nominal(part: Part, _: Collection[str]) -> OutsideNominal:
    part.only("at_most", BLOCKS)
    return OutsideNominal(at_most=part.count("at_most"))


def _site_active(part: Part, _: Collection[str]) -> TelephonySiteActive:
    part.only(BLOCKS)
    return TelephonySiteActive()


def _capacity(part: Part, sites: Collection[str]) -> TargetCapacity:
    part.only("degraded", "backup", "site", BLOCKS)
    if not any(part.has(name) for name in ("degraded", "backup", "site")):
        part.note("needs one of degraded, backup, site")
    by_site = part.part("site")
    by_site.only(*sites)
    return TargetCapacity(
        degraded=part.count_if_any("degraded"), backup=part.count_if_any("backup"),
        site={name: by_site.count(name) for name in by_site.names()},
    )  # fmt: skip


def _freeze(part: Part, _: Collection[str]) -> FreezeWindows:
    part.only(_WINDOWS, BLOCKS)
    windows = [
        _window(part.member(f"{_WINDOWS}[{number}]", item))
        for number, item in enumerate(part.items(_WINDOWS))
    ]
    return FreezeWindows(windows=tuple(window for window in windows if window))


def _window(part: Part) -> DatedWindow | WeeklyWindow | None:
    name = part.text("name")
    if part.has("days"):
        part.only("name", "days", "from", "to")
        days = tuple(str(day) for day in part.items("days"))
        for day in (day for day in days if day not in DAYS):
            part.note(f"days names {day!r}; it may name {', '.join(DAYS)}")
        return WeeklyWindow(name=name, days=days, begins=part.hour("from"), ends=part.hour("to"))
    part.only("name", "from", "to")
    begins, ends = part.instant("from"), part.instant("to")
    if begins is None or ends is None:
        return None
    if ends <= begins:
        part.note("to must be after from")
    return DatedWindow(name=name, begins=begins, ends=ends)


def _interval(part: Part, _: Collection[str]) -> MinimumInterval:
    part.only("minutes", BLOCKS)
    return MinimumInterval(minutes=part.count("minutes", least=1))


def _signature(part: Part, _: Collection[str]) -> SecondSignature:
    part.only("above", BLOCKS)
    return SecondSignature(above=part.count("above"))


def _proved(part: Part, _: Collection[str]) -> BackupProved:
    part.only("within_hours", BLOCKS)
    return BackupProved(within_hours=part.count("within_hours", least=1))


def _experiment(part: Part, _: Collection[str]) -> ExperimentRunning:
    part.only(BLOCKS)
    return ExperimentRunning()


def _confirmed(part: Part, _: Collection[str]) -> AgentsConfirmed:
    part.only("within_minutes", BLOCKS)
    return AgentsConfirmed(within_minutes=part.count("within_minutes", least=1))


def _checklist(part: Part, _: Collection[str]) -> ExitChecklist:
    part.only("degraded", "backup", BLOCKS)
    items = {mode: part.part(mode) for mode in ("degraded", "backup")}
    return ExitChecklist(**{
        mode: {name: one.text(name) for name in one.names()} for mode, one in items.items()
    })  # fmt: skip


def _directory(part: Part, _: Collection[str]) -> DirectoryFresh:
    part.only("within_hours", BLOCKS)
    return DirectoryFresh(within_hours=part.count("within_hours", least=1))


_READERS: Mapping[str, Callable[[Part, Collection[str]], Settings]] = {
    "outside-nominal": _outside_nominal,
    "telephony-site-active": _site_active,
    "target-capacity": _capacity,
    "freeze-window": _freeze,
    "minimum-interval": _interval,
    "second-signature": _signature,
    "backup-proved": _proved,
    "experiment-running": _experiment,
    "agents-confirmed": _confirmed,
    "exit-checklist": _checklist,
    "directory-fresh": _directory,
}


def written(safety: Safety, rule_id: str) -> dict[str, Any] | None:
    """Return a rule's settings as an inventory may say them; None where it says nothing."""
    settings, blocks = safety.settings(rule_id), safety.blocks.get(rule_id)
    if settings is None and blocks is None:
        return None
    found: dict[str, Any] = {} if settings is None else _plain(settings)
    return found | ({} if blocks is None else {BLOCKS: list(blocks)})


#: Words of an inventory that a field's name cannot be.
_WORDS = {"begins": "from", "ends": "to"}


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        members = {f.name: getattr(value, f.name) for f in fields(value)}
        return {_WORDS.get(n, n): _plain(m) for n, m in members.items() if m not in (None, {})}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, datetime):
        return rfc3339(value)
    return f"{value:%H:%M}" if isinstance(value, time) else value
