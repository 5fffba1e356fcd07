"""Find the wanted cells of CSV records; each record is checked to the last byte. Compiled.

The scan reads one line like Python's csv module with `strict`. Records that it cannot vouch for go
to the fallback decoder, whose result is final. They have cells that must be rewritten to be read,
or times and ids in an unusual form.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.core.kernels.jit import (
    I64,
    U8,
    inlined,
    kernel,
    part,
    reads,
    trailing_zeros,
    types,
    writes,
)
from stream.core.kernels.json_fields import FOUND, FoundFields, forget, name_at
from stream.core.kernels.json_parts import NOWHERE, QUOTE, Data, character_size
from stream.core.kernels.vectors import equal64, item, unusual64
from stream.core.model.byte_strings import Texts

CELLS_MAX = 128
"""Cells of a record; a record with more goes to the fallback decoder."""

_BLOCK = 64
_SPACE, _COMMA, _DOT, _DASH, _ESCAPE = b" ,.-\\"
_BRACKET = ord("{")
"""With bit 32 set, `[` becomes this one too."""
_DATE_SIZE = 10


class CellPlan(NamedTuple):
    """Columns that a dialect wants, and the content that some of them must have.

    `columns` int64[fields]: the column of each field, -1 for none; the first is the call's id. A
    record has at least `columns_min` columns. `started_at` is a date or an epoch; `sure` is one of
    `words` uint8[n * 64], of `word_sizes` int64[n]. An id has at least `id_bytes_min` bytes, no
    space and a digit. With `linked_from` columns or more (0: never), the last column but one is the
    id. If it is empty, and in shorter records, the id is a time and a sequence.
    """

    columns: NDArray[np.int64]
    words: NDArray[np.uint8]
    word_sizes: NDArray[np.int64]
    columns_min: int
    started_at: int
    sure: int
    id_bytes_min: int
    linked_from: int


class _Cells(NamedTuple):
    """Cells of the last record, int64; size -1 marks a cell that must be rewritten."""

    starts: NDArray[np.int64]
    sizes: NDArray[np.int64]


_named: Any = types.NamedTuple  # untyped
_PLAN = _named((writes(I64), writes(U8), writes(I64), I64, I64, I64, I64, I64), CellPlan)
_named_alike: Any = types.NamedUniTuple
_CELLS = _named_alike(writes(I64), 2, _Cells)


@part
def _cut(data: Data, at: int, end: int, cells: _Cells) -> int:
    """Split a record into cells. Return how many it has, or `NOWHERE` if the record is odd."""
    count = 0
    while count < CELLS_MAX:
        quoted = at < end and item(data, at) == QUOTE
        at += quoted
        start, plain = at, True
        while at < end:
            special = unusual64(data, at)
            if not quoted:
                special |= equal64(data, at, _COMMA)
            at = min(at + trailing_zeros(special), end)
            if special == 0 or at == end:
                continue
            byte = item(data, at)
            if byte == QUOTE and quoted:
                if at + 1 >= end or item(data, at + 1) != QUOTE:
                    break
                at += 2
            elif byte >= 128:
                size = character_size(data, at)
                if size == 0 or at + size > end:
                    return NOWHERE
                at += size
            elif byte == _ESCAPE:
                at += 1
            elif byte == _COMMA:
                break
            else:
                return NOWHERE
            plain = False
        if quoted and at == end:
            return NOWHERE
        cells.starts[count] = start
        cells.sizes[count] = at - start if plain else NOWHERE
        count += 1
        at += quoted
        if at < end and item(data, at) != _COMMA:
            return NOWHERE
        if at == end:
            return count
        at += 1
    return NOWHERE


@inlined
def _is_digit(data: Data, at: int) -> bool:
    byte: int = item(data, at)
    return 48 <= byte <= 57


@part
def _digits(data: Data, at: int, end: int) -> int:
    """Count the digits from `at` on."""
    first = at
    while at < end and _is_digit(data, at):
        at += 1
    return at - first


@part
def _is_time(data: Data, at: int, size: int) -> bool:
    """Report whether the cell begins with a date with dashes, or is an epoch in digits."""
    first: int = _digits(data, at, at + max(size, 0))
    if first == size:
        return 9 <= first <= 17
    if size < _DATE_SIZE or first != 4 or item(data, at + 4) != _DASH:
        return False
    month, day = _digits(data, at + 5, at + 7), _digits(data, at + 8, at + 10)
    good: bool = month == 2 and day == 2 and item(data, at + 7) == _DASH
    return good


@part
def _is_unique(data: Data, at: int, size: int) -> bool:
    """Report whether the cell is a time and a sequence, with or without the machine's name.

    Examples: `1795593723.42`, `bkk-1795593723.42`.
    """
    end = at + size
    for place in range(end - 1, at, -1):
        if item(data, place) == _DASH:
            at = place + 1
            break
    whole = _digits(data, at, end)
    if whole == 0 or at + whole >= end or item(data, at + whole) != _DOT:
        return False
    rest: int = _digits(data, at + whole + 1, end)
    return rest > 0 and at + whole + 1 + rest == end


@part
def _is_id(data: Data, at: int, size: int, plan: CellPlan) -> bool:
    """Report whether the cell is certainly a call's id."""
    digits, spaces = 0, 0
    for place in range(at, at + size):
        digits += _is_digit(data, place)
        spaces += item(data, place) == _SPACE
    return size >= plan.id_bytes_min and digits > 0 and spaces == 0


