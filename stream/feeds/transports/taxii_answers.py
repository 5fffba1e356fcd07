"""Decode the answers of a TAXII 2.1 server, as far as needed, and its times. Pure."""

from datetime import UTC, datetime, timedelta
from functools import total_ordering
from typing import Any, Self, TypeVar

import msgspec

from stream.core.model.errors import FeedDown, FeedFault

MEDIA_TYPE = "application/taxii+json;version=2.1"
DATE_ADDED_LAST = "X-TAXII-Date-Added-Last"
TICK = timedelta(microseconds=1)
"""`added_after` is exclusive, so one tick less asks for the same moment again."""

T = TypeVar("T")


class Envelope(msgspec.Struct):
    """A page of objects, each as it came."""

    more: bool = False
    next: str | None = None
    objects: list[msgspec.Raw] = []


class Discovery(msgspec.Struct):
    """The API roots of a server; of a root's own answer nothing is used."""

    api_roots: list[str] = []
    default: str = ""

    def in_order(self) -> list[str]:
        """Return the default API root first."""
        return sorted(set(self.api_roots), key=lambda root: (root != self.default, root))


class Collection(msgspec.Struct):
    """One collection."""

    id: str
    title: str = ""
    alias: str = ""
    can_read: bool = True


class Collections(msgspec.Struct):
    """Those of an API root."""

    collections: list[Collection] = []


def decoded(data: bytes, kind: type[T], origin: str) -> T:
    """Return an answer as a `kind`. Raises FeedDown(PROTOCOL)."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (ValueError, RecursionError) as error:
        text = f"{origin} does not answer as TAXII 2.1 has it ({type(error).__name__})"
        raise FeedDown(FeedFault.PROTOCOL, text) from error


def check_type(content_type: str, origin: str) -> None:
    """Raises FeedDown(PROTOCOL) for what other versions and other servers answer."""
    name, _, rest = content_type.lower().replace(" ", "").partition(";")
    if name != "application/taxii+json" or (rest and "version=2.1" not in rest):
        text = f'{origin} speaks no TAXII 2.1: its Content-Type is "{content_type[:80]}"'
        raise FeedDown(FeedFault.PROTOCOL, text)


@total_ordering
class Moment:
    """A point in time as TAXII writes it: RFC 3339 in UTC, to the microsecond."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    @classmethod
    def parsed(cls, text: str | None) -> Self | None:
        """None where it is none."""
        try:
            at = datetime.fromisoformat((text or "").strip())
            return cls(at.replace(tzinfo=at.tzinfo or UTC).astimezone(UTC))
        except (ValueError, OverflowError):
            return None

    def less(self, by: timedelta) -> "Moment":
        """Return a moment before, not before year 1."""
        start = datetime.min.replace(tzinfo=UTC)
        return Moment(self.at - by if self.at - start > by else start)

    def __str__(self) -> str:
        return self.at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Moment) and self.at == other.at

    def __lt__(self, other: Any) -> bool:
        return bool(self.at < other.at)

    def __hash__(self) -> int:
        return hash(self.at)
