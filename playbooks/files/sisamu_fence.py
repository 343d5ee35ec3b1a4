#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The fence of one target: the last thing between a stale leader and an emergency call.

    sisamu-fence --dir DIR VERB < request.json > answer.json

Every change of a target goes through `apply`, under one lock, in this order: refuse a token
below the last one; persist the token; write the durable list; set the running Kamailio; read
both back; persist the outcome. A crash at any point leaves either nothing changed, or a token
that refuses everything older and lets the same request be sent again.

Only the standard library, for any Python from 3.9 on: a target has nothing of ours installed.

DIR holds:
    fence.json      the configuration: table, values, durable, kamcmd; of a gateway also directory,
                    the telephone directory its desk phones use
    fence.state     the last token and the record of the last apply; born by `enrol` only
    accepted.jsonl  every accepted token and every outcome, appended, for whoever checks later
    refused.jsonl   every refusal, with the token shown: evidence only, nothing is read from it
    lock            the flock every verb but `read` takes

Both records are bounded: beyond 4 MiB one is put aside as NAME.1, over the one put aside before,
and the highest token is carried into the new one.

Exit 0 with an answer (a refusal is an answer), 2 with `{"error": …}`.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

KEY = re.compile(r"[0-9][0-9AB]{2}")
WORD = re.compile(r"[A-Za-z0-9_-]+")
KAMCMD_TIMEOUT_S = 3
ROTATE_BYTES = 4 << 20  # some ten thousand changes
REMEDY_ENROL = "sisamu target enrol HOST"
REMEDY_CORRUPT = (
    "look at fence.state and accepted.jsonl on the target, then enrol it with a token above "
    "every one in accepted.jsonl: " + REMEDY_ENROL
)

Json = dict[str, Any]


class UsageError(Exception):
    """The request or the configuration is wrong; nothing was changed."""


class CorruptState(Exception):  # noqa: N818 (a finding about a file, not a failure of ours)
    """fence.state is not what was written: whatever it says cannot be relied upon."""


@dataclass(frozen=True, order=True)
class Token:
    """Leadership epoch, then journal index of the step: compared in that order."""

    epoch: int
    index: int

    def json(self) -> Json:
        """Return the token as it is written and answered."""
        return {"epoch": self.epoch, "index": self.index}


class State(NamedTuple):
    """The last accepted token, and the record of the last apply (None before the first)."""

    last: Token
    record: Json | None


class Config(NamedTuple):
    """What this fence guards: one htable, its allowed values, its db_text file, its kamcmd.

    `directory` is a file whose age is told, never changed.
    """

    table: str
    values: list[str]
    durable: Path
    kamcmd: list[str]
    directory: Path | None = None


# --- The verbs -----------------------------------------------------------------------------


def enrol(directory: Path, request: Json) -> Json:
    """Give this target a fence, starting from `token`; refused below any token it knows.

    A corrupt state is set aside, never overwritten, and only for a token above all those in
    accepted.jsonl. So is a lost one: a deleted file must not reopen the door to the past.
    """
    token = parse_token(request.get("token"))
    load_config(directory)
    with locked(directory):
        try:
            state = load_state(directory)
        except CorruptState as error:
            if token <= highest_recorded(directory):
                refusal = {**refused_corrupt(error), "enrolled": False}
                return on_record(directory, "enrol", token, refusal)
            set_aside(directory)
            state = None
        if state is None and token <= highest_recorded(directory):
            return on_record(directory, "enrol", token, too_old(highest_recorded(directory)))
        if state is not None and token < state.last:
            return on_record(directory, "enrol", token, too_old(state.last))
        persist(directory, State(token, state.record if state else None), "enrol")
        return {"enrolled": True, "last": token.json()}


def seal(directory: Path, request: Json) -> Json:
    """Refuse from now on every token below `token`, then say what the target holds."""
    token = parse_token(request.get("token"))
    config = load_config(directory)
    with locked(directory) as lock:
        state, refusal = admit(directory, token)
        if state is None:
            return on_record(directory, "seal", token, refusal)
        persist(directory, State(token, state.record), "seal")
        answer = {"accepted": True, "last": token.json(), "outcome": state.record}
        return {**answer, **readings(config, lock), "directory_at": directory_at(config)}


def read(directory: Path, request: Json) -> Json:
    """Say what the target holds and what the fence last accepted; changes nothing."""
    del request
    answer: Json = {"enrolled": False, "last": None, "outcome": None}
    try:
        state = load_state(directory)
        if state is not None:
            answer = {"enrolled": True, "last": state.last.json(), "outcome": state.record}
    except CorruptState as error:
        answer.update(reason="corrupt-state", detail=str(error), remedy=REMEDY_CORRUPT)
    config = load_config(directory)
    return {**answer, **readings(config, None), "directory_at": directory_at(config)}


