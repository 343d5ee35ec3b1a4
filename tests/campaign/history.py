"""What is known after a schedule: the evidence the checker judges, and nothing it concludes.

All instants are nanoseconds of CLOCK_BOOTTIME: one machine, one clock that nobody sets.
Whatever evidence could not be had is named in `missing`, never left out in silence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sisamu_ops.journal.entry import Entry
from sisamu_ops.model.token import Token


@dataclass(frozen=True, kw_only=True)
class ReplicaCopy:
    """One site's whole journal: its entries, each verified, and the hash of each leaf."""

    site: str
    entries: tuple[Entry, ...]
    hashes: tuple[bytes, ...]


@dataclass(frozen=True, kw_only=True)
class Head:
    """A size and a root that trusted keys signed, and where it was seen."""

    place: str
    size: int
    root: bytes
    agreed: bool


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """An entry as somebody read it: by `at_ns` it had been committed."""

    index: int
    leaf_hash: bytes
    at_ns: int


@dataclass(frozen=True, kw_only=True)
class RequestMade:
    """One request as its client saw it go.

    `accepted` and `refused` are the index of the entry that answered it, None when no answer
    was seen; `outcome` is what the client was told at the end, "" when it was told nothing.
    `closing` marks those made after all faults were healed: they must be carried out.
    """

    request_id: str
    digest: str
    verb: str
    sent_ns: int
    accepted: int | None = None
    refused: int | None = None
    outcome: str = ""
    error: str = ""
    closing: bool = False

    @property
    def acknowledged(self) -> bool:
        """Say whether the client saw the entry that answers it."""
        return self.accepted is not None or self.refused is not None


@dataclass(frozen=True, kw_only=True)
class TargetLine:
    """One line of a target's own record of what it accepted (`accepted.jsonl`)."""

    what: str
    token: Token
    at_ns: int
    outcome: str = ""
    changed: bool = True


@dataclass(frozen=True, kw_only=True)
class TargetRecord:
    """What one target says it accepted, in its order."""

    host: str
    lines: tuple[TargetLine, ...]


@dataclass(frozen=True, kw_only=True)
class LeaseLine:
    """One line of a process's record of its lease; `end_ns` 0 is its end."""

    site: str
    pid: int
    epoch: int
    at_ns: int
    end_ns: int


@dataclass(frozen=True, kw_only=True)
class History:
    """All evidence of one life of a lab, up to the end of the schedule judged.

    `renewal_ns` is the time between two renewals of a lease; `settled` says whether the lab was
    given its time to settle after everything was healed.
    """

    replicas: Mapping[str, ReplicaCopy]
    heads: tuple[Head, ...]
    sightings: tuple[Sighting, ...]
    requests: tuple[RequestMade, ...]
    targets: Mapping[str, TargetRecord]
    leases: tuple[LeaseLine, ...]
    renewal_ns: int
    settled: bool
    missing: tuple[str, ...] = field(default=())

    @property
    def journal(self) -> tuple[Entry, ...]:
        """Return the final journal: the longest copy."""
        copies = (copy.entries for copy in self.replicas.values())
        return max(copies, key=len, default=())
