"""Silent targets are left alone for a while, and none for longer."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import pytest

from sisamu_ops.doors.silence import SILENT_S, ImpatientTargets
from sisamu_ops.failover.reading import Reading
from sisamu_ops.model.token import Token

TOKEN = Token(1, 1)


@dataclass
class Asked:
    """Targets that note who is asked; those in `silent` give no answer."""

    silent: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)

    def read(self, hosts: Collection[str]) -> Mapping[str, Reading]:
        self.asked += hosts
        return {h: Reading(host=h, reachable=h not in self.silent) for h in hosts}

    def seal(self, hosts: Collection[str], token: Token) -> Mapping[str, Reading]:
        return self.read(hosts)

    def enrol(self, tokens: Mapping[str, Token]) -> Mapping[str, Reading]:
        return self.read(tokens)


@dataclass
class Scene:
    """A clock to turn, and targets behind what is tested."""

    now_s: float = 0.0
    behind: Asked = field(default_factory=lambda: Asked(silent={"otn-lyon"}))

    def __post_init__(self) -> None:
        self.targets = ImpatientTargets(targets=self.behind, clock_s=lambda: self.now_s)


@pytest.fixture
def scene() -> Scene:
    made = Scene()
    made.targets.read(["otn-paris", "otn-lyon"])
    made.behind.asked.clear()
    return made


def test_who_was_silent_is_not_asked_again_at_once(scene: Scene) -> None:
    """It is still told as unreachable; whoever answered is asked anew."""
    scene.now_s = SILENT_S - 0.1
    read = scene.targets.read(["otn-paris", "otn-lyon"])
    assert scene.behind.asked == ["otn-paris"]
    assert {h: r.reachable for h, r in read.items()} == {"otn-paris": True, "otn-lyon": False}


def test_after_a_while_it_is_asked_again(scene: Scene) -> None:
    """The while counts from when it was asked, not from when it was told last."""
    scene.now_s = SILENT_S / 2
    scene.targets.read(["otn-lyon"])
    scene.now_s = SILENT_S + 0.1
    scene.behind.silent.clear()
    assert scene.targets.read(["otn-lyon"])["otn-lyon"].reachable
    assert scene.behind.asked == ["otn-lyon"]


def test_only_who_is_asked_about_is_told(scene: Scene) -> None:
    """A silent target that this question is not about is not in the answer."""
    assert set(scene.targets.read(["otn-paris"])) == {"otn-paris"}
    assert set(scene.targets.read(["otn-lyon"])) == {"otn-lyon"}


def test_a_seal_leaves_nobody_out(scene: Scene) -> None:
    """It is shown to the silent one as well; when that answers, it is silent no more."""
    scene.behind.silent.clear()
    assert scene.targets.seal(["otn-lyon"], TOKEN)["otn-lyon"].reachable
    scene.targets.read(["otn-lyon"])
    assert scene.behind.asked == ["otn-lyon", "otn-lyon"]


def test_who_does_not_enrol_is_silent_too(scene: Scene) -> None:
    """Whatever was asked, no answer is no answer."""
    scene.behind.silent = {"otn-paris"}
    scene.targets.enrol({"otn-paris": TOKEN})
    scene.targets.read(["otn-paris"])
    assert scene.behind.asked == ["otn-paris"]
