"""Delays, counted in steps that can be added."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.model.delays import STEP_MAX, Delays, step_end_s, step_of, together

delays = st.lists(st.floats(0, 1e7, allow_nan=False), min_size=1, max_size=50)


def exact(held, share):
    ordered = sorted(held)
    return ordered[max(-(-len(ordered) * int(share * 100) // 100), 1) - 1]


@given(delays)
def test_quantiles_are_never_too_short_and_at_most_five_per_cent_too_long(held):
    """A figure against a response target errs against us, by 5 % (and a millisecond) at most."""
    found = Delays.measured(held)
    assert found is not None
    assert found.count == len(held)
    assert found.max_s == max(held)
    for said, share in ((found.p50_s, 0.5), (found.p99_s, 0.99)):
        assert exact(held, share) <= said * (1 + 1e-9)
        assert said <= exact(held, share) * 1.0501 + 0.0021


@given(delays, delays)
def test_days_put_together_are_what_one_count_had_been(one, other):
    """Where days are split makes no difference to the month."""
    joined = together([Delays.measured(one, 60.0), None, Delays.measured(other, 60.0)])
    assert joined == Delays.measured([*one, *other], 60.0)


def test_nothing_measured_is_no_value():
    """No delays make no zero."""
    assert Delays.measured([]) is None
    assert together([None, None]) is None


def test_a_part_without_a_target_leaves_lateness_unknown():
    """Late is only said where all of it was held against a target."""
    joined = together([Delays.measured([1.0], 0.5), Delays.measured([1.0])])
    assert joined is not None
    assert joined.late is None


def test_what_lies_in_the_future_took_no_time():
    """Another machine's clock is ahead: the delay counts as none."""
    assert step_of(-3.0) == 0
    assert Delays.measured([-3.0]) == Delays.measured([0.0])


def test_the_longest_delays_share_the_last_step():
    """However long something takes, there are never more steps."""
    assert step_of(1e10) == STEP_MAX
    assert step_end_s(STEP_MAX) > 365 * 86_400


def test_steps_that_do_not_add_up_are_refused():
    """A partner's figures and what they were counted from agree."""
    with pytest.raises(ValueError, match="do not add up"):
        Delays(count=2, p50_s=1, p99_s=1, max_s=1, steps=((3, 1),))
    with pytest.raises(ValueError, match="more are late"):
        Delays(count=1, p50_s=1, p99_s=1, max_s=1, late=2, steps=((3, 1),))
