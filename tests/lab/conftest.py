"""The led lab of the journeys: its own name, its agents running, its targets enrolled."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from sisamu_ops.lab import Lab
from tests.conftest import LABS
from tests.support.desk import Desk


@pytest.fixture(scope="session")
def desk() -> Iterator[Desk]:
    """One led lab for the session; whatever an interrupted run left is removed first."""
    lab = Lab(os.environ.get("SISAMU_LAB_NAME", "test") + "Led")
    lab.down()
    led = Desk(lab=lab)
    try:
        led.run("lab", "up")
        LABS["desk"] = lab
        yield led
    finally:
        lab.down()
