"""A site of the small world that reaches nobody, and its log on the way home."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from sisamu_ops.break_glass import BreakGlass, OwnLog
from sisamu_ops.doors.local import LocalCoordination
from sisamu_ops.failover.fold.state import State
from sisamu_ops.failover.merging import leaf_item, read_log
from sisamu_ops.failover.request import (
    Approval,
    Envelope,
    Request,
    Verb,
    inbox_name,
    new_request,
    parse_request,
)
from sisamu_ops.journal.entry import Entry, open_entry
from sisamu_ops.journal.keys import load_site_keys
from sisamu_ops.journal.port import InboxItem
from sisamu_ops.journal.reader import ReplicaReader, journal_files
from sisamu_ops.leadership.port import Coordination
from sisamu_ops.model.errors import LeadershipError
from tests.support.world import ON_CALL, START, World

LEAD = "lead@sisamu-lab"


def cut_off() -> Coordination:
    raise LeadershipError("ZooKeeper cannot be reached")


def glass_of(world: World) -> BreakGlass:
    """Stand at the site, which reaches nobody."""
    return BreakGlass(
        platform=world.platform, keys=load_site_keys(world.directory / "keys"), trust=world.trust,
        home=world.directory / "state", targets=world.neighbours().targets,
        neighbours=lambda directory: world.neighbours(), connect=cut_off, now=lambda: world.now,
    )  # fmt: skip


def alone(verb: Verb = Verb.FAILOVER, site: str = "local", **fields: object) -> Request:
    fields = {"samus": ["300"], "to": "nominal" if verb is Verb.FAILBACK else "backup"} | fields
    return new_request(
        platform="world", verb=verb, reason="cut off", now=START, lifetime=timedelta(minutes=5),
        site=site, **fields,  # type: ignore[arg-type]  # fields of a request, by name
    )  # fmt: skip


def signed(request: Request, *approvers: str, signature: str = "signed") -> Envelope:
    approvals = tuple(Approval(principal=a, signature=signature) for a in approvers)
    document = request.document().decode()
    return Envelope(document=document, signature="signed", principal=ON_CALL, approvals=approvals)


def start(world: World, envelope: Envelope) -> State:
    """Look, and carry the request out, as the command does."""
    glass = glass_of(world)
    outlook = glass.look(parse_request(envelope.document.encode()))
    return glass.start(envelope, outlook, lambda entry: None).state


def entries(reader: LocalCoordination) -> list[Entry]:
    return [open_entry(leaf).entry for leaf in reader.read(0, reader.size())]


def the_log(world: World) -> OwnLog:
    (log,) = glass_of(world).logs()
    return log


def send(world: World, envelope: Envelope, request_id: str) -> None:
    payload = envelope.payload()
    world.coordination.put(InboxItem(name=inbox_name(request_id, payload), payload=payload))


def merge(world: World, *, leave_out: Sequence[int] = ()) -> Request:
    """Ask the leader to take the log in; its leaves first, but for those left out."""
    reader = ReplicaReader(journal_files(the_log(world).directory))
    claim, leaves = read_log(reader, world.trust, place="the log")
    for index, leaf in enumerate(leaves):
        if index not in leave_out:
            world.coordination.put(leaf_item(claim.root, index, leaf))
    return world.ask(Verb.MERGE, log=claim)
