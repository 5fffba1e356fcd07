"""The rules that decisions name, and how they are written."""

from dataclasses import dataclass
from typing import Self

from stream.core.policy.policy import Policy
from stream.core.policy.policy_columns import rules_of
from stream.core.policy.rules import RULES

FIXED_RULES = ("none", "emergency", "allowlist", "unasked", *(f"rule:{name}" for name in RULES))
"""Every rule that is no list's; behind them come those of `core.judging.rules_of`."""
NO_RULE, EMERGENCY, ALLOWLIST, UNASKED = range(4)
PLAUSIBLE = FIXED_RULES.index(f"rule:{RULES[0]}")
"""The place of the first plausibility rule in `FIXED_RULES`; the others follow in their order."""


@dataclass(frozen=True, slots=True, eq=False)
class Wording:
    """The names under one policy; made once for it, as every batch needs them.

    `rules` are all rules, the fixed ones first; `lists` the list that each speaks of, "" for those.
    `agreements` by list: the id that reasons name, or None.
    """

    rules: tuple[str, ...]
    lists: tuple[str, ...]
    names: tuple[str, ...]
    agreements: tuple[str | None, ...]

    @classmethod
    def of(cls, policy: Policy) -> Self:
        """The names under `policy`."""
        found, names = rules_of(policy), policy.names
        agreements = [bound.agreement for bound in policy.bounds] or [None] * len(names)
        return cls(
            (*FIXED_RULES, *(rule.text for rule in found)),
            (*("" for _ in FIXED_RULES), *(names[rule.list] for rule in found)),
            names,
            tuple(agreements),
        )
