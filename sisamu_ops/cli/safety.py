"""`sisamu safety`: the rules, what each does to a verb, and how one is set aside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from sisamu_ops.app import App
from sisamu_ops.cli.render import emit, output_option, wrapped
from sisamu_ops.model.errors import ConfigurationError

if TYPE_CHECKING:
    from sisamu_ops.failover.safety import Rule
    from sisamu_ops.model.safety import Safety

#: How wide the first column is: the longest id of a rule.
_RULE_WIDTH = 21


@click.group()
def safety() -> None:
    """Safety rules, what each blocks, how to set one aside."""


@safety.command("list")
@output_option
@click.pass_obj
def list_command(app: App, output: str) -> None:
    """List every rule, what it does to each verb, and its settings.

    What a rule does not block it tells, as a finding, and the journal keeps it.
    """
    from sisamu_ops.failover.safety import RULES

    settings = app.platform.policy.safety
    facts = [rule_facts(rule, settings) for rule in RULES.values()]
    emit(facts, output, lambda: _print_list(facts))


@safety.command()
@output_option
@click.argument("rule_id", metavar="RULE")
@click.pass_obj
def explain(app: App, rule_id: str, output: str) -> None:
    """Explain one rule: what it asks, and what would satisfy it."""
    from sisamu_ops.failover.safety import RULES

    if rule_id not in RULES:
        raise ConfigurationError(
            f"no rule {rule_id!r}", place="RULE", remedy=f"use one of: {', '.join(RULES)}"
        )
    facts = rule_facts(RULES[rule_id], app.platform.policy.safety)
    emit(facts, output, lambda: _print_rule(facts))


def rule_facts(rule: Rule, settings: Safety) -> dict[str, Any]:
    """Return a rule as data, as it is on a platform of these settings."""
    from sisamu_ops.failover.safety import PLANNED, cells
    from sisamu_ops.failover.safety.settings import written

    row = {verb.value: cell.value for verb, cell in cells(rule, settings).items()}
    blocked = [verb.value for verb in PLANNED if row[verb.value] == "blocks"]
    return {
        "rule": rule.rule_id,
        "in_force": not rule.needs_settings or settings.settings(rule.rule_id) is not None,
        "cells": row,
        "settings": written(settings, rule.rule_id),
        "asks": rule.asks,
        "remedy": rule.remedy,
        "override": f"--override {rule.rule_id} --reason TEXT" if blocked else None,
        "source": rule.source,
    }


def _print_list(facts: list[dict[str, Any]]) -> None:
    verbs = list(facts[0]["cells"])
    widths = [max(len(verb), len("finding")) for verb in verbs]
    _print_row("rule", verbs, widths)
    for one in facts:
        _print_row(one["rule"], [one["cells"][verb] for verb in verbs], widths)
    click.echo("\nsettings")
    for one in facts:
        if one["settings"] is not None or not one["in_force"]:
            click.echo(wrapped(_said(one), first=f"  {one['rule']:<{_RULE_WIDTH}}  "))
    click.echo("\nAll others are always in force. sisamu safety explain RULE")


def _print_row(rule: str, words: list[str], widths: list[int]) -> None:
    cells = [f"{word:<{width}}" for word, width in zip(words, widths, strict=True)]
    click.echo(" ".join([f"{rule:<{_RULE_WIDTH}}", *cells]).rstrip())


def _said(fact: dict[str, Any]) -> str:
    if not fact["in_force"]:
        return "not set"
    return _words(fact["settings"]) or "in force"


def _words(settings: dict[str, Any] | None) -> str:
    return ", ".join(f"{name} {_value(value)}" for name, value in (settings or {}).items())


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{name} {number}" for name, number in value.items())
    if isinstance(value, list):
        parts = [_words(item) if isinstance(item, dict) else str(item) for item in value]
        return ("; " if any(isinstance(item, dict) for item in value) else " ").join(parts) or "-"
    return str(value)


def _print_rule(fact: dict[str, Any]) -> None:
    verbs = {
        word: ", ".join(v for v, cell in fact["cells"].items() if cell == word) or "-"
        for word in ("blocks", "finding")
    }
    lines = {
        "asks": fact["asks"],
        "satisfied by": fact["remedy"],
        "in force": "yes" if fact["in_force"] else "no: sisamu_safety gives it no settings",
        "settings": _words(fact["settings"]) or "-",
        "blocks": verbs["blocks"],
        "only told to": verbs["finding"],
        "set aside by": fact["override"] or "-",
        "source": fact["source"],
    }
    click.echo(fact["rule"])
    for name, text in lines.items():
        click.echo(wrapped(text, first=f"  {name:<12}  "))
