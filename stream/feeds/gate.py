"""The gate: may this version of a feed replace the last one?

Pure: facts about a version in, a verdict with its reasons out. No version goes live without a
verdict from here. The last accepted version stays until a newer one is accepted, or released by a
person.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Literal

from stream.core.filters.bloom import RATE_MAX
from stream.core.model.errors import FeedFault

Handling = Literal["drop", "hold", "refuse"]
"""Handling of rows that a feed may not bring: drop and count them, hold the version for a person,
or refuse it. Whatever is configured, such rows go live only by a person's release, and those of
`NEVER_LIVE` not even then.
"""


Suspected = Literal["hold", "refuse", "pass"]
"""Handling of a version whose numbers look like something else; "pass": accept them."""


class GateVerdict(StrEnum):
    """The verdict on a version: a metric label."""

    ACCEPTED = "accepted"
    SAME = "same"
    HELD = "held"
    REFUSED = "refused"


class GateReason(StrEnum):
    """Reasons why a version is not simply accepted: a closed list.

    Each is a metric label, appears in the audit, and has a heading in deploy/RUNBOOK.md.
    """

    NOT_THE_FORMAT = "not_the_format"
    """It cannot be read as what the feed says it is: a login page, a broken archive."""
    CHECKSUM_WRONG = "checksum_wrong"
    """Its owner published another checksum for it."""
    SAME = "same"
    """It is the last accepted version, byte for byte."""
    OLDER = "older"
    """Its owner made it before the last accepted version."""
    FILTER_TOO_COARSE = "filter_too_coarse"
    """Its Bloom filter claims, or shows, more false positives than a filter may have."""
    EMPTY = "empty"
    """A whole list without one number: mostly a file that was read while it was being written."""
    AGREEMENT_EXPIRED = "agreement_expired"
    """The agreement by which its owner shares the list here has ended."""
    EXPIRED = "expired"
    """Every entry in it has expired."""
    SHRUNK = "shrunk"
    """More of the feed's live numbers would go than the limit allows."""
    GROWN = "grown"
    """More new numbers would come than the limit allows."""
    TOO_MANY_BAD_ROWS = "too_many_bad_rows"
    """More rows were rejected than the limit allows."""
    SECOND_PERSON = "second_person"
    """It was handed in, and its feed asks for another person's release."""
    LOOKS_LIKE_DATES = "looks_like_dates"
    """The numbers look like dates or times: a wrong column."""
    LOOKS_LIKE_IDS = "looks_like_ids"
    """The numbers look like serial ids, accounts or documents: a wrong column."""
    LOOKS_LIKE_AMOUNTS = "looks_like_amounts"
    """The numbers look like sums, counts or places: a wrong column."""
    LOOKS_LIKE_VICTIMS = "looks_like_victims"
    """By their column's name, the numbers are those of people who reported or were called."""
    OWNER_NOT_ALLOWED = "owner_not_allowed"
    """Rows name a source that this feed may not report for."""
    COUNTRY_NOT_ALLOWED = "country_not_allowed"
    """Numbers of countries that this feed may not list."""
    EMERGENCY_NUMBER = "emergency_number"
    """Numbers that people dial for help."""
    ALLOW_LISTED = "allow_listed"
    """Numbers that the allowlist protects."""
    REDRESSED = "redressed"
    """Numbers of a list of ours whose wrong block was put right on an appeal."""
    OWN_SERVICE_NUMBER = "own_service_number"
    """The carrier's own numbers, `[feeds] own_numbers`."""
    PREFIX_TOO_SHORT = "prefix_too_short"
    """A prefix that would cover more numbers than its country's minimum length allows."""


NEVER_LIVE: Final = frozenset(
    {
        GateReason.EMERGENCY_NUMBER,
        GateReason.REDRESSED,
        GateReason.OWN_SERVICE_NUMBER,
        GateReason.PREFIX_TOO_SHORT,
    }
)
"""Rows that do not go live even in a version that a person releases."""

OF_ROWS: Final = (
    GateReason.OWNER_NOT_ALLOWED,
    GateReason.COUNTRY_NOT_ALLOWED,
    GateReason.EMERGENCY_NUMBER,
    GateReason.ALLOW_LISTED,
    GateReason.REDRESSED,
    GateReason.OWN_SERVICE_NUMBER,
    GateReason.PREFIX_TOO_SHORT,
)
"""Reasons that concern single rows; `GateLimits` has a `Handling` for each, by the same name."""

OF_LOOKS: Final = (
    GateReason.LOOKS_LIKE_DATES,
    GateReason.LOOKS_LIKE_IDS,
    GateReason.LOOKS_LIKE_AMOUNTS,
    GateReason.LOOKS_LIKE_VICTIMS,
)
"""Reasons that concern the column of the numbers; `GateLimits` has a `Suspected` by the same name.
A person may release such a version: numbers that a gang bought in a block follow each other too."""

