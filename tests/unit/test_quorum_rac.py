"""Oracle RAC: every rule that finds, and every layout that has misled somebody."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from sisamu_ops.quorum.capture import Capture, HostCapture, Output
from sisamu_ops.quorum.rac.assess import assess_rac
from sisamu_ops.quorum.rac.broker import read_broker
from sisamu_ops.quorum.rac.membership import read_check_cluster, read_check_crs, read_olsnodes
from sisamu_ops.quorum.rac.resources import read_resources
from sisamu_ops.quorum.rac.settings import read_setting
from sisamu_ops.quorum.rac.srvctl import read_srvctl
from sisamu_ops.quorum.rac.storage import read_lsdg, read_ocrcheck
from sisamu_ops.quorum.rac.votedisk import read_votedisk
from sisamu_ops.quorum.verdict import Severity, Verdict
from tests.support.commands import ROOT
from tests.support.rac import BROKER_ABSENT, Rac, broker, healthy

ONE, TWO = frozenset({"rac1"}), frozenset({"rac2"})
UNWATCHED = "Warning: ORA-16820: fast-start failover observer is no longer observing this database"


def ids(capture: Capture, above: Severity = Severity.WARNING) -> set[str]:
    """Return the ids of findings graver than a severity."""
    return {one.finding_id for one in assess_rac(capture).findings if one.severity > above}


def out(text: str, status: int | None = 0) -> Output:
    """Return an output."""
    return Output(content=text.encode(), status=status)


def with_output(rac: Rac, name: str, text: str, *hosts: str, status: int = 0) -> Capture:
    """Return a capture in which some hosts, or all, say something else."""
    capture = rac.capture()
    changed = {
        host: HostCapture(outputs={**one.outputs, name: out(text, status)})
        if host in (hosts or rac.nodes)
        else one
        for host, one in capture.hosts.items()
    }
    return replace(capture, hosts=changed)


WORLDS: dict[str, tuple[Rac, str, set[str]]] = {
    "healthy": (healthy(), "QUORATE", set()),
    "healthy, 11.2": (healthy(old=True), "QUORATE", set()),
    "node down": (
        healthy(down=TWO),
        "DEGRADED",
        {"node.down", "vip.failed-over", "instance.down", "service.down", "quorum.no-margin"},
    ),
    "every node down": (healthy(down=ONE | TWO), "LOST", {"css.down-everywhere"}),
    "crsd down": (healthy(crs_down=TWO), "DEGRADED", {"node.daemons", "node.lower-stack"}),
    "voting file offline": (
        healthy(offline=frozenset({1})),
        "DEGRADED",
        {"votedisk.offline", "quorum.no-margin"},
    ),
    "two voting files offline": (
        healthy(offline=frozenset({1, 2})),
        "LOST",
        {"votedisk.lost", "votedisk.offline"},
    ),
    "instance down": (
        healthy(instances_down=frozenset({1})),
        "DEGRADED",
        {"instance.down", "service.down"},
    ),
    "service down": (healthy(services_down=frozenset({"calls"})), "DEGRADED", {"service.down"}),
    "address elsewhere": (healthy(failed_over=TWO), "DEGRADED", {"vip.failed-over"}),
    "disk group gone": (healthy(dismounted=frozenset({"VOTE"})), "DEGRADED", {"asm.dismounted"}),
    "failure group gone": (healthy(offline_disks=2), "DEGRADED", {"asm.offline-disks"}),
    "OCR failed": (healthy(ocr="failed"), "DEGRADED", {"ocr.failed"}),
    "split brain": (
        healthy(claims={"rac1": TWO, "rac2": ONE}),
        "UNKNOWN",
        {"membership.split-brain"},
    ),
    "one-sided claim": (healthy(claims={"rac2": ONE}), "UNKNOWN", {"membership.contradictory"}),
    "broker well": (healthy(broker=broker()), "QUORATE", set()),
    "no broker": (healthy(broker=BROKER_ABSENT), "QUORATE", set()),
    "broker not started": (
        healthy(broker="ORA-16525: The Oracle Data Guard broker is not yet available.\n"),
        "QUORATE",
        set(),
    ),
    "broker warns": (healthy(broker=broker("WARNING")), "QUORATE", set()),
    "broker in error": (healthy(broker=broker("ERROR")), "DEGRADED", {"broker.error"}),
    "observer gone": (
        healthy(broker=broker("WARNING", "ENABLED", UNWATCHED)),
        "DEGRADED",
        {"broker.unobserved"},
    ),
    "SCAN on one node": (healthy(scan_nodes=("rac1", "rac1", "rac1")), "QUORATE", set()),
}  # fmt: skip


@pytest.mark.parametrize("world", WORLDS)
def test_what_is_made_of_a_cluster(world: str) -> None:
    """The verdict, and exactly the findings that carry it."""
    rac, verdict, findings = WORLDS[world]
    assert assess_rac(rac.capture()).verdict is Verdict(verdict), assess_rac(rac.capture()).findings
    assert ids(rac.capture()) == findings


def test_all_scan_listeners_on_one_node_are_a_warning_and_no_more() -> None:
    """It is said, and the verdict stays QUORATE."""
    assert "scan.one-node" in ids(WORLDS["SCAN on one node"][0].capture(), above=Severity.INFO)


def test_every_finding_says_where_it_was_read_and_what_to_do() -> None:
    """Evidence names host, command and line; no remedy is empty."""
    for rac, _, _ in WORLDS.values():
        for finding in assess_rac(rac.capture()).findings:
            assert finding.remedy and finding.message
            if not finding.finding_id.startswith(("quorum.", "site.")):
                assert finding.evidence and all(
                    one.host and one.command for one in finding.evidence
                )
    split = assess_rac(WORLDS["split brain"][0].capture()).findings[0]
    assert "rac1 and rac2 each claim" in split.message
    assert [one.line.split()[0] for one in split.evidence] == ["rac2", "rac1"]


def test_a_node_that_was_not_reached_is_judged_by_the_others() -> None:
    """The others see it in the cluster, or out of it: DEGRADED; nobody reached: UNKNOWN."""
    silent = HostCapture(unreachable="no route to host")
    up, gone = healthy().capture(), healthy(down=TWO).capture()
    for capture, css in ((up, "online"), (gone, "offline")):
        assessment = assess_rac(replace(capture, hosts={**capture.hosts, "rac2": silent}))
        assert assessment.verdict is Verdict.DEGRADED
        assert assessment.to_json()["nodes"][1]["css"] == css
        assert assessment.to_json()["confidence"] == "lowered"
    nobody = replace(up, hosts=dict.fromkeys(up.hosts, silent))
    assert ids(nobody) == {"evidence.none", "host.unreachable"}
    assert assess_rac(nobody).verdict is Verdict.UNKNOWN
    assert assess_rac(replace(up, hosts={})).verdict is Verdict.UNKNOWN


def test_a_node_nobody_asked_is_a_finding() -> None:
    """One host's word on a cluster of two is not the whole of it."""
    capture = healthy().capture()
    one = replace(capture, hosts={"rac1": capture.hosts["rac1"]})
    assert ids(one) == {"host.not-asked"}


