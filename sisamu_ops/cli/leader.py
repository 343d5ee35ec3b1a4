"""`sisamu leader`: who leads, who could, and handing it over."""

from __future__ import annotations

import click

from sisamu_ops.app import App
from sisamu_ops.cli.follow import carry_out, lifetime, request_options
from sisamu_ops.cli.render import emit, output_option, print_facts, print_table
from sisamu_ops.model.errors import LeadershipError


@click.group()
def leader() -> None:
    """Who leads, who could, and handing it over."""


@leader.command()
@output_option
@click.pass_obj
def show(app: App, output: str) -> None:
    """Show who leads, under which epoch; exit 4 when nobody.

    A local journal is led only while a command runs: none leads at rest.
    """
    glance = app.open_record().glance()
    now = glance.leader
    history = glance.view.state.leaderships
    since = next((t for s, e, t in reversed(history) if now and e == now.epoch), None)
    facts = {
        "site": now.site if now else None,
        "epoch": now.epoch if now else None,
        "since": since,
        "paused": glance.view.state.paused,
        "order": list(app.platform.policy.site_order),
        "arbiters": list(app.platform.arbiters()),
    }
    emit(facts, output, lambda: print_facts("leader", facts))
    if now is None and not app.is_local:
        raise LeadershipError(
            "nobody leads; every SAMU keeps its mode",
            remedy="sisamu doctor; by hand, with the card: sisamu samu card",
        )


@leader.command()
@output_option
@click.pass_obj
def contenders(app: App, output: str) -> None:
    """Show which sites stand for leader, and what keeps others."""
    facts = app.enter().desk.status()["sites"]

    def table() -> None:
        rows = [(s["id"], s["role"], _stands(s), _why(s)) for s in facts]
        print_table("contenders", ["site", "role", "stands", "because"], rows)

    emit(facts, output, table)


def _stands(site: dict[str, object]) -> str:
    if site["leads"]:
        return "leads"
    return "yes" if site["contends"] else "no"


def _why(site: dict[str, object]) -> str:
    if site["role"] == "arbiter":
        return "it votes and witnesses, it never leads"
    problems = site["problems"]
    if isinstance(problems, list) and problems:
        return "; ".join(str(p["message"]) for p in problems)
    return "its agent is silent" if site["silent"] else "fit"


@leader.command()
@output_option
@click.pass_obj
def history(app: App, output: str) -> None:
    """Show every leadership, newest last, and which were lost."""
    state = app.open_record().journal().state
    lost = {(one.site, one.time) for one in state.losses}
    taken = state.leaderships
    until = [time for _, _, time in taken[1:]] + [""]
    facts = [
        {"site": site, "epoch": epoch, "since": since, "lost": (site, end) in lost}
        for (site, epoch, since), end in zip(taken, until, strict=True)
    ]

    def table() -> None:
        rows = [(f["epoch"], f["site"], f["since"], "LOST" if f["lost"] else "") for f in facts]
        print_table("leaderships", ["epoch", "site", "since (UTC)", "end"], rows)

    emit(facts, output, table)


@leader.command()
@output_option
@request_options
@click.option("--to", required=True, help="The site that shall lead.")
@click.pass_obj
def transfer(app: App, to: str, reason: str, expires_min: int, output: str) -> None:
    """Hand leadership over to a site, as planned.

    Its epoch stands when this returns. What runs is finished first; what waits is handed over.
    """
    _ask(app, "TRANSFER", reason, expires_min, output, to=to)


@leader.command("step-down")
@output_option
@request_options
@click.pass_obj
def step_down(app: App, reason: str, expires_min: int, output: str) -> None:
    """Have the leader give leadership up to the next fit site."""
    _ask(app, "STEP_DOWN", reason, expires_min, output)


@leader.command()
@output_option
@request_options
@click.pass_obj
def pause(app: App, reason: str, expires_min: int, output: str) -> None:
    """Maintenance: go on electing, dispatch nothing but rescues."""
    _ask(app, "PAUSE", reason, expires_min, output)


@leader.command()
@output_option
@request_options
@click.pass_obj
def resume(app: App, reason: str, expires_min: int, output: str) -> None:
    """End the maintenance that `pause` began."""
    _ask(app, "RESUME", reason, expires_min, output)


def _ask(app: App, verb: str, reason: str, expires_min: int, output: str, to: str = "") -> None:
    from sisamu_ops.failover.request import Verb

    request = app.enter().desk.new_request(
        Verb[verb], reason=reason, lifetime=lifetime(expires_min), to=to
    )
    carry_out(app, request, output)
