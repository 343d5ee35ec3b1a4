"""The same facts as tables for people and as JSON, YAML or JSON lines for machines."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])
Rows = Sequence[Sequence[object]]

#: Output is made to be read in this many columns.
WIDTH = 80


def output_option(command: Command) -> Command:
    """Add `-o table|json|yaml|jsonl`."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(["table", "json", "yaml", "jsonl"]),
        default="table",
        show_default=True,
        help="How the result is written to standard output.",
    )(command)


def emit(facts: Any, output: str, table: Callable[[], None]) -> None:
    """Write the facts in the wanted form; `table` prints the form for people."""
    if output == "json":
        click.echo(json.dumps(facts, indent=2, ensure_ascii=False, default=str))
    elif output == "yaml":
        import yaml

        text = json.loads(json.dumps(facts, default=str))
        click.echo(yaml.safe_dump(text, allow_unicode=True, sort_keys=False), nl=False)
    elif output == "jsonl":
        for fact in facts if isinstance(facts, list) else [facts]:
            click.echo(json.dumps(fact, ensure_ascii=False, default=str))
    else:
        table()


def print_table(title: str, columns: Sequence[str], rows: Rows) -> None:
    """Print a table that fits 80 columns, wider only on a wider terminal."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title or None, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(cell), style=_style(str(cell))) for cell in row))
    console = Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)
    console.print(table)


_STYLES = {"done": "green", "failed": "red", "unknown": "yellow", "refused": "red"}


def _style(word: str) -> str:
    """Colour repeats what the word already says."""
    return _STYLES.get(word, "")


def print_facts(title: str, facts: Mapping[str, object] | Iterable[tuple[str, object]]) -> None:
    """Print names and values, one a line."""
    pairs = list(facts.items()) if isinstance(facts, Mapping) else list(facts)
    if title:
        click.echo(title)
    width = max((len(name) for name, _ in pairs), default=0)
    for name, value in pairs:
        click.echo(f"  {name:<{width}}  {value}")


def wrapped(text: str, first: str) -> str:
    """Break a text at 80 columns; `first` stands before it, blanks of its width below."""
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=" " * len(first),
        break_long_words=False,
        break_on_hyphens=False,
    )


def say(message: str) -> None:
    """Tell people something, on standard error."""
    click.echo(message, err=True)
