"""What a Galera cluster's data nodes and a ZooKeeper server would say: texts of our own."""

from __future__ import annotations

from sisamu_ops.quorum.capture import Capture, ClusterKind, Declared, HostCapture, Output

MEMBERS = ("db-paris", "db-lyon", "db-lille")
DECLARED = Declared(
    kind=ClusterKind.GALERA,
    sites={"db-paris": "paris", "db-lyon": "lyon", "db-lille": "lille"},
    arbiters=("db-lille",),
)


def node(
    members: tuple[str, ...] = MEMBERS,
    *,
    status: str = "Primary",
    state: str = "Synced",
    conf: int = 3,
    committed: int = 40,
    weight: int = 1,
) -> HostCapture:
    """Return what one data node says while its server runs."""
    primary = status == "Primary"
    rows = {
        "wsrep_cluster_conf_id": conf if primary else 18446744073709551615,
        "wsrep_cluster_size": len(members),
        "wsrep_cluster_state_uuid": "227d9ac3-e8fb-11f1-ad10-83ee005ac0fe",
        "wsrep_cluster_status": status,
        "wsrep_last_committed": committed,
        "wsrep_local_state_comment": state if primary else "Initialized",
        "wsrep_ready": "ON" if primary else "OFF",
    }
    return _host(
        wsrep_status="".join(f"{name}\t{value}\n" for name, value in rows.items()),
        wsrep_members="".join(f"{one}\n" for one in members),
        wsrep_options=f"wsrep_provider_options\tpc.recovery = true; pc.weight = {weight};\n",
        grastate=_state(-1),
    )


def down(seqno: int = -1) -> HostCapture:
    """Return what is heard from a host whose server does not run."""
    refused = "ERROR 2002 (HY000): Can't connect to local server through socket '/x' (111)\n"
    asked = dict.fromkeys(("wsrep_status", "wsrep_members", "wsrep_options"), refused)
    return _host(**asked, grastate=_state(seqno))


def _state(seqno: int) -> str:
    return f"# GALERA saved state\nversion: 2.1\nuuid:    227d9ac3\nseqno:   {seqno}\n"


def _host(**outputs: str) -> HostCapture:
    said = {name: Output(content=text.encode(), status=0) for name, text in outputs.items()}
    return HostCapture(outputs=said)


def galera(paris: HostCapture, lyon: HostCapture) -> Capture:
    """Return a capture of both data nodes."""
    return Capture(declared=DECLARED, hosts={"db-paris": paris, "db-lyon": lyon})


def server(
    mode: str = "follower", *, zxid: int = 0x500, waiting: int = 0, synced: str = ""
) -> HostCapture:
    """Return what one ZooKeeper server says of itself; no mode: it is in no quorum."""
    if not mode:
        silent = "This ZooKeeper instance is not currently serving requests\n"
        return _host(srvr=silent, mntr=silent)
    return _host(
        srvr=f"Zookeeper version: 3.8.0\nOutstanding: {waiting}\nZxid: {zxid:#x}\nMode: {mode}\n",
        mntr=f"zk_server_state\t{mode}\n" + (f"zk_synced_followers\t{synced}\n" if synced else ""),
    )


def ensemble(**servers: HostCapture) -> Capture:
    """Return a capture of servers named after their sites."""
    declared = Declared(
        kind=ClusterKind.ZOOKEEPER, sites={f"zookeeper-{site}": site for site in servers}
    )
    hosts = {f"zookeeper-{site}": one for site, one in servers.items()}
    return Capture(declared=declared, hosts=hosts)
