"""`sisamu target`: routers and gateways behind their fences."""

from __future__ import annotations

import click

from sisamu_ops.app import App
from sisamu_ops.cli.follow import carry_out, lifetime, request_options
from sisamu_ops.cli.render import emit, output_option, print_table


@click.group()
def target() -> None:
    """Routers and gateways behind their fences."""


@target.command("list")
@output_option
@click.pass_obj
def list_targets(app: App, output: str) -> None:
    """Read every target now: reachable, enrolled, token, values."""
    desk = app.enter().desk
    readings, held = desk.read_targets(app.platform.targets), desk.held_targets()
    facts = [
        {
            "host": host,
            "reachable": reading.reachable,
            "enrolled": reading.enrolled,
            "last_token": str(reading.last) if reading.last else None,
            "held": str(held[host]) if host in held else None,
            "values": reading.values,
            "durable": reading.durable,
            "problem": reading.problem,
        }
        for host, reading in readings.items()
    ]

    def table() -> None:
        rows = [
            (
                f["host"],
                "yes" if f["reachable"] else "NO",
                "yes" if f["enrolled"] else "NO",
                f"{f['last_token'] or '-'}{' HELD' if f['held'] else ''}",
                _values(f["values"]) or f["problem"] or "-",
            )
            for f in facts
        ]
        print_table("targets", ["host", "reachable", "enrolled", "last token", "values"], rows)

    emit(facts, output, table)


def _values(values: object) -> str:
    return ", ".join(f"{k} {v}" for k, v in values.items()) if isinstance(values, dict) else ""


@target.command()
@output_option
@request_options
@click.argument("hosts", nargs=-1, required=True)
@click.pass_obj
def enrol(app: App, hosts: tuple[str, ...], reason: str, expires_min: int, output: str) -> None:
    """Give targets a fence, or take back held ones.

    Signed and journalled. A target without a fence file refuses changes. One moved by hand, with
    the token of the card, is taken back: the next leader's epoch is above that token.
    """
    from sisamu_ops.failover.request import Verb

    request = app.enter().desk.new_request(
        Verb.ENROL, reason=reason, lifetime=lifetime(expires_min), targets=hosts
    )
    carry_out(app, request, output)
