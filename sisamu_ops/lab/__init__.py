"""The lab: three datacentres on one machine, made of the servers production uses."""

from sisamu_ops.lab.lab import Lab, LabStatus

__all__ = ["Lab", "LabStatus"]
