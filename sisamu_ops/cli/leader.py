"""`sisamu leader`: who leads, under which epoch."""

from __future__ import annotations

import click

from sisamu_ops.app import App
from sisamu_ops.cli.render import emit, output_option, print_facts
from sisamu_ops.model.errors import LeadershipError


@click.group()
def leader() -> None:
    """Who leads, under which epoch."""


@leader.command()
@output_option
@click.pass_obj
def show(app: App, output: str) -> None:
    """Show the leader, its epoch and since when; exit 4 when nobody leads.

    A local journal is led only while a command runs: none leads at rest.
    """
    glance = app.open_record().glance()
    now = glance.leader
    history = glance.view.state.leaderships
    since = next((t for s, e, t in reversed(history) if now and e == now.epoch), None)
    facts = {
        "site": now.site if now else None,
        "epoch": now.epoch if now else None,
        "since": since,
        "order": list(app.platform.policy.site_order),
        "arbiters": list(app.platform.arbiters()),
    }
    emit(facts, output, lambda: print_facts("leader", facts))
    if now is None and not app.is_local:
        raise LeadershipError(
            "nobody leads; every SAMU keeps its mode",
            remedy="sisamu doctor; by hand, with the card: sisamu samu card",
        )
