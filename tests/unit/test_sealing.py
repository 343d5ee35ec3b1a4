"""A seal: between two entries; what somebody above this leader has taken is told once."""

from __future__ import annotations

from pathlib import Path

from sisamu_ops.failover.acting.sealing import newly_held
from sisamu_ops.failover.fold.state import State
from sisamu_ops.model.token import Token
from tests.support.world import ROUTERS, make_world
from tests.unit.test_admission import entries

ABOVE = Token(99, 1)


def test_a_target_that_a_lone_site_has_sealed_is_held_and_told_once(tmp_path: Path) -> None:
    """It is not sealed; the others are; a second seal has no news of it."""
    world = make_world(tmp_path)
    world.fences.ask("otn-lyon", "seal", {"token": ABOVE.to_json()})
    with world.leading() as term:
        term.begin()
        seal = term.executor.sealer.seal
        readings = seal("failover-1", ROUTERS, "takeover")
        seal("failover-1", ROUTERS, "takeover")
    assert [host for host, one in readings.items() if one.sealed] == ["otn-paris"]
    told = [e for e in entries(world) if e.kind.startswith(("seal.", "target."))]
    kinds = ["seal.started", "seal.outcome"]
    assert [e.kind for e in told] == [*kinds, "target.held", *kinds]
    assert (told[1].data["seal"], told[1].data["sealed"]) == (told[0].index, ["otn-paris"])
    assert world.state().held == {"otn-lyon": ABOVE}


def test_only_a_token_above_this_epoch_holds_a_target() -> None:
    """One of this epoch, or none, is an elected leader's; one that is known is no news."""
    state = State(held={"otn-paris": ABOVE})
    tokens = {"otn-paris": ABOVE, "otn-lyon": Token(98, 1), "a": Token(7, 1), "b": None}
    found = newly_held(state, 7, "failover-1", tokens)
    assert [(kind, data["target"]) for kind, data in found] == [("target.held", "otn-lyon")]
    assert newly_held(state, 7, "failover-1", {"otn-paris": Token(100, 1)})
