"""The fence helpers of all targets: each question one command on a fresh connection."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from sisamu_ops.doors.ssh.session import AT_ONCE, TROUBLE, check_files, open_session, reason_of
from sisamu_ops.failover.reading import Reading
from sisamu_ops.model.errors import SisamuError, UnknownOutcomeError
from sisamu_ops.model.platform import Target
from sisamu_ops.model.token import Token

COMMAND_TIMEOUT_S = 8.0


class SshTargets:
    """The fence helpers of all targets, each call one command on a fresh connection."""

    def __init__(self, targets: Mapping[str, Target], *, key: Path, known_hosts: Path) -> None:
        """Reach `targets` with the private key `key`, checking hosts against `known_hosts`."""
        check_files(key, known_hosts)
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
        with ThreadPoolExecutor(max_workers=min(AT_ONCE, len(chosen))) as pool:
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
            with open_session(target.address, target.user, self._key, self._known_hosts) as client:
                stdin, stdout, stderr = client.exec_command(command, timeout=COMMAND_TIMEOUT_S)
                stdin.write(json.dumps(question).encode())
                stdin.channel.shutdown_write()
                output = stdout.read()
                problem = stderr.read().decode(errors="replace").strip()
            answer = json.loads(output)
        except TROUBLE as error:
            raise UnknownOutcomeError(f"{target.host}: {reason_of(error)}") from error
        except ValueError as error:
            raise UnknownOutcomeError(f"{target.host}: no answer from its fence") from error
        if not isinstance(answer, dict):
            raise UnknownOutcomeError(f"{target.host}: {problem or 'no answer from its fence'}")
        return answer


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
        record=answer.get("outcome") or {}, directory_at=_instant(answer.get("directory_at")),
    )  # fmt: skip


def _words(value: Any) -> Mapping[str, str] | None:
    return None if value is None else {str(key): str(word) for key, word in value.items()}


def _instant(value: Any) -> int | None:
    # An older helper does not tell it, and one that tells it otherwise still tells the rest.
    return value if type(value) is int else None
