"""An assessment (pure): the verdict on one cluster, what led to it, what it would survive."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sisamu_ops.quorum.capture import ClusterKind
from sisamu_ops.quorum.cluster import Cluster
from sisamu_ops.quorum.verdict import Finding, Severity, Verdict, conclude, gravest_first
from sisamu_ops.quorum.what_if import Prospect, Scope, foresee, foresee_each, worst_of

#: Verdicts under which nothing planned is begun; a rescue is never stopped by them.
BLOCKS_PLANNED = frozenset({Verdict.LOST, Verdict.UNKNOWN})


@dataclass(frozen=True, kw_only=True)
class Assessment:
    """What can be said of one cluster.

    `nodes` and `instances` are rows as data; `unseen` names what was not there to be read, which
    lowers the confidence in everything said here.
    """

    cluster: Cluster
    findings: tuple[Finding, ...]
    nodes: tuple[Mapping[str, Any], ...]
    instances: tuple[Mapping[str, Any], ...] = ()
    unseen: tuple[str, ...] = ()

    @cached_property
    def verdict(self) -> Verdict:
        """Return the verdict of the gravest finding."""
        return conclude(self.findings)

    @property
    def blocks_planned(self) -> bool:
        """Whether nothing planned is to be begun now."""
        return self.verdict in BLOCKS_PLANNED

    @cached_property
    def prospects(self) -> tuple[Prospect, ...]:
        """Return what each single loss would leave; nothing while today is lost or unknown."""
        return () if self.blocks_planned else foresee_each(self.cluster)

    @cached_property
    def worst(self) -> Prospect | None:
        """Return the single loss that would hurt most today."""
        return worst_of(self.prospects)

    def to_json(self) -> dict[str, Any]:
        """Return all of it as data; keys as in docs/json.md."""
        return {
            "kind": self.cluster.kind.value,
            "verdict": self.verdict.value,
            "confidence": "lowered" if self.unseen else "full",
            "unseen": list(self.unseen),
            "blocks_planned": self.blocks_planned,
            "voting_files": self._voting_files(),
            "nodes": [dict(one) for one in self.nodes],
            "instances": [dict(one) for one in self.instances],
            "findings": [one.to_json() for one in self.findings],
            "worst_single_loss": self.worst.to_json() if self.worst else None,
        }

    def _voting_files(self) -> dict[str, int | None] | None:
        """Return the counts; nulls where a RAC's could not be read, null where there are none."""
        if self.cluster.kind is not ClusterKind.ORACLE_RAC:
            return None
        if not self.cluster.voting_files:
            return dict.fromkeys(("configured", "online", "required"))
        return {
            "configured": len(self.cluster.voting_files),
            "online": self.cluster.online_files,
            "required": self.cluster.required_files,
        }

    def brief(self) -> dict[str, Any]:
        """Return what stands in `status`: verdict, what is wrong, what each site's loss means."""
        grave = [one for one in self.findings if one.severity > Severity.WARNING]
        return {
            "kind": self.cluster.kind.value,
            "verdict": self.verdict.value,
            "blocks_planned": self.blocks_planned,
            "findings": [
                {"id": one.finding_id, "message": one.message, "remedy": one.remedy}
                for one in grave
            ],
            "without_site": {
                one.losses[0].name: one.verdict.value
                for one in self.prospects
                if one.losses[0].scope is Scope.SITE
            },
            "worst_single_loss": self.worst.to_json() if self.worst else None,
        }


def unread(kind: str, message: str, remedy: str) -> dict[str, Any]:
    """Return the brief of a cluster that could not even be asked."""
    return {
        "kind": kind,
        "verdict": Verdict.UNKNOWN.value,
        "blocks_planned": True,
        "findings": [{"id": "evidence.none", "message": message, "remedy": remedy}],
        "without_site": {},
        "worst_single_loss": None,
    }


def assess(
    cluster: Cluster,
    findings: Iterable[Finding],
    *,
    nodes: Iterable[Mapping[str, Any]],
    instances: Iterable[Mapping[str, Any]] = (),
    unseen: Iterable[str] = (),
    site_loss_degrades: bool = False,
) -> Assessment:
    """Conclude: findings as read, and those that follow from what one more loss would do."""
    found = tuple(findings)
    if conclude(found) not in BLOCKS_PLANNED:
        prospects = foresee_each(cluster)
        found += tuple(_margin(cluster, prospects))
        found += tuple(_sites(cluster, prospects, site_loss_degrades))
    return Assessment(
        cluster=cluster,
        findings=gravest_first(found),
        nodes=tuple(nodes),
        instances=tuple(instances),
        unseen=tuple(dict.fromkeys(unseen)),
    )


def _margin(cluster: Cluster, prospects: tuple[Prospect, ...]) -> Iterator[Finding]:
    """Find single losses that would end quorum now, on a cluster built to survive them."""
    fatal = [p for p in prospects if p.losses[0].scope is not Scope.SITE]
    fatal = [p for p in fatal if p.verdict is Verdict.LOST]
    whole = cluster.whole()
    built = [p for p in fatal if foresee(whole, p.losses).verdict is not Verdict.LOST]
    if built:
        names = ", ".join(p.losses[0].name for p in built)
        yield Finding(
            finding_id="quorum.no-margin",
            severity=Severity.DEGRADED,
            message=f"one more loss would end quorum: {names}",
            remedy="bring back what is down before anything planned: sisamu quorum what-if",
        )


def _sites(cluster: Cluster, prospects: tuple[Prospect, ...], degrades: bool) -> Iterator[Finding]:
    """Find sites whose loss would end quorum; on a cluster of one site that is how it was built."""
    of_sites = [p for p in prospects if p.losses[0].scope is Scope.SITE]
    alone = len(cluster.sites) == 1
    for verdict, said in ((Verdict.LOST, "would end quorum"), (Verdict.UNKNOWN, "is not foreseen")):
        found = [one for one in of_sites if one.verdict is verdict]
        if found:
            names = " or ".join(one.losses[0].name for one in found)
            harmless = alone and not degrades
            yield Finding(
                finding_id="site.one-only" if alone else "site.loss-ends-quorum",
                severity=Severity.INFO if harmless else _SITE_LOSS[degrades],
                message=f"the loss of site {names} {said}: {found[0].reason}",
                remedy=_site_remedy(alone, found[0]),
            )


#: By policy: whether the loss of a site that would end quorum is more than a warning.
_SITE_LOSS = {False: Severity.WARNING, True: Severity.DEGRADED}


def _site_remedy(alone: bool, prospect: Prospect) -> str:
    if prospect.verdict is Verdict.UNKNOWN:
        return "declare the sites of nodes and voting files in the inventory"
    if alone:
        return "none: the cluster stands at one site"
    return "spread votes so that no site holds half of them: a third site, an arbiter"
