"""The lab's address plan and names: which host stands on which network, under which address.

Sites, routers and central servers are always the same; which SAMUs there are follows from the size
`lab up` was asked for, and is noted below the lab's root (`roster`).

Networks take 198.18.0.0/16, half of the range kept for tests of network equipment (RFC 2544,
RFC 6890), so that no lab address can be a real one. Without namespaces the same plan is laid on
loopback, 127.18.0.0/16. Phone numbers come from the blocks Arcep keeps for fiction
(decision 2018-0881, annex): 04 65 71, 03 53 01, 05 36 49, and 06 39 98 for callers.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from sisamu_ops.model.errors import ConfigurationError

NAMESPACE_PREFIX = "198.18"
LOOPBACK_PREFIX = "127.18"

#: What the lab's inventory lets the environment choose: programs get what `lab up` was given.
SETTINGS = (
    "SISAMU_LAB_SESSION_MS",
    "SISAMU_LAB_JOURNAL_KEEP",
    "SISAMU_LAB_SAFETY",
    "SISAMU_LAB_SOAK_MS",
)

#: Network number by name; every network meets the others at the `wan` router, and only there.
NETWORKS = MappingProxyType({"paris": 1, "lyon": 2, "lille": 3, "carrier": 4, "samus": 5, "ops": 6})
SITES = ("paris", "lyon", "lille")
TELEPHONY_SITES = ("paris", "lyon")
ROUTER = "wan"

#: Operator keys: file name, and the principal `allowed_signers` knows it by (None: unknown).
OPERATORS = MappingProxyType(
    {"id_ed25519": "oncall@sisamu-lab", "second": "lead@sisamu-lab", "stranger": None}
)
PLATFORM = "sisamu-lab"
#: Group name of the database cluster, and the port its members speak to each other on.
DATABASE_CLUSTER = "calls"
GALERA_PORT = 4567
#: Where ZooKeeper takes clients, over TLS.
ZOOKEEPER_PORT = 2281
ORIGIN = f"{PLATFORM}/journal"


@dataclass(frozen=True, kw_only=True)
class Host:
    """One machine of the lab: its inventory name, its network, its last address bytes."""

    name: str
    network: str
    number: int

    def address(self, prefix: str) -> str:
        """Return the host's address under the prefix in force."""
        return f"{prefix}.{NETWORKS[self.network]}.{self.number}"


@dataclass(frozen=True, kw_only=True)
class LabSamu:
    """One SAMU of the lab and the two numbers its calls may be placed to."""

    samu_id: str
    name: str
    region: str
    gateway: Host
    number: str
    test_number: str


SITE_HOSTS = tuple(Host(name=site, network=site, number=10) for site in SITES)
ROUTERS = tuple(Host(name=f"otn-{site}", network=site, number=11) for site in TELEPHONY_SITES)
PLATFORM_INSTANCES = tuple(
    Host(name=f"npl-{site}", network=site, number=21) for site in TELEPHONY_SITES
)
#: The central call servers: they hand calls to the SAMUs' desk phones in degraded mode.
CALL_SERVERS = tuple(Host(name=f"ccs-{site}", network=site, number=22) for site in TELEPHONY_SITES)
#: The Galera cluster: two nodes with the data, and the one that only votes.
DATABASE_NODES = tuple(Host(name=f"db-{site}", network=site, number=31) for site in TELEPHONY_SITES)
DATABASE_ARBITER = Host(name="db-lille", network="lille", number=31)
DATABASE_HOSTS = (*DATABASE_NODES, DATABASE_ARBITER)
CARRIER = Host(name="carrier", network="carrier", number=10)
OPS = Host(name="ops", network="ops", number=10)
DESKS = Host(name="desks", network="samus", number=9)
PHONES = Host(name="phones", network="samus", number=10)


def gateway(samu_id: str, place: int) -> Host:
    """Return the gateway of a SAMU, the `place`th of its lab (from 0)."""
    return Host(name=f"samu-{samu_id}", network="samus", number=11 + place)


def _samu(place: int, samu_id: str, name: str, region: str, phone: str, test: str) -> LabSamu:
    return LabSamu(
        samu_id=samu_id, name=name, region=region, gateway=gateway(samu_id, place),
        number=phone, test_number=test,
    )  # fmt: skip


#: The SAMUs of a lab of the usual size, as `inventories/lab` has them; the first of any lab.
SAMUS = (
    _samu(0, "300", "Nîmes", "Occitanie", "0465710300", "0465719300"),
    _samu(1, "680", "Mulhouse", "Grand Est", "0353010680", "0353019680"),
    _samu(2, "120", "Rodez", "Occitanie", "0536490120", "0536499120"),
)


def gateway_of(network: str, prefix: str) -> str:
    """Return the router's address on a network."""
    return f"{prefix}.{NETWORKS[network]}.1"