@pytest.mark.parametrize(
    ("name", "text", "finding"),
    [
        ("srvctl_database", "Instance samu1 is running on node rac1. Instance status: Open.\n"
         "Instance samu2 is running on node rac2. Instance status: Mounted (Closed).\n",
         "instance.not-open"),
        ("srvctl_service", "Service calls is not running.\nService portal is running on nodes: r\n",
         "service.down"),
        ("srvctl_database", "Database is not running.\n", "instance.down"),
        ("ocrcheck", "PROT-602: Failed to retrieve data from the cluster registry\n", "ocr.failed"),
        ("lsdg", "ASMCMD-8102: no connection to Oracle ASM; command requires Oracle ASM to run\n",
         "evidence.unreadable"),
        ("srvctl_scan_listener", "PRCR-1068 : Failed to query resources\n", "evidence.unreadable"),
        ("dgmgrl_configuration", "ORA-01034: ORACLE not available\n", "evidence.unreadable"),
        ("stat_res", "CRS-4535: Cannot communicate with Cluster Ready Services\n",
         "evidence.unreadable"),
    ],
)  # fmt: skip
def test_one_nodes_word_is_enough_for_bad_news(name: str, text: str, finding: str) -> None:
    """What a single node says is down is down, whatever the other says."""
    capture = with_output(healthy(), name, text, "rac2")
    assert finding in ids(capture)
    assert assess_rac(capture).verdict is Verdict.DEGRADED


