"""Settings and agreements after promotions and demotions."""

from dataclasses import replace

import pytest

from stream.core.model.agreement import Agreements, Terms
from stream.core.model.decision import Action
from stream.core.model.on_trial import (
    NO_TRIALS,
    Target,
    TrialKind,
    Trials,
    TrialStatus,
    Turned,
    known,
)
from stream.core.policy.policy import ListPolicy, PolicySettings, alone
from stream.core.policy.rules import RuleSettings, RuleState, RuleStates
from tests.support.agreements import agreement

SCAM, OTHER = "KH/scam", "TH/national"
LIST, PACT = Target(TrialKind.LIST, SCAM), Target(TrialKind.AGREEMENT, "th-kh")
SHORT = Target(TrialKind.RULE, "short_number_from_abroad")
ODD = {"intl-1": {SHORT.name: RuleState.SIMULATE}}
ON_TRIAL = PolicySettings(lists={SCAM: ListPolicy(simulate=True, confidence_min=40)})


@pytest.mark.parametrize("text", ["list:KH/scam", "agreement:th-kh", "rule:invalid_caller"])
def test_a_thing_is_read_as_it_is_written(text: str) -> None:
    """`promote` takes what `ls` prints."""
    assert str(Target.read(text)) == text


@pytest.mark.parametrize("text", ["KH/scam", "list:", "list:a/b/c", "feed:x", "list:KH/scam\n", ""])
def test_what_is_no_thing_is_told(text: str) -> None:
    """Anything else is none, and no guess is made."""
    assert Target.read(text) is None


def test_a_promotion_changes_nothing_but_the_trial() -> None:
    """A promoted list keeps all else that its settings say, and other lists keep theirs."""
    made = NO_TRIALS.with_turned([LIST], TrialStatus.FORCE).policy(ON_TRIAL, [SCAM, OTHER])
    assert alone(made, SCAM) == ListPolicy(simulate=False, confidence_min=40)
    assert alone(made, OTHER) == alone(ON_TRIAL, OTHER)


def test_a_list_without_settings_of_its_own_is_turned_alone() -> None:
    """Where all lists are on trial by default, one of them is promoted and the others stay."""
    default = PolicySettings(default=ListPolicy(simulate=True, decay_days=3))
    made = NO_TRIALS.with_turned([LIST], TrialStatus.FORCE).policy(default, [SCAM, OTHER])
    assert alone(made, SCAM) == replace(default.default, simulate=False)
    assert alone(made, OTHER).simulate


def test_a_list_that_is_not_there_changes_nothing() -> None:
    """A promotion of a list that went away is kept and does nothing."""
    made = NO_TRIALS.with_turned([LIST], TrialStatus.FORCE)
    assert made.policy(ON_TRIAL, [OTHER]) is ON_TRIAL


def test_an_agreement_is_turned_in_all_its_clauses() -> None:
    """A demoted agreement is on trial in every clause; others, and its terms, stay."""
    held = (agreement("asean", ["MM/x"]), agreement("th-kh", [SCAM, "KH/y"]))
    made = NO_TRIALS.with_turned([PACT], TrialStatus.TRIAL).agreements(
        Agreements(held, needed=True)
    )
    assert made.needed
    assert made.held[0] is held[0]
    assert [c.terms for c in made.held[1].clauses] == [Terms(Action.BLOCK, simulate=True)] * 2
    assert NO_TRIALS.agreements(made) is made


def test_everything_that_can_be_on_trial_is_known() -> None:
    """Lists of the list store and of the settings, and agreements, with what their files say."""
    held = Agreements((agreement("th-kh", [SCAM], terms=Terms(Action.BLOCK, simulate=True)),))
    rules = RuleSettings(default=RuleStates(invalid_caller=RuleState.FLAG), trunks=ODD)
    found = dict(known(replace(ON_TRIAL, rules=rules), [OTHER], held))
    rules_found = {Target(TrialKind.RULE, "invalid_caller"): False, SHORT: True}
    assert found == rules_found | {LIST: True, Target(TrialKind.LIST, OTHER): False, PACT: True}


def test_a_rule_is_turned_wherever_it_is_set() -> None:
    """A promoted rule blocks where it was on trial; a demoted one acts on nobody; others stay."""
    rules = RuleSettings(
        default=RuleStates(short_number_from_abroad=RuleState.FLAG, invalid_caller=RuleState.BLOCK),
        countries={"GB": {SHORT.name: RuleState.BLOCK}},
        trunks=ODD,
    )
    settings = PolicySettings(rules=rules)
    places: list[tuple[str | None, str]] = [(None, "TH"), (None, "GB"), ("intl-1", "TH")]
    promoted = NO_TRIALS.with_turned([SHORT], TrialStatus.FORCE).policy(settings, []).rules
    states = [promoted.state(SHORT.name, *place) for place in places]
    assert states == [RuleState.FLAG, RuleState.BLOCK, RuleState.BLOCK]
    demoted = NO_TRIALS.with_turned([SHORT], TrialStatus.TRIAL).policy(settings, []).rules
    states = [demoted.state(SHORT.name, *place) for place in places]
    assert states == [RuleState.OBSERVE, RuleState.SIMULATE, RuleState.SIMULATE]
    assert promoted.default.invalid_caller is demoted.default.invalid_caller is RuleState.BLOCK
    unknown = NO_TRIALS.with_turned([Target(TrialKind.RULE, "gone")], TrialStatus.FORCE)
    assert unknown.policy(settings, []) == settings


def test_what_was_turned_later_did_not_count_then() -> None:
    """Looking back, a promotion counts from its moment on."""
    force = Turned(standing=TrialStatus.FORCE, at_s=100, actor="malee", reason="why")
    trials = Trials({LIST: force}, 1)
    assert trials.as_of(100).turned == {LIST: force}
    assert not trials.as_of(99).turned


def test_an_operator_s_word_goes_before_the_settings() -> None:
    """A promotion or demotion counts; without one, the settings do."""
    trials: Trials = NO_TRIALS.with_turned([LIST], TrialStatus.FORCE)
    assert trials.standing(LIST, set_on_trial=True) is TrialStatus.FORCE
    assert trials.standing(PACT, set_on_trial=True) is TrialStatus.TRIAL
    assert trials.standing(PACT, set_on_trial=False) is TrialStatus.FORCE
