"""Changes to a published list: for each changed number, all reports that hold from then on.

A change file in which each number is first removed and then added with its reports. So files can be
combined number by number, and reading one twice does no harm.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream.core.filters.overlay import Change
from stream.core.filters.snapshot import COLUMNS
from stream.core.model.entry import Category, code_of
from stream.feeds.diff import REMOVED
from stream.feeds.formats.change_file import Header, fields_of, lined, proven, read_header
from stream.feeds.formats.json_objects import BROKEN
from stream.feeds.formats.rows import InputUnreadable, Lines, RejectedRow, Wrong

_ORIGINAL_CHARS = 200


class _State(msgspec.Struct, frozen=True, omit_defaults=True):
    op: Literal["add", "remove"]
    number: str | None = None
    fingerprint: str | None = None
    category: str = Category.OTHER.label
    source: str = ""
    reported_at: datetime | None = None
    expires_at: datetime | None = None
    confidence: int = 100

    @property
    def key(self) -> str:
        return self.number or self.fingerprint or ""


@dataclass(frozen=True, slots=True)
class StateRows:
    """Rows of a change file, as arrays by the names of `Columns`. `source` indexes `sources`.

    Either `number` or `fingerprint` is 0. A row with the category `REMOVED` removes all reports of
    its number.
    """

    arrays: dict[str, NDArray[Any]]
    sources: tuple[str, ...]
    rejected: list[RejectedRow]


def states(
    name: str, begin: int, end: int, changes: Iterable[Change], *, numbers: bool
) -> Iterator[str]:
    """Yield the lines of a change file of list `name`, with `numbers` or with their hashes.

    Prefix entries stay as they are: they cover a range of a numbering plan, and a hash of one would
    match nothing.
    """
    header = Header(name, whole=False, from_generation=begin, to=end)
    return lined(chain([header], _values(changes, numbers=numbers)))


def _values(changes: Iterable[Change], *, numbers: bool) -> Iterator[object]:
    for change in changes:
        named: dict[str, Any] = {"fingerprint": f"{change.fingerprint:016x}"}
        text = change.entries[0].number if change.entries else None
        if text is not None and (numbers or text.endswith("*")):
            named = {"number": text}
        # The hash alone removes: a reader that has the number finds it by its hash, too.
        yield {"op": "remove", "fingerprint": f"{change.fingerprint:016x}"}
        for entry in change.entries:
            yield {"op": "add", **named, **fields_of(entry)}


def combined(files: Sequence[bytes], name: str) -> bytes:
    """Return consecutive change files as one: for each number the state in the last of them.

    Raises InputUnreadable.
    """
    blocks: dict[str, list[str]] = {}
    begin = end = 0
    for place, data in enumerate(files):
        lines = data.decode("utf-8", "replace").removesuffix("\n").split("\n")
        header, last = _checked(lines, name)
        begin, end = (header.from_generation if not place else begin), header.to
        current: list[str] = []
        for line in lines[1 : last - 1]:
            try:
                state = msgspec.json.decode(line, type=_State)
            except BROKEN as error:
                raise InputUnreadable(f"a change file has an unreadable line: {error}") from error
            if state.op == "remove":
                current = []
                blocks.pop(state.key, None)  # its place is where it was changed last
                blocks[state.key] = current
            current.append(line)
    header = Header(name, whole=False, from_generation=begin, to=end)
    raw = (msgspec.Raw(line.encode()) for block in blocks.values() for line in block)
    return "".join(lined(chain([header], raw))).encode()


def _checked(lines: list[str], name: str) -> tuple[Header, int]:
    last = proven([lines])
    header = read_header(lines[0])
    if header.list != name:
        raise InputUnreadable(f"a change file of list {header.list[:80]!r}, not of {name}")
    return header, last


_decode = msgspec.json.Decoder(_State).decode


def read(chunks: Callable[[], Iterable[Lines]]) -> StateRows:
    """Return the rows of a change file, after a check of its hash. Raises InputUnreadable."""
    last = proven(chunks())
    rows: list[tuple[int, ...]] = []
    sources: dict[str, int] = {}
    rejected: list[RejectedRow] = []
    for line, text in enumerate(chain.from_iterable(chunks()), 1):
        if line in {1, last}:
            continue
        row = _row(line, text, sources)
        if isinstance(row, RejectedRow):
            rejected.append(row)
        else:
            rows.append(row)
    columns = list(zip(*rows, strict=True)) or [()] * len(COLUMNS)
    arrays = {
        # A file may name more sources than a column of two bytes has places for.
        column.name: np.array(values, np.int64 if column.name == "source" else column.dtype)
        for column, values in zip(COLUMNS, columns, strict=True)
    }
    return StateRows(arrays, tuple(sources), rejected)


def _row(line: int, text: str, sources: dict[str, int]) -> tuple[int, ...] | RejectedRow:
    """Return a row in the order of `COLUMNS`, or why it cannot be used."""

    def rejected(why: Wrong, detail: str) -> RejectedRow:
        return RejectedRow(line, why, detail, text[:_ORIGINAL_CHARS])

    try:
        state = _decode(text.encode("utf-8", "replace"))
        number = code_of(state.number) if state.number is not None else 0
        fingerprint = int(state.fingerprint or "0", 16)
    except BROKEN as error:
        return rejected(Wrong.UNREADABLE, str(error))
    except ValueError as error:
        return rejected(Wrong.NOT_A_NUMBER, str(error))
    if not number and not 0 < fingerprint < 2**64:
        return rejected(Wrong.NO_NUMBER, "")
    if not 0 <= state.confidence <= 100:
        return rejected(Wrong.BAD_CONFIDENCE, str(state.confidence))
    # A later version may know more categories than this one.
    category = Category.__members__.get(state.category.upper(), Category.OTHER)
    return (
        0 if number else fingerprint,
        number,
        _seconds(state.reported_at),
        _seconds(state.expires_at),
        REMOVED if state.op == "remove" else int(category),
        state.confidence,
        sources.setdefault(state.source, len(sources)),
    )


def _seconds(moment: datetime | None) -> int:
    return min(max(int(moment.timestamp()), 0), 2**32 - 1) if moment is not None else 0
