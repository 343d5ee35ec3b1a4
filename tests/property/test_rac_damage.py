"""However an output is damaged, nothing is raised and no verdict gets better.

The short form looks at some cases; SISAMU_DAMAGE_CASES=10000 is the long one (CONTRIBUTING.md).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sisamu_ops.quorum.capture import Capture, Declared, HostCapture, Output
from sisamu_ops.quorum.rac.assess import assess_rac
from sisamu_ops.quorum.rac.commands import COMMANDS
from sisamu_ops.quorum.verdict import Verdict
from tests.support.rac import Rac, broker, healthy

#: LOST and UNKNOWN both stand in the way of planned changes: neither is better than the other.
RANK = {Verdict.QUORATE: 0, Verdict.DEGRADED: 1, Verdict.UNKNOWN: 2, Verdict.LOST: 2}
CASES = int(os.environ.get("SISAMU_DAMAGE_CASES", "300"))

_FOUR = {
    "nodes": ("rac1", "rac2", "rac3", "rac4"),
    "sites": ("paris", "paris", "lyon", "lyon"),
    "files": ("paris", "paris", "lyon", "lyon", "lille"),
}
_OUT = frozenset({"rac2"})
_UNWATCHED = "Warning: ORA-16820: fast-start failover observer is no longer observing this database"
WORLDS: dict[str, Rac] = {
    "healthy": healthy(),
    "healthy, 11.2": healthy(old=True),
    "healthy, four nodes": healthy(**_FOUR),
    "node down": healthy(down=_OUT),
    "node of four down": healthy(**_FOUR, down=_OUT),
    "all down": healthy(down=frozenset({"rac1", "rac2"})),
    "crsd down": healthy(crs_down=_OUT),
    "one voting file offline": healthy(offline=frozenset({1})),
    "last voting file offline": healthy(offline=frozenset({2})),
    "two voting files offline": healthy(offline=frozenset({1, 2})),
    "three of five offline": healthy(**_FOUR, offline=frozenset({2, 3, 4})),
    "instance down": healthy(instances_down=frozenset({1})),
    "instance down, 11.2": healthy(instances_down=frozenset({1}), old=True),
    "service down": healthy(services_down=frozenset({"portal"})),
    "address failed over": healthy(failed_over=_OUT),
    "disk group dismounted": healthy(dismounted=frozenset({"VOTE"})),
    "disks offline": healthy(offline_disks=1),
    "OCR failed": healthy(ocr="failed"),
    "split brain": healthy(claims={"rac1": _OUT, "rac2": frozenset({"rac1"})}),
    "one-sided claim": healthy(claims={"rac1": _OUT}),
    "claim among four": healthy(**_FOUR, claims={"rac4": frozenset({"rac1"})}),
    "broker well": healthy(broker=broker()),
    "broker in error": healthy(broker=broker("ERROR", trouble="Error: ORA-16810: multiple errors")),
    "observer gone": healthy(broker=broker("WARNING", "Enabled", _UNWATCHED)),
    "one node": healthy(nodes=("rac1",), sites=("paris",), files=("paris",)),
    "one node, instance down": healthy(
        nodes=("rac1",), sites=("paris",), files=("paris",), instances_down=frozenset({0})
    ),
}

ONE = {"nodes": ("rac1",), "sites": ("paris",)}


def _told_by(host: str, faulty: Rac, name: str) -> Capture:
    """Return a healthy cluster in which one output of one host alone tells of a fault."""
    capture, told = healthy().capture(), faulty.outputs(host)
    said = Output(content=told[name].encode(), status=0)
    outputs = {**capture.hosts[host].outputs, name: said}
    return replace(capture, hosts={**capture.hosts, host: HostCapture(outputs=outputs)})


#: Worlds in which one output of one host is the only one to tell of a fault.
WITNESSES: dict[str, tuple[str, Rac, str]] = {
    "service down, by one word": ("rac2", healthy(services_down=frozenset({"portal"})), "stat_res"),
    "service partly down, by one word": (
        "rac2",
        healthy(partly_down=frozenset({"calls"})),
        "stat_res",
    ),
    "instance down, by one word": ("rac1", healthy(instances_down=frozenset({0})), "stat_res"),
    "instance down, by srvctl alone": (
        "rac1",
        healthy(instances_down=frozenset({1})),
        "srvctl_database",
    ),
    "claim of olsnodes alone": ("rac1", healthy(claims={"rac1": _OUT}), "olsnodes"),
    "claim of check cluster alone": ("rac1", healthy(claims={"rac1": _OUT}), "check_cluster"),
    "crsd down, by its own word": ("rac2", healthy(crs_down=_OUT), "check_crs"),
    "crsd down, by another's word": ("rac1", healthy(crs_down=_OUT), "check_cluster"),
    "dismounted, by one word": ("rac2", healthy(dismounted=frozenset({"VOTE"})), "lsdg"),
    "OCR failed, by one word": ("rac2", healthy(ocr="failed"), "ocrcheck"),
    "file offline, by one word": ("rac2", healthy(offline=frozenset({2})), "votedisk"),
    "broker in error, by one word": (
        "rac2",
        healthy(broker=broker("ERROR")),
        "dgmgrl_configuration",
    ),
}

#: Clusters as they are, and those in which nothing but one output of one host tells of the fault.
CAPTURES: dict[str, Capture] = {
    **{name: rac.capture() for name, rac in WORLDS.items()},
    "one node, files undeclared": replace(
        healthy(**ONE, offline=frozenset({1, 2})).capture(), declared=Declared()
    ),
    "one node, one file of three": healthy(**ONE, offline=frozenset({0})).capture(),
    **{name: _told_by(*told) for name, told in WITNESSES.items()},
}

Damage = Callable[[bytes], bytes]
_ENCODINGS = ("utf-16", "utf-16-le", "utf-8-sig", "latin-1", "cp500", "utf-32")


@st.composite
def _truncated(draw: st.DrawFn) -> Damage:
    share = draw(st.floats(0, 1))
    return lambda content: content[: int(len(content) * share)]


@st.composite
def _wrapped(draw: st.DrawFn) -> Damage:
    width, indent = draw(st.integers(1, 100)), " " * draw(st.integers(0, 62))

    return lambda content: _wrap(content, width, indent)


def _wrap(content: bytes, width: int, indent: str) -> bytes:
    lines = []
    for line in content.decode().splitlines():
        pieces = [line[i : i + width] for i in range(0, len(line), width)] or [""]
        lines += [pieces[0], *(indent + piece for piece in pieces[1:])]
    return "\n".join(lines).encode()


@st.composite
def _unwrapped(draw: st.DrawFn) -> Damage:
    every = draw(st.integers(2, 5))

    def join(content: bytes) -> bytes:
        lines = content.decode().splitlines()
        return "\n".join(
            " ".join(lines[i : i + every]) for i in range(0, len(lines), every)
        ).encode()

    return join


@st.composite
def _without_lines(draw: st.DrawFn) -> Damage:
    random = draw(st.randoms(use_true_random=False))
    share = draw(st.sampled_from((0.02, 0.1, 0.3, 0.6)))
    return lambda content: b"\n".join(
        line for line in content.split(b"\n") if random.random() > share
    )


@st.composite
def _without_a_run(draw: st.DrawFn) -> Damage:
    start, length = draw(st.floats(0, 1)), draw(st.integers(1, 4))

    def drop(content: bytes) -> bytes:
        lines = content.split(b"\n")
        first = int(start * len(lines))
        return b"\n".join(lines[:first] + lines[first + length :])

    return drop


@st.composite
def _shuffled(draw: st.DrawFn) -> Damage:
    random = draw(st.randoms(use_true_random=False))
    swaps = draw(st.sampled_from((1, 2, 1000)))

    def shuffle(content: bytes) -> bytes:
        lines = content.split(b"\n")
        for _ in range(min(swaps, 3 * len(lines))):
            first, second = random.randrange(len(lines)), random.randrange(len(lines))
            lines[first], lines[second] = lines[second], lines[first]
        return b"\n".join(lines)

    return shuffle


def _reblanked(content: bytes) -> bytes:
    return b"\n".join(b" ".join(line.split()) for line in content.split(b"\n"))


def _damages() -> st.SearchStrategy[Damage]:
    fixed: list[Damage] = [
        bytes.upper,
        bytes.lower,
        bytes.swapcase,
        _reblanked,
        lambda content: content.replace(b" ", b"  "),
        lambda content: content.replace(b" ", b"\t"),
        lambda content: content.replace(b"\n", b"\r\n"),
        lambda content: content.replace(b"\n", b"\r"),
        lambda content: b"",
        *(lambda content, e=e: content.decode().encode(e) for e in _ENCODINGS),
    ]
    return st.one_of(
        st.sampled_from(fixed),
        _truncated(),
        _wrapped(),
        _unwrapped(),
        _without_lines(),
        _without_a_run(),
        _shuffled(),
        st.binary(max_size=200).map(lambda noise: lambda _: noise),
    )


def _apply(content: bytes, damages: list[Damage]) -> bytes:
    for damage in damages:
        try:
            content = damage(content)
        except UnicodeError:
            return content
    return content


def _damaged(capture: Capture, host: str, name: str, damages: list[Damage]) -> Capture:
    one = capture.hosts[host]
    content = _apply(one.outputs[name].content, damages)
    outputs = {**one.outputs, name: Output(content=content, status=one.outputs[name].status)}
    return replace(capture, hosts={**capture.hosts, host: HostCapture(outputs=outputs)})


def _name(capture: Capture) -> list[tuple[str, str]]:
    return [(host, name) for host, one in capture.hosts.items() for name in one.outputs]


def _settings(cases: int) -> settings:
    return settings(
        max_examples=cases, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
    )


@_settings(CASES)
@given(
    world=st.sampled_from(sorted(CAPTURES)),
    damages=st.lists(_damages(), min_size=1, max_size=3),
    data=st.data(),
)
def test_one_damaged_output_never_makes_a_verdict_better(
    world: str, damages: list[Damage], data: st.DataObject
) -> None:
    """Whatever happens to one output of one node, the verdict stays or gets worse."""
    capture = CAPTURES[world]
    host, name = data.draw(st.sampled_from(_name(capture)))
    before = assess_rac(capture).verdict
    after = assess_rac(_damaged(capture, host, name, damages))
    assert RANK[after.verdict] >= RANK[before], (world, host, name, before, after.findings)


@_settings(CASES // 3)
@given(
    world=st.sampled_from(sorted(CAPTURES)), damages=st.lists(_damages(), min_size=1, max_size=2)
)
def test_the_same_damage_to_every_output_never_makes_a_verdict_better(
    world: str, damages: list[Damage]
) -> None:
    """A terminal that wraps, a copy that drops lines: the same happens to all outputs at once."""
    capture = CAPTURES[world]
    before = assess_rac(capture).verdict
    for host, name in _name(capture):
        capture = _damaged(capture, host, name, damages)
    after = assess_rac(capture)
    assert RANK[after.verdict] >= RANK[before], (world, before, after.findings)


_WORDS = sorted(
    {
        word
        for rac in (healthy(), healthy(old=True, broker=broker()), healthy(down=_OUT))
        for said in (*rac.outputs("rac1").values(), *rac.outputs("rac2").values())
        for word in said.split()
    }
    | {"ora.", ".vip", "vip", "ora.vip", "(", ")", "[", "1.", "-1", "$", ":", "Located", "9" * 30}
)
_LINES = st.lists(
    st.tuples(st.sampled_from(("", " ", " " * 6, " " * 61)), st.lists(st.sampled_from(_WORDS)))
).map(lambda lines: "\n".join(indent + " ".join(words) for indent, words in lines).encode())


@_settings(CASES // 3)
@given(said=st.dictionaries(st.sampled_from(sorted(COMMANDS)), _LINES, min_size=1))
def test_words_in_any_order_raise_nothing(said: dict[str, bytes]) -> None:
    """What a node might print, its words and lines thrown together: no crash, no good news."""
    capture = healthy(offline=frozenset({0, 1})).capture()
    outputs = {name: Output(content=content, status=0) for name, content in said.items()}
    told = HostCapture(outputs={**capture.hosts["rac1"].outputs, **outputs})
    after = assess_rac(replace(capture, hosts={**capture.hosts, "rac1": told}))
    assert RANK[after.verdict] == RANK[Verdict.LOST], after.findings
    assert assess_rac(replace(capture, hosts={"rac1": told})).verdict is not Verdict.QUORATE


@pytest.mark.parametrize("world", WITNESSES)
def test_no_line_of_the_only_witness_can_be_spared(world: str) -> None:
    """Each line left out, each pair of neighbours, each end, each width it may wrap at."""
    capture, (host, _, name) = CAPTURES[world], WITNESSES[world]
    before = assess_rac(capture).verdict
    lines = capture.hosts[host].outputs[name].content.split(b"\n")
    said = _shortened(lines) + [b"\n".join(lines[:i]) for i in range(len(lines))]
    said += [_wrap(b"\n".join(lines), width, "") for width in range(1, 100)]
    for content in said:
        after = assess_rac(_damaged(capture, host, name, [lambda _, c=content: c]))
        assert RANK[after.verdict] >= RANK[before], (after.findings, content.decode())


@pytest.mark.parametrize("world", WITNESSES)
def test_no_line_of_who_contradicts_the_witness_can_be_spared(world: str) -> None:
    """The other node says the same of all the rest: what it leaves out is missed elsewhere."""
    capture, (host, _, name) = CAPTURES[world], WITNESSES[world]
    before = assess_rac(capture).verdict
    other = next(one for one in capture.hosts if one != host)
    for content in _shortened(capture.hosts[other].outputs[name].content.split(b"\n")):
        after = assess_rac(_damaged(capture, other, name, [lambda _, c=content: c]))
        assert RANK[after.verdict] >= RANK[before], (after.findings, content.decode())


def _shortened(lines: list[bytes]) -> list[bytes]:
    """Return the text without each line, and without each pair of neighbours."""
    return [b"\n".join(lines[:i] + lines[i + n :]) for i in range(len(lines)) for n in (1, 2)]


def test_a_missing_output_never_makes_a_verdict_better() -> None:
    """Each output of each node in turn, and each kind of output on all nodes, is taken away."""
    for world, capture in CAPTURES.items():
        before = assess_rac(capture).verdict
        for host, name in _name(capture):
            assert RANK[_without(capture, name, host)] >= RANK[before], (world, host, name)
        for name in COMMANDS:
            after = _without(capture, name, *capture.hosts)
            assert RANK[after] >= RANK[before], (world, "everywhere", name)
            if name == "votedisk" and world != "all down":
                assert after is Verdict.UNKNOWN


def _without(capture: Capture, name: str, *hosts: str) -> Verdict:
    """Return the verdict without one kind of output of some hosts."""
    kept = {
        host: HostCapture(outputs={k: v for k, v in one.outputs.items() if k != name})
        if host in hosts
        else one
        for host, one in capture.hosts.items()
    }
    return assess_rac(replace(capture, hosts=kept)).verdict
