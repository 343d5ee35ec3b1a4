"""What the rules judge, what they find, and how a finding speaks of many SAMUs (pure)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sisamu_ops.failover.fold.state import State
from sisamu_ops.failover.ports import DatabaseWord
from sisamu_ops.failover.reading import ModeReading, Reading
from sisamu_ops.failover.request import Verb
from sisamu_ops.model.naming import name_few
from sisamu_ops.model.platform import Platform
from sisamu_ops.model.safety import Safety

#: What a rule says when it is not satisfied: the facts, and what would satisfy it.
Said = Iterator[tuple[str, str]]
#: So many are named in one finding, the others are counted: a screen has room for what matters.
_NAMED = 5


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the rules judge: one request against one snapshot."""

    platform: Platform
    state: State
    verb: Verb
    samus: tuple[str, ...]
    to: str
    readings: Mapping[str, Reading]
    modes: Mapping[str, ModeReading]
    now: datetime
    #: The site an evacuation leaves; empty for all else.
    site: str = ""
    #: Who signed besides the requester, and which rules the request sets aside by name.
    approvers: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    #: Names of the experiments that run.
    experiments: tuple[str, ...] = ()
    #: Entries the coordination service still holds, not yet safe on a majority of replicas.
    untrimmed: int = 0
    #: The word of the platform's database; None where there is none, or nobody waited for it.
    database: DatabaseWord | None = None
    #: Judged by a site that is cut off and acts alone: what it cannot read does not stop it.
    alone: bool = False

    @property
    def safety(self) -> Safety:
        """Return the settings in force."""
        return self.platform.policy.safety


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A rule not satisfied: the facts, and what would satisfy it.

    `overridden` says that it would block, had the requester not set it aside by name.
    """

    rule: str
    message: str
    remedy: str
    blocks: bool
    overridden: bool = False

    @property
    def told(self) -> str:
        """Return it as it is journalled."""
        return f"{'overridden: ' if self.overridden else ''}{self.rule}: {self.message}"


def name_options(option: str, names: Sequence[str]) -> str:
    """Return the words of a command line that name a few; dots stand for the rest."""
    words = [f"{option} {name}".strip() for name in names[:_NAMED]]
    return " ".join([*words, "…"] if len(names) > _NAMED else words)


def say_of(names: Sequence[str], *, one: str, many: str, remedy: str) -> Said:
    """Say one thing of however many: `{}` is where they are named, in the remedy as well."""
    if names:
        named = name_few(names)
        yield (one if len(names) == 1 else many).format(named), remedy.format(named)
