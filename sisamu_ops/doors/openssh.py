"""Operators' SSHSIG signatures by `ssh-keygen -Y`, agents and hardware keys included."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from sisamu_ops.model.errors import ConfigurationError, DiskError, RefusedError

_TIMEOUT_S = 60  # a hardware key waits for a touch


def _run(arguments: list[str], data: bytes) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            ["ssh-keygen", *arguments], input=data, capture_output=True, timeout=_TIMEOUT_S,
            check=False,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise ConfigurationError(
            "ssh-keygen is not installed", remedy="apt-get install openssh-client"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise RefusedError(
            "the key gave no signature within a minute", remedy="touch the key, then try again"
        ) from error


@contextmanager
def _temporary(text: str) -> Iterator[Path]:
    """Hold a text in a file for a program to read; DiskError when it cannot be written."""
    with ExitStack() as stack:
        try:
            file = stack.enter_context(tempfile.NamedTemporaryFile(mode="w", prefix="sisamu-"))
            file.write(text)
            file.flush()
        except OSError as error:
            raise DiskError(error) from error
        yield Path(file.name)


def sign(document: bytes, key: Path, namespace: str) -> str:
    """Sign with a private key (or the public half of one held by an agent)."""
    if not key.is_file():
        raise ConfigurationError(
            "no such key", place=str(key), remedy="name your SSH key with --identity"
        )
    # -q silences the greeting; without it nothing is asked of a key with no passphrase.
    done = _run(["-q", "-Y", "sign", "-f", str(key), "-n", namespace], document)
    if done.returncode != 0:
        problem = done.stderr.decode(errors="replace").strip().splitlines()
        raise ConfigurationError(
            problem[-1] if problem else "the key did not sign",
            place=str(key),
            remedy="use an SSH private key you may read; load it with ssh-add if it is locked",
        )
    return done.stdout.decode()


def verify(
    document: bytes,
    signature: str,
    principal: str,
    namespace: str,
    allowed_signers: Path,
    moment: datetime | None = None,
) -> bool:
    """Say whether `principal`, as `allowed_signers` has it, signed the document.

    Keys limited by `valid-after` and `valid-before` (ssh-keygen(1), ALLOWED SIGNERS) count as at
    `moment`, by default now.
    """
    if not 0 < len(principal) <= 256 or "\0" in principal or not allowed_signers.is_file():
        return False  # nobody's name; and an argument of a program holds no NUL
    with _temporary(signature) as file:
        arguments = ["-Y", "verify", "-f", str(allowed_signers), "-I", principal]
        if moment is not None:
            arguments += ["-O", f"verify-time={moment.astimezone(UTC):%Y%m%d%H%M%S}Z"]
        done = _run([*arguments, "-n", namespace, "-s", str(file)], document)
    return done.returncode == 0


def verify_with_text(
    document: bytes,
    signature: str,
    principal: str,
    namespace: str,
    allowed_signers: str,
    moment: datetime,
) -> bool:
    """Verify against the text of an allowed_signers file, as it stood at `moment`."""
    with _temporary(allowed_signers) as file:
        return verify(document, signature, principal, namespace, file, moment)


def find_principal(document: bytes, signature: str, allowed_signers: Path) -> str:
    """Return the principal whose key made the signature, or an empty string."""
    if not allowed_signers.is_file():
        return ""
    with _temporary(signature) as file:
        arguments = ["-Y", "find-principals", "-s", str(file), "-f", str(allowed_signers)]
        done = _run(arguments, document)
    lines = done.stdout.decode(errors="replace").split()
    return lines[0] if done.returncode == 0 and lines else ""
