"""SSH to the targets' fences and to the sites' replicas, by paramiko; host keys always checked."""

from __future__ import annotations

import json
import logging
import shlex
import socket
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import paramiko

from sisamu_ops.failover.reading import Reading
from sisamu_ops.model.errors import (
    ConfigurationError,
    SisamuError,
    UnknownOutcomeError,
    said_of,
)
from sisamu_ops.model.platform import Target
from sisamu_ops.model.token import Token

CONNECT_TIMEOUT_S = 2.0
COMMAND_TIMEOUT_S = 8.0
_AT_ONCE = 16


@contextmanager
def _session(address: str, user: str, key: Path, known_hosts: Path) -> Iterator[paramiko.SSHClient]:
    # Its own account of a failed connection is a traceback; ours is the error raised.
    logging.getLogger("paramiko").setLevel(logging.CRITICAL)
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    try:
        client.load_host_keys(str(known_hosts))
        client.connect(
            address, sock=_dial(address), username=user, key_filename=str(key),
            allow_agent=False, look_for_keys=False, timeout=CONNECT_TIMEOUT_S,
            banner_timeout=CONNECT_TIMEOUT_S, auth_timeout=CONNECT_TIMEOUT_S,
        )  # fmt: skip
        yield client
    finally:
        client.close()


def _dial(address: str) -> socket.socket:
    link = socket.create_connection((address, 22), CONNECT_TIMEOUT_S)
    # Small packets, each waited for: held back until the last is acknowledged, each costs 40 ms.
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return link


class SshTargets:
    """The fence helpers of all targets, each call one command on a fresh connection."""

    def __init__(self, targets: Mapping[str, Target], *, key: Path, known_hosts: Path) -> None:
        """Reach `targets` with the private key `key`, checking hosts against `known_hosts`."""
        for path, what in ((key, "SSH key"), (known_hosts, "known hosts file")):
            if not path.is_file():
                raise ConfigurationError(
                    f"the {what} is missing",
                    place=str(path),
                    remedy="set sisamu_identity and sisamu_known_hosts, or start the lab",
                )
        self._targets = targets
        self._key = key
        self._known_hosts = known_hosts

    def read(self, hosts: Collection[str]) -> Mapping[str, Reading]:
        """Read values and fence of every host at the same time."""
        return self._each(hosts, lambda host: self._ask(host, "read", {}))

    def seal(self, hosts: Collection[str], token: Token) -> Mapping[str, Reading]:
        """Show the token to every fence, and read."""
        question = {"token": token.to_json()}
        return self._each(hosts, lambda host: self._ask(host, "seal", question))

    def enrol(self, tokens: Mapping[str, Token]) -> Mapping[str, Reading]:
        """Give each target its fence file."""
        return self._each(
            tokens, lambda host: self._ask(host, "enrol", {"token": tokens[host].to_json()})
        )

    def _each(self, hosts: Collection[str], ask: Callable[[str], Reading]) -> Mapping[str, Reading]:
        chosen = sorted(set(hosts))
        if not chosen:
            return {}
        with ThreadPoolExecutor(max_workers=min(_AT_ONCE, len(chosen))) as pool:
            return dict(zip(chosen, pool.map(ask, chosen), strict=True))

    def _ask(self, host: str, verb: str, question: Mapping[str, Any]) -> Reading:
        try:
            answer = self._call(self._targets[host], verb, question)
        except SisamuError as error:
            return Reading(host=host, reachable=False, problem=error.message)
        return _reading(host, verb, answer)

    def _call(self, target: Target, verb: str, question: Mapping[str, Any]) -> Mapping[str, Any]:
        command = shlex.join([*target.fence_command, "--dir", target.fence_dir, verb])
        try:
            with _session(target.address, target.user, self._key, self._known_hosts) as client:
                stdin, stdout, stderr = client.exec_command(command, timeout=COMMAND_TIMEOUT_S)
                stdin.write(json.dumps(question).encode())
                stdin.channel.shutdown_write()
                output = stdout.read()
                problem = stderr.read().decode(errors="replace").strip()
            answer = json.loads(output)
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise UnknownOutcomeError(f"{target.host}: {_reason(error)}") from error
        except ValueError as error:
            raise UnknownOutcomeError(f"{target.host}: no answer from its fence") from error
        if not isinstance(answer, dict):
            raise UnknownOutcomeError(f"{target.host}: {problem or 'no answer from its fence'}")
        return answer


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer over SSH in time"
    text = said_of(error) if isinstance(error, OSError) else str(error)
    return (text or type(error).__name__).splitlines()[0]


def _reading(host: str, verb: str, answer: Mapping[str, Any]) -> Reading:
    """Translate a fence helper's answer; one of another shape reads as nothing."""
    try:
        return _translated(host, verb, answer)
    except (KeyError, TypeError, ValueError, AttributeError):
        return Reading(host=host, reachable=True, problem="its fence answered something else")


def _translated(host: str, verb: str, answer: Mapping[str, Any]) -> Reading:
    last = answer.get("last")
    problem = str(answer.get("error") or answer.get("reason") or "")
    return Reading(
        host=host, reachable=True, problem=problem,
        enrolled=bool(answer.get("enrolled", answer.get("accepted", False))),
        last=Token(last["epoch"], last["index"]) if last else None,
        values=_words(answer.get("values")), durable=_words(answer.get("durable")),
        sealed=verb == "seal" and bool(answer.get("accepted")),
        record=answer.get("outcome") or {},
    )  # fmt: skip


def _words(value: Any) -> Mapping[str, str] | None:
    return None if value is None else {str(key): str(word) for key, word in value.items()}


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
        with _session(address, user, key, known_hosts) as client:
            stdin, stdout, _ = client.exec_command(command, timeout=COMMAND_TIMEOUT_S)
            stdin.write(content)
            stdin.channel.shutdown_write()
            said = stdout.read().decode(errors="replace")
    except (paramiko.SSHException, OSError, EOFError) as error:
        raise UnknownOutcomeError(f"{address}: {_reason(error)}") from error
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
        with _session(address, user, key, known_hosts) as client, client.open_sftp() as sftp:
            yield SftpFiles(sftp, directory)
    except FileNotFoundError:
        raise
    except (paramiko.SSHException, OSError, EOFError) as error:
        raise UnknownOutcomeError(f"{address}: {_reason(error)}") from error


def fetch_directory(
    address: str, user: str, source: str, destination: Path, *, key: Path, known_hosts: Path
) -> None:
    """Copy a directory over SFTP; UnknownOutcomeError when the site does not answer."""
    try:
        with _session(address, user, key, known_hosts) as client, client.open_sftp() as sftp:
            _fetch(sftp, source, destination)
    except (paramiko.SSHException, OSError, EOFError) as error:
        raise UnknownOutcomeError(f"{address}: {_reason(error)}") from error


def _fetch(sftp: paramiko.SFTPClient, source: str, destination: Path) -> None:
    destination.mkdir(parents=True, exist_ok=True)
    for item in sftp.listdir_attr(source):
        name = f"{source}/{item.filename}"
        if (item.st_mode or 0) & 0o040000:
            _fetch(sftp, name, destination / item.filename)
        elif not item.filename.startswith("."):
            sftp.get(name, str(destination / item.filename))
