"""Submitting a request, following it on the terminal, and the exit code of what it came to."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from sisamu_ops.app import App
from sisamu_ops.cli.progress import telling
from sisamu_ops.cli.render import emit, say, wrapped
from sisamu_ops.cli.request_file import write_envelope
from sisamu_ops.model.errors import ConfigurationError, StoppedError, UnknownOutcomeError
from sisamu_ops.model.naming import name_few

if TYPE_CHECKING:
    from sisamu_ops.failover.request import Envelope, Request
    from sisamu_ops.journal.port import InboxItem
    from sisamu_ops.record import JournalView

#: Where the file that --out names waits in Click's context.
_OUT = "sisamu.out"

Command = TypeVar("Command", bound=Callable[..., Any])


_REASON = "Why; it is journalled. No phone numbers."


def _signing_options(command: Command) -> Command:
    command = click.option(
        "--expires-in",
        "expires_min",
        type=click.IntRange(1, 24 * 60),
        default=5,
        show_default=True,
        help="Minutes after which the request is refused.",
    )(command)
    return click.option(
        "--out",
        type=click.Path(path_type=Path, dir_okay=False),
        default=None,
        expose_value=False,
        callback=_keep_file,
        help="Write the signed request here, submit nothing; needs no network path.",
    )(command)


def request_options(command: Command) -> Command:
    """Add the options every request has."""
    return click.option("--reason", required=True, help=_REASON)(_signing_options(command))


def asking_options(command: Command) -> Command:
    """Add the options of a request to what only reads unless something is asked."""
    return click.option("--reason", default="", help=_REASON)(_signing_options(command))


def require_reason(reason: str) -> str:
    """Return the reason; ConfigurationError when there is none."""
    if not reason.strip():
        raise ConfigurationError(
            "a reason is required", place="--reason", remedy="say why in a few words"
        )
    return reason


def override_option(command: Command) -> Command:
    """Add `--override RULE`, which names a safety rule that shall not block this once."""
    return click.option(
        "--override",
        "overrides",
        multiple=True,
        help="A safety rule to set aside by name, journalled; may be repeated.",
    )(command)


def _keep_file(ctx: click.Context, param: click.Parameter, value: Path | None) -> None:
    """Keep the file for whoever carries the request out: no command has to pass it on."""
    del param
    ctx.meta[_OUT] = value


def chosen_file() -> Path | None:
    """Return the file that --out names."""
    found: Path | None = click.get_current_context().meta.get(_OUT)
    return found


def prepare(app: App, request: Request, output: str) -> None:
    """Sign a request and write it to the file that --out names; nothing is submitted."""
    out = chosen_file()
    if out is None:
        raise ValueError("no file was named")
    envelope = app.signing.sign(request)
    write_envelope(out, envelope)
    facts = {"id": request.request_id, "file": str(out), "principal": envelope.principal}
    emit(facts, output, lambda: click.echo(f"{request.request_id}: written to {out}"))
    say(f"go on: sisamu request approve {out}; sisamu request submit {out}")


def lifetime(expires_min: int) -> timedelta:
    """Return how long a request is valid."""
    return timedelta(minutes=expires_min)


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


def carry_out(app: App, request: Request, output: str, leaves: Sequence[InboxItem] = ()) -> None:
    """Sign, submit, follow to the end, render, and exit by the outcome; or only write it."""
    app.platform  # noqa: B018 - the inventory's problems come before anything is signed
    if chosen_file() is not None:
        prepare(app, request, output)
    else:
        carry_out_signed(app, app.signing.sign(request), output, leaves)


def carry_out_signed(
    app: App, envelope: Envelope, output: str, leaves: Sequence[InboxItem] = ()
) -> None:
    """Submit what is signed, follow it to its end, render, and exit by the outcome."""
    from sisamu_ops.failover.request import parse_request

    request_id = parse_request(envelope.document.encode()).request_id
    say(f"request {request_id}, signed by {envelope.principal or 'an unknown key'}")
    try:
        with detachable(request_id), telling(request_id, output) as tell:
            view = app.enter().desk.submit(request_id, envelope, tell, leaves)
    except UnknownOutcomeError:
        facts = {"id": request_id, "outcome": "unknown"}
        emit(facts, output, lambda: click.echo(f"{request_id}: unknown"))
        raise
    conclude(view, request_id, output)


def conclude(view: JournalView, request_id: str, output: str) -> None:
    """Render what a request came to; exit 0 done, 5 failed, 6 unknown, 9 held or aborted."""
    from sisamu_ops.failover.telling.overview import check_facts, operation_facts

    operation = view.state.operations.get(request_id)
    if operation is None:
        outcome = view.state.finished[request_id].value
        facts: dict[str, Any] = {"id": request_id, "outcome": outcome}
        if (check := view.state.checks.get(request_id)) is not None:
            facts |= check_facts(check)
    else:
        facts = operation_facts(operation)
    shown = {"event": "summary"} | facts if output == "jsonl" else facts
    emit(shown, output, lambda: print_summary(facts))
    for line in what_now(facts):
        say(line)
    sys.exit(exit_code(facts))


def print_summary(facts: dict[str, Any]) -> None:
    """Print what a request came to: the whole, and each SAMU that is not done."""
    click.echo(f"{facts['id']}: {facts['outcome']}")
    ends = facts.get("outcomes", ())
    if len(ends) > 1:
        counts = Counter(end["outcome"] for end in ends)
        click.echo("  " + ", ".join(f"{many} {word}" for word, many in counts.items()))
    for end in ends:
        if end["outcome"] not in ("done", "not begun") and len(ends) > 1:
            detail = f": {end['detail']}" if end["detail"] else ""
            click.echo(wrapped(f"SAMU {end['samu']} {end['outcome']}{detail}", "  "))
    left = [end["samu"] for end in ends if end["outcome"] == "not begun"]
    if left:
        click.echo(wrapped(name_few(left, 10), "  not begun: "))
    for name in ("failed", "left_armed"):
        for which, why in facts.get(name, {}).items():
            click.echo(wrapped(f"{which}: {why}", f"  {name.replace('_', ' ')}: "))
    if facts.get("held"):
        click.echo(wrapped(facts["held"], "  held: "))


def what_now(facts: dict[str, Any]) -> list[str]:
    """Return the commands that go on from here."""
    request_id, outcome = facts["id"], facts["outcome"]
    if outcome == "held":
        return [
            f"look: sisamu operation show {request_id}",
            f"go on: sisamu operation resume {request_id} --reason TEXT",
            f"begin nothing more: sisamu operation abort {request_id} --reason TEXT",
        ]
    if outcome == "unknown":
        return ["nobody can say yet; settle it: sisamu reconcile --reason TEXT"]
    if outcome == "done" and facts.get("verb") in ("switchover", "failover"):
        # each by its name: --all would bring back what other operations have moved
        named = " ".join(f"--samu {samu}" for samu in facts["samus"])
        return [f"go back: sisamu failback start {named} --reason TEXT"]
    if outcome == "failed":
        return [f"known not done; look at it: sisamu operation show {request_id}"]
    return []


def exit_code(facts: dict[str, Any]) -> int:
    """Return the exit code of what a request came to."""
    codes = {"done": 0, "failed": 5, "unknown": 6, "held": 9}
    if facts["outcome"] == "failed" and facts.get("aborted_by"):
        return 9
    return codes[facts["outcome"]]
