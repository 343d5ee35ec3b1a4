"""`sisamu samu`: modes, readings, and the card to print."""

from __future__ import annotations

from typing import Any

import click

from sisamu_ops.app import App
from sisamu_ops.cli.render import emit, output_option, print_facts, print_table


@click.group()
def samu() -> None:
    """SAMUs: modes, readings, the printable card."""


@samu.command("list")
@output_option
@click.pass_obj
def list_samus(app: App, output: str) -> None:
    """List the SAMUs of the inventory; nothing is read over the network."""
    facts = [
        {"id": s.samu_id, "name": s.name, "region": s.region, "gateway": s.gateway}
        for s in app.platform.samus.values()
    ]

    def table() -> None:
        rows = [(f["id"], f["name"], f["region"], f["gateway"]) for f in facts]
        print_table("", ["samu", "name", "region", "gateway"], rows)

    emit(facts, output, table)


_SAMU = click.option("--samu", "wanted", required=True, help="SAMU identifier, as 300 or 30.")


@samu.command()
@output_option
@_SAMU
@click.pass_obj
def show(app: App, wanted: str, output: str) -> None:
    """Read one SAMU on every router now, beside what the journal intends."""
    facts = app.enter().desk.samu(wanted)
    emit(facts, output, lambda: _print(facts))


def _print(facts: dict[str, Any]) -> None:
    last = facts["operation"]
    print_facts(
        f"SAMU {facts['id']} {facts['name']}",
        [
            ("mode", facts["mode"]),
            ("intended", facts["intended_mode"]),
            ("read at", facts["read_at"]),
            *[(f"router {host}", said) for host, said in facts["routers"].items()],
            ("gateway", facts["gateway"]),
            *[(f"held {host}", f"by token {token}") for host, token in facts["held"].items()],
            ("operation", f"{last['id']} {last['outcome']}" if last else "-"),
        ],
    )


@samu.command()
@output_option
@_SAMU
@click.pass_obj
def card(app: App, wanted: str, output: str) -> None:
    """Print one page to act by hand when nothing of this toolkit answers."""
    facts = app.enter().desk.card(wanted)
    emit(facts, output, lambda: _print_card(facts))


def _print_card(facts: dict[str, Any]) -> None:
    click.echo(f"SAMU {facts['id']} {facts['name']}".ljust(50) + facts["printed_at"][:16])
    click.echo("=" * 66)
    click.echo(f"present path      {facts['mode']} (intended {facts['intended_mode']})")
    for host, said in facts["routers"].items():
        click.echo(f"  {host:<16}{said}")
    click.echo(f"fallback numbers  {', '.join(facts['fallback_numbers']) or '-'}")
    click.echo(f"crisis bridge     {facts['bridge'] or '-'}")
    click.echo(f"\nTo backup, by hand, with Ansible alone (token {facts['token']}):\n")
    click.echo(facts["to_backup"])
    click.echo("\nBack to nominal:\n")
    click.echo(facts["to_nominal"])
    click.echo(
        "\nThe token is a break-glass epoch: targets that took it refuse the elected\n"
        "leader until its epoch is above. Raise the number after the dot at each run.\n"
        "Tell the bridge what was done, by whom, when: it enters the journal later."
    )
