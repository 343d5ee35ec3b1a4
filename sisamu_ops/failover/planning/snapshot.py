"""Read what a plan is made from: the targets, and beside them what can be said of the database.

Planned work waits for the database's word. A rescue does not: it takes the word if it is there when
the targets have been read, or a tenth of a second later, and else goes without.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from threading import Thread

from sisamu_ops.failover.ports import AskDatabase, DatabaseWord, Experiments, Targets
from sisamu_ops.failover.reading import Reading
from sisamu_ops.failover.request import Verb
from sisamu_ops.model.platform import Platform
from sisamu_ops.model.safety import Safety

#: More gateways than these a rescue does not read before it acts: it would cost seconds, and what
#: there is to find it finds when it arms them.
_GATEWAYS = 12
#: What a rescue gives the database beside the time it takes to read the targets, in seconds.
GRACE_S = 0.1
_UNHEARD = DatabaseWord(holds=False, said="it could not be asked")


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Every target's reading, and the database's word, where there is one."""

    readings: Mapping[str, Reading]
    database: DatabaseWord | None = None


def read_snapshot(
    targets: Targets, hosts: Collection[str], database: AskDatabase, verb: Verb
) -> Snapshot:
    """Read targets and database at the same time; see above for who waits."""
    words: list[DatabaseWord | None] = []
    # A daemon: nobody's exit may wait for a database that does not answer.
    asking = Thread(target=lambda: words.append(database()), daemon=True)
    asking.start()
    readings = targets.read(hosts)
    asking.join(None if verb.planned else GRACE_S)
    unheard = _UNHEARD if verb.planned else None
    return Snapshot(readings=readings, database=words[0] if words else unheard)


def hosts_to_read(platform: Platform, verb: Verb, samus: Collection[str]) -> list[str]:
    """Return the targets a plan is made from: every router, and the gateways of the SAMUs.

    An evacuation touches no gateway, and the routers' other fences.
    """
    if verb is Verb.EVACUATE:
        return [*platform.routers, *platform.site_targets.values()]
    gateways = [platform.samu(samu).gateway for samu in samus]
    if verb is Verb.FAILOVER and len(gateways) > _GATEWAYS:
        gateways = []
    return [*platform.routers, *gateways]


def experiments_to_judge(safety: Safety, experiments: Experiments) -> tuple[str, ...]:
    """Return the experiments that run, where a rule of the platform asks for them."""
    return experiments.running() if safety.experiment_running is not None else ()
