"""`sisamu break-glass`: a site that reaches no leader acts alone, in a log of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from sisamu_ops.app import App
from sisamu_ops.cli.choose import chosen, confirm_national, confirm_option, samu_options
from sisamu_ops.cli.follow import (
    chosen_file,
    conclude,
    lifetime,
    override_option,
    prepare,
    request_options,
)
from sisamu_ops.cli.progress import tell_entry
from sisamu_ops.cli.render import emit, output_option, print_facts, print_table, say, wrapped
from sisamu_ops.cli.request_file import read_envelope, write_envelope

if TYPE_CHECKING:
    from sisamu_ops.failover.request import Request
    from sisamu_ops.record import JournalView

Command = TypeVar("Command", bound=Callable[..., Any])

_SITE = click.option("--site", required=True, help="The site that is cut off, where you are.")
_HOME = click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=None,
    help="The site's home; the inventory's unless given.",
)


@click.group("break-glass")
def break_glass() -> None:
    """Act alone on a cut-off site, and see what was done alone."""


@break_glass.command()
@output_option
@request_options
@override_option
@click.option("--to", default="", help="Mode to move to; the inventory's first by default.")
@confirm_option
@samu_options
@_HOME
@_SITE
@click.argument("verb", type=click.Choice(["switchover", "failover", "failback"]))
@click.pass_obj
def start(
    app: App,
    verb: str,
    home: Path | None,
    site: str,
    to: str,
    overrides: tuple[str, ...],
    reason: str,
    expires_min: int,
    output: str,
) -> None:
    """Move SAMUs from a site that reaches no leader.

    Towards a safer mode one signature is enough, and the second is due within an hour. All else
    needs two first: write the request with --out, have it approved, then use `break-glass run`.
    """
    from sisamu_ops.failover.request import Verb

    samus = app.desk.select(chosen())
    confirm_national(app)
    request = app.desk.new_request(
        Verb(verb), reason=reason, lifetime=lifetime(expires_min), samus=samus, to=to,
        site=site, overrides=overrides,
    )  # fmt: skip
    if chosen_file() is not None:
        prepare(app, request, output)
        return
    glass = app.break_glass(site, home)
    outlook = glass.look(request)
    glass.check(request, (), outlook)
    envelope = app.signing.sign(request)
    say(f"request {request.request_id}, signed by {envelope.principal or 'an unknown key'}")
    _conclude(glass.start(envelope, outlook, tell_entry), request, output)


def _conclude(view: JournalView, request: Request, output: str) -> None:
    """Say what is due, then end as every request does."""
    operation = view.state.operations[request.request_id]
    if operation.second_due:
        number = view.source.rpartition("-")[2]
        say(f"second signature due by {operation.second_due[:16]}: another operator's, on the file")
        say(f"  sisamu break-glass show {number} --site {request.site} --out FILE")
    conclude(view, request.request_id, output)


@break_glass.command("run")
@output_option
@_HOME
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.pass_obj
def run_prepared(app: App, file: Path, home: Path | None, output: str) -> None:
    """Carry out a request written with --out, with its approvals.

    Also brings a second signature that was still due for what has been done.
    """
    from sisamu_ops.failover.request import parse_request

    envelope = read_envelope(app, file)
    request = parse_request(envelope.document.encode())
    glass = app.break_glass(request.site, home)
    _conclude(glass.start(envelope, glass.look(request), tell_entry), request, output)


@break_glass.command("list")
@output_option
@_HOME
@_SITE
@click.pass_obj
def list_logs(app: App, site: str, home: Path | None, output: str) -> None:
    """List this site's own logs, and what is due."""
    glass = app.break_glass(site, home)
    facts = [glass.facts(log) for log in glass.logs()]

    def table() -> None:
        rows = [
            (f["number"], f["size"], f["epoch"], (f["begun_at"] or "-")[:19], _merged(f))
            for f in facts
        ]
        print_table("own logs", ["log", "entries", "epoch", "begun (UTC)", "merged"], rows)
        _print_due(facts)

    emit(facts, output, table)


def _merged(fact: dict[str, Any]) -> str:
    if not fact["merged_size"]:
        return "no"
    return "yes" if fact["merged_size"] == fact["size"] else f"{fact['merged_size']} entries"


def _print_due(facts: list[dict[str, Any]]) -> None:
    for due in (one for fact in facts for one in fact["second_due"]):
        said = "OVERDUE since" if due["overdue"] else "due by"
        click.echo(f"{due['rule']}: {due['operation']}: {said} {due['by'][:16]}")


@break_glass.command()
@output_option
@_HOME
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), default=None,
              help="Write the first request that is due a second signature here.")  # fmt: skip
@_SITE
@click.argument("number", type=click.IntRange(1))
@click.pass_obj
def show(
    app: App, site: str, number: int, home: Path | None, out: Path | None, output: str
) -> None:
    """Show one of this site's logs, entry by entry."""
    from sisamu_ops.failover.telling.story import tell

    glass = app.break_glass(site, home)
    log = glass.find(number)
    facts = glass.facts(log)
    entries = glass.view(log).entries

    def table() -> None:
        shown = ("origin", "size", "epoch", "begun_at", "merged_size")
        print_facts(f"log {number}", [(name, str(facts[name] or "-")) for name in shown])
        for entry in entries:
            click.echo(wrapped(tell(entry), first=f"{entry.time[11:23]} {entry.index:>4}  "))
        _print_due([facts])

    told = [{**entry.body, "told": tell(entry)} for entry in entries]
    emit(facts | {"entries": told}, output, table)
    if out is not None:
        write_envelope(out, glass.due(log))
        say(f"written to {out}; have it approved: sisamu request approve {out}")
