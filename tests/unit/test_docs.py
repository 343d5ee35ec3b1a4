"""What the documents claim is compared with the code: documentation that fails."""

from __future__ import annotations

import configparser
import importlib.util
import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import click
import pytest
import yaml

from sisamu_ops.app.clusters import judge_capture
from sisamu_ops.cli.main import NOUNS, cli
from sisamu_ops.cli.move import plan_facts
from sisamu_ops.cli.safety import rule_facts
from sisamu_ops.desk import Desk
from sisamu_ops.doors.local import LocalCoordination
from sisamu_ops.failover.answering.admission import INBOX_LIMIT
from sisamu_ops.failover.asking.report import make_alarm, make_report, make_trigger
from sisamu_ops.failover.fold.state import _HANDLERS, fold
from sisamu_ops.failover.request import Verb, new_request
from sisamu_ops.failover.safety import RULES
from sisamu_ops.failover.safety.settings import read_safety
from sisamu_ops.failover.telling.preview import Preview
from sisamu_ops.journal.entry import Entry
from sisamu_ops.journal.keys import load_site_keys
from sisamu_ops.journal.port import InboxItem
from sisamu_ops.journal.replicate import read_entry
from sisamu_ops.model import errors
from sisamu_ops.model.condition import Condition, Problem, ProblemKind
from sisamu_ops.model.errors import SisamuError
from sisamu_ops.model.platform import Waves
from sisamu_ops.model.safety import AgentsConfirmed, ExitChecklist, Safety, SecondSignature
from sisamu_ops.quorum.rac.assess import assess_rac
from sisamu_ops.telephony.ledger import CallRecord, tally
from tests.support.alone import LEAD, alone, merge, send, signed, start, the_log
from tests.support.alone import entries as log_entries
from tests.support.commands import ROOT, children, everything, leaves, problem_of, shown_commands
from tests.support.galera import ensemble, galera, node, server
from tests.support.rac import healthy
from tests.support.safety import IN_FORCE, NOT_ALONE
from tests.support.world import ROUTERS, World, make_world

README = (ROOT / "README.md").read_text("utf-8")
ARCHITECTURE = (ROOT / "docs/architecture.md").read_text("utf-8")
SAFETY = (ROOT / "docs/safety.md").read_text("utf-8")
JSON_KEYS = (ROOT / "docs/json.md").read_text("utf-8")
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md"]
DOCUMENTS += sorted((ROOT / "docs").rglob("*.md"))


