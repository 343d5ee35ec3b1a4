"""`sisamu status`: the platform at a glance, with or without a leader or ZooKeeper."""

from __future__ import annotations

from collections import Counter
from typing import Any

import click

from sisamu_ops.app import App
from sisamu_ops.cli.render import emit, output_option, print_table, wrapped
from sisamu_ops.model.naming import name_few

#: Findings on the database, and SAMUs to call, that are told at a glance.
_FINDINGS = 3
_CALLS = 5
#: SAMUs that have a line each; with more, only those that are not nominal and settled.
_LINES = 20


@click.command()
@output_option
@click.pass_obj
def status(app: App, output: str) -> None:
    """Show leader, sites, journal and each SAMU's mode as read now."""
    facts = app.enter().status()
    emit(facts, output, lambda: _print(facts))


def _print(facts: dict[str, Any]) -> None:
    _print_head(facts)
    _print_database(facts["database"])
    _print_standing(facts)
    _print_owed(facts)
    _print_sites(facts["sites"])
    _print_samus(facts["samus"])
    _print_unknown(facts["samus"])
    for step in facts["now"]:
        click.echo(wrapped(step["why"], "now      "))
        # Never broken: it is there to be copied.
        click.echo(f"  {step['command']}")


def _print_head(facts: dict[str, Any]) -> None:
    leader, journal = facts["leader"], facts["journal"]
    if leader["site"]:
        click.echo(f"leader   {leader['site']}, epoch {leader['epoch']}")
    elif facts["embedded"]:
        click.echo("leader   none at rest: a local journal is led while a command runs")
    else:
        click.echo("leader   NONE: every SAMU keeps its mode")
    live = "" if journal["live"] else f"; STALE, newest entry {journal['newest_at'] or 'none'}"
    click.echo(
        f"journal  {journal['size']} entries from {journal['source']}, "
        f"{journal['agreed_size']} agreed{live}"
    )


def _print_standing(facts: dict[str, Any]) -> None:
    """Say what is not as it always is, and stays so until somebody does something."""
    if facts["paused"]:
        click.echo("paused   nothing but rescues is dispatched; sisamu leader resume")
    for one in facts["evacuated"]:
        site = one["site"]
        click.echo(f"site     {site} is evacuated: {one['to']} is asked first in its place")
        click.echo(f"  home again: sisamu switchover start --site {site} --to {site} --reason TEXT")
    for one in facts["held"]:
        click.echo(f"held     {one['target']} has taken token {one['token']}: no leader moves it")
        click.echo("  remedy: sisamu journal merge DIR, the log of the site that acted alone;")
        click.echo(f"          moved by hand, with the card: sisamu target enrol {one['target']}")


def _print_owed(facts: dict[str, Any]) -> None:
    """Say what people owe: signatures, acknowledgements, calls."""
    for due in facts["second_due"]:
        said = "OVERDUE since" if due["overdue"] else "due by"
        click.echo(f"{due['operation']}: second signature {said} {due['by'][:16]}")
        click.echo(f"  remedy: {_how_to_approve(due)}")
    for one in facts["incidents"]:
        what = f"{one['triggers']} triggers, {len(one['rescues'])} rescues"
        click.echo(f"{one['id']}: {what} of SAMU {name_few(one['samus'])}, not acknowledged")
        click.echo(f"  then: sisamu incident acknowledge {one['id']} --reason TEXT")
    _print_to_call(facts["to_call"])


def _print_sites(sites: list[dict[str, Any]]) -> None:
    rows = [
        (s["id"], s["role"], "leads" if s["leads"] else "", s["cosigned_size"] or "-", _state(s))
        for s in sites
    ]
    print_table("", ["site", "role", "", "cosigned", "state"], rows)
    for site in sites:
        for problem in site["problems"]:
            click.echo(f"{site['id']}: {problem['message']}")
            click.echo(f"  remedy: {problem['remedy']}")


