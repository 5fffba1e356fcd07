"""Ringfence's own change file: JSON lines that add and remove reports, whole or an increment.

    {"format": "ringfence-changes", "version": 1, "list": "KH/scam", "whole": false, "from": 7,
     "to": 9}
    {"op": "add", "number": "+85523900123", "category": "call_centre", "source": "desk", ...}
    {"op": "remove", "number": "+85523900124", "source": "desk"}
    {"op": "remove", "fingerprint": "00c6f1a2b3d4e5f6"}
    {"sha256": "...", "lines": 3}

An added line has the fields of `entry_fields.FIELDS`, times as RFC 3339. `from` and `to` are
generations of the list; `whole`: what is not in the file is not on the list. Where hashes alone are
shared, `fingerprint` (16 hex digits) replaces `number`. The last line has the count and the hash of
the lines before it, each with one line feed. A file that was cut or changed is refused as a whole.
"""

from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from itertools import chain, count
from typing import Literal

import msgspec
import numpy as np

from stream.core.model.entry import Columns, Entry, text_of
from stream.core.model.moments import rfc3339
from stream.feeds.formats.json_objects import BROKEN, as_text
from stream.feeds.formats.rows import Collector, InputUnreadable, Lines, Rows, Wrong
from stream.lists.snapshot.merge import VersionDiff

FORMAT = "ringfence-changes"
VERSION = 1

_HASHED = 'only a fingerprint: a list that is shared so is followed with format = "snapshot"'
_Value = str | int | float | None


class Header(msgspec.Struct, frozen=True, rename={"from_generation": "from"}):
    """The first line: the list, its generations, and whether the file is the whole list."""

    list: str
    whole: bool
    from_generation: int
    to: int
    format: str = FORMAT
    version: int = VERSION


class _End(msgspec.Struct):
    sha256: str
    lines: int


class _Change(msgspec.Struct):
    op: Literal["add", "remove"]
    number: str | int | None = None
    fingerprint: str | None = None
    category: str | None = None
    source: str | None = None
    reported_at: _Value = None
    expires_at: _Value = None
    confidence: _Value = None


def read_header(first: str) -> Header:
    """Decode the first line of a change file. Raises InputUnreadable."""
    try:
        header = msgspec.json.decode(first.encode("utf-8", "replace"), type=Header)
    except BROKEN as error:
        raise InputUnreadable(f"not a change file: its first line is no header: {error}") from error
    if header.format != FORMAT:
        raise InputUnreadable(f"not a change file: its format is {header.format[:40]!r}")
    if header.version != VERSION:
        raise InputUnreadable(
            f"a change file of version {header.version}, {VERSION} is known: update Ringfence here"
        )
    return header


def read(chunks: Callable[[], Iterable[Lines]]) -> Iterator[Rows]:
    """Yield the rows of a change file, after a check of its hash.

    Each call of `chunks` gives the lines from the beginning. Raises InputUnreadable.
    """
    # Twice through the file: no row may be used before the hash at its end was compared.
    last = proven(chunks())
    decode = msgspec.json.Decoder(_Change).decode
    rows, lines = Collector(), count(1)
    for chunk in chunks():
        for text in chunk:
            line = next(lines)
            if line in {1, last}:
                continue
            try:
                change = decode(text.encode("utf-8", "replace"))
            except BROKEN as error:
                rows.reject(line, Wrong.UNREADABLE, str(error), text)
                continue
            if change.number is None and change.fingerprint is not None:
                rows.reject(line, Wrong.NO_NUMBER, _HASHED, text)
                continue
            rows.add(
                line,
                text,
                as_text(change.number),
                category=change.category,
                source=change.source,
                reported_at=as_text(change.reported_at),
                expires_at=as_text(change.expires_at),
                confidence=as_text(change.confidence),
                removed=change.op == "remove",
            )
        yield from rows.drain()
    yield from rows.rest()


def proven(chunks: Iterable[Lines]) -> int:
    """Check the hash in the last line, and return its line number. Raises InputUnreadable."""
    digest, line, last = sha256(), 0, ""
    for chunk in chunks:
        for text in chunk:
            if not text:
                raise InputUnreadable(f"line {line + 1} is empty: the file was changed on its way")
            if line == 0:
                read_header(text)
            else:
                digest.update(last.encode("utf-8", "surrogateescape") + b"\n")
            line, last = line + 1, text
    if not line:
        raise InputUnreadable("the file is empty")
    try:
        end = msgspec.json.decode(last.encode("utf-8", "replace"), type=_End)
    except BROKEN as error:
        raise InputUnreadable(
            "its last line is not that of a change file: the file was cut; fetch it again"
        ) from error
    if (end.lines, end.sha256) != (line - 1, digest.hexdigest()):
        raise InputUnreadable(
            f"its last line speaks of {end.lines} lines with another hash than the {line - 1} here "
            "have: the file was changed or cut; fetch it again"
        )
    return line


def write(
    header: Header, added: Iterable[Entry], removed: Iterable[tuple[str, str | None]]
) -> Iterator[str]:
    """Yield the lines of a change file, line feeds included.

    `removed` has numbers with the source of the report, None: all reports. An entry that is a
    fingerprint alone cannot be named and is left out.
    """
    listed = (
        {"op": "add", "number": entry.number, **fields_of(entry)}
        for entry in added
        if entry.number is not None
    )
    gone = ({"op": "remove", "number": number, "source": source} for number, source in removed)
    yield from lined(chain([header], listed, gone))


def lined(values: Iterable[object]) -> Iterator[str]:
    """Yield the lines of a change file: `values`, which begin with a header, and the end line."""
    digest, lines = sha256(), count()
    for value in values:
        line = _line(value)
        next(lines)
        digest.update(line.encode())
        yield line
    yield _line(_End(digest.hexdigest(), next(lines)))


def fields_of(entry: Entry) -> dict[str, str | int | None]:
    """Return the fields of an added line, but for its number."""
    return {
        "category": entry.category.label,
        "source": entry.source,
        "reported_at": rfc3339(entry.reported_at_s),
        "expires_at": rfc3339(entry.expires_at_s),
        "confidence": entry.confidence,
    }


def _line(value: object) -> str:
    return msgspec.json.encode(value).decode() + "\n"


def whole_list(name: str, generation: int, columns: Columns) -> Iterator[str]:
    """Yield the lines of a change file with all reports of a list at a generation."""
    header = Header(name, whole=True, from_generation=0, to=generation)
    return write(header, _entries(columns, range(len(columns))), ())


def increment(name: str, old: int, new: int, found: VersionDiff) -> Iterator[str]:
    """Yield the lines of a change file from generation `old` of a list to `new`."""
    header = Header(name, whole=False, from_generation=old, to=new)
    listed = np.concatenate([found.added, found.changed[1]]).tolist()
    was = found.old
    removed = (
        (text, was.sources[int(was.source[row])])
        for row in found.removed.tolist()
        if (text := text_of(int(was.number[row]))) is not None
    )
    return write(header, _entries(found.new, listed), removed)


def _entries(columns: Columns, rows: Iterable[int]) -> Iterator[Entry]:
    return (columns.entry(row) for row in rows)
