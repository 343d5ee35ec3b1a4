"""Whether a replica holds: every entry, every hash, and the tree head the sites agreed on.

Needs the replica's files and a policy from elsewhere, and trusts nothing in the replica. It goes on
after a finding and reports them all. What no verification of one replica can exclude is part of
every report.

Source: DESIGN.md section 1; RFC 6962; C2SP tlog-tiles, tlog-checkpoint, tlog-cosignature.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import sha256

from sisamu_ops.journal.artifacts import artifact_digest
from sisamu_ops.journal.checkpoint import Checkpoint, agreed, parse_checkpoint, weigh
from sisamu_ops.journal.evidence import Evidence, gather
from sisamu_ops.journal.keys import Policy
from sisamu_ops.journal.merkle import root_of
from sisamu_ops.journal.port import CheckSshsig, ReplicaFiles
from sisamu_ops.journal.reader import CHECKPOINT
from sisamu_ops.journal.replica import UNFINISHED, WRITER
from sisamu_ops.journal.tiles import tile_named
from sisamu_ops.journal.verify_entries import EntryCheck
from sisamu_ops.journal.verify_tiles import TileCheck
from sisamu_ops.model.errors import IntegrityError


class FindingKind(StrEnum):
    """What a finding means for the verdict."""

    FAILURE = "failure"
    NOT_AGREED = "not-agreed"
    NOTE = "note"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing found, and where."""

    kind: FindingKind
    place: str
    message: str


@dataclass(frozen=True, kw_only=True)
class VerifyReport:
    """The verdict on a replica.

    `origin` is the log it was verified as, None without a policy. `size` and `checkpoint_time` (RFC
    3339, of the newest cosignature) are those of the agreed checkpoint, None when none holds;
    `entries` counts the entries read, agreed or not.
    """

    ok: bool
    origin: str | None
    size: int | None
    checkpoint_time: str | None
    entries: int
    findings: tuple[Finding, ...]
    cannot_exclude: tuple[str, ...]


def verify_directory(
    directory: ReplicaFiles,
    policy: Policy | None,
    *,
    known_checkpoints: Sequence[bytes] = (),
    check_sshsig: CheckSshsig | None = None,
    require_agreed: bool = False,
) -> VerifyReport:
    """Verify a replica under a policy; never raises for what it finds.

    `known_checkpoints` are notes kept from earlier: the journal must extend each. With
    `require_agreed`, entries beyond the agreed checkpoint are a failure too.
    """
    verification = _Verification(gather(directory))
    if policy is None:
        verification.fail("policy", "there is no policy: nobody's signature counts")
    else:
        verification.run(policy, known_checkpoints, check_sshsig, require_agreed=require_agreed)
    origin = policy.origin if policy else None
    return verification.report(origin, signatures_checked=check_sshsig is not None)


