"""Submitting a request, following it on the terminal, and the exit code of what it came to."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import click

from sisamu_ops.app import App
from sisamu_ops.cli.render import emit, say, wrapped
from sisamu_ops.model.errors import StoppedError, UnknownOutcomeError

if TYPE_CHECKING:
    from sisamu_ops.failover.request import Request
    from sisamu_ops.journal.entry import Entry
    from sisamu_ops.record import JournalView

Command = TypeVar("Command", bound=Callable[..., Any])


def request_options(command: Command) -> Command:
    """Add the options every request has."""
    command = click.option(
        "--expires-in",
        "expires_min",
        type=click.IntRange(1, 24 * 60),
        default=5,
        show_default=True,
        help="Minutes after which the request is refused.",
    )(command)
    return click.option("--reason", required=True, help="Why; it is journalled. No phone numbers.")(
        command
    )


def lifetime(expires_min: int) -> timedelta:
    """Return how long a request is valid."""
    return timedelta(minutes=expires_min)


def tell_entry(entry: Entry) -> None:
    """Print a new entry as a sentence, on standard error."""
    from sisamu_ops.failover.story import tell

    say(wrapped(tell(entry), first=f"{entry.time[11:23]} {entry.index:>4}  "))


@contextmanager
def detachable(request_id: str) -> Iterator[None]:
    """On Ctrl-C say that the operation goes on, and how to come back to it."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise StoppedError(
            "detached: the operation goes on without this follower",
            remedy=f"sisamu operation follow {request_id}",
        ) from error


def carry_out(app: App, request: Request, output: str) -> None:
    """Sign, submit, follow to the end, render, and exit by the outcome."""
    app.platform  # noqa: B018 - the inventory's problems come before anything is signed
    app.enter()
    envelope = app.sign(request)
    say(f"request {request.request_id}, signed by {envelope.principal or 'an unknown key'}")
    try:
        with detachable(request.request_id):
            view = app.desk.submit(request.request_id, envelope, tell_entry)
    except UnknownOutcomeError:
        facts = {"id": request.request_id, "outcome": "unknown"}
        emit(facts, output, lambda: click.echo(f"{request.request_id}: unknown"))
        raise
    conclude(view, request.request_id, output)


def conclude(view: JournalView, request_id: str, output: str) -> None:
    """Render what a request came to; exit 0 done, 5 failed, 6 unknown."""
    from sisamu_ops.failover.overview import operation_facts

    operation = view.state.operations.get(request_id)
    outcome = view.state.finished[request_id].value
    facts = operation_facts(operation) if operation else {"id": request_id, "outcome": outcome}
    emit(facts, output, lambda: click.echo(f"{request_id}: {outcome}"))
    if outcome == "failed":
        say(f"known not done; look at it: sisamu operation show {request_id}")
        sys.exit(5)
    if outcome == "unknown":
        say("nobody can say yet; settle it: sisamu reconcile --reason TEXT")
        sys.exit(6)
