"""Files of a site: written whole, read one by one, copied; over SFTP or a shell."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import paramiko

from sisamu_ops.doors.ssh.session import TROUBLE, open_session, reason_of
from sisamu_ops.doors.ssh.targets import COMMAND_TIMEOUT_S
from sisamu_ops.model.errors import UnknownOutcomeError


def put_file(
    address: str, user: str, path: str, content: bytes, *, key: Path, known_hosts: Path
) -> None:
    """Write a whole file, durable when this returns; UnknownOutcomeError when that is not known."""
    final, unfinished = shlex.quote(path), shlex.quote(path + ".unfinished")
    parent = shlex.quote(str(Path(path).parent))
    command = (
        f"mkdir -p {parent} && cat > {unfinished} && sync {unfinished} "
        f"&& mv {unfinished} {final} && sync {parent} && sha256sum < {final}"
    )
    try:
        with open_session(address, user, key, known_hosts) as client:
            stdin, stdout, _ = client.exec_command(command, timeout=COMMAND_TIMEOUT_S)
            stdin.write(content)
            stdin.channel.shutdown_write()
            said = stdout.read().decode(errors="replace")
    except TROUBLE as error:
        raise UnknownOutcomeError(f"{address}: {reason_of(error)}") from error
    if said.split()[:1] != [sha256(content).hexdigest()]:
        raise UnknownOutcomeError(f"{address}: {path} could not be written")


class SftpFiles:
    """The files of a directory over one SFTP session; see `open_files`."""

    def __init__(self, sftp: paramiko.SFTPClient, root: str) -> None:
        """Read below `root`."""
        self._sftp = sftp
        self._root = root

    def names(self) -> list[str]:
        """Give every file below the directory, hidden ones left out."""
        return sorted(self._below(""))

    def _below(self, prefix: str) -> Iterator[str]:
        try:
            items = self._sftp.listdir_attr(f"{self._root}/{prefix}")
        except FileNotFoundError:  # the writer has just removed a directory of old partial tiles
            return
        for item in items:
            name = prefix + item.filename
            if (item.st_mode or 0) & 0o040000:
                yield from self._below(name + "/")
            elif not item.filename.startswith("."):
                yield name

    def read(self, name: str) -> bytes:
        """Give the content of a file; raises OSError."""
        with self._sftp.open(f"{self._root}/{name}") as file:
            file.prefetch()
            return bytes(file.read())


@contextmanager
def open_files(
    address: str, user: str, directory: str, *, key: Path, known_hosts: Path
) -> Iterator[SftpFiles]:
    """Read the files of a directory over SFTP; UnknownOutcomeError when the site does not answer.

    A file missing meanwhile is a FileNotFoundError, for whoever reads to judge.
    """
    try:
        with open_session(address, user, key, known_hosts) as client, client.open_sftp() as sftp:
            yield SftpFiles(sftp, directory)
    except FileNotFoundError:
        raise
    except TROUBLE as error:
        raise UnknownOutcomeError(f"{address}: {reason_of(error)}") from error


def fetch_directory(
    address: str, user: str, source: str, destination: Path, *, key: Path, known_hosts: Path
) -> None:
    """Copy a directory over SFTP; UnknownOutcomeError when the site does not answer."""
    try:
        with open_session(address, user, key, known_hosts) as client, client.open_sftp() as sftp:
            _fetch(sftp, source, destination)
    except TROUBLE as error:
        raise UnknownOutcomeError(f"{address}: {reason_of(error)}") from error


def _fetch(sftp: paramiko.SFTPClient, source: str, destination: Path) -> None:
    destination.mkdir(parents=True, exist_ok=True)
    for item in sftp.listdir_attr(source):
        name = f"{source}/{item.filename}"
        if (item.st_mode or 0) & 0o040000:
            _fetch(sftp, name, destination / item.filename)
        elif not item.filename.startswith("."):
            sftp.get(name, str(destination / item.filename))
