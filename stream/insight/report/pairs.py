"""The material of a report, and its pairs: one list in one country each. Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from stream.core.model.agreement import Agreement, Clause, PartyRole
from stream.core.model.decision import Action
from stream.core.model.enforcement_document import Enforcement
from stream.insight.report.figure_catalogue import Key
from stream.insight.report.figures import PairingFigures, Value, counted
from stream.insight.report.period import ReportPeriod, day_of


@dataclass(frozen=True, slots=True)
class VersionEvent:
    """The audit on a version of a partner's list: `verdict` held or refused.

    `reason` is one of the gate's, or "other".
    """

    at_s: int
    list: str
    verdict: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedNow:
    """The feed of a partner's list here, at the moment of the report.

    `heard_at_s`: when its source last said what it has to say, 0: never. `fault`: why the last try
    failed, "" if it did not. `held_at_s`: since when a version waits for a person, None: none does;
    `held_reason` is the gate's.
    """

    feed: str
    list: str
    heard_at_s: int
    fault: str = ""
    held_at_s: int | None = None
    held_reason: str = ""


@dataclass(frozen=True, slots=True)
class OpenAppeal:
    """An appeal that waits for its answer here, against a decision that `list` was a reason for.

    `partner`: the country that passed it on to us, the list's owner; None: it was received here.
    """

    list: str
    received_at_s: int
    deadline_at_s: int
    partner: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportMaterial:
    """Everything gathered in `home`, of `period` and of the one before it.

    `known` are all agreements. `documents` go on to the day of the report, for what waits now, and
    may hold several of a day. `unread`: why documents that are there were not used. `versions`,
    `feeds`, `appeals`: None where they could not be read. `sizes` and `sizes_before`: numbers on a
    list when the period, and the one before, was over.
    """

    agreement: Agreement
    known: tuple[Agreement, ...]
    home: str
    period: ReportPeriod
    made_at_s: int
    documents: tuple[Enforcement, ...] = ()
    unread: tuple[str, ...] = ()
    versions: tuple[VersionEvent, ...] | None = None
    feeds: tuple[FeedNow, ...] | None = None
    appeals: tuple[OpenAppeal, ...] | None = None
    sizes: Mapping[str, int] = field(default_factory=dict)
    sizes_before: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ReasonRow:
    """The number of versions of a list that were held or refused for one of the gate's reasons."""

    verdict: str
    reason: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """One list in one country that enforces it, under `agreement`.

    `ours`: this country enforces it. `before` is None where the agreement was not in force then.
    `ceiling` is the most that the list was allowed to cause at any moment of the period. `reasons`
    are known of versions that came in here, else None. `listed` and `listed_before`: see
    `Key.LISTED`.
    """

    agreement: Agreement
    clause: Clause
    country: str
    ours: bool
    ceiling: Action
    counted: PairingFigures
    before: PairingFigures | None
    reasons: tuple[ReasonRow, ...] | None
    listed: int | None
    listed_before: int | None

    @property
    def slug(self) -> str:
        """Its part of the names of anchors: `KH-scam-in-TH`."""
        return f"{self.clause.list.replace('/', '-')}-in-{self.country}"

    @property
    def told(self) -> bool:
        """A document of at least one day of the period is here."""
        return self.counted.last_told is not None

    def value(self, key: Key) -> Value:
        """Return a figure of the period; None: not measured."""
        return self.listed if key is Key.LISTED else self.counted.figures[key]

    def value_before(self, key: Key) -> Value:
        """Return the same of the period before."""
        if self.before is None:
            return None
        return self.listed_before if key is Key.LISTED else self.before.figures[key]


def pairs_of(
    material: ReportMaterial, period: ReportPeriod, before: ReportPeriod
) -> Iterator[Pairing]:
    """Yield each list in each country that enforces it, in the order of the agreement.

    Between two others, and with no document here, a pair is theirs to report: see `elsewhere`.
    """
    today = day_of(material.made_at_s)
    told = {(one.list, one.country) for one in material.documents}
    for agreement, clause, country in covered(material.agreement, material.known, period):
        if _others(material.home, clause, country) and (clause.list, country) not in told:
            continue
        ours = country == material.home
        parts = (clause, country, agreement)
        yield Pairing(
            agreement=agreement,
            clause=clause,
            country=country,
            ours=ours,
            ceiling=ceiling(agreement, clause, period),
            counted=counted(material.documents, *parts, period, today),
            before=counted(material.documents, *parts, before, today)
            if agreement.valid_from_s < before.end_s
            else None,
            reasons=_reasons(material, clause, period) if ours else None,
            listed=material.sizes.get(clause.list),
            listed_before=material.sizes_before.get(clause.list),
        )


def elsewhere(material: ReportMaterial, period: ReportPeriod) -> tuple[tuple[str, str], ...]:
    """Lists and countries between two others of which nothing is known here."""
    told = {(one.list, one.country) for one in material.documents}
    return tuple(
        (clause.list, country)
        for _, clause, country in covered(material.agreement, material.known, period)
        if _others(material.home, clause, country) and (clause.list, country) not in told
    )


def reporters(agreement: Agreement) -> frozenset[str]:
    """Return the parties that do something, and not only read."""
    return frozenset(
        name for name, party in agreement.parties.items() if PartyRole.OBSERVER not in party.roles
    )


def ceiling(agreement: Agreement, clause: Clause, period: ReportPeriod) -> Action:
    """Return the most that a list was allowed to cause at any moment of a period."""
    last_s = min(period.end_s, agreement.valid_until_s) - 1
    return agreement.terms_of(clause, last_s).action


def covered(
    agreement: Agreement, known: Iterable[Agreement], period: ReportPeriod
) -> Iterator[tuple[Agreement, Clause, str]]:
    """Pairs of an agreement: of its lists, or, where it has none, of all that its parties share.

    Of a list that several agreements share, the one with the strictest response target counts.
    """
    if agreement.clauses:
        for clause in agreement.clauses:
            for country in sorted(clause.to):
                yield agreement, clause, country
        return
    ours = reporters(agreement)
    found: dict[tuple[str, str], tuple[Agreement, Clause, str]] = {}
    strictest = sorted(known, key=lambda one: (one.response_target_s or 1 << 62, one.id))
    for other in strictest:
        if other.valid_from_s >= period.end_s or other.valid_until_s <= period.begin_s:
            continue
        for clause in other.clauses:
            for country in sorted(clause.to):
                if clause.owner in ours or country in ours:
                    found.setdefault((clause.list, country), (other, clause, country))
    yield from (found[place] for place in sorted(found))


def _others(home: str, clause: Clause, country: str) -> bool:
    return home not in {clause.owner, country}


def _reasons(
    material: ReportMaterial, clause: Clause, period: ReportPeriod
) -> tuple[ReasonRow, ...] | None:
    if material.versions is None:
        return None
    counts = Counter(
        (one.verdict, one.reason)
        for one in material.versions
        if one.list == clause.list
        and period.begin_s <= one.at_s < period.end_s
        and one.verdict in {"held", "refused"}
    )
    return tuple(
        ReasonRow(verdict, reason, count)
        for (verdict, reason), count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    )
