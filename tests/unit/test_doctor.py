"""The doctor looks at everything: one check that fails hides no other."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sisamu_ops.doctor import UNAUTHORISED, UNLED, UNREACHED, Check, Doctor
from sisamu_ops.failover.reading import Reading
from sisamu_ops.leadership.port import Leadership
from sisamu_ops.model.errors import ConfigurationError, LeadershipError
from sisamu_ops.model.platform import Certificate
from sisamu_ops.model.token import Token
from sisamu_ops.quorum.rac.assess import assess_rac
from tests.support.rac import healthy
from tests.support.world import ON_CALL, _platform

WELL = Reading(host="h", reachable=True, enrolled=True, last=Token(3, 4), values={})


class Service:
    """A coordination service that knows only who leads."""

    closed = False

    def __init__(self, leader: Leadership | None) -> None:
        self._leader = leader

    def leader(self) -> Leadership | None:
        return self._leader

    def close(self) -> None:
        self.closed = True


def failing(error: Exception) -> Callable[[], Any]:
    def fail() -> Any:
        raise error

    return fail


@pytest.fixture
def parts(tmp_path: Path) -> dict[str, Any]:
    """Return what a doctor of a sound platform is given."""
    platform = _platform(tmp_path)
    return {
        "platform": platform,
        "principal": lambda: ON_CALL,
        "connect": lambda: Service(Leadership(site="local", epoch=3)),
        "sites_reached": lambda: {"local": tmp_path},
        "read_targets": lambda: dict.fromkeys(platform.targets, WELL),
    }


def examine(parts: dict[str, Any], **changes: Any) -> dict[str, Check]:
    return {check.name: check for check in Doctor(**(parts | changes)).examine()}


def test_a_sound_platform_is_well(parts: dict[str, Any]) -> None:
    """Key, leader, every site and every target are each seen, and found well."""
    checks = examine(parts)
    names = [
        "identity",
        "leader",
        "site local",
        *(f"target {h}" for h in parts["platform"].targets),
    ]
    assert list(checks) == names
    assert all(check.ok for check in checks.values())
    assert ON_CALL in checks["identity"].detail
    assert "local, epoch 3" in checks["leader"].detail
    assert "3.4" in checks["target otn-paris"].detail


@pytest.mark.parametrize(("days", "ok"), [(29, False), (31, True)])
def test_a_certificate_that_ends_soon_is_told(parts: dict[str, Any], days: int, ok: bool) -> None:
    """Thirty days before its end, while it still serves; who and what one is stands there."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    shown = Certificate(role="operator", holder=ON_CALL, ends=now + timedelta(days=days))
    check = examine(parts, certificate=lambda: shown, now=lambda: now)["certificate"]
    assert (check.ok, check.exit_code) == (ok, UNLED)
    assert all(word in check.detail for word in ("operator", ON_CALL, "until 2026-"))


NO_LEADER: dict[str, Any] = {"connect": lambda: Service(None)}
UNREACHABLE = Reading(host="h", reachable=False, problem="no answer over SSH in time")


def reading(**changes: Any) -> dict[str, Any]:
    facts = {"host": "h", "reachable": True, "enrolled": True, "values": {}} | changes
    return {"read_targets": lambda: {"otn-lyon": Reading(**facts)}}


SICK: list[tuple[str, dict[str, Any], int, str]] = [
    ("identity", {"principal": lambda: ""}, UNAUTHORISED, "not in allowed_signers"),
    ("identity", {"principal": lambda: "who@lab"}, UNAUTHORISED, "who@lab is not an operator"),
    ("identity", {"principal": failing(ConfigurationError("no key"))}, UNAUTHORISED, "no key"),
    ("leader", NO_LEADER, UNLED, "nobody leads"),
    ("leader", {"connect": failing(LeadershipError("cannot be reached"))}, UNLED, "reached"),
    ("site local", {"sites_reached": dict}, UNREACHED, "not readable"),
    ("sites", {"sites_reached": failing(ConfigurationError("no identity"))}, UNREACHED, "identity"),
    ("targets", {"read_targets": failing(ConfigurationError("no key"))}, UNREACHED, "no key"),
    ("target otn-lyon", reading(reachable=False, problem="refused"), UNREACHED, "refused"),
    ("target otn-lyon", reading(enrolled=False), UNREACHED, "not enrolled"),
    ("target otn-lyon", reading(values=None), UNREACHED, "silent"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "changes", "code", "said"), SICK)
def test_what_is_sick_is_named_with_its_cure(
    name: str, changes: dict[str, Any], code: int, said: str, parts: dict[str, Any]
) -> None:
    """The sick check says what was seen and what mends it; every other check is made too."""
    checks = examine(parts, **changes)
    sick = checks.pop(name)
    assert (sick.ok, sick.exit_code) == (False, code)
    assert said in sick.detail
    assert sick.remedy
    assert {"identity", "leader"} <= {*checks, name}
    assert all(check.ok for check in checks.values())


def test_a_session_opened_to_look_is_closed(parts: dict[str, Any]) -> None:
    """The doctor leaves no session behind, led or not."""
    service = Service(None)
    examine(parts, connect=lambda: service)
    assert service.closed


@pytest.mark.parametrize(
    ("rac", "ok", "code"),
    [({}, True, UNREACHED), ({"offline": frozenset({0})}, True, UNREACHED),
     ({"offline": frozenset({0, 1})}, False, UNLED),
     ({"claims": {"rac1": frozenset({"rac2"})}}, False, UNREACHED)],
    ids=["QUORATE", "DEGRADED", "LOST", "UNKNOWN"],
)  # fmt: skip
def test_a_database_that_does_not_hold_is_told(
    rac: dict[str, Any], ok: bool, code: int, parts: dict[str, Any], request: Any
) -> None:
    """What stands in the way of planned changes is not ok; what is degraded is said."""
    facts = assess_rac(healthy(**rac).capture()).brief()
    check = examine(parts, database=lambda: facts)["database"]
    assert (check.ok, check.exit_code) == (ok, code)
    assert request.node.callspec.id in check.detail
    assert "sisamu quorum check" in check.remedy


def test_without_a_database_nothing_is_said_of_one(parts: dict[str, Any]) -> None:
    """A platform need not have one."""
    assert "database" not in examine(parts)