OF_FAULTS: Final[Mapping[FeedFault, GateReason]] = {
    FeedFault.CHECKSUM: GateReason.CHECKSUM_WRONG,
    FeedFault.NOT_A_FEED: GateReason.NOT_THE_FORMAT,
}
"""Reasons that a transport finds; such a version is refused before it reaches the gate."""

_HOLDS: Final = frozenset(
    {
        GateReason.AGREEMENT_EXPIRED,
        GateReason.EMPTY,
        GateReason.SHRUNK,
        GateReason.GROWN,
        GateReason.TOO_MANY_BAD_ROWS,
        GateReason.SECOND_PERSON,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GateLimits:
    """The `[gate]` table of a feed file.

    `shrink_percent_max` limits the live numbers that go, in per cent of those on the list.
    `grow_percent_max` limits the numbers that come, in per cent of the feed's last accepted
    numbers. Up to `shrink_few` and `grow_few` numbers never hold a version: a small list may double
    in a day. `bad_rows_percent_max` is of all rows; up to `bad_rows_few` never hold a version,
    unless there is no good row. `filter_error_rate_max` limits a filter without entries, by its
    header and as measured; `RATE_MAX` always does. With `second_person` each version that is handed
    in waits for another person. Raises ValueError, beginning with the key.
    """

    shrink_percent_max: int = 30
    shrink_few: int = 10
    grow_percent_max: int = 100
    grow_few: int = 1000
    bad_rows_percent_max: int = 20
    bad_rows_few: int = 10
    filter_error_rate_max: float = RATE_MAX
    second_person: bool = False
    owner_not_allowed: Handling = "refuse"
    country_not_allowed: Handling = "hold"
    emergency_number: Handling = "hold"
    allow_listed: Handling = "hold"
    redressed: Handling = "drop"
    own_service_number: Handling = "hold"
    prefix_too_short: Handling = "hold"
    looks_like_dates: Suspected = "hold"
    looks_like_ids: Suspected = "hold"
    looks_like_amounts: Suspected = "hold"
    looks_like_victims: Suspected = "hold"

    def __post_init__(self) -> None:
        for name, most in (
            ("shrink_percent_max", 100),
            ("grow_percent_max", 1_000_000),
            ("bad_rows_percent_max", 100),
            ("shrink_few", 10**9),
            ("grow_few", 10**9),
            ("bad_rows_few", 10**9),
        ):
            if not 0 <= getattr(self, name) <= most:
                raise ValueError(f"{name} must be 0 to {most}, not {getattr(self, name)}")
        if not 0 < self.filter_error_rate_max <= RATE_MAX:
            raise ValueError(
                f"filter_error_rate_max must be above 0 and at most {RATE_MAX:g}, "
                f"not {self.filter_error_rate_max:g}"
            )

    def handling(self, reason: GateReason) -> Handling | Suspected:
        """Return the handling of one of `OF_LOOKS` or `OF_ROWS`."""
        handling: Handling | Suspected = getattr(self, reason.value)
        return handling

    def handlings(self) -> dict[GateReason, str]:
        """Return all handlings by their reasons."""
        return {reason: self.handling(reason) for reason in (*OF_LOOKS, *OF_ROWS)}


@dataclass(frozen=True, slots=True)
class Last:
    """The last accepted version. `numbers` counts the feed's numbers on its list since then."""

    sha256: str
    numbers: int
    as_of_s: int | None

    def ahead_s(self, as_of_s: int | None) -> int:
        """Return the seconds it was made after a version of `as_of_s`; 0: not later, or unknown."""
        if as_of_s is None or self.as_of_s is None:
            return 0
        return max(self.as_of_s - as_of_s, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionFacts:
    """Facts about a version, for the gate.

    Of these texts "" means that nothing is wrong: `unreadable` (why the file cannot be read),
    `too_coarse` (by how much its filter exceeds the limit), `agreement_over` (the agreement that
    has ended). `sent_by` handed it in, "": it was fetched. `good` and `bad` count rows, `expired`
    those left out because they are over. `gained` and `lost` count numbers against the feed's own
    on its list, None: unknown. `held` counts the live numbers on the list, 0: unknown. `lost` is
    of these: a number whose reports are over is no loss. `rows` counts rows by reasons of
    `OF_ROWS`. `looks` has figures by reasons of `OF_LOOKS`.
    """

    sha256: str
    whole: bool
    unreadable: str = ""
    too_coarse: str = ""
    agreement_over: str = ""
    sent_by: str = ""
    as_of_s: int | None = None
    good: int = 0
    bad: int = 0
    expired: int = 0
    gained: int | None = None
    lost: int | None = None
    held: int = 0
    rows: Mapping[GateReason, int] = field(default_factory=dict)
    looks: Mapping[GateReason, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GateFinding:
    """One reason, the verdict that it alone leads to, and figures for a person."""

    reason: GateReason
    verdict: GateVerdict
    detail: str


@dataclass(frozen=True, slots=True)
class GateDecision:
    """The verdict on a version, and all findings, the gravest first."""

    verdict: GateVerdict
    findings: tuple[GateFinding, ...]

    @property
    def reason(self) -> GateReason | None:
        """The reason that decided; None: the version is accepted."""
        decisive = (f.reason for f in self.findings if f.verdict is self.verdict)
        return None if self.verdict is GateVerdict.ACCEPTED else next(decisive)


# SAME outweighs HELD: the bytes that are live already need no person.
_WEIGHT: Final = (GateVerdict.ACCEPTED, GateVerdict.HELD, GateVerdict.SAME, GateVerdict.REFUSED)


def decide(seen: VersionFacts, last: Last | None, limits: GateLimits) -> GateDecision:
    """Return the verdict on a version; `last` is the last accepted one, None for a feed's first."""
    found = list(_as_a_file(seen, last))
    if not found:
        rows = {reason: f"{count:,} rows" for reason, count in seen.rows.items() if count}
        found = [
            *_handled(OF_LOOKS, seen.looks, limits),
            *_as_a_whole(seen, last, limits),
            *_handled(OF_ROWS, rows, limits),
        ]
    found.sort(key=lambda finding: -_WEIGHT.index(finding.verdict))
    verdict = found[0].verdict if found else GateVerdict.ACCEPTED
    return GateDecision(verdict, tuple(found))


def _as_a_file(seen: VersionFacts, last: Last | None) -> list[GateFinding]:
    """Find reasons that make every further check of the version useless."""
    if last is not None and seen.sha256 == last.sha256:
        return [_finding(GateReason.SAME, f"sha256 {seen.sha256[:12]}...")]
    if seen.too_coarse:
        return [_finding(GateReason.FILTER_TOO_COARSE, seen.too_coarse)]
    if seen.unreadable:
        return [_finding(GateReason.NOT_THE_FORMAT, seen.unreadable)]
    if seen.whole and last is not None and (behind_s := last.ahead_s(seen.as_of_s)):
        return [_finding(GateReason.OLDER, f"made {behind_s:,} s before the accepted version")]
    return []


def _as_a_whole(seen: VersionFacts, last: Last | None, limits: GateLimits) -> list[GateFinding]:
    found = []
    rows = seen.good + seen.bad
    if seen.agreement_over:
        found.append(_finding(GateReason.AGREEMENT_EXPIRED, seen.agreement_over))
    if seen.sent_by and limits.second_person:
        found.append(_finding(GateReason.SECOND_PERSON, f"{seen.sent_by} handed it in"))
    if not rows and seen.expired:
        found.append(_finding(GateReason.EXPIRED, f"all of {seen.expired:,} entries are over"))
    elif not rows and seen.whole:
        found.append(_finding(GateReason.EMPTY, "no row at all"))
    many = seen.bad > limits.bad_rows_few and _beyond(seen.bad, rows, limits.bad_rows_percent_max)
    if seen.bad and (many or not seen.good):
        detail = f"{seen.bad:,} of {rows:,} rows were rejected"
        found.append(_finding(GateReason.TOO_MANY_BAD_ROWS, detail))
    if last is None or not last.numbers:
        return found  # the size limits begin with the second version
    lost, gained = seen.lost or 0, seen.gained or 0
    # Of those on the list. They are fewer where reports are over, and more where a version was
    # stored and not written down: its process was killed in between, or its report met a full disk.
    # Of an increment only those that go are looked for on the list.
    before = seen.held or max(last.numbers, lost)
    if lost > limits.shrink_few and _beyond(lost, before, limits.shrink_percent_max):
        detail = f"{lost:,} of {before:,} numbers would go"
        found.append(_finding(GateReason.SHRUNK, detail))
    if gained > limits.grow_few and _beyond(gained, last.numbers, limits.grow_percent_max):
        detail = f"{gained:,} numbers would come to {last.numbers:,}"
        found.append(_finding(GateReason.GROWN, detail))
    return found


_VERDICTS: Final[Mapping[Handling | Suspected, GateVerdict]] = {
    "drop": GateVerdict.ACCEPTED,
    "pass": GateVerdict.ACCEPTED,
    "hold": GateVerdict.HELD,
    "refuse": GateVerdict.REFUSED,
}


def _handled(
    reasons: Iterable[GateReason], details: Mapping[GateReason, str], limits: GateLimits
) -> list[GateFinding]:
    """Find the reasons that have details, each with the verdict that the limits give it."""
    return [
        GateFinding(reason, _VERDICTS[limits.handling(reason)], details[reason])
        for reason in reasons
        if reason in details
    ]


def _finding(reason: GateReason, detail: str) -> GateFinding:
    if reason is GateReason.SAME:
        return GateFinding(reason, GateVerdict.SAME, detail)
    return GateFinding(
        reason, GateVerdict.HELD if reason in _HOLDS else GateVerdict.REFUSED, detail
    )


def _beyond(part: int, whole: int, percent_max: int) -> bool:
    """Return whether `part` is more than `percent_max` of `whole`. Exact: integers only."""
    return part * 100 > whole * percent_max
