"""Whether each leaf is an entry that belongs at its place, signed by the site it names.

Source: DESIGN.md sections 1 and 2. Entries are opaque here but for the operators' signatures they
hold, given to the caller's own check, and for the entries of a merged log, judged like those of
a journal of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sisamu_ops.journal.canonical import Json, canonical_bytes
from sisamu_ops.journal.entry import Entry, check_entry, open_entry
from sisamu_ops.journal.glass_log import MERGED, log_policy, started_from
from sisamu_ops.journal.keys import Policy
from sisamu_ops.journal.port import CheckSshsig
from sisamu_ops.model.errors import IntegrityError

REQUEST_KIND = "request.accepted"
APPROVED = "request.approved"
VOTE_NAMESPACE = "sisamu-vote"
_REQUEST_MEMBERS = ("document", "signature", "principal", "namespace")


@dataclass(kw_only=True)
class EntryCheck:
    """Judges the leaves of one journal, given in order."""

    policy: Policy
    check_sshsig: CheckSshsig | None
    fail: Callable[[str, str], None]
    #: Documents that await a second signature, by request; logs merged share them.
    documents: dict[str, str] = field(default_factory=dict)
    _epoch: int = field(default=0, init=False)
    #: The merged logs so far, by origin: how many entries, and the check of the next.
    _merged: dict[str, tuple[int, EntryCheck]] = field(default_factory=dict, init=False)

    def check(self, position: int, leaf: bytes) -> None:
        """Judge the leaf at this position; every problem goes to `fail`."""
        place = f"entry {position}"
        try:
            signed = open_entry(leaf)
        except IntegrityError as error:
            self.fail(place, error.message)
            return
        entry = signed.entry
        for problem in self._misplacements(entry, position):
            self.fail(place, problem)
        self._epoch = max(self._epoch, entry.epoch)
        site = self.policy.sites.get(entry.site)
        if site is None:
            self.fail(place, f"by {entry.site}, a site the policy does not know")
            return
        try:
            check_entry(signed, *site.entry_keys(position))
            self._check_operators(entry)
            self._check_merged(entry, position)
        except IntegrityError as error:
            self.fail(place, error.message)

    def _misplacements(self, entry: Entry, position: int) -> list[str]:
        problems = []
        if entry.origin != self.policy.origin:
            problems.append(f"of the journal {entry.origin}, not {self.policy.origin}")
        if entry.index != position:
            problems.append(f"was signed as entry {entry.index}")
        if entry.epoch < self._epoch:
            problems.append(f"epoch {entry.epoch} after epoch {self._epoch}")
        return problems

    def _check_operators(self, entry: Entry) -> None:
        """Check what people signed: a request, its approvals, an approval that came later."""
        if self.check_sshsig is None:
            return
        if entry.kind == REQUEST_KIND:
            self._check_request(entry)
        elif entry.kind == APPROVED:
            document = self.documents.get(str(entry.data.get("id")))
            if document is None:
                raise IntegrityError("an approval of a request that awaits none")
            self._check_approval(entry, document, entry.data)

    def _check_request(self, entry: Entry) -> None:
        request = entry.data.get("request")
        if not isinstance(request, Mapping):
            raise IntegrityError("an accepted request has a request")
        document, signature, principal, namespace = _texts(request, *_REQUEST_MEMBERS)
        self._check_signature(entry, document, signature, principal, namespace)
        approvals = request.get("approvals", ())
        for approval in approvals if isinstance(approvals, Sequence) else ():
            self._check_approval(entry, document, approval)
        if entry.data.get("second_due"):
            self.documents[str(entry.data.get("id"))] = document

    def _check_approval(self, entry: Entry, document: str, approval: Json) -> None:
        given = approval if isinstance(approval, Mapping) else {}
        signature, principal = _texts(given, "signature", "principal")
        self._check_signature(entry, document, signature, principal, VOTE_NAMESPACE)

    def _check_signature(
        self, entry: Entry, document: str, signature: str, principal: str, namespace: str
    ) -> None:
        signers, moment = self.policy.allowed_signers, datetime.fromisoformat(entry.time)
        if self.check_sshsig is not None and not self.check_sshsig(
            document.encode(), signature, principal, namespace, signers, moment
        ):
            raise IntegrityError(f"the request is not signed by {principal} for {namespace}")

    def _check_merged(self, entry: Entry, position: int) -> None:
        """Judge the entry of another log that this one wraps, at its place in that log."""
        if entry.kind != MERGED:
            return
        leaf, origin = canonical_bytes(entry.data.get("leaf")), str(entry.data.get("origin"))
        if origin not in self._merged:
            self._merged[origin] = (0, self._check_of(origin, leaf, f"entry {position}"))
        size, check = self._merged[origin]
        check.check(size, leaf)
        self._merged[origin] = (size + 1, check)

    def _check_of(self, origin: str, leaf: bytes, place: str) -> EntryCheck:
        """Open the check of a log, under the keys in use where it starts from."""
        started = started_from(open_entry(leaf).entry.data, self.policy)
        own = log_policy(self.policy, origin, at=started)
        if own is None:
            raise IntegrityError(f"no site of this platform keeps the log {origin}")

        def fail(where: str, problem: str) -> None:
            self.fail(f"{place}, {origin} {where}", problem)

        return EntryCheck(
            policy=own, check_sshsig=self.check_sshsig, fail=fail, documents=self.documents
        )


def _texts(data: Mapping[str, Json], *names: str) -> list[str]:
    """Return members that must be texts."""
    found = [data.get(name) for name in names]
    texts = [member for member in found if isinstance(member, str)]
    if len(texts) != len(names):
        raise IntegrityError(f"a signature comes with {', '.join(names)}")
    return texts
