"""Rulings for the calls that a list or rule matched, as columns; and the names of rules."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from stream.core.filters.matches import Matches
from stream.core.model.decision import Action
from stream.core.policy.policy import Policy
from stream.core.policy.policy_columns import Judgements, rules_of
from stream.core.policy.rules import RULES, RuleState

FIXED_RULES = ("none", "emergency", "allowlist", "unasked", *(f"rule:{name}" for name in RULES))
"""Every rule that belongs to no list; those of `policy_columns.rules_of` come after them."""
NO_RULE, EMERGENCY, ALLOWLIST, UNASKED = range(4)
PLAUSIBLE = FIXED_RULES.index(f"rule:{RULES[0]}")
"""The place of the first plausibility rule in `FIXED_RULES`; the others follow in their order."""


@dataclass(frozen=True, slots=True, eq=False)
class RuleNames:
    """The names under one policy; made once for it, as every batch needs them.

    `rules` are all rules, the fixed ones first; `lists` the list of each, "" for the fixed ones.
    `agreements` by list: the id that reasons name, or None.
    """

    rules: tuple[str, ...]
    lists: tuple[str, ...]
    names: tuple[str, ...]
    agreements: tuple[str | None, ...]

    @classmethod
    def of(cls, policy: Policy) -> Self:
        """Collect the names under `policy`."""
        found, names = rules_of(policy), policy.names
        agreements = [bound.agreement for bound in policy.bounds] or [None] * len(names)
        return cls(
            (*FIXED_RULES, *(rule.text for rule in found)),
            (*("" for _ in FIXED_RULES), *(names[rule.list] for rule in found)),
            names,
            tuple(agreements),
        )


CALLER, CALLEE = 0, 1
"""Which of a call's numbers decided it, in `Rulings.roles`."""


@dataclass(frozen=True, slots=True, eq=False)
class Rulings:
    """Rulings in columns of one length; no call is in it twice.

    `calls` int64, indexes of calls. `actions` uint8 (`Action`) is what happens to the call, or
    would happen where `simulated` (bool), OBSERVE for one that may pass. `rules` int64 is a place
    in `RuleNames.rules`; `roles` uint8. The reasons are `matches` from `first` to `last` (int64),
    of which the one at `deciding` decided. It is -1, and there are no reasons, if no list decided.
    """

    matches: Matches
    calls: NDArray[np.int64]
    actions: NDArray[np.uint8]
    simulated: NDArray[np.bool_]
    rules: NDArray[np.int64]
    roles: NDArray[np.uint8]
    deciding: NDArray[np.int64]
    first: NDArray[np.int64]
    last: NDArray[np.int64]

    @classmethod
    def blank(cls, calls: NDArray[np.int64], matches: Matches) -> Self:
        """Make rulings that let `calls` pass, by no rule."""
        count = len(calls)
        small = np.zeros((3, count), np.uint8)
        large = np.zeros((3, count), np.int64)
        return cls(
            matches,
            calls,
            small[0],
            small[1].view(np.bool_),
            large[0],
            small[2],
            np.full(count, -1, np.int64),
            large[1],
            large[2],
        )

    @property
    def columns(self) -> tuple[NDArray[Any], ...]:
        """The columns, in the order of their fields, without the matches."""
        return (
            self.calls,
            self.actions,
            self.simulated,
            self.rules,
            self.roles,
            self.deciding,
            self.first,
            self.last,
        )

    def __len__(self) -> int:
        return len(self.calls)

    def at(self, places: NDArray[np.int64]) -> Self:
        """Return the rulings at `places`, in that order."""
        return type(self)(self.matches, *(column[places] for column in self.columns))

    def rule(
        self, places: NDArray[np.int64], rule: int, action: Action, *, simulated: bool = False
    ) -> None:
        """Replace the rulings at `places` by those of a rule that belongs to no list."""
        self.actions[places] = action
        self.simulated[places] = simulated
        self.rules[places] = rule
        self.roles[places] = CALLER
        self.deciding[places] = -1
        self.first[places] = self.last[places] = 0


def strengths(rulings: Rulings, calls: int) -> NDArray[np.uint8]:
    """Return how strong the ruling on each of `calls` is; only a stronger state changes it."""
    heard = np.full(len(rulings), RuleState.OFF, np.uint8)
    heard[rulings.simulated] = RuleState.SIMULATE
    heard[(rulings.actions > Action.OBSERVE) & ~rulings.simulated] = RuleState.BLOCK
    # An emergency call and the allowlist are fixed rules: nothing is stronger than BLOCK, so no
    # plausibility rule overrides them.
    heard[(rulings.rules != NO_RULE) & (rulings.rules < len(FIXED_RULES))] = RuleState.BLOCK
    found = np.zeros(calls, np.uint8)
    found[rulings.calls] = heard
    return found


def with_reasons(
    rulings: Rulings,
    places: NDArray[np.int64],
    calls: NDArray[np.int64],
    judged: Judgements,
    matches: Matches,
) -> Rulings:
    """Give the rulings at `places`, of `calls`, for reasons what was `judged`."""
    offset, found = len(rulings.matches), np.searchsorted(judged.rows, calls)
    both = Matches(*map(np.concatenate, zip(rulings.matches.columns, matches.columns, strict=True)))
    rulings.deciding[places] = judged.deciding[found] + offset
    rulings.first[places] = judged.first[found] + offset
    rulings.last[places] = judged.last[found] + offset
    return Rulings(both, *rulings.columns)


def together(rulings: Rulings, more: Rulings) -> Rulings:
    """Join both, `more` last; they share the matches and no call."""
    columns = map(np.concatenate, zip(rulings.columns, more.columns, strict=True))
    return Rulings(rulings.matches, *columns)


def stronger(of_callers: Rulings, of_callees: Rulings) -> Rulings:
    """Return for each call the stronger of its two numbers' rulings; of equals the caller's.

    A match that an agreement keeps from acting comes before one without any effect.
    """
    both = together(of_callers, of_callees)
    acts = (both.actions > Action.OBSERVE) & ~both.simulated
    # The weakest action that acts stands above the strongest on trial.
    strength = acts * (Action.BLOCK + 1) + both.actions.astype(np.int64)
    # The last key counts first: a call's rulings side by side, the strongest in front.
    order = np.lexsort((both.roles, both.rules == NO_RULE, -strength, both.calls))
    first = np.diff(both.calls[order], prepend=-1) != 0
    return both.at(order[first])
