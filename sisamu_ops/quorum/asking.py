"""Ask a host everything in one go (pure): the script it gets, and its answer taken apart.

One command costs one connection; fifteen would cost fifteen. So a host gets one script that runs
them all, each under timeout(1) and none printing more than is kept. Lanes run beside each other,
the commands of one lane one after the other: what hangs holds up its own lane only, and a host in
trouble is not asked everything at once. A mark unlike anything printed stands round each output.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sisamu_ops.quorum.capture import OUTPUT_LIMIT_BYTES, TIMED_OUT, Output

#: Stands for a database's name in a question asked of each.
DATABASE = "@database@"
#: The status of an output whose end was never heard.
CUT_OFF = -1
#: What a host is asked with; the script comes on standard input, for every login shell alike.
INTERPRETER = "env LC_ALL=C bash -s"


@dataclass(frozen=True, kw_only=True)
class Question:
    """One command, and the name its output is kept under."""

    name: str
    command: tuple[str, ...]

    @property
    def of_each_database(self) -> bool:
        """Whether it is asked once for each database."""
        return DATABASE in self.command


@dataclass(frozen=True, kw_only=True)
class Script:
    """Everything asked of one host; `lanes` run beside each other.

    `mark` is chosen anew for each run. `discovery` lists the databases where none are named.
    """

    lanes: tuple[tuple[Question, ...], ...]
    mark: str
    command_s: float
    path: tuple[str, ...] = ()
    databases: tuple[str, ...] = ()
    discovery: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Return the name of every output."""
        return tuple(one.name for lane in self.lanes for one in lane)

    def text(self) -> str:
        """Return the script, for bash."""
        lanes = [_lane(index, lane) for index, lane in enumerate(self.lanes)]
        opened = " ".join(f"{3 + i}< <(lane_{i})" for i in range(len(lanes)))
        heard = "\n".join(f"cat <&{3 + i}" for i in range(len(lanes)))
        return _PROLOGUE.format(
            path=":".join(map(shlex.quote, self.path)) + ":" * bool(self.path),
            mark=self.mark,
            limit=OUTPUT_LIMIT_BYTES + 1,
            seconds=f"{self.command_s:g}",
            databases=shlex.join(self.databases) if self.databases else _listing(self.discovery),
        ) + "\n".join([*lanes, f"exec {opened}", heard, ""])


_PROLOGUE = """\
PATH={path}$PATH:/usr/sbin:/sbin
export LC_ALL=C LANG=C NLS_LANG=AMERICAN_AMERICA.US7ASCII
limited() {{ timeout -k 1 {seconds} "$@" 2>&1 </dev/null; }}
begin() {{ printf '%s begin %s\\n' {mark} "$1"; }}
end() {{ printf '\\n%s end %s %s\\n' {mark} "$1" "$2"; }}
ask() {{
  local name=$1; shift
  begin "$name"
  limited "$@" | head -c {limit}
  end "$name" "${{PIPESTATUS[0]}}"
}}
ask_each() {{
  local name=$1; shift
  begin "$name"
  (
    status=0
    for database in $(databases); do
      limited "${{@//@database@/$database}}" || status=$?
    done
    exit $status
  ) | head -c {limit}
  end "$name" "${{PIPESTATUS[0]}}"
}}
at() {{ command -v "$1" || printf '%s' "$1"; }}
databases() {{ printf '%s\\n' {databases}; }}
"""


def _listing(discovery: tuple[str, ...]) -> str:
    return f"$(limited {_words(discovery)})" if discovery else ""


def _lane(index: int, questions: Sequence[Question]) -> str:
    asked = [
        f"  {'ask_each' if one.of_each_database else 'ask'} {one.name} {_words(one.command)}"
        for one in questions
    ]
    return "\n".join([f"lane_{index}() {{", *asked, "}"])


def _words(command: tuple[str, ...]) -> str:
    """Return a command's words; the program is found on the path, for sudo wants it whole."""
    return " ".join(
        f'"$(at {shlex.quote(word[1:])})"' if word.startswith("%") else shlex.quote(word)
        for word in command
    )


def read_answer(script: Script, content: bytes, *, in_time: bool) -> Mapping[str, Output]:
    """Take an answer apart; what was not heard to its end says so by its status.

    Where the time was over, what was never begun counts as asked and not answered.
    """
    mark = re.escape(script.mark.encode())
    begun = re.compile(rb"^" + mark + rb" begin (\w+)\n", re.MULTILINE)
    outputs: dict[str, Output] = {}
    for match in begun.finditer(content):
        name = match.group(1).decode()
        ended = re.compile(rb"\n" + mark + rb" end " + match.group(1) + rb" (\d+)\n")
        end = ended.search(content, match.end() - 1)
        if end:
            said = content[match.end() : end.start()] if end.start() >= match.end() else b""
            outputs[name] = Output(content=said, status=int(end.group(1)))
        else:
            status = CUT_OFF if in_time else TIMED_OUT
            said = content[match.end() : match.end() + OUTPUT_LIMIT_BYTES + 1]
            outputs[name] = Output(content=said, status=status)
    if not in_time:
        for name in script.names:
            outputs.setdefault(name, Output(content=b"", status=TIMED_OUT))
    return outputs
