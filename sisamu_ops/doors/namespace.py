"""setns(2): stand at the operator's desk of a lab whose hosts live in network namespaces."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from sisamu_ops.model.errors import ConfigurationError

_CLONE_NEWNET = 0x40000000


def enter_namespace(name: str) -> None:
    """Move this process into a named network namespace; children inherit it.

    Called before any thread starts: setns moves one thread only.
    """
    path = Path("/run/netns") / name
    if not path.exists():
        raise ConfigurationError(
            f"the lab's network namespace {name} does not exist",
            remedy="start the lab: sisamu lab up",
        )
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET) != 0:
            raise ConfigurationError(
                f"cannot enter the namespace {name} ({os.strerror(ctypes.get_errno())})",
                remedy="run as root, or with sudo",
            )
    finally:
        os.close(descriptor)