def section(text: str, heading: str) -> str:
    """Return what stands under a `##` heading."""
    found = re.search(rf"^## {re.escape(heading)}$(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"no section {heading!r}"
    return found[1]


def rows(text: str) -> list[list[str]]:
    """Return the cells of a Markdown table, without its head."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def quoted(text: str) -> list[str]:
    """Return what stands between backquotes."""
    return re.findall(r"`([^`]+)`", text)


def subclasses(error: type[SisamuError]) -> Iterator[type[SisamuError]]:
    """Return an error class and all below it."""
    yield error
    for child in error.__subclasses__():
        yield from subclasses(child)


# --- exit codes ---------------------------------------------------------------------------


def test_the_exit_codes_of_the_readme_are_those_of_the_error_tree() -> None:
    """Every class's code is in the table, and the table has no other but 0 and 1."""
    documented = {int(row[0]) for row in rows(section(README, "Exit codes"))}
    assert documented == {0} | {error.exit_code for error in subclasses(SisamuError)}


def test_the_drawn_tree_gives_each_class_its_code() -> None:
    """The tree at the top of the errors module names every class with its own exit code."""
    drawn = dict(re.findall(r"^[│├└─ ]*(\w+Error) +(\d)", errors.__doc__ or "", re.MULTILINE))
    below = {
        e.__name__: str(e.exit_code)
        for e in subclasses(SisamuError)
        if e.__module__ == errors.__name__ and e is not SisamuError
    }
    assert drawn == below


def test_the_root_help_tells_every_exit_code() -> None:
    """Who types `sisamu --help` reads the same codes as in the README."""
    told = set(re.findall(r"\b(\d) ", (cli.help or "").partition("Exit codes:")[2]))
    assert told == {row[0] for row in rows(section(README, "Exit codes"))}


# --- commands -----------------------------------------------------------------------------


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_a_document_shows_can_be_typed(path: Path) -> None:
    """Nouns, verbs, options and arguments exist; only real commands are shown."""
    shown = [c for c in shown_commands(path.read_text("utf-8")) if "NOUN" not in c]
    assert {c: problem for c in shown if (problem := problem_of(c))} == {}


def test_a_command_that_does_not_exist_is_noticed() -> None:
    """The check above can fail: on a noun, a verb, an option, a missing argument."""
    for line in (
        "sisamu nothing",
        "sisamu lab fly",
        "sisamu status --fast",
        "sisamu samu show -o json",
    ):
        assert problem_of(line), line


def test_the_readme_lists_exactly_the_commands_there_are() -> None:
    """Its table of nouns and verbs is the command line's own."""
    listed = {
        (noun.strip("`"), *([verb] if verb else []))
        for noun, verbs, _ in rows(section(README, "Commands"))
        for verb in (quoted(verbs) or [""])
    }
    assert listed == set(leaves())


@pytest.mark.parametrize(("words", "command"), list(everything()), ids=lambda x: " ".join(x) if isinstance(x, tuple) else "")  # fmt: skip # noqa: E501
def test_every_command_and_option_says_in_a_sentence_what_it_does(
    words: tuple[str, ...], command: click.Command
) -> None:
    """Help starts with a sentence; every option has help of its own."""
    first = (command.help or "").strip().partition("\n\n")[0]
    assert first.endswith((".", "?")), f"{words}: {first!r}"
    for param in command.params:
        if isinstance(param, click.Option):
            assert param.help, f"{words} {param.opts} has no help"


def test_the_list_of_verbs_cuts_no_sentence_short() -> None:
    """In 80 columns `--help` of a noun shows each verb's first sentence whole."""
    for words, group in everything():
        if isinstance(group, click.Group):
            verbs = list(children(group))
            room = 78 - 6 - max(len(name) for name, _ in verbs)
            for name, verb in verbs:
                assert not verb.get_short_help_str(room).endswith("..."), (*words, name)


def test_the_one_line_of_every_noun_is_a_sentence() -> None:
    """The list of nouns in `sisamu --help` reads as sentences."""
    assert [noun for noun, (_, text) in NOUNS.items() if not text.endswith((".", "?"))] == []


# --- rooms --------------------------------------------------------------------------------


def floors() -> list[set[str]]:
    """Return the layers of the import contract, top first."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    lines = config["importlinter:contract:floors"]["layers"].split("\n")
    return [set(re.split(r"\s*\|\s*", line.strip())) for line in lines if line.strip()]


def test_the_rooms_of_the_architecture_page_are_the_folders() -> None:
    """Every folder and module of the package has its row, and there is no other row."""
    documented = {row[1].strip("`") for row in rows(section(ARCHITECTURE, "Rooms and floors"))}
    entries = [p for p in (ROOT / "sisamu_ops").iterdir() if p.name[0] not in "_."]
    rooms = {p.stem for p in entries if p.suffix == ".py" or (p / "__init__.py").exists()}
    assert documented == rooms


def test_the_floors_of_the_architecture_page_are_those_of_the_contract() -> None:
    """The number before each room is its layer in the import contract."""
    documented: dict[int, set[str]] = {}
    for number, room, _ in rows(section(ARCHITECTURE, "Rooms and floors")):
        documented.setdefault(int(number), set()).add(room.strip("`"))
    assert [documented[n] for n in sorted(documented)] == floors()


def test_every_noun_of_the_command_line_stands_in_the_independence_contract() -> None:
    """A new noun's file cannot be forgotten there."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    contract = set(config["importlinter:contract:nouns"]["modules"].split())
    assert contract == {f"sisamu_ops.cli.{module}" for module, _ in NOUNS.values()}


# --- entries ------------------------------------------------------------------------------


def documented_kinds() -> dict[str, set[str]]:
    """Return the documented keys of `data` by entry kind."""
    table = [row for row in rows(section(ARCHITECTURE, "The fold")) if len(row) == 3]
    return {kind.strip("`"): set(quoted(keys)) for kind, _, keys in table}


def test_every_entry_kind_is_documented() -> None:
    """The table of kinds is the fold's."""
    assert set(documented_kinds()) == set(_HANDLERS)


#: Rules about people in force, so that there is somebody to confirm and something to tick.
PEOPLE = Safety(
    agents_confirmed=AgentsConfirmed(within_minutes=60),
    exit_checklist=ExitChecklist(backup={"agents-back": "agents are at their consoles"}),
    second_signature=SecondSignature(above=1),
)


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> list[Entry]:
    """A journal with an entry of every kind: moves, a refusal, a cut, a reconcile, a report."""
    world = make_world(tmp_path_factory.mktemp("lived"))
    world.ask(Verb.SWITCHOVER, samus=["300"], to="backup")
    world.ask(Verb.ENROL, targets=["otn-paris"])
    world.lead_until_idle()
    world.signers.clear()
    world.ask(Verb.FAILBACK, samus=["300"], to="nominal")
    world.lead_until_idle()
    world.signers.add("oncall@sisamu-lab")
    world.fences.unreachable.add(ROUTERS[1])
    world.ask(Verb.FAILOVER, samus=["680"], to="backup")
    world.lead_until_idle()
    world.fences.unreachable.clear()
    world.ask(Verb.RECONCILE)
    facts = {"operation": "", "token": "1.1", "refused": {"otn-paris": "older-token"}}
    key = load_site_keys(world.directory / "keys").entry
    world.coordination.put(make_report("local", facts, key))
    alarm = {"about": "replica-diverged", "message": "another root", "time": "now"}
    world.coordination.put(make_alarm("local", alarm, key))
    world.coordination.put(make_trigger("local", a_trigger(world), key))
    world.ask(Verb.ADOPT, rules=world.rules.digests())
    for number in range(INBOX_LIMIT + 2):
        world.coordination.put(InboxItem(name=f"rubbish-{number}", payload=b"%d" % number))
    world.lead_until_idle()
    fall_to_degraded(world)
    abort_in_a_soak(world)
    with_people(world)
    world.ask(Verb.CHECK, samus=["680"], to="backup")
    world.lead_until_idle()
    evacuate(world)
    with world.leading() as term:
        term.begin()
        term.leave()
    return entries_of(world)


def evacuate(world: World) -> None:
    """Leave paris to lyon, through every soak."""
    world.prefer_sites()
    world.playbooks.silent.clear()
    world.ask(
        Verb.EVACUATE, samus=list(world.platform.samus), to="lyon", details={"site": "paris"},
        overrides=["second-signature"],
    )  # fmt: skip
    for _ in range(4):
        world.lead_until_idle()
        world.now += timedelta(seconds=4)


def with_people(world: World) -> None:
    """Say who is in place at SAMU 680, which is on backup, and tick an item of its checklist."""
    policy = replace(world.platform.policy, safety=PEOPLE)
    world.platform = replace(world.platform, policy=policy)
    details = {"by": "shift lead", "channel": "phone", "owner": "lead", "bridge": "national"}
    world.ask(Verb.CONFIRM, samus=["680"], details=details)
    world.ask(Verb.TICK, samus=["680"], details={"items": "agents-back"})
    world.ask(Verb.FAILOVER, samus=["300"], to="backup", details=details)
    world.lead_until_idle()
    world.ask(Verb.FAILBACK, samus=["120", "300"], to="nominal", overrides=["exit-checklist"])
    world.lead_until_idle()


def fall_to_degraded(world: World) -> None:
    """Rescue a SAMU whose gateway cannot be reached: it takes the next mode of the order."""
    policy = replace(world.platform.policy, mode_order=("backup", "degraded"))
    world.platform = replace(world.platform, policy=policy)
    world.fences.unreachable.add("samu-120")
    world.ask(Verb.FAILOVER, samus=["120"], to="backup")
    world.lead_until_idle()
    world.fences.unreachable.clear()


def abort_in_a_soak(world: World) -> None:
    """Go back in two waves; the first is not served afterwards: held, then aborted."""
    waves = Waves(canary=1, soak_ms=3_000)
    policy = replace(world.platform.policy, waves=waves)
    world.platform = replace(world.platform, policy=policy)
    asked = world.ask(Verb.FAILBACK, samus=["300", "680"], to="nominal")
    world.lead_until_idle()
    world.now += timedelta(seconds=4)
    world.playbooks.silent.add("300")
    world.lead_until_idle()
    world.ask(Verb.ABORT, about=asked.request_id)
    world.lead_until_idle()


@pytest.fixture(scope="module")
def lived_alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Entry], list[Entry]]:
    """A journal with a lone site's log merged into it, and that log."""
    world = make_world(tmp_path_factory.mktemp("alone"))
    world.signers.add(LEAD)
    policy = replace(world.platform.policy, operators=("oncall@sisamu-lab", LEAD))
    world.platform = replace(world.platform, policy=policy)
    first, second = alone(), alone(samus=["120"])
    start(world, signed(first))
    start(world, signed(second))
    start(world, signed(alone(Verb.FAILBACK), LEAD))
    world.ask(Verb.FAILOVER, samus=["680"], to="backup")
    world.lead_until_idle()
    merge(world)
    world.lead_until_idle()
    send(world, signed(first, LEAD), first.request_id)
    world.lead_until_idle()
    return entries_of(world), log_entries(LocalCoordination(the_log(world).directory))


