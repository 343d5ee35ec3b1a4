"""`sisamu incident`: triggers and rescues that belong together, and who has seen them."""

from __future__ import annotations

from typing import Any

import click

from sisamu_ops.app import App
from sisamu_ops.cli.follow import carry_out, lifetime, request_options
from sisamu_ops.cli.render import emit, output_option, wrapped


@click.group()
def incident() -> None:
    """Incidents: triggers and rescues that belong together."""


@incident.command("list")
@output_option
@click.pass_obj
def list_incidents(app: App, output: str) -> None:
    """List the incidents, newest last."""
    facts = app.enter().desk.incidents()
    emit(facts, output, lambda: _print(facts))


def _print(facts: list[dict[str, Any]]) -> None:
    for one in facts:
        seen = f"acknowledged by {one['acknowledged_by']}" if one["acknowledged_by"] else "OPEN"
        click.echo(f"{one['id']}: {seen}, since {one['opened_at'][:19]}")
        counted = f"{one['triggers']} triggers, {len(one['rescues'])} rescues"
        click.echo(wrapped(f"SAMU {' '.join(one['samus'])}: {counted}", "  "))
        for signal in one["signals"][-3:]:
            click.echo(wrapped(signal["what"], f"  {signal['time'][11:19]} "))
    if not facts:
        click.echo("none")


@incident.command()
@output_option
@request_options
@click.argument("incident_id", metavar="INCIDENT")
@click.pass_obj
def acknowledge(app: App, incident_id: str, reason: str, expires_min: int, output: str) -> None:
    """Say that you have seen it; triggers may then ask anew."""
    from sisamu_ops.failover.request import Verb

    request = app.enter().desk.new_request(
        Verb.ACKNOWLEDGE, reason=reason, lifetime=lifetime(expires_min), about=incident_id
    )
    carry_out(app, request, output)
