"""Fields that a dialect wants from its JSON records, and their places. For kernels."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.core.kernels.jit import I64, U8, U64, inlined, part, trailing_zeros, types, writes
from stream.core.kernels.json_parts import (
    NOWHERE,
    QUOTE,
    Data,
    digits_end,
    is_null,
    scalar_end,
    short_integer_end,
    string_end,
)
from stream.core.kernels.vectors import differing64, item, unusual64

NAME_BYTES_MAX = 64
"""One vector: a name is compared in one step (`vectors.differing64`)."""
NAMES_MAX = 64
"""Different names of one dialect; the bits of one word mark the names seen."""

_BLOCK = 64


class FieldPlan(NamedTuple):
    """Fields that a dialect wants. Names are the different keys on the paths to its fields.

    `names` uint8[n * 64], 64 bytes each; `name_sizes` int64[n]. `meanings` int64[nodes * n] is the
    meaning of a name in an object: 0 none, k > 0 the object of node k, k < 0 field -k - 1. Node 0
    is the record; the last node is every object that is not wanted. Masks have a bit for each name
    or field. A `watched` name may stand only once in an object; of `choices`, only one may stand.
    `required` fields may not be absent. `nullable` fields may be null. `integers` may be digits
    without quotation marks. Nodes in `lists` may lie in an array, alone, or as the first that
    counts (`first_counts`).
    """

    names: NDArray[np.uint8]
    name_sizes: NDArray[np.int64]
    meanings: NDArray[np.int64]
    nodes: int
    watched: np.uint64
    required: int
    nullable: int
    lists: int
    choices: np.uint64
    integers: int
    first_counts: bool


class FoundFields(NamedTuple):
    """Places of fields.

    `starts`, `sizes` int64[fields, records]; a missing field has size -1. `odd` uint8[records]: 1
    for a record that the scan cannot vouch for.
    """

    starts: NDArray[np.int64]
    sizes: NDArray[np.int64]
    odd: NDArray[np.uint8]


_named: Any = types.NamedTuple  # untyped
# Numba accepts a writable array for a read-only one as an argument, but not inside a tuple.
PLAN = _named(
    (writes(U8), writes(I64), writes(I64), I64, U64, I64, I64, I64, U64, I64, types.boolean),
    FieldPlan,
)
FOUND = _named((writes(I64, 2), writes(I64, 2), writes(U8)), FoundFields)


@part
def forget(found: FoundFields, row: int) -> None:
    """Mark all fields of this record as not found."""
    for field in range(found.starts.shape[0]):
        found.starts[field, row] = 0
        found.sizes[field, row] = -1


@part
def is_too_long(found: FoundFields, row: int, longest: int) -> bool:
    """Report whether a field of the record has more than `longest` bytes."""
    size = 0
    for field in range(found.sizes.shape[0]):
        size = max(size, found.sizes[field, row])
    return size > longest


@inlined
def name_at(
    data: Data, at: int, size: int, names: NDArray[np.uint8], name_sizes: NDArray[np.int64]
) -> int:
    """Return the index of these bytes among `names`, 64 bytes each, or `NOWHERE`."""
    for name in range(len(name_sizes)):
        if item(name_sizes, name) == size:
            differing = differing64(data, at, names, name * NAME_BYTES_MAX)
            if trailing_zeros(differing) >= size:
                return name
    return NOWHERE


@inlined
def value_end(
    data: Data, at: int, end: int, field: int, row: int, plan: FieldPlan, found: FoundFields
) -> int:
    """Return the place after the string, number or word at `at`; note the place of a field.

    `field` is below 0 for a value that is not wanted. Returns `NOWHERE` also for a field that is
    neither a string without escapes nor, if the plan allows it, null or digits.
    """
    if item(data, at) != QUOTE:
        if field >= 0 and not (is_null(data, at) and plan.nullable >> field & 1):
            if plan.integers >> field & 1 == 0:
                return NOWHERE
            found.starts[field, row] = at
            at = digits_end(data, at)
            found.sizes[field, row] = at - found.starts[field, row] if at != NOWHERE else -1
            return at
        behind: int = short_integer_end(data, at)
        return scalar_end(data, at, end) if behind == NOWHERE else behind
    first = at + 1
    at = first
    unusual = unusual64(data, at)
    while unusual == 0:
        at += _BLOCK
        if at >= end:
            return NOWHERE
        unusual = unusual64(data, at)
    at += trailing_zeros(unusual)
    if item(data, at) != QUOTE:
        if field >= 0:
            return NOWHERE
        at = string_end(data, at, end, True)
        if at == NOWHERE:
            return NOWHERE
    if field >= 0:
        found.starts[field, row] = first
        found.sizes[field, row] = at - first
    return at + 1