def apply(directory: Path, request: Json) -> Json:
    """Make `change` ({samu_id: value}) true on this target, once per token.

    The outcome is `done` when the durable list and the running Kamailio both show the change,
    `failed` when both were read and neither moved, `unknown` otherwise.
    """
    token = parse_token(request.get("token"))
    config = load_config(directory)
    change = parse_change(request.get("change"), config)
    with locked(directory) as lock:
        state, refusal = admit(directory, token)
        if state is None:
            return on_record(directory, "apply", token, refusal)
        record = state.record
        if record is not None and record["token"] == token.json():
            if record["change"] != change:
                refusal = {"accepted": False, "reason": "other-content", "last": token.json()}
                return on_record(directory, "apply", token, refusal)
            if record["finished"]:
                return applied(record, repeated=True)
        record = {"token": token.json(), "change": change, "finished": False}
        record.update(outcome="unknown", changed=True, detail="begun, no outcome recorded")
        persist(directory, State(token, record), "apply")
        record = {**record, **carry_out(config, change, lock), "finished": True}
        persist(directory, State(token, record), "outcome")
        return applied(record, repeated=False)


VERBS = {"enrol": enrol, "seal": seal, "read": read, "apply": apply}


def admit(directory: Path, token: Token) -> tuple[State | None, Json]:
    """Judge a token: the state it may act on, or the refusal to answer."""
    try:
        state = load_state(directory)
    except CorruptState as error:
        return None, refused_corrupt(error)
    if state is None:
        reason = {"reason": "not-enrolled", "remedy": REMEDY_ENROL}
        return None, {"accepted": False, "last": None, **reason}
    if token < state.last:
        return None, {"accepted": False, "reason": "older-token", "last": state.last.json()}
    return state, {}


def too_old(last: Token) -> Json:
    """Build the refusal of an enrolment under a token below one that is known."""
    return {"enrolled": False, "reason": "older-token", "last": last.json()}


def refused_corrupt(error: CorruptState) -> Json:
    """Build the refusal of a target whose state cannot be relied upon."""
    refusal = {"accepted": False, "reason": "corrupt-state", "last": None}
    return {**refusal, "detail": str(error), "remedy": REMEDY_CORRUPT}


def applied(record: Json, repeated: bool) -> Json:
    """Build the answer of an accepted apply out of its record."""
    shown = ("outcome", "changed", "before", "values", "durable", "detail")
    return {"accepted": True, "repeated": repeated, **{name: record[name] for name in shown}}


# --- Changing the target and reading it back -------------------------------------------------


def carry_out(config: Config, change: Json, lock: int) -> Json:
    """Write the durable list, then the running Kamailio; judge by what is read back."""
    before, problems = readings(config, lock), []
    try:
        write_durable(config.durable, change)
        # A Kamailio that does not answer a read is sent nothing: a request left waiting in its
        # socket could be carried out much later, behind the back of a newer token.
        if before["values"] is not None:
            problems = set_running(config, change, lock)
    except (OSError, ValueError) as error:
        problems = [f"durable list not written: {error}"]
    after = readings(config, lock)
    return {
        "outcome": judge(change, before, after),
        "changed": before != after,
        "before": before["values"],
        **after,
        "detail": "; ".join(problems + shortfalls(change, after)),
    }


def judge(change: Json, before: Json, after: Json) -> str:
    """Name the outcome from the two readings; what could not be read is never rounded up."""
    if after["values"] is None or after["durable"] is None:
        return "unknown"
    if all(shows(after[place], change) for place in ("values", "durable")):
        return "done"
    return "failed" if before == after else "unknown"


def shows(values: Json, change: Json) -> bool:
    """Whether a reading shows the whole change."""
    return all(values.get(key) == value for key, value in change.items())


def shortfalls(change: Json, after: Json) -> list[str]:
    """Say of each place what stands between it and `done`."""
    places = (("values", "the running Kamailio"), ("durable", "the durable list"))
    unread = [f"{name} cannot be read" for place, name in places if after[place] is None]
    read = [(after[place], name) for place, name in places if after[place] is not None]
    return unread + [
        f"{name} does not show it" for values, name in read if not shows(values, change)
    ]


