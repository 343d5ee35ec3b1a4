"""What was read and what it makes: `unknown` is said whenever the readings do not agree."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from sisamu_ops.failover.reading import Reading, judge_mode
from sisamu_ops.model.platform import TelephonyMode

NOW = datetime(2026, 1, 2, tzinfo=UTC)
ROUTERS = ("otn-paris", "otn-lyon")


def read(running: str | None, durable: str | None = None, *, sealed: bool = False) -> Reading:
    """Return a router's answer; without `durable` its list says the same as it runs."""
    listed = running if durable is None else durable
    return Reading(
        host="otn", reachable=True, sealed=sealed, values={"300": running} if running else {},
        durable={"300": listed} if listed else {},
    )  # fmt: skip


SILENT = Reading(host="otn", reachable=True, values=None, durable={"300": "backup"})
CUT_OFF = Reading(host="otn", reachable=False, values={"300": "backup"})


def mode(*readings: Reading) -> tuple[TelephonyMode, Mapping[str, str]]:
    judged = judge_mode("300", ROUTERS, dict(zip(ROUTERS, readings, strict=False)), NOW)
    assert judged.read_at == NOW
    return judged.mode, judged.routers


@pytest.mark.parametrize("word", ["nominal", "degraded", "backup"])
def test_routers_that_agree_give_the_mode(word: str) -> None:
    """When all routers say the same, running and durable, that is the mode."""
    assert mode(read(word), read(word)) == (TelephonyMode(word), dict.fromkeys(ROUTERS, word))


def test_a_router_without_a_key_is_nominal() -> None:
    """A SAMU nobody moved stands in no list, and is nominal."""
    assert mode(read(None), read("nominal"))[0] is TelephonyMode.NOMINAL


@pytest.mark.parametrize(
    ("second", "told"),
    [
        (read("nominal"), "nominal"),
        (read("backup", "nominal"), "running backup, durable nominal"),
        (read(None, "backup"), "running nominal, durable backup"),
        (SILENT, "not read"),
        (CUT_OFF, "unreachable"),
    ],
    ids=["disagrees", "durable differs", "running differs", "Kamailio silent", "cut off"],
)
def test_anything_else_is_unknown(second: Reading, told: str) -> None:
    """One router that disagrees, was not read, or would come back otherwise: unknown, told why."""
    assert mode(read("backup"), second) == (
        TelephonyMode.UNKNOWN,
        {"otn-paris": "backup", "otn-lyon": told},
    )


def test_a_router_not_asked_is_unreachable() -> None:
    """No answer at all is no agreement."""
    assert mode(read("backup"))[0] is TelephonyMode.UNKNOWN


def test_two_unread_routers_do_not_agree() -> None:
    """Silence is not agreement, however unanimous."""
    assert mode(CUT_OFF, CUT_OFF)[0] is TelephonyMode.UNKNOWN


def test_a_word_that_is_no_mode_is_unknown() -> None:
    """A word set by hand that is no mode is shown as it was read."""
    assert mode(read("bakcup"), read("bakcup")) == (
        TelephonyMode.UNKNOWN,
        dict.fromkeys(ROUTERS, "bakcup"),
    )
