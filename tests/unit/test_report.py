"""A report of a site that does not lead: believed when signed, counted and harmless when not."""

from __future__ import annotations

from base64 import b64encode
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sisamu_ops.failover.asking.report import make_report, open_report
from sisamu_ops.journal.canonical import canonical_bytes
from sisamu_ops.journal.entry import Entry, open_entry
from sisamu_ops.journal.keys import load_site_keys
from sisamu_ops.journal.port import InboxItem
from sisamu_ops.model.errors import RefusedError
from tests.property.test_request import JSON
from tests.support.signed_journal import KEYS, POLICY
from tests.support.world import World, make_world

FACTS = {"operation": "failover-1", "token": "2.7", "refused": {"otn-lyon": "older-token by 3.9"}}


def signed(document: bytes, site: str = "paris") -> bytes:
    signature = b64encode(KEYS[site].entry.sign(document)).decode()
    return canonical_bytes({"document": document.decode(), "sig": signature})


def test_a_report_is_read_back_with_its_site() -> None:
    """What a site saw refused reaches the leader, and whose word it is."""
    item = make_report("paris", FACTS, KEYS["paris"].entry)
    assert item.name.startswith("report.paris.")
    assert open_report(item.payload, POLICY) == FACTS | {"site": "paris"}


def test_the_same_report_has_the_same_name() -> None:
    """Put twice, a report is one item."""
    assert make_report("paris", FACTS, KEYS["paris"].entry) == make_report(
        "paris", FACTS, KEYS["paris"].entry
    )


FORGED: dict[str, bytes] = {
    "another's key": make_report("lyon", FACTS, KEYS["paris"].entry).payload,
    "an unknown site": make_report("nantes", FACTS, KEYS["paris"].entry).payload,
    "changed": make_report("paris", FACTS, KEYS["paris"].entry).payload.replace(b"2.7", b"9.9"),
    "no site": signed(canonical_bytes(FACTS)),
    "no object": signed(b"[]"),
    "no JSON": signed(b"{"),
    "no signature": canonical_bytes({"document": "{}"}),
    "short signature": canonical_bytes({"document": '{"site":"paris"}', "sig": "AAAA"}),
    "no base64": canonical_bytes({"document": '{"site":"paris"}', "sig": "é"}),
    "nothing": b"",
}


@pytest.mark.parametrize("why", sorted(FORGED))
def test_what_no_site_signed_is_refused(why: str) -> None:
    """Nobody speaks for a site without its key."""
    with pytest.raises(RefusedError):
        open_report(FORGED[why], POLICY)


@given(st.binary(max_size=200) | JSON.map(canonical_bytes))
def test_any_bytes_are_read_or_refused(payload: bytes) -> None:
    """Arbitrary bytes in a report never stop the leader."""
    with suppress(RefusedError):
        open_report(payload, POLICY)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path / "world")


def received(world: World, item: InboxItem) -> Entry:
    """Let the leader take an item; return the entry that came of it."""
    world.coordination.put(item)
    world.lead_until_idle()
    assert world.coordination.items() == []
    leaves = world.coordination.read(0, world.coordination.size())
    (entry,) = [e for e in (open_entry(leaf).entry for leaf in leaves) if "report" in e.kind]
    return entry


def test_the_leader_journals_a_report(world: World) -> None:
    """The next leader writes what was refused, whose token, where; numbers masked."""
    key = load_site_keys(world.directory / "keys").entry
    facts: dict[str, Any] = FACTS | {"refused": {"otn-lyon": "says 0639980102"}}
    data = received(world, make_report("local", facts, key)).data
    assert (data["site"], data["token"], data["operation"]) == ("local", "2.7", "failover-1")
    assert "otn-lyon" in str(data["refused"])
    assert "0639980102" not in str(data)


@pytest.mark.parametrize("facts", [FACTS, {"refused": 7}, {"refused": [1]}, {}], ids=repr)
def test_a_report_that_cannot_be_read_is_counted_only(facts: dict[str, Any], world: World) -> None:
    """Forged, or signed and malformed: one entry without a word of it, and the inbox goes on."""
    keys = load_site_keys(world.directory / "keys")
    key = KEYS["paris"].entry if facts is FACTS else keys.entry
    entry = received(world, make_report("local", facts, key))
    assert entry.data["site"] == entry.data["token"] == entry.data["operation"] == ""
    assert entry.data["refused"] == {}