def readings(config: Config, lock: int | None) -> Json:
    """Read the running Kamailio and the durable list; None for what cannot be read."""
    try:
        durable = read_durable(config.durable)
    except (OSError, ValueError):
        durable = None
    return {"values": running_values(config, lock), "durable": durable}


def directory_at(config: Config) -> int | None:
    """Say when the telephone directory was last synchronised: milliseconds since 1970, or None."""
    with contextlib.suppress(OSError):
        if config.directory is not None:
            return config.directory.stat().st_mtime_ns // 1_000_000
    return None


def running_values(config: Config, lock: int | None) -> Json | None:
    """Read the whole htable out of the running Kamailio."""
    reply = kamcmd(config, ["htable.dump", config.table], lock)
    if reply is None or reply.startswith("error"):
        return None
    return dict(re.findall(r"^\s*name: (.*)\n\s*value: (.*)$", reply, re.MULTILINE))


def set_running(config: Config, change: Json, lock: int) -> list[str]:
    """Set every key of the change; return what Kamailio objected to."""
    problems: list[str] = []
    for key, value in change.items():
        # `s:` because kamcmd would send 300 as a number, which names no key.
        reply = kamcmd(config, ["htable.sets", config.table, f"s:{key}", f"s:{value}"], lock)
        if reply is None:
            return [*problems, f"kamcmd failed at {key}"]
        if reply.startswith("error"):
            problems.append(f"{key}: {reply.strip()}")
    return problems


