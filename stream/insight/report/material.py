"""What a report is made from, as it was gathered: documents, versions, feeds, appeals. Values."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from stream.core.model.agreement import Agreement
from stream.core.model.enforcement import Enforcement
from stream.insight.report.period import Period


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
    """How a partner's list comes in here, at the moment of the report.

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
class Material:
    """All that was gathered in `home`, of `period` and of the one before it.

    `known` are all agreements. `documents` go on to the day of the report, for what waits now, and
    may hold several of a day. `unread`: why documents that
    are there were not used. `versions`, `feeds`, `appeals`: None where nobody could look; `sizes`
    and `sizes_before`: numbers on a list when the period, and the one before, was over.
    """

    agreement: Agreement
    known: tuple[Agreement, ...]
    home: str
    period: Period
    made_at_s: int
    documents: tuple[Enforcement, ...] = ()
    unread: tuple[str, ...] = ()
    versions: tuple[VersionEvent, ...] | None = None
    feeds: tuple[FeedNow, ...] | None = None
    appeals: tuple[OpenAppeal, ...] | None = None
    sizes: Mapping[str, int] = field(default_factory=dict)
    sizes_before: Mapping[str, int] = field(default_factory=dict)
