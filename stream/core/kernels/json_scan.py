"""Find the wanted fields of JSON records, each record checked to the last byte. Compiled.

A record is read as one of the shapes seen before (`json_shapes`), or step by step, and then its
shape is kept. What this cannot vouch for is left to the fallback decoder, whose word is final.
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
"""Objects and arrays in one another; what is deeper goes to the fallback decoder."""

# To try the shapes and to keep another costs what twice as many records save that have one of them.
# So where fewer do, shapes are left alone for a while: keys in any order cost 10 ns, not 700.
_PATIENCE = 16
_PATIENCE_MAX = 64
_REST = 1_000
_BLOCK = 64
_OBJECT, _OBJECT_END, _ARRAY, _ARRAY_END, _COMMA, _COLON, _PERCENT = b"{}[],:%"


class _Open(NamedTuple):
    """The open objects and arrays of a record, by their depth from 1 on.

    Their nodes in the plan, and which names were seen in them.
    """

    nodes: NDArray[np.int64]
    seen: NDArray[np.uint64]


_named: Any = types.NamedTuple  # untyped
_OPEN = _named((writes(I64), writes(U64)), _Open)


@inlined
def _after_space(data: Data, at: int, end: int) -> int:
    """The place of the next byte that is no white space."""
    while at < end:
        byte = item(data, at)
        if byte > 32 or byte not in (32, 10, 13, 9):  # the first test ends nearly every look
            break
        at += 1
    return at


@inlined
def _key_end(data: Data, at: int, end: int) -> int:
    """The place of the quotation mark that ends a key; `NOWHERE` for one with escapes too."""
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
    """Read a key and its colon; where its value begins, and its meaning (see `FieldPlan`)."""
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
    """Return the node of the object or array that begins here; `NOWHERE`: msgspec shall read it.

    So it is with a field that is no text, and with an array on a path that may not be there.
    """
    if depth == DEPTH_MAX - 1 or meaning < 0:
        return NOWHERE
    if meaning > 0 and byte == _ARRAY and not (inside_object and plan.lists >> meaning & 1):
        return NOWHERE
    return meaning if meaning > 0 or depth == 0 else plan.nodes - 1


@inlined
def _read_item(at: int, first: bool, depth: int, plan: FieldPlan, open_: _Open) -> tuple[int, int]:
    """Return the place of an array's item, which begins here, and its meaning (see `FieldPlan`)."""
    node = item(open_.nodes, depth)
    if node == plan.nodes - 1:
        return at, 0
    # Which of several objects counts is not for the scan to say, unless it is always the first.
    if not first and plan.first_counts:
        return at, 0
    return (at, node) if first else (NOWHERE, 0)


@inlined
def _keep_value(values: Values, count: int, start: int, end: int, field: int) -> None:
    if count < PIECES:
        values.starts[count] = start
        values.ends[count] = end
        values.fields[count] = field


# Open objects are bits of one word, one for each depth: no memory is touched for them.
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
    """Read a record step by step; how many values it has, `NOWHERE`: an odd one.

    As many of its values as there is room for are noted.
    """
    count, depth, objects, present, meaning = 0, 0, np.uint64(0), 0, 0
    inside_object = np.uint64(0)
    at = _after_space(data, at, end)
    if at >= end or item(data, at) != _OBJECT:
        return NOWHERE
    while at < end:
        # A value; in an object, its key has been read.
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
        # What may come after it: ends of objects and arrays, then a comma.
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
            # What a shape noted before it failed stays: up to there the record reads the same.
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
    """Make records odd whose parties may have to be looked for elsewhere; how many are odd now.

    Those without a call id, caller or callee (fields 0 to 2), those with one number for both, and
    those with `%` in one of the fields of the mask `encoded`, which may begin an escape.
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
    """Find the fields of the records `first` to `last` of `texts`; how many of them are odd.

    A record that is not odd is one JSON object in UTF-8 of at most `record_max` bytes; each field
    that was found is of ASCII characters from the space on, without escapes, and has at most
    `field_max` bytes; required fields are there; no field is given twice, nor a watched name in
    any object. An odd record may be anything, also a perfect call with an escape in its caller; its
    fields are -1.
    """
    open_ = _Open(np.zeros(DEPTH_MAX, np.int64), np.zeros(DEPTH_MAX, np.uint64))
    odd: int = _scan(
        texts.data, np.ascontiguousarray(texts.starts), np.ascontiguousarray(texts.sizes),
        first, last, plan, record_max, field_max, found, no_shapes(), no_values(), open_,
    )  # fmt: skip
    return odd
