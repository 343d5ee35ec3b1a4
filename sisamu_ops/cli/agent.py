"""`sisamu agent`: the daemon of one site."""

from __future__ import annotations

import logging
import signal
from pathlib import Path

import click

from sisamu_ops.app import App


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
    with app.site_agent(site, home) as daemon:
        signal.signal(signal.SIGTERM, lambda *_: daemon.stop())
        signal.signal(signal.SIGINT, lambda *_: daemon.stop())
        daemon.run()
