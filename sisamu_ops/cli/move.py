"""`sisamu switchover|failover|failback`: planned and unplanned are different verbs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from sisamu_ops.app import App
from sisamu_ops.cli.follow import carry_out, lifetime, override_option, request_options
from sisamu_ops.cli.render import emit, output_option, print_table, say
from sisamu_ops.model.errors import RefusedError

if TYPE_CHECKING:
    from sisamu_ops.failover.plan import Plan

_SAMU = click.option(
    "--samu", "samus", multiple=True, required=True, help="SAMU identifier; may be repeated."
)
_TO = click.option("--to", default="", help="Mode to move to; the inventory's first by default.")


def plan_facts(plan: Plan) -> dict[str, Any]:
    """Return a plan as data."""
    return {
        "verb": plan.verb.value,
        "samus": list(plan.samus),
        "to": plan.to,
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


def _print_plan(plan: Plan) -> None:
    rows = [(m.order, m.host, m.samu_id, m.before, m.after) for m in plan.transitions]
    title = f"{plan.verb.value} to {plan.to}"
    print_table(title, ["", "target", "samu", "now", "then"], rows)
    for finding in plan.findings:
        word = "refused" if finding.blocks else "finding"
        word = "overridden" if finding.overridden else word
        click.echo(f"{word}: {finding.rule}: {finding.message}\n  remedy: {finding.remedy}")
    click.echo(f"digest {plan.digest}")


def _plan(
    app: App,
    verb_name: str,
    samus: tuple[str, ...],
    to: str,
    overrides: tuple[str, ...],
    output: str,
) -> None:
    from sisamu_ops.failover.request import Verb

    plan = app.enter().desk.plan(Verb(verb_name), samus, to, overrides)
    emit(plan_facts(plan), output, lambda: _print_plan(plan))
    if plan.blocked_by:
        rules = ", ".join(dict.fromkeys(f.rule for f in plan.blocked_by))
        raise RefusedError(
            f"the {verb_name} would be refused (rule {rules})",
            remedy="; ".join(dict.fromkeys(f.remedy for f in plan.blocked_by)),
        )
    named = "".join(f" --override {rule}" for rule in plan.overrides)
    say(f"go on: sisamu {verb_name} start …{named} --plan {plan.digest} --reason TEXT")


def _verb(name: str, summary: str) -> click.Group:
    """Make a verb's group: `plan` reads and judges, `start` asks the leader to act."""
    group = click.Group(name, help=summary)

    @output_option
    @override_option
    @_TO
    @_SAMU
    @click.pass_obj
    def plan(
        app: App, samus: tuple[str, ...], to: str, overrides: tuple[str, ...], output: str
    ) -> None:
        _plan(app, name, samus, to, overrides, output)

    @output_option
    @request_options
    @override_option
    @click.option("--plan", default="", help="Digest of the plan reviewed: run that or refuse.")
    @_TO
    @_SAMU
    @click.pass_obj
    def start(
        app: App,
        samus: tuple[str, ...],
        to: str,
        plan: str,
        overrides: tuple[str, ...],
        reason: str,
        expires_min: int,
        output: str,
    ) -> None:
        from sisamu_ops.failover.request import Verb

        request = app.enter().desk.new_request(
            Verb(name),
            reason=reason,
            lifetime=lifetime(expires_min),
            samus=samus,
            to=to,
            plan=plan,
            overrides=overrides,
        )
        carry_out(app, request, output)

    group.add_command(
        click.command("plan", help="Read all targets, judge the rules, change nothing.")(plan)
    )
    group.add_command(
        click.command("start", help="Sign the request, submit it, follow it to its end.")(start)
    )
    return group


switchover = _verb(
    "switchover", "Planned move, both sides healthy: stops at the first doubt, nothing lost."
)
failover = _verb(
    "failover", "Rescue, the present path is broken: never blocked by rules for planned work."
)
failback = _verb("failback", "Planned return to nominal.")
