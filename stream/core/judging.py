"""The policy for a whole batch: what the matches of each number come to, in columns.

`Policy.weigh` says it for one number, and is what this is held against.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from stream.core.confidence import Decay, decay_of
from stream.core.matches import Matches
from stream.core.policy import Policy

_LATER = np.int64(1 << 40)
"""More than there are matches in a batch: the stronger action wins, then the earlier match."""


@dataclass(frozen=True, slots=True, eq=False)
class PolicyColumns:
    """A policy by list: `action` and `unconfirmed` uint8 (`Action`), the latter no stronger than
    the former; `confidence_min`, `agree_min`, `age_s_max` int64; `simulate` bool; `decay` as in
    `core.confidence`.
    """

    action: NDArray[np.uint8]
    unconfirmed: NDArray[np.uint8]
    confidence_min: NDArray[np.int64]
    agree_min: NDArray[np.int64]
    simulate: NDArray[np.bool_]
    age_s_max: NDArray[np.int64]
    decay: Decay

    @classmethod
    def of(cls, policy: Policy) -> Self:
        """The columns of `policy`, a row for each of its lists."""
        rules = policy.by_list
        action = np.array([rule.action for rule in rules], np.uint8)
        return cls(
            action,
            np.minimum(action, np.array([rule.unconfirmed for rule in rules], np.uint8)),
            np.array([rule.confidence_min for rule in rules], np.int64),
            np.array([rule.agree_min for rule in rules], np.int64),
            np.array([rule.simulate for rule in rules], np.bool_),
            np.array([rule.age_s_max for rule in rules], np.int64),
            decay_of([(rule.decay_days, rule.decay_speed) for rule in rules]),
        )

    def stale(self, ages_s: NDArray[np.int64]) -> list[int]:
        """The lists, by index, whose age is beyond what their policy allows."""
        return np.flatnonzero((self.age_s_max > 0) & (ages_s > self.age_s_max)).tolist()


@dataclass(frozen=True, slots=True, eq=False)
class Judgements:
    """What the matches of each number come to, in columns of one length.

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
    """Judge each number that has matches. The strongest real action wins, as in `Policy.weigh`."""
    first = np.flatnonzero(np.diff(matches.rows, prepend=-1))
    last = np.append(first[1:], len(matches))
    if not len(first):
        last = first
        none = np.zeros(0, np.uint8)
        return Judgements(first, none, none.view(np.bool_), first, first, last)
    agreeing = np.repeat(np.add.reduceat(matches.confirmed.astype(np.int64), first), last - first)
    lists = matches.lists
    heeded = (matches.confidence >= policy.confidence_min[lists]) & (
        agreeing >= policy.agree_min[lists]
    )
    actions = np.where(
        matches.confirmed, policy.action[lists] * heeded, policy.unconfirmed[lists]
    ).astype(np.int64)
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
