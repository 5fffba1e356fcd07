"""The policy: from matches to an action."""

import numpy as np
import pytest

from stream.core.filters.matches import Matches
from stream.core.model.agreement import Agreements, Terms
from stream.core.model.decision import Action
from stream.core.policy.policy import ListPolicy, PolicySettings, compile_bounded, compile_policy
from stream.core.policy.policy_columns import PolicyColumns, judge
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


def test_a_missing_list_may_not_block_everyone():
    """`unasked = block` would stop a country's calls when one list is late."""
    with pytest.raises(ValueError, match="unasked"):
        PolicySettings(unasked=Action.BLOCK)
    with pytest.raises(ValueError, match="decision_ttl_s"):
        PolicySettings(decision_ttl_s=0)


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
