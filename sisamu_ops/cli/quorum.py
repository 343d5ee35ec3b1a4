"""`sisamu quorum`: whether the database holds, and what it would survive."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from sisamu_ops.app import App
from sisamu_ops.cli.render import emit, output_option, print_table, say, wrapped

if TYPE_CHECKING:
    from sisamu_ops.quorum.assessment import Assessment
    from sisamu_ops.quorum.capture import Capture
    from sisamu_ops.quorum.verdict import Verdict
    from sisamu_ops.quorum.what_if import Prospect

Command = TypeVar("Command", bound=Callable[..., Any])

#: Verdict → exit code; and for checks that a monitoring system runs.
EXITS = {"QUORATE": 0, "DEGRADED": 3, "LOST": 4, "UNKNOWN": 6}
NAGIOS = {"QUORATE": 0, "DEGRADED": 1, "LOST": 2, "UNKNOWN": 3}
#: The order in which losses are listed: site by site first.
_SCOPES = ("site", "node", "voting file")
_NAGIOS_WORDS = ("OK", "WARNING", "CRITICAL", "UNKNOWN")


@click.group()
def quorum() -> None:
    """Whether the database holds, and what it would survive."""


def _kind_option(command: Command) -> Command:
    return click.option(
        "--kind",
        type=click.Choice(["oracle_rac", "galera", "zookeeper"]),
        default=None,
        help="Which cluster; the platform's database, or what the capture says, unless given.",
    )(command)


def _cluster_options(command: Command) -> Command:
    capture = click.option(
        "--capture",
        "directory",
        type=click.Path(path_type=Path, file_okay=False),
        default=None,
        help="Judge a capture instead of asking: DIR/<host>/<name>.txt.",
    )
    return _kind_option(capture(command))


@quorum.command()
@_cluster_options
@click.option("--allow-degraded", is_flag=True, help="Exit 0 when DEGRADED.")
@click.option("--nagios", is_flag=True, help="One line, and exit 0, 1, 2 or 3.")
@output_option
@click.pass_obj
def check(
    app: App,
    kind: str | None,
    directory: Path | None,
    allow_degraded: bool,
    nagios: bool,
    output: str,
) -> None:
    """Judge a cluster, and say all that was found.

    QUORATE, DEGRADED, LOST or UNKNOWN exit 0, 3, 4 or 6; with --allow-degraded DEGRADED exits 0.
    """
    assessment = _assess(app, kind, directory)
    verdict = assessment.verdict.value
    if nagios:
        click.echo(_nagios_line(assessment, allow_degraded))
    else:
        facts = assessment.to_json()
        emit(facts, output, lambda: _print_assessment(facts))
    allowed = allow_degraded and verdict == "DEGRADED"
    sys.exit(0 if allowed else (NAGIOS if nagios else EXITS)[verdict])


@quorum.command()
@_cluster_options
@click.option("--lose", "names", multiple=True, help="A site, a node or a voting file; repeatable.")
@click.option(
    "--manner",
    type=click.Choice(["kill", "stop", "cut", "split"]),
    default="kill",
    show_default=True,
    help="Dead, stopped in good order, cut off, or only the nodes' own network split.",
)
@click.option("--one-by-one", is_flag=True, help="One after the other, not all at once.")
@output_option
@click.pass_context
def what_if(
    ctx: click.Context,
    kind: str | None,
    directory: Path | None,
    names: tuple[str, ...],
    manner: str,
    one_by_one: bool,
    output: str,
) -> None:
    """Say who is left after a loss.

    Without --lose, after each single loss there can be.

    Exits 0 when the cluster goes on, 4 when quorum would be lost, 6 when that cannot be told.
    """
    assessment = _assess(ctx.obj, kind, directory)
    if assessment.blocks_planned:
        _print_nothing(assessment.verdict, names, output)
        sys.exit(EXITS[assessment.verdict.value])
    if not names:
        _print_prospects(assessment.prospects, output)
        return
    prospect = _foresee(assessment, names, manner, one_by_one)
    facts = prospect.to_json()
    emit(facts, output, lambda: _print_prospect(facts))
    sys.exit(0 if prospect.verdict.value == "DEGRADED" else EXITS[prospect.verdict.value])


@quorum.command()
@_kind_option
@click.option(
    "--out",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="A new directory for every output, word for word.",
)
@click.pass_obj
def capture(app: App, kind: str | None, directory: Path) -> None:
    """Keep every raw output of a cluster, to be judged later.

    `check --capture` then says what it would have said now. Exits 6 when no host was reached.
    """
    from sisamu_ops.quorum.archive import write_capture

    heard = app.enter().quorum(kind or "").capture()
    write_capture(directory, heard)
    silent = [f"{host} ({one.unreachable})" for host, one in heard.hosts.items() if one.unreachable]
    click.echo(f"kept {len(heard.hosts) - len(silent)} of {len(heard.hosts)} hosts in {directory}")
    if silent:
        click.echo(wrapped(f"not reached: {', '.join(silent)}", ""))
    click.echo(f"judge it: sisamu quorum check --capture {directory}")
    sys.exit(EXITS["UNKNOWN"] if len(silent) == len(heard.hosts) else 0)


@quorum.command()
@_cluster_options
@click.option("--node", default="", help="The data node; the one furthest ahead unless given.")
@click.option("--dead", multiple=True, help="A data node that surely will not come back.")
@output_option
@click.pass_obj
def bootstrap(
    app: App,
    kind: str | None,
    directory: Path | None,
    node: str,
    dead: tuple[str, ...],
    output: str,
) -> None:
    """Say which Galera node may be bootstrapped by hand, if any.

    It does nothing itself. Refuses (3) while a primary component exists, while a node was not
    heard, and for a node that is behind another: each of them loses writes.
    """
    from sisamu_ops.quorum.galera.bootstrap import plan_bootstrap, read_for_bootstrap

    asked = kind if directory else kind or "galera"
    heard = read_for_bootstrap(_capture(app, asked, directory))
    plan = plan_bootstrap(heard, dead, node)
    facts = {
        "node": plan.node,
        "seqno": plan.seqno,
        "reason": plan.reason,
        "steps": list(plan.steps),
    }

    def table() -> None:
        click.echo(wrapped(plan.reason, ""))
        for number, step in enumerate(plan.steps, start=1):
            click.echo(wrapped(step, f"{number}. "))

    emit(facts, output, table)


def _capture(app: App, kind: str | None, directory: Path | None) -> Capture:
    if directory is not None:
        from sisamu_ops.quorum.archive import read_archive

        return read_archive(directory, kind)
    return app.enter().quorum(kind or "").capture()


def _assess(app: App, kind: str | None, directory: Path | None) -> Assessment:
    from sisamu_ops.app.clusters import judge_capture

    return judge_capture(_capture(app, kind, directory))


def _foresee(
    assessment: Assessment, names: Iterable[str], manner: str, one_by_one: bool
) -> Prospect:
    from sisamu_ops.quorum.what_if import Manner, find_loss, foresee

    losses = [find_loss(assessment.cluster, name, Manner(manner)) for name in names]
    steps = [[loss] for loss in losses] if one_by_one else [losses]
    return foresee(assessment.cluster, *steps)


def _nagios_line(assessment: Assessment, allow_degraded: bool) -> str:
    verdict, facts = assessment.verdict.value, assessment.to_json()
    code = 0 if allow_degraded and verdict == "DEGRADED" else NAGIOS[verdict]
    grave = [one["message"] for one in facts["findings"] if one["severity"] not in ("info",)]
    said = f"QUORUM {_NAGIOS_WORDS[code]} - {verdict}" + (f": {grave[0]}" if grave else "")
    # The bar separates what is measured: it may not stand in the text.
    said = said.replace("|", "/").replace("\n", " ")
    files = facts["voting_files"]
    if files and files["configured"]:
        return f"{said} | voting_files={files['online']};;{files['required']}:"
    return said


def _print_assessment(facts: Mapping[str, Any]) -> None:
    files = facts["voting_files"]
    click.echo(f"{facts['kind']}  {facts['verdict']}")
    if files and files["configured"]:
        click.echo(
            f"voting files: {files['online']} of {files['configured']} online, "
            f"{files['required']} required"
        )
    if facts["blocks_planned"]:
        click.echo("begin nothing planned; a rescue is not stopped by this")
    if facts["unseen"]:
        click.echo(wrapped("; ".join(facts["unseen"]), "not seen: "))
    _print_rows(facts["nodes"])
    _print_rows(facts["instances"])
    for finding in facts["findings"]:
        _print_finding(finding)
    worst = facts["worst_single_loss"]
    if worst:
        named = f"{worst['scope'][0]} {worst['lose'][0]}: {worst['verdict']}, {worst['reason']}"
        click.echo(wrapped(named, "worst single loss: "))


def _print_rows(rows: list[Mapping[str, Any]]) -> None:
    if rows:
        columns = list(rows[0])
        print_table("", columns, [[_word(row[name]) for name in columns] for row in rows])


def _word(value: object) -> str:
    if value is None:
        return "-"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _print_finding(finding: Mapping[str, Any]) -> None:
    click.echo(wrapped(finding["message"], f"{finding['severity'].upper()} {finding['id']}: "))
    click.echo(wrapped(finding["remedy"], "  remedy: "))
    for seen in finding["evidence"]:
        line = f": {seen['line']}" if seen["line"] else ""
        click.echo(wrapped(f"{seen['host']}, {seen['command']}{line}", "  seen: "))


def _print_prospects(prospects: tuple[Prospect, ...], output: str) -> None:
    facts = [one.to_json() for one in prospects]

    def table() -> None:
        ordered = sorted(facts, key=lambda one: _SCOPES.index(one["scope"][0]))
        rows = [
            (
                one["scope"][0],
                one["lose"][0],
                one["verdict"],
                ", ".join(one["survivors"]) or "nobody",
                ", ".join(one["services_left"]) or "-",
            )
            for one in ordered
        ]
        print_table(
            "one more loss", ["lost", "which", "verdict", "who goes on", "services left"], rows
        )

    emit(facts, output, table)


def _print_nothing(today: Verdict, names: tuple[str, ...], output: str) -> None:
    """Say that nothing can be foreseen from what is lost already, or cannot be told."""
    from sisamu_ops.quorum.what_if import Prospect

    reason = f"today the verdict is {today.value}: nothing is foreseen from it"
    prospect = Prospect(losses=(), verdict=today, survivors=(), reason=reason)
    facts = prospect.to_json() | {"lose": list(names)}
    emit(facts if names else [facts], output, lambda: click.echo(reason))
    say("  remedy: sisamu quorum check says what is wrong, and what would mend it")


def _print_prospect(facts: Mapping[str, Any]) -> None:
    lost = ", ".join(f"{s} {n}" for s, n in zip(facts["scope"], facts["lose"], strict=True))
    click.echo(wrapped(f"{lost} ({facts['manner'][0]})", "losing: "))
    click.echo(wrapped(facts["reason"], f"{facts['verdict']}: "))
    click.echo(wrapped(", ".join(facts["survivors"]) or "nobody", "  goes on:       "))
    if facts["services_left"] or facts["services_lost"]:
        click.echo(wrapped(", ".join(facts["services_left"]) or "none", "  services left: "))
        click.echo(wrapped(", ".join(facts["services_lost"]) or "none", "  moved or lost: "))
