"""What every property test has: a machine that does not stop."""

from tests.support.power import power_stays  # noqa: F401 - a fixture of every test here
