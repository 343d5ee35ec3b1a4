"""Run one system command and turn its failure into an error the user can read."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from sisamu_ops.lab.requirements import SEARCH_PATH
from sisamu_ops.model.errors import FailedError

#: What every program of the lab sees; the caller's own variables stay outside.
CLEAN_ENVIRONMENT = {"PATH": SEARCH_PATH, "LC_ALL": "C.UTF-8", "HOME": "/root"}


def run_command(command: Sequence[str], *, text: str = "", timeout_s: float = 30) -> str:
    """Run a command with `text` on its input and return its output; FailedError otherwise."""
    try:
        finished = subprocess.run(
            list(command),
            input=text,
            env=CLEAN_ENVIRONMENT,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FailedError(f"{command[0]}: {error}", remedy="sisamu lab down") from error
    if finished.returncode != 0:
        raise FailedError(
            f"{' '.join(command)}: {finished.stderr.strip() or finished.returncode}",
            remedy="sisamu lab down, then sisamu lab up",
        )
    return finished.stdout
