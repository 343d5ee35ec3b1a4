"""Gathering the evidence into a directory, and reading such a directory as a history.

The directory is whole: `python -m tests.campaign --check DIRECTORY` judges it again anywhere.
What cannot be read is named in the history's `missing`.

    policy.json                   whose signatures count
    facts.json                    renewal_ns, settled, missing
    sightings.jsonl heads.jsonl   as the recorder wrote them
    requests.jsonl                as the clients wrote them
    replicas/SITE/                a copy of each site's replica
    leases/SITE.jsonl[.1]         each site's record of leases
    targets/HOST.jsonl[.1]        each target's accepted.jsonl
"""

from __future__ import annotations

import json
import shutil
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from sisamu_ops.journal.checkpoint import agreed, parse_checkpoint, weigh
from sisamu_ops.journal.keys import Policy, load_policy
from sisamu_ops.journal.merkle import leaf_hash
from sisamu_ops.journal.reader import LocalFiles, ReplicaReader
from sisamu_ops.journal.replicate import read_entry
from sisamu_ops.lab import Lab
from sisamu_ops.lab.topology import ROUTERS, SAMUS, SITES
from sisamu_ops.model.errors import IntegrityError, SisamuError
from sisamu_ops.model.token import Token
from tests.campaign.history import (
    Head,
    History,
    LeaseLine,
    ReplicaCopy,
    RequestMade,
    Sighting,
    TargetLine,
    TargetRecord,
)

_Read = TypeVar("_Read")
_COPY_TRIES = 20
#: The targets of the lab a campaign runs on, which is of the usual size.
FENCED_HOSTS = (*ROUTERS, *(samu.gateway for samu in SAMUS))


def gather(
    lab: Lab, directory: Path, *, renewal_ns: int, settled: bool, missing: Iterable[str]
) -> None:
    """Copy from the lab's hosts what they recorded, beside what recorder and clients wrote.

    `missing` names what is known already not to be had.
    """
    for name in ("replicas", "leases", "targets"):
        shutil.rmtree(directory / name, ignore_errors=True)
        (directory / name).mkdir()
    shutil.copyfile(lab.place.trust / "policy.json", directory / "policy.json")
    for site in SITES:
        home = lab.place.host_dir(site)
        _copy_replica(home / "journal", directory / "replicas" / site)
        _copy_record(home / "leases.jsonl", directory / "leases" / f"{site}.jsonl")
    for host in FENCED_HOSTS:
        record = lab.place.host_dir(host) / "fence/accepted.jsonl"
        _copy_record(record, directory / "targets" / f"{host.name}.jsonl")
    facts = {"renewal_ns": renewal_ns, "settled": settled, "missing": list(missing)}
    (directory / "facts.json").write_text(json.dumps(facts))


def _copy_replica(source: Path, destination: Path) -> None:
    """Copy a replica whose agent may be pruning it: what vanished meanwhile is listed anew."""
    for left in reversed(range(_COPY_TRIES)):
        try:
            shutil.copytree(source, destination)
        except shutil.Error:
            if not left:
                raise
            shutil.rmtree(destination)
        else:
            return


def _copy_record(source: Path, destination: Path) -> None:
    """Copy a record and what was put aside of it; one that is not there stays missing."""
    for suffix in ("", ".1"):
        with suppress(FileNotFoundError):
            shutil.copyfile(f"{source}{suffix}", f"{destination}{suffix}")


def read_history(directory: Path) -> History:
    """Read a directory of evidence."""
    return _Reading(directory).history()