def test_what_is_meant_to_be_offline_is_no_fault() -> None:
    """TARGET OFFLINE, STATE OFFLINE: somebody wanted it; srvctl then says 'not running'."""
    rac = healthy(instances_down=frozenset({1}))
    capture = rac.capture()
    for host in rac.nodes:
        said = re.sub(r"2        ONLINE  OFFLINE", "2        OFFLINE OFFLINE", rac.stat_res())
        outputs = {**capture.hosts[host].outputs, "stat_res": out(said)}
        capture = replace(capture, hosts={**capture.hosts, host: HostCapture(outputs=outputs)})
    assert assess_rac(capture).verdict is Verdict.QUORATE, assess_rac(capture).findings


def test_the_third_slot_of_flex_asm_is_spare_on_two_nodes() -> None:
    """ONLINE/OFFLINE there is how a healthy cluster of two looks."""
    spare = "      3        ONLINE  OFFLINE                               STABLE\n"
    said = healthy().stat_res().replace("ora.cvu\n", f"{spare}ora.cvu\n")
    assert assess_rac(with_output(healthy(), "stat_res", said)).verdict is Verdict.QUORATE
    second = said.replace(spare, "").replace(
        "      2        ONLINE  ONLINE       rac2                     STABLE\nora.cvu",
        "      2        ONLINE  OFFLINE                               STABLE\nora.cvu",
    )
    assert "resource.down" in ids(with_output(healthy(), "stat_res", second))


def listed(*resources: str) -> str:
    """Return the healthy listing with further cluster resources of one row each."""
    rows = "".join(f"{one}\n" for one in resources)
    return healthy().stat_res().replace("ora.cvu\n", f"{rows}ora.cvu\n")


DOWN_ROW = "      1        ONLINE  OFFLINE                               STABLE"


@pytest.mark.parametrize(
    ("resource", "finding"),
    [
        ("ora.samu.scanner.svc", "service.down"),
        ("ora.LISTENER_SCAN4.lsnr", None),
        ("ora.scan4_net2.vip", None),
        ("ora.qosmserver", None),
        ("ora.MGMTLSNR", None),
        ("ora.gns", None),
        ("vip", "resource.down"),
        ("ora.db", "instance.down"),
        ("xag.goldengate", "resource.down"),
        ("mine", "resource.down"),
    ],
)
def test_what_a_resource_is_follows_from_its_whole_name(resource: str, finding: str | None) -> None:
    """A service called scanner is no SCAN; names of no form known are read all the same."""
    capture = with_output(healthy(), "stat_res", listed(resource, DOWN_ROW))
    assert (ids(capture) - {"evidence.differs"}) == ({finding} if finding else set())
    assert resource in str(assess_rac(capture).findings)


def test_only_a_nodes_own_address_can_have_failed_over() -> None:
    """The address of GNS, or of an application, runs on whichever node it likes."""
    row = "      1        ONLINE  ONLINE       rac2                     STABLE"
    for resource in ("ora.gns.vip", "ora.calls.vip", "app.vip"):
        capture = with_output(healthy(), "stat_res", listed(resource, row))
        assert assess_rac(capture).verdict is Verdict.QUORATE, resource


