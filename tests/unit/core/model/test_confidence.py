"""Confidence of a list in a number: age, sources, and reports that it is innocent."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.model.confidence import Reports, decay_of, left, standing
from stream.core.model.entry import NEVER, Category

DAY_S = 86_400
NOW_S = 1_795_564_428
VISHING = decay_of([(10.0, 2.3)])
"""MISP's model for phone numbers; its threshold is 30."""
SPAM, LEGITIMATE = Category.SPAM, Category.LEGITIMATE


def left_of(confidence, age_s, decay=VISHING):
    ages = np.atleast_1d(age_s)
    stored = np.full(len(ages), confidence, np.uint8)
    return left(stored, NOW_S - ages, np.repeat(decay, len(ages), axis=0), NOW_S) * 100


def come_to(*reports, decay=VISHING, now_s=NOW_S):
    """Match, category, confidence and expiry that (category, confidence, age, expiry) make."""
    category, confidence, age_s, expires_at_s = zip(*reports, strict=True)
    found = standing(
        Reports(
            first=np.zeros(1, np.int64),
            lists=np.zeros(len(reports), np.int64),
            speaks=np.ones(len(reports), np.bool_),
            category=np.array(category, np.uint8),
            confidence=np.array(confidence, np.uint8),
            reported_at_s=now_s - np.array(age_s, np.int64),
            expires_at_s=np.array(expires_at_s, np.int64),
        ),
        decay,
        now_s,
    )
    columns = (found.matches, found.category, found.confidence, found.expires_at_s)
    return tuple(column.tolist()[0] for column in columns)


@pytest.mark.parametrize(
    ("age_days", "score"),
    [
        (0, 80.0),
        (1, 50.602),  # 80 (1 - 0.1^(1/2.3)) = 80 (1 - 0.36748)
        (2, 40.264),  # 80 (1 - 0.2^0.43478) = 80 (1 - 0.49670)
        (5, 20.816),  # 80 (1 - 0.5^0.43478) = 80 (1 - 0.73980)
        (7.5, 9.406),  # 80 (1 - 0.75^0.43478) = 80 (1 - 0.88243)
        (10, 0.0),
        (400, 0.0),
    ],
)
def test_age_is_weighed_as_misp_does(age_days, score):
    """A `base_score` of 80, MISP's for phone numbers, is worth what its formula says by hand."""
    assert left_of(80, round(age_days * DAY_S))[0] == pytest.approx(score, abs=0.002)


def test_the_threshold_is_reached_when_misp_says():
    """80 falls to MISP's threshold of 30 (`confidence_min`) in 10 (1 - 30/80)^2.3 = 3.393 days."""
    assert left_of(80, round(3.392 * DAY_S))[0] > 30 > left_of(80, round(3.394 * DAY_S))[0]


def test_no_decay_leaves_what_was_reported():
    """With `decay_days = 0` a report counts the same for ever; one of the future counts as new."""
    assert left_of(73, [0, 10**9, -5], decay_of([(0, 2.3)])).tolist() == [73, 73, 73]
    assert left_of(73, -3600).tolist() == [73]


@given(
    st.integers(0, 100),
    st.lists(st.integers(0, 40 * DAY_S), min_size=2, max_size=20),
    st.floats(0.1, 60),
    st.floats(0.05, 20),
)
def test_confidence_only_falls(confidence, ages, days, speed):
    """Older is never surer, and always between 0 and what was reported."""
    found = left_of(confidence, sorted(ages), decay_of([(days, speed)]))
    assert np.all(np.diff(found) <= 1e-9)
    assert np.all((found >= 0) & (found <= confidence + 1e-9))


def test_sources_raise_and_lower():
    """Two that err in 1 of 5 and 1 of 2 cases both err in 1 of 10; a doubter halves the rest."""
    steady = decay_of([(0, 1)])
    blame = [(SPAM, 80, 0, NEVER), (Category.LOAN, 50, 0, NEVER)]
    assert come_to(*blame, decay=steady) == (True, SPAM, 90, NEVER)
    doubted = come_to(*blame, (LEGITIMATE, 50, 0, NEVER), decay=steady)
    assert doubted == (True, SPAM, 45, NEVER)
    certain = come_to(*blame, (LEGITIMATE, 100, 0, NEVER), decay=steady)
    assert certain == (True, SPAM, 0, NEVER)


def test_each_report_ages_by_itself():
    """The surest now gives the category, not the one that was surest once."""
    old, new = (Category.LOAN, 100, 9 * DAY_S, NEVER), (SPAM, 40, 0, NEVER)
    matches, category, confidence, _ = come_to(old, new)
    assert (matches, category) == (True, SPAM)
    assert confidence == round(100 - 60 * (100 - left_of(100, 9 * DAY_S)[0]) / 100)


def test_expired_reports_do_not_count():
    """Expiry takes a report out; the last live one says until when the number is listed."""
    gone = (Category.LOAN, 100, 5, NOW_S)
    assert not come_to(gone)[0]
    steady = decay_of([(0, 1)])
    held = come_to(gone, (SPAM, 30, 5, NOW_S + 1), (SPAM, 30, 5, NOW_S + 9), decay=steady)
    assert held == (True, SPAM, 51, NOW_S + 9)


@pytest.mark.parametrize("others", [0, 1])
def test_who_calls_it_legitimate_lists_nothing(others):
    """A number with nothing but legitimate live reports is no match, whatever has expired."""
    reports = [(LEGITIMATE, 90, 5, NEVER)] + [(SPAM, 100, 5, NOW_S)] * others
    assert not come_to(*reports)[0]


@given(
    st.lists(
        st.tuples(
            st.sampled_from([SPAM, Category.LOAN, LEGITIMATE]),
            st.integers(0, 100),
            st.integers(-60, 12 * DAY_S),
            st.sampled_from([NEVER, NOW_S, NOW_S + 1]),
        ),
        min_size=1,
        max_size=6,
    ),
    st.integers(0, 100),
)
def test_more_blame_never_lowers_and_more_doubt_never_raises(reports, confidence):
    """One more report can only raise confidence, one more legitimate one only lower it."""
    before, _, sure, _ = come_to(*reports)
    after, _, surer, _ = come_to(*reports, (SPAM, confidence, 0, NEVER))
    assert after
    assert not before or surer >= sure
    doubted, _, less, _ = come_to(*reports, (LEGITIMATE, confidence, 0, NEVER))
    assert doubted == before
    assert not before or less <= sure


def test_a_half_is_rounded_up_however_it_came_out():
    """90 and 95 make 99.5: a last bit of the arithmetic must not decide what a call gets."""
    steady = decay_of([(0, 1)])
    for pair in ([90, 95], [95, 90]):
        assert come_to(*((SPAM, c, 0, NEVER) for c in pair), decay=steady)[2] == 100
