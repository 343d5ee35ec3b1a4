"""The fencing token shown to every target: (epoch, index of the `started` entry)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NewType

from sisamu_ops.model.errors import ConfigurationError

Epoch = NewType("Epoch", int)

#: Break-glass epochs lie above all elected ones of their time: see `break_glass_epoch`.
_GENERATION = 2**32
_SITE_SLOT = 2**28


@dataclass(frozen=True, order=True)
class Token:
    """An ever-increasing right to change a target; targets refuse one below their last."""

    epoch: int
    index: int

    def __str__(self) -> str:
        """Write the token as operators type it: EPOCH.INDEX."""
        return f"{self.epoch}.{self.index}"

    def to_json(self) -> dict[str, int]:
        """Return the form the fence helper reads."""
        return {"epoch": self.epoch, "index": self.index}


def parse_token(text: str) -> Token:
    """Read EPOCH.INDEX, two non-negative decimal numbers; ConfigurationError otherwise."""
    epoch, _, index = text.partition(".")
    if not (epoch.isascii() and epoch.isdigit() and index.isascii() and index.isdigit()):
        raise ConfigurationError(
            f"{text!r} is not a token", remedy="write it as EPOCH.INDEX, two whole numbers"
        )
    return Token(int(epoch), int(index))


def break_glass_epoch(highest_seen: int, site_number: int) -> Epoch:
    """Return the epoch a cut-off site may use alone: above all seen, unique to the site.

    (⌊highest seen / 2^32⌋ + 1)·2^32 + site number·2^28, site numbers 0 to 15.
    """
    if not 0 <= site_number < 16:
        raise ValueError(f"site number {site_number} is not within 0..15")
    return Epoch((highest_seen // _GENERATION + 1) * _GENERATION + site_number * _SITE_SLOT)
