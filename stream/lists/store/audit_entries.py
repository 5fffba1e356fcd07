"""The audit's entries and their chain: what was written, and whether it is still what was written.

Pure. Every entry has a number, the hash of the entry before and its own hash, which covers both
that and all its fields. The list store's scripts write them (`list_lua.py`). An entry that was
changed, removed, inserted or moved breaks the chain at its place. One that was cut off at the end
is missing against the head. An attacker who can write both the whole stream and the head can write
another history: a head noted elsewhere reveals that too.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import msgspec

from stream.core.model.errors import UNREADABLE

FIELDS = (
    *(b"number", b"at_s", b"actor", b"reason", b"list", b"op", b"generation", b"detail", b"count"),
)
"""The fields that an entry's hash covers, in this order, after the hash of the entry before."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """An action on a list (`list_name` "": the allowlist): actor, operation, time and reason.

    `number` counts all entries from 1; `count` are the numbers on the list after it. Both are 0 in
    an entry from before entries were chained.
    """

    id: str
    number: int
    at_s: int
    actor: str
    reason: str
    list_name: str
    op: str
    generation: int
    detail: str
    count: int
    hash: str

    @classmethod
    def of(cls, identity: str, fields: Mapping[bytes, bytes]) -> Self:
        """Return the entry in an item of the stream; what cannot be read in it is 0 or empty."""

        def text(name: bytes) -> str:
            return fields.get(name, b"").decode(errors="replace")

        def whole(name: bytes) -> int:
            return int(value) if (value := fields.get(name, b"")).isdigit() else 0

        return cls(
            id=identity,
            number=whole(b"number"),
            at_s=whole(b"at_s"),
            actor=text(b"actor"),
            reason=text(b"reason"),
            list_name=text(b"list"),
            op=text(b"op"),
            generation=whole(b"generation"),
            detail=text(b"detail"),
            count=whole(b"count"),
            hash=text(b"hash"),
        )


@dataclass(frozen=True, slots=True)
class AuditHead:
    """The end of the audit: entries written in all, the hash of the last, and its id.

    `last_id` is read from the stream itself, at the same moment.
    """

    count: int
    hash: str
    id: str
    last_id: str


def hash_of(before: bytes, fields: Mapping[bytes, bytes]) -> str:
    """Return an entry's hash: SHA-1 over the one before and each field with its length."""
    values = [fields.get(name, b"") for name in FIELDS]
    text = b"\n".join([before, *(b"%d:%s" % (len(value), value) for value in values)])
    return hashlib.sha1(text, usedforsecurity=False).hexdigest()


@dataclass(frozen=True, slots=True)
class AuditFault:
    """Something that is wrong with the audit: at which entry (its number, or its id), and what."""

    where: str
    what: str


@dataclass(slots=True)
class Verification:
    """Takes all entries from the oldest to the newest, and says what is wrong with them.

    `kept_max` is how many entries the list store keeps before it cuts old ones off. `noted` is a
    hash that was noted elsewhere, "" for none.
    """

    head: AuditHead
    kept_max: int
    noted: str = ""
    troubles: list[AuditFault] = field(default_factory=list)
    first: int = 0
    last: int = 0
    unchained: int = 0
    noted_at: int = 0
    _hash: str = ""
    _oldest_before: str = ""

    @property
    def cut_off(self) -> bool:
        """True if so many are kept that the oldest may have been cut off by design."""
        return self.first > 1 and self.last - self.first + 1 >= self.kept_max

    def take(self, identity: str, fields: Mapping[bytes, bytes]) -> None:
        """Check the next entry."""
        # Millions of entries: only what the chain needs is looked at.
        text = fields.get(b"number", b"")
        number = int(text) if text.isdigit() else 0
        if not number:
            if self.last:
                self._wrong(identity, "an entry without a number: the list store did not write it")
            self.unchained += 1
            return
        before = fields.get(b"before", b"")
        was, hashed = _text(before), _text(fields.get(b"hash", b""))
        wrong = ""
        if hash_of(before, fields) != hashed:
            wrong = "was changed: its fields do not give its hash"
        elif self.last and number <= self.last:
            wrong = f"stands after entry {self.last}: entries were moved or repeated"
        elif self.last and number > self.last + 1:
            wrong = f"follows entry {self.last}: {_missing(self.last, number)}"
        elif self.last and was != self._hash:
            wrong = "does not follow the entry before: that one is another than it was"
        if wrong:
            self._wrong(f"entry {number}", wrong)
        if not self.first:
            self.first, self._oldest_before = number, was
        self.last, self._hash = number, hashed
        if self.noted == hashed:
            self.noted_at = number

    def finish(self) -> None:
        """Check the ends, after the newest entry."""
        head = self.head
        if self.first > 1 and not self.cut_off:
            self._wrong(
                f"entry {self.first}",
                f"is the oldest, {_missing(0, self.first)}: the list store cuts none off before "
                f"there are {self.kept_max:,}",
            )
        if self.first == 1 and self._oldest_before:
            self._wrong("entry 1", "says that one came before it")
        if self.last < head.count:
            self._wrong("the end", f"{_missing(self.last, head.count + 1)}: cut off at the end")
        elif self.last > head.count:
            self._wrong("the end", f"the head knows {head.count} entries, there are {self.last}")
        elif self._hash != head.hash:
            self._wrong("the end", "the last entry is not the one that the head names")
        if self.noted and not self.noted_at:
            self._wrong(
                "the noted head",
                f"no kept entry has the hash {self.noted}: the history was rewritten, or the entry "
                "is older than those that are kept",
            )

    def _wrong(self, where: str, what: str) -> None:
        self.troubles.append(AuditFault(where, what))


def _missing(before: int, after: int) -> str:
    first, last = before + 1, after - 1
    return (
        f"entry {first} is missing" if first == last else f"entries {first} to {last} are missing"
    )


def _text(value: bytes) -> str:
    return value.decode(errors="replace")


FEED_FORGOTTEN = "feed_forgotten"
"""The audit's word for a feed whose state was deleted."""


def told_of_version(detail: str) -> str:
    """Return the detail of a feed's version for people; another text stays as it is."""
    try:
        said = msgspec.json.decode(detail, type=_Told)
    except UNREADABLE:
        return detail
    words = [f"version {said.version}"] if said.version else []
    if said.gained or said.lost or said.updated:
        words.append(f"+{said.gained:,} -{said.lost:,} numbers, {said.updated:,} updated")
    return "; ".join([*words, *said.findings])


class _Told(msgspec.Struct, frozen=True):
    """The parts of a detail that people read."""

    version: str = ""
    gained: int = 0
    lost: int = 0
    updated: int = 0
    findings: tuple[str, ...] = ()