def a_trigger(world: World) -> dict[str, Any]:
    """Return what a site's trigger says: a request's fields, and no operator."""
    request = new_request(
        platform="world", verb=Verb.FAILOVER, reason="no call for a minute", now=world.now,
        lifetime=timedelta(minutes=5), samus=["120"], to="backup",
    )  # fmt: skip
    fields: dict[str, Any] = json.loads(request.document())
    return fields


def entries_of(world: World) -> list[Entry]:
    """Return every entry of a world, verified."""
    leaves = world.coordination.read(0, world.coordination.size())
    return [read_entry(leaf, index=i, policy=world.trust) for i, leaf in enumerate(leaves)]


@pytest.fixture(scope="module")
def every_entry(lived: list[Entry], lived_alone: tuple[list[Entry], list[Entry]]) -> list[Entry]:
    """What the journals hold, and the log of the lone site."""
    return [*lived, *lived_alone[0], *lived_alone[1]]


def test_every_kind_is_lived_through_here(every_entry: list[Entry]) -> None:
    """The next test would be silent on a kind that never occurs."""
    assert {entry.kind for entry in every_entry} == set(_HANDLERS)


def test_the_keys_of_every_entry_are_documented(every_entry: list[Entry]) -> None:
    """Each kind's `data` has the documented keys; what depends on the verb may be absent."""
    documented = documented_kinds()
    for kind, keys in documented.items():
        seen = {key for entry in every_entry if entry.kind == kind for key in entry.data}
        assert seen == keys - ({"targets"} if kind == "request.accepted" else set()) | (
            seen & {"targets"}
        ), kind


