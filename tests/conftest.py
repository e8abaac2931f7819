"""For all tests: hypothesis tries the same examples on every machine and is never hurried."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "palate", deadline=None, derandomize=True, max_examples=40, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("palate")
