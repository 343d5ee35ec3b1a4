"""One hypothesis profile: modest, without deadlines, printing what reproduces a failure."""

from hypothesis import HealthCheck, settings

from tests.support.power import power_stays  # noqa: F401 - a fixture of every test here

settings.register_profile(
    "sisamu",
    max_examples=60,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
settings.load_profile("sisamu")
