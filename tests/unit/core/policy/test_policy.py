"""The policy: from matches to an action."""

from dataclasses import replace

import numpy as np
import pytest

from stream.core.filters.matches import Matches
from stream.core.model.agreement import Agreements, Terms
from stream.core.model.decision import Action
from stream.core.model.entry import Category
from stream.core.policy.list_scope import Allowed, Outside
from stream.core.policy.policy import (
    NO_AGREEMENT,
    Agreed,
    Bound,
    Bounded,
    ListPolicy,
    PolicySettings,
    Stops,
    bounded,
    compile_bounded,
    compile_policy,
)
from stream.core.policy.policy_columns import PolicyColumns, judge, rules_of, stopped
from tests.support.agreements import agreement
from tests.support.builders import NOW_S

SURE, MAYBE = (0, True), (0, False)
TWO_AGREE = [ListPolicy(agree_min=2), ListPolicy(action=Action.OBSERVE)]


def policy(*by_list: ListPolicy):
    names = [f"XA/{index}" for index in range(len(by_list))]
    settings = PolicySettings(lists=dict(zip(names, by_list, strict=True)))
    return PolicyColumns.of(compile_policy(settings, names))


def judged(columns: PolicyColumns, *held: tuple[int, bool]):
    """Action, trial, and the list that decides, where lists hold a number surely or perhaps."""
    lists = np.array([at for at, _ in held], np.int64)
    matches = Matches.blank(np.zeros(len(held), np.int64), lists)
    matches.confirmed[:] = [sure for _, sure in held]
    matches.confidence[:] = [80 * sure for _, sure in held]
    found = judge(matches, columns)
    return found.actions.item(), found.simulated.item(), lists.item(found.deciding.item())


def test_a_list_blocks_by_default_what_it_surely_holds_and_flags_the_rest():
    """A list that nothing is said about; what nothing confirms is flagged."""
    assert judged(policy(ListPolicy()), SURE) == (Action.BLOCK, False, 0)
    assert judged(policy(ListPolicy()), MAYBE) == (Action.FLAG, False, 0)


@pytest.mark.parametrize(
    ("rules", "held", "action"),
    [
        # `unconfirmed` is capped by the list's own action.
        ([ListPolicy(action=Action.OBSERVE, unconfirmed=Action.BLOCK)], [MAYBE], Action.OBSERVE),
        # An entry below the list's minimum does nothing by itself; at the minimum it counts.
        ([ListPolicy(confidence_min=81)], [SURE], Action.OBSERVE),
        ([ListPolicy(confidence_min=80)], [SURE], Action.BLOCK),
        # With agree_min 2 one list is not enough, nor a second that is not confirmed.
        (TWO_AGREE, [SURE], Action.OBSERVE),
        (TWO_AGREE, [SURE, (1, False)], Action.OBSERVE),
        (TWO_AGREE, [SURE, (1, True)], Action.BLOCK),
    ],
)
def test_a_list_acts_within_its_limits(rules, held, action):
    """The action capped, confidence and agreement of lists reached, or the number is observed."""
    assert judged(policy(*rules), *held)[0] == action


def test_the_strongest_list_decides_and_the_earlier_of_equals():
    """Block wins over flag; of two that block, the first in order is named."""
    rules = policy(ListPolicy(action=Action.FLAG), ListPolicy(), ListPolicy())
    assert judged(rules, SURE, (1, True), (2, True)) == (Action.BLOCK, False, 1)


def test_a_list_on_trial_acts_only_where_no_other_does():
    """Simulated block gives way to a real flag; alone it is reported as simulated."""
    rules = policy(ListPolicy(simulate=True), ListPolicy(action=Action.FLAG))
    assert judged(rules, SURE) == (Action.BLOCK, True, 0)
    assert judged(rules, SURE, (1, True)) == (Action.FLAG, False, 1)


