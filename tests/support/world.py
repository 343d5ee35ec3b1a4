"""A small platform in one directory: real fences, real local coordination, fake playbooks.

The fences are the helper that targets run, in this process, over a Kamailio that is a
dictionary. The playbooks are a few lines that do what the real ones promise, in their order;
the lab's tests hold the real ones to the same outcomes.
"""

from __future__ import annotations

import errno
import importlib.util
import json
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

from sisamu_ops.doors.local import LocalContention, LocalCoordination, LocalTenure
from sisamu_ops.failover.acting.checking import PLAYBOOK as CHECK
from sisamu_ops.failover.acting.execute import PROVE
from sisamu_ops.failover.answering.in_force import Rules
from sisamu_ops.failover.fold.folding import Folding
from sisamu_ops.failover.fold.state import State
from sisamu_ops.failover.planning.plan import PLAYBOOKS
from sisamu_ops.failover.ports import (
    AskDatabase,
    Experiments,
    NoExperiments,
    PlaybookRun,
    RunEnd,
    no_database,
)
from sisamu_ops.failover.reading import Reading
from sisamu_ops.failover.request import Envelope, Request, Verb, inbox_name, new_request
from sisamu_ops.journal.keys import Policy as TrustPolicy
from sisamu_ops.journal.keys import load_policy, load_site_keys, make_site_keys, write_policy
from sisamu_ops.journal.port import InboxItem
from sisamu_ops.journal.reader import LocalFiles
from sisamu_ops.journal.replicate import read_entry
from sisamu_ops.leadership.lease import Lease
from sisamu_ops.model.errors import DiskError
from sisamu_ops.model.platform import (
    Platform,
    Policy,
    Samu,
    Site,
    SiteRole,
    Target,
    router_of,
    site_target,
)
from sisamu_ops.model.token import Token
from sisamu_ops.term import Neighbours, Term

HELPER = Path(__file__).resolve().parents[2] / "playbooks/files/sisamu_fence.py"
ROUTERS = ("otn-paris", "otn-lyon")
SAMUS = ("300", "680", "120")
EVACUATE = PLAYBOOKS[Verb.EVACUATE]
ON_CALL = "oncall@sisamu-lab"
START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Killed(BaseException):
    """The process that leads ends here, in the middle of what it does."""


