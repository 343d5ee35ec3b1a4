"""Inject and heal: the cure is written down and armed before anything is disturbed.

The order of an injection: judge the blast radius; write the cure into the lab's root; start the
healer, a process of its own with a deadline, and wait until it stands ready; only then disturb.
Whatever is killed at whichever moment, the cure is on the disk, and `heal_all` performs it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sisamu_ops.chaos import healer
from sisamu_ops.chaos.catalogue import catalogue, parse_fault
from sisamu_ops.chaos.fault import Disturbance, Effect, Fault
from sisamu_ops.chaos.radius import DEFAULT_RADIUS, BlastRadius, check_radius
from sisamu_ops.chaos.scene import Ground
from sisamu_ops.model.errors import FailedError, RefusedError

_ARM_S = 10.0
#: How long `heal` waits for the healer: two programs may have to start.
_HEAL_S = 40.0


@dataclass(frozen=True, kw_only=True)
class Injection:
    """A fault that stands, or may stand; `deadline_ns` is on CLOCK_BOOTTIME."""

    injection_id: str
    fault: Fault
    effect: Effect
    deadline_ns: int
    record: Path

    @property
    def remaining_s(self) -> float:
        """Return the seconds until the healer heals; below zero when it is overdue."""
        return (self.deadline_ns - _boottime_ns()) / 1e9

    @property
    def armed(self) -> bool:
        """Say whether a healer lives."""
        found = _healer_of(self.record)
        return found is not None and healer.lives(found)


def inject(
    ground: Ground, fault: Fault, deadline_s: float, *, radius: BlastRadius = DEFAULT_RADIUS
) -> Injection:
    """Inject a fault that heals by itself after `deadline_s` at the latest.

    Returns when its effect is there. RefusedError beyond the blast radius, ConfigurationError for
    wrong parameters, FailedError when it could not be armed or injected: then it is healed again.
    """
    fault = parse_fault(str(fault))
    scene = ground.scene()
    disturbance = catalogue()[fault.kind].disturbance(scene, fault)
    with _alone(ground.cures):
        effects = [one.effect for one in standing(ground)]
        breaches = check_radius(
            disturbance.effect, effects, deadline_s=deadline_s, sites=scene.sites, radius=radius
        )
        if breaches:
            raise RefusedError(
                "; ".join(one.message for one in breaches),
                place=str(fault),
                remedy="; ".join(one.remedy for one in breaches),
            )
        injection = _write_record(ground.cures, fault, disturbance, deadline_s)
    _arm(injection)
    _disturb(injection, disturbance)
    return injection


def heal(injection: Injection) -> None:
    """Heal a fault now; one that is healed already is fine. FailedError says what stays broken.

    Programs run when this returns; a ZooKeeper server needs a moment more until it serves.
    """
    _end_healer(injection.record)
    if failures := healer.heal_record(injection.record):
        raise FailedError(
            "not healed: " + "; ".join(failures),
            place=str(injection.fault),
            remedy="mend the cause, then sisamu chaos heal; or sisamu lab down, sisamu lab up",
        )


def heal_all(ground: Ground) -> tuple[Injection, ...]:
    """Heal every fault whose cure is on the disk, whoever injected it; return those healed.

    FailedError names all that could not be healed, after all have been tried.
    """
    found, failures = standing(ground), []
    for one in found:
        try:
            heal(one)
        except FailedError as error:
            failures.append(error)
    if failures:
        raise FailedError(
            "; ".join(f"{one.place}: {one.message}" for one in failures), remedy=failures[0].remedy
        )
    return found


@contextmanager
def injected(
    ground: Ground, fault: Fault, deadline_s: float, *, radius: BlastRadius = DEFAULT_RADIUS
) -> Iterator[Injection]:
    """Inject, and heal at the end whatever happens; see `inject`."""
    injection = inject(ground, fault, deadline_s, radius=radius)
    try:
        yield injection
    finally:
        heal(injection)


def standing(ground: Ground) -> tuple[Injection, ...]:
    """Return every fault whose cure is on the disk, oldest first."""
    found = []
    for path in ground.cures.glob("*.json"):
        with contextlib.suppress(FileNotFoundError):  # healed meanwhile
            found.append(_read_record(path))
    return tuple(sorted(found, key=lambda one: (one.deadline_ns, one.injection_id)))


# --- records --------------------------------------------------------------------------------


def _write_record(
    directory: Path, fault: Fault, disturbance: Disturbance, deadline_s: float
) -> Injection:
    injection_id = "-".join((fault.kind, *fault.parameters, secrets.token_hex(4)))
    record = directory / f"{injection_id}.json"
    effect, pulse = disturbance.effect, disturbance.pulse
    facts = {
        "fault": str(fault),
        "deadline_ns": _boottime_ns() + round(deadline_s * 1e9),
        "heal": list(disturbance.heal),
        "pulse": asdict(pulse) if pulse else None,
        "touches": sorted(effect.touches),
        "weakened": sorted(effect.weakened),
        "cut": sorted(effect.cut),
    }
    _write_durably(record, json.dumps(facts, indent=1))
    return _read_record(record)


def _write_durably(path: Path, text: str) -> None:
    unfinished = path.with_suffix(".unfinished")
    with unfinished.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def _read_record(record: Path) -> Injection:
    facts: dict[str, Any] = json.loads(record.read_text("utf-8"))
    effect = Effect(
        touches=frozenset(facts["touches"]),
        weakened=frozenset(facts["weakened"]),
        cut=frozenset((source, target) for source, target in facts["cut"]),
    )
    return Injection(
        injection_id=record.stem,
        fault=parse_fault(facts["fault"]),
        effect=effect,
        deadline_ns=facts["deadline_ns"],
        record=record,
    )


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Let one injection at a time be judged and written down."""
    directory.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


# --- the healer -----------------------------------------------------------------------------


def _arm(injection: Injection) -> None:
    """Start the healer and wait until it stands ready; FailedError, and no record, otherwise."""
    log = injection.record.parent / "healer.log"
    command = [sys.executable, "-I", "-S", healer.__file__, str(injection.record)]
    try:
        with log.open("ab") as errors:
            subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors,
                timeout=_ARM_S, check=True, env={},
            )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        _end_healer(injection.record)
        injection.record.unlink(missing_ok=True)
        raise FailedError(
            f"no healer, so nothing was injected: {error}", place=str(log), remedy="look there"
        ) from error


def _disturb(injection: Injection, disturbance: Disturbance) -> None:
    try:
        with healer.held(injection.record):
            for action in disturbance.inject:
                healer.perform(action)
    except (healer.NotPerformedError, FileNotFoundError) as error:
        heal(injection)
        raise FailedError(
            f"not injected, and healed again: {error}",
            place=str(injection.fault),
            remedy="sisamu lab status",
        ) from error
    except BaseException:  # a Ctrl-C, or a bug: half a fault is healed, then told as it is
        heal(injection)
        raise


def _end_healer(record: Path) -> None:
    """Tell the healer to heal now, and wait until it has ended."""
    found = _healer_of(record)
    if found is None or not healer.lives(found):
        return
    with contextlib.suppress(ProcessLookupError):
        process = os.pidfd_open(found["pid"])
        try:
            signal.pidfd_send_signal(process, signal.SIGTERM)
            select.select([process], [], [], _HEAL_S)
        finally:
            os.close(process)


def _healer_of(record: Path) -> dict[str, int] | None:
    try:
        pid, started = healer.healer_file(record).read_text("ascii").split()
    except (FileNotFoundError, ValueError):
        return None
    return {"pid": int(pid), "started": int(started)}


def _boottime_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
