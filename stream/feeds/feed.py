"""A partner's feed: its settings, a record of each version, and its state. Values only."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import msgspec

from stream.core.model.errors import ChangeConflict
from stream.core.model.free_text import SOURCE_CHARS_MAX
from stream.core.policy.list_scope import Scope
from stream.feeds.detection.lookalikes import DateOrder, MaybeOrder
from stream.feeds.formats.rows import Format, ReadOptions
from stream.feeds.gate import GateLimits, GateVerdict
from stream.feeds.parse import Defaults

_WAYS: Final = frozenset({"page", "http"})
"""Beginnings of actors whose changes come by the page and by HTTP."""
ID_CHARS = 12
"""Characters of a version's SHA-256 that name it: enough to tell one feed's versions apart."""
READING: Final = Defaults("", 0, expires_after_s=10 * 86_400, sources="feed")
"""The defaults for rows of a feed whose file says nothing about them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """The settings that turn a feed's bytes into reports.

    `reading` says how rows are read, but for the moment. A report that repeats what is on the list
    is written again once it is older than `renew_s`. `codes` are the country calling codes that
    the feed may list, None: all. `own` are the carrier's own numbers and prefixes, which no feed
    may list. `speaks_for` are the sources that rows may name, empty: any. `samples` are numbers
    that are on a bare filter. `circle` is used if the list does not exist yet. `digest` changes
    with any setting that a verdict depends on, `meaning` with any setting that decides which of
    its rows are listed, and where.
    """

    name: str
    list_name: str
    owner: str
    contact: str
    format: Format
    circle: str = "plain"
    options: ReadOptions = field(default_factory=ReadOptions)
    header: tuple[str, ...] = ()
    reading: Defaults = READING
    renew_s: int = 86_400
    codes: frozenset[int] | None = None
    own: tuple[str, ...] = ()
    speaks_for: frozenset[str] = frozenset()
    samples: tuple[str, ...] = ()
    gate: GateLimits = field(default_factory=GateLimits)
    keep_s: int = 30 * 86_400
    digest: str = ""
    meaning: str = ""

    @property
    def scope(self) -> Scope:
        """The numbers that the feed may list, for matching calls with its list."""
        return Scope(self.name, self.codes)

    def owns(self, source: str) -> bool:
        """Return whether reports of `source` are this feed's own."""
        return source == self.name or source.startswith(f"{self.name}/")

    def source_of(self, name: str) -> str:
        """Return the source of this feed's report that was `name`'s before, "": nobody's."""
        return f"{self.name}/{name}"[:SOURCE_CHARS_MAX] if name else self.name

    def defaults(self, now_s: int) -> Defaults:
        """Return the defaults for reading its rows at `now_s`."""
        confidence = min(self.reading.confidence, self.reading.confidence_max)
        return replace(
            self.reading, source=self.name, reported_at_s=now_s, now_s=now_s, confidence=confidence
        )


