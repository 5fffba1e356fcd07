"""The policy in columns against the policy number by number."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stream.core.decision import Action
from stream.core.judging import PolicyColumns, judge
from stream.core.matches import Matches
from stream.core.policy import ListPolicy, Policy, PolicySettings

LISTS = 5
actions = st.sampled_from(Action)
policies = st.builds(
    ListPolicy,
    action=actions,
    unconfirmed=actions,
    confidence_min=st.sampled_from([0, 50, 100]),
    agree_min=st.integers(1, 3),
    simulate=st.booleans(),
)
hits = st.tuples(st.booleans(), st.sampled_from([0, 49, 50, 100]))


@given(
    by_list=st.lists(policies, min_size=LISTS, max_size=LISTS),
    held=st.dictionaries(st.tuples(st.integers(0, 6), st.integers(0, LISTS - 1)), hits),
)
def test_columns_are_judged_as_numbers_are(by_list, held):
    """Action, trial, deciding match and reasons are those of `Policy.weigh` for each number."""
    pairs = sorted(held)
    matches = Matches.blank(
        np.array([row for row, _ in pairs], np.int64), np.array([at for _, at in pairs], np.int64)
    )
    for place, pair in enumerate(pairs):
        matches.confirmed[place], matches.confidence[place] = held[pair]
    policy = Policy(PolicySettings(), by_list)
    judged = judge(matches, PolicyColumns.of(policy))
    by_row = matches.by_row()
    assert judged.rows.tolist() == [*by_row]
    for place, found in enumerate(by_row.values()):
        one = policy.weigh(found)
        first, last = int(judged.first[place]), int(judged.last[place])
        assert (judged.actions[place], judged.simulated[place]) == (one.action, one.simulated)
        assert judged.deciding[place] - first == found.index(one.deciding)
        assert matches.at(np.arange(first, last)).by_row() == {int(judged.rows[place]): found}
