"""A short soak: nothing that a process holds grows under steady work."""

import pytest

from tests.campaigns import soak
from tests.campaigns.soak import Plan
from tests.support.figures import record

PLAN = Plan(minutes=3.0, rate=500, warm_s=80.0, sample_s=4.0)
GROWTH_MAX = 8.0
"""Percent of memory between the quarters. Three minutes see a leak of each record or change; what
an hour allows is 2 %, of which start-up takes no part."""
MORE_MAX = {"descriptors": 3, "threads": 6, "tasks": 3}
"""Things open at one moment and not at another: a connection, a question. asyncio's pool gets
its threads one by one, at most six on two cores. A leak of one a change would be 40 here."""


@pytest.mark.campaign
@pytest.mark.apache_kafka
@pytest.mark.expects_errors("Group Coordinator")
async def test_nothing_grows_under_steady_work(tmp_path, measured):
    """No descriptor, thread or task more, no memory beyond its bound, and every answer right."""
    figures, course = await soak.run(PLAN, tmp_path)
    measured(str(figures))
    record("soak", figures, "short")
    assert course.wrong == []
    for name, one in figures["processes"].items():
        for what, more in MORE_MAX.items():
            before, after = one[what]
            assert after <= before + more, (name, what, one, course.inside[name][-1])
        assert one["anonymous_growth_percent"] < GROWTH_MAX, (name, one)
    assert all(figures["counts"][what] > 0 for what in ("change", "http", "sip", "decision"))
