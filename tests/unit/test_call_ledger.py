"""The call ledger: every call counted once, silence never counted as success."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sisamu_ops.lab.calls import read_call_log
from sisamu_ops.telephony.ledger import CallFlaw, CallRecord, any_path, classify, tally

GOOD = CallRecord(
    call_id="1-7-paris@198.18.4.10",
    samu_id="300",
    via="otn-paris",
    invited_at_ms=1_000_000,
    answered_at_ms=1_000_004,
    answered_by="nominal;instance=paris",
    final_status=200,
    ended=True,
)
SILENT = replace(GOOD, answered_at_ms=None, answered_by="", final_status=None, ended=False)
REFUSED = replace(SILENT, final_status=503)
BACKUP = replace(GOOD, answered_by="backup;samu=300")
DEGRADED = replace(GOOD, answered_by="degraded;samu=300")


def only_nominal(samu_id: str, at_ms: int) -> frozenset[str]:
    return frozenset({"nominal"})


def backup_from_1_000_000(samu_id: str, at_ms: int) -> frozenset[str]:
    return frozenset({"backup"}) if at_ms >= 1_000_000 else frozenset({"nominal"})


@pytest.mark.parametrize(
    ("record", "flaws"),
    [
        (GOOD, set()),
        (BACKUP, set()),
        (DEGRADED, set()),
        (SILENT, {CallFlaw.LOST}),
        (REFUSED, {CallFlaw.LOST, CallFlaw.FAILED}),
        (replace(GOOD, ended=False), {CallFlaw.CUT}),
        (replace(GOOD, answered_at_ms=1_005_000), set()),
        (replace(GOOD, answered_at_ms=1_005_001), {CallFlaw.LOST}),
        (replace(GOOD, answered_at_ms=1_005_001, ended=False), {CallFlaw.LOST}),
        (replace(BACKUP, answered_by="backup;samu=680"), {CallFlaw.MISROUTED}),
        (replace(DEGRADED, answered_by="degraded;samu=680"), {CallFlaw.MISROUTED}),
        (replace(GOOD, answered_by=""), {CallFlaw.MISROUTED}),
        (replace(BACKUP, answered_by="backup;samu=680", ended=False),
         {CallFlaw.MISROUTED, CallFlaw.CUT}),
    ],
)  # fmt: skip
def test_each_end_of_a_call_has_its_flaws(record: CallRecord, flaws: set[CallFlaw]) -> None:
    """A call is lost, failed, cut or misrouted by what its caller saw, to the millisecond."""
    assert classify(record, any_path) == flaws


def test_a_path_the_mode_did_not_allow_is_misrouted() -> None:
    """An answer on another path is misrouted while the SAMU's mode prescribes nominal."""
    assert classify(BACKUP, only_nominal) == {CallFlaw.MISROUTED}
    assert classify(DEGRADED, only_nominal) == {CallFlaw.MISROUTED}
    assert classify(GOOD, only_nominal) == set()


def test_the_path_is_judged_by_when_the_call_was_placed() -> None:
    """A call placed before the change may be answered on the old path, one placed after not."""
    before = replace(GOOD, invited_at_ms=999_999)
    assert classify(before, backup_from_1_000_000) == set()
    assert classify(GOOD, backup_from_1_000_000) == {CallFlaw.MISROUTED}


def test_every_call_is_either_answered_in_time_or_lost() -> None:
    """Attempted is the sum of answered and lost, and failed calls are among the lost."""
    counted = tally([GOOD, GOOD, DEGRADED, DEGRADED, BACKUP, SILENT, REFUSED,
                     replace(GOOD, ended=False)])  # fmt: skip
    assert counted.to_json() == {
        "attempted": 8,
        "answered_nominal": 3,
        "answered_degraded": 2,
        "answered_backup": 1,
        "failed": 1,
        "lost": 2,
        "misrouted": 0,
        "cut": 1,
        "pdd_p99_ms": 4,
    }


def test_the_percentile_is_a_delay_some_caller_had() -> None:
    """The p99 of 200 delays is the 198th, and of no answered call there is none."""
    records = [replace(GOOD, answered_at_ms=GOOD.invited_at_ms + n) for n in range(1, 201)]
    assert tally(records).pdd_p99_ms == 198
    assert tally([SILENT]).pdd_p99_ms is None


def test_a_call_without_any_answer_is_in_the_ledger() -> None:
    """SIPp's log gives one record a call attempted, whatever followed."""
    log = (
        "attempted 1-7@198.18.4.10 1795322784.000000 892565.000000 300\n"
        "attempted 2-7@198.18.4.10 1795322785.000000 93269.000000 680\n"
        "attempted 3-7@198.18.4.10 1795322785.000000 193269.000000 300\n"
        "answered 1-7@198.18.4.10 1795322784.000000 895923.000000  nominal;instance=paris\n"
        "refused 3-7@198.18.4.10 503\n"
        "ended 1-7@198.18.4.10\n"
    )
    answered, silent, refused = read_call_log(log, "otn-paris")
    assert (answered.invited_at_ms, answered.pdd_ms, answered.ended) == (1795322784892, 3, True)
    assert (answered.path, answered.instance, answered.via) == ("nominal", "paris", "otn-paris")
    assert (silent.samu_id, silent.answered_at_ms, silent.final_status) == ("680", None, None)
    assert (refused.final_status, refused.ended) == (503, False)


def test_the_ledger_holds_no_number() -> None:
    """A record's JSON has neither the caller's nor the called number."""
    assert set(GOOD.to_json()) == {
        "call_id", "samu_id", "via", "invited_at_ms", "answered_at_ms", "answered_by",
        "final_status", "ended", "pdd_ms",
    }  # fmt: skip
