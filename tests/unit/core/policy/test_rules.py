"""The rules' settings: the state on each trunk, and the lists that rules ask."""

import pytest

from stream.core.policy.rules import RuleLists, RuleSettings, RuleState, RuleStates, rules_that_ask

RULE = "invalid_caller"
DNO = "do_not_originate"
OFF, TRIAL, FLAG, BLOCK = RuleState.OFF, RuleState.SIMULATE, RuleState.FLAG, RuleState.BLOCK


def settings(default: RuleState, country: RuleState | None = None, trunk: RuleState | None = None):
    """One rule's states: by default, in Thailand, and on the trunk "border"."""
    return RuleSettings(
        RuleStates(invalid_caller=default),
        {"TH": {} if country is None else {RULE: country}},
        {"border": {} if trunk is None else {RULE: trunk}},
    )


@pytest.mark.parametrize(
    ("default", "country", "trunk", "border", "elsewhere", "abroad"),
    [
        (FLAG, None, None, FLAG, FLAG, FLAG),
        (FLAG, BLOCK, None, BLOCK, BLOCK, FLAG),
        (FLAG, BLOCK, OFF, OFF, BLOCK, FLAG),
        (FLAG, None, OFF, OFF, FLAG, FLAG),
    ],
)
def test_the_nearest_state_counts(default, country, trunk, border, elsewhere, abroad) -> None:
    """The trunk's own, else that of its country, else the default."""
    rules = settings(default, country, trunk)
    assert rules.state(RULE, "border", "TH") == border
    assert rules.state(RULE, "other", "TH") == elsewhere
    assert rules.state(RULE, None, "TH") == elsewhere
    assert rules.state(RULE, "other", "GB") == abroad


@pytest.mark.parametrize(
    ("states", "is_on", "on_trial", "everywhere"),
    [
        ((OFF, None, None), False, False, False),
        ((OFF, OFF, OFF), False, False, False),
        ((OFF, FLAG, None), True, False, False),
        ((OFF, None, TRIAL), True, True, False),
        ((TRIAL, BLOCK, BLOCK), True, True, False),
        ((BLOCK, None, None), True, False, True),
        ((BLOCK, BLOCK, BLOCK), True, False, True),
        ((BLOCK, None, FLAG), True, False, False),
        ((BLOCK, OFF, None), True, False, False),
    ],
)
def test_a_rule_is_on_where_any_trunk_has_it(states, is_on, on_trial, everywhere) -> None:
    """On, on trial, or blocking everywhere: by all states that some trunk can have."""
    rules = settings(*states)
    found = rules.is_on(RULE), rules.is_on_trial(RULE), rules.blocks_everywhere(RULE)
    assert found == (is_on, on_trial, everywhere)


def test_a_rule_without_its_lists_is_off() -> None:
    """`do_not_originate` blocks by default, and does nothing until a list is named."""
    without, named = RuleSettings(), RuleSettings(do_not_originate_lists=("TH/dno",))
    assert (without.state(DNO, None, "TH"), named.state(DNO, None, "TH")) == (OFF, BLOCK)
    assert (without.is_on(DNO), named.is_on(DNO)) == (False, True)
    assert (without.blocks_everywhere(DNO), named.blocks_everywhere(DNO)) == (False, True)
    on_a_trunk = RuleSettings(trunks={"border": {DNO: BLOCK}})
    assert (on_a_trunk.is_on(DNO), on_a_trunk.blocks_everywhere(DNO)) == (False, False)
    # The lists are this rule's: another is on without them.
    assert RuleSettings(RuleStates(invalid_caller=FLAG)).is_on(RULE)


def test_rules_that_go_by_more_than_the_call_are_named() -> None:
    """Only where they are on: bursts, and those of signatures."""
    assert (RuleSettings().with_memory, RuleSettings().of_attestation) == ((), ())
    rules = RuleSettings(RuleStates(short_bursts=FLAG, attestation_missing=FLAG))
    assert (rules.with_memory, rules.of_attestation) == (
        ("short_bursts",),
        ("attestation_missing",),
    )


def test_lists_that_rules_ask() -> None:
    """By list the rules that ask it; by rule the places of its lists; a missing one is noticed."""
    rules = RuleSettings(
        do_not_originate_lists=("TH/dno", "TH/both"),
        home_number_from_abroad_except=("TH/both", "TH/roaming"),
    )
    assert rules.lists == {"TH/dno", "TH/both", "TH/roaming"}
    asked = {name: list(rules_that_ask(rules, name)) for name in (*rules.lists, "KH/scam")}
    assert asked == {
        "TH/dno": [DNO],
        "TH/both": [DNO, "home_number_from_abroad"],
        "TH/roaming": ["home_number_from_abroad"],
        "KH/scam": [],
    }
    names = ["KH/scam", "TH/both", "TH/dno", "TH/roaming"]
    assert RuleLists.of(rules, names) == RuleLists((2, 1), (1, 3), missing=False)
    assert RuleLists.of(rules, names).all == (2, 1, 1, 3)
    # A number may come from abroad by the list that is not there: the rule cannot be asked.
    assert RuleLists.of(rules, names[:3]) == RuleLists((2, 1), (1,), missing=True)
    assert RuleLists.of(rules, ["TH/both", "TH/roaming"]).missing is False
