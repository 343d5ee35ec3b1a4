"""Words of this room: a fault, its kind, and what it does together with how that is undone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sisamu_ops.chaos.scene import Action, Link, Process, Scene


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One fault as a schedule or an operator names it: `cut-one-way paris lyon`."""

    kind: str
    parameters: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return the words `parse_fault` reads."""
        return " ".join((self.kind, *self.parameters))


@dataclass(frozen=True, kw_only=True)
class Pulse:
    """A process stopped and let go in turns for as long as the fault stands."""

    process: Process
    stopped_ms: int
    running_ms: int


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What a fault may touch: the ground for judging its blast radius.

    `touches` names what no other fault may touch meanwhile, since healing one would heal or break
    the other. `weakened` are the sites whose ZooKeeper server does not serve, or badly; `cut` are
    the links no packet passes.
    """

    touches: frozenset[str]
    weakened: frozenset[str] = frozenset()
    cut: frozenset[Link] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Disturbance:
    """Inject and heal, declared together.

    Every action of `heal` is harmless when it is not needed and may be done twice: the injector
    and the healer may both do it, also when the injection went only half-way.
    """

    effect: Effect
    inject: tuple[Action, ...]
    heal: tuple[Action, ...]
    pulse: Pulse | None = None


@dataclass(frozen=True, kw_only=True)
class FaultKind:
    """One line of the catalogue; `declare` takes a scene and one word per parameter."""

    name: str
    parameters: tuple[str, ...]
    does: str
    declare: Callable[..., Disturbance]

    def disturbance(self, scene: Scene, fault: Fault) -> Disturbance:
        """Declare what the fault would do in this scene; ConfigurationError for bad parameters."""
        return self.declare(scene, *fault.parameters)
