"""Read `crsctl get css misscount` and `disktimeout` (pure), in seconds."""

from __future__ import annotations

import re

from sisamu_ops.quorum.capture import Output
from sisamu_ops.quorum.rac.text import read_text

_VALUE = re.compile(r"\bCRS-4678\b.*?\b(?P<name>misscount|disktimeout)\s+(?P<value>\d+)\s", re.I)
#: What Oracle installs, in seconds; real systems deviate.
DEFAULTS = {"misscount": 30, "disktimeout": 200}


def read_setting(output: Output, name: str) -> int | None:
    """Return a setting in seconds; None where it is not said."""
    for line in read_text(output).lines:
        match = _VALUE.search(line + " ")
        if match and match["name"].casefold() == name:
            return int(match["value"])
    return None
