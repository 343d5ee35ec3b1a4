"""What the what-if foresees of a lost member is what a real cluster then does.

Four telling cases of the ninety that `python -m tests.galera_losses` tries.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sisamu_ops.lab import Lab
from tests.galera_losses.cases import case_named
from tests.galera_losses.restoring import make_whole
from tests.galera_losses.trial import Trial


@pytest.fixture(scope="module")
def trial(lab: Lab) -> Trial:
    """One reading of the inventory for all cases."""
    return Trial(lab)


@pytest.fixture(autouse=True)
def whole(lab: Lab) -> Iterator[None]:
    """Whatever a case does, the next test finds the cluster whole."""
    yield
    make_whole(lab)


@pytest.mark.parametrize(
    ("name", "verdict", "survivors"),
    [
        ("cut db-lyon", "DEGRADED", ["db-lille", "db-paris"]),
        ("kill db-paris + kill db-lille", "LOST", []),
        # The same two members: once the last is asked to leave, once it is not.
        ("stop db-lille, then stop db-lyon", "DEGRADED", ["db-paris"]),
        ("stop db-lille, then kill db-lyon", "LOST", []),
    ],
)
def test_a_loss_ends_as_foreseen(
    name: str, verdict: str, survivors: list[str], trial: Trial
) -> None:
    """Prediction, check over SSH, the members' own word and a real write agree."""
    result = trial.run(case_named(name))
    assert result.differences == ()
    assert result.outcome.checked == verdict
    assert list(result.outcome.survivors_seen) == survivors
