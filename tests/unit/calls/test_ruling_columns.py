"""Rulings as columns: what each begins with, and which of a call's two numbers decides."""

import numpy as np
import pytest

from stream.calls.ruling_columns import (
    CALLEE,
    CALLER,
    FIXED_RULES,
    NO_RULE,
    UNASKED,
    Rulings,
    stronger,
)
from stream.core.filters.matches import NO_MATCHES
from stream.core.model.decision import Action

KEPT, OTHER = len(FIXED_RULES), len(FIXED_RULES) + 1
OBSERVE, FLAG, BLOCK = Action.OBSERVE, Action.FLAG, Action.BLOCK


def ruled(role: int, *said: tuple[Action, bool, int]) -> Rulings:
    """Rulings on calls 0, 1, ...: the action, whether on trial, and the rule."""
    made = Rulings.blank(np.arange(len(said)), NO_MATCHES)
    for place, (action, simulated, rule) in enumerate(said):
        made.rule(np.array([place]), rule, action, simulated=simulated)
    made.roles[:] = role
    return made


def test_a_blank_ruling_lets_a_call_pass_and_names_no_list() -> None:
    """By no rule, with no reasons; and its columns are apart from each other."""
    blank = Rulings.blank(np.array([4, 7]), NO_MATCHES)
    assert [column.tolist() for column in blank.columns] == [
        *([4, 7], [OBSERVE] * 2, [False] * 2, [NO_RULE] * 2, [CALLER] * 2),
        *([-1, -1], [0, 0], [0, 0]),
    ]
    kept = blank.columns[1:]
    assert not any(
        np.shares_memory(one, other) for one in kept for other in kept if one is not other
    )


def test_a_rule_speaks_in_place_of_what_spoke_before() -> None:
    """At its places alone: a fixed rule has the caller's role, and no list for a reason."""
    made = Rulings.blank(np.arange(2), NO_MATCHES)
    for column in (made.roles, made.deciding, made.first, made.last):
        column[:] = 5
    made.rule(np.array([1]), UNASKED, FLAG, simulated=True)
    assert [column.tolist() for column in made.columns[1:]] == [
        *([OBSERVE, FLAG], [False, True], [NO_RULE, UNASKED], [5, CALLER]),
        *([5, -1], [5, 0], [5, 0]),
    ]


@pytest.mark.parametrize(
    ("caller", "callee", "role"),
    [
        # What acts goes before what is on trial, however strong that is; then the action counts.
        ((BLOCK, True, KEPT), (FLAG, False, OTHER), CALLEE),
        ((FLAG, False, KEPT), (BLOCK, True, OTHER), CALLER),
        ((FLAG, False, KEPT), (BLOCK, False, OTHER), CALLEE),
        ((FLAG, True, KEPT), (BLOCK, True, OTHER), CALLEE),
        ((OBSERVE, False, KEPT), (FLAG, True, OTHER), CALLEE),
        # Of equals the caller's; one that an agreement keeps from acting before one of no rule.
        ((BLOCK, False, KEPT), (BLOCK, False, OTHER), CALLER),
        ((OBSERVE, False, NO_RULE), (OBSERVE, False, KEPT), CALLEE),
        ((OBSERVE, False, KEPT), (OBSERVE, False, OTHER), CALLER),
    ],
)
def test_the_stronger_of_a_calls_two_numbers_rules(caller, callee, role) -> None:
    """One ruling a call: a real action, then the stronger one, then one that names a rule."""
    found = stronger(ruled(CALLER, caller, caller), ruled(CALLEE, callee))
    action, simulated, rule = callee if role == CALLEE else caller
    assert found.calls.tolist() == [0, 1]
    assert found.roles.tolist() == [role, CALLER]
    first = (found.actions.item(0), found.simulated.item(0), found.rules.item(0))
    assert first == (action, simulated, rule)
