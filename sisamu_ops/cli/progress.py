"""An operation on the terminal as it goes on: a live picture, sentences, or JSON lines.

The same entries in three forms. A picture only on a terminal; what is piped gets a sentence an
entry, or with `-o jsonl` an object an entry. Looking away never stops anything.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from sisamu_ops.cli.render import WIDTH, say, wrapped

if TYPE_CHECKING:
    from rich.console import RenderableType

    from sisamu_ops.failover.telling.progress import Progress
    from sisamu_ops.journal.entry import Entry

#: SAMUs that have a line each at once; those in trouble and those moving come first.
_LINES = 12
#: With more SAMUs than these, sentences tell of waves rather than of each target.
_EACH_TARGET = 5
_URGENT = ("unknown", "failed", "moving", "waiting", "not begun", "done")
_STYLES = {"done": "green", "failed": "red", "unknown": "yellow", "moving": "bold"}
_OF_TARGETS = ("step.outcome", "call.proved")


@contextmanager
def telling(request_id: str, output: str) -> Iterator[Callable[[Entry], None]]:
    """Yield what tells each new entry, in the form that suits where it goes."""
    from sisamu_ops.failover.telling.progress import Progress

    progress = Progress(operation_id=request_id)
    if output == "jsonl":
        yield lambda entry: tell_event(entry) if progress.concerns(entry) else None
    elif sys.stderr.isatty():
        with _live(progress) as tell:
            yield tell
    else:
        yield lambda entry: _tell_sentence(progress, entry)


def tell_event(entry: Entry) -> None:
    """Write an entry as one JSON object on standard output, at once."""
    fact = {"event": entry.kind, "index": entry.index, "time": entry.time, "site": entry.site}
    click.echo(json.dumps(fact | {"data": _data(entry)}, ensure_ascii=False))
    sys.stdout.flush()


def _data(entry: Entry) -> dict[str, Any]:
    """Return an entry's data without the signed document, which the journal keeps."""
    data: dict[str, Any] = {**entry.data}
    return {name: value for name, value in data.items() if name != "request"}


def tell_entry(entry: Entry) -> None:
    """Print an entry as a sentence, on standard error."""
    from sisamu_ops.failover.telling.story import tell

    say(wrapped(tell(entry), first=f"{entry.time[11:23]} {entry.index:>4}  "))


def _tell_sentence(progress: Progress, entry: Entry) -> None:
    concerned = progress.apply(entry)
    if concerned and entry.kind in _OF_TARGETS and len(progress.lines) > _EACH_TARGET:
        return
    tell_entry(entry)


@contextmanager
def _live(progress: Progress) -> Iterator[Callable[[Entry], None]]:
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True, highlight=False)
    with Live(console=console, get_renderable=lambda: picture(progress), transient=False) as live:

        def tell(entry: Entry) -> None:
            if not progress.apply(entry):
                live.console.print(f"{entry.time[11:19]} {entry.kind}", style="dim")

        yield tell


def picture(progress: Progress, now: datetime | None = None) -> RenderableType:
    """Return the picture of an operation: its line, its SAMUs, what one can do now."""
    from rich.console import Group
    from rich.text import Text

    lines = sorted(progress.lines.values(), key=lambda line: (_URGENT.index(line.state), line.wave))
    head = [Text(_head(progress), style="bold"), Text(_tail(progress, now or datetime.now(UTC)))]
    of_each = [
        Text(f"  {line.samu_id:<4} wave {line.wave + 1:>2}  {line.state:<9} {line.detail}"[:WIDTH],
             style=_STYLES.get(line.state, ""))
        for line in lines[:_LINES]
    ]  # fmt: skip
    more = [Text(f"  and {len(lines) - _LINES} more")] if len(lines) > _LINES else []
    return Group(*head, *of_each, *more, *(Text(line) for line in _what_now(progress)))


def _head(progress: Progress) -> str:
    what = f"{progress.verb} to {progress.to}" if progress.verb else progress.operation_id
    counts = ", ".join(f"{many} {state}" for state, many in sorted(progress.counts().items()))
    return f"{what}: {counts}" if counts else what


def _tail(progress: Progress, now: datetime) -> str:
    left = progress.remaining(now)
    eta = f"; about {_duration(left)} left" if left is not None else ""
    return f"{progress.doing}{eta}"[:WIDTH]


def _duration(left: timedelta) -> str:
    seconds = round(left.total_seconds())
    return f"{seconds} s" if seconds < 120 else f"{round(seconds / 60)} min"


def _what_now(progress: Progress) -> list[str]:
    """Return what the operator can do now, as one types it."""
    name = progress.operation_id
    if progress.ended or not progress.lines:
        return []
    if progress.held:
        return [f"now: sisamu operation resume {name} --reason TEXT"]
    found = ["now: Ctrl-C detaches, and stops nothing"]
    if progress.waves > 1:
        found.append(f"     sisamu operation pause {name} --reason TEXT")
    return found
