"""`sisamu request`: requests as files, prepared where there is no network path."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sisamu_ops.app import App
from sisamu_ops.cli.follow import carry_out_signed
from sisamu_ops.cli.render import emit, output_option, print_facts, say
from sisamu_ops.cli.request_file import read_envelope, write_envelope
from sisamu_ops.model.errors import RefusedError

if TYPE_CHECKING:
    from sisamu_ops.failover.request import Envelope

_FILE = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))


@click.group()
def request() -> None:
    """Requests as files: look, approve, submit."""


@request.command()
@output_option
@_FILE
@click.pass_obj
def show(app: App, file: Path, output: str) -> None:
    """Show what a file asks, who signed it and who approved."""
    facts = _facts(app, read_envelope(app, file))
    emit(facts, output, lambda: _print(facts))


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
        "verifies": app.verifies(document, envelope.signature, envelope.principal, NAMESPACE),
        "approvals": [
            {
                "principal": one.principal,
                "verifies": app.verifies(document, one.signature, one.principal, VOTE_NAMESPACE),
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
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), default=None,
              help="Where to write the approved request; the same file unless given.")  # fmt: skip
@_FILE
@click.pass_obj
def approve(app: App, file: Path, out: Path | None, output: str) -> None:
    """Add your signature to a request that somebody else asks.

    Needs no network path. Whoever asked does not count; nobody counts twice.
    """
    envelope = read_envelope(app, file)
    facts = _facts(app, envelope)
    if not facts["verifies"]:
        raise RefusedError(
            f"the request is not signed by {envelope.principal or 'anybody known'}",
            place=str(file),
            remedy="do not approve it; ask for it anew",
        )
    approval = app.approve(envelope.document.encode())
    if approval.principal == envelope.principal:
        raise RefusedError(
            f"{approval.principal} asked for it, and does not count as approver",
            place=str(file),
            remedy="have another operator approve it, with --identity KEY",
        )
    approved = envelope.approved(approval)
    write_envelope(out or file, approved, over=out is None)
    facts = _facts(app, approved)
    emit(facts, output, lambda: _print(facts))
    say(f"go on: {_next(facts, out or file)}")


def _next(facts: dict[str, Any], file: Path) -> str:
    if facts["site"]:
        return (
            f"sisamu break-glass run {file}, at {facts['site']}; "
            f"if it was, and is merged: sisamu request submit {file}"
        )
    return f"sisamu request submit {file}"


@request.command()
@output_option
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True,
              help="Where to write it.")  # fmt: skip
@click.argument("request_id", metavar="ID")
@click.pass_obj
def fetch(app: App, request_id: str, out: Path, output: str) -> None:
    """Write a request the leader accepted to a file.

    For the second signature of what was begun on one: approve the file, then submit it.
    """
    envelope = app.enter().desk.accepted(request_id)
    write_envelope(out, envelope)
    facts = _facts(app, envelope)
    emit(facts, output, lambda: _print(facts))
    say(f"go on: sisamu request approve {out}; sisamu request submit {out}")


@request.command()
@output_option
@_FILE
@click.pass_obj
def submit(app: App, file: Path, output: str) -> None:
    """Put a request written with --out before the leader."""
    envelope = read_envelope(app, file)
    carry_out_signed(app, envelope, output)