def kamcmd(config: Config, arguments: list[str], lock: int | None) -> str | None:
    """Run one kamcmd for at most 3 s and return what it printed, None when it failed.

    It inherits the lock: when this process is killed under it, the lock stays taken until the
    orphan has ended, so its write cannot land after a newer token's. coreutils' `timeout`
    bounds it, because an orphan has nobody else to end it.
    """
    bound = ["timeout", "-s", "KILL", str(KAMCMD_TIMEOUT_S)]
    try:
        run = subprocess.run(
            [*bound, *config.kamcmd, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            pass_fds=[] if lock is None else [lock],
        )
    except OSError:
        return None
    return run.stdout if run.returncode == 0 else None  # kamcmd exits 0 on an `error:` reply


# --- The durable list: a db_text table -------------------------------------------------------
# https://www.kamailio.org/docs/modules/5.6.x/modules/db_text.html: a line of `name(type)`
# columns, then rows of fields separated by `:`, with a backslash before what is not literal.

FIELD = re.compile(r"(?:\\.|[^\\:])*")
COLUMNS = ("id", "key_name", "key_type", "value_type", "key_value", "expires")
ESCAPES = {"\\": "\\\\", ":": "\\:", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\0": "\\0"}
PLAIN = {"n": "\n", "r": "\r", "t": "\t", "0": "\0"}


class Table:
    """An htable's db_text table; fields are kept as they are written, escaped."""

    def __init__(self, text: str) -> None:
        """Split the text; raises ValueError when it is not such a table."""
        lines = [line for line in text.split("\n") if line.strip()] or [""]
        self.header = lines[0]
        self.columns = [column.split("(")[0] for column in self.header.split()]
        if not set(COLUMNS) <= set(self.columns):
            raise ValueError(f"the header must name the columns {', '.join(COLUMNS)}")
        self.rows = [self.parse(line) for line in lines[1:]]

    def parse(self, line: str) -> dict[str, str]:
        """Split one row at the colons that no backslash precedes."""
        fields, position = [], 0
        while position <= len(line):
            fields.append(FIELD.match(line, position).group())  # type: ignore[union-attr]
            position += len(fields[-1]) + 1
        if len(fields) != len(self.columns):
            raise ValueError(f"a row has {len(fields)} fields, the header {len(self.columns)}")
        return dict(zip(self.columns, fields))  # noqa: B905 (Python 3.9)

    def values(self) -> Json:
        """Return {key: value}, as an htable loads it: of two rows the later one holds."""
        return {row["key_name"]: unescape(row["key_value"]) for row in self.rows if plain(row)}

    def put(self, key: str, value: str) -> None:
        """Give a key a string value that does not expire: a mode must not vanish by itself."""
        rows = [row for row in self.rows if plain(row) and row["key_name"] == key]
        for row in rows or [self.add(key)]:
            row.update(key_value=escape(value), value_type="0", expires="0")

    def add(self, key: str) -> dict[str, str]:
        """Add a row for a key the table has not held so far."""
        used = [int(row["id"]) for row in self.rows if row["id"].isdigit()]
        row = {**dict.fromkeys(self.columns, ""), "key_name": key, "key_type": "0"}
        row["id"] = str(max(used, default=0) + 1)
        self.rows.append(row)
        return row

    def text(self) -> str:
        """Write the table out again."""
        rows = [":".join(row[column] for column in self.columns) for row in self.rows]
        return "".join(line + "\n" for line in [self.header, *rows])


def plain(row: dict[str, str]) -> bool:
    """Whether a row is a plain key, not an element of an array (key_type 1)."""
    return row["key_type"] in ("0", "")


def read_durable(path: Path) -> Json:
    """Read the durable list; raises OSError or ValueError."""
    return Table(path.read_bytes().decode()).values()


def write_durable(path: Path, change: Json) -> None:
    """Put the change into the durable list; every other row stays as it was written."""
    table = Table(path.read_bytes().decode())
    for key, value in change.items():
        table.put(key, value)
    replace(path, table.text().encode())


def escape(text: str) -> str:
    """Write a field so that db_text reads the same text back."""
    return "".join(ESCAPES.get(character, character) for character in text)


def unescape(field: str) -> str:
    """Read a field the way db_text does."""
    return re.sub(r"\\(.)", lambda found: PLAIN.get(found.group(1), found.group(1)), field)


# --- What must survive a crash ---------------------------------------------------------------


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[int]:
    """Hold the fence's lock: of two requests one is judged after the other has its outcome."""
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def persist(directory: Path, state: State, why: str) -> None:
    """Make a state last, then append the fact to accepted.jsonl.

    In this order, and both before any effect: what the record shows as accepted, the state
    already refuses to go below. The times are those of before: nothing was accepted earlier.
    """
    line: Json = {**now(), "what": why, "token": state.last.json()}
    body = {"last": state.last.json(), "record": state.record}
    document = json.dumps({"state": body, "sha256": digest(body)}, sort_keys=True)
    replace(directory / "fence.state", document.encode())
    path = directory / "accepted.jsonl"
    if why in ("apply", "outcome"):
        line["record"] = state.record
    rotate(path, {**now(), "what": "carried", "token": state.last.json()})
    append(path, json.dumps(line, sort_keys=True))


def on_record(directory: Path, verb: str, token: Token, refusal: Json) -> Json:
    """Note a refusal and return it; the note may be missing, the refusal never is."""
    path = directory / "refused.jsonl"
    # `shown`, not `token`: what was refused must never count among what was accepted.
    line = {**now(), "what": verb, "shown": token.json()}
    line.update(reason=refusal["reason"], last=refusal["last"])
    with contextlib.suppress(OSError):
        rotate(path, {**now(), "what": "carried"})
        append(path, json.dumps(line, sort_keys=True))
    return refusal


def now() -> Json:
    """Say the time twice: for people, and on CLOCK_BOOTTIME, which nobody sets."""
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {"at": at, "boot_ns": time.clock_gettime_ns(time.CLOCK_BOOTTIME)}


def rotate(path: Path, first: Json) -> None:
    """Put a full record aside; `first` opens the new one, so that its token is never forgotten.

    A crash in between leaves the full one aside, where its tokens are read as well.
    """
    if path.exists() and path.stat().st_size >= ROTATE_BYTES:
        os.replace(path, path.with_name(f"{path.name}.1"))  # noqa: PTH105
        append(path, json.dumps(first, sort_keys=True))


def load_state(directory: Path) -> State | None:
    """Read fence.state; None when there is none. Raises CorruptState."""
    try:
        text = (directory / "fence.state").read_bytes()
    except FileNotFoundError:
        return None
    try:
        document = json.loads(text)
        body = document["state"]
        if document["sha256"] != digest(body):
            raise CorruptState("the digest of fence.state does not match its content")
        return State(parse_token(body["last"]), body["record"])
    except (ValueError, KeyError, TypeError, UsageError) as error:
        raise CorruptState(f"fence.state cannot be read: {error!r}") from error


def digest(body: Json) -> str:
    """Digest a state, so that a flipped bit is not taken for an older token."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def set_aside(directory: Path) -> None:
    """Keep a corrupt state under another name, for whoever finds out why."""
    aside = directory / f"fence.state.corrupt-{time.time_ns()}"
    os.rename(directory / "fence.state", aside)  # noqa: PTH104
    sync_directory(directory)


def highest_recorded(directory: Path) -> Token:
    """Return the highest token of accepted.jsonl, (-1, -1) when it shows none.

    A line torn by a power cut is passed over: it was being written before any effect.
    """
    highest = Token(-1, -1)
    for name in ("accepted.jsonl.1", "accepted.jsonl"):
        with contextlib.suppress(FileNotFoundError):
            for line in (directory / name).read_bytes().splitlines():
                with contextlib.suppress(ValueError, KeyError, TypeError, UsageError):
                    highest = max(highest, parse_token(json.loads(line)["token"]))
    return highest


def replace(path: Path, content: bytes) -> None:
    """Replace a file so that after a crash it is wholly the old one or wholly the new one."""
    temporary = path.with_name(f".{path.name}.new")
    with temporary.open("wb") as file:
        file.write(content)
        if path.exists():  # Kamailio may run as another user than the fence
            old = path.stat()
            os.fchown(file.fileno(), old.st_uid, old.st_gid)
            os.fchmod(file.fileno(), old.st_mode & 0o7777)
        file.flush()
        os.fsync(file.fileno())  # the bytes are on disk before the name points at them
    os.replace(temporary, path)  # noqa: PTH105 (same call, one name fewer)
    sync_directory(path.parent)


def append(path: Path, line: str) -> None:
    """Append one line that is on disk on return, whole even behind a torn one."""
    with path.open("ab+") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")
        file.write(line.encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())  # the record is on disk before the effect it announces
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Make names last: a rename that only memory knows is undone by a power cut."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# --- Reading what was asked ------------------------------------------------------------------


def parse_token(value: Any) -> Token:
    """Read a token; raises UsageError for anything but two integers from 0 on."""
    if not isinstance(value, dict) or set(value) != {"epoch", "index"}:
        raise UsageError('the token must be {"epoch": E, "index": I}')
    numbers = [value["epoch"], value["index"]]
    if any(type(number) is not int or not 0 <= number < 2**53 for number in numbers):
        raise UsageError("epoch and index must be integers from 0 to 2^53 - 1")
    return Token(*numbers)


def parse_change(value: Any, config: Config) -> Json:
    """Read a change; raises UsageError for a key or value this fence does not guard."""
    if not isinstance(value, dict) or not value:
        raise UsageError('the change must be {"SAMU": "value", …}, not empty')
    for key, wanted in value.items():
        if not KEY.fullmatch(key):
            raise UsageError(f"{key!r} is no SAMU identifier (three characters, as 300 or 76B)")
        if wanted not in config.values:
            raise UsageError(f"{wanted!r} is none of {', '.join(config.values)}")
    return dict(sorted(value.items()))


def load_config(directory: Path) -> Config:
    """Read fence.json; raises UsageError when it is missing or wrong."""
    path = directory / "fence.json"
    try:
        raw = json.loads(path.read_bytes())
        config = Config(raw["table"], raw["values"], Path(raw["durable"]), raw["kamcmd"])
        # It guards nothing: whatever is wrong with it must not stand in the way of a rescue.
        if isinstance(raw.get("directory"), str):
            config = config._replace(directory=Path(raw["directory"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path}: {error!r}") from error
    words = [config.table, *config.values] if isinstance(config.values, list) else [None]
    if not all(isinstance(word, str) and WORD.fullmatch(word) for word in words):
        raise UsageError(f"{path}: table and values must be words of letters, digits, - and _")
    if not config.durable.is_absolute():
        raise UsageError(f"{path}: durable must be an absolute path")
    if not (isinstance(config.kamcmd, list) and config.kamcmd):
        raise UsageError(f"{path}: kamcmd must be a list: the command and its options")
    return config


def main(arguments: list[str] | None = None) -> int:
    """Answer one request read on standard input."""
    parser = argparse.ArgumentParser(
        prog="sisamu-fence", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--dir", required=True, type=Path, help="directory of this fence")
    parser.add_argument("verb", choices=sorted(VERBS))
    options = parser.parse_args(arguments)
    try:
        answer, status = VERBS[options.verb](options.dir, parse_request(sys.stdin.read())), 0
    except UsageError as error:
        answer, status = {"error": str(error)}, 2
    except OSError as error:  # a full or broken disk: what was begun is not known to be done
        answer, status = {"error": str(error), "outcome": "unknown"}, 2
    sys.stdout.write(json.dumps(answer, sort_keys=True) + "\n")
    return status


def parse_request(text: str) -> Json:
    """Read the request; raises UsageError unless it is one JSON object."""
    try:
        request = json.loads(text or "{}")
    except ValueError as error:
        raise UsageError(f"the request is not JSON: {error}") from error
    if not isinstance(request, dict):
        raise UsageError("the request must be a JSON object")
    return request


if __name__ == "__main__":
    sys.exit(main())
