"""`sisamu samu`: modes, readings, and the card to print."""

from __future__ import annotations

from typing import Any

import click

from sisamu_ops.app import App
from sisamu_ops.cli.choose import chosen, selection_options
from sisamu_ops.cli.follow import (
    asking_options,
    carry_out,
    lifetime,
    override_option,
    request_options,
    require_reason,
)
from sisamu_ops.cli.render import emit, output_option, print_facts, print_table, say
from sisamu_ops.model.errors import ConfigurationError


@click.group()
def samu() -> None:
    """SAMUs: modes, people in place, exit checklists, drift, the printable card."""


@samu.command("list")
@output_option
@click.pass_obj
def list_samus(app: App, output: str) -> None:
    """List the SAMUs of the inventory; nothing is read."""
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
    """Read one SAMU now, beside what the journal intends."""
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
            ("directory", f"of {facts['directory_at'][:16]}" if facts["directory_at"] else "-"),
            *_procedure(facts),
            *[(f"held {host}", f"by token {token}") for host, token in facts["held"].items()],
            ("operation", f"{last['id']} {last['outcome']}" if last else "-"),
        ],
    )


def _procedure(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Say since when, why and by whom a SAMU is in its mode, and what is to be checked."""
    if not facts["since"]:
        return []
    confirmed = facts["confirmed"]
    place = (
        f"{confirmed['by']}, {confirmed['channel']}, {confirmed['at'][:16]}" if confirmed else "-"
    )
    return [
        ("since", facts["since"][:19]),
        ("reason", facts["reason"] or "-"),
        ("owner", facts["owner"] or "-"),
        ("bridge", facts["bridge"] or "-"),
        ("in place", place),
        *[(f"exit {one['item']}", _tick(one)) for one in facts["checklist"]],
    ]


def _tick(item: dict[str, Any]) -> str:
    by = f"ticked by {item['ticked_by']}" if item["ticked_by"] else "OPEN"
    return f"{by}: {item['says']}"


@samu.command()
@output_option
@request_options
@click.option("--at", default="", help="When they said so (UTC, RFC 3339); now by default.")
@click.option("--channel", required=True,
              type=click.Choice(["phone", "bridge", "radio", "message", "in-person"]),
              help="How they said so.")  # fmt: skip
@click.option("--by", required=True, help="Who confirmed it: a role, no phone number.")
@selection_options
@click.pass_obj
def confirm(
    app: App, by: str, channel: str, at: str, reason: str, expires_min: int, output: str
) -> None:
    """Note that agents are in place at their desk phones.

    A switchover waits for it; after a failover it closes the list of those to be called.
    """
    details = {"by": by, "channel": channel} | ({"at": at} if at else {})
    _ask(app, "confirm", reason, expires_min, output, details=details)


def _ask(app: App, verb: str, reason: str, expires_min: int, output: str, **what: Any) -> None:
    from sisamu_ops.failover.request import Verb

    desk = app.enter().desk
    samus = what.pop("samus", None) or desk.select(chosen())
    request = desk.new_request(
        Verb(verb),
        reason=require_reason(reason),
        lifetime=lifetime(expires_min),
        samus=samus,
        **what,
    )
    carry_out(app, request, output)


@samu.command()
@output_option
@asking_options
@click.option(
    "--tick", "items", multiple=True, metavar="ITEM", help="Tick an item; may be repeated."
)
@selection_options
@click.pass_obj
def checklist(app: App, items: tuple[str, ...], reason: str, expires_min: int, output: str) -> None:
    """Show the exit checklists, or tick items of them.

    No failback is accepted while an item is open.
    """
    if items:
        _ask(app, "tick", reason, expires_min, output,
             details={"items": " ".join(items)})  # fmt: skip
        return
    desk = app.enter().desk
    facts = desk.checklists(desk.select(chosen()))
    emit(facts, output, lambda: _print_checklists(facts))


def _print_checklists(facts: list[dict[str, Any]]) -> None:
    for one in facts:
        lines = [(item["item"], _tick(item)) for item in one["items"]]
        print_facts(f"SAMU {one['samu']} on {one['mode']}", lines or [("-", "nothing to check")])


@samu.command()
@output_option
@request_options
@click.option("--to", default="", help="The path to prove; the inventory's first mode by default.")
@selection_options
@click.pass_obj
def check(app: App, to: str, reason: str, expires_min: int, output: str) -> None:
    """Prove a path by test calls, and move nobody.

    For backup the gateway is armed, called, and disarmed again. What is proved counts for the rule
    backup-proved.
    """
    wanted = to or app.platform.policy.mode_order[0]
    _ask(app, "check", reason, expires_min, output, to=wanted)


@samu.command()
@output_option
@asking_options
@override_option
@click.option("--revert", is_flag=True, help="Bring them back to where they are intended.")
@click.option("--accept", is_flag=True, help="Intend from now on what their routers hold.")
@selection_options
@click.pass_obj
def drift(
    app: App,
    accept: bool,
    revert: bool,
    overrides: tuple[str, ...],
    reason: str,
    expires_min: int,
    output: str,
) -> None:
    """Show SAMUs that are not where the journal intends them.

    Never corrected by itself: accept it or revert it, signed.
    """
    if accept and revert:
        raise ConfigurationError("--accept and --revert exclude each other", remedy="choose one")
    desk = app.enter().desk
    facts = desk.drift(_all_unless_named(app))
    if not facts or not (accept or revert):
        emit(facts, output, lambda: _print_drift(facts))
        return
    modes = {one["mode" if accept else "intended_mode"] for one in facts}
    if len(modes) > 1:
        raise ConfigurationError(
            f"these SAMUs are for several modes: {', '.join(sorted(modes))}",
            place="--accept" if accept else "--revert",
            remedy="name those of one mode with --samu",
        )
    samus = [one["id"] for one in facts]
    _ask(app, "accept" if accept else "revert", reason, expires_min, output,
         samus=samus, to=modes.pop(), overrides=overrides)  # fmt: skip


def _all_unless_named(app: App) -> tuple[str, ...]:
    """Return the SAMUs named, or all of them: to look costs nothing."""
    selection = chosen()
    return tuple(app.platform.samus) if selection.is_empty else app.desk.select(selection)


def _print_drift(facts: list[dict[str, Any]]) -> None:
    rows = [
        (f["id"], f["name"], f["mode"], f["intended_mode"],
         ", ".join(f"{host} {said}" for host, said in f["routers"].items()))
        for f in facts
    ]  # fmt: skip
    if not rows:
        click.echo("none: every SAMU is where the journal intends it, or under way")
        return
    print_table("", ["samu", "name", "mode", "intended", "routers"], rows)
    say("go on: sisamu samu drift --samu ID --revert --reason TEXT, or --accept")


@samu.command()
@output_option
@_SAMU
@click.pass_obj
def card(app: App, wanted: str, output: str) -> None:
    """Print one page to act by hand when nothing here answers."""
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
