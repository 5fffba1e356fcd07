"""The rules as a batch needs them: by place of rule and trunk, compiled once for the settings."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import phonenumbers
from numpy.typing import NDArray

from stream.calls.batch import CallBatch
from stream.calls.trunks import Trunks
from stream.core.model.byte_strings import Texts
from stream.core.model.call import Ingress
from stream.core.policy.rules import RULES, RuleSettings

_SIDES = (Ingress.INTERNATIONAL, Ingress.DOMESTIC)


@dataclass(frozen=True, slots=True, eq=False)
class RuleTable:
    """What each rule may cause on each trunk.

    By trunk, in the order of `names`, the last place (also -1) being that of all other trunks:
    `states` uint8[rules, trunks] (`RuleState`), `countries`, `abroad` bool: its calls come from
    abroad unless their record says otherwise, `codes` int64: the place of its country's code in
    `prefixes`, `alone` bool: no other country has that code. `on` are the rules, by their place in
    `RULES`, that are on on some trunk; `everywhere` by rule the state that it has on all, -1 where
    they differ.
    """

    names: tuple[str, ...]
    states: NDArray[np.uint8]
    countries: tuple[str, ...]
    abroad: NDArray[np.bool_]
    prefixes: tuple[bytes, ...]
    codes: NDArray[np.int64]
    alone: NDArray[np.bool_]
    on: tuple[int, ...]
    everywhere: tuple[int, ...]

    @classmethod
    def of(cls, settings: RuleSettings, trunks: Trunks) -> Self:
        """The table of `settings` on `trunks`."""
        names = (*trunks.named,)
        countries = (*(trunks.named[name].country for name in names), trunks.home_country)
        states = np.array(
            [
                [
                    settings.state(rule, name, country)
                    for name, country in zip((*names, None), countries, strict=True)
                ]
                for rule in RULES
            ],
            np.uint8,
        )
        by_trunk = [phonenumbers.country_code_for_region(country) for country in countries]
        known = sorted({*by_trunk})
        return cls(
            names=names,
            states=states,
            countries=countries,
            abroad=np.array(
                [*(trunks.named[n].ingress is Ingress.INTERNATIONAL for n in names), False]
            ),
            prefixes=tuple(b"+%d" % code for code in known),
            codes=np.array([known.index(code) for code in by_trunk]),
            alone=np.array(
                [len(phonenumbers.region_codes_for_country_code(code)) == 1 for code in by_trunk]
            ),
            on=tuple(np.flatnonzero(states.any(axis=1)).tolist()),
            everywhere=tuple(int(row[0]) if (row == row[0]).all() else -1 for row in states),
        )

    def trunks_of(self, batch: CallBatch, calls: NDArray[np.int64]) -> NDArray[np.int64]:
        """The place of the trunk of each of `calls` (ascending)."""
        return _places(batch, "trunk", self.names, calls)

    def from_abroad(
        self, batch: CallBatch, calls: NDArray[np.int64], trunks: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Which of `calls`, on those `trunks`, come from abroad."""
        said = _places(batch, "ingress", _SIDES, calls)
        found: NDArray[np.bool_] = np.where(said < 0, self.abroad[trunks], said == 0)
        return found

    def states_of(self, rule: int, batch: CallBatch, calls: NDArray[np.int64]) -> NDArray[np.uint8]:
        """What `rule` may cause to each of `calls`. Trunks are looked up only where it matters."""
        if self.everywhere[rule] >= 0:
            return np.full(len(calls), self.everywhere[rule], np.uint8)
        found: NDArray[np.uint8] = self.states[rule, self.trunks_of(batch, calls)]
        return found


def _places(
    batch: CallBatch, field: str, known: Sequence[str], calls: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The place in `known` of what `field` says of each of `calls` (ascending); -1: not there."""
    if not known or not len(calls):
        return np.full(len(calls), -1)
    places = {name: place for place, name in enumerate(known)}
    located = batch.located
    if located is None:
        said = (getattr(batch.glances[call], field) for call in calls.tolist())
        return np.array([places.get(text, -1) for text in said], np.int64)
    texts = located.field(field)
    sizes = texts.sizes[calls]
    found = Texts(texts.data, texts.starts[calls], sizes).places_in(known)
    start = 0
    for constants in located.constants:
        first, last = np.searchsorted(calls, [start, constants.stop])
        where = first + np.flatnonzero(sizes[first:last] < 0)
        found[where] = places.get(constants.texts.get(field, ""), -1)
        start = constants.stop
    for place in np.flatnonzero(np.isin(calls, [*located.odd])).tolist() if located.odd else ():
        text = getattr(located.odd[int(calls[place])], field)
        found[place] = places.get(text, -1)
    return found
