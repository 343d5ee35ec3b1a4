"""`sisamu chaos`: faults that carry their cure, in a lab only."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from sisamu_ops.app import App
from sisamu_ops.cli.render import emit, output_option, print_facts, print_table

if TYPE_CHECKING:
    from sisamu_ops.chaos import FaultKind, Injection

#: Stands for the leading site where a fault takes a site.
LEADER = "leader"


@click.group()
def chaos() -> None:
    """Faults that carry their cure, in a lab only.

    Each heals by itself, whatever becomes of who injected it.
    """


@chaos.command("list")
@output_option
@click.pass_obj
def list_command(app: App, output: str) -> None:
    """List the faults there are, and those that stand now."""
    from sisamu_ops.chaos import catalogue, standing

    kinds = tuple(catalogue().values())
    found = standing(app.chaos_ground()) if app.platform.policy.is_lab else ()
    facts = {
        "faults": [
            {"name": kind.name, "parameters": list(kind.parameters), "does": kind.does}
            for kind in kinds
        ],
        "standing": [_facts(one) for one in found],
    }
    emit(facts, output, lambda: _print_list(kinds, found))


@chaos.command(
    "inject",
    context_settings={"ignore_unknown_options": True},  # a clock may jump by -30
)
@click.argument("fault")
@click.argument("parameters", nargs=-1, metavar="[PARAMETER]...")
@click.option("--for", "deadline_s", type=float, required=True,
              help="Seconds after which it heals at the latest; at most 20.")  # fmt: skip
@output_option
@click.pass_obj
def inject_command(
    app: App, fault: str, parameters: tuple[str, ...], deadline_s: float, output: str
) -> None:
    """Inject a fault, and return when it stands.

    A process of its own heals it at the deadline, `sisamu chaos heal` before. `leader` stands for
    the leading site. Refused beyond the blast radius, and where the platform is not a lab.
    """
    from sisamu_ops.chaos import inject, parse_fault

    ground = app.chaos_ground()
    named = [app.leading_site() if word == LEADER else word for word in parameters]
    facts = _facts(inject(ground, parse_fault(" ".join([fault, *named])), deadline_s))
    emit(facts, output, lambda: print_facts("injected", facts))


@chaos.command("heal")
@output_option
@click.pass_obj
def heal_command(app: App, output: str) -> None:
    """Heal every fault that stands, whoever injected it."""
    from sisamu_ops.chaos import heal_all

    facts = {"healed": [one.injection_id for one in heal_all(app.chaos_ground())]}
    emit(facts, output, lambda: click.echo("healed: " + (", ".join(facts["healed"]) or "nothing")))


def _facts(injection: Injection) -> dict[str, object]:
    heals_by = datetime.now(UTC) + timedelta(seconds=injection.remaining_s)
    return {
        "id": injection.injection_id,
        "fault": str(injection.fault),
        "heals_by": heals_by.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "armed": injection.armed,
    }


def _print_list(kinds: Iterable[FaultKind], found: Iterable[Injection]) -> None:
    rows = [(" ".join((kind.name, *kind.parameters)), kind.does) for kind in kinds]
    print_table("", ["fault", "what it does"], rows)
    standing = [_facts(one) for one in found]
    for one in standing:
        armed = "" if one["armed"] else "; its healer is gone: sisamu chaos heal"
        click.echo(f"standing: {one['fault']}, heals by {one['heals_by']}{armed}")
    if not standing:
        click.echo("standing: none")
