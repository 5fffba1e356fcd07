"""`[from]` of a feed file: where its bytes come from, and what fetches them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from yarl import URL

from stream.feeds.feed import Feed
from stream.feeds.transports.transport import Transport
from stream.feeds.transports.transport import shown as shown_url
from stream.kafka.settings import KafkaSettings
from stream.ops.schema.toml import dotted, one_of, secret, shown, strict_converter, structured

KafkaOf = Callable[[], KafkaSettings]


@dataclass(frozen=True, slots=True)
class Means:
    """What a transport needs beside its table: what the variables hold that it names.

    `kafka` says how Kafka is reached, None to all that need none of it: asked where the transport
    is made, as a TLS context cannot go to another process.
    """

    secrets: Mapping[str, str] = field(repr=False)
    kafka: KafkaOf | None


KINDS: Final[Mapping[str, tuple[str, str, str]]] = {
    "file": ("file", "FileSettings", "FileTransport"),
    "folder": ("folder", "DropFolderSettings", "FolderTransport"),
    "http": ("http_file", "HttpSettings", "HttpTransport"),
    "kafka": ("kafka_topic", "KafkaFeedSettings", "KafkaTransport"),
    "misp-feed": ("misp_feed", "MispFeedSettings", "MispFeedTransport"),
    "taxii": ("taxii", "TaxiiSettings", "TaxiiTransport"),
    "tuf": ("tuf", "TufSettings", "TufTransport"),
}
"""By `kind`: a module of `stream.feeds.transports`, its settings and its transport.

Loaded by name, for a feed of that kind only: together they import aiohttp, tuf and aiokafka, which
takes half a second of CPU that `ringfence lists` and `why` do not have.
"""


def modules() -> list[str]:
    """The modules of all transports, for a process that loads them before it forks."""
    return [f"stream.feeds.transports.{module}" for module, _, _ in KINDS.values()]


def shape_of(kind: str) -> type[Any]:
    """The settings that a `[from]` table of this kind holds."""
    module, settings, _ = KINDS[kind]
    return _named(module, settings)


def _named(module: str, name: str) -> type[Any]:
    found: type[Any] = getattr(import_module(f"stream.feeds.transports.{module}"), name)
    return found


@dataclass(frozen=True, slots=True)
class FeedSource:
    """Where a feed's versions come from; `settings` are its transport's. It can be pickled."""

    kind: str
    settings: Any
    means: Means

    def transport(self) -> Transport:
        """What fetches them."""
        module, _, name = KINDS[self.kind]
        make = _named(module, name)
        made: Transport
        if self.kind in ("file", "folder"):
            made = make(self.settings)
        elif self.kind == "kafka":
            assert self.means.kafka is not None, "whoever read its table gave it"
            made = make(self.settings, self.means.kafka())
        else:
            made = make(self.settings, self.means.secrets)
        return made

    def __str__(self) -> str:
        """Where that is, without what may be a secret."""
        url = getattr(self.settings, "url", "")
        return shown_url(URL(url)) if url else place_of(self)


def place_of(source: FeedSource) -> str:
    """Where a source's bytes come from, in a word: address, path or topic, and what of it."""
    names = ("url", "path", "topic", "collection", "targets", "pattern")
    return " ".join(str(value) for name in names if (value := getattr(source.settings, name, "")))


def source_of(
    table: Any, environ: Mapping[str, str], kafka: KafkaOf, wrong: Callable[[str], None]
) -> FeedSource | None:
    """The source that a table describes; None after `wrong` was told each thing wrong with it."""
    if not isinstance(table, dict):
        wrong(": is missing: a table with kind = " + one_of(tuple(KINDS)))
        return None
    values = dict(table)
    kind = values.pop("kind", None)
    if not isinstance(kind, str) or kind not in KINDS:
        wrong(f".kind: must be {one_of(tuple(KINDS))}, not {shown(kind)}")
        return None
    settings, problems = structured(strict_converter(), values, shape_of(kind), {})
    for key, text in problems:
        wrong(f"{'.' if key else ''}{dotted(key)}: {text}")
    if settings is None:
        return None
    errors: list[str] = []
    means = Means(_secrets(settings, environ, errors), kafka if kind == "kafka" else None)
    for error in errors:
        wrong(f": {error}")
    return None if errors else FeedSource(kind, settings, means)


def _secrets(settings: Any, environ: Mapping[str, str], errors: list[str]) -> dict[str, str]:
    """What the variables hold that the settings name (or the files that `<NAME>_FILE` names)."""
    names: tuple[str, ...] = settings.variables() if hasattr(settings, "variables") else ()
    found = {name: secret(name, environ, errors) for name in names}
    errors += [f"environment: {name} is not set" for name, value in found.items() if not value]
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedSetup:
    """A feed and how it is followed. `whole_every_s` 0: as its transport does by itself."""

    feed: Feed
    source: FeedSource
    every_s: float
    jitter_s: float
    whole_every_s: int
    path: Path
