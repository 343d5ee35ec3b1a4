"""A capture on disk: `DIR/<host>/<name>.txt` with `<name>.rc`, and `DIR/cluster.yml`.

Whoever has only a directory of outputs can have it judged; `cluster.yml` and every `.rc` may be
missing. A host that could not be reached has only `unreachable.txt`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from sisamu_ops.model.errors import ConfigurationError, RefusedError, said_of
from sisamu_ops.quorum.capture import (
    OUTPUT_LIMIT_BYTES,
    Capture,
    ClusterKind,
    Declared,
    HostCapture,
    Output,
)

_FACTS = "cluster.yml"
_UNREACHABLE = "unreachable.txt"


def write_capture(directory: Path, capture: Capture) -> None:
    """Write a capture into a directory that is empty, or not there yet.

    RefusedError where something is in it: two captures in one would be judged as one.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise RefusedError(
            "there is something already", place=str(directory), remedy="name a new directory"
        )
    try:
        _write(directory, capture)
    except OSError as error:
        raise ConfigurationError(
            said_of(error), place=str(directory), remedy="name a directory that can be written"
        ) from error


def _write(directory: Path, capture: Capture) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    facts = yaml.safe_dump(_facts(capture.declared), sort_keys=False, allow_unicode=True)
    (directory / _FACTS).write_text(facts, "utf-8")
    for host, one in capture.hosts.items():
        home = directory / host
        home.mkdir()
        if one.unreachable:
            (home / _UNREACHABLE).write_text(one.unreachable + "\n", "utf-8")
        for name, output in one.outputs.items():
            (home / f"{name}.txt").write_bytes(output.content)
            if output.status is not None:
                (home / f"{name}.rc").write_text(f"{output.status}\n", "ascii")


def _facts(declared: Declared) -> dict[str, Any]:
    """Return what was declared as it stands in `cluster.yml`: only what is not by default."""
    sites: dict[str, list[str]] = {}
    for name, site in declared.sites.items():
        sites.setdefault(site, []).append(name)
    facts: dict[str, Any] = {
        "kind": declared.kind.value,
        "version": ".".join(map(str, declared.version)),
        "sites": sites,
        "voting_files": dict(declared.voting_files),
        "weights": dict(declared.weights),
        "votes": dict(declared.votes),
        "arbiters": list(declared.arbiters),
    }
    kept: dict[str, Any] = {name: value for name, value in facts.items() if value}
    if not declared.data_guard:
        kept["data_guard"] = False
    if declared.site_loss_degrades:
        kept["site_loss"] = "degraded"
    return kept


def read_archive(directory: Path, kind: str | None = None) -> Capture:
    """Read a capture, as one of a kind when that is named.

    ConfigurationError with every problem of `cluster.yml` at once.
    """
    if not directory.is_dir():
        raise ConfigurationError(
            "no such capture",
            place=str(directory),
            remedy="make one: sisamu quorum capture --out DIR",
        )
    try:
        declared = _read_facts(directory / _FACTS)
        homes = sorted(one for one in directory.iterdir() if one.is_dir())
        hosts = {one.name: _read_host(one) for one in homes if not one.name.startswith(".")}
    except OSError as error:
        raise ConfigurationError(
            said_of(error), place=str(directory), remedy="make it readable"
        ) from error
    if kind:
        declared = replace(declared, kind=ClusterKind(kind))
    return Capture(declared=declared, hosts=hosts)


def _read_host(home: Path) -> HostCapture:
    outputs = {}
    for path in sorted(home.glob("*.txt")):
        if path.name != _UNREACHABLE and path.is_file():
            with path.open("rb") as file:  # a pipe's worth of nonsense is not read whole
                content = file.read(OUTPUT_LIMIT_BYTES + 1)
            outputs[path.stem] = Output(content=content, status=_status(path.with_suffix(".rc")))
    reason = home / _UNREACHABLE
    if reason.is_file() and not outputs:
        said = reason.read_text("utf-8", "replace").strip().splitlines()
        return HostCapture(unreachable=said[0] if said else "no reason kept")
    return HostCapture(outputs=outputs)


def _status(path: Path) -> int | None:
    """Return an exit status; one that cannot be read counts as failed."""
    if not path.is_file():
        return None
    said = path.read_text("ascii", "replace").strip()
    return int(said) if said.lstrip("-").isdecimal() else 1


def _read_facts(path: Path) -> Declared:
    if not path.is_file():
        return Declared()
    try:
        facts = yaml.safe_load(path.read_text("utf-8", "replace"))
    except yaml.YAMLError as error:
        said = str(error).splitlines()[0]
        raise _misfit(path, [f"not YAML: {said}"]) from error
    return read_facts({} if facts is None else facts, path)


def read_facts(facts: Any, place: Path) -> Declared:
    """Return what is declared of a cluster; ConfigurationError names every problem."""
    problems: list[str] = []
    if not isinstance(facts, Mapping):
        raise _misfit(place, ["it must be a mapping"])
    unknown = sorted(set(map(str, facts)) - set(_READERS))
    problems += [f"unknown key {name}" for name in unknown]
    found: dict[str, Any] = {}
    for name, (field, read) in _READERS.items():
        if name in facts:
            try:
                found[field] = read(facts[name])
            except (TypeError, ValueError, AttributeError) as error:
                problems.append(f"{name}: {error}")
    if problems:
        raise _misfit(place, problems)
    return Declared(**found)


def _misfit(place: Path, problems: list[str]) -> ConfigurationError:
    return ConfigurationError(
        "; ".join(problems), place=str(place), remedy="docs/quorum.md has the form of cluster.yml"
    )


def _kind(value: Any) -> ClusterKind:
    return ClusterKind(str(value))


def read_version(value: Any) -> tuple[int, ...]:
    """Return a version's numbers; ValueError unless it is digits and dots."""
    words = str(value).split(".")
    if not all(word.isdecimal() for word in words):
        raise ValueError(f"{value!r} is not a version such as 19.24")
    return tuple(int(word) for word in words)


def _sites(value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise TypeError("it must map each site to a list of members")
    found: dict[str, str] = {}
    for site, members in value.items():
        if not isinstance(members or [], list):
            raise TypeError(f"{site}: a list of members is needed")
        for member in members or []:
            if str(member) in found:
                raise ValueError(f"{member} stands at two sites")
            found[str(member)] = str(site)
    return found


def _words(value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise TypeError("it must map each path to its site")
    return {str(path): str(site) for path, site in value.items()}


def _weights(value: Any) -> dict[str, int]:
    if not isinstance(value, Mapping):
        raise TypeError("it must map each member to a number")
    return {str(name): int(weight) for name, weight in value.items()}


def _names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError("it must be a list of members")
    return tuple(str(one) for one in value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("it must be true or false")
    return value


def _degrades(value: Any) -> bool:
    if value not in ("warning", "degraded"):
        raise ValueError("it must be warning or degraded")
    return bool(value == "degraded")


_READERS: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    "kind": ("kind", _kind),
    "version": ("version", read_version),
    "sites": ("sites", _sites),
    "voting_files": ("voting_files", _words),
    "weights": ("weights", _weights),
    "votes": ("votes", _weights),
    "arbiters": ("arbiters", _names),
    "data_guard": ("data_guard", _flag),
    "site_loss": ("site_loss_degrades", _degrades),
}
