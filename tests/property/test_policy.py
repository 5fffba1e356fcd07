"""The policy in columns, against the oracle number by number; agreements: the stricter wins."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stream.core.filters.matches import Matches
from stream.core.model.agreement import Agreements, is_country, owner_of
from stream.core.model.decision import Action
from stream.core.model.entry import Category
from stream.core.policy.list_scope import Outside
from stream.core.policy.policy import NO_AGREEMENT, ListPolicy, PolicySettings, compile_bounded
from stream.core.policy.policy_columns import PolicyColumns, judge, rules_of, stopped
from tests.oracles.policy import weigh
from tests.support.agreements import agreements, moments
from tests.support.builders import NOW_S

NAMES = ("CERT/all", "KH/a", "KH/b", "MM/x", "TH/own")
actions = st.sampled_from(Action)
policies = st.builds(
    ListPolicy,
    action=actions,
    unconfirmed=actions,
    confidence_min=st.sampled_from([0, 50, 100]),
    agree_min=st.integers(1, 3),
    simulate=st.booleans(),
)
settings = st.lists(policies, min_size=len(NAMES), max_size=len(NAMES)).map(
    lambda by_list: PolicySettings(lists=dict(zip(NAMES, by_list, strict=True)))
)
hits = st.tuples(
    st.booleans(),
    st.sampled_from([0, 49, 50, 60, 100]),
    st.sampled_from([0, 1, 2, 3, 200]),
    st.sampled_from([0, 0, 0, *Outside]),
)
agreed = agreements(NAMES, ["TH", "KH"])


def matches_of(held):
    pairs = sorted(held)
    matches = Matches.blank(
        np.array([row for row, _ in pairs], np.int64), np.array([at for _, at in pairs], np.int64)
    )
    for place, pair in enumerate(pairs):
        matches.confirmed[place], matches.confidence[place], matches.category[place], why = held[
            pair
        ]
        matches.outside[place] = why
    return matches


@given(
    by_settings=settings,
    known=agreed | st.just(Agreements()),
    held=st.dictionaries(
        st.tuples(st.integers(0, 6), st.integers(0, len(NAMES) - 1)), hits, max_size=20
    ),
)
def test_columns_are_judged_as_numbers_are(by_settings, known, held):
    """Action, trial, deciding match, reasons and the rule named are those of the oracle."""
    matches = matches_of(held)
    policy = compile_bounded(by_settings, NAMES, known, "TH", NOW_S)
    columns = PolicyColumns.of(policy)
    judged = judge(matches, columns)
    rules = [rule.text for rule in rules_of(policy)]
    kept = stopped(matches, judged, columns)
    told = {} if kept is None else {place: n for n, place in enumerate(kept.places.tolist())}
    by_row = matches.by_row()
    assert judged.rows.tolist() == [*by_row]
    for place, found in enumerate(by_row.values()):
        one = weigh(policy, found)
        first, last = int(judged.first[place]), int(judged.last[place])
        assert matches.at(np.arange(first, last)).by_row() == {int(judged.rows[place]): found}
        assert (judged.actions[place], judged.simulated[place]) == (one.action, one.simulated)
        deciding, rule = int(judged.deciding[place]), None
        if place in told:
            assert kept is not None
            assert one.action is Action.OBSERVE
            deciding, rule = int(kept.deciding[told[place]]), rules[kept.rules[told[place]]]
        elif one.action > Action.OBSERVE and columns.bounds is not None:
            rule = rules[columns.bounds.rules[matches.lists[deciding]]]
            rule = None if rule.startswith("list:") else rule
        assert deciding - first == found.index(one.deciding)
        assert rule == one.rule


@given(by_settings=settings, known=agreed)
def test_the_stricter_wins(by_settings, known):
    """Of the settings and of all clauses in force the strictest of each term counts."""
    policy = compile_bounded(by_settings, NAMES, known, "TH", NOW_S)
    for name, rule, bound in zip(NAMES, policy.by_list, policy.bounds, strict=True):
        alone = by_settings.lists[name]
        terms = [terms for _, clause, terms in known.here("TH", NOW_S) if clause.list == name]
        foreign = is_country(owner_of(name)) and owner_of(name) != "TH"
        if not terms:
            assert rule.action == (Action.OBSERVE if foreign else alone.action)
            assert (bound.stops.action == NO_AGREEMENT) == foreign
            continue
        assert rule.action == min(alone.action, *(one.action for one in terms))
        assert rule.unconfirmed == min(
            alone.unconfirmed, *(min(one.action, one.unconfirmed) for one in terms)
        )
        assert rule.confidence_min == max(
            alone.confidence_min, *(one.confidence_min for one in terms)
        )
        assert rule.simulate == (alone.simulate or any(one.simulate for one in terms))
        assert bound.countries_min == max(one.countries_min for one in terms)
        allowed = set(Category).intersection(
            *(one.categories for one in terms if one.categories is not None)
        )
        assert {*range(256)} - {*bound.stops.categories} >= {*map(int, allowed)}
        assert not {*map(int, set(Category) - allowed)} - {*bound.stops.categories}


@given(by_settings=settings, known=agreed, at_s=moments, other_s=moments)
def test_what_is_compiled_holds_until_it_says(by_settings, known, at_s, other_s):
    """Between two moments at which an agreement begins or ends nothing changes."""
    from_s, until_s = known.unchanged(at_s)
    assert from_s <= at_s < until_s or at_s >= until_s
    if from_s <= other_s < until_s:
        one, other = (
            compile_bounded(by_settings, NAMES, known, "TH", when) for when in (at_s, other_s)
        )
        assert one == other
