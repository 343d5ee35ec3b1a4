"""When a healed lab has done all that the schedule left it to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sisamu_ops.failover.request import Verb
from tests.campaign.runner import is_busy
from tests.support.world import make_world


@pytest.mark.parametrize(
    ("verb", "fields"),
    [(Verb.FAILOVER, {"samus": ["300"], "to": "backup"}), (Verb.RECONCILE, {})],
)
def test_what_is_accepted_keeps_it_busy_until_it_has_ended(
    verb: Verb, fields: dict[str, Any], tmp_path: Path
) -> None:
    """A move in the queue, and a reconcile, which is no operation."""
    world = make_world(tmp_path / "world")
    assert not is_busy(world.state())
    world.ask(verb, **fields)
    with world.leading() as term:
        term.begin()
        for item in world.coordination.items():
            term.admission.answer(item)
    assert is_busy(world.state())
    world.lead_until_idle()
    assert not is_busy(world.state())