def test_stale_lists_are_named():
    """A list older than its limit is stale; one without a limit never is."""
    rules = policy(ListPolicy(age_s_max=60), ListPolicy(), ListPolicy(age_s_max=61))
    assert rules.stale(np.array([61, 10**9, 61])) == [0]
    assert policy(ListPolicy(age_s_max=1)).stale(np.array([2])) == [0]


@pytest.mark.parametrize(
    "settings",
    [
        *({"confidence_min": 101}, {"confidence_min": -1}, {"agree_min": 0}, {"age_s_max": -1}),
        *({"decay_days": -0.5}, {"decay_days": float("nan")}, {"decay_speed": 0}),
    ],
)
def test_impossible_limits_are_refused(settings):
    """A list policy that could never or always apply is an error, with the key in the message."""
    with pytest.raises(ValueError, match=next(iter(settings))):
        ListPolicy(**settings)


@pytest.mark.parametrize(
    ("key", "values", "beyond"),
    [
        ("confidence_min", (0, 100), (-1, 101)),
        ("decay_days", (0, 36_500), (-0.5, 36_500.5)),
        ("decay_speed", (0.01, 100), (0.009, 100.5)),
    ],
)
def test_a_limit_reaches_to_both_ends_of_its_range(key, values, beyond):
    """The first and the last value are settings; the error beyond has the key and the value."""
    for value in values:
        assert getattr(ListPolicy(**{key: value}), key) == value
    for value in beyond:
        with pytest.raises(ValueError, match=f"^{key} must be .*, not {value}$"):
            ListPolicy(**{key: value})


def test_a_missing_list_may_not_block_everyone():
    """`unasked = block` would stop a country's calls when one list is late."""
    with pytest.raises(ValueError, match=r"^unasked may be allow or flag: .* not block everyone$"):
        PolicySettings(unasked=Action.BLOCK)
    with pytest.raises(ValueError, match="decision_ttl_s"):
        PolicySettings(decision_ttl_s=0)
    assert PolicySettings(decision_ttl_s=1).decision_ttl_s == 1


def test_another_countrys_list_without_an_agreement_does_nothing():
    """It neither acts nor counts for others; decisions say that no agreement is why."""
    found = bounded(ListPolicy(simulate=True), "KH/scam", "TH", ())
    assert found.policy == ListPolicy(Action.OBSERVE, Action.OBSERVE, simulate=True)
    stops = Stops(action=NO_AGREEMENT, unconfirmed=NO_AGREEMENT)
    assert found.bound == Bound(ListPolicy(simulate=True), corroborates=False, stops=stops)
    for ours in ("TH/own", "CERT/all"):
        assert bounded(ListPolicy(), ours, "TH", ()) == Bounded(ListPolicy(), Bound(ListPolicy()))


def test_each_limit_is_named_by_the_agreement_that_sets_it():
    """An operator reads in the decision whom to ask, for each of the reasons by itself."""
    block = Terms(Action.BLOCK, unconfirmed=Action.BLOCK)
    agreed = [
        Agreed("plain", block),
        Agreed("flag", replace(block, action=Action.FLAG)),
        Agreed("doubt", replace(block, unconfirmed=Action.OBSERVE)),
        Agreed("sure", replace(block, confidence_min=60)),
        Agreed("two", replace(block, countries_min=2, may_list=frozenset({"KH"}))),
        Agreed("loans", replace(block, categories=frozenset({Category.LOAN}))),
    ]
    found = bounded(ListPolicy(), "KH/scam", "TH", agreed)
    assert found.policy == ListPolicy(Action.FLAG, Action.OBSERVE, confidence_min=60)
    bound = found.bound
    assert (bound.agreement, bound.rule) == ("flag", "agreement:flag")
    assert (bound.alone, bound.countries_min, bound.corroborates) == (ListPolicy(), 2, True)
    assert bound.may_list == (Allowed(frozenset({855}), "agreement:two"),)
    assert bound.stops[:4] == tuple(f"agreement:{one}" for one in ("flag", "doubt", "sure", "two"))
    kept = {*range(256)} - {int(Category.LOAN)}
    assert bound.stops.categories == dict.fromkeys(kept, "agreement:loans")


