"""Pytest's plug-in for runs on mutants: the same examples each time, and the quickest tests first.

mutmut hands over the tests that reach a mutated function as a set, in no order. The first failure
ends a run, so a property that takes seconds goes behind the unit tests.
"""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

STATS = Path("mutmut-stats.json")
"""mutmut's own file, in its folder, where it runs the tests: seconds by test."""

# Nobody reads a mutant's failure: it is not made smaller, not explained and not kept.
settings.register_profile(
    "mutants",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.generate],
    derandomize=True,
    database=None,
    report_multiple_bugs=False,
)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the quickest tests first, once mutmut has timed them."""
    if STATS.exists():
        times = json.loads(STATS.read_text())["duration_by_test"]
        items.sort(key=lambda item: times.get(item.nodeid, 0.0))
