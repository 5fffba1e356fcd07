"""The policy: from matches to an action."""

import numpy as np
import pytest

from stream.core.model.decision import Action
from stream.core.policy.policy import ListPolicy, Match, PolicySettings, compile_policy
from stream.core.policy.policy_columns import PolicyColumns

SURE = Match(0, confirmed=True, category=1, confidence=80, expires_at_s=0)
MAYBE = Match(0, confirmed=False)


def policy(*by_list: ListPolicy):
    names = [f"XA/{index}" for index in range(len(by_list))]
    return compile_policy(PolicySettings(lists=dict(zip(names, by_list, strict=True))), names)


def test_a_confirmed_match_blocks_by_default():
    """A list that nothing is said about blocks what it certainly holds."""
    judged = compile_policy(PolicySettings(), ["XA/any"]).weigh([SURE])
    assert (judged.action, judged.simulated, judged.deciding) == (Action.BLOCK, False, SURE)


def test_a_bloom_hit_alone_flags_by_default():
    """What nothing confirms is flagged, not blocked."""
    assert policy(ListPolicy()).weigh([MAYBE]).action is Action.FLAG


def test_an_unconfirmed_match_never_does_more_than_a_confirmed_one():
    """`unconfirmed` is capped by the list's own action."""
    rule = ListPolicy(action=Action.OBSERVE, unconfirmed=Action.BLOCK)
    assert policy(rule).weigh([MAYBE]).action is Action.OBSERVE


def test_low_confidence_only_observes():
    """An entry below the list's minimum does nothing by itself; at the minimum it counts."""
    assert policy(ListPolicy(confidence_min=81)).weigh([SURE]).action is Action.OBSERVE
    assert policy(ListPolicy(confidence_min=80)).weigh([SURE]).action is Action.BLOCK


def test_lists_must_agree_where_told():
    """With agree_min 2 one list is not enough; a second confirmed one is, an unconfirmed is not."""
    rules = policy(ListPolicy(agree_min=2), ListPolicy(action=Action.OBSERVE))
    second = SURE._replace(list=1)
    assert rules.weigh([SURE]).action is Action.OBSERVE
    assert rules.weigh([SURE, MAYBE._replace(list=1)]).action is Action.OBSERVE
    assert rules.weigh([SURE, second]).action is Action.BLOCK


def test_the_strongest_list_decides_and_the_earlier_of_equals():
    """Block wins over flag; of two that block, the first in order is named."""
    rules = policy(ListPolicy(action=Action.FLAG), ListPolicy(), ListPolicy())
    second, third = SURE._replace(list=1), SURE._replace(list=2)
    assert rules.weigh([SURE, second, third]).deciding is second


def test_a_list_on_trial_acts_only_where_no_other_does():
    """Simulated block gives way to a real flag; alone it is reported as simulated."""
    rules = policy(ListPolicy(simulate=True), ListPolicy(action=Action.FLAG))
    alone = rules.weigh([SURE])
    assert (alone.action, alone.simulated) == (Action.BLOCK, True)
    both = rules.weigh([SURE, SURE._replace(list=1)])
    assert (both.action, both.simulated) == (Action.FLAG, False)


def test_stale_lists_are_named():
    """A list older than its limit is stale; one without a limit never is."""
    rules = policy(ListPolicy(age_s_max=60), ListPolicy(), ListPolicy(age_s_max=61))
    assert PolicyColumns.of(rules).stale(np.array([61, 10**9, 61])) == [0]


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
