"""Faults that carry their cure: a catalogue, its blast radius, injecting and healing."""

from sisamu_ops.chaos.catalogue import catalogue, parse_fault
from sisamu_ops.chaos.fault import Fault, FaultKind
from sisamu_ops.chaos.injection import Injection, heal, heal_all, inject, injected, standing
from sisamu_ops.chaos.radius import BlastRadius
from sisamu_ops.chaos.scene import Ground, Scene

__all__ = [
    "BlastRadius",
    "Fault",
    "FaultKind",
    "Ground",
    "Injection",
    "Scene",
    "catalogue",
    "heal",
    "heal_all",
    "inject",
    "injected",
    "parse_fault",
    "standing",
]
