"""The policy in columns against the policy number by number."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stream.core.filters.matches import Matches
from stream.core.model.decision import Action
from stream.core.policy.list_scope import Outside
from stream.core.policy.policy import ListPolicy, Policy, PolicySettings
from stream.core.policy.policy_columns import PolicyColumns, judge, rules_of, stopped

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
hits = st.tuples(
    st.booleans(), st.sampled_from([0, 49, 50, 100]), st.sampled_from([0, 0, 0, *Outside])
)


@given(
    by_list=st.lists(policies, min_size=LISTS, max_size=LISTS),
    held=st.dictionaries(st.tuples(st.integers(0, 6), st.integers(0, LISTS - 1)), hits),
)
def test_columns_are_judged_as_numbers_are(by_list, held):
    """Action, trial, deciding match, reasons and what keeps it from acting are those of
    `Policy.weigh` for each number, some of which are outside of their list's scope.
    """
    pairs = sorted(held)
    matches = Matches.blank(
        np.array([row for row, _ in pairs], np.int64), np.array([at for _, at in pairs], np.int64)
    )
    for place, pair in enumerate(pairs):
        matches.confirmed[place], matches.confidence[place], matches.outside[place] = held[pair]
    policy = Policy(PolicySettings(), by_list, names=tuple(f"XA/{n}" for n in range(LISTS)))
    columns = PolicyColumns.of(policy)
    judged = judge(matches, columns)
    rules = [rule.text for rule in rules_of(policy)]
    kept = stopped(matches, judged, columns)
    told = {} if kept is None else {place: n for n, place in enumerate(kept.places.tolist())}
    by_row = matches.by_row()
    assert judged.rows.tolist() == [*by_row]
    for place, found in enumerate(by_row.values()):
        one = policy.weigh(found)
        first, last = int(judged.first[place]), int(judged.last[place])
        assert (judged.actions[place], judged.simulated[place]) == (one.action, one.simulated)
        deciding, rule = int(judged.deciding[place]), None
        if kept is not None and place in told:
            deciding, rule = int(kept.deciding[told[place]]), rules[kept.rules[told[place]]]
        assert (deciding - first, rule) == (found.index(one.deciding), one.rule)
        assert matches.at(np.arange(first, last)).by_row() == {int(judged.rows[place]): found}
