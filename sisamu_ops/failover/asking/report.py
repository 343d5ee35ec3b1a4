"""What a site that does not lead has to say: a document signed with its entry key (pure).

A leader that was refused by a target, or woke after its lease, must not append. It reports
through the inbox, and whoever leads now writes it into the journal.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any

from sisamu_ops.failover.request import digest_of
from sisamu_ops.journal.canonical import canonical_bytes, parse_canonical
from sisamu_ops.journal.keys import Policy
from sisamu_ops.journal.port import InboxItem
from sisamu_ops.journal.signing import EntryKey
from sisamu_ops.model.errors import ConfigurationError, IntegrityError, RefusedError

PREFIX = "report."
ALARM = "alarm."
TRIGGER = "trigger."


def make_report(site: str, facts: Mapping[str, Any], key: EntryKey) -> InboxItem:
    """Sign the facts for the inbox; the name follows from the content."""
    return _signed(PREFIX, site, facts, key)


def make_alarm(site: str, facts: Mapping[str, Any], key: EntryKey) -> InboxItem:
    """Sign what must not be forgotten of a site: `about`, `message`, `time`."""
    return _signed(ALARM, site, facts, key)


def make_trigger(site: str, facts: Mapping[str, Any], key: EntryKey) -> InboxItem:
    """Sign what a site would have done, and why: the fields of a request, without an operator."""
    return _signed(TRIGGER, site, facts, key)


def _signed(prefix: str, site: str, facts: Mapping[str, Any], key: EntryKey) -> InboxItem:
    document = canonical_bytes(dict(facts) | {"site": site})
    payload = canonical_bytes(
        {"document": document.decode(), "sig": b64encode(key.sign(document)).decode()}
    )
    return InboxItem(name=f"{prefix}{site}.{digest_of(payload)[:16]}", payload=payload)


def open_report(payload: bytes, policy: Policy) -> dict[str, Any]:
    """Return the facts of a report whose site's key verifies; RefusedError otherwise."""
    try:
        envelope = parse_canonical(payload)
        if not isinstance(envelope, dict):
            raise TypeError("not an object")
        document = str(envelope["document"]).encode()
        facts = parse_canonical(document)
        if not isinstance(facts, dict):
            raise TypeError("not an object")
        key = policy.sites[str(facts["site"])].entry
        signature = b64decode(str(envelope["sig"]), validate=True)
    except (IntegrityError, ConfigurationError, ValueError, KeyError, TypeError) as error:
        raise RefusedError("the report is malformed", remedy="see the site's agent log") from error
    if not key.verifies(signature, document):
        raise RefusedError("the report's signature does not verify", remedy="check the site's key")
    return facts