def test_the_most_countries_count_whatever_an_agreement_is_called():
    """The agreement that asks for the most is named, also where its id comes first."""
    agreed = [Agreed("a", Terms(Action.BLOCK, countries_min=3)), Agreed("z", Terms(Action.BLOCK))]
    for held in (agreed, agreed[::-1]):
        bound = bounded(ListPolicy(), "KH/scam", "TH", held).bound
        assert (bound.countries_min, bound.stops.countries) == (3, "agreement:a")


def test_a_category_is_kept_out_by_the_first_agreement_without_it():
    """One that this version does not know is as `other`."""
    loans = Terms(Action.BLOCK, categories=frozenset({Category.LOAN}))
    others = replace(loans, categories=frozenset({Category.CALL_CENTRE, Category.OTHER}))
    agreed = [Agreed("a", loans), Agreed("b", others), Agreed("c", others)]
    out = bounded(ListPolicy(), "KH/scam", "TH", agreed).bound.stops.categories
    assert out[Category.LOAN] == "agreement:b"
    assert {out[Category.CALL_CENTRE], out[Category.OTHER], out[255]} == {"agreement:a"}
    alone = bounded(ListPolicy(), "KH/scam", "TH", agreed[2:]).bound.stops.categories
    assert set(alone) == set(map(int, Category)) - {Category.CALL_CENTRE, Category.OTHER}


@pytest.mark.parametrize(
    ("stricter", "other"),
    [
        ({"action": Action.FLAG}, {"simulate": True}),
        ({"simulate": True}, {"countries_min": 2}),
        ({"countries_min": 2}, {"confidence_min": 60}),
        ({"confidence_min": 60}, {"categories": frozenset({Category.LOAN})}),
        ({"categories": frozenset({Category.LOAN})}, {}),
    ],
)
def test_reasons_name_the_strictest_agreement(stricter, other):
    """By action, trial, countries, confidence and categories, in this order; of equals by id."""
    terms = [Terms(**{"action": Action.BLOCK} | one) for one in (stricter, other)]
    one, two = (Agreed(name, each) for name, each in zip("ba", terms, strict=True))
    for agreed in ([one, two], [two, one]):
        assert bounded(ListPolicy(), "KH/scam", "TH", agreed).bound.agreement == "b"
    again = [one, Agreed("a", one.terms)]
    assert bounded(ListPolicy(), "KH/scam", "TH", again).bound.agreement == "a"


@pytest.mark.parametrize(
    ("settings", "terms", "decides"),
    [
        (ListPolicy(), Terms(Action.BLOCK), True),
        (ListPolicy(Action.FLAG), Terms(Action.BLOCK), False),
        (ListPolicy(Action.FLAG), Terms(Action.BLOCK, simulate=True), True),
        (ListPolicy(Action.FLAG, simulate=True), Terms(Action.BLOCK, simulate=True), False),
    ],
)
def test_settings_that_are_stricter_decide_by_themselves(settings, terms, decides):
    """A decision names the agreement where it is at least as strict as the settings, or a trial."""
    bound = bounded(settings, "KH/scam", "TH", [Agreed("mou", terms)]).bound
    assert bound.rule == ("agreement:mou" if decides else None)


