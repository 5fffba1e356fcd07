"""What every test may ask for, and what none may leave behind: see tests/plugins."""

from hypothesis import settings

pytest_plugins = ("tests.plugins.services", "tests.plugins.leftovers")

# A deadline for each example would be a timed test, and fail on a busy machine alone.
settings.register_profile("ringfence", deadline=None)
settings.load_profile("ringfence")
