"""The log of a site that acts alone: its name, its keys, and whose word it is (pure).

Its origin is `<platform>/break-glass-<site>-<n>`. The site signs its entries with its entry key,
its checkpoints with its log key under the log's own name, and cosigns them itself: nobody else was
there. What it starts from is in its first entry, a checkpoint the sites had agreed on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

from sisamu_ops.journal.checkpoint import agreed, parse_checkpoint
from sisamu_ops.journal.entry import Entry, SignedEntry, check_entry, open_entry
from sisamu_ops.journal.keys import Policy, RetiredKey, SiteKeys, SitePublicKeys
from sisamu_ops.journal.port import JournalReader
from sisamu_ops.journal.signing import LogKey, VerifierKey
from sisamu_ops.model.errors import IntegrityError

BEGUN = "break-glass.begun"
MERGED = "break-glass.merged"
CLOSED = "break-glass.closed"
_NAME = re.compile(r"break-glass-([a-z0-9][a-z0-9-]*)-([1-9][0-9]{0,5})")
#: Larger than any journal: what was in use when the log began counts for all of it.
_ALWAYS = 2**53 - 1


def log_origin(platform: str, site: str, number: int) -> str:
    """Name a site's log; ValueError when it could not be read back."""
    origin = f"{platform}/break-glass-{site}-{number}"
    if log_site(origin, platform) != site:
        raise ValueError(f"{site!r} and {number} name no log")
    return origin


def log_site(origin: str, platform: str) -> str | None:
    """Return the site whose log this is, None when it is not one of this platform's."""
    found = _NAME.fullmatch(origin.removeprefix(f"{platform}/"))
    return found[1] if found and origin.startswith(f"{platform}/") else None


def log_number(origin: str) -> int:
    """Return the number of a site's log."""
    return int(origin.rpartition("-")[2])


def log_keys(keys: SiteKeys, origin: str) -> SiteKeys:
    """Return a site's keys for its own log: the log key under the log's name."""
    return replace(keys, log=LogKey(name=origin, seed=keys.log.seed))


def log_policy(policy: Policy, origin: str, *, at: int = 0) -> Policy | None:
    """Return whose signatures count in a log: one site's; None when it is no log of theirs.

    `at` is the size of the journal it starts from: keys in use then count.
    """
    platform = policy.origin.rpartition("/")[0]
    site = policy.sites.get(log_site(origin, platform) or "")
    if site is None:
        return None
    return replace(policy, origin=origin, threshold=1, sites={site.site: _own(site, origin, at)})


def _own(site: SitePublicKeys, origin: str, at: int) -> SitePublicKeys:
    def renamed(key: VerifierKey) -> VerifierKey:
        return replace(key, name=origin) if key.name == site.log.name else key

    retired = tuple(
        RetiredKey(key=renamed(one.key), until=_ALWAYS) for one in site.retired if at <= one.until
    )
    return replace(site, log=renamed(site.log), retired=retired)


def check_log_entry(leaf: bytes, *, index: int, policy: Policy) -> SignedEntry:
    """Open an entry of a log under the log's own policy; IntegrityError when it does not belong."""
    signed = open_entry(leaf)
    entry = signed.entry
    site = policy.sites.get(entry.site)
    if (entry.origin, entry.index) != (policy.origin, index) or site is None:
        raise IntegrityError(f"entry {entry.index} of {entry.origin} has no place at {index}")
    check_entry(signed, *site.entry_keys(index))
    if (index == 0) != (entry.kind == BEGUN):
        raise IntegrityError("a site's own log begins with what it starts from, and once")
    return signed


def started_from(data: Mapping[str, object], policy: Policy) -> int:
    """Return the size of the agreed checkpoint a log starts from, 0 when there was none.

    IntegrityError when the note is not agreed by the sites of the journal's `policy`.
    """
    note = data.get("checkpoint")
    if note == "":
        return 0
    if not isinstance(note, str):
        raise IntegrityError("the first entry of a site's own log holds a checkpoint")
    checkpoint = parse_checkpoint(note.encode())
    if not agreed(checkpoint, policy):
        raise IntegrityError("the log starts from a checkpoint the sites did not agree on")
    return checkpoint.head.size


def policy_for(reader: JournalReader, policy: Policy) -> Policy:
    """Return whose signatures count in what is read: the journal's policy, or that of a lone site.

    IntegrityError when it is such a log and does not start from what the sites agreed on.
    """
    first = _first_entry(reader)
    if first is None or log_policy(policy, first.origin) is None:
        return policy
    return log_policy(policy, first.origin, at=started_from(first.data, policy)) or policy


def _first_entry(reader: JournalReader) -> Entry | None:
    with suppress(IntegrityError):  # whoever verifies finds, and says, what cannot be read
        return open_entry(reader.read(0, 1)[0]).entry if reader.size() else None
    return None
