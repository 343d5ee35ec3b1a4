"""ZooKeeper as the coordination service: the newest entries, the inbox, the election.

Layout below `/sisamu/<platform>`: `epoch` (counter), `leader` (ephemeral), `lease` (heartbeat),
`head` (journal size), `first` (oldest index kept), `entries/<index>`, `inbox/<name>`,
`contenders/<site>` (ephemeral), `published/<name>` (checkpoints, cosignatures). `epoch`, `head` and
`first` are founded by the first leader, so that a rebuilt ensemble goes on from the replicas.

Every write of a leader is one transaction that checks the version of `epoch` and the existence
of `leader`: both change together and only in the transaction that makes a new leader, so the
pair stands for "this tenure still holds". Reads and `sync` prove nothing of the kind.

kazoo is imported in this folder and nowhere else. Over TLS a client is what its certificate says:
`access` tells who may do what to which node.
"""

from sisamu_ops.doors.zookeeper.contention import ZooKeeperContention
from sisamu_ops.doors.zookeeper.coordination import ZooKeeperCoordination
from sisamu_ops.doors.zookeeper.tenure import ZooKeeperTenure

__all__ = ["ZooKeeperContention", "ZooKeeperCoordination", "ZooKeeperTenure"]