class _Reading:
    """One directory as it is read; what cannot be is noted."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._policy = load_policy(directory / "policy.json")
        self._missing: list[str] = []

    def history(self) -> History:
        facts = json.loads((self._directory / "facts.json").read_text())
        replicas = {copy.site: copy for copy in map(self._replica, SITES) if copy}
        targets = {record.host: record for record in self._targets()}
        return History(
            replicas=replicas,
            heads=tuple(self._lines("heads.jsonl", lambda line: head_of(line, self._policy))),
            sightings=tuple(self._lines("sightings.jsonl", _sighting)),
            requests=tuple(self._lines("requests.jsonl", lambda line: RequestMade(**line))),
            targets=targets,
            leases=tuple(line for site in SITES for line in self._leases(site)),
            renewal_ns=facts["renewal_ns"],
            settled=facts["settled"],
            missing=(*facts["missing"], *self._missing),
        )

    def _replica(self, site: str) -> ReplicaCopy | None:
        directory = self._directory / "replicas" / site
        if not directory.is_dir():
            self._missing.append(f"replica of {site}: there is none")
            return None
        reader = ReplicaReader(LocalFiles(directory))
        try:
            leaves = reader.read(0, reader.size())
            entries = [
                read_entry(leaf, index=index, policy=self._policy)
                for index, leaf in enumerate(leaves)
            ]
        except (SisamuError, OSError) as error:
            self._missing.append(f"replica of {site}: {error}")
            return None
        hashes = tuple(map(leaf_hash, leaves))
        return ReplicaCopy(site=site, entries=tuple(entries), hashes=hashes)

    def _targets(self) -> Iterator[TargetRecord]:
        for host in FENCED_HOSTS:
            lines = self._record(f"targets/{host.name}.jsonl", _target_line)
            if lines:
                yield TargetRecord(host=host.name, lines=tuple(lines))
            else:
                self._missing.append(f"{host.name} has no record of what it accepted")

    def _leases(self, site: str) -> list[LeaseLine]:
        """Return a site's lines; the arbiter's has none, and one that never led needs none."""
        lines = self._record(f"leases/{site}.jsonl", lambda line: LeaseLine(**line), torn=True)
        return [line for line in lines if line is not None]

    def _record(
        self, name: str, read: Callable[[Any], _Read], *, torn: bool = False
    ) -> list[_Read]:
        return [
            line
            for suffix in (".1", "")
            if (self._directory / f"{name}{suffix}").exists()
            for line in self._lines(f"{name}{suffix}", read, torn=torn)
        ]

    def _lines(
        self, name: str, read: Callable[[Any], _Read], *, torn: bool = False
    ) -> Iterable[_Read]:
        """Read a file of JSON lines; `torn` says that one cut short is written again later."""
        try:
            lines = (self._directory / name).read_text().splitlines()
        except OSError as error:
            self._missing.append(f"{name}: {error.strerror}")
            return
        for number, line in enumerate(lines, start=1):
            try:
                yield read(json.loads(line))
            except (ValueError, KeyError, TypeError, IntegrityError) as error:
                if line and not torn:
                    self._missing.append(f"{name}, line {number}: {error}")


def head_of(line: Any, policy: Policy) -> Head:
    """Read a checkpoint that trusted keys signed; IntegrityError for another."""
    checkpoint = parse_checkpoint(b64decode(line["note"]))
    worth = weigh(checkpoint, policy)
    if worth.forged or not (worth.logs or worth.cosigned):
        raise IntegrityError("a checkpoint nobody trusted signed")
    head = checkpoint.head
    is_agreed = agreed(checkpoint, policy)
    return Head(place=line["place"], size=head.size, root=head.root, agreed=is_agreed)


def _sighting(line: Any) -> Sighting:
    leaf = bytes.fromhex(line["hash"])
    return Sighting(index=line["index"], leaf_hash=leaf, at_ns=line["at_ns"])


def _target_line(line: Any) -> TargetLine:
    record = line.get("record") or {}
    return TargetLine(
        what=line["what"],
        token=Token(line["token"]["epoch"], line["token"]["index"]),
        at_ns=line["boot_ns"],
        outcome=record.get("outcome", ""),
        changed=bool(record.get("changed", True)),
    )
