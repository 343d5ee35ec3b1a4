"""A RAC cluster of our own invention, and what its commands would print in Oracle's layouts.

`healthy()` is where every test begins: it changes one fact and asks what is made of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from sisamu_ops.quorum.capture import Capture, Declared, HostCapture, Output
from sisamu_ops.quorum.rac.commands import COMMANDS

_RULE = "-" * 80
_STARS = "*" * 62
_SETTING = "CRS-4678: Successful get {} for Cluster Synchronization Services.\n"
_CODES = {
    "ohas": ("CRS-4638: Oracle High Availability Services is online",),
    "crs": (
        "CRS-4537: Cluster Ready Services is online",
        "CRS-4535: Cannot communicate with Cluster Ready Services",
    ),
    "css": (
        "CRS-4529: Cluster Synchronization Services is online",
        "CRS-4530: Communications failure contacting Cluster Synchronization Services daemon",
    ),
    "evm": (
        "CRS-4533: Event Manager is online",
        "CRS-4534: Cannot communicate with Event Manager",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Rac:
    """The facts of a cluster; every output is written from them.

    `down` are nodes whose cluster synchronisation is down; `offline` voting files by index;
    `instances_down`, `services_down` by ordinal and name, `partly_down` on the last instance only;
    `failed_over` nodes whose address is on another; `claims` what a node says of others:
    {host: those it takes for out}.
    """

    nodes: tuple[str, ...] = ("rac1", "rac2")
    sites: tuple[str, ...] = ("paris", "lyon")
    files: tuple[str, ...] = ("paris", "lyon", "lille")
    database: str = "samu"
    services: tuple[str, ...] = ("calls", "portal")
    down: frozenset[str] = frozenset()
    crs_down: frozenset[str] = frozenset()
    offline: frozenset[int] = frozenset()
    instances_down: frozenset[int] = frozenset()
    services_down: frozenset[str] = frozenset()
    partly_down: frozenset[str] = frozenset()
    dismounted: frozenset[str] = frozenset()
    failed_over: frozenset[str] = frozenset()
    claims: Mapping[str, frozenset[str]] = field(default_factory=dict)
    offline_disks: int = 0
    ocr: str = "succeeded"
    broker: str = ""
    scan_nodes: tuple[str, ...] = ()
    old: bool = False

    @property
    def up(self) -> tuple[str, ...]:
        """Return the nodes in the cluster."""
        return tuple(one for one in self.nodes if one not in self.down)

    def capture(self, **changes: object) -> Capture:
        """Return what every node would say, asked now; down nodes say what such a node says."""
        hosts = {
            node: HostCapture(
                outputs={
                    name: Output(content=said.encode(), status=0)
                    for name, said in self.outputs(node).items()
                }
            )
            for node in self.nodes
        }
        return Capture(declared=replace(self.declared(), **changes), hosts=hosts)  # type: ignore[arg-type]

    def declared(self) -> Declared:
        """Return what the inventory would declare."""
        return Declared(
            version=(19, 24),
            sites=dict(zip(self.nodes, self.sites, strict=True)),
            voting_files={self.path(i): site for i, site in enumerate(self.files)},
        )

    def path(self, index: int) -> str:
        """Return the path of a voting file."""
        return f"/dev/mapper/vote{index + 1}"

    def outputs(self, host: str) -> dict[str, str]:
        """Return every output of one node, by name."""
        if host in self.down:
            return self._outputs_of_a_fenced_node()
        return {
            "olsnodes": self.olsnodes(host),
            "votedisk": self.votedisk(),
            "check_crs": self.check_crs(host),
            "check_cluster": self.check_cluster(host),
            "misscount": _SETTING.format("misscount 30"),
            "disktimeout": _SETTING.format("disktimeout 200"),
            "stat_res": self.stat_res(),
            "stat_res_init": self.stat_res_init(host),
            "ocrcheck": self.ocrcheck(),
            "lsdg": self.lsdg(host),
            "srvctl_database": self.srvctl_database(),
            "srvctl_instance": self._instance(self.nodes.index(host)),
            "srvctl_service": self.srvctl_service(),
            "srvctl_scan_listener": self.srvctl_scan_listener(),
            "dgmgrl_configuration": self.broker or BROKER_ABSENT,
        }  # fmt: skip

    def olsnodes(self, host: str) -> str:
        """Return the node list as one node sees it."""
        out = self.claims.get(host, frozenset()) | self.down
        rows = [
            f"{node}\t{i}\t10.0.0.{100 + i}\t{'Inactive' if node in out else 'Active'}\tUnpinned"
            for i, node in enumerate(self.nodes, start=1)
        ]
        return _lines(rows)

    def votedisk(self) -> str:
        """Return the voting files."""
        rows = ["##  STATE    File Universal Id                File Name Disk group",
                "--  -----    -----------------                --------- ---------"]  # fmt: skip
        for i in range(len(self.files)):
            state = "OFFLINE" if i in self.offline else "ONLINE "
            rows.append(f" {i + 1}. {state}  {i + 10:032x} ({self.path(i)}) [VOTE]")
        return _lines([*rows, f"Located {len(self.files)} voting disk(s)."])

    def check_crs(self, host: str) -> str:
        """Return the node's daemons."""
        low = host in self.crs_down
        return _lines([_CODES["ohas"][0], *self._daemons(crs=not low, css=True)])

    def check_cluster(self, host: str) -> str:
        """Return every node's daemons as one node hears them."""
        rows = [_STARS]
        for node in self.nodes:
            if node in self.down:
                continue
            out = node in self.claims.get(host, frozenset())
            up = not out and node not in self.crs_down
            rows += [f"{node}:", *self._daemons(crs=up, css=not out), _STARS]
        return _lines(rows)

    def _daemons(self, *, crs: bool, css: bool) -> list[str]:
        return [_CODES["crs"][not crs], _CODES["css"][not css], _CODES["evm"][not css]]

    def stat_res(self) -> str:
        """Return all resources: 12c and later, or 11.2's layout without details."""
        local = ["ora.LISTENER.lsnr", "ora.net1.network", "ora.ons"]
        rows = [_RULE, _header(self.old), _RULE, "Local Resources", _RULE]
        for name in local:
            rows += [name, *(self._row("", "ONLINE", "ONLINE", node) for node in self.up)]
        rows += [_RULE, "Cluster Resources", _RULE]
        for name, instances in self._cluster_resources():
            rows += [name, *(self._row(str(i), *one) for i, one in enumerate(instances, start=1))]
        return _lines(rows if self.old else [*rows, _RULE])

    def _cluster_resources(self) -> Iterable[tuple[str, list[tuple[str, str, str]]]]:
        everywhere = [("ONLINE", "ONLINE", node) for node in self.up]
        for group in ("DATA", "VOTE"):
            gone = [("ONLINE", "OFFLINE", "")] if group in self.dismounted else []
            kept = everywhere[: len(everywhere) - len(gone)]
            yield f"ora.{group}.dg(ora.asmgroup)", kept + gone
        scan = self.scan_nodes or tuple(self.up[i % len(self.up)] for i in range(3))
        for i, node in enumerate(scan, start=1):
            yield f"ora.LISTENER_SCAN{i}.lsnr", [("ONLINE", "ONLINE", node)]
        yield "ora.asm(ora.asmgroup)", everywhere
        yield "ora.cvu", [("ONLINE", "ONLINE", self.up[0])]
        for node in self.nodes:
            away = node in self.failed_over or node in self.down
            host = next(one for one in self.up if one != node) if away else node
            yield f"ora.{node}.vip", [("ONLINE", "INTERMEDIATE" if away else "ONLINE", host)]
        yield f"ora.{self.database}.db", [self._instance_row(i) for i in range(len(self.nodes))]
        for service in self.services:
            gone = service in self.services_down
            rows = [self._instance_row(i) for i in range(len(self.nodes))]
            if service in self.partly_down:
                rows[-1] = ("ONLINE", "OFFLINE", "")
            yield (
                f"ora.{self.database}.{service}.svc",
                [("ONLINE", "OFFLINE", "") if gone else row for row in rows],
            )

    def _instance_row(self, index: int) -> tuple[str, str, str]:
        node = self.nodes[index]
        gone = node in self.down or index in self.instances_down
        return ("ONLINE", "OFFLINE", "") if gone else ("ONLINE", "ONLINE", node)

    def _row(self, ordinal: str, target: str, state: str, server: str) -> str:
        details = "FAILED OVER" if state == "INTERMEDIATE" else ""
        details = details + ("," if details else "") + "STABLE" if not self.old else details
        return f"      {ordinal:<9}{target:<8}{state:<13}{server:<25}{details}".rstrip()

    def stat_res_init(self, host: str) -> str:
        """Return the lower stack of one node."""
        rows = [_RULE, _header(self.old), _RULE, "Cluster Resources", _RULE]
        for name in ("asm", "crsd", "cssd", "cssdmonitor", "ctssd", "diskmon", "evmd", "gipcd"):
            gone = name == "crsd" and host in self.crs_down
            meant = "OFFLINE" if name == "diskmon" else "ONLINE"
            state = "OFFLINE" if gone or name == "diskmon" else "ONLINE"
            server = host if state == "ONLINE" else ""
            rows += [f"ora.{name}", self._row("1", meant, state, server)]
        return _lines(rows if self.old else [*rows, _RULE])

    def ocrcheck(self) -> str:
        """Return the OCR's check."""
        pad = " " * 36
        unused = [f"{pad}Device/File not configured"] * 4
        return _lines([
            "Status of Oracle Cluster Registry is as follows :",
            "\t Version                  :          4", "\t Total space (kbytes)     :     491684",
            "\t Used space (kbytes)      :      84120", "\t Available space (kbytes) :     407564",
            "\t ID                       : 1234567890", "\t Device/File Name         :      +VOTE",
            f"{pad}Device/File integrity check {self.ocr}", *unused,
            f"\t Cluster registry integrity check {self.ocr}",
            "\t Logical corruption check succeeded",
        ])  # fmt: skip

    def lsdg(self, host: str) -> str:
        """Return ASM's disk groups as one node mounts them: a dismounted one only on the last."""
        head = ("State    Type    Rebal  Sector  Logical_Sector  Block       AU  Total_MB  Free_MB"
                "  Req_mir_free_MB  Usable_file_MB  Offline_disks  Voting_files  Name")  # fmt: skip
        rows = [head]
        for group, voting in (("DATA", "N"), ("VOTE", "Y")):
            if group in self.dismounted and host == self.up[-1]:
                continue
            rows.append(
                f"MOUNTED  NORMAL  N         512             512   4096  4194304    307200"
                f"   204800            20480           92160              {self.offline_disks}"
                f"             {voting}  {group}/"
            )
        return _lines(rows)

    def srvctl_database(self) -> str:
        """Return every instance."""
        return "".join(self._instance(i) for i in range(len(self.nodes)))

    def _instance(self, index: int) -> str:
        name, node = f"{self.database}{index + 1}", self.nodes[index]
        if self._instance_row(index)[1] != "ONLINE":
            return f"Instance {name} is not running on node {node}\n"
        live = ",".join(one for one in self.services if one not in self.services_down)
        return (
            f"Instance {name} is running on node {node} with online services {live}."
            " Instance status: Open.\n"
        )

    def srvctl_service(self) -> str:
        """Return every service."""
        running = [i for i in range(len(self.nodes)) if self._instance_row(i)[1] == "ONLINE"]
        where = ",".join(f"{self.database}{i + 1}" for i in running)
        return _lines(
            f"Service {one} is not running."
            if one in self.services_down or not running
            else f"Service {one} is running on instance(s) {where}"
            for one in self.services
        )

    def srvctl_scan_listener(self) -> str:
        """Return the SCAN listeners."""
        scan = self.scan_nodes or tuple(self.up[i % len(self.up)] for i in range(3))
        rows = []
        for i, node in enumerate(scan, start=1):
            rows += [f"SCAN Listener LISTENER_SCAN{i} is enabled",
                     f"SCAN listener LISTENER_SCAN{i} is running on node {node}"]  # fmt: skip
        return _lines(rows)

    def _outputs_of_a_fenced_node(self) -> dict[str, str]:
        no_css = "CRS-4402: The CSS daemon was started in exclusive mode but found none.\n"
        low = _lines([_CODES["ohas"][0], *self._daemons(crs=False, css=False)])
        names = self.outputs(self.up[0]) if self.up else COMMANDS
        return {**dict.fromkeys(names, no_css), "check_crs": low}


BROKER_ABSENT = (
    "ORA-16532: Oracle Data Guard broker configuration does not exist\n\n"
    "Configuration details cannot be determined by DGMGRL\n"
)


def broker(status: str = "SUCCESS", fast_start: str = "Disabled", trouble: str = "") -> str:
    """Return what the Data Guard broker says of a pair."""
    worse = f"      {trouble}\n" if trouble else ""
    return (
        "\nConfiguration - samu_dg\n\n  Protection Mode: MaxAvailability\n  Members:\n"
        f"  samu    - Primary database\n{worse}"
        "    samu_s  - Physical standby database\n\n"
        f"Fast-Start Failover:  {fast_start}\n\n"
        f"Configuration Status:\n{status}   (status updated 21 seconds ago)\n\n"
    )


def healthy(**changes: object) -> Rac:
    """Return a cluster with everything up, but for the changes."""
    return replace(Rac(), **changes)  # type: ignore[arg-type]


def _header(old: bool) -> str:
    if old:
        return "NAME           TARGET  STATE        SERVER                   STATE_DETAILS       "
    return "Name           Target  State        Server                   State details       "


def _lines(rows: Iterable[str]) -> str:
    return "".join(f"{row}\n" for row in rows)
