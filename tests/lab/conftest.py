"""The led lab of the journeys: its own name, its agents running, its targets enrolled."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest

from sisamu_ops.lab import Lab
from sisamu_ops.model.safety import DAYS
from tests.conftest import LABS
from tests.support.desk import Desk

#: The rules that speak of people and of many SAMUs, as a platform would have them.
RULES = {
    "second-signature": {"above": 1},
    "agents-confirmed": {"within_minutes": 60},
    "exit-checklist": {"backup": {"agents-back": "agents are at their consoles again"}},
    "experiment-running": {},
    "freeze-window": [{"name": "test week", "days": list(DAYS), "from": "00:00", "to": "00:00"}],
}  # fmt: skip


#: Soaks of one probe: what is watched between two waves is the same.
SHORT = {"SISAMU_LAB_SOAK_MS": "600"}


@contextmanager
def led_lab(fixture: str, suffix: str, *up: str, settings: Mapping[str, str]) -> Iterator[Desk]:
    """Bring up a led lab of its own name; whatever an interrupted run left is removed first."""
    lab = Lab(os.environ.get("SISAMU_LAB_NAME", "test") + suffix)
    lab.down()
    try:
        Desk(lab=lab, settings=settings).run("lab", "up", *up)
        # Which SAMUs it has, and by which inventory, is known once it is up.
        led = Desk(lab=Lab(lab.place.name), settings=settings)
        LABS[fixture] = led.lab
        yield led
    finally:
        lab.down()


@pytest.fixture(scope="session")
def desk() -> Iterator[Desk]:
    """One led lab for the session: of 3 SAMUs, or SISAMU_DESK_SAMUS of them, up to all 102."""
    many = os.environ.get("SISAMU_DESK_SAMUS", "3")
    with led_lab("desk", "Led", "--samus", many, settings=SHORT) as led:
        yield led


@pytest.fixture(scope="session")
def nation() -> Iterator[Desk]:
    """A led lab of many SAMUs: 12, or SISAMU_NATION of them, up to all 102."""
    many = os.environ.get("SISAMU_NATION", "12")
    with led_lab("nation", "Nation", "--samus", many, settings=SHORT) as led:
        yield led


@pytest.fixture(scope="session")
def ruled() -> Iterator[Desk]:
    """A led lab with rules in force: a freeze, two signatures, people, experiments."""
    settings = SHORT | {"SISAMU_LAB_SAFETY": json.dumps(RULES)}
    with led_lab("ruled", "Ruled", settings=settings) as led:
        yield led