def _print_samus(samus: list[dict[str, Any]]) -> None:
    """Print a line a SAMU; of the whole nation only those that are not as they always are."""
    shown = samus if len(samus) <= _LINES else [s for s in samus if not _is_usual(s)]
    if len(samus) > _LINES:
        counts = Counter(s["mode"] for s in samus)
        told = ", ".join(f"{many} {mode}" for mode, many in sorted(counts.items()))
        click.echo(f"samus    {told}; all of them: sisamu status -o json")
    rows = [_samu_row(s) for s in shown[:_LINES]]
    columns = ["samu", "name", "mode", "intended", "read at (UTC)", "last operation"]
    if rows:
        print_table("", columns, rows)
    if len(shown) > _LINES:
        click.echo(f"  and {len(shown) - _LINES} more")


def _is_usual(samu: dict[str, Any]) -> bool:
    last = samu["operation"]
    settled = last is None or last["outcome"] == "done"
    return bool(settled) and samu["mode"] == samu["intended_mode"] == "nominal"


def _how_to_approve(due: dict[str, Any]) -> str:
    """Say how another operator signs; a lone site has the file itself."""
    if due["rule"] == "second-signature":
        return f"another operator: sisamu request approve {due['operation']}"
    return "sisamu request approve FILE; sisamu request submit FILE"


def _print_to_call(facts: list[dict[str, Any]]) -> None:
    """Say whose agents nobody has confirmed in place: somebody must call them."""
    for one in facts[:_CALLS]:
        click.echo(f"to call  SAMU {one['id']} {one['name']}, on {one['mode']} {_bridge(one)}")
    if len(facts) > _CALLS:
        click.echo(f"  and {len(facts) - _CALLS} more: sisamu status -o json")
    if facts:
        click.echo(
            f"  then: sisamu samu confirm --samu {facts[0]['id']} --by ROLE --channel phone "
            "--reason TEXT"
        )


def _bridge(fact: dict[str, Any]) -> str:
    return f"({fact['bridge']})" if fact["bridge"] else ""


def _print_database(database: dict[str, Any] | None) -> None:
    """Say whether the database holds, and through the loss of which site."""
    if database is None:
        return
    without = [f"{verdict} without {site}" for site, verdict in database["without_site"].items()]
    click.echo(wrapped("; ".join([database["verdict"], *without]), "database "))
    for finding in database["findings"][:_FINDINGS]:
        click.echo(wrapped(finding["message"], f"  {finding['id']}: "))
        click.echo(wrapped(finding["remedy"], "  remedy: "))
    if len(database["findings"]) > _FINDINGS:
        click.echo("  and more: sisamu quorum check")


def _state(site: dict[str, Any]) -> str:
    """Say in a word how a site is doing, by its agent's own word."""
    if site["role"] == "embedded":
        return "-"
    if site["silent"]:
        return "SILENT"
    return ", ".join(p["kind"] for p in site["problems"]) or "ok"


def _print_unknown(samus: list[dict[str, Any]]) -> None:
    """Say what is not known of SAMUs, once for all it is said of; what settles it comes last."""
    told: dict[str, list[str]] = {}
    for samu in samus:
        if said := _unknown(samu):
            told.setdefault(said, []).append(samu["id"])
    for said, named in told.items():
        click.echo(wrapped(said, f"SAMU {name_few(named)}: "))


def _unknown(samu: dict[str, Any]) -> str:
    last = samu["operation"]
    routers = samu["routers"].items() if samu["mode"] == "unknown" else ()
    unsettled = last["unsettled"] if last else ()
    told = [f"{host} reads {said}" for host, said in routers]
    told += [f"{host} is unknown since {last['id']}" for host in unsettled]
    return "; ".join(told)


def _samu_row(samu: dict[str, Any]) -> tuple[str, ...]:
    last = samu["operation"]
    told = f"{last['verb']} {last['outcome']}" if last else "-"
    read_at = samu["read_at"][11:19]
    return (samu["id"], samu["name"], samu["mode"], samu["intended_mode"], read_at, told)
