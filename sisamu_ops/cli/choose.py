"""The options that say which SAMUs are meant, and the word that a national scope asks for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from sisamu_ops.app import App
from sisamu_ops.model.errors import ConfigurationError, RefusedError

if TYPE_CHECKING:
    from sisamu_ops.failover.asking.selection import Selection

_CHOSEN = "sisamu.chosen"
_CONFIRMED = "sisamu.confirmed"

#: The names of an option, and how click is told of it.
_Option = tuple[tuple[str, ...], dict[str, Any]]
Command = TypeVar("Command", bound=Callable[..., Any])


def selection_options(command: Command) -> Command:
    """Add `--samu`, `--site`, `--region`, `--pattern` and `--all`; none is passed on by name."""
    return _with_options(command, _OPTIONS)


def samu_options(command: Command) -> Command:
    """Add the same but for `--site`, where that names who acts."""
    return _with_options(command, [one for one in _OPTIONS if one[0][0] != "--site"])


def _with_options(command: Command, options: Iterable[_Option]) -> Command:
    for names, settings in options:
        command = click.option(*names, expose_value=False, callback=_keep, **settings)(command)
    return command


def _keep(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    ctx.meta.setdefault(_CHOSEN, {})[param.name] = value


_OPTIONS: tuple[_Option, ...] = (
    (("--all", "everything"), {"is_flag": True, "help": "Every SAMU: type the platform's name."}),
    (("--pattern", "patterns"), {"multiple": True, "help": "Ansible host pattern."}),
    (("--region", "regions"), {"multiple": True, "help": "SAMUs of a region."}),
    (("--site", "sites"), {"multiple": True, "help": "SAMUs whose calls a site takes first."}),
    (("--samu", "samus"), {"multiple": True, "help": "SAMU identifier, as 300 or 30."}),
)  # fmt: skip


def chosen() -> Selection:
    """Return what was named on the command line."""
    from sisamu_ops.failover.asking.selection import Selection

    return Selection(**click.get_current_context().meta.get(_CHOSEN, {}))


def site_to_leave(app: App, to: str) -> str:
    """Return the site that is evacuated, or brought home; nothing where `to` names no site.

    ConfigurationError unless one site is named, and nothing else: all its SAMUs are meant.
    """
    if to not in app.platform.sites:
        return ""
    found = chosen()
    others = (found.samus, found.regions, found.patterns, found.everything)
    if any(others) or len(found.sites) != 1:
        raise ConfigurationError(
            f"{to} is a site: an evacuation is of one --site, with every SAMU",
            place="--to",
            remedy=f"sisamu switchover plan --site SITE --to {to}",
        )
    return app.platform.site(found.sites[0]).site_id


def confirm_option(command: Command) -> Command:
    """Add `--confirm NAME`, which scripts give in place of typing it."""
    return click.option(
        "--confirm", "confirmed", default="", expose_value=False, callback=_keep_word,
        help="The platform's name, where all SAMUs are meant.",
    )(command)  # fmt: skip


def _keep_word(ctx: click.Context, param: click.Parameter, value: str) -> None:
    del param
    ctx.meta[_CONFIRMED] = value


def confirm_national(app: App, *, everything: bool = False) -> None:
    """Have the platform's name typed when everything is meant; RefusedError unless it is."""
    meta = click.get_current_context().meta
    if not (everything or chosen().everything):
        return
    name, given = app.platform.policy.platform, meta.get(_CONFIRMED, "")
    if not given and sys.stdin.isatty():
        given = click.prompt(
            f"This means all {len(app.platform.samus)} SAMUs. Type {name}", err=True
        )
    if given != name:
        raise RefusedError(
            f"all {len(app.platform.samus)} SAMUs are meant, and the platform was not named",
            place="--site" if everything else "--all",
            remedy=f"--confirm {name}",
        )
