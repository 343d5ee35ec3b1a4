"""What the whole suite shares: one lab, brought up once, found healthy by every test."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from sisamu_ops.lab import Lab


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep what shares a lab in one worker; two labs live side by side, one a worker."""
    for item in items:
        for fixture in ("desk", "lab", "nation", "ruled"):
            if fixture in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.xdist_group(fixture))


#: The labs of this session that are up, by the fixture that gives them.
LABS: dict[str, Lab] = {}


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Take a lab down once its group is through: idle it would take a tenth of the machine.

    In one process alone tests of other groups come in between, and it stays.
    """
    if "PYTEST_XDIST_WORKER" in os.environ:
        for fixture in set(LABS) & _fixtures(item) - _fixtures(nextitem):
            LABS.pop(fixture).down()


def _fixtures(item: pytest.Item | None) -> set[str]:
    return set(getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """The session's lab, without agents: SISAMU_LAB_NAME, or `test`.

    A test that breaks something mends it; what an earlier, interrupted run left is removed.
    """
    os.environ.setdefault("SISAMU_LAB_NAME", "test")
    running = Lab()
    running.down()
    try:
        running.up(agents=False)
        LABS["lab"] = running
        yield running
    finally:
        running.down()
