"""`sisamu switchover|failover|failback`: planned and unplanned are different verbs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from sisamu_ops.app import App
from sisamu_ops.cli.choose import (
    chosen,
    confirm_national,
    confirm_option,
    selection_options,
    site_to_leave,
)
from sisamu_ops.cli.follow import carry_out, lifetime, override_option, request_options
from sisamu_ops.cli.render import emit, output_option, print_table, say, wrapped
from sisamu_ops.model.errors import RefusedError, UnknownOutcomeError
from sisamu_ops.model.naming import name_few
from sisamu_ops.model.platform import router_of

if TYPE_CHECKING:
    from sisamu_ops.failover.planning.plan import Plan, Transition
    from sisamu_ops.failover.telling.preview import Preview

_TO = click.option("--to", default="", help="Mode to move to; the inventory's first by default.")
_TO_SITE = click.option(
    "--to", default="",
    help="Mode to move to, the inventory's first by default; or the site that takes over from "
    "--site, which is evacuated: the same site brings it home.",
)  # fmt: skip
#: With more SAMUs than these a plan tells what is alike in one row.
_EACH = 12
_OWNER = click.option("--owner", default="", help="Who answers for the mode; you by default.")
_BRIDGE = click.option("--bridge", default="", help="The crisis bridge that is open, by name.")
_CHECK = click.option(
    "--check",
    is_flag=True,
    help="Run Ansible's check mode too; exit 6 for what it cannot evaluate.",
)
_NOW = click.option("--now", "at_once", is_flag=True, help="All at once, in one wave.")


def plan_facts(plan: Plan, preview: Preview | None = None) -> dict[str, Any]:
    """Return a plan as data."""
    return {
        "verb": plan.verb.value,
        "samus": list(plan.samus),
        "to": plan.to,
        "already": list(plan.already),
        "waves": [list(wave) for wave in plan.waves],
        "soak_ms": plan.soak_ms,
        "order": list(plan.order),
        "site": plan.site or None,
        "without_site": plan.without or None,
        "check": preview.to_json() if preview else None,
        "digest": plan.digest,
        "allowed": not plan.blocked_by,
        "transitions": [
            {"order": m.order, "host": m.host, "samu": m.samu_id, "from": m.before, "to": m.after}
            for m in plan.transitions
        ],
        "findings": [
            {
                "rule": f.rule,
                "message": f.message,
                "remedy": f.remedy,
                "blocks": f.blocks,
                "overridden": f.overridden,
            }
            for f in plan.findings
        ],
    }


def _print_plan(plan: Plan, preview: Preview | None) -> None:
    title = f"{plan.verb.value} to {plan.to}"
    if plan.site:
        title = f"{plan.site} {'comes home' if plan.site == plan.to else f'evacuated to {plan.to}'}"
    print_table(title, ["", "target", "samu", "now", "then"], _rows(plan))
    for line in (*_evacuation_told(plan), *_waves_told(plan)):
        click.echo(line)
    for finding in plan.findings:
        word = "refused" if finding.blocks else "finding"
        word = "overridden" if finding.overridden else word
        click.echo(wrapped(finding.message, f"{word}: {finding.rule}: "))
        click.echo(wrapped(finding.remedy, "  remedy: "))
    if preview is not None:
        _print_preview(preview)
    click.echo(f"digest {plan.digest}")


def _evacuation_told(plan: Plan) -> Iterator[str]:
    """Say in which order a site is evacuated, or brought home, and what the database would be."""
    if not plan.site:
        return
    comes_home = plan.site == plan.to
    routers = ", then ".join(dict.fromkeys(router_of(m.host) for m in plan.transitions))
    yield f"1. {plan.to} is proved: its servers are called for every path in use"
    yield wrapped(f"{routers}; each SAMU stays in its mode", "2. routers, in every wave: ")
    yield "3. leadership " + (
        "stays where it is" if comes_home else f"is handed to {plan.to}, if {plan.site} leads"
    )
    if not comes_home:
        yield f"database without {plan.site}: {plan.without or 'none is declared'}"


def _rows(plan: Plan) -> list[tuple[object, ...]]:
    """Return a row a transition; of many SAMUs a row for all that is alike, in order."""
    if len(plan.samus) <= _EACH:
        return [(m.order, m.host, m.samu_id, m.before, m.after) for m in plan.transitions]
    samus_at = Counter(m.host for m in plan.transitions)
    alike: dict[tuple[str, str, str], list[Transition]] = {}
    for move in plan.transitions:
        # A target of one SAMU is its gateway; a router is told by its name.
        host = "gateways" if samus_at[move.host] == 1 else move.host
        alike.setdefault((host, move.before, move.after), []).append(move)
    return [
        (moves[0].order, host, name_few([m.samu_id for m in moves]), before, after)
        for (host, before, after), moves in alike.items()
    ]


def _print_preview(preview: Preview) -> None:
    for change in preview.changes:
        click.echo(
            f"check mode: {change['host']} would change for SAMU {name_few(change['samus'])}"
        )
    for host, message in preview.problems.items():
        click.echo(wrapped(message, f"check mode: {host}: "))
    by_what: dict[str, list[str]] = {}
    for one in preview.not_evaluated:
        by_what.setdefault(one["what"], []).append(one["host"])
    for what, hosts in by_what.items():
        click.echo(wrapped(f"{name_few(hosts)}: {what}", "not evaluated: "))
    if not preview.complete:
        click.echo("not evaluated: what comes after the run was ended")


def _waves_told(plan: Plan) -> Iterator[str]:
    if plan.already:
        yield wrapped(" ".join(plan.already), f"there already, left alone ({len(plan.already)}): ")
    if len(plan.waves) > 1:
        for number, wave in enumerate(plan.waves, start=1):
            yield wrapped(" ".join(wave), f"wave {number:>2}: ")
    if len(plan.waves) > 1 and plan.soak_ms:
        yield f"soak: {plan.soak_ms / 1000:g} s of test calls after each wave"
    if len(plan.order) > 1:
        yield f"where it cannot be proved: {', then '.join(plan.order[1:])}"


def _plan(app: App, verb_name: str, output: str, *, at_once: bool, check: bool, to: str,
          overrides: tuple[str, ...]) -> None:  # fmt: skip
    from sisamu_ops.failover.request import Verb

    desk = app.enter().desk
    site = site_to_leave(app, to) if verb_name == Verb.SWITCHOVER.value else ""
    verb = Verb.EVACUATE if site else Verb(verb_name)
    samus = tuple(app.platform.samus) if site else desk.select(chosen())
    plan = desk.plan(verb, samus, to, overrides=overrides, pace=_pace(at_once), site=site)
    desk.keep_plan(plan)
    preview = desk.preview(plan) if check else None
    emit(plan_facts(plan, preview), output, lambda: _print_plan(plan, preview))
    if plan.blocked_by:
        rules = ", ".join(dict.fromkeys(f.rule for f in plan.blocked_by))
        raise RefusedError(
            f"the {verb_name} would be refused (rule {rules})",
            remedy="; ".join(dict.fromkeys(f.remedy for f in plan.blocked_by)),
        )
    say(wrapped(_start_command(plan, at_once), "go on: "))
    if preview and (preview.unproved or not preview.complete):
        raise UnknownOutcomeError(
            f"check mode could not evaluate {preview.unproved} things: see above",
            remedy="they are proved when it is carried out, each before what depends on it",
        )


def _start_command(plan: Plan, at_once: bool) -> str:
    """Return what starts just this plan, as one types it."""
    verb = "switchover" if plan.site else plan.verb.value
    words = ["sisamu", verb, "start", *chosen().words(), "--to", plan.to]
    words += ["--now"] if at_once else []
    words += [word for rule in plan.overrides for word in ("--override", rule)]
    return " ".join([*words, "--plan", plan.digest, "--reason", "TEXT"])


def _start(app: App, verb_name: str, at_once: bool, details: dict[str, str], reason: str,
           expires_min: int, output: str, **what: Any) -> None:  # fmt: skip
    from sisamu_ops.failover.request import Verb

    desk = app.enter().desk
    site = site_to_leave(app, what["to"]) if verb_name == Verb.SWITCHOVER.value else ""
    samus = tuple(app.platform.samus) if site else desk.select(chosen())
    confirm_national(app, everything=bool(site))
    details |= {"site": site}
    request = desk.new_request(
        Verb.EVACUATE if site else Verb(verb_name), reason=reason,
        lifetime=lifetime(expires_min), samus=samus,
        pace=_pace(at_once), details={name: said for name, said in details.items() if said}, **what,
    )  # fmt: skip
    carry_out(app, request, output, desk.reviewed(what["plan"]))


def _pace(at_once: bool) -> str:
    from sisamu_ops.failover.request import AT_ONCE

    return AT_ONCE if at_once else ""


def _verb(name: str, summary: str, *, rescue: bool = False, evacuates: bool = False) -> click.Group:
    """Make a verb's group: `plan` reads and judges, `start` asks the leader to act."""
    group = click.Group(name, help=summary)
    to_option = _TO_SITE if evacuates else _TO

    @output_option
    @override_option
    @_CHECK
    @to_option
    @selection_options
    @click.pass_obj
    def plan(app: App, /, output: str, at_once: bool = False, **what: Any) -> None:
        _plan(app, name, output, at_once=at_once, **what)

    @output_option
    @request_options
    @override_option
    @click.option("--plan", default="", help="Digest of the plan reviewed: run that or refuse.")
    @confirm_option
    @_BRIDGE
    @_OWNER
    @to_option
    @selection_options
    @click.pass_obj
    def start(app: App, /, owner: str, bridge: str, reason: str, expires_min: int, output: str,
              at_once: bool = False, **what: Any) -> None:  # fmt: skip
        details = {"owner": owner, "bridge": bridge}
        _start(app, name, at_once, details, reason, expires_min, output, **what)

    for command, text in ((plan, _PLAN), (start, _START)):
        # Planned work goes in waves: only a rescue may take all at once.
        group.command(help=text)(_NOW(command) if rescue else command)
    return group


_PLAN = "Read all targets, judge the rules, change nothing."
_START = "Sign the request, submit it, follow it to its end."

switchover = _verb(
    "switchover",
    "Planned move, or a site evacuated, both sides healthy: stops at the first doubt.",
    evacuates=True,
)
failover = _verb(
    "failover",
    "Rescue, the present path is broken: never blocked by rules for planned work.",
    rescue=True,
)
failback = _verb("failback", "Planned return to nominal.")