# --- safety rules -------------------------------------------------------------------------


def test_the_matrix_of_the_safety_page_is_the_code_s() -> None:
    """Every rule has its row and every verb its column, cell by cell."""
    text = SAFETY.partition("## Settings")[0]
    head = next(line for line in text.splitlines() if line.startswith("|"))
    verbs = [verb.value for verb in RULES["test-number"].default]
    assert [cell.strip() for cell in head.strip("|").split("|")] == ["rule", *verbs]
    assert rows(text) == [
        [f"`{name}`", *(cell.value for cell in rule.default.values())]
        for name, rule in RULES.items()
    ]


def test_the_settings_of_the_safety_page_can_be_set() -> None:
    """Each rule that needs settings is in the table, and in the example, which is a good one."""
    told = {row[0].strip("`") for row in rows(section(SAFETY, "Settings"))}
    assert told == {name for name, rule in RULES.items() if rule.needs_settings}
    example = yaml.safe_load(SAFETY.partition("```yaml")[2].partition("```")[0])["sisamu_safety"]
    safety, problems = read_safety(example, ["paris", "lyon", "lille"])
    assert problems == []
    assert all(safety.settings(name) for name in told)


def test_the_safety_page_names_what_a_lone_site_cannot_have() -> None:
    """And no other rule."""
    words = SAFETY.partition("A site that acts alone")[2]
    assert set(quoted(words)) == NOT_ALONE | {"leader-reachable"}


# --- JSON ---------------------------------------------------------------------------------


