"""`sisamu request`: what waits for a second signature, and requests as files."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sisamu_ops.app import App
from sisamu_ops.cli.follow import carry_out, carry_out_signed, lifetime, request_options
from sisamu_ops.cli.render import emit, output_option, print_facts, say, wrapped
from sisamu_ops.cli.request_file import read_envelope, write_envelope
from sisamu_ops.model.errors import RefusedError

if TYPE_CHECKING:
    from sisamu_ops.failover.request import Envelope

_FILE = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
_REQUEST = click.argument("named", metavar="REQUEST")
_OUT = click.option("--out", type=click.Path(path_type=Path, dir_okay=False), default=None,
                    help="Where to write the request.")  # fmt: skip


@click.group()
def request() -> None:
    """Requests that wait, and requests as files: look, approve, withdraw, submit."""


@request.command("list")
@output_option
@click.pass_obj
def list_requests(app: App, output: str) -> None:
    """List what waits for a second signature, or owes it."""
    facts = app.enter().desk.unapproved()
    emit(facts, output, lambda: _print_list(facts))


def _print_list(facts: list[dict[str, Any]]) -> None:
    for one in facts:
        click.echo(f"{one['id']}: {one['state']}, until {one['until'][:19]}")
        what = f"{one['verb']} of SAMU {' '.join(one['samus'])} to {one['to']}"
        click.echo(wrapped(f"{what}, asked by {one['principal']}: {one['reason']}", "  "))
        click.echo(wrapped(one["needs"], "  needs: "))
        if one["state"] != "expired":
            click.echo(f"  another operator: sisamu request approve {one['id']}")
    if not facts:
        click.echo("none waits for a second signature, and none owes it")


@request.command()
@output_option
@_OUT
@_REQUEST
@click.pass_obj
def show(app: App, named: str, out: Path | None, output: str) -> None:
    """Show what a request asks, who signed it and who approved.

    REQUEST is a file, or an id of the journal, which --out writes to a file.
    """
    envelope = _find(app, named)
    if out is not None:
        write_envelope(out, envelope)
    facts = _facts(app, envelope)
    emit(facts, output, lambda: _print(facts))


def _find(app: App, named: str) -> Envelope:
    """Return the request in a file, or the one of that id in the journal."""
    if Path(named).is_file() or not _is_id(named):
        return read_envelope(app, Path(named))
    return app.enter().desk.find_request(named)


def _is_id(named: str) -> bool:
    return "/" not in named and "." not in named and "-" in named


def _facts(app: App, envelope: Envelope) -> dict[str, Any]:
    from sisamu_ops.failover.request import (
        NAMESPACE,
        VOTE_NAMESPACE,
        digest_of,
        parse_request,
        rfc3339,
    )

    document = envelope.document.encode()
    asked = parse_request(document)
    return {
        "id": asked.request_id,
        "digest": digest_of(document),
        "platform": asked.platform,
        "verb": asked.verb.value,
        "samus": list(asked.samus),
        "to": asked.to,
        "targets": list(asked.targets),
        "site": asked.site or None,
        "overrides": list(asked.overrides),
        "reason": asked.reason,
        "created": rfc3339(asked.created),
        "expires": rfc3339(asked.expires),
        "expired": datetime.now(UTC) >= asked.expires,
        "principal": envelope.principal,
        "verifies": app.signing.verifies(
            document, envelope.signature, envelope.principal, NAMESPACE
        ),
        "approvals": [
            {
                "principal": one.principal,
                "verifies": app.signing.verifies(
                    document, one.signature, one.principal, VOTE_NAMESPACE
                ),
                "counts": one.principal in envelope.approvers(),
            }
            for one in envelope.approvals
        ],
    }


def _print(facts: dict[str, Any]) -> None:
    lines = [
        ("verb", facts["verb"]),
        ("of", " ".join([*facts["samus"], *facts["targets"]]) or "-"),
        ("to", facts["to"] or "-"),
        ("alone at", facts["site"] or "-"),
        ("overrides", " ".join(facts["overrides"]) or "-"),
        ("reason", facts["reason"]),
        ("expires", facts["expires"] + (" EXPIRED" if facts["expired"] else "")),
        ("signed by", _signer(facts)),
        *[("approved by", _signer(one)) for one in facts["approvals"]],
    ]
    print_facts(f"request {facts['id']}", lines)


def _signer(fact: dict[str, Any]) -> str:
    return f"{fact['principal'] or 'nobody known'}{'' if fact['verifies'] else ' NOT VERIFIED'}"


@request.command()
@output_option
@_OUT
@_REQUEST
@click.pass_obj
def approve(app: App, named: str, out: Path | None, output: str) -> None:
    """Add your signature to a request that somebody else asks.

    REQUEST is an id of `request list`: approved, it is submitted. Or a file, which needs no network
    path: approved, it is written back. Whoever asked does not count; nobody counts twice.
    """
    envelope = _find(app, named)
    approved = _approved(app, envelope, named)
    file = Path(named) if Path(named).is_file() else None
    if file is None and out is None:
        carry_out_signed(app, approved, output)
        return
    write_envelope(out or file or Path(named), approved, over=out is None)
    facts = _facts(app, approved)
    emit(facts, output, lambda: _print(facts))
    say(f"go on: {_next(facts, out or file or Path(named))}")


def _approved(app: App, envelope: Envelope, named: str) -> Envelope:
    """Return a request with the operator's approval; RefusedError where it would not count."""
    facts = _facts(app, envelope)
    if not facts["verifies"]:
        raise RefusedError(
            f"the request is not signed by {envelope.principal or 'anybody known'}",
            place=named,
            remedy="do not approve it; ask for it anew",
        )
    approval = app.signing.approve(envelope.document.encode())
    if approval.principal == envelope.principal:
        raise RefusedError(
            f"{approval.principal} asked for it, and does not count as approver",
            place=named,
            remedy="have another operator approve it, with --identity KEY",
        )
    return envelope.approved(approval)


@request.command()
@output_option
@request_options
@click.argument("request_id", metavar="ID")
@click.pass_obj
def withdraw(app: App, request_id: str, reason: str, expires_min: int, output: str) -> None:
    """Withdraw your request while it waits for a second signature."""
    from sisamu_ops.failover.request import Verb

    asked = app.enter().desk.new_request(
        Verb.WITHDRAW, reason=reason, lifetime=lifetime(expires_min), about=request_id
    )
    carry_out(app, asked, output)


def _next(facts: dict[str, Any], file: Path) -> str:
    if facts["site"]:
        return (
            f"sisamu break-glass run {file}, at {facts['site']}; "
            f"if it was, and is merged: sisamu request submit {file}"
        )
    return f"sisamu request submit {file}"


@request.command()
@output_option
@_FILE
@click.pass_obj
def submit(app: App, file: Path, output: str) -> None:
    """Put a request written with --out before the leader."""
    envelope = read_envelope(app, file)
    carry_out_signed(app, envelope, output)
