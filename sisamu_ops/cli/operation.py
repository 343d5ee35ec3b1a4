"""`sisamu operation`: what was asked to move, and what it came to."""

from __future__ import annotations

from typing import Any

import click

from sisamu_ops.app import App
from sisamu_ops.cli.follow import (
    carry_out,
    conclude,
    detachable,
    lifetime,
    request_options,
)
from sisamu_ops.cli.progress import telling
from sisamu_ops.cli.render import emit, output_option, print_facts, print_table
from sisamu_ops.model.errors import ConfigurationError


@click.group()
def operation() -> None:
    """List, show, follow, pause, resume and abort operations."""


@operation.command("list")
@output_option
@click.pass_obj
def list_operations(app: App, output: str) -> None:
    """List every operation, newest last."""
    from sisamu_ops.failover.telling.overview import operation_line

    view = app.open_record().journal()
    facts = [operation_line(o) for o in view.state.operations.values()]

    def table() -> None:
        rows = [
            (f["id"], " ".join(f["samus"]), f["to"], f["outcome"], f["accepted_at"][:19])
            for f in facts
        ]
        print_table("operations", ["operation", "samu", "to", "outcome", "accepted (UTC)"], rows)

    emit(facts, output, table)


@operation.command()
@output_option
@click.argument("operation_id", metavar="OPERATION")
@click.pass_obj
def show(app: App, operation_id: str, output: str) -> None:
    """Show one operation: steps, targets, calls, outcome."""
    from sisamu_ops.failover.telling.overview import operation_facts

    found = app.open_record().journal().state.operations.get(operation_id)
    if found is None:
        raise ConfigurationError(
            f"no operation {operation_id}", remedy="list them: sisamu operation list"
        )
    facts = operation_facts(found)
    emit(facts, output, lambda: _print(facts))


def _print(facts: dict[str, Any]) -> None:
    shown = (
        "verb",
        "site",
        "to",
        "outcome",
        "detail",
        "reason",
        "principal",
        "accepted_at",
        "ended_at",
    )
    print_facts(f"operation {facts['id']}", {name: facts[name] or "-" for name in shown})
    rows = [
        (step["token"], host, " ".join(target["change"].values()), target["outcome"],
         target["detail"] or "-")
        for step in facts["steps"]
        for host, target in step["targets"].items()
    ]  # fmt: skip
    print_table("", ["token", "target", "to", "outcome", "detail"], rows)
    for call in facts["calls"]:
        said = call["answered_by"] if call["answered"] else f"status {call['status'] or 'none'}"
        click.echo(f"  test call by {call['via']} {call['host']}: {said}, {call['pdd_ms']} ms")


@operation.command()
@output_option
@click.argument("operation_id", metavar="OPERATION")
@click.pass_obj
def follow(app: App, operation_id: str, output: str) -> None:
    """Tell an operation from its first entry to its end."""
    with detachable(operation_id), telling(operation_id, output) as tell:
        view = app.enter().desk.follow(operation_id, tell)
    conclude(view, operation_id, output)


def _steering(name: str, verb_name: str, text: str) -> None:
    """Add a command that asks something of an operation under way."""

    @operation.command(name, help=text)
    @output_option
    @request_options
    @click.argument("operation_id", metavar="OPERATION")
    @click.pass_obj
    def steer(app: App, operation_id: str, reason: str, expires_min: int, output: str) -> None:
        from sisamu_ops.failover.request import Verb

        request = app.enter().desk.new_request(
            Verb(verb_name), reason=reason, lifetime=lifetime(expires_min), about=operation_id
        )
        carry_out(app, request, output)


_steering("pause", "hold", "Begin no further wave; the one under way is finished.")
_steering("resume", "go-on", "Go on with the next wave: what held it has been seen.")
_steering(
    "abort",
    "abort",
    """Finish what has begun, begin nothing more.

    What a dead leader has begun is sealed first. The end says what is where.
    """,
)
