"""A small platform with keys, and journals it has really signed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

from sisamu_ops.journal.canonical import Json
from sisamu_ops.journal.checkpoint import Checkpoint, TreeHead, cosign_head, sign_head
from sisamu_ops.journal.durable import Disk
from sisamu_ops.journal.entry import Entry, seal_entry
from sisamu_ops.journal.keys import Policy, SiteKeys, key_names
from sisamu_ops.journal.merkle import leaf_hash, root_of
from sisamu_ops.journal.reader import LocalFiles
from sisamu_ops.journal.replica import UNFINISHED, WRITER, Replica
from sisamu_ops.journal.signing import CosignKey, EntryKey, LogKey

ORIGIN = "test-platform/journal"
SITES = ("paris", "lyon", "lille")


def site_keys(site: str) -> SiteKeys:
    """Give the same three keys for the same site, every time."""
    entry, log, cosign = key_names(site, ORIGIN)
    return SiteKeys(
        site=site,
        entry=EntryKey(name=entry, seed=sha256(entry.encode()).digest()),
        log=LogKey(name=log, seed=sha256(f"{site} log".encode()).digest()),
        cosign=CosignKey(name=cosign, seed=sha256(cosign.encode()).digest()),
    )


KEYS = {site: site_keys(site) for site in SITES}
POLICY = Policy(
    origin=ORIGIN,
    sites={site: keys.publics for site, keys in KEYS.items()},
    threshold=2,
    allowed_signers="",
)


def an_entry(index: int = 0, **changes: object) -> Entry:
    """Give a plain entry; any field can be named."""
    fields: dict[str, object] = {
        "origin": ORIGIN,
        "index": index,
        "epoch": 1,
        "site": "paris",
        "time": "2026-11-22T04:05:06.789Z",
        "kind": "step.started",
        "data": {"step": index},
    }
    return Entry(**(fields | changes))  # type: ignore[arg-type]


def sealed(entry: Entry) -> bytes:
    """Sign an entry with the key of the site it names (paris when that is no site)."""
    return seal_entry(entry, KEYS.get(entry.site, KEYS["paris"]).entry)


def sealed_journal(size: int) -> list[bytes]:
    """Give the leaves of a sound journal."""
    return [sealed(an_entry(index)) for index in range(size)]


def head_of(leaves: Sequence[bytes]) -> TreeHead:
    """Give the tree head over these leaves."""
    root = root_of(leaf_hash(leaf) for leaf in leaves)
    return TreeHead(origin=ORIGIN, size=len(leaves), root=root)


def signed_checkpoint(
    leaves: Sequence[bytes],
    cosigners: Sequence[str] = ("paris", "lyon"),
    *,
    at: int = 1_800_000_000,
) -> Checkpoint:
    """Sign the head of these leaves as paris' log, and cosign it."""
    head = head_of(leaves)
    checkpoint = sign_head(head, KEYS["paris"].log)
    for site in cosigners:
        checkpoint = checkpoint.with_signature(cosign_head(head, KEYS[site].cosign, at=at))
    return checkpoint


class FilesInMemory:
    """The files of a replica, in a dictionary that a test may damage."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = dict(files)

    def names(self) -> list[str]:
        return sorted(self.files)

    def read(self, name: str) -> bytes:
        try:
            return self.files[name]
        except KeyError as error:
            raise FileNotFoundError(2, "No such file", name) from error


class FastDisk(Disk):
    """The real file system without waiting for it: for tests that do not stop the machine."""

    def write(self, path: Path, content: bytes, mode: int = 0o644) -> None:
        path.write_bytes(content)
        path.chmod(mode)

    def sync_directory(self, path: Path) -> None:
        """Trust the page cache."""


def files_of(directory: Path) -> FilesInMemory:
    """Copy a replica into memory, without the two files that mean nothing."""
    files = LocalFiles(directory)
    return FilesInMemory(
        {name: files.read(name) for name in files.names() if name not in (UNFINISHED, WRITER)}
    )


def written_journal(
    directory: Path, leaves: Sequence[bytes], checkpoint: Checkpoint | None = None
) -> FilesInMemory:
    """Write a replica and give its files; by default all of it is agreed."""
    replica = Replica(directory, disk=FastDisk())
    replica.append(leaves)
    replica.write_checkpoint((checkpoint or signed_checkpoint(leaves)).note)
    replica.close()
    return files_of(directory)


def request_data(**changes: Json) -> dict[str, Json]:
    """Give the data of an accepted request."""
    request: dict[str, Json] = {
        "document": "{}",
        "signature": "-----BEGIN SSH SIGNATURE-----",
        "principal": "oncall@example",
        "namespace": "sisamu-request",
    }
    return {"request": request | changes}
