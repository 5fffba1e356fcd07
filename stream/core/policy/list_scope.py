"""The scope of a list: the countries whose numbers it may name, and numbers that none may stop.

The gate looks at the numbers of a version before it goes live. In a list that is shared as
fingerprints, or as a bare filter, it sees no numbers. So the same check runs again when a number
matches, and a match outside is only observed. Entries whose number is known passed the gate, or a
person.

It costs nothing where nothing matches, and a gather in two tables for each match.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Self

import numpy as np
import phonenumbers
from numpy.typing import NDArray

from stream.core.model.agreement import owner_of
from stream.core.numbers.e164 import Stretches, heads_of, ordinals_of

CODES: Final = tuple(sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE))
"""All country calling codes. None is the beginning of another, so three digits tell a number's."""


class Outside(IntEnum):
    """Reason for which a list may not name the number that it matched."""

    NOT = 0
    """It may."""
    COUNTRY = 1
    """The number is of a country that the list's feed, or its agreement, may not list."""
    OWN = 2
    """It is one of the carrier's own, `[feeds] own_numbers`."""
    EMERGENCY = 3
    """It is dialled for help."""

    @property
    def label(self) -> str:
        """As the gate calls it: a rule of decisions, and a metric label."""
        return _LABELS[self]


_LABELS: Final = ("", "country_not_allowed", "own_service_number", "emergency_number")
OUTSIDE: Final = tuple(one for one in Outside if one)
"""The reasons for which a match is outside, in order."""


@dataclass(frozen=True, slots=True)
class Scope:
    """The countries that the feed of a list may list, by calling code; `codes` None: all.

    The list's head holds it, so that the engine knows it without the feed's file.
    """

    feed: str
    codes: frozenset[int] | None

    @property
    def words(self) -> str:
        """The countries in words, for a person."""
        return words_of(self.codes)


def words_of(codes: frozenset[int] | None) -> str:
    """Return calling codes in words, for a person."""
    if codes is None:
        return "every country"
    return ", ".join(f"+{code}" for code in sorted(codes)) or "no country"


NOTHING_KNOWN: Final = Scope("", frozenset())
"""In place of a scope that cannot be read: the list may name only numbers that the gate saw."""


def _places() -> NDArray[np.uint8]:
    """By a number's first three digits, the place of its calling code in `CODES`, from 1; 0: none.

    uint8[1000].
    """
    table = np.zeros(1000, np.uint8)
    for place, code in enumerate(CODES, 1):
        rest = 10 ** (3 - len(str(code)))
        table[code * rest : (code + 1) * rest] = place
    return table


PLACES: Final = _places()
"""See `_places`."""


def codes_of_countries(countries: Iterable[str]) -> frozenset[int]:
    """Calling codes of countries (ISO 3166). Those that share one, as +1, are all meant by it."""
    return frozenset(phonenumbers.country_code_for_region(country) for country in countries)


@dataclass(frozen=True, slots=True)
class Allowed:
    """The calling codes that one list may name, None: all; and who says so."""

    codes: frozenset[int] | None = None
    by: str = ""


EVERY: Final = Allowed()


def allowed(name: str, scope: Scope | None, home: str, agreed: Sequence[Allowed] = ()) -> Allowed:
    """Return the numbers that list `name` may name in the country `home`: the least of all limits.

    `scope` None: no feed said anything yet. Then another country's list may name that country's
    numbers alone, as its feed may that does not say otherwise; ours, and an organisation's, all.
    """
    if scope is None:
        owner = owner_of(name)
        foreign = owner != home and owner in phonenumbers.SUPPORTED_REGIONS
        codes = codes_of_countries({owner}) if foreign else None
        said = [Allowed(codes, "no feed says more" if foreign else "")]
    else:
        said = [Allowed(scope.codes, f"feed {scope.feed}" if scope.feed else "its scope is broken")]
    limits = [one for one in (*said, *agreed) if one.codes is not None]
    if not limits:
        return EVERY
    codes = frozenset.intersection(*(one.codes for one in limits if one.codes is not None))
    return Allowed(codes, ", ".join(dict.fromkeys(one.by for one in limits)))


@dataclass(frozen=True, slots=True, eq=False)
class Scopes:
    """Numbers that each list may name, as arrays; the same for every batch under one policy.

    `by_list` in the lists' order. `codes` bool[lists, 256]: whether a list may name numbers of the
    calling code at that place of `CODES`. No list may stop `own` numbers, nor those for `help`.
    `limit`: whether any number can be outside.
    """

    by_list: tuple[Allowed, ...]
    codes: NDArray[np.bool_]
    own: Stretches
    help: Stretches
    limit: bool

    @classmethod
    def of(
        cls, by_list: Sequence[Allowed], own: Iterable[str] = (), emergency: Iterable[str] = ()
    ) -> Self:
        """Return the arrays; `own` are numbers and prefixes, `emergency` numbers, in E.164."""
        codes = np.ones((len(by_list), 256), np.bool_)
        for index, one in enumerate(by_list):
            if one.codes is not None:
                # Place 0, of numbers without a calling code, stays false: such a list may not
                # name them.
                codes[index] = False
                known = [place for place, code in enumerate(CODES, 1) if code in one.codes]
                codes[index, known] = True
        both = Stretches.of(own), Stretches.of(emergency)
        return cls(tuple(by_list), codes, *both, limit=any(map(len, both)) or not codes.all())

    def same_as(self, other: Self) -> bool:
        """Return whether each list may name the same numbers by both."""
        return (
            np.array_equal(self.codes, other.codes)
            and self.own.same_as(other.own)
            and self.help.same_as(other.help)
        )

    def outside(self, e164: NDArray[np.bytes_], lists: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return why the list at each place may not name the number there (`Outside`); uint8.

        `e164` S16, numbers alone; `lists` the index of each one's list. Whether the list names it
        all the same, with a number that the gate saw, is not looked at.
        """
        found = np.zeros(len(lists), np.uint8)
        heads = heads_of(e164) // np.uint64(1000)  # of six digits the first three
        found[~self.codes[lists, PLACES[heads]]] = Outside.COUNTRY
        if len(self.own) or len(self.help):
            ordinals = ordinals_of(e164)
            for stretches, why in ((self.own, Outside.OWN), (self.help, Outside.EMERGENCY)):
                if len(stretches):
                    found[stretches.hold(ordinals)] = why
        return found


NO_SCOPES: Final = Scopes.of(())
"""Of no lists: nothing is outside."""
