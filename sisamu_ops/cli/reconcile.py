"""`sisamu reconcile`: settle what is unknown."""

from __future__ import annotations

import click

from sisamu_ops.app import App
from sisamu_ops.cli.follow import carry_out, lifetime, request_options
from sisamu_ops.cli.render import output_option


@click.command()
@output_option
@request_options
@click.pass_obj
def reconcile(app: App, reason: str, expires_min: int, output: str) -> None:
    """Seal, read and complete every operation whose outcome is unknown."""
    from sisamu_ops.failover.request import Verb

    request = app.enter().desk.new_request(
        Verb.RECONCILE, reason=reason, lifetime=lifetime(expires_min)
    )
    carry_out(app, request, output)