@part
def _id_column(data: Data, count: int, cells: _Cells, plan: CellPlan) -> int:
    """Return the column of the call's id, or `NOWHERE` if that is uncertain."""
    column: int = plan.columns[0]
    if 0 < plan.linked_from <= count and item(cells.sizes, count - 2) != 0:
        column = count - 2
    elif column >= count or (
        plan.linked_from > 0 and not _is_unique(data, cells.starts[column], cells.sizes[column])
    ):
        return NOWHERE
    good = _is_id(data, cells.starts[column], cells.sizes[column], plan)
    return column if good else NOWHERE


@part
def _note(
    data: Data, row: int, count: int, cells: _Cells, plan: CellPlan, found: FoundFields
) -> bool:
    """Note the fields of a record. Return False if the scan cannot vouch for it."""
    starts, sizes = cells.starts, cells.sizes
    if count < plan.columns_min:
        return False
    time, sure = plan.started_at, plan.sure
    if not _is_time(data, starts[time], sizes[time]):
        return False
    if name_at(data, starts[sure], sizes[sure], plan.words, plan.word_sizes) == NOWHERE:
        return False
    id_column = _id_column(data, count, cells, plan)
    if id_column == NOWHERE:
        return False
    for field in range(len(plan.columns)):
        column = id_column if field == 0 else plan.columns[field]
        if column >= 0:
            size = sizes[column]
            if size < 0:
                return False
            found.starts[field, row] = starts[column]
            # An empty cell counts as absent.
            found.sizes[field, row] = size if size > 0 else -1
    return True


@part
def _brackets(data: Data, at: int, end: int) -> int:
    count = 0
    for place in range(at, end):
        count += item(data, place) | 32 == _BRACKET
    return count


@kernel(
    I64(reads(U8), reads(I64), reads(I64), I64, I64, _PLAN, I64, I64, FOUND, _CELLS), counted=False
)
def _scan(
    data: Data,
    starts: NDArray[np.int64],
    sizes: NDArray[np.int64],
    first: int,
    last: int,
    plan: CellPlan,
    record_max: int,
    depth_max: int,
    found: FoundFields,
    cells: _Cells,
) -> int:
    """See `scan_cells`."""
    odd = 0
    for row in range(first, last):
        at, size = item(starts, row), item(sizes, row)
        end = at + size
        good = False
        if 0 < size <= record_max and (
            size <= 2 * depth_max or _brackets(data, at, end) <= depth_max
        ):
            # The line end belongs to no cell.
            end -= item(data, end - 1) == 10
            end -= end > at and item(data, end - 1) == 13
            count = _cut(data, at, end, cells) if end > at else NOWHERE
            good = count != NOWHERE and _note(data, row, count, cells, plan, found)
        if not good:
            forget(found, row)
            odd += 1
        found.odd[row] = not good
    return odd


def scan_cells(
    texts: Texts,
    first: int,
    last: int,
    plan: CellPlan,
    record_max: int,
    depth_max: int,
    found: FoundFields,
) -> int:
    """Find the fields of the records `first` to `last` of `texts`. Return how many are odd.

    A good record is one line of CSV in UTF-8, of at most `record_max` bytes and `depth_max` opening
    brackets. The plan can tell it from any other record. Its fields are ASCII characters from the
    space on, without quotation marks and escapes. An odd record may be anything; its fields are -1.
    """
    cells = _Cells(*np.zeros((2, CELLS_MAX), np.int64))
    odd: int = _scan(
        texts.data, np.ascontiguousarray(texts.starts), np.ascontiguousarray(texts.sizes),
        first, last, plan, record_max, depth_max, found, cells,
    )  # fmt: skip
    return odd
