"""Which term decides is the one that the engine goes by, and says who says so."""

import pytest

from stream.core.model.agreement import Terms
from stream.core.model.decision import Action
from stream.core.model.entry import Category
from stream.core.policy.list_scope import EVERY, Allowed, Outside, Scopes
from stream.core.policy.policy import (
    Agreed,
    ListPolicy,
    Match,
    Policy,
    PolicySettings,
    bounded,
    compile_policy,
)
from stream.insight.explain.terms import deciding, terms_of
from tests.oracles.policy import weigh

NAMES = ("KH/scam", "MM/scam", "TH/national")
SURE = Match(0, True, int(Category.INVESTMENT), 80, 0)


def policy(settings: ListPolicy | None = None, **terms) -> Policy:
    """Three lists; on the first two an agreement has these terms, if any."""
    mine = settings or ListPolicy()
    if not terms:
        return compile_policy(PolicySettings(default=mine), NAMES)
    agreed = [Agreed("kh", Terms(**{"action": Action.BLOCK, **terms}))]
    made = [bounded(mine, name, "TH", agreed if name[:2] != "TH" else []) for name in NAMES]
    return Policy(
        PolicySettings(default=mine),
        [one.policy for one in made],
        [one.bound for one in made],
        NAMES,
    )


def decides(found: Policy, match: Match, *others: Match) -> tuple[str, bool, str]:
    """The deciding term: its name, whether it holds, who says it."""
    term = deciding(terms_of(found, match, [match, *others]))
    assert term is not None
    return term["term"], term["holds"], term["by"]


@pytest.mark.parametrize(
    ("found", "match", "expected"),
    [
        (policy(), SURE, ("action", True, "[policy]")),
        (policy(ListPolicy(action=Action.OBSERVE)), SURE, ("action", False, "[policy]")),
        (policy(ListPolicy(confidence_min=90)), SURE, ("confidence_min", False, "[policy]")),
        (policy(ListPolicy(agree_min=2)), SURE, ("agree_min", False, "[policy]")),
        (policy(ListPolicy(simulate=True)), SURE, ("simulate", False, "[policy]")),
        (policy(action=Action.BLOCK), SURE, ("action", True, "agreement:kh")),
        (policy(action=Action.OBSERVE), SURE, ("action", False, "agreement:kh")),
        (policy(confidence_min=81), SURE, ("confidence_min", False, "agreement:kh")),
        (policy(confidence_min=80), SURE, ("action", True, "agreement:kh")),
        (policy(countries_min=2), SURE, ("countries_min", False, "agreement:kh")),
        (
            policy(categories=frozenset({Category.ROMANCE})),
            SURE,
            ("categories", False, "agreement:kh"),
        ),
        (policy(), Match(0, False), ("unconfirmed", True, "[policy]")),
        (
            policy(unconfirmed=Action.OBSERVE),
            Match(0, False),
            ("unconfirmed", False, "agreement:kh"),
        ),
    ],
)
def test_the_deciding_term_is_named(found, match, expected) -> None:
    """The first failed condition decides; if all hold, the list's action."""
    assert decides(found, match) == expected
    acts = weigh(found, [match])
    assert (acts.action > Action.OBSERVE and not acts.simulated) == expected[1]


def test_whom_the_list_may_not_name_is_said_first() -> None:
    """The country by its own text, ours and numbers for help by the settings; the list does not
    act, and counts for no other.
    """
    plain = policy(ListPolicy(agree_min=2))
    feed = Allowed(frozenset({855}), "feed kh")
    found = Policy(plain.settings, plain.by_list, (), NAMES, Scopes.of([feed, EVERY, EVERY]))
    for why, by in (
        (Outside.COUNTRY, "feed kh"),
        (Outside.OWN, "[feeds] own_numbers"),
        (Outside.EMERGENCY, "[policy.emergency]"),
    ):
        match = SURE._replace(outside=why)
        assert decides(found, match) == (why.label, False, by)
        assert weigh(found, [match]).action is Action.OBSERVE
    other = SURE._replace(list=2)
    assert decides(found, other, SURE._replace(outside=Outside.OWN)) == (
        *("agree_min", False),
        "[policy]",
    )
    assert decides(found, other, SURE)[1]


def test_another_country_that_agrees_lets_it_act() -> None:
    """Countries are counted as the engine counts them."""
    two = policy(countries_min=2)
    assert decides(two, SURE, Match(1, True, 1, 80, 0)) == ("action", True, "agreement:kh")


def test_a_list_without_an_agreement_is_said_to_need_one() -> None:
    """Another country's list on which nothing is agreed is only observed."""
    made = [bounded(ListPolicy(), name, "TH", []) for name in NAMES]
    found = Policy(
        PolicySettings(), [one.policy for one in made], [one.bound for one in made], NAMES
    )
    assert decides(found, SURE) == ("action", False, "no_agreement")


def test_no_match_has_no_term() -> None:
    """A list that once held the number decides nothing now."""
    assert deciding([]) is None
