"""A short soak: nothing that a process holds grows under steady work."""

import pytest

from tests.campaigns import soak
from tests.campaigns.soak import Plan
from tests.support.figures import record

PLAN = Plan(minutes=3.0, rate=500, warm_s=80.0, sample_s=4.0)
GROWTH_MAX = 8.0
"""Percent of memory between the quarters. Three minutes see a leak of each record or change; what
an hour allows is 2 %, of which start-up takes no part."""


@pytest.mark.campaign
@pytest.mark.apache_kafka
@pytest.mark.expects_errors("Group Coordinator")
async def test_nothing_grows_under_steady_work(tmp_path, measured):
    """No descriptor, thread or task stays open, no memory beyond its bound, each answer right."""
    figures, course = await soak.run(PLAN, tmp_path)
    measured(str(figures))
    record("soak", figures, "short")
    assert course.wrong == []
    last = {name: inside[-1] for name, inside in course.inside.items()}
    assert figures["more"] == 0, (figures["processes"], last)
    assert figures["growth_percent"] < GROWTH_MAX, figures["processes"]
    assert all(figures["counts"][what] > 0 for what in ("change", "http", "sip", "decision"))


def test_a_leak_is_told_from_a_pool():
    """A leak rises in each quarter. A connection that a pool keeps is a step."""
    assert soak.more([89, 99, 109, 119]) == 30
    assert soak.more([89, 89, 90, 90]) == 0
    assert soak.more([91, 90, 92, 93]) == 0
