"""The command line as a tree, and the command lines that documents show."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click

from sisamu_ops.cli.main import cli

ROOT = Path(__file__).resolve().parents[2]
_INDENTED = re.compile(r"^ {4}((?:\.venv/bin/)?sisamu .*)$", re.MULTILINE)
_INLINE = re.compile(r"`((?:\.venv/bin/)?sisamu [^`]+)`")


def leaves(command: click.Command = cli, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Return the words of every command that does something."""
    if not isinstance(command, click.Group):
        yield words
        return
    for name, child in children(command):
        yield from leaves(child, (*words, name))


def everything(
    command: click.Command = cli, words: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Return every command and group below the root with its words."""
    if words:
        yield words, command
    if isinstance(command, click.Group):
        for name, child in children(command):
            yield from everything(child, (*words, name))


def children(group: click.Group) -> Iterator[tuple[str, click.Command]]:
    """Return a group's commands; fails the test when one that is listed cannot be had."""
    context = click.Context(group)
    for name in group.list_commands(context):
        child = group.get_command(context, name)
        assert child is not None, name
        yield name, child


def shown_commands(text: str) -> list[str]:
    """Return every `sisamu …` a document shows, in blocks and in lines, without its comment."""
    found = _INDENTED.findall(text) + [" ".join(s.split()) for s in _INLINE.findall(text)]
    return [line.split("  #")[0].strip().removeprefix(".venv/bin/") for line in found]


def problem_of(line: str) -> str:
    """Parse a command line as the command would, changing nothing; return what is wrong."""
    words = [w for w in shlex.split(line)[1:] if w not in ("…", "...")]
    command: click.Command = cli
    context = click.Context(cli, info_name="sisamu")
    try:
        while isinstance(command, click.Group) and words:
            name, found, words = command.resolve_command(context, _without_options(words, command))
            assert found is not None, name
            context, command = click.Context(found, parent=context, info_name=name), found
        if not isinstance(command, click.Group) and words:
            command.make_context(command.name, list(words), parent=context.parent)
    except click.exceptions.Exit:
        return ""
    except click.ClickException as error:
        return error.format_message()
    return ""


def _without_options(words: list[str], command: click.Group) -> list[str]:
    """Take the root's own options from the front of a line."""
    names = {opt for param in command.params for opt in param.opts}
    while words and words[0] in names:
        words = words[2:] if words[0] not in ("--help", "--version") else words[1:]
    return words