def test_a_mounted_physical_standby_is_no_fault() -> None:
    """INTERMEDIATE, Mounted (Closed): as it should be, where the broker calls it a standby."""
    standby = broker().replace("samu    - Primary", "samu_p  - Primary").replace("samu_s", "samu")
    said = re.sub(r"(ora\.samu\.db\n.*?)ONLINE  ONLINE       rac1(\s+)STABLE",
                  r"\1ONLINE  INTERMEDIATE rac1\2Mounted (Closed),STABLE",
                  healthy().stat_res())  # fmt: skip
    primary = with_output(healthy(broker=broker()), "stat_res", said)
    assert "instance.down" in ids(primary)
    assert "instance.down" not in ids(with_output(healthy(broker=standby), "stat_res", said))


def test_data_guard_need_not_be_there() -> None:
    """Declared to be absent, its missing output is no gap; else it is."""
    capture = healthy().capture()
    hosts = {
        host: HostCapture(
            outputs={n: o for n, o in one.outputs.items() if n != "dgmgrl_configuration"}
        )
        for host, one in capture.hosts.items()
    }
    without = replace(capture, hosts=hosts)
    assert assess_rac(without).verdict is Verdict.DEGRADED
    declared = replace(without.declared, data_guard=False)
    assert assess_rac(replace(without, declared=declared)).verdict is Verdict.QUORATE


def test_settings_are_told_and_judge_nothing() -> None:
    """A misscount of 60 s is worth a word; one that is not said lowers nothing but confidence."""
    sixty = "CRS-4678: Successful get misscount 60 for Cluster Synchronization Services."
    capture = with_output(healthy(), "misscount", sixty)
    assert assess_rac(capture).verdict is Verdict.QUORATE
    assert any("60 s" in one.message for one in assess_rac(capture).findings)
    assert read_setting(out(sixty), "misscount") == 60
    assert read_setting(out("CRS-4047: No Oracle Clusterware components"), "misscount") is None


def test_a_site_that_cannot_be_lost_is_said_by_policy() -> None:
    """Both nodes at one of two sites: a warning, or DEGRADED where the inventory says so."""
    lopsided = healthy(sites=("paris", "paris"), files=("paris", "lyon", "lyon"))
    assert assess_rac(lopsided.capture()).verdict is Verdict.QUORATE
    assert "site.loss-ends-quorum" in ids(lopsided.capture(), above=Severity.INFO)
    assert assess_rac(lopsided.capture(site_loss_degrades=True)).verdict is Verdict.DEGRADED


def test_a_cluster_is_not_blamed_for_what_it_was_never_built_to_survive() -> None:
    """One voting file: losing it ends quorum, today as ever. Two of three: that is another."""
    assert assess_rac(healthy(files=("paris",)).capture()).verdict is Verdict.QUORATE
    assert "quorum.no-margin" in ids(healthy(offline=frozenset({0})).capture())


# --- layouts -----------------------------------------------------------------------------

FILE_ID = "b1e7c2fbeb754f82bf09a991b2cf4441"


def test_a_voting_file_may_wrap_and_lack_the_blank_after_its_index() -> None:
    """Its path on the next line, `1.ONLINE` without a blank."""
    read = read_votedisk(
        out(f" 1.ONLINE {FILE_ID}\n(/dev/rdsk/c0t6d0s0) [OCR]\nLocated 1 voting disk(s).\n")
    )
    assert (read.online, read.configured, read.complaints) == (1, 1, ())
    assert (read.rows[0].path, read.rows[0].disk_group) == ("/dev/rdsk/c0t6d0s0", "OCR")


def test_voting_files_that_are_gone_may_have_lost_their_paths() -> None:
    """OFFLINE rows with nothing between the brackets are rows of their own: quorum is lost."""
    gone = "".join(f" {i}. OFFLINE  {i:032x} () []\n" for i in (2, 3))
    said = f" 1. ONLINE   {1:032x} (/dev/v1) [V]\n{gone}Located 3 voting disk(s).\n"
    read = read_votedisk(out(said))
    assert (read.online, read.configured, read.complaints) == (1, 3, ())
    assert assess_rac(with_output(healthy(), "votedisk", said)).verdict is Verdict.LOST


