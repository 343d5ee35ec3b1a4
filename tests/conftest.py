"""What the whole suite shares: one lab, brought up once, found healthy by every test."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from sisamu_ops.lab import Lab

# One profile for every test: modest, printing what reproduces a failure. How fast a machine is
# today is no property of the code: no deadlines, and no complaint about slow examples.
settings.register_profile(
    "sisamu",
    max_examples=60,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("sisamu")

#: The labs, one after the other in each of two workers: never more than two are up at once, but for
#: those a test brings up beside its own. Named by the fixture that gives a lab, or by the module
#: that brings its own. A third worker does all else, while these two wait for their labs.
STREAMS = (("desk", "ruled", "test_campaign"), ("lab", "nation", "test_agent_deploy"))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep what shares a lab together, in the worker of its stream."""
    for item in items:
        if (stream := _place(item)[0]) < len(STREAMS):
            item.add_marker(pytest.mark.xdist_group(f"labs-{stream}"))
    items.sort(key=_place)


def _place(item: pytest.Item) -> tuple[int, int]:
    """Return a test's stream and place in it; those without a lab come last."""
    module = item.path.stem
    names = {module} if any(module in stream for stream in STREAMS) else _fixtures(item)
    if item.path.parent.name != "unit":  # fixtures of these names are no labs there
        for number, stream in enumerate(STREAMS):
            for place, name in enumerate(stream):
                if name in names:
                    return number, place
    return len(STREAMS), 0


#: The labs of this session that are up, by the fixture that gives them.
LABS: dict[str, Lab] = {}


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Take a lab down once its tests are through: idle it would take a tenth of a core."""
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
