"""`sisamu agent`: the daemon of one site."""

from __future__ import annotations

import logging
import signal
from pathlib import Path
from threading import Event

import click

from sisamu_ops.app import App
from sisamu_ops.model.errors import DiskError

_log = logging.getLogger(__name__)

#: How long an agent that cannot begin waits for room on its disk, in seconds.
_RETRY_S = 1.0


@click.group()
def agent() -> None:
    """The daemon of one site."""


@agent.command()
@click.option("--site", required=True, help="The site served.")
@click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    required=True,
    help="Directory of keys/, ssh/id_ed25519, journal/ and runs/.",
)
@click.pass_obj
def run(app: App, site: str, home: Path) -> None:
    """Follow the journal, keep its replica, stand for leader."""
    logging.getLogger("sisamu_ops").setLevel(logging.INFO)
    stopped = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    while not stopped.is_set():
        try:
            _serve(app, site, home)
            return
        except DiskError as error:
            _log.error("%s; waiting", error.message)
            stopped.wait(_RETRY_S)


def _serve(app: App, site: str, home: Path) -> None:
    with app.site_agent(site, home) as daemon:
        signal.signal(signal.SIGTERM, lambda *_: daemon.stop())
        signal.signal(signal.SIGINT, lambda *_: daemon.stop())
        daemon.run()
