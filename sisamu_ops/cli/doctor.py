"""`sisamu doctor`: am I authorised, is my key seen, can all sites and targets be reached."""

from __future__ import annotations

import sys

import click

from sisamu_ops.app import App
from sisamu_ops.cli.render import emit, output_option, print_table


@click.command()
@output_option
@click.pass_obj
def doctor(app: App, output: str) -> None:
    """Check key, authorisation, leader, replicas and targets; change nothing.

    Exits with the code of the gravest problem: 3 not authorised, 4 no leader or the database
    lost, 6 something cannot be reached.
    """
    checks = app.enter().diagnose()
    facts = [
        {"check": c.name, "ok": c.ok, "detail": c.detail, "remedy": c.remedy, "exit": c.exit_code}
        for c in checks
    ]

    def table() -> None:
        rows = [(c.name, "ok" if c.ok else "NOT OK", c.detail) for c in checks]
        print_table("", ["check", "", "detail"], rows)
        for check in checks:
            if not check.ok:
                click.echo(f"{check.name}: {check.remedy}")

    emit(facts, output, table)
    sys.exit(min((c.exit_code for c in checks if not c.ok), default=0))