class ReadAs(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """A way to read one version, in place of the feed file's: a person chose it on the page.

    `dates`, `expires_dates` and `buddhist` are as `order`, `expires` and `buddhist` in `Dates`;
    `region` is the country of national numbers.
    """

    format: Format
    options: ReadOptions = msgspec.field(default_factory=ReadOptions)
    region: str | None = None
    dates: DateOrder = "iso"
    expires_dates: MaybeOrder = ""
    buddhist: bool = False

    def over(self, feed: Feed) -> Feed:
        """Return the feed as this version is read. Categories and limits stay the feed's."""
        dates = replace(
            feed.reading.dates, order=self.dates, expires=self.expires_dates, buddhist=self.buddhist
        )
        reading = replace(feed.reading, region=self.region, dates=dates, unknown_category="other")
        return replace(feed, format=self.format, options=self.options, header=(), reading=reading)


class VersionRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One version of a feed: its content in figures, and the verdict on it.

    Redis keeps that of the last accepted, held and refused version; `report.json` lies beside each
    file. `at_s` is the time of the fetch, `decided_at_s` that of the verdict, `whole_at_s` that of
    the last whole version, this one or an earlier. `numbers` counts what the feed has on its list
    afterwards. `published_ms` is as in `Fetched`. `rejected`, `dropped`, `adjusted` and
    `cleaned` count rows by reason. `by` and `why` are those of the person who released or refused
    it. `list_name` and `meaning` are those of the feed's file at that time, "" in old records.
    `to_leave` are lists that the feed filled before; they may have its reports until a whole
    version comes. `sent_by` and `sent_why` are those of the person or client who handed it in, "":
    it was fetched. `read_as` is how it is read, None: as the feed's file says.
    """

    id: str
    sha256: str
    size: int
    at_s: int
    decided_at_s: int
    whole: bool
    verdict: str
    as_of_s: int | None = None
    origin: str = ""
    published_ms: tuple[int, ...] = ()
    remember: dict[str, str] = {}
    reason: str = ""
    findings: tuple[str, ...] = ()
    good: int = 0
    bad: int = 0
    expired: int = 0
    passed_over: int = 0
    rejected: dict[str, int] = {}
    dropped: dict[str, int] = {}
    adjusted: dict[str, int] = {}
    cleaned: dict[str, int] = {}
    gained: int = 0
    lost: int = 0
    updated: int = 0
    numbers: int = 0
    rebuilt: bool = False
    generation: int = 0
    settings: str = ""
    renewed_at_s: int = 0
    whole_at_s: int = 0
    by: str = ""
    why: str = ""
    list_name: str = ""
    meaning: str = ""
    to_leave: tuple[str, ...] = ()
    sent_by: str = ""
    sent_why: str = ""
    read_as: ReadAs | None = None

    def is_meant_as(self, feed: Feed) -> bool:
        """Return whether the feed's file still gives it the same meaning."""
        return self.meaning in {"", feed.meaning}

    def refuse_sender(self, actor: str) -> None:
        """Raises ChangeConflict where `actor` is the person or client who handed it in."""
        if self.sent_by and _person_of(self.sent_by) == _person_of(actor):
            text = f"version {self.id} was handed in by {self.sent_by}: another person lets it in"
            raise ChangeConflict(text)

    def is_of_list(self, name: str) -> bool:
        """Return whether it was meant for that list."""
        return self.list_name in {"", name}


def _person_of(actor: str) -> str:
    """Return the person or client of an actor, by whichever way it acts: `page:anna` is anna."""
    way, _, name = actor.partition(":")
    return name if way in _WAYS and name else actor


def in_words(record: VersionRecord) -> str:
    """Return the outcome of a version, in a line."""
    text = f"version {record.id} {record.verdict}"
    if record.verdict == GateVerdict.ACCEPTED:
        changes = f"+{record.gained:,} -{record.lost:,} numbers, {record.updated:,} updated"
        text += f": {changes}; {record.numbers:,} numbers at generation {record.generation}"
    elif record.findings:
        text += f": {'; '.join(record.findings)}"
    if record.bad:
        text += f"; {record.bad:,} rows rejected"
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedState:
    """The state of a feed between its versions; all in Redis.

    `confirmed_at_s` is the time of the last answer of its source, new or not; `tried_at_s` that of
    the last try. `fault` and `detail` say why that try failed, "": it did not. `failures` counts
    failed tries in a row.
    """

    accepted: VersionRecord | None = None
    held: VersionRecord | None = None
    refused: VersionRecord | None = None
    remembered: Mapping[str, str] = field(default_factory=dict)
    confirmed_at_s: int = 0
    tried_at_s: int = 0
    fault: str = ""
    detail: str = ""
    failures: int = 0

    @property
    def refused_last(self) -> VersionRecord | None:
        """The refused version, unless a person refused it or its source has had another since."""
        one = self.refused
        return one if one and not one.by and one.decided_at_s > self.confirmed_at_s else None

    def refuse_gap(self, feed: str, since: Mapping[str, str]) -> None:
        """Refuse changes since a version that the list store has lost meanwhile, by a failover.

        Its list lacks those before them, and nobody would ask for them again (seed 230005727).
        Raises ChangeConflict.
        """
        if since != self.remembered:
            text = "the list store has gone back since they were asked for: they are fetched again"
            raise ChangeConflict(f"changes of feed {feed}: {text}")

    def still_waits_after(self, record: VersionRecord) -> bool:
        """Return whether `record` is the live version read again, beside another that is held."""
        live, held = self.accepted, self.held
        return live is not None and held is not None and live.sha256 == record.sha256 != held.sha256

    def is_meant_otherwise(self, feed: Feed) -> bool:
        """Return whether the feed's file gives the live version another meaning now.

        False if those very bytes were judged by the new meaning and not accepted.
        """
        live = self.accepted
        if live is None or live.is_meant_as(feed):
            return False
        judged = (one for one in (self.held, self.refused) if one is not None)
        return not any((o.sha256, o.meaning) == (live.sha256, feed.meaning) for o in judged)


Tell = Callable[[str], None]
"""Called with a sentence about the work at hand."""
