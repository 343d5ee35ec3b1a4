"""What the lab needs from the machine, judged all at once before anything is changed."""

from __future__ import annotations

import os
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

from sisamu_ops.lab.topology import LOOPBACK_PREFIX, NAMESPACE_PREFIX
from sisamu_ops.model.errors import ConfigurationError

#: Program → the Debian 12 package that brings it.
TOOLS = {
    "ip": "iproute2",
    "nft": "nftables",
    "nsenter": "util-linux",
    "java": "default-jre-headless",
    "kamailio": "kamailio",
    "kamcmd": "kamailio",
    "sipp": "sip-tester",
    "sshd": "openssh-server",
    "ssh-keygen": "openssh-client",
    "mariadbd": "mariadb-server-core",
    "mariadb-install-db": "mariadb-server-core",
    "mariadb": "mariadb-client-core",
    # Brings the user mysql and wsrep_info too; depends on rsync and galera-4.
    "wsrep_sst_rsync": "mariadb-server",
    "garbd": "galera-arbitrator-4",
}
_JARS = Path("/usr/share/java")
#: Jar → the package that brings it; zookeeper.jar names all others it needs, but these.
JARS = {
    _JARS / "zookeeper.jar": "zookeeper",
    _JARS / "slf4j-simple.jar": "libslf4j-java",
    _JARS / "netty-codec.jar": "libnetty-java",
    _JARS / "netty-resolver.jar": "libnetty-java",
}
#: What mariadbd loads to be a member of a cluster (package galera-4).
GALERA_PROVIDER = Path("/usr/lib/galera/libgalera_smm.so")

_SUDO = "use sudo, for example: sudo .venv/bin/sisamu lab up"

#: Servers live in sbin, which is not on every user's path.
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def find_tool(name: str) -> str:
    """Return the absolute path of a program; `check_requirements` has proved it is there."""
    return shutil.which(name, path=SEARCH_PATH) or name


def check_requirements() -> None:
    """Raise one ConfigurationError that names everything missing, and the remedy."""
    packages = [f"missing {what}" for what in missing_packages()]
    problems = [*packages, *_missing_rights()]
    if problems:
        remedies = ["run script/bootstrap"] * bool(packages) + [_SUDO] * bool(_missing_rights())
        raise ConfigurationError(
            "the lab cannot run here: " + "; ".join(problems), remedy=", and ".join(remedies)
        )


def check_rights() -> None:
    """Raise ConfigurationError unless this process may look into the lab and change it."""
    if problems := _missing_rights():
        raise ConfigurationError("; ".join(problems), remedy=_SUDO)


def missing_packages() -> list[str]:
    """Name each program, jar or library that is missing, with the package that brings it."""
    tools = [f"{tool} (package {TOOLS[tool]})" for tool in TOOLS if not shutil.which(
        tool, path=SEARCH_PATH)]  # fmt: skip
    jars = [f"{jar} (package {package})" for jar, package in JARS.items() if not jar.exists()]
    libraries = [] if find_spec("supervisor") else ["supervisor (PyPI package supervisor)"]
    if not GALERA_PROVIDER.exists():
        libraries.append(f"{GALERA_PROVIDER} (package galera-4)")
    return tools + jars + libraries


def choose_prefix() -> str:
    """Return the prefix this machine allows: namespaces, or loopback when they cannot be had.

    SISAMU_LAB_LOOPBACK=1 asks for loopback.
    """
    if os.environ.get("SISAMU_LAB_LOOPBACK") == "1" or not _namespaces_work():
        return LOOPBACK_PREFIX
    return NAMESPACE_PREFIX


def _missing_rights() -> list[str]:
    if os.geteuid() == 0:
        return []
    return ["not root: the lab makes network namespaces and binds SSH's port 22"]


def _namespaces_work() -> bool:
    trial = ["unshare", "--net", "nft", "add", "table", "inet", "sisamu"]
    environment = {"PATH": SEARCH_PATH}
    return subprocess.run(trial, env=environment, capture_output=True, check=False).returncode == 0
