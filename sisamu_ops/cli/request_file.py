"""Signed requests as files: written by `--out`, looked at, approved, carried elsewhere."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from sisamu_ops.model.errors import ConfigurationError

if TYPE_CHECKING:
    from sisamu_ops.app import App
    from sisamu_ops.failover.request import Envelope

#: Far beyond any envelope: a file of another kind is not read whole.
_MAX_BYTES = 1 << 20


def read_envelope(app: App, path: Path) -> Envelope:
    """Read a signed request and say who signed it; ConfigurationError when it is none."""
    from sisamu_ops.failover.request import open_envelope

    try:
        with path.open("rb") as file:
            payload = file.read(_MAX_BYTES)
    except OSError as error:
        raise ConfigurationError(
            f"the request cannot be read ({error.strerror})",
            place=str(path),
            remedy="name a file that --out has written",
        ) from error
    try:
        return app.signing.named(open_envelope(payload))
    except ConfigurationError as error:
        raise ConfigurationError(
            error.message, place=str(path), remedy="name a file that --out has written"
        ) from error


def write_envelope(path: Path, envelope: Envelope, *, over: bool = False) -> None:
    """Write a signed request whole or not at all; one that is there stays, unless `over`."""
    temporary = path.with_name(f".{path.name}.new")
    try:
        if not over and path.exists():
            raise FileExistsError(17, "File exists")
        with temporary.open("wb") as file:
            file.write(envelope.payload())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise ConfigurationError(
            f"the request cannot be written ({error.strerror})",
            place=str(path),
            remedy="name a new file in a directory you may write to, with --out",
        ) from error
