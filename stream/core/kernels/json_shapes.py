"""Shapes of JSON records: everything that stands between their values. For kernels.

A switch writes its records alike: the same keys in the same order. A record with the shape of one
that was read step by step is valid if each of its values is valid. So it is enough to compare the
text between the values, 64 bytes at a time, and to check the values.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.core.kernels.jit import I64, U8, U64, inlined, part, types, writes
from stream.core.kernels.json_fields import FieldPlan, FoundFields, value_end
from stream.core.kernels.json_parts import NOWHERE, Data
from stream.core.kernels.vectors import differing64, guessed, item

SHAPES = 4
"""Shapes that are kept; they are tried in turn, first the one that matched last."""
PIECES = 64
"""Pieces of a shape: 4 KiB of keys and punctuation, more than any dialect's records have. A record
with more is read step by step each time."""

_BLOCK = 64
_NO_VALUE = -2


class Shapes(NamedTuple):
    """Shapes in pieces of up to 64 bytes; shape k has the pieces `PIECES * k` to `lasts[k]`.

    `texts` uint8: 64 bytes a piece, of which the first `sizes` int64 count; `masks` uint64 marks
    the same bytes. `fields` int64 is what follows a piece: a field, a value that is not wanted (-1)
    or the next piece. `lengths` int64: the size of that value in the last record. The last piece
    ends the record. `order` int64: the order in which shapes are tried.
    """

    texts: NDArray[np.uint8]
    masks: NDArray[np.uint64]
    sizes: NDArray[np.int64]
    fields: NDArray[np.int64]
    lengths: NDArray[np.int64]
    lasts: NDArray[np.int64]
    order: NDArray[np.int64]


class Values(NamedTuple):
    """Places of the last record's values, and the field of each; int64."""

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    fields: NDArray[np.int64]


_named: Any = types.NamedTuple  # untyped
_named_alike: Any = types.NamedUniTuple
_INTS = writes(I64)
SHAPES_TYPE = _named((writes(U8), writes(U64), _INTS, _INTS, _INTS, _INTS, _INTS), Shapes)
VALUES_TYPE = _named_alike(_INTS, len(Values._fields), Values)


def no_shapes() -> Shapes:
    """Return room for shapes; none is kept yet."""
    pieces = SHAPES * PIECES
    return Shapes(
        np.zeros(pieces * _BLOCK, np.uint8),
        np.zeros(pieces, np.uint64),
        np.zeros(pieces, np.int64),
        np.zeros(pieces, np.int64),
        np.zeros(pieces, np.int64),
        np.zeros(SHAPES, np.int64),
        np.arange(SHAPES),
    )


def no_values() -> Values:
    """Return room for values."""
    return Values(*np.zeros((3, PIECES), np.int64))


@inlined
def follow(
    data: Data,
    at: int,
    end: int,
    row: int,
    shape: int,
    shapes: Shapes,
    plan: FieldPlan,
    found: FoundFields,
) -> bool:
    """Read a record as this shape. Return whether it has the shape and the scan can vouch for it.

    If not, the record may still be valid, and some of its fields may have been noted.
    """
    piece = shape * PIECES
    last = item(shapes.lasts, shape)
    while at <= end:
        # May read beyond the record. A piece that does not fit then differs, or `at` passes `end`
        # and the record does not have this shape.
        differing = differing64(data, at, shapes.texts, piece * _BLOCK)
        if differing & item(shapes.masks, piece):
            return False
        at += item(shapes.sizes, piece)
        if piece == last:
            whole: bool = at == end
            return whole
        if at >= end:
            return False
        field = item(shapes.fields, piece)
        if field != _NO_VALUE:
            start = at
            at = value_end(data, start, end, field, row, plan, found)
            if at == NOWHERE:
                return False
            # Values mostly have the size of those in the last record. With that guess the processor
            # need not wait for the end of this one (see `guessed`): without it, 111 ns a record.
            length = item(shapes.lengths, piece)
            if at - start == length:
                at = start + guessed(length)
            else:
                shapes.lengths[piece] = at - start
        piece += 1
    return False


@inlined
def _low_bits(count: int) -> np.uint64:
    ones = np.uint64(0xFFFFFFFFFFFFFFFF)
    return ones >> np.uint64(64 - count) if count > 0 else np.uint64(0)


@part
def _has_room(at: int, end: int, count: int, values: Values) -> bool:
    """Report whether the pieces of a record fit: those before each value, and the last."""
    if count >= PIECES:
        return False
    pieces = 0
    for value in range(count + 1):
        stop = values.starts[value] if value < count else end
        pieces += max(1, -(-(stop - at) // _BLOCK))
        at = values.ends[value] if value < count else end
    return pieces <= PIECES


@part
def keep(
    data: Data, at: int, end: int, count: int, values: Values, shape: int, shapes: Shapes
) -> bool:
    """Keep the shape of a record as shape number `shape`. Return False if it has too many pieces.

    The record lies from `at` to `end` and has `count` values.
    """
    if not _has_room(at, end, count, values):
        return False
    piece = shape * PIECES
    for value in range(count + 1):
        stop = values.starts[value] if value < count else end
        while True:
            size = min(stop - at, _BLOCK)
            for place in range(size):
                shapes.texts[piece * _BLOCK + place] = item(data, at + place)
            shapes.sizes[piece] = size
            shapes.masks[piece] = _low_bits(size)
            shapes.fields[piece] = _NO_VALUE
            at += size
            piece += 1
            if at == stop:
                break
        if value < count:
            shapes.fields[piece - 1] = values.fields[value]
            at = values.ends[value]
    shapes.lasts[shape] = piece - 1
    return True


@part
def to_front(order: NDArray[np.int64], turn: int) -> None:
    """Try the shape at `turn` first from now on."""
    shape = order[turn]
    for place in range(turn, 0, -1):
        order[place] = order[place - 1]
    order[0] = shape
