"""`[from]` of a feed file: the source of its bytes, and the transport that fetches them."""

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
from stream.ops.renewed_secret import Secret, SecretValues, held
from stream.ops.schema.toml import dotted, one_of, plain_converter, secret, shown, structured

KafkaOf = Callable[[], KafkaSettings]


KINDS: Final[Mapping[str, tuple[str, str, str]]] = {
    "file": ("file", "FileSettings", "FileTransport"),
    "folder": ("folder", "DropFolderSettings", "FolderTransport"),
    "http": ("http_file", "HttpSettings", "HttpTransport"),
    "kafka": ("kafka_topic", "KafkaFeedSettings", "KafkaTransport"),
    "misp-feed": ("misp_feed", "MispFeedSettings", "MispFeedTransport"),
    "push": ("file", "PushSettings", "PushTransport"),
    "s3": ("remote_file", "S3FeedSettings", "S3Transport"),
    "sftp": ("remote_file", "SftpFeedSettings", "SftpTransport"),
    "taxii": ("taxii", "TaxiiSettings", "TaxiiTransport"),
    "tuf": ("tuf", "TufSettings", "TufTransport"),
}
"""By `kind`: a module of `stream.feeds.transports`, its settings and its transport.

Loaded by name, for a feed of that kind only. Together they import aiohttp, tuf and aiokafka: half a
second of CPU that `ringfence lists` and `why` do not have.
"""


def modules() -> list[str]:
    """Return the modules of all transports, for a process that loads them before it forks."""
    return [f"stream.feeds.transports.{module}" for module, _, _ in KINDS.values()]


def shape_of(kind: str) -> type[Any]:
    """Return the class of settings of a `[from]` table of this kind."""
    module, settings, _ = KINDS[kind]
    return _named(module, settings)


def _named(module: str, name: str) -> type[Any]:
    found: type[Any] = getattr(import_module(f"stream.feeds.transports.{module}"), name)
    return found


@dataclass(frozen=True, slots=True)
class FeedSource:
    """The source of a feed's versions; `settings` are its transport's. It can be pickled.

    `secrets` are the values of the variables that the settings name. `kafka` gives the settings of
    Kafka, for a transport that needs it. It is called where the transport is made: a TLS context
    cannot go to another process.
    """

    kind: str
    settings: Any
    secrets: Mapping[str, str] = field(repr=False)
    kafka: KafkaOf | None

    def transport(self) -> Transport:
        """Return a new transport of this source."""
        module, _, name = KINDS[self.kind]
        make = _named(module, name)
        made: Transport
        if self.kind in ("file", "folder", "push"):
            made = make(self.settings)
        elif self.kind == "kafka":
            assert self.kafka is not None, "source_of gave it"
            made = make(self.settings, self.kafka())
        else:
            made = make(self.settings, self.secrets)
        return made

    @property
    def is_pushed(self) -> bool:
        """True if its versions are handed in: nothing is fetched."""
        return self.kind == "push"

    def of_file(self, path: Path) -> "FeedSource":
        """Return the source of one file that was handed in."""
        return FeedSource("file", self.settings.of_file(path), {}, None)

    def __str__(self) -> str:
        """Return its place, without secrets."""
        url = getattr(self.settings, "url", "")
        return shown_url(URL(url)) if url else place_of(self)


def place_of(source: FeedSource) -> str:
    """Return the place of a source in short: address, path or topic, and what of it."""
    names = ("url", "path", "topic", "collection", "targets", "pattern")
    return " ".join(str(value) for name in names if (value := getattr(source.settings, name, "")))


def source_of(
    table: Any, environ: Mapping[str, str], kafka: KafkaOf, wrong: Callable[[str], None]
) -> FeedSource | None:
    """Return the source that a table describes; None, after `wrong` got each of its faults."""
    if not isinstance(table, dict):
        wrong(": is missing: a table with kind = " + one_of(tuple(KINDS)))
        return None
    values = dict(table)
    kind = values.pop("kind", None)
    if not isinstance(kind, str) or kind not in KINDS:
        wrong(f".kind: must be {one_of(tuple(KINDS))}, not {shown(kind)}")
        return None
    settings, problems = structured(plain_converter(), values, shape_of(kind), {})
    for key, text in problems:
        wrong(f"{'.' if key else ''}{dotted(key)}: {text}")
    if settings is None:
        return None
    errors: list[str] = []
    secrets = _secrets(settings, environ, errors)
    for error in errors:
        wrong(f": {error}")
    return (
        None if errors else FeedSource(kind, settings, secrets, kafka if kind == "kafka" else None)
    )


def _secrets(settings: Any, environ: Mapping[str, str], errors: list[str]) -> SecretValues:
    """Return the values of the variables that the settings name (or of `<NAME>_FILE`)."""
    names: tuple[str, ...] = settings.variables() if hasattr(settings, "variables") else ()
    found = {name: secret(name, environ, errors) for name in names}
    errors += [f"environment: {name} is not set" for name, value in found.items() if not value]
    kept: dict[str, Secret] = {name: held(name, environ, one, str) for name, one in found.items()}
    return SecretValues(kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedSetup:
    """A feed and its schedule. `whole_every_s` 0: the transport's default."""

    feed: Feed
    source: FeedSource
    every_s: float
    jitter_s: float
    whole_every_s: int
    path: Path