class _Verification:
    """The findings of one verification as they come up."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._findings: list[Finding] = []
        self._entries = 0
        self._size: int | None = None
        self._time: str | None = None

    def fail(self, place: str, message: str) -> None:
        self._find(FindingKind.FAILURE, place, message)

    def note(self, place: str, message: str) -> None:
        self._find(FindingKind.NOTE, place, message)

    def run(
        self,
        policy: Policy,
        known: Sequence[bytes],
        check_sshsig: CheckSshsig | None,
        *,
        require_agreed: bool,
    ) -> None:
        self._refuse_strays()
        entries = EntryCheck(policy=policy, check_sshsig=check_sshsig, fail=self.fail)
        tiles = TileCheck(evidence=self._evidence, fail=self.fail, note=self.note)
        hashes = tiles.check_entries(entries.check)
        self._entries = len(hashes)
        if not hashes:
            self.fail("tile/entries", "nothing to verify: there are no entries")
        claimed = self._check_checkpoint(policy, hashes)
        tiles.check_hashes(hashes, needed=claimed)
        self._report_unagreed(require_agreed=require_agreed)
        for number, note in enumerate(known, start=1):
            self._check_known(f"known checkpoint {number}", note, policy, hashes)

    def report(self, origin: str | None, *, signatures_checked: bool) -> VerifyReport:
        return VerifyReport(
            ok=not any(found.kind is FindingKind.FAILURE for found in self._findings),
            origin=origin,
            size=self._size,
            checkpoint_time=self._time,
            entries=self._entries,
            findings=tuple(self._findings),
            cannot_exclude=_cannot_exclude(self._size, self._time, signatures_checked),
        )

    def _find(self, kind: FindingKind, place: str, message: str) -> None:
        self._findings.append(Finding(kind=kind, place=place, message=message))

    def _refuse_strays(self) -> None:
        for name in sorted(self._evidence.names - {CHECKPOINT, UNFINISHED, WRITER}):
            promised = artifact_digest(name)
            if promised is not None:
                self._check_artifact(name, promised)
            elif tile_named(name) is None:
                self.fail(name, "no part of a journal")

    def _check_artifact(self, name: str, promised: str) -> None:
        try:
            content = self._evidence.read(name)
        except OSError as error:
            self.fail(name, f"cannot be read ({error})")
            return
        if sha256(content).hexdigest() != promised:
            self.fail(name, "its content is not what its name promises")

    def _check_checkpoint(self, policy: Policy, hashes: list[bytes]) -> int:
        """Judge the replica's own checkpoint and give the size it claims."""
        note = self._evidence.checkpoint
        if note is None:
            self.fail(CHECKPOINT, "nothing to verify: there is no checkpoint that can be read")
            return 0
        try:
            checkpoint = parse_checkpoint(note)
        except IntegrityError as error:
            self.fail(CHECKPOINT, error.message)
            return 0
        signed = self._check_signatures(checkpoint, policy)
        if self._check_prefix(CHECKPOINT, checkpoint, hashes) and signed:
            self._size = checkpoint.head.size
            self._time = _newest(checkpoint, policy)
        return checkpoint.head.size

    def _check_signatures(self, checkpoint: Checkpoint, policy: Policy) -> bool:
        endorsement = weigh(checkpoint, policy)
        for name in endorsement.unknown:
            self.note(CHECKPOINT, f"the signature by {name}, a key unknown here, was ignored")
        if agreed(checkpoint, policy):
            return True
        self.fail(
            CHECKPOINT,
            f"not agreed: origin {checkpoint.head.origin}, log signature of "
            f"{_listed(endorsement.logs)}, cosigned by {_listed(endorsement.cosigned)} "
            f"({policy.threshold} needed), not verifying: {_listed(endorsement.forged)}",
        )
        return False

    def _check_prefix(self, place: str, checkpoint: Checkpoint, hashes: list[bytes]) -> bool:
        head = checkpoint.head
        if head.size == 0:
            self.fail(place, "nothing to verify: it is of an empty journal")
        elif head.size > len(hashes):
            self.fail(place, f"of {head.size} entries, but only {len(hashes)} are here")
        elif root_of(hashes[: head.size]) != head.root:
            self.fail(place, f"the first {head.size} entries are not those that were signed")
        else:
            return True
        return False

    def _report_unagreed(self, *, require_agreed: bool) -> None:
        beyond = self._entries - (self._size or 0)
        if beyond:
            kind = FindingKind.FAILURE if require_agreed else FindingKind.NOT_AGREED
            self._find(kind, "tile/entries", f"{beyond} entries are not yet agreed")

    def _check_known(self, place: str, note: bytes, policy: Policy, hashes: list[bytes]) -> None:
        try:
            checkpoint = parse_checkpoint(note)
        except IntegrityError as error:
            self.fail(place, error.message)
            return
        endorsement = weigh(checkpoint, policy)
        if checkpoint.head.origin != policy.origin or not endorsement.logs or endorsement.forged:
            self.fail(place, f"not signed for {policy.origin} by a log key of the policy")
        else:
            self._check_prefix(place, checkpoint, hashes)


def _newest(checkpoint: Checkpoint, policy: Policy) -> str:
    """Write the time of the newest cosignature; one beyond the calendar is said, not hidden."""
    at = max(weigh(checkpoint, policy).cosigned.values())
    try:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return f"second {at} of the POSIX clock"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _cannot_exclude(
    size: int | None, time: str | None, signatures_checked: bool
) -> tuple[str, ...]:
    newest = f"the agreed checkpoint (size {size or 'none'}, time {time or 'none'})"
    always = (
        f"entries after {newest} may have been removed, or may never have reached this replica",
        "a majority of the sites, acting together, may have signed another history",
        "somebody else may have been shown another history: compare checkpoints with theirs",
        "what was signed may have been untrue: signatures show who said it, not that it was so",
    )
    if signatures_checked:
        return (*always, _SIGNERS_NOW)
    return (*always, "operator signatures were not checked: requests are as the sites took them")


_SIGNERS_NOW = (
    "operator signatures were checked against the allowed signers of this policy, as they stood "
    "at the time the entry gives, which is the word of the site that led"
)
