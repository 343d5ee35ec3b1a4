"""Turn the bytes of one output into lines (pure): any encoding, any line end, any damage.

Whoever reads lines says of each whether it belongs there. What nobody can place makes the output
*not intact*: what it says badly still counts, what it says well no longer does.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

from sisamu_ops.quorum.capture import OUTPUT_LIMIT_BYTES, Output

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
#: A line that only repeats what was typed, with or without the shell's prompt before it.
_TYPED = re.compile(
    r"^\s*(?:--|\[[^\]]*\]\s*[$#]|\S*[$#>])?\s*(?:[\w./-]*/)?"
    r"(?P<typed>(?:crsctl|srvctl|olsnodes|ocrcheck|asmcmd|crs_stat|dgmgrl)\b.*|"
    r"(?<=>)\s*show\s.*|(?<=> )show\s.*)$",
    re.IGNORECASE,
)
_TOOL = re.compile(r"crsctl|srvctl|olsnodes|ocrcheck|asmcmd|crs_stat|dgmgrl|show ", re.IGNORECASE)
_BARE_PROMPT = re.compile(r"^(?:\[[^\]]*\]\s?|\S+)[$#>]\s*$")
_REMARK = re.compile(r"^(?:# |--Step|/\*\s*$|\*/\s*$)")


@dataclass(frozen=True, kw_only=True)
class Text:
    """The lines of an output that are its own, and what is wrong with it as a whole."""

    lines: tuple[str, ...]
    complaint: str = ""

    @property
    def joined(self) -> str:
        """Return all lines as one, a blank where each ended: for what wraps anywhere."""
        return " ".join(one.strip() for one in self.lines)


def read_text(output: Output, about: str = "") -> Text:
    """Return the last listing of an output; a complaint when it is empty, cut, or no text.

    Of a transcript the last listing that answers a command with the words `about` is taken.
    """
    said = _decode(output.content[:OUTPUT_LIMIT_BYTES])
    if "\0" in said:
        return Text(lines=(), complaint="not text")
    lines, dropped = _last_listing(said.splitlines(), about)
    kept = tuple(one.rstrip() for one in lines if not _beside(one))
    return Text(lines=kept, complaint=_complaint(output, kept, dropped))


def _decode(content: bytes) -> str:
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return content.decode(encoding, "replace")
    return content.decode("utf-8", "replace")


def _last_listing(lines: list[str], about: str) -> tuple[list[str], bool]:
    """Return the wanted listing, and whether there were others."""
    listings: list[tuple[str, list[str]]] = [("", [])]
    for line in lines:
        # Most lines name no tool: the pattern is dear, looking for a word in the line is not.
        typed = _TYPED.match(line) if _TOOL.search(line) else None
        if typed:
            listings.append((typed["typed"], []))
        else:
            listings[-1][1].append(line)
    answers = [one for typed, one in listings if re.search(about, typed, re.IGNORECASE)]
    wanted = answers[-1] if answers else listings[-1][1]
    others = [one for _, one in listings if one is not wanted]
    return wanted, any(not _beside(line) for one in others for line in one)


def _beside(line: str) -> bool:
    """Say whether a line is none of the output's own: blank, a prompt, somebody's remark."""
    said = line.strip()
    return not said or bool(_REMARK.match(said) or _BARE_PROMPT.match(said))


def _complaint(output: Output, kept: tuple[str, ...], dropped: bool) -> str:
    if output.cut_short:
        return f"more than {OUTPUT_LIMIT_BYTES} bytes: the rest was not kept"
    if not kept:
        return "empty"
    if dropped:
        return "a transcript with more than this one listing"
    return ""


#: Error codes of Oracle's tools: what stays the same when messages are translated.
_CODE = re.compile(r"\b(?:CRS|PRC[A-Z]|PROT|PROC|ORA|DGM|ASMCMD|PRKO|CLSU)-\d{4,5}\b|\bPRO[TC]-\d+")


def codes_of(text: Text) -> tuple[str, ...]:
    """Return the message codes of an output, each once, in order."""
    found = {match.group(): None for line in text.lines for match in _CODE.finditer(line.upper())}
    return tuple(found)


def line_with(text: Text, part: str) -> str:
    """Return the first line that holds a part, for evidence; empty when none does."""
    wanted = part.casefold()
    return next((one.strip() for one in text.lines if wanted in one.casefold()), "")
