"""`sisamu audit`: show, tell and verify the journal."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sisamu_ops.app import App, verify_copy
from sisamu_ops.cli.render import emit, output_option, print_table, say, wrapped
from sisamu_ops.model.errors import ConfigurationError, IntegrityError

if TYPE_CHECKING:
    from sisamu_ops.journal.entry import Entry
    from sisamu_ops.journal.keys import Policy
    from sisamu_ops.journal.verify import VerifyReport

#: Findings printed for people; a replaced key alone makes one for every entry.
MOST_FINDINGS = 20


@click.group()
def audit() -> None:
    """Show, tell and verify the journal."""


def _fact(entry: Entry) -> dict[str, Any]:
    from sisamu_ops.failover.telling.story import tell

    return {**entry.body, "told": tell(entry)}


@audit.command()
@output_option
@click.option("--kind", default="", help="Only entries whose kind starts with this.")
@click.option("--last", type=click.IntRange(1), default=None, help="Only so many, the newest.")
@click.pass_obj
def show(app: App, kind: str, last: int | None, output: str) -> None:
    """List the journal's entries."""
    view = app.open_record().journal()
    facts = [_fact(e) for e in view.entries if e.kind.startswith(kind)]
    _emit_entries(facts[-last:] if last else facts, output, f"journal, from {view.source}")


@audit.command()
@output_option
@click.argument("operation")
@click.pass_obj
def story(app: App, operation: str, output: str) -> None:
    """Tell the chain of an operation or request in plain words."""
    from sisamu_ops.failover.telling.story import story as chain

    facts = [_fact(e) for e in chain(app.open_record().journal().entries, operation)]
    if not facts:
        raise ConfigurationError(
            f"the journal has no operation or request {operation}",
            remedy="list them: sisamu operation list",
        )
    if output != "table":
        _emit_entries(facts, output, "")
        return
    for fact in facts:
        first = f"{fact['time'][11:23]} {fact['index']:>4}  "
        click.echo(wrapped(fact["told"], first=first))


def _emit_entries(facts: list[dict[str, Any]], output: str, title: str) -> None:
    def table() -> None:
        rows = [(f["index"], f["epoch"], f["time"][11:23], f["told"]) for f in facts]
        print_table(title, ["index", "epoch", "time (UTC)", "what"], rows)

    emit(facts, output, table)


@audit.command()
@output_option
@click.option(
    "--policy",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    help="Whose signatures count; the inventory's unless given.",
)
@click.option(
    "--checkpoint",
    "checkpoints",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="A checkpoint kept from earlier, which the journal must extend; may be repeated.",
)
@click.argument("directory", required=False, type=click.Path(path_type=Path))
@click.pass_obj
def verify(
    app: App,
    policy: Path | None,
    checkpoints: tuple[Path, ...],
    directory: Path | None,
    output: str,
) -> None:
    """Verify a copied journal, or the replica of every site.

    With DIRECTORY, the copied journal, and --policy nothing else is needed: no inventory, no
    network. Exits 8 for any change, gap, reorder, unknown key, missing policy, nothing to
    verify, or a journal shorter than a checkpoint given.
    """
    known = [_read(path) for path in checkpoints]
    trust = _policy(app, policy, copied=directory is not None)
    if directory is not None:
        reports = {str(directory): verify_copy(directory, trust, known)}
    else:
        reports = _verify_all(app, trust, known)
    facts = [{"journal": name, **_report_fact(r)} for name, r in reports.items()]
    emit(facts, output, lambda: _print_reports(facts))
    if not reports:
        raise IntegrityError("nothing to verify: no replica answered", remedy="sisamu doctor")
    if not all(report.ok for report in reports.values()):
        sys.exit(IntegrityError.exit_code)


def _verify_all(app: App, policy: Policy | None, known: list[bytes]) -> dict[str, VerifyReport]:
    return app.open_record().verify_replicas(lambda copy: verify_copy(copy, policy, known))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise IntegrityError(
            f"the checkpoint cannot be read ({error.strerror})",
            place=str(path),
            remedy="name the file of a checkpoint kept from earlier",
        ) from error


def _policy(app: App, path: Path | None, *, copied: bool) -> Policy | None:
    """Return the policy, or None when there is none: the report then says what that means."""
    from sisamu_ops.journal.keys import load_policy

    chosen = path or app.policy_path
    if not chosen.exists() and not copied:
        raise IntegrityError(
            "the policy is missing: nobody's signature counts",
            place=str(chosen),
            remedy="name it with --policy",
        )
    if not chosen.exists():
        say(f"error: {chosen}: the policy is missing\n  remedy: name it with --policy")
        return None
    return load_policy(chosen)


def _report_fact(report: VerifyReport) -> dict[str, Any]:
    return {
        "origin": report.origin,
        "ok": report.ok,
        "size": report.size,
        "checkpoint_time": report.checkpoint_time,
        "entries": report.entries,
        "findings": [
            {"kind": f.kind.value, "place": f.place, "message": f.message} for f in report.findings
        ],
        "cannot_exclude": list(report.cannot_exclude),
    }


def _print_reports(facts: list[dict[str, Any]]) -> None:
    for fact in facts:
        _print_report(fact)


def _print_report(fact: dict[str, Any]) -> None:
    click.echo(f"{'VERIFIED' if fact['ok'] else 'NOT VERIFIED'}  {fact['journal']}")
    click.echo(f"  log                {fact['origin'] or 'none: there is no policy'}")
    size = "none" if fact["size"] is None else fact["size"]
    click.echo(f"  newest checkpoint  size {size}, time {fact['checkpoint_time'] or 'none'}")
    click.echo(f"  entries read       {fact['entries']}")
    for finding in fact["findings"][:MOST_FINDINGS]:
        told = f"{finding['place']}: {finding['message']}"
        click.echo(wrapped(told, first=f"  {finding['kind']}: "))
    if len(fact["findings"]) > MOST_FINDINGS:
        click.echo(f"  and {len(fact['findings']) - MOST_FINDINGS} more: -o json has them all")
    click.echo("  cannot exclude:")
    for words in fact["cannot_exclude"]:
        click.echo(wrapped(words, first="    - "))
