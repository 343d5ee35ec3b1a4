"""Whether each leaf is an entry that belongs at its place, signed by the site it names.

Source: DESIGN.md section 1. Entries are opaque here except `request.accepted`, whose operator's
signature is given to the caller's own check.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sisamu_ops.journal.canonical import Json
from sisamu_ops.journal.entry import Entry, check_entry, open_entry
from sisamu_ops.journal.keys import Policy
from sisamu_ops.journal.port import CheckSshsig
from sisamu_ops.model.errors import IntegrityError

REQUEST_KIND = "request.accepted"
_REQUEST_MEMBERS = ("document", "signature", "principal", "namespace")


@dataclass(kw_only=True)
class EntryCheck:
    """Judges the leaves of one journal, given in order."""

    policy: Policy
    check_sshsig: CheckSshsig | None
    fail: Callable[[str, str], None]
    _epoch: int = field(default=0, init=False)

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
            self._check_request(entry)
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

    def _check_request(self, entry: Entry) -> None:
        if entry.kind != REQUEST_KIND or self.check_sshsig is None:
            return
        document, signature, principal, namespace = _request_of(entry.data)
        signers = self.policy.allowed_signers
        moment = datetime.fromisoformat(entry.time)
        if not self.check_sshsig(
            document.encode(), signature, principal, namespace, signers, moment
        ):
            raise IntegrityError(f"the request is not signed by {principal} for {namespace}")


def _request_of(data: Mapping[str, Json]) -> list[str]:
    request = data.get("request")
    members = [request.get(m) for m in _REQUEST_MEMBERS] if isinstance(request, Mapping) else []
    texts = [member for member in members if isinstance(member, str)]
    if len(texts) != len(_REQUEST_MEMBERS):
        raise IntegrityError("an accepted request has a document, signature, principal, namespace")
    return texts
