"""`config/feeds/<name>.toml`: one file per feed, read as strictly as the settings.

An unknown key is an error that names file, key and the closest known key. All errors of all files
are reported at once. Secrets come from the environment, by the names that the file gives (or
`<NAME>_FILE`).
"""

import hashlib
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from stream import __version__
from stream.config.agreement_files import agreements_of
from stream.config.sections import Filled, feed_paths
from stream.config.settings import EngineSettings
from stream.core.model.agreement import Agreements
from stream.core.model.entry import Category
from stream.core.model.errors import ConfigInvalid
from stream.core.model.time_zones import zone_of
from stream.core.numbers.prefix_entries import PrefixRules
from stream.core.policy.list_scope import codes_of_countries
from stream.feeds.detection.lookalikes import DateOrder, MaybeOrder
from stream.feeds.feed import Feed
from stream.feeds.feed_sources import FeedSetup, KafkaOf, source_of
from stream.feeds.formats.rows import COLUMN_FIELDS, Format, ReadOptions
from stream.feeds.gate import GateLimits
from stream.feeds.parse import Defaults
from stream.feeds.row_checks import Surroundings
from stream.feeds.value_parsers import Dates
from stream.ops.schema import checks
from stream.ops.schema.durations import seconds_of, wait_of
from stream.ops.schema.toml import (
    Between,
    Checked,
    Problem,
    Problems,
    Tables,
    dotted,
    one_of,
    plain_converter,
    shown,
    structured,
)

