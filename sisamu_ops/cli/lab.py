"""`sisamu lab`: the three-datacentre lab, from up to down."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from typing import TYPE_CHECKING, TextIO

import click

from sisamu_ops.app import App, open_lab
from sisamu_ops.cli.progress import tell_entry
from sisamu_ops.cli.render import emit, output_option, print_facts, say
from sisamu_ops.model.errors import StoppedError

if TYPE_CHECKING:
    from sisamu_ops.lab import LabStatus

#: Seconds for somebody to lead once the agents run; a busy machine starts them slowly.
_LEAD_S = 40.0


@click.group()
def lab() -> None:
    """Three datacentres on this machine, made of the servers production uses.

    Needs root. SISAMU_LAB_NAME names the lab (default: lab).
    """


@lab.command("up")
@click.option(
    "--agents/--no-agents", default=True, show_default=True, help="Start the sites' agents."
)
@click.option("--samus", type=click.IntRange(3, 102), help="How many SAMUs, of the nation's 102; "
              "3 unless said. Kept until `lab down`.")  # fmt: skip
@click.pass_obj
def up_command(app: App, agents: bool, samus: int | None) -> None:
    """Bring the lab up; what is up already stays as it is.

    A lab of more than 3 SAMUs has an inventory of its own, named at the end.
    """
    opened = open_lab()
    opened.up(agents=agents, progress=say, samus=samus)
    if opened.has_own_inventory:
        app = app.with_inventory(opened.inventory)
    if agents:
        say("leader")
        app.await_leader(_LEAD_S)
        say("targets")
        desk = app.desk
        desk.enrol_missing("lab up enrols its own targets", tell_entry)
        desk.adopt_missing("lab up adopts its own rules", tell_entry)
    say(f"lab {opened.place.name} is up under {opened.place.root}")
    if opened.has_own_inventory:
        say(f"its inventory: export SISAMU_INVENTORY={opened.inventory}")
    if note := opened.status().note:
        say(note)


@lab.command("down")
def down_command() -> None:
    """Remove every process, namespace, rule and file of the lab."""
    opened = open_lab()
    opened.down(progress=say)
    say(f"lab {opened.place.name} is down; nothing of it is left")


@lab.command("status")
@output_option
def status_command(output: str) -> None:
    """Show what runs, and which links are cut."""
    status = open_lab().status()
    emit(_status_json(status), output, lambda: _print_status(status))


@lab.command("partition")
@click.argument("networks", nargs=-1, required=True, metavar="SITE | NETWORK NETWORK")
def partition_command(networks: tuple[str, ...]) -> None:
    """Cut one site from the other sites, or one pair of networks.

    Networks: paris, lyon, lille, carrier, samus, ops.
    """
    _print_cuts(open_lab().partition(*networks))


@lab.command("heal")
@click.argument("networks", nargs=-1, metavar="[SITE | NETWORK NETWORK]")
def heal_command(networks: tuple[str, ...]) -> None:
    """Join what `partition` cut: the same names, or everything."""
    _print_cuts(open_lab().heal(*networks))


@lab.command("stop")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--kill", is_flag=True, help="SIGKILL at once, to the whole process group.")
def stop_command(names: tuple[str, ...], kill: bool) -> None:
    """Stop programs, by name or glob, until `lab start`."""
    click.echo("\n".join(open_lab().stop(names, kill=kill)))


@lab.command("start")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
def start_command(names: tuple[str, ...]) -> None:
    """Start programs, by name or glob, and wait until they serve."""
    click.echo("\n".join(open_lab().start(names)))


@lab.command("calls")
@click.option("--rate", type=click.FloatRange(0, min_open=True), default=20, show_default=True,
              help="Calls a second, half of them through each router.")  # fmt: skip
@click.option("--duration", type=click.FloatRange(0, min_open=True), default=10, show_default=True,
              help="Seconds during which calls are placed.")  # fmt: skip
@click.option("--hold", type=click.FloatRange(0), default=2, show_default=True,
              help="Seconds a call lasts once answered.")  # fmt: skip
@click.option("--all", "everything", is_flag=True, help="Call every SAMU in turn.")
@click.option("--samu", "samu_ids", multiple=True, default=["300"], show_default=True,
              help="SAMU to call, at its test number; several take turns.")  # fmt: skip
@click.option("--ledger", type=click.File("w", encoding="utf-8", lazy=False),
              help="Also write every call there, one JSON object a line.")  # fmt: skip
@output_option
@click.pass_obj
def calls_command(
    app: App,
    rate: float,
    duration: float,
    hold: float,
    samu_ids: tuple[str, ...],
    everything: bool,
    ledger: TextIO | None,
    output: str,
) -> None:
    """Place real calls through both routers and count their fates.

    lost: no 200 OK within 5 s of the first INVITE. failed: a final error answer, also counted in
    lost. misrouted: answered by another SAMU or on a path its mode did not allow. cut: answered,
    then ended abnormally. pdd_p99_ms: 99th percentile of the time to the answer.
    """
    from sisamu_ops.telephony.ledger import tally

    named = list(app.platform.samus) if everything else samu_ids
    samus = [app.platform.samu(wanted) for wanted in named]
    with _stop_on_interrupt() as stop:
        records = open_lab().calls(
            rate_per_s=rate,
            duration_s=duration,
            hold_ms=round(hold * 1000),
            samus={samu.samu_id: samu.test_number for samu in samus},
            stop=stop,
        )
    if ledger:
        ledger.writelines(json.dumps(record.to_json()) + "\n" for record in records)
    figures = tally(records, app.enter().desk.allowed_paths()).to_json()
    emit(figures, output, lambda: print_facts("", figures))
    if stop.is_set():
        raise StoppedError("stopped by the operator: the figures are those of the calls placed")


@contextmanager
def _stop_on_interrupt() -> Iterator[Event]:
    """Turn the first Ctrl-C into a wish to stop; the second interrupts as usual."""
    stop = Event()

    def wish(number: int, frame: object) -> None:
        del number, frame
        signal.signal(signal.SIGINT, signal.default_int_handler)
        stop.set()

    before = signal.signal(signal.SIGINT, wish)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


def _status_json(status: LabStatus) -> dict[str, object]:
    return {
        "name": status.name,
        "root": str(status.root),
        "up": status.up,
        "isolated": status.isolated,
        "note": status.note,
        "programs": [vars(one) for one in status.programs],
        "cuts": [list(cut) for cut in status.cuts],
        "one_way": [list(link) for link in status.one_way],
    }


def _print_status(status: LabStatus) -> None:
    if not status.programs:
        click.echo(f"lab {status.name}: down")
        return
    click.echo(f"lab {status.name}: {'up' if status.up else 'partly up'}, {status.root}")
    if status.note:
        click.echo(status.note)
    for one in status.programs:
        click.echo(f"  {one.name:<18} {one.state.lower():<10} {one.pid or '-':>8}")
    _print_cuts(status.cuts)
    if status.one_way:
        said = ", ".join(f"{source} > {target}" for source, target in status.one_way)
        click.echo(f"cut one way: {said}")


def _print_cuts(cuts: tuple[tuple[str, str], ...]) -> None:
    said = ", ".join(f"{first} | {second}" for first, second in cuts)
    click.echo(f"cut links: {said or 'none'}")