@pytest.mark.parametrize(
    "last", ["", "Located 3 voting disk(s).\n", "Located 1\n", "Locat"], ids=lambda x: x.strip()
)
def test_how_many_are_configured_must_be_said_and_fit(last: str) -> None:
    """Without the last line, or with one that does not fit, the listing is not whole."""
    rows = f" 1. ONLINE   {FILE_ID} (/dev/v1) [V]\n 2. ONLINE   {FILE_ID} (/dev/v2) [V]\n"
    assert read_votedisk(out(rows + last)).complaints
    if not last:  # declared, it need not be said
        assert not read_votedisk(out(rows), declared=("/dev/v1", "/dev/v2")).complaints


def test_codes_count_where_words_are_translated() -> None:
    """The text may be in any language."""
    read = read_check_crs(
        out("CRS-4638: 高可用\nCRS-4537: 集群\nCRS-4530: 通信失败\nCRS-4533: 联机\n")
    )
    assert read.up == {"ohas": True, "crs": True, "css": False, "evm": True}


def test_nodes_that_did_not_reply_are_down_for_whoever_asked() -> None:
    """CRS-4404 names them before the blocks of the others."""
    text = (
        f"CRS-4404: The following nodes did not reply within the allotted time:\nrac2\n{'*' * 9}\n"
    )
    text += "rac1:\nCRS-4537: x\nCRS-4529: x\nCRS-4533: x\n" + "*" * 9 + "\n"
    read = read_check_cluster(out(text))
    assert (read.nodes["rac1"].css, read.nodes["rac2"].css, read.complaints) == (True, False, ())


def test_a_stopped_stack_is_css_down() -> None:
    """CRS-4639 is the only line then."""
    assert read_check_crs(out("CRS-4639: Could not contact OHAS\n", 1)).css is False


def test_a_vip_may_be_none_or_absent_and_a_status_not_asked_for() -> None:
    """`<none>` on Kubernetes; without -s nothing is known of a node's part in the cluster."""
    assert [r.active for r in read_olsnodes(out("r1\t1\t<none>\tActive\tUnpinned\n")).rows] == [
        True
    ]
    assert [r.active for r in read_olsnodes(out("r1\t1\tInactive\tPinned\n")).rows] == [False]
    assert read_olsnodes(out("r1\t1\n")).complaints == ("no status of r1",)


def test_details_wrap_in_mid_word() -> None:
    """A word broken at twenty columns is put together again."""
    said = healthy().stat_res()
    row = "      1        ONLINE  ONLINE       rac1                     STABLE\nora.rac2.vip"
    broken = row.replace("STABLE\n", "Started at a late ho\n" + " " * 61 + "ur,STABLE\n")
    read = read_resources(out(said.replace(row, broken)))
    assert read.complaints == ()
    assert any(one.details == "Started at a late hour,STABLE" for one in read.rows)


def test_a_listing_that_is_cut_says_so() -> None:
    """12c closes with a line; 11.2 does not, and there a row must be missing to be noticed."""
    said = healthy().stat_res().splitlines(keepends=True)
    assert any("cut short" in one for one in read_resources(out("".join(said[:-1]))).complaints)
    old = healthy(old=True).stat_res()
    assert read_resources(out(old)).complaints == ()
    assert read_resources(out(old[: old.rindex("\n", 0, -1)] + "\n      2  ONLI")).complaints


def test_a_row_that_is_left_out_is_missed() -> None:
    """An ordinal of a cluster resource, a node of a local one, every row of a name."""
    said = healthy().stat_res()
    first = "ora.samu.db\n      1        ONLINE  ONLINE       rac1                     STABLE\n"
    local = "               ONLINE  ONLINE       rac2                     STABLE\n"
    assert first in said and local in said
    assert read_resources(out(said.replace(first, "ora.samu.db\n"))).complaints
    assert read_resources(out(said.replace(local, "", 1))).complaints
    cvu = "      1        ONLINE  ONLINE       rac1                     STABLE\nora.rac1.vip"
    assert read_resources(out(said.replace(cvu, "ora.rac1.vip"))).complaints


