"""Agreements between countries: who shares which list with whom, and what it may cause there.

An agreement is in force from its first moment until before its last one. A clause says what it
allows a list to cause in a country. If several are in force for the same list and country, the
strictest of each of their terms counts (`core.policy.policy`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from stream.core.model.decision import Action
from stream.core.model.entry import Category

FOREVER = 1 << 62
"""`valid_until_s` of an agreement without an end, `confirmed_s` of a pledge never confirmed."""


class AgreementKind(StrEnum):
    """The form of what the parties signed. Only a pledge acts by its kind: see
    `Agreement.confirmed_s`.
    """

    MEMORANDUM = "memorandum"
    DECLARATION = "declaration"
    PARTNERSHIP = "partnership"
    PLEDGE = "pledge"


class AgreementState(StrEnum):
    """State of an agreement at a moment; `PLEDGED` is in force, its lists are observed only."""

    TO_COME = "to_come"
    PLEDGED = "pledged"
    IN_FORCE = "in_force"
    ENDED = "ended"


class PartyRole(StrEnum):
    """A part that a party has: share lists of its own, enforce others', or only read reports."""

    OWNER = "owner"
    ENFORCER = "enforcer"
    OBSERVER = "observer"


class Shared(StrEnum):
    """The share of a list that its partners get.

    Its numbers; or only their fingerprints, with categories and dates; or the bare filter, in which
    a hit can never be confirmed.
    """

    NUMBERS = "numbers"
    FINGERPRINTS = "fingerprints"
    FILTER = "filter"


class Every(StrEnum):
    """The period after which the parties report to each other."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    QUARTER = "quarter"


@dataclass(frozen=True, slots=True)
class Party:
    """A country (ISO 3166) or an organisation; `contact` takes appeals and questions."""

    name: str
    roles: frozenset[PartyRole]
    contact: str


@dataclass(frozen=True, slots=True)
class Terms:
    """The most that a list may cause, and from what on.

    `action` and `unconfirmed` as in `policy.ListPolicy`. An entry is only observed if it is below
    `confidence_min`, or of a category that is not in `categories` (None: all are). The same holds
    for a number that lists of fewer than `countries_min` owners hold. It also holds for a number of
    none of the countries `may_list` (None: all are). `simulate` decides without acting.
    """

    action: Action
    unconfirmed: Action = Action.FLAG
    confidence_min: int = 0
    categories: frozenset[Category] | None = None
    countries_min: int = 1
    simulate: bool = False
    may_list: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Clause:
    """The terms of one agreement for one list.

    `to` are the countries that enforce it, never its owner. `reference` is where the agreement's
    text says so ("Article 4 (2)"), or "".
    """

    list: str
    to: frozenset[str]
    terms: Terms
    shares: Shared
    reference: str

    @property
    def owner(self) -> str:
        """The country or organisation that owns the list."""
        return owner_of(self.list)


@dataclass(frozen=True, slots=True)
class Reporting:
    """A report on each period, `every`, is due `due_days` after its end, to the parties `to`."""

    every: Every
    due_days: int
    to: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """One agreement; its `id` is what decisions name, and its file's name.

    Times are whole seconds since the epoch. It is in force from `valid_from_s` until before
    `valid_until_s`. A pledge lets lists be observed only, before `confirmed_s`; all others are
    confirmed from the start. `circle` is whose key hashes the numbers. An owner's change is to be
    enforced, and an appeal answered, within `response_target_s`. `texts` say where its words are.
    """

    id: str
    title: str
    kind: AgreementKind
    parties: Mapping[str, Party]
    clauses: tuple[Clause, ...]
    circle: str
    valid_from_s: int
    valid_until_s: int
    confirmed_s: int
    response_target_s: int
    reporting: Reporting | None
    texts: tuple[str, ...]

    def in_force(self, at_s: int) -> bool:
        """Return whether it counts at that moment."""
        return self.valid_from_s <= at_s < self.valid_until_s

    def confirmed(self, at_s: int) -> bool:
        """Return whether lists may cause by then what the clauses say, and not only be observed."""
        return self.kind is not AgreementKind.PLEDGE or at_s >= self.confirmed_s

    def state(self, at_s: int) -> AgreementState:
        """Return its state at that moment."""
        if at_s < self.valid_from_s:
            return AgreementState.TO_COME
        if at_s >= self.valid_until_s:
            return AgreementState.ENDED
        return AgreementState.IN_FORCE if self.confirmed(at_s) else AgreementState.PLEDGED

    def terms_of(self, clause: Clause, at_s: int) -> Terms:
        """Return the terms of one of its clauses as they are at that moment."""
        if self.confirmed(at_s):
            return clause.terms
        return replace(clause.terms, action=Action.OBSERVE)

    def moments(self) -> Iterator[int]:
        """Yield the moments at which its terms change, in seconds since the epoch."""
        yield self.valid_from_s
        yield self.valid_until_s
        if self.kind is AgreementKind.PLEDGE:
            yield self.confirmed_s

    def clause(self, list_name: str, country: str) -> Clause | None:
        """Return its clause on that list in that country, in force or not; None: it has none."""
        for clause in self.clauses:
            if clause.list == list_name and country in clause.to:
                return clause
        return None


def owner_of(list_name: str) -> str:
    """Return the owner of a list: `KH` of `KH/scam`."""
    return list_name.partition("/")[0]


def is_country(owner: str) -> bool:
    """Return whether an owner is written as a country, and is no organisation."""
    return len(owner) == 2 and owner.isascii() and owner.isalpha() and owner.isupper()


@dataclass(frozen=True, slots=True)
class Agreements:
    """All agreements that are known, in the order of their ids, in force or not.

    `needed`: another country's list acts by an agreement or not at all. It is so where a folder of
    agreements is named, also when nothing is in it (any more).
    """

    held: tuple[Agreement, ...] = ()
    needed: bool = False

    def __bool__(self) -> bool:
        return self.needed or bool(self.held)

    def here(self, country: str, at_s: int) -> Iterator[tuple[Agreement, Clause, Terms]]:
        """Yield what is in force in a country at a moment: agreement, clause, and its terms by
        then.

        An unconfirmed pledge's terms let its lists be observed only.
        """
        for agreement in self.held:
            if not agreement.in_force(at_s):
                continue
            for clause in agreement.clauses:
                if country in clause.to:
                    yield agreement, clause, agreement.terms_of(clause, at_s)

    def ended(self, list_name: str, country: str, at_s: int) -> Agreement | None:
        """Return the agreement that shared a list with a country last, if none does any more.

        None: one is in force, or there never was one.
        """
        found = [one for one in self.held if one.clause(list_name, country) is not None]
        if any(one.in_force(at_s) for one in found):
            return None
        over = [one for one in found if one.state(at_s) is AgreementState.ENDED]
        return max(over, key=lambda one: one.valid_until_s, default=None)

    def unchanged(self, at_s: int) -> tuple[int, int]:
        """Return from when (inclusive) until when (exclusive) nothing changes from `at_s`."""
        moments = [moment for agreement in self.held for moment in agreement.moments()]
        return (
            max((moment for moment in moments if moment <= at_s), default=-FOREVER),
            min((moment for moment in moments if moment > at_s), default=FOREVER),
        )
