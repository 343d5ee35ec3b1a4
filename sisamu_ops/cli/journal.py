"""`sisamu journal`: the rules in force, adopting others, taking in a lone site's log."""

from __future__ import annotations

from pathlib import Path

import click

from sisamu_ops.app import App
from sisamu_ops.cli.follow import carry_out, lifetime, request_options
from sisamu_ops.cli.render import emit, output_option, print_table


@click.group()
def journal() -> None:
    """The rules in force, and the logs of sites that acted alone."""


@journal.command()
@output_option
@click.pass_obj
def rules(app: App, output: str) -> None:
    """Show the rules in force, and which differ on this machine."""
    app.open_record()
    facts = app.desk.rules_in_force()

    def table() -> None:
        rows = [
            (name, _short(both["in_force"]), _short(both["here"]), _said(name, facts))
            for name, both in facts.items()
            if name != "differing"
        ]
        print_table("rules", ["document", "in force", "here", ""], rows)

    emit(facts, output, table)


def _short(digest: str | None) -> str:
    return digest[:16] if digest else "-"


def _said(name: str, facts: dict[str, object]) -> str:
    differing = facts["differing"]
    return "DIFFERS" if isinstance(differing, list) and name in differing else ""


@journal.command()
@output_option
@request_options
@click.pass_obj
def adopt(app: App, reason: str, expires_min: int, output: str) -> None:
    """Adopt the rules this machine has, signed and journalled.

    A site with another copy follows and does not lead. The leader gives way to a site that works
    by the copy named, when there is one.
    """
    from sisamu_ops.failover.request import Verb

    request = app.enter().desk.new_request(
        Verb.ADOPT, reason=reason, lifetime=lifetime(expires_min)
    )
    carry_out(app, request, output)


@journal.command()
@output_option
@request_options
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.pass_obj
def merge(app: App, directory: Path, reason: str, expires_min: int, output: str) -> None:
    """Take the log of a site that acted alone into the journal.

    DIRECTORY is the log, or a copy of it. Its entries are wrapped whole and never carried out
    again; for each SAMU the higher token wins. Exits 8 when it is not the log merged before.
    """
    from sisamu_ops.failover.request import Verb

    desk = app.enter().desk
    claim, leaves = desk.read_log(directory)
    request = desk.new_request(Verb.MERGE, reason=reason, lifetime=lifetime(expires_min), log=claim)
    carry_out(app, request, output, leaves)