@dataclass(frozen=True, kw_only=True)
class LabPlace:
    """Where one lab lives: its name, its root directory, the address prefix and SAMUs in force."""

    name: str
    root: Path
    prefix: str
    samus: tuple[LabSamu, ...] = SAMUS

    @property
    def gateways(self) -> tuple[Host, ...]:
        """Return the SAMUs' gateways."""
        return tuple(samu.gateway for samu in self.samus)

    @property
    def ssh_hosts(self) -> tuple[Host, ...]:
        """Return the hosts one logs into; the others only answer SIP."""
        return (*SITE_HOSTS, *ROUTERS, *self.gateways, *DATABASE_HOSTS)

    @property
    def fenced_hosts(self) -> tuple[Host, ...]:
        """Return the hosts that change under a fence."""
        return (*ROUTERS, *self.gateways)

    @property
    def inventory_hosts(self) -> tuple[Host, ...]:
        """Return the hosts of the inventory, each with a directory of its own."""
        return (*self.ssh_hosts, *PLATFORM_INSTANCES, *CALL_SERVERS)

    @property
    def all_hosts(self) -> tuple[Host, ...]:
        """Return every host of the plan."""
        return (*self.inventory_hosts, CARRIER, OPS, DESKS, PHONES)

    def addresses_on(self, network: str) -> tuple[str, ...]:
        """Return every address that stands on a network, without repetition."""
        found = {h.address(self.prefix): None for h in self.all_hosts if h.network == network}
        return tuple(found)

    @property
    def isolated(self) -> bool:
        """Whether networks are namespaces, with links that can be cut."""
        return self.prefix == NAMESPACE_PREFIX

    @property
    def supervisor_socket(self) -> Path:
        """Return the supervisor's Unix socket."""
        return self.root / "supervisor.sock"

    @property
    def trust(self) -> Path:
        """Return the directory of what everybody may know: policy, signers, known hosts."""
        return self.root / "trust"

    @property
    def roster(self) -> Path:
        """Return the file of the SAMUs this lab has."""
        return self.root / "samus.json"

    @property
    def authority(self) -> Path:
        """Return the directory of who signs the lab's certificates."""
        return self.root / "authority"

    @property
    def operator_tls(self) -> Path:
        """Return the directory of the certificate operators show to ZooKeeper."""
        return self.root / "operator" / "tls"

    def namespace(self, network: str) -> str:
        """Return the namespace's name of a network or of the router."""
        return f"{self.name}-{network}"

    def host_dir(self, host: Host | str) -> Path:
        """Return the directory of one host."""
        return self.root / "hosts" / (host if isinstance(host, str) else host.name)

    def galera_dir(self, host: Host) -> Path:
        """Return where a member of the database cluster keeps its data and its state files."""
        return self.host_dir(host) / "galera"

    def install_dir(self, host: Host) -> Path:
        """Return where a site's releases are; its agent runs from the one named `current`."""
        return self.host_dir(host) / "opt"

    def entering(self, network: str) -> tuple[str, ...]:
        """Return the command words that run the rest of a command on a network."""
        if not self.isolated:
            return ()
        return ("nsenter", f"--net=/run/netns/{self.namespace(network)}", "--")


def locate_lab(name: str | None = None) -> LabPlace:
    """Find the lab's place from its name and the environment, and from what `up` left there.

    SISAMU_LAB_NAME (default `lab`) and SISAMU_LAB_ROOT (default `/var/lib/sisamu-<name>`).
    ConfigurationError for a name that cannot be a namespace's, or a root one must not empty.
    """
    name = name or os.environ.get("SISAMU_LAB_NAME") or "lab"
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9]{0,15}", name):
        raise ConfigurationError(
            f"{name!r} cannot be a lab's name",
            remedy="set SISAMU_LAB_NAME to at most 16 letters and digits",
        )
    root = Path(os.environ.get("SISAMU_LAB_ROOT") or f"/var/lib/sisamu-{name}")
    if not root.is_absolute() or len(root.parts) < 3:
        raise ConfigurationError(
            f"{root} cannot be a lab's root: `lab down` removes that directory",
            remedy="set SISAMU_LAB_ROOT to an absolute path at least two levels deep",
        )
    place = LabPlace(name=name, root=root, prefix=_prefix_in_force(root))
    return replace(place, samus=_samus_in_force(place.roster))


def _prefix_in_force(root: Path) -> str:
    record = root / "prefix"
    return record.read_text("ascii").strip() if record.exists() else NAMESPACE_PREFIX


def _samus_in_force(roster: Path) -> tuple[LabSamu, ...]:
    if not roster.exists():
        return SAMUS
    noted = json.loads(roster.read_text("utf-8"))
    return tuple(
        LabSamu(gateway=gateway(one["samu_id"], place), **one) for place, one in enumerate(noted)
    )
