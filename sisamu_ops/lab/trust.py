"""Who may do what in the lab: SSH keys of hosts, sites and operators, and the journal's policy.

Everything is made once and kept: another `up` changes nobody's key.
"""

from __future__ import annotations

from pathlib import Path

from sisamu_ops.journal.keys import make_site_keys, write_policy
from sisamu_ops.lab.certificates import CERTIFICATE, KEY, Authority
from sisamu_ops.lab.commands import run_command
from sisamu_ops.lab.topology import (
    OPERATORS,
    ORIGIN,
    PLATFORM,
    SITE_HOSTS,
    SITES,
    TELEPHONY_SITES,
    LabPlace,
)

#: SSHSIG namespaces an operator's key may sign in (ssh-keygen(1), ALLOWED SIGNERS).
_NAMESPACES = "sisamu-request,sisamu-vote"


def establish_trust(place: LabPlace) -> None:
    """Make every missing key, then write what follows from them under `<root>/trust`."""
    place.trust.mkdir(parents=True, exist_ok=True)
    hosts = {
        host.address(place.prefix): _key(place.host_dir(host) / "ssh" / "host_ed25519", host.name)
        for host in place.ssh_hosts
    }
    operators = {name: _key(place.root / "operator" / name, name) for name in OPERATORS}
    sites = {
        site: _key(place.host_dir(site) / "ssh" / "id_ed25519", f"agent@{site}") for site in SITES
    }
    signers = {principal: operators[name] for name, principal in OPERATORS.items() if principal}
    _write(place.trust / "known_hosts", [f"{address} {key}" for address, key in hosts.items()])
    logins = [*(sites[site] for site in TELEPHONY_SITES), *signers.values()]
    _write(place.trust / "authorized_keys", logins)
    # The arbiter reads its peers' replicas; it has no business on a target.
    _write(place.trust / "authorized_keys_sites", [*sites.values(), *signers.values()])
    lines = [f'{who} namespaces="{_NAMESPACES}" {key}' for who, key in signers.items()]
    _write(place.trust / "allowed_signers", lines)
    _establish_policy(place)
    _issue_certificates(place)


def _issue_certificates(place: LabPlace) -> None:
    """Give every ZooKeeper server, every site and the operators what they show each other."""
    authority = Authority(directory=place.authority, platform=PLATFORM)
    authority.establish()
    _write(place.trust / "authority.pem", authority.certificate.read_text("ascii").splitlines())
    authority.issue(place.operator_tls, "operator", "oncall@sisamu-lab")
    for host in SITE_HOSTS:
        home = place.host_dir(host)
        unit = "site" if host.name in TELEPHONY_SITES else "arbiter"
        authority.issue(home / "tls", unit, host.name)
        server = home / "zookeeper-tls"
        authority.issue(server, "server", host.address(place.prefix))
        both = server / "server.pem"
        both.touch(mode=0o600)
        both.write_bytes((server / CERTIFICATE).read_bytes() + (server / KEY).read_bytes())


def _establish_policy(place: LabPlace) -> None:
    """Give each site its three journal keys, and write whose signatures count."""
    publics = [make_site_keys(place.host_dir(site) / "keys", site, ORIGIN) for site in SITES]
    write_policy(
        place.trust / "policy.json",
        origin=ORIGIN,
        publics=publics,
        threshold=len(SITES) // 2 + 1,
        allowed_signers=(place.trust / "allowed_signers").read_text("ascii"),
    )


def _key(path: Path, comment: str) -> str:
    """Make an Ed25519 key pair unless it is there; return the public line without its comment."""
    public = path.with_name(path.name + ".pub")
    if not public.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        # A private key without its public half is what an interrupted run leaves.
        path.unlink(missing_ok=True)
        run_command(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)))
    return " ".join(public.read_text("ascii").split()[:2])


def _write(path: Path, lines: list[str]) -> None:
    path.write_text("\n".join(lines) + "\n", "ascii")