@pytest.mark.parametrize(
    ("lists", "confidence", "category", "rule"),
    [
        ({"KH/a": False}, 0, 0, "doubt"),
        ({"KH/a": True}, 79, Category.LOAN, "sure"),
        ({"KH/a": True}, 80, Category.LOAN, "two"),
        ({"KH/a": True}, 80, Category.CALL_CENTRE, "loans"),
        ({"KH/a": True, "LA/x": True}, 80, Category.CALL_CENTRE, "loans"),
        ({"KH/a": True, "LA/x": True}, 80, Category.LOAN, None),
    ],
)
def test_what_keeps_a_match_from_acting_is_named(lists, confidence, category, rule):
    """Doubt, confidence, category, then the number of countries: each alone is enough."""
    names = ("KH/a", "LA/x")
    block = Terms(Action.BLOCK)
    by_id = {
        "doubt": replace(block, unconfirmed=Action.OBSERVE),
        "sure": replace(block, confidence_min=80),
        "two": replace(block, countries_min=2),
        "loans": replace(block, categories=frozenset({Category.LOAN})),
    }
    agreed = Agreements(tuple(agreement(name, names, terms=one) for name, one in by_id.items()))
    bounds = compile_bounded(PolicySettings(), names, agreed, "TH", NOW_S)
    columns = PolicyColumns.of(bounds)
    places = np.array([names.index(name) for name in lists], np.int64)
    matches = Matches.blank(np.zeros(len(lists), np.int64), places)
    matches.confirmed[:] = [*lists.values()]
    matches.confidence[:], matches.category[:] = confidence, category
    judged = judge(matches, columns)
    kept = stopped(matches, judged, columns)
    assert (judged.actions == Action.OBSERVE).tolist() == [rule is not None]
    found = [] if kept is None else [rules_of(bounds)[at].text for at in kept.rules.tolist()]
    assert found == ([] if rule is None else [f"agreement:{rule}"])


def test_a_list_outside_of_its_scope_is_named_where_another_needed_it():
    """With agree_min 2 a list does not act for a second one that may not name the number."""
    settings = PolicySettings(lists=dict(zip(("XA/0", "XA/1"), TWO_AGREE, strict=True)))
    compiled = compile_policy(settings, ("XA/0", "XA/1"))
    columns = PolicyColumns.of(compiled)
    matches = Matches.blank(np.zeros(2, np.int64), np.arange(2))
    matches.confirmed[:], matches.confidence[:] = True, 80
    matches.outside[1] = Outside.COUNTRY
    kept = stopped(matches, judge(matches, columns), columns)
    assert kept is not None
    assert (kept.places.tolist(), kept.deciding.tolist()) == ([0], [1])
    (rule,) = kept.rules.tolist()
    assert rules_of(compiled)[rule] == (1, Outside.COUNTRY.label)


def test_a_number_is_blocked_when_enough_countries_list_it():
    """Two of one country's lists are one country; what nothing confirms does not count.

    Each row of a batch is counted by itself, whichever country comes first.
    """
    names = ("KH/a", "KH/b", "LA/x", "MM/x")
    terms = Terms(Action.BLOCK, unconfirmed=Action.OBSERVE, countries_min=2)
    agreed = Agreements((agreement("mekong", names, terms=terms),))
    rules = PolicyColumns.of(compile_bounded(PolicySettings(), names, agreed, "TH", NOW_S))
    held = [
        ({"LA/x": True}, False),
        ({"KH/a": True}, False),
        ({"KH/a": True, "KH/b": True}, False),
        ({"KH/a": True, "KH/b": True, "LA/x": True}, True),
        ({"KH/b": True, "LA/x": True}, True),
        ({"KH/a": True, "LA/x": False}, False),
        ({"KH/a": False, "LA/x": True}, False),
    ]

    def blocked(rows):
        pairs = [(row, names.index(name)) for row, lists in enumerate(rows) for name in lists]
        matches = Matches.blank(*(np.array(one, np.int64) for one in zip(*pairs, strict=True)))
        matches.confirmed[:] = [sure for lists in rows for sure in lists.values()]
        matches.confidence[:] = 80
        return (judge(matches, rules).actions == Action.BLOCK).tolist()

    rows, wanted = zip(*held, strict=True)
    assert blocked(rows) == list(wanted)
    assert blocked(rows[::-1]) == list(wanted[::-1])
    # Whichever countries a batch begins with, and wherever its next listed number stands.
    both = {"KH/a": True, "LA/x": True}
    assert blocked([{"LA/x": True, "MM/x": True}, {}, {}, {"KH/b": True}]) == [True, False]
    assert blocked([both, {}, {}, {}, both]) == [True, True]
