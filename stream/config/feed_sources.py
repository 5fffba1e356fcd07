"""`[from]` of a feed file: where its bytes come from, and what fetches them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from yarl import URL

from stream.feeds.transport import Transport
from stream.feeds.transports import (
    FileSettings,
    FileTransport,
    FolderSettings,
    FolderTransport,
    HttpSettings,
    HttpTransport,
    KafkaFeedSettings,
    KafkaTransport,
    MispFeedSettings,
    MispFeedTransport,
    TaxiiSettings,
    TaxiiTransport,
    TufSettings,
    TufTransport,
)
from stream.feeds.transports.http_get import shown as shown_url
from stream.kafka.connection_settings import KafkaSettings
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


def _kafka(settings: KafkaFeedSettings, means: Means) -> Transport:
    assert means.kafka is not None, "whoever read its table gave it"
    return KafkaTransport(settings, means.kafka())


Make = Callable[[Any, Means], Transport]
KINDS: Final[Mapping[str, tuple[type[Any], Make]]] = {
    "file": (FileSettings, lambda settings, _: FileTransport(settings)),
    "folder": (FolderSettings, lambda settings, _: FolderTransport(settings)),
    "http": (HttpSettings, lambda settings, means: HttpTransport(settings, means.secrets)),
    "kafka": (KafkaFeedSettings, _kafka),
    "misp-feed": (
        MispFeedSettings,
        lambda settings, means: MispFeedTransport(settings, means.secrets),
    ),
    "taxii": (TaxiiSettings, lambda settings, means: TaxiiTransport(settings, means.secrets)),
    "tuf": (TufSettings, lambda settings, means: TufTransport(settings, means.secrets)),
}
"""By `kind`: the settings that the table holds, and what makes the transport of them."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a feed's versions come from; `settings` are its transport's. It can be pickled."""

    kind: str
    settings: Any
    means: Means

    def transport(self) -> Transport:
        """What fetches them."""
        _, make = KINDS[self.kind]
        return make(self.settings, self.means)

    def __str__(self) -> str:
        """Where that is, without what may be a secret."""
        url = getattr(self.settings, "url", "")
        return shown_url(URL(url)) if url else place_of(self)


def place_of(source: Source) -> str:
    """Where a source's bytes come from, in a word: address, path or topic, and what of it."""
    names = ("url", "path", "topic", "collection", "targets", "pattern")
    return " ".join(str(value) for name in names if (value := getattr(source.settings, name, "")))


def source_of(
    table: Any, environ: Mapping[str, str], kafka: KafkaOf, wrong: Callable[[str], None]
) -> Source | None:
    """The source that a table describes; None after `wrong` was told each thing wrong with it."""
    if not isinstance(table, dict):
        wrong(": is missing: a table with kind = " + one_of(tuple(KINDS)))
        return None
    values = dict(table)
    kind = values.pop("kind", None)
    if not isinstance(kind, str) or kind not in KINDS:
        wrong(f".kind: must be {one_of(tuple(KINDS))}, not {shown(kind)}")
        return None
    shape, _ = KINDS[kind]
    settings, problems = structured(strict_converter(), values, shape, {})
    for key, text in problems:
        wrong(f"{'.' if key else ''}{dotted(key)}: {text}")
    if settings is None:
        return None
    errors: list[str] = []
    means = Means(_secrets(settings, environ, errors), kafka if kind == "kafka" else None)
    for error in errors:
        wrong(f": {error}")
    return None if errors else Source(kind, settings, means)


def _secrets(settings: Any, environ: Mapping[str, str], errors: list[str]) -> dict[str, str]:
    """What the variables hold that the settings name (or the files that `<NAME>_FILE` names)."""
    names: tuple[str, ...] = settings.variables() if hasattr(settings, "variables") else ()
    found = {name: secret(name, environ, errors) for name in names}
    errors += [f"environment: {name} is not set" for name, value in found.items() if not value]
    return found
