"""Losses inflicted on the lab, and the wait until what is left has come to rest."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from time import monotonic, sleep

from sisamu_ops.lab import Lab
from sisamu_ops.lab.network import cut_links, cuts_meant
from sisamu_ops.lab.readiness import await_stopped
from sisamu_ops.lab.supervisor import stop_programs
from sisamu_ops.quorum.what_if import Loss, Manner
from tests.galera_losses.members import PROGRAMS, SITE_OF, Word, ask_members, running_members

#: Below the 20 s after which the supervisor would kill what does not leave in good order.
_LEFT_S = 15.0
#: Longer than evs.suspect_timeout (1.5 s): whoever falls silent is put out within that.
_STILL_S = 2.0
#: `evs.inactive_timeout` and `evs.install_timeout` of the lab: nothing is awaited longer.
_PAST_S = 3.0
_SETTLED_S = 20.0
_POLL_S = 0.1


@dataclass(frozen=True, kw_only=True)
class Rest:
    """What the members say that are left, and whether they had come to rest in time."""

    words: dict[str, Word]
    settled: bool

    @property
    def primary(self) -> tuple[str, ...]:
        """Return who is in a primary component by its own word."""
        return tuple(sorted(name for name, word in self.words.items() if word.primary))


def inflict(lab: Lab, losses: Iterable[Loss]) -> None:
    """Inflict losses at once, and return when every process meant has ended.

    Cuts first, then kills, then clean stops, within a tenth of a second: far below what it takes
    to miss a member, so nobody regroups in between.
    """
    named = {manner: [one.name for one in losses if one.manner is manner] for manner in Manner}
    cuts = [cut for name in named[Manner.CUT] for cut in cuts_meant((SITE_OF[name],))]
    killed = [PROGRAMS[name] for name in named[Manner.KILL]]
    stopped = [PROGRAMS[name] for name in named[Manner.STOP]]
    if cuts:
        cut_links(lab.place, cuts)
    stop_programs(lab.place, killed, kill=True)
    stop_programs(lab.place, stopped, kill=False)
    await_stopped(lab.place, (*killed, *stopped), _LEFT_S)


def await_rest(lab: Lab, cut: frozenset[str]) -> Rest:
    """Return what is left once it has come to rest; `cut` are the members cut off.

    Rest is when no running member counts one that it can no longer hear (so no loss is still to be
    noticed), and then all have said the same for longer than it takes to miss a silent member, and
    every time-out of the lab has passed. Nothing in this looks at who is expected to be Primary.
    """
    began = since = monotonic()
    last: dict[str, Word] = {}
    while monotonic() - began < _SETTLED_S:
        running = running_members(lab)
        words = ask_members(lab, running)
        if words != last or not _all_noticed(words, running, cut):
            last, since = words, monotonic()
        elif monotonic() - since >= _STILL_S and monotonic() - began >= _PAST_S:
            return Rest(words=words, settled=True)
        sleep(_POLL_S)
    return Rest(words=last, settled=False)


def _all_noticed(words: dict[str, Word], running: frozenset[str], cut: frozenset[str]) -> bool:
    if words.keys() != running:
        return False
    together = running - cut
    return all(
        word.hears_only(frozenset({name}) if name in cut else together)
        for name, word in words.items()
    )
