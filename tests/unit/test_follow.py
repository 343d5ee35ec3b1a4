"""What is printed once an operation has ended."""

from __future__ import annotations

from sisamu_ops.cli.follow import what_now


def test_going_back_names_each_samu_of_the_operation() -> None:
    """However many: what other operations have moved is not brought back with them."""
    samus = [str(number) for number in range(300, 340)]
    (said,) = what_now({"id": "op-1", "outcome": "done", "verb": "failover", "samus": samus})
    assert [word for word in said.split() if word.isdigit()] == samus
    assert "--all" not in said
