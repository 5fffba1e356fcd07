"""Stored records that cannot be read back: skipped, counted, and logged once each.

One malformed value in Redis must not end the process that reads it, nor hide the good ones. Records
are read in many rooms, so the count belongs to the process: passing it through each constructor
would put it into forty signatures. The price: two registries in one process (only tests have that)
count into the newer one.
"""

import logging
import re
from collections import OrderedDict
from collections.abc import Callable
from enum import StrEnum
from typing import Final, NamedTuple, TypeVar

from stream import __version__

log = logging.getLogger(__name__)

T = TypeVar("T")

_LOGGED_MAX: Final = 1000
"""Records remembered as logged; a flood of others is counted all the same."""


class StoredKind(StrEnum):
    """Kind of a stored record: a closed list, each is a metric label."""

    CHANGES = "changes"
    """An entry of the change stream, `rf:changes`."""
    PAST = "past"
    """A packed piece of it, `rf:past`."""
    HEAD = "head"
    """A list's head, or the allowlist's."""
    CHANGED = "changed"
    """A list's change since its base."""
    ALLOW = "allow"
    """An entry of the allowlist. Its number stays allowed: the key says which it is."""
    TRIALS = "trials"
    """A promotion or demotion. What was known of it stays; else it counts as on trial."""
    FEED = "feed"
    """The state of a feed."""
    ENFORCEMENT = "enforcement"
    """A count, a sighting or a document of enforcement."""
    APPEAL = "appeal"
    """An appeal. It stays where it is, and waits for a person."""
    DECISION = "decision"
    """A decision that is kept by its id."""
    ANSWER = "answer"
    """An answer that is kept by its Idempotency-Key: the request is worked on again."""
    SESSION = "session"
    """A person's session at the page: signed out."""


class Skipped(NamedTuple):
    """One record that was skipped.

    `where` is its key and its id or field, without a whole number; `why` what is wrong with it.
    `version` is the Ringfence that wrote it, "" where the record does not say.
    """

    place: StoredKind
    where: str
    why: str
    list_name: str = ""
    version: str = ""

    def __str__(self) -> str:
        told = f"{self.where}: skipped, {self.why}"
        if is_newer(self.version):
            told += f". Ringfence {self.version} wrote it, here is {__version__}: update this one"
        return told


def is_newer(version: str) -> bool:
    """Return whether that version of Ringfence is newer than this one."""
    return _numbers(version) > _numbers(__version__)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d{1,9}", version[:40])[:3])


class _Skips:
    """The count of this process."""

    def __init__(self) -> None:
        self.count: Callable[[StoredKind], None] | None = None
        self._logged: OrderedDict[str, None] = OrderedDict()

    def add(self, one: Skipped) -> None:
        if self.count is not None:
            self.count(one.place)
        text = str(one)
        if text in self._logged:
            self._logged.move_to_end(text)
            return
        self._logged[text] = None
        if len(self._logged) > _LOGGED_MAX:
            self._logged.popitem(last=False)
        extra = {"list": one.list_name} if one.list_name else {}
        log.warning("%s", text, extra=extra)


_SKIPS: Final = _Skips()


def skip(one: Skipped) -> None:
    """Count a record that was skipped, and log it the first time."""
    _SKIPS.add(one)


def count_with(count: Callable[[StoredKind], None]) -> None:
    """Count what this process skips with `count` from now on.

    A command counts nothing: it does not load the metrics' library for that.
    """
    _SKIPS.count = count


def kept(found: T | Skipped) -> T | None:
    """Return what was found; None: it was skipped, and is counted."""
    if isinstance(found, Skipped):
        skip(found)
        return None
    return found
