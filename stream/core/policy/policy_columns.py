"""The policy for a whole batch: the matches of each number judged, in columns.

tests/oracles/policy.py judges one number at a time; tests compare the two.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from stream.core.filters.matches import Matches
from stream.core.model.agreement import owner_of
from stream.core.model.confidence import Decay, decay_of
from stream.core.policy.list_scope import NO_SCOPES, OUTSIDE, Scopes
from stream.core.policy.policy import ListPolicy, Policy

_LATER = np.int64(1 << 40)
"""More than there are matches in a batch: the stronger action wins, then the earlier match."""


_FREE = -1
"""No rule: nothing is in the way."""


class RuleName(NamedTuple):
    """A rule that decisions name, and its list, by index."""

    list: int
    text: str


def rules_of(policy: Policy) -> list[RuleName]:
    """Return all rules of `policy`: each list's own, those of its scope, then agreements'."""
    names = [RuleName(index, f"list:{name}") for index, name in enumerate(policy.names)]
    names += [RuleName(index, why.label) for index in range(len(policy.names)) for why in OUTSIDE]
    for index, bound in enumerate(policy.bounds):
        stops = bound.stops
        texts = (bound.rule, *stops[:4], *stops.categories.values())
        names += [RuleName(index, text) for text in dict.fromkeys(texts) if text is not None]
    return names


@dataclass(frozen=True, slots=True, eq=False)
class BoundColumns:
    """Effect of agreements on each list, by list; a rule is its place in `rules_of`.

    `rules` int64: which a decision names. `owners` int64 tells owners apart, -1 for a list that
    does not count for others; `countries_min` int64. `categories` int64[lists, 256]: the rule that
    keeps an entry of that category from acting, -1 where none does; the other `stopped_...` as in
    `policy.Stops`. `alone` are the columns of the settings without agreements.
    """

    rules: NDArray[np.int64]
    owners: NDArray[np.int64]
    countries_min: NDArray[np.int64]
    categories: NDArray[np.int64]
    stopped_action: NDArray[np.int64]
    stopped_unconfirmed: NDArray[np.int64]
    stopped_confidence: NDArray[np.int64]
    stopped_countries: NDArray[np.int64]
    alone: "PolicyColumns"

    @classmethod
    def of(cls, policy: Policy) -> Self:
        """Return the columns of what bounds `policy`."""
        bounds = policy.bounds
        places: dict[tuple[int, str | None], int] = {
            name: place for place, name in enumerate(rules_of(policy))
        }

        def places_of(texts: Sequence[str | None]) -> NDArray[np.int64]:
            found = [places.get((at, text), _FREE) for at, text in enumerate(texts)]
            return np.array(found, np.int64)

        owners = [owner_of(name) for name in policy.names]
        numbers = {owner: number for number, owner in enumerate(dict.fromkeys(owners))}
        categories = np.full((len(bounds), 256), _FREE, np.int64)
        for index, bound in enumerate(bounds):
            for category, text in bound.stops.categories.items():
                categories[index, category] = places[index, text]
        rules = places_of([bound.rule for bound in bounds])
        return cls(
            rules=np.where(rules == _FREE, np.arange(len(bounds)), rules),
            owners=np.array(
                [
                    numbers[owner] if bound.corroborates else _FREE
                    for owner, bound in zip(owners, bounds, strict=True)
                ],
                np.int64,
            ),
            countries_min=np.array([bound.countries_min for bound in bounds], np.int64),
            categories=categories,
            stopped_action=places_of([bound.stops.action for bound in bounds]),
            stopped_unconfirmed=places_of([bound.stops.unconfirmed for bound in bounds]),
            stopped_confidence=places_of([bound.stops.confidence for bound in bounds]),
            stopped_countries=places_of([bound.stops.countries for bound in bounds]),
            alone=PolicyColumns.of_lists([bound.alone for bound in bounds]),
        )

    def agreed(
        self, matches: Matches, sure: NDArray[np.bool_], first: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Which matches are of an agreed category, of a number that enough owners hold; bool.

        The matches of each number begin at `first`; those that count for others are `sure`.
        """
        lists = matches.lists
        found: NDArray[np.bool_] = self.categories[lists, matches.category] == _FREE
        wanted = self.countries_min[lists]
        if (wanted > 1).any():
            last = np.append(first[1:], len(matches))
            found &= np.repeat(self._owners(matches, sure, first), last - first) >= wanted
        return found

    def _owners(
        self, matches: Matches, sure: NDArray[np.bool_], first: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Count the owners that certainly hold each number, of lists that count; int64.

        Lists are in the order of their names, so an owner's lists are neighbours.
        """
        owners = self.owners[matches.lists]
        counts = np.flatnonzero(sure & (owners >= 0))
        pairs = matches.rows[counts] * len(self.owners) + owners[counts]
        new = np.zeros(len(matches), np.int64)
        new[counts] = np.diff(pairs, prepend=-1) != 0
        return np.add.reduceat(new, first)


@dataclass(frozen=True, slots=True, eq=False)
class PolicyColumns:
    """A policy by list. `action` and `unconfirmed` uint8 (`Action`), the latter no stronger than
    the former; `confidence_min`, `agree_min`, `age_s_max` int64. `simulate` bool; `decay` as in
    `core.model.confidence`. `bounds` None: there are no agreements. `scopes` are given to
    `Blocklists.match`, as `decay` is.
    """

    action: NDArray[np.uint8]
    unconfirmed: NDArray[np.uint8]
    confidence_min: NDArray[np.int64]
    agree_min: NDArray[np.int64]
    simulate: NDArray[np.bool_]
    age_s_max: NDArray[np.int64]
    decay: Decay
    bounds: BoundColumns | None = None
    scopes: Scopes = NO_SCOPES

    @classmethod
    def of(cls, policy: Policy) -> Self:
        """Return the columns of `policy`, a row for each of its lists."""
        bounds = BoundColumns.of(policy) if policy.bounds else None
        return cls.of_lists(policy.by_list, bounds, policy.scopes)

    @classmethod
    def of_lists(
        cls,
        rules: Sequence[ListPolicy],
        bounds: BoundColumns | None = None,
        scopes: Scopes = NO_SCOPES,
    ) -> Self:
        """Return the same of each list's policy."""
        action = np.array([rule.action for rule in rules], np.uint8)
        return cls(
            action,
            np.minimum(action, np.array([rule.unconfirmed for rule in rules], np.uint8)),
            np.array([rule.confidence_min for rule in rules], np.int64),
            np.array([rule.agree_min for rule in rules], np.int64),
            np.array([rule.simulate for rule in rules], np.bool_),
            np.array([rule.age_s_max for rule in rules], np.int64),
            decay_of([(rule.decay_days, rule.decay_speed) for rule in rules]),
            bounds,
            scopes,
        )

    def stale(self, ages_s: NDArray[np.int64]) -> list[int]:
        """Return the lists, by index, whose age is beyond what their policy allows."""
        return np.flatnonzero((self.age_s_max > 0) & (ages_s > self.age_s_max)).tolist()


@dataclass(frozen=True, slots=True, eq=False)
class Judgements:
    """Judgements of numbers with matches, in columns of one length.

    `rows` int64, ascending: the number's place in the batch. `actions` uint8 (`Action`);
    `simulated` bool: it would have happened had the list not been on trial. `deciding` int64 is the
    place of the match that caused it; the number's matches are those from `first` to `last`.
    """

    rows: NDArray[np.int64]
    actions: NDArray[np.uint8]
    simulated: NDArray[np.bool_]
    deciding: NDArray[np.int64]
    first: NDArray[np.int64]
    last: NDArray[np.int64]


def judge(matches: Matches, policy: PolicyColumns) -> Judgements:
    """Judge each number that has matches. The strongest real action wins, the earlier of equals."""
    first = np.flatnonzero(np.diff(matches.rows, prepend=-1))
    last = np.append(first[1:], len(matches))
    if not len(first):
        last = first
        none = np.zeros(0, np.uint8)
        return Judgements(first, none, none.view(np.bool_), first, first, last)
    # What is outside of its list's scope neither acts nor counts for others.
    outside = np.flatnonzero(matches.outside)
    sure = matches.confirmed
    if len(outside):
        sure = sure.copy()
        sure[outside] = False
    agreeing = np.repeat(np.add.reduceat(sure.astype(np.int64), first), last - first)
    lists = matches.lists
    heeded = (matches.confidence >= policy.confidence_min[lists]) & (
        agreeing >= policy.agree_min[lists]
    )
    if policy.bounds is not None:
        heeded &= policy.bounds.agreed(matches, sure, first)
    actions = np.where(
        matches.confirmed, policy.action[lists] * heeded, policy.unconfirmed[lists]
    ).astype(np.int64)
    actions[outside] = 0
    # Action and place in one integer: its maximum is the strongest action, of equals the earliest.
    strength = (actions + 1) * _LATER - 1 - np.arange(len(matches))
    strength[actions == 0] = 0
    on_trial = policy.simulate[lists]
    real = np.maximum.reduceat(np.where(on_trial, 0, strength), first)
    tried = np.maximum.reduceat(np.where(on_trial, strength, 0), first)
    best = np.where(real > 0, real, tried)
    return Judgements(
        rows=matches.rows[first],
        actions=(best // _LATER).astype(np.uint8),
        simulated=(real == 0) & (tried > 0),
        deciding=np.where(best > 0, _LATER - 1 - best % _LATER, first),
        first=first,
        last=last,
    )


class StoppedNumbers(NamedTuple):
    """Numbers whose matches would have acted without agreements and scopes, and do not, in columns.

    `places` int64, in the `Judgements`; `deciding` int64, the match that would have acted; `rules`
    int64, places in `rules_of`: what keeps it from it.
    """

    places: NDArray[np.int64]
    deciding: NDArray[np.int64]
    rules: NDArray[np.int64]


def stopped(matches: Matches, judged: Judgements, policy: PolicyColumns) -> StoppedNumbers | None:
    """Return which of the numbers `judged` agreements and scopes keep from acting; None: none."""
    bounds = policy.bounds
    silent = np.flatnonzero(judged.actions == 0)
    outside = np.flatnonzero(matches.outside)
    if not len(silent) or (bounds is None and not len(outside)):
        return None
    of_silent = np.repeat(judged.actions == 0, judged.last - judged.first)
    asked = np.flatnonzero(of_silent)
    inside = matches.at(asked)
    if len(outside):
        inside = replace(inside, outside=np.zeros(len(asked), np.uint8))
    without = judge(inside, policy if bounds is None else bounds.alone)
    found = np.flatnonzero(without.actions)
    if not len(found):
        return None
    deciding = asked[without.deciding[found]]
    rules = np.full(len(found), _FREE) if bounds is None else _kept_by(matches, policy, deciding)
    if len(outside):
        # Where no agreement keeps it, it acts with another beside it, which is outside.
        alone = np.flatnonzero((rules == _FREE) & (matches.outside[deciding] == 0))
        begins = judged.first[silent[found[alone]]]
        deciding[alone] = outside[np.searchsorted(outside, begins)]
        why = matches.outside[deciding].astype(np.int64)
        names, reasons = len(policy.action), len(OUTSIDE)
        rules = np.where(why > 0, names + matches.lists[deciding] * reasons + why - 1, rules)
    return StoppedNumbers(silent[found], deciding, rules)


def _kept_by(
    matches: Matches, policy: PolicyColumns, deciding: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return which rule of an agreement keeps each match from acting; places in `rules_of`."""
    bounds = policy.bounds
    assert bounds is not None, "there are agreements"
    lists = matches.lists[deciding]
    by_category = bounds.categories[lists, matches.category[deciding]]
    rules: NDArray[np.int64] = np.select(
        [
            ~matches.confirmed[deciding],
            policy.action[lists] == 0,
            matches.confidence[deciding] < policy.confidence_min[lists],
            by_category != _FREE,
        ],
        [
            bounds.stopped_unconfirmed[lists],
            bounds.stopped_action[lists],
            bounds.stopped_confidence[lists],
            by_category,
        ],
        bounds.stopped_countries[lists],
    )
    return rules
