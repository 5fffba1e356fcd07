"""Figures hold for every counter and every histogram there can be."""

import math

from hypothesis import example, given
from hypothesis import strategies as st

from stream.ops.monitor.rates import MetricsReading, MetricsUnreadable, grown, quantile, read

BOUNDS = (0.001, 0.01, 0.1, 1.0, 10.0)


@given(st.lists(st.floats(1e-6, 10.0), min_size=1, max_size=60), st.floats(0.01, 1.0))
@example([1.0, 1.0, 0.0078125], 1 / 3)  # 0.001 + 0.009 is above 0.01
def test_a_quantile_lies_in_the_bucket_of_the_true_one(values, wanted) -> None:
    """The estimate is as exact as the buckets are narrow, and never outside them."""
    buckets = {bound: float(sum(value <= bound for value in values)) for bound in BOUNDS}
    found = quantile(wanted, buckets | {math.inf: float(len(values))})
    true = sorted(values)[max(0, math.ceil(wanted * len(values) - 1e-9) - 1)]
    upper = next(bound for bound in BOUNDS if true <= bound)
    lower = max((bound for bound in (0.0, *BOUNDS) if bound < upper), default=0.0)
    assert found is not None
    assert lower <= found <= upper


@given(st.lists(st.integers(0, 50), min_size=6, max_size=6), st.floats(0, 1), st.floats(0, 1))
def test_a_higher_quantile_is_no_lower(counts, one, two) -> None:
    """p50 is never above p99, even of a histogram that was read between two steps."""
    buckets = dict(zip((*BOUNDS, math.inf), map(float, counts), strict=True))
    lower, higher = quantile(min(one, two), buckets), quantile(max(one, two), buckets)
    assert (lower is None) == (higher is None)
    if lower is not None and higher is not None:
        assert lower <= higher + 1e-12


@given(st.lists(st.tuples(st.integers(0, 100), st.booleans()), max_size=30))
def test_growth_adds_up_over_restarts(steps) -> None:
    """A counter that is read after each step is seen to grow by all it counted."""
    counter, seen, counted = 0, 0.0, 0
    for more, restarted in steps:
        before = counter
        # A restart that is seen as one: by then it has counted less than before.
        counter = more if restarted and more < counter else counter + more
        counted += more
        seen += grown(before, counter)
    assert seen == counted


@given(st.text() | st.from_regex(r"ringfence_calls_total(\{[^\n]{0,20}\})? [^\n]{0,9}\n"))
def test_any_text_is_a_reading_or_refused(text) -> None:
    """Nothing that a process could answer is an error of another kind."""
    try:
        found = read(text, at_s=0.0, tick_s=0.0)
    except MetricsUnreadable:
        return
    assert isinstance(found, MetricsReading)
