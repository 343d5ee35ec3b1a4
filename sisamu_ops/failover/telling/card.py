"""The page to act from by hand when nothing of this toolkit answers (pure)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sisamu_ops.failover.reading import Reading
from sisamu_ops.model.platform import Platform, Samu
from sisamu_ops.model.token import Token, break_glass_epoch

#: The site number of tokens typed by hand: the highest there is, no site's own.
HAND_SLOT = 15


def hand_token(epoch: int, readings: Iterable[Reading]) -> Token:
    """Return a break-glass token above every epoch seen, in the journal or at a target."""
    seen = [reading.last.epoch for reading in readings if reading.last]
    return Token(break_glass_epoch(max([epoch, *seen]), HAND_SLOT), 1)


def card_facts(
    platform: Platform, samu: Samu, token: Token, ansible_playbook: str = "ansible-playbook"
) -> dict[str, Any]:
    """Return fallback numbers, bridge, and the plain command lines there and back.

    `ansible_playbook` is how that program is called from another shell.
    """

    def line(playbook: str, to: str, token: Token) -> str:
        return " \\\n    ".join(
            [
                f"{_entering(platform)}{ansible_playbook}",
                f"-i {platform.inventory} playbooks/{playbook}",
                f"-e sisamu_samus={samu.samu_id} -e sisamu_to={to}",
                f"-e sisamu_token={token}",
            ]
        )

    return {
        "fallback_numbers": list(samu.fallback_numbers),
        "bridge": samu.bridge or platform.policy.bridge,
        "token": str(token),
        "to_backup": line("samu_failover.yml", "backup", token),
        "to_nominal": line("samu_failback.yml", "nominal", Token(token.epoch, token.index + 1)),
    }


def _entering(platform: Platform) -> str:
    """Return what brings a command to where the operator's terminal is."""
    namespace = platform.policy.network_namespace
    return f"ip netns exec {namespace} " if namespace else ""
