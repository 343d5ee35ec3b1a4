"""The card: one can act from it alone, with a token no target has seen the like of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from sisamu_ops.failover.reading import Reading
from sisamu_ops.failover.telling.card import card_facts, hand_token
from sisamu_ops.model.token import Token, break_glass_epoch
from tests.support.world import _platform

EPOCHS = st.integers(0, 2**40)


@example(journal=5, seen=[2**33, None])
@example(journal=2**33, seen=[5])
@given(journal=EPOCHS, seen=st.lists(EPOCHS | st.none(), max_size=5))
def test_the_token_is_above_every_epoch_seen(journal: int, seen: list[int | None]) -> None:
    """Neither the journal nor any target knows an epoch as high, nor could a site take it."""
    readings = [
        Reading(host="t", reachable=True, last=None if e is None else Token(e, 9)) for e in seen
    ]
    highest = max([journal, *(e for e in seen if e is not None)])
    token = hand_token(journal, readings)
    assert token > Token(highest, 2**52)
    assert all(token.epoch > break_glass_epoch(highest, site) for site in range(15))


def test_the_lines_can_be_typed_as_they_are(tmp_path: Path) -> None:
    """There and back under one epoch, back with the higher token; nothing is left to fill in."""
    platform = _platform(tmp_path)
    samu = replace(platform.samu("300"), fallback_numbers=("0465710301",), bridge="bridge 3")
    facts = card_facts(platform, samu, Token(2**32, 1))
    there, back = (facts[name].replace(" \\\n    ", " ") for name in ("to_backup", "to_nominal"))
    assert there == (
        f"ansible-playbook -i {platform.inventory} playbooks/samu_failover.yml "
        f"-e sisamu_samus=300 -e sisamu_to=backup -e sisamu_token={2**32}.1"
    )
    assert "playbooks/samu_failback.yml" in back
    assert f"-e sisamu_to=nominal -e sisamu_token={2**32}.2" in back
    assert (facts["fallback_numbers"], facts["bridge"]) == (["0465710301"], "bridge 3")


def test_a_lab_in_namespaces_is_entered_first(tmp_path: Path) -> None:
    """The line begins where the operator's terminal is."""
    made = _platform(tmp_path)
    policy = replace(made.policy, network_namespace="lab-ops", bridge="national bridge")
    platform = replace(made, policy=policy)
    facts = card_facts(platform, platform.samu("300"), Token(1, 1))
    assert facts["to_backup"].startswith("ip netns exec lab-ops ansible-playbook")
    assert facts["bridge"] == "national bridge"
