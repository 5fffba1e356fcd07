"""A country's report of enforcing a partner's list on one day: counts, delays, mistakes.

A document is a signed target of the enforcing country's own repository, one a list and UTC day:
`TH/enforcement/KH-scam/2026-11-25.json`. It never holds a subscriber's number. Calls and entries
are counted, and a mistake is named by the fingerprint that the list's owner gave the number. What
was not measured is null, never 0.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from stream.core.model.agreement import is_country, owner_of
from stream.core.model.delays import Count, Delays, together
from stream.core.model.errors import UNREADABLE, DocumentNotYet, DocumentUnreadable
from stream.core.model.names import READABLE_LIST, READABLE_PART

FORMAT: Final = "ringfence-enforcement/1"
DOCUMENT_BYTES_MAX: Final = 2 << 20
"""As many as `SIGHTINGS_MAX` sightings of 200 bytes need, which is the most that one has."""
SIGHTINGS_MAX: Final = 10_000
"""Of one list and day; a country with more takes the list out of force and does not appeal."""
FOLDER: Final = "enforcement"

_ListName = Annotated[str, Meta(pattern=READABLE_LIST)]
_Country = Annotated[str, Meta(pattern=r"^[A-Z]{2}\Z")]
_Word = Annotated[str, Meta(pattern=r"^[a-z][a-z_]{0,31}\Z")]
_Id = Annotated[str, Meta(pattern=READABLE_PART)]
_Fingerprint = Annotated[str, Meta(pattern=r"^[0-9a-f]{16}\Z")]
_Moment = Annotated[datetime, Meta(tz=True)]
_Seconds = Annotated[int, Meta(ge=0, le=10**10)]


class CallOutcome(StrEnum):
    """Outcome of a call for a list's sake; `simulated`: it went on, and would not have."""

    BLOCKED = "blocked"
    FLAGGED = "flagged"
    SIMULATED = "simulated"


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """Of one category: calls by outcome, and how many different numbers of the list they were.

    `entries` are those of the day, `entries_month` those of its month up to this day. Days cannot
    be added, since a number that calls on two days is one. None: not counted.
    """

    entries: Count | None = None
    entries_month: Count | None = None
    blocked: Count = 0
    flagged: Count = 0
    simulated: Count = 0


class Sighting(msgspec.Struct, frozen=True, kw_only=True):
    """A number of the list that is no scammer's, as found on an appeal (`appeal_id`) or otherwise.

    `fingerprint`: 16 hex digits, in the list's circle. An appeal's id says nothing of who appealed.
    The document of the day of `seen_at` holds it.
    """

    fingerprint: _Fingerprint
    seen_at: _Moment
    appeal_id: _Id | None = None


class Appeals(msgspec.Struct, frozen=True, kw_only=True):
    """Appeals against decisions that the list was a reason for.

    `received`, `redressed`, `rejected` on the day; `pending` and `overdue` of them when the
    document was made. `answers`: from receipt to the answer, of those answered on the day.
    """

    received: Count
    redressed: Count
    rejected: Count
    pending: Count
    overdue: Count
    answers: Delays | None = None


class VersionCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Versions and changes of the list on the day. `stale_s_max`: its greatest age."""

    accepted: Count
    held: Count
    refused: Count
    stale_s_max: _Seconds | None = None


class Enforcement(msgspec.Struct, frozen=True, kw_only=True):
    """One document: what `country` did on `day` (UTC) by `list`, another country's.

    `agreements` by which it acted, `target_s` their strictest response target. `in_force`: from the
    owner's publication of a version or change until it was live. `first_stopped`: from the owner's
    publication of an entry to the first call that it stopped. A document made later the same day
    counts more: the newest, by `made_at`, is the one that holds.
    """

    format: str = FORMAT
    country: _Country
    list: _ListName
    day: date
    made_at: _Moment
    agreements: tuple[_Id, ...] = ()
    target_s: _Seconds | None = None
    by_category: dict[_Word, Counts] | None = None
    in_force: Delays | None = None
    first_stopped: Delays | None = None
    sightings: Annotated[tuple[Sighting, ...], Meta(max_length=SIGHTINGS_MAX)] = ()
    appeals: Appeals | None = None
    versions: VersionCounts | None = None


class Period(msgspec.Struct, frozen=True, kw_only=True):
    """Documents of one country and list put together: `days` of them from `first` to `last`.

    Fields as in `Enforcement`, None where no day has it. `entries` of `by_category` are the
    month's, so they are None for days of several months. `pending` and `overdue` appeals are the
    last day's.
    """

    country: str
    list: str
    first: date
    last: date
    days: int
    by_category: dict[str, "PeriodCounts"] | None
    in_force: Delays | None
    first_stopped: Delays | None
    sightings: tuple[Sighting, ...]
    appeals: Appeals | None
    versions: VersionCounts | None


class PeriodCounts(msgspec.Struct, frozen=True, kw_only=True):
    """`Counts` of several days; `entries`: different numbers in the month, None if not known."""

    entries: int | None
    blocked: int
    flagged: int
    simulated: int


def target_of(country: str, list_name: str, day: date) -> str:
    """Return a document's name in the country's repository."""
    return f"{country}/{FOLDER}/{list_name.replace('/', '-')}/{day.isoformat()}.json"


def written(document: Enforcement) -> bytes:
    """Return the document's bytes. Refuses, as an assert, what `read` would refuse."""
    data = msgspec.json.format(msgspec.json.encode(document), indent=1)
    assert len(data) <= DOCUMENT_BYTES_MAX, "a document of ours is within its bounds"
    return data


