"""The losses that are tried on a real cluster, and what the what-if says of those that race."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sisamu_ops.quorum.capture import ClusterKind
from sisamu_ops.quorum.cluster import Cluster, Member
from sisamu_ops.quorum.verdict import Verdict
from sisamu_ops.quorum.what_if import Loss, Manner, Scope, foresee
from tests.galera_losses.cases import all_cases, case_named
from tests.galera_losses.members import read_arbiter
from tests.galera_losses.table import table_of


def cluster_of(*votes: int) -> Cluster:
    """Return a whole Galera cluster of members m0, m1, … with these votes."""
    members = tuple(
        Member(name=f"m{number}", site=f"s{number}", votes=one) for number, one in enumerate(votes)
    )
    component = frozenset(one.name for one in members)
    return Cluster(kind=ClusterKind.GALERA, members=members, component=component)


def stops(*names: str) -> list[Loss]:
    """Return clean stops of these members."""
    return [Loss(name=name, scope=Scope.MEMBER, manner=Manner.STOP) for name in names]


def test_every_single_and_double_loss_is_tried_once() -> None:
    """9 single, 27 at once, 54 one after the other; every name leads back to its case."""
    cases = all_cases()
    forms = [one.form for one in cases]
    counts = [forms.count(form) for form in ("single", "at once", "one after the other")]
    assert counts == [9, 27, 54]
    assert [case_named(one.name) for one in cases] == list(cases)
    assert len({one.name for one in cases}) == 90


def test_two_that_leave_at_once_are_a_race() -> None:
    """Of three, two stopped at once may leave the third without quorum: UNKNOWN, and why."""
    foreseen = foresee(cluster_of(1, 1, 1), stops("m0", "m1"))
    assert foreseen.verdict is Verdict.UNKNOWN
    assert "one after the other" in foreseen.reason


@pytest.mark.parametrize(
    ("votes", "names"),
    [((1, 1, 1, 1), ("m0", "m1")), ((1, 1, 3), ("m0", "m1")), ((1, 1, 1), ("m0",))],
)
def test_leaving_at_once_is_no_race_where_enough_stay(
    votes: tuple[int, ...], names: tuple[str, ...]
) -> None:
    """2·2 + 1 > 4, 2·3 + 1 > 5, 2·2 + 1 > 3: whoever counts as left, those that stay go on."""
    assert foresee(cluster_of(*votes), stops(*names)).verdict is Verdict.DEGRADED


def test_one_after_the_other_is_no_race() -> None:
    """Each leaves a primary component without it: the last that stays goes on."""
    foreseen = foresee(cluster_of(1, 1, 1), stops("m0"), stops("m1"))
    assert (foreseen.verdict, foreseen.survivors) == (Verdict.DEGRADED, ("m2",))


def test_where_nobody_with_data_stays_a_race_decides_nothing() -> None:
    """Both data nodes stopped at once: LOST, whether the arbiter stays Primary or not."""
    whole = cluster_of(1, 1, 1)
    *data, arbiter = whole.members
    cluster = replace(whole, members=(*data, replace(arbiter, holds_data=False)))
    assert foresee(cluster, stops("m0", "m1")).verdict is Verdict.LOST


def test_the_arbiters_word_is_read_where_its_log_is_torn() -> None:
    """Two threads write it: the number of members ends where another line's date begins."""
    line = "2026-11-25 18:39:01.533  INFO: New COMPONENT: primary = {}, my_idx = 1, memb_num = {}"
    torn = line.format("no", 1) + "\n" + line.format("yes", 2) + "2026-11-25 18:39:01.533  INFO: x"
    word = read_arbiter(torn)
    assert word is not None
    assert (word.primary, word.size) == (True, 2)
    assert read_arbiter(line.format("yes", 2)) is None  # not written to its end


def test_the_table_counts_what_came_as_foreseen() -> None:
    """One row for each form and its manners, and one for all."""
    one = {"form": "single", "manners": "kill", "ok": True, "truth": ["a"], "seconds": 2.0}
    other = {**one, "ok": False, "truth": [], "is_race": False}
    rows = table_of([{**one, "is_race": False, "restored_s": 1.0}, {**other, "restored_s": 1.0}])
    assert rows.splitlines()[2] == "| single | kill | 2 | 1 | 0 | 1 | 1 | 6 |"
    assert len(rows.splitlines()) == 4
