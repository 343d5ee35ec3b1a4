"""Artifacts: what is too large for an entry, kept beside the replica under its SHA-256."""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path

from sisamu_ops.journal.durable import Disk, make_directories_durably, write_durably

DIRECTORY = "artifacts"
_NAME = re.compile(r"artifacts/([0-9a-f]{64})")


def artifact_name(content: bytes) -> str:
    """Return the path of an artifact below a replica's directory."""
    return f"{DIRECTORY}/{sha256(content).hexdigest()}"


def artifact_digest(name: str) -> str | None:
    """Return the digest a path promises, None when it is no artifact's."""
    match = _NAME.fullmatch(name)
    return match.group(1) if match else None


def keep_artifact(replica: Path, content: bytes) -> None:
    """Write an artifact beside a replica, durably; one that is there already stays."""
    path = replica / artifact_name(content)
    if not path.is_file() or path.read_bytes() != content:
        make_directories_durably(path.parent, disk=Disk())
        write_durably(path, content, disk=Disk())