def read(data: bytes, target: str) -> Enforcement:
    """Return the document at `target`. Raises DocumentUnreadable with what is wrong.

    It counts only for the country, list and day of its name.
    """
    if len(data) > DOCUMENT_BYTES_MAX:
        raise DocumentUnreadable(f"{target}: more than {DOCUMENT_BYTES_MAX} bytes")
    try:
        found = msgspec.json.decode(data, type=Enforcement)
    except UNREADABLE as error:
        raise DocumentUnreadable(f"{target}: {error}") from error
    if found.format != FORMAT:
        text = f"format {found.format[:40]!r}, {FORMAT!r} is known: update Ringfence here"
        raise DocumentNotYet(f"{target}: {text}")
    if target != target_of(found.country, found.list, found.day):
        text = f"speaks of {found.list} in {found.country} on {found.day}: its name does not"
        raise DocumentUnreadable(f"{target}: {text}")
    if not is_country(found.country) or owner_of(found.list) == found.country:
        text = f"a country cannot report enforcement of its own list ({found.country})"
        raise DocumentUnreadable(f"{target}: {text}")
    if _day(found.made_at) < found.day:
        raise DocumentUnreadable(f"{target}: made before its day, at {found.made_at.isoformat()}")
    for place, sighting in enumerate(found.sightings):
        if _day(sighting.seen_at) != found.day:
            text = f"{target}: $.sightings[{place}].seen_at: {sighting.seen_at.isoformat()}"
            raise DocumentUnreadable(f"{text} is not of its day")
    return found


def _day(at: datetime) -> date:
    """Return the UTC day of a moment; of one at the ends of time the day that it says."""
    try:
        return at.astimezone(UTC).date()
    except OverflowError:
        return at.date()


def together_in(documents: Iterable[Enforcement]) -> Period | None:
    """Days of one country and list as one period; of a day reported twice the newest report.

    None: there are none. A sighting reported on several days counts once.
    """
    by_day: dict[date, Enforcement] = {}
    for one in documents:
        if one.day not in by_day or by_day[one.day].made_at < one.made_at:
            by_day[one.day] = one
    days = [by_day[day] for day in sorted(by_day)]
    if not days:
        return None
    assert len({(one.country, one.list) for one in days}) == 1, "one country, one list"
    return Period(
        country=days[0].country,
        list=days[0].list,
        first=days[0].day,
        last=days[-1].day,
        days=len(days),
        by_category=_counts(days),
        in_force=together(one.in_force for one in days),
        first_stopped=together(one.first_stopped for one in days),
        sightings=_sightings(days),
        appeals=_appeals(days),
        versions=_versions(days),
    )


def _counts(days: Sequence[Enforcement]) -> dict[str, PeriodCounts] | None:
    told = [one.by_category for one in days if one.by_category is not None]
    if not told:
        return None
    one_month = len({(one.day.year, one.day.month) for one in days}) == 1
    found = {}
    for category in sorted({name for counts in told for name in counts}):
        held = [counts[category] for counts in told if category in counts]
        months = [counts.entries_month for counts in held if counts.entries_month is not None]
        found[category] = PeriodCounts(
            entries=max(months) if one_month and months else None,
            blocked=sum(counts.blocked for counts in held),
            flagged=sum(counts.flagged for counts in held),
            simulated=sum(counts.simulated for counts in held),
        )
    return found


def _sightings(days: Sequence[Enforcement]) -> tuple[Sighting, ...]:
    found: dict[tuple[str, str | None], Sighting] = {}
    for one in days:
        for sighting in one.sightings:
            found.setdefault((sighting.fingerprint, sighting.appeal_id), sighting)
    return tuple(found.values())


def _appeals(days: Sequence[Enforcement]) -> Appeals | None:
    told = [one.appeals for one in days if one.appeals is not None]
    if not told:
        return None
    return Appeals(
        received=sum(one.received for one in told),
        redressed=sum(one.redressed for one in told),
        rejected=sum(one.rejected for one in told),
        pending=told[-1].pending,
        overdue=told[-1].overdue,
        answers=together(one.answers for one in told),
    )


def _versions(days: Sequence[Enforcement]) -> VersionCounts | None:
    told = [one.versions for one in days if one.versions is not None]
    if not told:
        return None
    ages = [one.stale_s_max for one in told if one.stale_s_max is not None]
    return VersionCounts(
        accepted=sum(one.accepted for one in told),
        held=sum(one.held for one in told),
        refused=sum(one.refused for one in told),
        stale_s_max=max(ages, default=None),
    )
