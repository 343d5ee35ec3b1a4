"""One line for what our parsers read in a sample; which parser follows from the file's name."""

from __future__ import annotations

from collections.abc import Callable

from sisamu_ops.quorum.capture import Output
from sisamu_ops.quorum.rac.broker import read_broker
from sisamu_ops.quorum.rac.membership import (
    Daemons,
    read_check_cluster,
    read_check_crs,
    read_olsnodes,
)
from sisamu_ops.quorum.rac.resources import read_resources
from sisamu_ops.quorum.rac.settings import read_setting
from sisamu_ops.quorum.rac.srvctl import NOT_REGISTERED, read_srvctl
from sisamu_ops.quorum.rac.storage import read_lsdg, read_ocrcheck
from sisamu_ops.quorum.rac.text import codes_of, read_text
from sisamu_ops.quorum.rac.votedisk import read_votedisk


def reading_of(name: str, content: bytes) -> str:
    """Return what is read in a sample; the codes of its messages where no command of ours."""
    output = Output(content=content)
    for prefix, read in _READERS.items():
        if name.startswith(prefix):
            return read(output)
    return "codes " + (" ".join(codes_of(read_text(output))) or "none")


def _doubts(complaints: tuple[str, ...]) -> str:
    return f" | not intact: {'; '.join(complaints)}" if complaints else ""


def _votedisk(output: Output) -> str:
    read = read_votedisk(output)
    states = " ".join(f"{row.index}:{row.state}[{row.disk_group}]" for row in read.rows)
    return f"{states}, located {read.located}{_doubts(read.complaints)}"


def _olsnodes(output: Output) -> str:
    read = read_olsnodes(output)
    words = {True: "active", False: "inactive", None: "?"}
    rows = " ".join(f"{row.number}:{row.name}:{words[row.active]}" for row in read.rows)
    return rows + _doubts(read.complaints)


def _daemons(one: Daemons) -> str:
    return " ".join(
        f"{n}={'up' if up else 'down' if up is False else '?'}" for n, up in one.up.items()
    )


def _check_crs(output: Output) -> str:
    read = read_check_crs(output)
    return _daemons(read) + _doubts(read.complaints)


def _check_cluster(output: Output) -> str:
    read = read_check_cluster(output)
    rows = "; ".join(f"{name} {_daemons(one)}" for name, one in read.nodes.items())
    return rows + _doubts(read.complaints)


def _resources(output: Output, *, init: bool = False) -> str:
    read = read_resources(output, init=init)
    names = len({row.resource for row in read.rows})
    faults = "; ".join(
        f"{row} {row.state} {row.details}".strip() for row in read.rows if row.faulty
    )
    said = f"{names} resources, {len(read.rows)} rows"
    return f"{said}, faults: {faults or 'none'}{_doubts(read.complaints)}"


def _ocrcheck(output: Output) -> str:
    read = read_ocrcheck(output)
    return (
        f"at {' '.join(read.devices) or '-'}, faults: {'; '.join(read.faults) or 'none'}"
        + _doubts(read.complaints)
    )


def _lsdg(output: Output) -> str:
    read = read_lsdg(output)
    return "; ".join(
        f"{g.name} {g.state} {g.redundancy} offline={g.offline_disks} voting={g.holds_voting_files}"
        for g in read.groups
    ) + _doubts(read.complaints)


def _srvctl(output: Output) -> str:
    read = read_srvctl(output)
    told = [f"{i.name}@{i.node} {'running' if i.running else 'down'} {i.status}".strip()
            for i in read.instances]  # fmt: skip
    told += [f"{s.name} on {','.join(s.running_on) or 'nothing'}" for s in read.services]
    told += [f"{s.name}@{s.node or 'nowhere'}" for s in read.scan_listeners]
    told += ["database down"] * read.databases_down
    told += [f"{name} down" for name in read.others_down]
    told += ["not registered"] * bool(NOT_REGISTERED & set(read.codes))
    told += ["already so"] * read.nothing_to_do
    return ("; ".join(told) or "nothing") + _doubts(read.complaints)


def _setting(output: Output) -> str:
    return f"misscount {read_setting(output, 'misscount')} s"


def _broker(output: Output) -> str:
    read = read_broker(output)
    members = ", ".join(f"{name} {role}" for name, role in read.members)
    watch = {True: "on", False: "off", None: "?"}[read.fast_start]
    return (
        f"{read.name}: {read.status or 'no status'}; {members}; fast-start failover {watch}"
        f"{', no observer watches' * read.unobserved}; {len(read.troubles)} troubles"
        f"{_doubts(read.complaints)}"
    )


def _init(output: Output) -> str:
    return _resources(output, init=True)


_READERS: dict[str, Callable[[Output], str]] = {
    "votedisk": _votedisk,
    "olsnodes": _olsnodes,
    "check-crs": _check_crs,
    "check-cluster": _check_cluster,
    "css-get": _setting,
    "stat-res-init": _init,
    "stat-res-t": _resources,
    "ocrcheck": _ocrcheck,
    "asmcmd-lsdg": _lsdg,
    "srvctl-status": _srvctl,
    "srvctl-start": _srvctl,
    "srvctl-stop": _srvctl,
    "crs_stat": _resources,
    "stat-res_attributes": _resources,
    "dgmgrl-show": _broker,
}