def paths(value: Any, prefix: str = "") -> Iterator[str]:
    """Return the key paths of a JSON value, written as docs/json.md writes them."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from paths(item, f"{prefix}.{key}" if prefix else key)
    elif isinstance(value, list) and value and isinstance(value[0], Mapping):
        for item in value:
            yield from paths(item, f"{prefix}[]")
    else:
        yield prefix


def documented_keys(heading: str) -> set[str]:
    """Return the keys of a table of docs/json.md."""
    return {key for row in rows(section(JSON_KEYS, heading)) for key in quoted(row[0])}


def test_the_keys_of_status_are_documented(
    lived: list[Entry], lived_alone: tuple[list[Entry], list[Entry]], tmp_path: Path
) -> None:
    """`status -o json` has exactly the documented keys."""
    world = make_world(tmp_path)
    view = SimpleNamespace(state=fold(lived), entries=lived, source="ZooKeeper", live=True)
    problem = Problem(kind=ProblemKind.CLOCK, message="lyon's clock is 60 s ahead")
    condition = Condition(
        site="local", version="1", size=1, time="2026-01-02T03:04:05.000+00:00", silent_after_s=15,
        problems=(problem,),
    )  # fmt: skip
    glance = SimpleNamespace(
        view=view, leader=None, contenders=frozenset(), cosigned={}, agreed_size=0, first=0,
        conditions={"local": condition},
    )  # fmt: skip
    record: Any = SimpleNamespace(glance=lambda: glance, trust=world.trust)
    platform = replace(world.platform, policy=replace(world.platform.policy, safety=PEOPLE))
    desk = Desk(
        platform=platform, record=record, targets=world.fences, sign=None,  # type: ignore[arg-type]
        now=lambda: world.now,
    )  # fmt: skip
    found = status_keys(desk) - {"held", "second_due", "samus[].confirmed", "evacuated"}
    view.state, view.entries = fold(lived_alone[0]), lived_alone[0]
    view.state.evacuated["paris"] = "lyon"
    found |= status_keys(desk) - {"alarms", "to_call"}
    database = assess_rac(healthy(down=frozenset({"rac2"})).capture()).brief()
    for path in paths(database, "database"):
        path = re.sub(r"(worst_single_loss)\..*", r"\1", path)
        found.add(re.sub(r"(without_site)\..*", r"\1{site}", path))
    assert found | {"database"} == documented_keys("status")


def test_the_keys_of_a_check_are_documented() -> None:
    """`quorum check -o json` of every kind, and `quorum what-if`, have the documented keys."""
    rac = assess_rac(healthy(down=frozenset({"rac2"})).capture())
    others = (
        judge_capture(galera(node(), node())),
        judge_capture(ensemble(paris=server("leader"), lyon=server())),
    )
    found = {
        re.sub(r"(worst_single_loss)\..*", r"\1", path)
        for one in (rac, *others)
        for path in paths(one.to_json())
    }
    documented = {key.removesuffix("[]") for key in documented_keys("quorum check")}
    # Null, or nothing to list, in some of the kinds.
    assert found - {"voting_files", "findings", "findings[].evidence", "instances"} == documented
    prospect = {key.removesuffix("[]") for key in documented_keys("quorum what-if")}
    assert rac.worst is not None and set(rac.worst.to_json()) == prospect


def status_keys(desk: Desk) -> set[str]:
    """Return the key paths of `status`, those by host and of the last operation in short."""
    found = set()
    for path in paths(desk.status()):
        path = re.sub(r"(samus\[\]\.operation)\..*", r"\1", path)
        found.add(re.sub(r"(samus\[\]\.(routers|held))\..*", r"\1{host}", path))
    return found


def test_every_problem_a_site_may_have_is_documented() -> None:
    """The kinds that `status` shows are those of the model, each under its name."""
    told = next(row for row in rows(section(JSON_KEYS, "status")) if "problems[].kind" in row[0])
    assert set(quoted(told[1])) == {kind.value for kind in ProblemKind}


def test_the_keys_of_an_operation_are_documented(lived: list[Entry]) -> None:
    """`operation show` has the keys of `operation list` and its own, and no other."""
    from sisamu_ops.failover.telling.overview import operation_facts, operation_line

    operation = next(iter(fold(lived).operations.values()))
    line = {path.replace("samus", "samus[]") for path in paths(operation_line(operation))}
    assert {p.replace("unsettled", "unsettled[]") for p in line} == documented_keys(
        "operation list"
    )
    listed = {path.rstrip("[]") for path in documented_keys("operation list")}
    own = {
        re.sub(r"(steps\[\]\.targets)\.[^.]+\.(change)?.*?(outcome|detail|)$", r"\1{host}.\2\3", p)
        for p in paths(operation_facts(operation))
        if p not in listed
    }
    heading = "operation show, switchover start, failover start, failback start"
    assert own == {
        k.removesuffix("[]") if k in ("findings[]", "approvers[]") else k
        for k in documented_keys(heading)
    }


def test_the_keys_of_a_rule_are_documented() -> None:
    """`safety explain -o json` has the documented keys, whatever is set."""
    facts = [rule_facts(rule, IN_FORCE) for rule in RULES.values()]
    documented = {key.partition("{")[0] for key in documented_keys("safety list, safety explain")}
    assert all(set(one) == documented for one in facts)


def test_the_keys_of_a_plan_are_documented(tmp_path: Path) -> None:
    """`switchover plan -o json` has the documented keys."""
    world = make_world(tmp_path)
    world.fences.unreachable.add(ROUTERS[1])
    with world.leading() as term:
        request = new_request(
            platform="world", verb=Verb.SWITCHOVER, reason="r", now=world.now,
            lifetime=timedelta(minutes=5), samus=["300"], to="backup",
        )  # fmt: skip
        plan = term.admission.judge.plan(request)
    preview = Preview(
        changes=[{"host": "otn-paris", "samus": ["300"]}], problems={"otn-lyon": "cut off"},
        not_evaluated=[{"host": "otn-lyon", "what": "the test call"}],
    )  # fmt: skip
    found = set(paths(plan_facts(plan, preview))) | {"check"}
    heading = "switchover plan, failover plan, failback plan"
    assert found == {key.removesuffix("[]") for key in documented_keys(heading)}


def test_the_figures_of_calls_are_documented() -> None:
    """`lab calls` counts what is documented, and the ledger's lines have the documented keys."""
    assert set(tally([]).to_json()) == documented_keys("lab calls")
    record = CallRecord(call_id="1", samu_id="300", via="otn-paris", invited_at_ms=0)
    words = section(JSON_KEYS, "lab calls").partition("`--ledger FILE`")[2]
    told = set(quoted(words))
    assert set(record.to_json()) == told


