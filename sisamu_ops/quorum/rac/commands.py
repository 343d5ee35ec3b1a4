"""The commands one node is asked, by the name of their output (pure): all of them only read.

Source: Oracle Clusterware Administration and Deployment Guide, appendices on CRSCTL, SRVCTL,
OLSNODES, OCRCHECK; Automatic Storage Management Administrator's Guide, ASMCMD; Data Guard Broker.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

BROKER = "dgmgrl_configuration"
#: The first thing to try when an answer cannot be relied on.
ASK_AGAIN = "run sisamu quorum check again; if it stays, log in there and run the command"
#: Without these a node's word on membership is missing: nothing can be told.
ESSENTIAL = ("votedisk", "olsnodes", "check_crs", "check_cluster")
#: Without one of these something may be down unseen.
EXPECTED = (
    "stat_res",
    "stat_res_init",
    "ocrcheck",
    "lsdg",
    "srvctl_database",
    "srvctl_instance",
    "srvctl_service",
    "srvctl_scan_listener",
    BROKER,
)
#: Settings: they tell how long an eviction takes, not whether anything is down.
SETTINGS = ("misscount", "disktimeout")

COMMANDS: Mapping[str, str] = MappingProxyType(
    {
        "olsnodes": "olsnodes -n -s -t -i",
        "votedisk": "crsctl query css votedisk",
        "check_crs": "crsctl check crs",
        "check_cluster": "crsctl check cluster -all",
        "misscount": "crsctl get css misscount",
        "disktimeout": "crsctl get css disktimeout",
        "stat_res": "crsctl stat res -t",
        "stat_res_init": "crsctl stat res -t -init",
        "ocrcheck": "ocrcheck",
        "lsdg": "asmcmd lsdg",
        "srvctl_database": "srvctl status database",
        "srvctl_instance": "srvctl status instance",
        "srvctl_service": "srvctl status service",
        "srvctl_scan_listener": "srvctl status scan_listener",
        BROKER: "dgmgrl show configuration",
    }
)
