"""Place real calls from the carrier to both OTN routers, and bring back what became of each.

One SIPp process a router, half of the calls each. Every event of a call is a line of SIPp's own
log, so a call that never got an answer is in the ledger as well. Called numbers are the SAMUs'
test numbers only; callers are random numbers of Arcep's block for fiction, 06 39 98 00 00 to
06 39 98 99 99, and do not come back in the records.
"""

from __future__ import annotations

import random
import signal
import subprocess
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from time import monotonic

from sisamu_ops.lab.commands import CLEAN_ENVIRONMENT
from sisamu_ops.lab.programs import FILES
from sisamu_ops.lab.requirements import find_tool
from sisamu_ops.lab.topology import CARRIER, ROUTERS, Host, LabPlace
from sisamu_ops.model.errors import ConfigurationError, FailedError, RefusedError
from sisamu_ops.telephony.ledger import CallRecord

#: Rows of the numbers file; SIPp starts again at the top when it has used them.
_CALLERS = 1000
#: After the last call was placed and held: answer limits, retransmissions, the last BYE.
_GRACE_S = 30.0
_POLL_S = 0.1


def run_calls(
    place: LabPlace,
    *,
    rate_per_s: float,
    duration_s: float,
    hold_ms: int,
    samus: Mapping[str, str],
    stop: Event | None = None,
) -> list[CallRecord]:
    """Place `rate_per_s` × `duration_s` calls and return them all, in the order placed.

    `samus` maps each SAMU to its test number; the calls take the SAMUs in turn. Setting `stop`
    places no more calls and waits for those in progress. RefusedError for a SAMU without a test
    number; FailedError when SIPp cannot run.
    """
    _refuse_untestable(samus)
    total = round(rate_per_s * duration_s)
    if total < 1 or hold_ms < 0:
        raise ConfigurationError(
            f"{rate_per_s:g} calls a second for {duration_s:g} s make no call",
            remedy="give a --rate and a --duration above 0, and a --hold of 0 or more",
        )
    (place.root / "calls").mkdir(exist_ok=True)
    with TemporaryDirectory(dir=place.root / "calls") as directory:
        numbers = Path(directory) / "numbers.csv"
        numbers.write_text(_numbers(samus), "ascii")
        shares = {ROUTERS[0]: total - total // 2, ROUTERS[1]: total // 2}
        runs = [
            _SippRun(place, router, share, rate_per_s / 2, hold_ms, numbers)
            for router, share in shares.items()
            if share
        ]
        _await(runs, stop, duration_s, after_s=hold_ms / 1000 + _GRACE_S)
        records = [record for run in runs for record in run.records()]
    return sorted(records, key=lambda record: record.invited_at_ms)


def read_call_log(text: str, via: str) -> list[CallRecord]:
    """Read the events `calling.xml` logs, one a line, into one record a call."""
    records: dict[str, CallRecord] = {}
    for line in text.splitlines():
        event, call_id, *rest = line.split()
        if event == "attempted":
            records[call_id] = CallRecord(
                call_id=call_id,
                samu_id=rest[2],
                via=via,
                invited_at_ms=_milliseconds(rest[0], rest[1]),
            )
        else:
            records[call_id] = _with_event(records[call_id], event, rest)
    return list(records.values())


def _with_event(record: CallRecord, event: str, rest: list[str]) -> CallRecord:
    if event == "answered":
        return replace(
            record,
            answered_at_ms=_milliseconds(rest[0], rest[1]),
            answered_by=" ".join(rest[2:]),
            final_status=200,
        )
    if event == "refused":
        return replace(record, final_status=int(rest[0]))
    if event == "ended":
        return replace(record, ended=True)
    raise ValueError(f"calling.xml logs no event {event!r}")


class _SippRun:
    """One SIPp process calling through one router, and its log."""

    def __init__(
        self,
        place: LabPlace,
        router: Host,
        calls: int,
        rate_per_s: float,
        hold_ms: int,
        numbers: Path,
    ) -> None:
        self.via = router.name
        self.log = numbers.with_name(f"{router.name}.log")
        command = (
            *place.entering(CARRIER.network),
            *(find_tool("sipp"), f"{router.address(place.prefix)}:5060"),
            *("-sf", str(FILES / "calling.xml"), "-inf", str(numbers)),
            *("-i", CARRIER.address(place.prefix), "-cid_str", f"%u-%p-{router.network}@%s"),
            *("-r", "10", "-rp", str(max(1, round(10_000 / rate_per_s)))),
            # SIPp slows down at its own limit of calls in progress; callers do not.
            *("-m", str(calls), "-l", str(calls), "-d", str(hold_ms)),
            *("-nostdin", "-watchdog_interval", "0"),
            *("-trace_logs", "-log_file", str(self.log)),
        )
        self.process = subprocess.Popen(
            command,
            cwd=numbers.parent,
            env=CLEAN_ENVIRONMENT,
            # A Ctrl-C on the terminal is for whoever called: SIPp must finish its calls.
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=numbers.with_name(f"{router.name}.err").open("wb"),
        )

    def records(self) -> list[CallRecord]:
        """Return the calls placed; FailedError when SIPp placed none."""
        if not self.log.exists():
            said = self.log.with_suffix(".err").read_text("utf-8", "replace").strip()
            raise FailedError(f"no call was placed to {self.via}: {said or 'SIPp said nothing'}")
        return read_call_log(self.log.read_text("utf-8", "replace"), self.via)


def _await(runs: list[_SippRun], stop: Event | None, duration_s: float, after_s: float) -> None:
    """Wait for every SIPp to finish; none is left behind, whatever happens.

    `after_s` is what calls in progress have to end, once no new one is placed.
    """
    stop = stop or Event()
    stopping = False
    deadline = monotonic() + duration_s + after_s
    try:
        while (running := _running(runs)) and monotonic() < deadline:
            if stop.is_set() and not stopping:
                stopping = True
                deadline = min(deadline, monotonic() + after_s)
                _signal(runs, signal.SIGUSR1)  # SIPp's own `q`: no new call, finish the others
            if stopping:
                with suppress(subprocess.TimeoutExpired):
                    running[0].process.wait(_POLL_S)
            else:
                stop.wait(_POLL_S)
    finally:
        _signal(runs, signal.SIGKILL)
        for run in runs:
            run.process.wait()


def _running(runs: list[_SippRun]) -> list[_SippRun]:
    return [run for run in runs if run.process.poll() is None]


def _signal(runs: Iterable[_SippRun], number: int) -> None:
    for run in runs:
        run.process.send_signal(number)


def _refuse_untestable(samus: Mapping[str, str]) -> None:
    without = [samu_id for samu_id, number in samus.items() if not number]
    if without or not samus:
        raise RefusedError(
            f"no test number for SAMU {', '.join(without)}" if without else "no SAMU to call",
            remedy="set samu_test_number in the inventory: test calls go nowhere else",
        )


def _numbers(samus: Mapping[str, str]) -> str:
    called = list(samus.items())
    rows = []
    for turn in range(max(_CALLERS, len(called)) // len(called) * len(called)):
        samu_id, number = called[turn % len(called)]
        rows.append(f"{number};{samu_id};063998{random.randrange(10_000):04d}")
    return "\n".join(["SEQUENTIAL", *rows]) + "\n"


def _milliseconds(seconds: str, microseconds: str) -> int:
    return int(float(seconds)) * 1000 + int(float(microseconds)) // 1000
