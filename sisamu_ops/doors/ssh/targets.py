"""The fences of the targets: each is asked by one command over SSH."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from sisamu_ops.doors.ssh.connection import BROKEN, Ahead, ask, connect, reason
from sisamu_ops.failover.reading import Reading
from sisamu_ops.model.errors import ConfigurationError, SisamuError, UnknownOutcomeError
from sisamu_ops.model.platform import Target
from sisamu_ops.model.token import Token

_AT_ONCE = 16


class SshTargets:
    """The fence helpers of all targets, each call one command on a connection of its own."""

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
        self._ahead = Ahead(
            lambda host: connect(
                targets[host].address, targets[host].user, key=key, known_hosts=known_hosts
            )
        )

    def prepare(self, hosts: Collection[str]) -> None:
        """Connect to these ahead of their use, in the background; let go of the others."""
        self._ahead.want([host for host in hosts if host in self._targets])

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
            with self._ahead.channel(target.host) as channel:
                output, problem = ask(channel, command, json.dumps(question).encode())
            answer = json.loads(output)
        except BROKEN as error:
            raise UnknownOutcomeError(f"{target.host}: {reason(error)}") from error
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
        record=answer.get("outcome") or {},
    )  # fmt: skip


def _words(value: Any) -> Mapping[str, str] | None:
    return None if value is None else {str(key): str(word) for key, word in value.items()}