Span = Annotated[str, Checked(checks.span)]
EVERY_COUNTRY = "*"
_EVERY: Mapping[str, str] = {"tuf": "1s"}
_USUALLY = "15m"
"""Between two fetches; a signed repository is asked each second: its answer is one small file."""
_CATEGORIES = tuple(category.label for category in Category)


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerTable:
    """`[owner]`: the feed's owner, and the contact for its numbers."""

    name: Annotated[str, Checked(checks.somebody)]
    contact: Annotated[str, Checked(checks.contact)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleTable:
    """`[schedule]`: how often the feed is fetched; `jitter`: up to so much later, by chance.

    `every` is 15 minutes by default, of a signed repository one second: its answer is one small
    file. `jitter` is a tenth of `every` by default. `whole_every`: how often the whole list is
    fetched beside increments, so that copies do not drift and entries do not expire. "": as the
    transport does by default.
    """

    every: Annotated[str, Checked(checks.maybe(checks.wait))] = ""
    jitter: Annotated[str, Checked(checks.maybe(checks.wait))] = ""
    whole_every: Annotated[str, Checked(checks.maybe(checks.span))] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedFile:
    """All of a feed file but `[from]`; docs/how-to/feeds/index.md explains it."""

    list: Annotated[str, Checked(checks.somebodys_list)]
    format: Format
    owner: OwnerTable
    circle: Filled = "plain"
    schedule: ScheduleTable = field(default_factory=ScheduleTable)
    gate: GateLimits = field(default_factory=GateLimits)
    region: Annotated[str, Checked(checks.maybe(checks.country))] = ""
    category: str = "other"
    categories: dict[str, str] = field(default_factory=dict)
    unknown_category: Literal["reject", "other"] = "reject"
    dates: DateOrder = "iso"
    expires_dates: MaybeOrder = ""
    era: Literal["common", "buddhist"] = "common"
    utc_offset: Annotated[str, Checked(checks.utc_offset)] = "Z"
    columns: dict[str, Any] = field(default_factory=dict)
    header: tuple[str, ...] = ()
    encoding: str = ""
    sheet: str = ""
    items: str = ""
    unconfirmed: bool = False
    expires_in: Span = "10d"
    expires_from: Literal["report", "now", "never"] = "report"
    renew_in: Span = "1d"
    confidence: Annotated[int, Between(0, 100)] = 100
    confidence_max: Annotated[int, Between(0, 100)] = 100
    future: Literal["clamp", "reject"] = "clamp"
    sources: Literal["feed", "both"] = "feed"
    speaks_for: tuple[str, ...] = ()
    may_list: tuple[str, ...] = ()
    samples: tuple[Annotated[str, Checked(checks.number_or_prefix)], ...] = ()
    keep_refused_days: Annotated[int, Between(1, 3650)] = 30

    def __post_init__(self) -> None:
        found = [
            Problem(key, f"must be {one_of(_CATEGORIES)}, not {shown(label)}")
            for key, label in (
                (("category",), self.category),
                *((("categories", word), label) for word, label in self.categories.items()),
            )
            if label not in _CATEGORIES
        ]
        for name, place in self.columns.items():
            key = ("columns", name)
            if name not in COLUMN_FIELDS:
                found.append(Problem(key, f"is no field; fields: {', '.join(COLUMN_FIELDS)}"))
            elif type(place) not in (str, int):
                found.append(Problem(key, "must be a header's text or a number from 1"))
            elif not place:
                found.append(Problem(key, "must say which column: it is empty"))
        found += [
            Problem(("may_list",), f'{wrong}, or "*" for every country')
            for country in self.may_list
            if country != EVERY_COUNTRY and (wrong := checks.country(country)) is not None
        ]
        if self.format == "pybloom" and not self.samples:
            text = "a bare filter needs numbers that are on it: nothing else shows how it hashes"
            found.append(Problem(("samples",), text))
        if self.samples and self.format != "pybloom":
            found.append(Problem(("samples",), 'are for format = "pybloom"'))
        if self.speaks_for and self.sources != "both":
            found.append(Problem(("speaks_for",), 'needs sources = "both": rows then name sources'))
        if found:
            raise Problems(found)


@dataclass(frozen=True, slots=True)
class FeedContext:
    """Settings outside a feed's file: our own numbers and country, prefixes, access to Kafka."""

    own: tuple[str, ...]
    home: str
    prefixes: PrefixRules
    kafka: KafkaOf


def feed_context(settings: EngineSettings) -> FeedContext:
    """Return what feed files need of the settings."""
    return FeedContext(
        settings.feeds.own_numbers,
        settings.calls.home_country,
        settings.lists.prefixes(),
        settings.kafka_client,
    )


def around_of(settings: EngineSettings, agreements: Agreements | None = None) -> Surroundings:
    """Return the surroundings of assessing, apart from feed files. Raises ConfigInvalid.

    `agreements` None: they are read from their folder.
    """
    emergency = {land: frozenset(texts) for land, texts in settings.policy.emergency.items()}
    return Surroundings(
        keys=settings.circle_keys(),
        emergency=emergency,
        home=settings.calls.home_country,
        agreements=agreements_of(settings) if agreements is None else agreements,
    )


def read_feeds(
    folder: Path, environ: Mapping[str, str], context: FeedContext
) -> dict[str, FeedSetup]:
    """Return all feeds of a folder. Raises ConfigInvalid with every error found."""
    feeds, wrong = read_each(folder, environ, context)
    if wrong:
        raise ConfigInvalid(tuple(error for errors in wrong.values() for error in errors))
    return feeds


def read_each(
    folder: Path, environ: Mapping[str, str], context: FeedContext
) -> tuple[dict[str, FeedSetup], dict[str, tuple[str, ...]]]:
    """Return the feeds of a folder, and the errors of the other files by name.

    Raises ConfigInvalid without a folder.
    """
    feeds: dict[str, FeedSetup] = {}
    wrong: dict[str, tuple[str, ...]] = {}
    for name, path in feed_paths(folder).items():
        try:
            feeds[name] = read_feed(path, environ, context)
        except ConfigInvalid as error:
            wrong[name] = error.errors
    return feeds, wrong


def feed_tables(folder: Path) -> dict[str, dict[str, Any]] | None:
    """Return each feed file's table, unchecked, by feed; None without a folder.

    For readers that need a list or a contact and may not see the secrets. A file that cannot be
    read is left out: `ringfence feeds list` names it.
    """
    try:
        paths = feed_paths(folder)
    except ConfigInvalid:
        return None
    found = {}
    for name, path in paths.items():
        with suppress(OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
            found[name] = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    return found


def read_feed(path: Path, environ: Mapping[str, str], context: FeedContext) -> FeedSetup:
    """Return the feed of a file. Raises ConfigInvalid with every error found in it."""
    tables = Tables()
    tables.lay(path)
    if tables.errors:
        raise ConfigInvalid(tuple(tables.errors))
    values = dict(tables.values)
    place = values.pop("from", None)
    read, problems = structured(plain_converter(), values, FeedFile, {})
    errors = [f"{path}: {dotted(key)}: {text}" for key, text in problems]
    if (wrong := checks.feed_name(path.stem)) is not None:
        errors.insert(0, f"{path}: a feed {wrong}")
    source = source_of(
        place, environ, context.kafka, lambda text: errors.append(f"{path}: from{text}")
    )
    if read and source and (read.format == "snapshot") is not (source.kind == "tuf"):
        errors.append(f'{path}: format: "snapshot" and [from] kind = "tuf" go together')
    if errors or read is None or source is None:
        raise ConfigInvalid(tuple(errors))
    every_s = _wait_s(read.schedule.every or _EVERY.get(source.kind, _USUALLY))
    return FeedSetup(
        feed=_feed(path, read, context),
        source=source,
        every_s=every_s,
        jitter_s=_wait_s(read.schedule.jitter) if read.schedule.jitter else every_s / 10,
        whole_every_s=_seconds(read.schedule.whole_every) if read.schedule.whole_every else 0,
        path=path,
    )


def _feed(path: Path, read: FeedFile, context: FeedContext) -> Feed:
    region = read.region or None
    codes = _codes(read, context.home)
    bounds = (read.gate, sorted(codes or ()), context.own, sorted(read.speaks_for), region)
    reading = (
        *(read.columns, read.header, read.encoding, read.categories, read.unknown_category),
        *(read.dates, read.expires_dates, read.era, read.utc_offset, read.sheet, read.items),
    )
    # Another version of ours may read better what this one refused.
    verdict_depends_on = msgspec.json.encode((__version__, read.format, bounds, reading))
    return Feed(
        name=path.stem,
        list_name=read.list,
        owner=read.owner.name,
        contact=read.owner.contact,
        format=read.format,
        circle=read.circle,
        options=ReadOptions(
            columns=read.columns,
            encoding=read.encoding or None,
            sheet=read.sheet,
            items=read.items,
            unconfirmed=read.unconfirmed,
        ),
        header=read.header,
        reading=Defaults(
            source=path.stem,
            reported_at_s=0,
            region=region,
            category=Category[read.category.upper()],
            categories={word: Category[label.upper()] for word, label in read.categories.items()},
            unknown_category=read.unknown_category,
            dates=Dates(
                read.dates, read.era == "buddhist", zone_of(read.utc_offset), read.expires_dates
            ),
            expires_after_s=_seconds(read.expires_in),
            expires_from=read.expires_from,
            confidence=read.confidence,
            confidence_max=read.confidence_max,
            future=read.future,
            sources=read.sources,
            prefixes=context.prefixes,
        ),
        renew_s=min(_seconds(read.renew_in), _seconds(read.expires_in) // 2),
        codes=codes,
        own=context.own,
        speaks_for=frozenset(read.speaks_for),
        samples=read.samples,
        gate=read.gate,
        keep_s=read.keep_refused_days * 86_400,
        digest=hashlib.sha256(verdict_depends_on).hexdigest()[:12],
        meaning=_meaning(read, codes, context),
    )


def _meaning(read: FeedFile, codes: frozenset[int] | None, context: FeedContext) -> str:
    """Return a digest of all that the file says of its rows: which are listed, where, and how.

    Fetching, the gate, contacts and the life of refused versions leave it as it is.
    """
    said = (
        *(read.list, read.format, read.circle, read.region, sorted(codes or ()), codes is None),
        *(read.category, sorted(read.categories.items()), read.unknown_category),
        *(read.dates, read.era, read.utc_offset, read.expires_in, read.expires_from),
        *(sorted(read.columns.items()), read.header, read.encoding, read.unconfirmed),
        *(read.confidence, read.confidence_max, read.future, read.sources),
        *(sorted(read.speaks_for), read.samples, context.own, context.prefixes),
        # Settings of later releases count where they are set: an upgrade changes no meaning.
        *filter(None, (read.sheet, read.items, read.expires_dates)),
    )
    return hashlib.sha256(msgspec.json.encode(said)).hexdigest()[:12]


def _codes(read: FeedFile, home: str) -> frozenset[int] | None:
    """Return the calling codes that the feed may list; None: all.

    By default another country's feed may list that country's numbers alone. Our own country's, and
    an organisation's, may list all: they report who calls in from anywhere.
    """
    if EVERY_COUNTRY in read.may_list:
        return None
    if read.may_list:
        return codes_of_countries(frozenset(read.may_list))
    owner = read.owner.name
    if owner == home or checks.country(owner) is not None:
        return None
    return codes_of_countries(frozenset({owner}))


def _seconds(span: str) -> int:
    seconds = seconds_of(span)
    assert seconds is not None, "it was checked"
    return seconds


def _wait_s(span: str) -> float:
    seconds = wait_of(span)
    assert seconds is not None, "it was checked"
    return seconds