# --- the rest -----------------------------------------------------------------------------


def demo() -> ModuleType:
    """Import the demonstration as a module."""
    spec = importlib.util.spec_from_file_location("sisamu_demo", ROOT / "script/demo.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_readme_opens_with_the_two_commands_and_what_one_sees() -> None:
    """The table shown has the rows the demonstration prints."""
    assert README.index("script/demo") < README.index("script/test") < README.index("\n## ")
    shown = README.partition("<!-- demo:begin -->")[2].partition("<!-- demo:end -->")[0]
    labels = {re.split(r" {2,}", line.strip())[0] for line in shown.splitlines() if line.strip()}
    assert set(demo()._ROWS) <= labels


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_to_a_file(path: Path) -> None:
    """No document points at a file that is not there."""
    targets = re.findall(r"\]\((?!https?:)([^)#]+)\)", path.read_text("utf-8"))
    assert [one for one in targets if not (path.parent / one).exists()] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_file_a_document_names_exists(path: Path) -> None:
    """Paths in backquotes below docs, script, tests, playbooks and inventories are real."""
    named = quoted(path.read_text("utf-8"))
    ours = [n for n in named if re.match(r"(docs|script|tests|playbooks|inventories)/[\w./-]*$", n)]
    assert [name for name in ours if not (ROOT / name).exists()] == []


def test_decisions_are_numbered_without_a_gap() -> None:
    """Each page of docs/adr carries its number in its name and in its title."""
    pages = sorted((ROOT / "docs/adr").glob("*.md"))
    for number, page in enumerate(pages, start=1):
        assert page.name.startswith(f"{number:04d}-")
        assert page.read_text("utf-8").startswith(f"# {number}. ")
