"""What is wrong with a RAC cluster (pure): each rule looks at all readings and yields findings.

Two principles make a verdict that damage cannot improve. What is *bad* counts wherever it is read.
What is *good* counts only where the output that says it is whole: on every host that may be in the
cluster the four essential outputs must be intact, else nothing can be told (UNKNOWN); any other
output that is missing or not intact leaves room for something down unseen (DEGRADED).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sisamu_ops.quorum.rac.reading import Readings
from sisamu_ops.quorum.rac.rules.broker import check_broker
from sisamu_ops.quorum.rac.rules.database import (
    check_instances,
    check_instances_open,
    check_scan,
    check_services,
)
from sisamu_ops.quorum.rac.rules.evidence import (
    check_agreement,
    check_anybody_reached,
    check_asked,
    check_counts,
    check_essential,
    check_expected,
    check_reached,
    check_settings,
)
from sisamu_ops.quorum.rac.rules.membership import (
    check_css,
    check_daemons,
    check_nodes,
    check_split_brain,
    check_views,
)
from sisamu_ops.quorum.rac.rules.resources import (
    check_addresses,
    check_clock,
    check_lower_stack,
    check_resources,
)
from sisamu_ops.quorum.rac.rules.storage import check_disk_groups, check_registry
from sisamu_ops.quorum.rac.rules.votes import check_files_online, check_majority, check_same_files
from sisamu_ops.quorum.verdict import Finding

_RULES: tuple[Callable[[Readings], Iterator[Finding]], ...] = (
    check_anybody_reached,
    check_css,
    check_majority,
    check_same_files,
    check_split_brain,
    check_essential,
    check_views,
    check_reached,
    check_asked,
    check_nodes,
    check_daemons,
    check_files_online,
    check_registry,
    check_disk_groups,
    check_resources,
    check_lower_stack,
    check_clock,
    check_instances,
    check_instances_open,
    check_services,
    check_addresses,
    check_broker,
    check_expected,
    check_agreement,
    check_counts,
    check_scan,
    check_settings,
)


def find_all(readings: Readings) -> tuple[Finding, ...]:
    """Return every finding, in the order of the rules."""
    return tuple(finding for rule in _RULES for finding in rule(readings))
