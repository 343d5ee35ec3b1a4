"""The fence on a real Kamailio: set, read back, and still there after a restart."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.fence import HEADER, Target
from tests.support.waiting import await_that

ADDRESS = "127.97.0.1"
CONFIGURATION = """
disable_tcp=yes
children=1
listen=udp:{address}:5060
mpath="/usr/lib/x86_64-linux-gnu/kamailio/modules/"
loadmodule "db_text.so"
loadmodule "ctl.so"
loadmodule "htable.so"
loadmodule "pv.so"
modparam("ctl", "binrpc", "unix:{home}/kamailio.sock")
modparam("htable", "db_url", "text://{home}")
modparam("htable", "htable", "samu_mode=>size=8;dbtable=samu_mode")
request_route {{ drop; }}
"""


@contextmanager
def kamailio(target: Target) -> Iterator[subprocess.Popen[bytes]]:
    """Run Kamailio in the foreground; stopped by its own process when the block ends."""
    command = ["kamailio", "-f", str(target.home / "kamailio.cfg"), "-DD", "-E", "-m", "16"]
    log = (target.home / "log").open("ab")
    process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        await_that(lambda: process.poll() is not None or is_answering(target))
        assert process.poll() is None, (target.home / "log").read_text()
        yield process
    finally:
        process.terminate()
        process.wait(10)
        log.close()


def is_answering(target: Target) -> bool:
    return target.ask("read")["values"] is not None


@pytest.fixture
def target(tmp_path: Path) -> Target:
    made = Target(home=tmp_path)
    made.directory.mkdir()
    (tmp_path / "version").write_text("table_name(string) table_version(int)\nsamu_mode:2\n")
    made.table.write_text(HEADER + "1:300:0:0:nominal:0\n2:76B:0:0:nominal:0\n")
    (tmp_path / "kamailio.cfg").write_text(CONFIGURATION.format(address=ADDRESS, home=tmp_path))
    configuration = {
        "table": "samu_mode",
        "values": ["nominal", "backup"],
        "durable": str(made.table),
        "kamcmd": ["kamcmd", "-s", f"unix:{tmp_path}/kamailio.sock"],
    }
    (made.directory / "fence.json").write_text(json.dumps(configuration))
    made.ask("enrol", "1.0")
    return made


def test_a_change_is_read_back_and_survives_a_restart(target: Target) -> None:
    """Kamailio shows the change at once, and again after a restart: the list is its memory."""
    change = {"300": "backup", "76B": "backup", "680": "backup"}
    with kamailio(target):
        answer = target.ask("apply", "1.1", change)
        assert answer["outcome"] == "done"
        assert answer["before"] == {"300": "nominal", "76B": "nominal"}
    with kamailio(target):
        answer = target.ask("seal", "2.0")
        assert answer["values"] == answer["durable"] == change


def test_a_change_made_while_kamailio_was_down_is_there_when_it_starts(target: Target) -> None:
    """Unknown while it is down; the restarted Kamailio comes up with the durable list."""
    assert target.ask("apply", "1.1", {"300": "backup"})["outcome"] == "unknown"
    with kamailio(target):
        assert target.ask("read")["values"]["300"] == "backup"
        assert target.ask("apply", "1.2", {"300": "backup"})["outcome"] == "done"


def test_every_samu_of_the_country_is_read_back(target: Target) -> None:
    """The whole table comes back in one reading, however many SAMUs there are."""
    change = {f"{number:03}": "backup" for number in range(100, 300)}
    with kamailio(target):
        answer = target.ask("apply", "1.1", change)
        assert answer["outcome"] == "done" and answer["values"].items() >= change.items()


def test_a_table_kamailio_does_not_have_is_never_done(target: Target) -> None:
    """A fence configured for the wrong table reads nothing, and calls nothing done."""
    path = target.directory / "fence.json"
    path.write_text(path.read_text().replace('"samu_mode", "values"', '"other", "values"'))
    with kamailio_of_any_table(target):
        answer = target.ask("apply", "1.1", {"300": "backup"})
    assert answer["outcome"] == "unknown" and answer["values"] is None


@contextmanager
def kamailio_of_any_table(target: Target) -> Iterator[None]:
    """Run Kamailio although the fence cannot read it; ready once its socket is there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "tests.integration.test_fence_kamailio.is_answering",
            lambda asked: (asked.home / "kamailio.sock").exists(),
        )
        with kamailio(target):
            yield
