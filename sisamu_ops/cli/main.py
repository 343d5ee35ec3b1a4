"""`sisamu`: the root of the command line, its shared options, and how errors are shown.

Nouns are imported when they are called, so that `--help` costs little more than Click.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import traceback
from pathlib import Path
from types import TracebackType

import click

from sisamu_ops.app import App, Options
from sisamu_ops.model.errors import SisamuError, StoppedError

#: Noun → (module below sisamu_ops.cli, its one line of help). Alphabetical in `--help`.
NOUNS = {
    "agent": ("agent", "The daemon of one site."),
    "audit": ("audit", "Show, tell and verify the journal."),
    "chaos": ("chaos", "Faults that carry their cure, in a lab only."),
    "break-glass": ("break_glass", "Act alone on a cut-off site."),
    "doctor": ("doctor", "Am I authorised, are leader, sites, targets and database reachable?"),
    "failback": ("move", "Planned return of SAMUs to nominal."),
    "failover": ("move", "Rescue: the present path is broken."),
    "incident": ("incident", "Triggers and rescues that belong together."),
    "lab": ("lab", "Three datacentres on this machine, from real servers."),
    "journal": ("journal", "The rules in force, and adopting others."),
    "leader": ("leader", "Who leads, who could, and handing it over."),
    "operation": ("operation", "List, show, follow, pause, resume, abort operations."),
    "quorum": ("quorum", "Whether the database holds, and what it would survive."),
    "reconcile": ("reconcile", "Settle what is unknown: seal, read, complete."),
    "request": ("request", "What waits for a second signature: look, approve, submit."),
    "safety": ("safety", "Safety rules, what each blocks, how to set one aside."),
    "samu": ("samu", "SAMUs: modes, people, checklists, drift, the printable card."),
    "status": ("status", "The platform at a glance."),
    "switchover": ("move", "Planned move of SAMUs, both sides healthy."),
    "target": ("target", "Routers and gateways behind their fences."),
}


class Nouns(click.Group):
    """Loads a noun's commands when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - Click's signature
        """Return the nouns, in order."""
        return sorted(NOUNS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import and return one noun."""
        if cmd_name not in NOUNS:
            return None
        module = importlib.import_module(f"sisamu_ops.cli.{NOUNS[cmd_name][0]}")
        command = getattr(module, cmd_name.replace("-", "_"))
        return command if isinstance(command, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the nouns without importing any."""
        with formatter.section("Nouns"):
            formatter.write_dl([(noun, text) for noun, (_, text) in sorted(NOUNS.items())])


@click.group(cls=Nouns, context_settings={"auto_envvar_prefix": "SISAMU"})
@click.option(
    "-i",
    "--inventory",
    type=click.Path(path_type=Path),
    default=Path("inventories/lab"),
    show_default=True,
    help="The Ansible inventory: the only topology.",
)
@click.option(
    "--coordination",
    type=click.Choice(["zookeeper", "local"]),
    default=None,
    help="Where the journal lives; the inventory says unless given.",
)
@click.option(
    "--state-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    help="Directory of the local coordination.",
)
@click.option(
    "--identity",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    help="SSH private key that signs requests; the inventory says unless given.",
)
@click.version_option(package_name="sisamu-ops")
@click.pass_context
def cli(
    ctx: click.Context,
    inventory: Path,
    coordination: str | None,
    state_dir: Path | None,
    identity: Path | None,
) -> None:
    """Keep emergency calls flowing: failover of SAMUs, led, fenced, journalled.

    Exit codes: 0 done, 1 a bug, 2 usage or configuration, 3 refused, 4 no leader or fenced,
    5 failed, 6 unknown (sisamu reconcile), 8 integrity, 9 stopped.
    """
    ctx.obj = App(
        Options(
            inventory=inventory,
            coordination=coordination or "",
            state_dir=state_dir,
            identity=identity,
        )
    )


def log_path() -> Path:
    """Return the file a bug's traceback goes to."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state"
    return Path(state) / "sisamu" / "sisamu.log"


def _say_bug(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Write the traceback to the log file, and one line to the screen."""
    path = log_path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            traceback.print_exception(kind, error, trace, file=file)
        kept = f"the traceback is in {path}"
    except OSError as refused:
        *_, last = traceback.extract_tb(trace) or [None]
        where = f"{last.filename}, line {last.lineno}: " if last else ""
        kept = f"{where}{error}; the traceback cannot be kept: {refused.strerror}"
    click.echo(f"error: a bug ({kind.__name__}); {kept}", err=True)


def main() -> None:
    """Run the command line; every SisamuError becomes one message and its exit code."""
    sys.excepthook = _say_bug
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s"
    )
    screen = sys.stdout
    try:
        status = cli.main(standalone_mode=False)
    except SisamuError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        click.echo("stopped", err=True)
        sys.exit(StoppedError.exit_code)
    except SystemExit:
        # Click wraps the output and exits 1 when its reader is gone. That is no bug, and may have
        # kept the outcome from being told, so it is not done either.
        if sys.stdout is not screen:
            sys.exit(StoppedError.exit_code)
        raise
    sys.exit(status if isinstance(status, int) else 0)
