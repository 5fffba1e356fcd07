"""Find the wanted fields of JSON records; each record is checked to the last byte. Compiled.

A record is read as one of the known shapes (`json_shapes`), or step by step, and then its shape is
kept. Records that the scan cannot vouch for go to the fallback decoder, whose result is final.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.core.kernels.jit import (
    I64,
    U8,
    U64,
    inlined,
    kernel,
    reads,
    trailing_zeros,
    types,
    writes,
)
from stream.core.kernels.json_fields import (
    FOUND,
    PLAN,
    FieldPlan,
    FoundFields,
    forget,
    is_too_long,
    name_at,
    value_end,
)
from stream.core.kernels.json_parts import NOWHERE, QUOTE, Data, string_end
from stream.core.kernels.json_shapes import (
    PIECES,
    SHAPES,
    SHAPES_TYPE,
    VALUES_TYPE,
    Shapes,
    Values,
    follow,
    keep,
    no_shapes,
    no_values,
    to_front,
)
from stream.core.kernels.vectors import item, unusual64
from stream.core.model.byte_strings import Texts

DEPTH_MAX = 64
"""Depth of nested objects and arrays; a deeper record goes to the fallback decoder."""

# Trying the shapes and keeping another one costs as much as two records of a known shape save. So
# if fewer match, the scan does without shapes for a while: keys in any order cost 10 ns, not 700.
_PATIENCE = 16
_PATIENCE_MAX = 64
_REST = 1_000
_BLOCK = 64
_OBJECT, _OBJECT_END, _ARRAY, _ARRAY_END, _COMMA, _COLON, _PERCENT = b"{}[],:%"


class _Open(NamedTuple):
    """Open objects and arrays of a record, by their depth from 1 on.

    Their nodes in the plan, and the names seen in them.
    """

    nodes: NDArray[np.int64]
    seen: NDArray[np.uint64]


_named: Any = types.NamedTuple  # untyped
_OPEN = _named((writes(I64), writes(U64)), _Open)


@inlined
def _after_space(data: Data, at: int, end: int) -> int:
    """Return the place of the next byte that is not white space."""
    while at < end:
        byte = item(data, at)
        if byte > 32 or byte not in (32, 10, 13, 9):  # the first test nearly always decides
            break
        at += 1
    return at


@inlined
def _key_end(data: Data, at: int, end: int) -> int:
    """Return the place of the quotation mark that ends a key; `NOWHERE` if it has escapes."""
    while at < end:
        unusual = unusual64(data, at)
        if unusual:
            at += trailing_zeros(unusual)
            return at if item(data, at) == QUOTE else string_end(data, at, end, False)
        at += _BLOCK
    return NOWHERE


@inlined
def _read_key(
    data: Data, at: int, end: int, depth: int, plan: FieldPlan, open_: _Open
) -> tuple[int, int]:
    """Read a key and its colon. Return the place of its value, and its meaning (`FieldPlan`)."""
    if at >= end or item(data, at) != QUOTE:
        return NOWHERE, 0
    first = at + 1
    at = _key_end(data, first, end)
    if at == NOWHERE:
        return NOWHERE, 0
    meaning = 0
    name = name_at(data, first, at - first, plan.names, plan.name_sizes)
    if name != NOWHERE:
        meaning = item(plan.meanings, item(open_.nodes, depth) * len(plan.name_sizes) + name)
        bit = np.uint64(1) << np.uint64(name)
        if meaning != 0 or plan.watched & bit:
            if plan.choices & bit:
                bit = plan.choices
            if item(open_.seen, depth) & bit:
                return NOWHERE, 0
            open_.seen[depth] |= bit
    at = _after_space(data, at + 1, end)
    if at >= end or item(data, at) != _COLON:
        return NOWHERE, 0
    return _after_space(data, at + 1, end), meaning


@inlined
def _node_of(byte: int, meaning: int, inside_object: np.uint64, depth: int, plan: FieldPlan) -> int:
    """Return the node of the object or array that begins here, or `NOWHERE` to leave it to msgspec.

    That is so for a field that is not text, and for an array where the path allows none.
    """
    if depth == DEPTH_MAX - 1 or meaning < 0:
        return NOWHERE
    if meaning > 0 and byte == _ARRAY and not (inside_object and plan.lists >> meaning & 1):
        return NOWHERE
    return meaning if meaning > 0 or depth == 0 else plan.nodes - 1


@inlined
def _read_item(at: int, first: bool, depth: int, plan: FieldPlan, open_: _Open) -> tuple[int, int]:
    """Return the place of the array item that begins here, and its meaning (`FieldPlan`)."""
    node = item(open_.nodes, depth)
    if node == plan.nodes - 1:
        return at, 0
    # The scan cannot say which of several objects counts, unless it is always the first.
    if not first and plan.first_counts:
        return at, 0
    return (at, node) if first else (NOWHERE, 0)


@inlined
def _keep_value(values: Values, count: int, start: int, end: int, field: int) -> None:
    if count < PIECES:
        values.starts[count] = start
        values.ends[count] = end
        values.fields[count] = field


# Open objects are bits of one word, one for each depth: they need no memory access.
@inlined
def _read(
    data: Data,
    at: int,
    end: int,
    row: int,
    plan: FieldPlan,
    open_: _Open,
    values: Values,
    found: FoundFields,
) -> int:
    """Read a record step by step. Return how many values it has, or `NOWHERE` if it is odd.

    It notes as many of the values as there is room for.
    """
    count, depth, objects, present, meaning = 0, 0, np.uint64(0), 0, 0
    inside_object = np.uint64(0)
    at = _after_space(data, at, end)
    if at >= end or item(data, at) != _OBJECT:
        return NOWHERE
    while at < end:
        # A value. In an object, its key has been read.
        byte = item(data, at)
        opens = byte in (_OBJECT, _ARRAY)
        if opens:
            node = _node_of(byte, meaning, inside_object, depth, plan)
            if node == NOWHERE:
                return NOWHERE
            depth += 1
            open_.nodes[depth], open_.seen[depth] = node, np.uint64(0)
            bit = np.uint64(1) << np.uint64(depth)
            objects = objects | bit if byte == _OBJECT else objects & ~bit
            at += 1
        else:
            field = -meaning - 1
            start = at
            at = value_end(data, at, end, field, row, plan, found) if meaning <= 0 else NOWHERE
            if at == NOWHERE:
                return NOWHERE
            if field >= 0:
                if present >> field & 1:  # under two names
                    return NOWHERE
                present |= 1 << field
            _keep_value(values, count, start, at, field)
            count += 1
        # After it: ends of objects and arrays, then a comma.
        while True:
            at = _after_space(data, at, end)
            if depth == 0:
                whole = at == end and present & plan.required == plan.required
                return count if whole else NOWHERE
            if at >= end:
                return NOWHERE
            inside_object = objects >> np.uint64(depth) & np.uint64(1)
            byte = item(data, at)
            if byte != (_OBJECT_END if inside_object else _ARRAY_END):
                break
            depth -= 1
            at += 1
            opens = False
        if not opens:
            if byte != _COMMA:
                return NOWHERE
            at = _after_space(data, at + 1, end)
        if inside_object:
            at, meaning = _read_key(data, at, end, depth, plan, open_)
        else:
            at, meaning = _read_item(at, opens, depth, plan, open_)
        if at == NOWHERE:
            return NOWHERE
    return NOWHERE


@kernel(
    I64(
        reads(U8), reads(I64), reads(I64), I64, I64, PLAN, I64, I64,
        FOUND, SHAPES_TYPE, VALUES_TYPE, _OPEN,
    ),
    counted=False,
)  # fmt: skip
def _scan(
    data: Data,
    starts: NDArray[np.int64],
    sizes: NDArray[np.int64],
    first: int,
    last: int,
    plan: FieldPlan,
    record_max: int,
    field_max: int,
    found: FoundFields,
    shapes: Shapes,
    values: Values,
    open_: _Open,
) -> int:
    """See `scan`."""
    held, odd, patience = 0, 0, _PATIENCE
    for row in range(first, last):
        at, size = item(starts, row), item(sizes, row)
        end = at + size
        good = False
        if 0 < size <= record_max:
            turn = 0
            while turn < held and patience > 0 and not good:
                shape = item(shapes.order, turn)
                good = follow(data, at, end, row, shape, shapes, plan, found)
                turn += 1
            # Fields noted by a shape before it failed may stay: up to there the record is the same.
            if good:
                patience = min(patience + 1, _PATIENCE_MAX)
                if turn > 1:
                    to_front(shapes.order, turn - 1)
            else:
                count = _read(data, at, end, row, plan, open_, values, found)
                good = count != NOWHERE
                turn = min(held, SHAPES - 1)
                shape = item(shapes.order, turn)
                if patience <= 0:  # at rest: count up to 0, then try shapes again
                    patience = patience + 1 if patience < 0 else _PATIENCE
                elif good and keep(data, at, end, count, values, shape, shapes):
                    to_front(shapes.order, turn)
                    held = turn + 1
                    patience = patience - 2 if patience > 2 else -_REST
            good = good and not (size > field_max and is_too_long(found, row, field_max))
        if not good:
            forget(found, row)
            odd += 1
        found.odd[row] = not good
    return odd


@kernel(I64(reads(U8), writes(I64, 2), writes(I64, 2), writes(U8), I64, I64, I64), counted=False)
def leave_doubtful(
    data: Data,
    starts: NDArray[np.int64],
    sizes: NDArray[np.int64],
    odd: NDArray[np.uint8],
    first: int,
    last: int,
    encoded: int,
) -> int:
    """Make records odd whose parties may stand elsewhere. Return how many records are odd now.

    They have no call id, caller or callee (fields 0 to 2), or one number for both parties. Or they
    have `%`, which may begin an escape, in one of the fields of the mask `encoded`.
    """
    left = 0
    for row in range(first, last):
        doubtful = odd[row] != 0 or sizes[0, row] <= 0 or sizes[1, row] <= 0 or sizes[2, row] <= 0
        size = sizes[1, row]
        if not doubtful and size == sizes[2, row]:
            same = True
            for place in range(size):
                same &= item(data, starts[1, row] + place) == item(data, starts[2, row] + place)
            doubtful = same
        for field in range(sizes.shape[0]):
            if encoded >> field & 1 and not doubtful:
                for place in range(starts[field, row], starts[field, row] + sizes[field, row]):
                    doubtful |= item(data, place) == _PERCENT
        if doubtful:
            odd[row] = 1
            left += 1
            for field in range(sizes.shape[0]):
                starts[field, row] = 0
                sizes[field, row] = -1
    return left


def scan(
    texts: Texts,
    first: int,
    last: int,
    plan: FieldPlan,
    record_max: int,
    field_max: int,
    found: FoundFields,
) -> int:
    """Find the fields of the records `first` to `last` of `texts`. Return how many are odd.

    A good record is one JSON object in UTF-8 of at most `record_max` bytes. Its fields are ASCII
    characters from the space on, without escapes, of at most `field_max` bytes each. Required
    fields are there. No field is given twice, and no watched name stands twice in any object. An
    odd record may be anything, even a perfect call with an escape in its caller; its fields are -1.
    """
    open_ = _Open(np.zeros(DEPTH_MAX, np.int64), np.zeros(DEPTH_MAX, np.uint64))
    odd: int = _scan(
        texts.data, np.ascontiguousarray(texts.starts), np.ascontiguousarray(texts.sizes),
        first, last, plan, record_max, field_max, found, no_shapes(), no_values(), open_,
    )  # fmt: skip
    return odd
