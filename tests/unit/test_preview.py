"""An honest dry run: what would change, and what it could not say."""

from __future__ import annotations

from sisamu_ops.failover.asking.selection import Selection
from sisamu_ops.failover.telling.preview import Preview

BEFORE = {"300": ["nominal", "nominal"], "680": ["backup", "backup"]}
AFTER = {"300": ["backup", "backup"], "680": ["backup", "backup"]}


def told(*events: dict[str, object]) -> Preview:
    preview = Preview()
    for event in events:
        preview.take(event)
    return preview


def test_only_what_would_change_is_told() -> None:
    """A SAMU that is there already does not change."""
    event = {"event": "preview", "host": "otn-paris", "before": BEFORE, "after": AFTER}
    assert told(event).changes == [{"host": "otn-paris", "samus": ["300"]}]


def test_what_stands_in_the_way_is_told() -> None:
    """A target that would refuse, one that cannot be reached."""
    refused = {"event": "preview", "host": "otn-lyon", "before": {}, "after": {}, "problem": "no"}
    gone = {"event": "unreachable", "host": "samu-300", "message": "timed out"}
    assert told(refused, gone).problems == {"otn-lyon": "no", "samu-300": "timed out"}


def test_what_was_not_evaluated_is_listed_once() -> None:
    """Each thing at each host."""
    call = {"event": "not-evaluated", "host": "otn-lyon", "what": "the test call"}
    other = call | {"host": "otn-paris"}
    assert len(told(call, call, other).not_evaluated) == 2


def test_a_run_that_was_ended_is_not_complete() -> None:
    """Only the run's own word says that it came to its end."""
    assert not told().complete
    assert told({"event": "end", "stats": {}}).complete


def test_a_selection_can_be_typed_again() -> None:
    """What is printed to go on names the same SAMUs."""
    assert Selection(everything=True).words() == ["--all"]
    words = Selection(samus=("300",), regions=("Grand Est",), patterns=("a:!b",)).words()
    assert words == ["--samu", "300", "--region", "'Grand Est'", "--pattern", "'a:!b'"]


def test_a_host_with_a_problem_is_not_proved() -> None:
    """A run that reached its end may still have reached no host."""
    preview = Preview()
    preview.take({"event": "unreachable", "host": "proxy-a", "message": "no route"})
    preview.take({"event": "end"})
    assert (preview.complete, preview.unproved) == (True, 1)