def load_helper() -> ModuleType:
    """Import the fence helper as the module it also is."""
    spec = importlib.util.spec_from_file_location("sisamu_fence_in_world", HELPER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@dataclass(kw_only=True)
class Fences:
    """Every target's fence, with a Kamailio that is a dictionary per host."""

    root: Path
    helper: ModuleType
    running: dict[str, dict[str, str]] = field(default_factory=dict)
    unreachable: set[str] = field(default_factory=set)
    #: Hosts whose Kamailio stands still: its fence writes the durable list, and no more.
    hung: set[str] = field(default_factory=set)
    #: When the telephone directory at a gateway was brought up to date, in milliseconds.
    directories: dict[str, int] = field(default_factory=dict)

    def add(self, host: str, table: str, values: Sequence[str]) -> None:
        directory = self.root / host
        directory.mkdir(parents=True, exist_ok=True)
        durable = directory / table
        durable.write_text(
            "id(int,auto) key_name(string) key_type(int) value_type(int) "
            "key_value(string) expires(int)\n"
        )
        config = {"table": table, "values": list(values), "durable": str(durable), "kamcmd": [host]}
        (directory / "fence.json").write_text(json.dumps(config))
        self.running[host] = {}

    def ask(self, host: str, verb: str, question: Mapping[str, Any]) -> dict[str, Any]:
        self.helper.kamcmd = self._kamcmd
        answer: dict[str, Any] = self.helper.VERBS[verb](self.root / host, dict(question))
        return answer

    def _kamcmd(self, config: Any, arguments: list[str], lock: object) -> str | None:
        if config.kamcmd[0] in self.hung:
            return None
        table = self.running[config.kamcmd[0]]
        if arguments[0] == "htable.dump":
            return "".join(f"\tname: {k}\n\tvalue: {v}\n" for k, v in table.items())
        table[arguments[2][2:]] = arguments[3][2:]
        return ""

    def read(self, hosts: Collection[str]) -> Mapping[str, Reading]:
        return {h: self._reading(h, "read", {}) for h in hosts}

    def seal(self, hosts: Collection[str], token: Token) -> Mapping[str, Reading]:
        return {h: self._reading(h, "seal", {"token": token.to_json()}) for h in hosts}

    def enrol(self, tokens: Mapping[str, Token]) -> Mapping[str, Reading]:
        return {h: self._reading(h, "enrol", {"token": t.to_json()}) for h, t in tokens.items()}

    def _reading(self, host: str, verb: str, question: Mapping[str, Any]) -> Reading:
        if router_of(host) in self.unreachable:
            return Reading(host=host, reachable=False, problem="cut off")
        answer = self.ask(host, verb, question)
        last = answer.get("last")
        return Reading(
            host=host, reachable=True, values=answer.get("values"), durable=answer.get("durable"),
            enrolled=bool(answer.get("enrolled", answer.get("accepted"))),
            last=Token(last["epoch"], last["index"]) if last else None,
            sealed=verb == "seal" and bool(answer.get("accepted")),
            directory_at=self.directories.get(host),
        )  # fmt: skip

    def accepted(self, host: str) -> list[Token]:
        """Return the tokens a target accepted, in order, by its own record."""
        path = self.root / host / "accepted.jsonl"
        records = [json.loads(line) for line in path.read_text().splitlines()]
        return [Token(r["token"]["epoch"], r["token"]["index"]) for r in records if "token" in r]

    def applied(self, host: str) -> list[Token]:
        """Return the token of every change that took effect at a target, by its own record."""
        path = self.root / host / "accepted.jsonl"
        records = [json.loads(line) for line in path.read_text().splitlines()]
        return [
            Token(r["token"]["epoch"], r["token"]["index"]) for r in records if r["what"] == "apply"
        ]


@dataclass(kw_only=True)
class FakePlaybooks:
    """Does in this process, in their order, what the three playbooks promise."""

    fences: Fences
    kill_after: Callable[[str], None] = lambda host: None
    sent: list[tuple[str, PlaybookRun, dict[str, str]]] = field(default_factory=list)
    #: SAMUs whose calls are answered by nobody.
    silent: set[str] = field(default_factory=set)
    #: Sites whose central servers answer nobody, and whom each router asks first by itself.
    dark: set[str] = field(default_factory=set)
    first_sites: dict[str, str] = field(default_factory=dict)
    #: Routers through which no test call is placed.
    uncalled: set[str] = field(default_factory=set)
    #: Playbooks that cannot begin, because this machine's disk is full.
    no_room_for: set[str] = field(default_factory=set)

    def run(
        self,
        run: PlaybookRun,
        tenure: object,
        on_event: Callable[[Mapping[str, Any]], None],
    ) -> RunEnd:
        if run.playbook in self.no_room_for:
            raise DiskError(OSError(errno.ENOSPC, "No space left on device", "/home/runs"))
        if run.playbook == CHECK:
            return self._check(run, on_event)
        if run.playbook == PROVE:
            for host in run.routers:
                self._call(run.samus, host, on_event)
            on_event({"event": "end", "stats": {}})
            return RunEnd(code=0, killed=False, log="")
        failed = False
        if run.playbook == EVACUATE:
            return self._evacuate(run, on_event)
        modes = self._choose(run, on_event)
        for host, change in self._order(run, modes):
            if failed and run.playbook != "samu_failover.yml":
                break
            failed |= not self._apply(run, host, change, on_event)
        on_event({"event": "end", "stats": {}})
        return RunEnd(code=2 if failed else 0, killed=False, log="")

    def _evacuate(self, run: PlaybookRun, on_event: Callable[[Mapping[str, Any]], None]) -> RunEnd:
        """Prove the site that takes over, then turn one router after the other to it."""
        well = run.to not in self.dark
        for host in run.routers:
            change = run.extra["sisamu_sites"][host]
            well = well and self._prefer(run, host, change, on_event)
        on_event({"event": "end", "stats": {}})
        return RunEnd(code=0 if well else 2, killed=False, log="")

    def _prefer(
        self,
        run: PlaybookRun,
        host: str,
        change: dict[str, str],
        on_event: Callable[[Mapping[str, Any]], None],
    ) -> bool:
        """Ask a router's second fence; events name the inventory's host, as Ansible's do."""
        target = site_target(host)
        on_event({"event": "start", "host": host, "module": "sisamu_fence"})
        if host in self.fences.unreachable:
            on_event({"event": "unreachable", "host": host, "message": "cut off"})
            return False
        self.sent.append((target, run, change))
        question = {"token": run.token.to_json(), "change": change}
        answer = self.fences.ask(target, "apply", question)
        self.kill_after(target)
        on_event({"event": "fence", "host": host, "result": answer})
        self._call(run.samus, host, on_event)
        return answer.get("outcome") == "done" and not self.silent & set(run.samus)

    def _check(self, run: PlaybookRun, on_event: Callable[[Mapping[str, Any]], None]) -> RunEnd:
        """Arm each gateway, call it, and disarm it again unless it was armed before."""
        epoch, _, index = run.extra["sisamu_token_after"].partition(".")
        for samu in run.samus:
            host = f"samu-{samu}"
            if host in self.fences.unreachable:
                continue
            question = {"token": run.token.to_json(), "change": {samu: "armed"}}
            armed = self.fences.ask(host, "apply", question)
            on_event({"event": "fence", "host": host, "result": armed})
            self.kill_after(host)
            answered = samu not in self.silent
            by = f"backup;samu={samu}" if answered else ""
            call = {"answered": answered, "status": 200 if answered else 408, "answered_by": by}
            on_event(
                {"event": "call", "via": "gateway", "host": host, "samu": samu, "result": call}
            )
            if (armed.get("before") or {}).get(samu, "unarmed") == "unarmed":
                after = {"epoch": int(epoch), "index": int(index)}
                answer = self.fences.ask(
                    host, "apply", {"token": after, "change": {samu: "unarmed"}}
                )
                on_event({"event": "fence", "host": host, "result": answer})
        return RunEnd(code=0, killed=False, log="")

    def _choose(
        self, run: PlaybookRun, on_event: Callable[[Mapping[str, Any]], None]
    ) -> dict[str, str]:
        """Return the mode of each SAMU; a rescue falls to the next where a gateway is silent."""
        order = run.extra.get("sisamu_order", [run.to])
        modes = dict.fromkeys(run.samus, run.to)
        for samu in run.samus:
            if len(order) > 1 and f"samu-{samu}" in self.fences.unreachable:
                modes[samu] = order[1]
                said = {"samu": samu, "to": order[1], "why": "its gateway is silent"}
                on_event({"event": "choice", "host": f"samu-{samu}", **said})
        return modes

    def _order(
        self, run: PlaybookRun, modes: Mapping[str, str]
    ) -> list[tuple[str, dict[str, str]]]:
        word = "unarmed" if run.to == "nominal" else "armed"
        gateways = [(f"samu-{s}", {s: word}) for s in run.samus]
        routes = [(r, dict(modes)) for r in run.routers]
        return routes + gateways if run.to == "nominal" else gateways + routes

    def _apply(
        self,
        run: PlaybookRun,
        host: str,
        change: dict[str, str],
        on_event: Callable[[Mapping[str, Any]], None],
    ) -> bool:
        on_event({"event": "start", "host": host, "module": "sisamu_fence"})
        if host in self.fences.unreachable:
            on_event({"event": "unreachable", "host": host, "message": "cut off"})
            return False
        self.sent.append((host, run, change))
        question = {"token": run.token.to_json(), "change": change}
        answer = self.fences.ask(host, "apply", question)
        self.kill_after(host)
        on_event({"event": "fence", "host": host, "result": answer})
        if host in run.routers:
            self._call(run.samus, host, on_event)
        return answer.get("outcome") == "done"

    def _call(
        self, samus: Sequence[str], host: str, on_event: Callable[[Mapping[str, Any]], None]
    ) -> None:
        """Call each SAMU through a router: it is answered on the path the router holds for it."""
        if host in self.fences.unreachable | self.uncalled:
            return
        for samu in samus:
            path = self.fences.running[host].get(samu, "nominal")
            said = f"{path};samu={samu}"
            if path != "backup":
                sites = self.fences.running.get(site_target(host), {})
                site = sites.get(samu, self.first_sites.get(host, "paris"))
                said = f"nominal;instance={site}" if path == "nominal" else f"{said};site={site}"
            call = {"answered": True, "status": 200, "answered_by": said, "pdd_ms": 1}
            if samu in self.silent:
                call = {"answered": False, "status": 408, "answered_by": "", "pdd_ms": 0}
            named = {"via": "router", "host": host, "samu": samu}
            on_event({"event": "call", **named, "result": call})


class KillingTenure:
    """A tenure whose process is killed before or after a chosen append."""

    def __init__(self, tenure: LocalTenure, strike: Callable[[str], None]) -> None:
        self._tenure = tenure
        self._strike = strike
        self.site = tenure.site
        self.epoch = tenure.epoch

    def append(self, leaves: Sequence[bytes], *, index: int, consume: Sequence[str] = ()) -> None:
        self._strike("before")
        self._tenure.append(leaves, index=index, consume=consume)
        self._strike("after")

    def first(self) -> int:
        return self._tenure.first()

    def trim(self, stop: int) -> None:
        self._tenure.trim(stop)

    def size(self) -> int:
        return self._tenure.size()

    def read(self, start: int, stop: int) -> list[bytes]:
        return self._tenure.read(start, stop)

    def lease(self) -> Lease:
        return self._tenure.lease()

    def may_start(self) -> bool:
        return self._tenure.may_start()

    def on_lease(self, listener: Callable[[Lease], None]) -> Callable[[], None]:
        return self._tenure.on_lease(listener)

    def leave(self) -> None:
        self._tenure.leave()


def some_rules(policy: bytes = b"p", version: str = "0.1.0") -> Rules:
    """Return a copy of rules; what it says matters only when it differs."""
    documents = {"policy": policy, "allowed_signers": b"s", "trust": b"t"}
    return Rules(documents=documents, version=version)


@dataclass(kw_only=True)
class World:
    """The platform, its fences and its journal, and who leads it."""

    directory: Path
    platform: Platform
    trust: TrustPolicy
    fences: Fences
    playbooks: FakePlaybooks
    coordination: LocalCoordination
    strike: Callable[[str], None] = lambda moment: None
    signers: set[str] = field(default_factory=lambda: {ON_CALL})
    now: datetime = START
    standing: frozenset[str] = frozenset()
    rules: Rules = field(default_factory=some_rules)
    holders: frozenset[str] = frozenset({"local"})
    database: AskDatabase = no_database
    experiments: Experiments = field(default_factory=NoExperiments)

    def ask(self, verb: Verb, **fields: Any) -> Request:
        """Put a request of the on-call engineer into the inbox."""
        request = new_request(
            platform=self.platform.policy.platform, verb=verb, reason="a test",
            now=self.now, lifetime=timedelta(minutes=5), **fields,
        )  # fmt: skip
        self.put(request)
        return request

    def put(self, request: Request, principal: str = ON_CALL, signature: str = "signed") -> None:
        document = request.document().decode()
        envelope = Envelope(document=document, signature=signature, principal=principal)
        payload = envelope.payload()
        name = inbox_name(request.request_id, payload)
        self.coordination.put(InboxItem(name=name, payload=payload))

    @contextmanager
    def leading(self) -> Iterator[Term]:
        """Lead as one process would; its end, by kill or not, frees the lock."""
        contention: LocalContention = self.coordination.contend("local")
        tenure = contention.try_lead()
        assert tenure is not None
        try:
            yield Term(
                platform=self.platform, keys=load_site_keys(self.directory / "keys"),
                policy=self.trust, neighbours=self.neighbours(),
                tenure=KillingTenure(tenure, self.strike), submit=self.coordination.put,
                folding=Folding(self.trust), present=lambda: self.standing,
            )  # fmt: skip
        finally:
            contention.close()

    def lead_until_idle(self) -> None:
        """Lead, take over what is open, and do all that waits."""
        with self.leading() as term:
            term.begin()
            while term.serve(self.coordination):
                pass

    def state(self) -> State:
        """Fold the journal as a stranger would, every signature checked."""
        state = State()
        for index, leaf in enumerate(self.coordination.read(0, self.coordination.size())):
            state.apply(read_entry(leaf, index=index, policy=self.trust))
        return state

    def modes(self, samu: str = "300") -> list[str]:
        """Return what each running router says of a SAMU."""
        return [self.fences.running[r].get(samu, "nominal") for r in ROUTERS]

    def prefer_sites(self) -> None:
        """Give each router a site of its own, paris and lyon, and the fence that holds it."""
        sites = dict(zip(ROUTERS, ("paris", "lyon"), strict=True))
        added = {
            site: replace(self.platform.sites["local"], site_id=site) for site in sites.values()
        }
        targets = {
            (name := site_target(router)): replace(self.platform.targets[router], host=name)
            for router in sites
        }
        for name in targets:
            self.fences.add(name, "samu_site", list(sites.values()))
        self.fences.enrol(dict.fromkeys(targets, Token(0, 0)))
        self.playbooks.first_sites = sites
        self.platform = replace(
            self.platform, router_sites=sites, sites={**self.platform.sites, **added},
            targets={**self.platform.targets, **targets},
        )  # fmt: skip

    def asked_first(self, samu: str = "300") -> list[str]:
        """Return which site each running router asks first for a SAMU."""
        firsts = self.playbooks.first_sites
        return [self.fences.running[site_target(r)].get(samu, firsts[r]) for r in ROUTERS]

    def neighbours(self) -> Neighbours:
        """Return the doors of this world."""

        def signatures(document: bytes, signature: str, principal: str, namespace: str) -> bool:
            return signature == "signed" and principal in self.signers

        return Neighbours(
            connect=lambda: self.coordination, targets=self.fences, runner=self.playbooks,
            signatures=signatures, now=lambda: self.now,
            open_peer=lambda site: nullcontext(LocalFiles(self.directory / "nobody")),
            rules=lambda: self.rules, keep=lambda contents: self.holders,
            database=lambda: self.database(), experiments=self.experiments,
        )  # fmt: skip


def make_world(directory: Path, helper: ModuleType | None = None) -> World:
    """Build a platform of two routers and three SAMUs, its targets enrolled by fiat."""
    directory.mkdir(parents=True, exist_ok=True)
    platform = _platform(directory)
    publics = make_site_keys(directory / "keys", "local", platform.policy.origin)
    policy = directory / "policy.json"
    write_policy(
        policy, origin=platform.policy.origin, publics=[publics], threshold=1, allowed_signers=""
    )
    fences = Fences(root=directory / "hosts", helper=helper or load_helper())
    for router in ROUTERS:
        fences.add(router, "samu_mode", ["nominal", "degraded", "backup"])
    for samu in SAMUS:
        fences.add(f"samu-{samu}", "samu_gateway", ["armed", "unarmed"])
    fences.enrol(dict.fromkeys(platform.targets, Token(0, 0)))
    return World(
        directory=directory, platform=platform, trust=load_policy(policy), fences=fences,
        playbooks=FakePlaybooks(fences=fences),
        coordination=LocalCoordination(directory / "state"),
    )  # fmt: skip


def _platform(directory: Path) -> Platform:
    hosts = [*ROUTERS, *(f"samu-{s}" for s in SAMUS)]
    return Platform(
        inventory=directory / "inventory", routers=ROUTERS,
        sites={
            "local": Site(
                site_id="local", role=SiteRole.TELEPHONY, address="127.0.0.1", home=directory
            )
        },
        samus={
            s: Samu(
                samu_id=s, name=f"SAMU {s}", gateway=f"samu-{s}", number="", test_number="test",
                bridge="", fallback_numbers=(), region="",
            )
            for s in SAMUS
        },
        targets={
            h: Target(host=h, address="127.0.0.1", user="root", fence_command=(), fence_dir="")
            for h in hosts
        },
        policy=Policy(
            platform="world", coordination="local", zookeeper=(), session_timeout_ms=4000,
            tick_ms=500, site_order=("local",), hold_off_ms=0, mode_order=("backup",),
            allowed_signers=directory / "signers", known_hosts=directory / "known_hosts",
            verify_policy=directory / "policy.json", identity=None, network_namespace="",
            bridge="", operators=(ON_CALL,),
        ),
    )  # fmt: skip