def test_a_transcript_is_read_and_not_relied_on() -> None:
    """Its last listing is what is told; that there was another before is a doubt."""
    row = f" 1. ONLINE {FILE_ID} (/dev/v1) [V]\nLocated 1 voting disk(s).\n"
    typed = "[root@rac1 ~]# crsctl query css votedisk\n"
    assert read_votedisk(out(typed + row)).complaints == ()
    twice = read_votedisk(out(typed + row.replace("ONLINE", "OFFLINE") + typed + row))
    assert (twice.online, len(twice.complaints)) == (1, 1)


def test_a_disk_group_without_type_is_still_read() -> None:
    """DISMOUNTED rows have an empty Type; an instance column may come first."""
    lsdg = healthy().lsdg("rac1").splitlines()
    gone = "DISMOUNTED          N           0               0      0        0         0        0"
    gone += "                0               0              0             N  FRA/"
    read = read_lsdg(out("\n".join([*lsdg, gone])))
    assert read.complaints == ()
    assert [(g.name, g.mounted) for g in read.groups] == [
        ("DATA", True), ("VOTE", True), ("FRA", False)]  # fmt: skip
    assert read.groups[1].holds_voting_files
    with_id = [f"Inst_ID  {lsdg[0]}", *(f"      1  {row}" for row in lsdg[1:])]
    assert len(read_lsdg(out("\n".join(with_id))).groups) == 2


def test_an_ocr_says_every_location_and_the_whole() -> None:
    """A location less, a figure less, a word less: not whole."""
    said = healthy().ocrcheck()
    assert read_ocrcheck(out(said)).complaints == ()
    for line in said.splitlines()[1:]:
        assert read_ocrcheck(out(said.replace(line + "\n", "", 1))).complaints, line
    bypassed = said.replace("check succeeded\n", "check succeeded\n").replace(
        "Logical corruption check succeeded",
        "Logical corruption check bypassed due to non-privileged user",
    )
    assert read_ocrcheck(out(bypassed)).complaints == ()


def test_an_idempotent_step_that_had_nothing_to_do_is_no_failure() -> None:
    """Already running, already stopped."""
    for code in ("PRCC-1014", "PRCC-1016", "CRS-5702"):
        assert read_srvctl(out(f"{code} : LISTENER_SCAN1 was already running\n")).nothing_to_do


@pytest.mark.parametrize("word", ["DISABLED", "Disabled", "disabled"])
def test_fast_start_failover_off_is_off_in_any_case(word: str) -> None:
    """12.1 shouts it, 19c does not."""
    read = read_broker(out(broker(fast_start=word)))
    assert (read.fast_start, read.complaints) == (False, ())


def test_members_were_called_databases() -> None:
    """11.2's heading."""
    assert read_broker(out(broker().replace("Members:", "Databases:"))).complaints == ()


# --- what is documented ------------------------------------------------------------------

FAMILIES = (
    *("asm", "broker", "css", "evidence", "galera", "host", "instance", "membership", "node"),
    *("ocr", "quorum", "resource", "scan", "service", "settings", "site", "vip", "votedisk"),
    "zookeeper",
)


def test_the_page_lists_exactly_the_findings_there_are() -> None:
    """Every id in the code stands in docs/quorum.md, and no other."""
    pattern = re.compile(rf'"((?:{"|".join(FAMILIES)})\.[a-z-]+)"')
    code = {
        found
        for path in (ROOT / "sisamu_ops/quorum").rglob("*.py")
        for found in pattern.findall(path.read_text("utf-8"))
    }
    page = Path(ROOT / "docs/quorum.md").read_text("utf-8")
    table = set(re.findall(r"^\| `([a-z]+\.[a-z-]+)` \|", page, re.MULTILINE))
    assert table == code | {"evidence.missing", "evidence.unreadable"}
