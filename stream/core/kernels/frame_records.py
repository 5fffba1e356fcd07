"""Decisions as Kafka records, one after the other, as in the body of a record batch.

Format: Kafka protocol guide, "Record Batch", magic 2 (KIP-98). A record is its length, attributes,
timestamp delta, offset delta, key, value and headers; lengths are zig-zag varints.
"""

from typing import Any

import numpy as np

from stream.core.kernels.bytes_out import copy16, put
from stream.core.kernels.jit import I64, U8, inlined, kernel, reads, writes
from stream.core.model.byte_strings import PADDING

ID_SIZE = 13
"""Characters of a decision's id."""
_NONE = 1
"""A length of -1 as a varint."""


@inlined
def _varint_size(number: Any) -> Any:
    """Return the size of `number` (not negative) as a zig-zag varint."""
    size = 1
    while number >= 64:
        number >>= 7
        size += 1
    return size


@inlined
def _put_varint(out: Any, at: Any, number: Any) -> Any:
    """Write `number` (not negative) as a zig-zag varint. Return its end."""
    rest = number << 1
    while rest >= 128:
        out[at] = np.uint8(rest & 127 | 128)
        at += 1
        rest >>= 7
    out[at] = np.uint8(rest)
    return at + 1


@inlined
def _key_size(keys: Any, row: Any) -> Any:
    """Return how many of a key's 16 bytes are in use; a key contains no NUL."""
    size = 16
    while size > 0 and keys[row, size - 1] == 0:
        size -= 1
    return size


@kernel(I64(reads(U8, 2), I64, I64, writes(I64), writes(I64), writes(I64)), counted=False)
def split_by_partition(
    keys: Any, count: Any, keyless: Any, partitions: Any, order: Any, ends: Any
) -> Any:
    """Sort rows by partition: Kafka's murmur2 of the key, in stable order. Return n.

    `keys` uint8[n, 16] are padded with NULs; a row without a key goes to partition `keyless`. Fills
    `partitions` int64[n], `order` int64[n] with rows, and `ends` int64[count] with the end of each
    partition in `order`. The hash is org.apache.kafka.common.utils.Utils.murmur2, see
    `kafka.batch_encoder`.
    """
    rows = len(keys)
    ends[:] = 0
    multiplier = np.uint32(0x5BD1E995)
    for row in range(rows):
        size = _key_size(keys, row)
        partition = keyless
        if size > 0:
            state = np.uint32(0x9747B28C) ^ np.uint32(size)
            # uint32 at each step: Numba widens to 64 bits, and murmur2 drops overflow beyond 32.
            for word in range(size >> 2):
                place = word << 2
                mixed = (
                    np.uint32(keys[row, place])
                    | np.uint32(keys[row, place + 1]) << np.uint32(8)
                    | np.uint32(keys[row, place + 2]) << np.uint32(16)
                    | np.uint32(keys[row, place + 3]) << np.uint32(24)
                )
                mixed = np.uint32(mixed * multiplier)
                mixed = np.uint32((mixed ^ (mixed >> np.uint32(24))) * multiplier)
                state = np.uint32(state * multiplier) ^ mixed
            place = size >> 2 << 2
            if place < size:
                tail = np.uint32(keys[row, place])
                if place + 1 < size:
                    tail |= np.uint32(keys[row, place + 1]) << np.uint32(8)
                if place + 2 < size:
                    tail |= np.uint32(keys[row, place + 2]) << np.uint32(16)
                state = np.uint32((state ^ tail) * multiplier)
            state = np.uint32((state ^ (state >> np.uint32(13))) * multiplier)
            state ^= state >> np.uint32(15)
            partition = np.int64(state & np.uint32(0x7FFFFFFF)) % count
        partitions[row] = partition
        ends[partition] += 1
    # A counting sort: `ends` holds counts, then the start of each partition, finally its end.
    at = 0
    for partition in range(count):
        at += ends[partition]
        ends[partition] = at - ends[partition]
    for row in range(rows):
        place = ends[partitions[row]]
        order[place] = row
        ends[partitions[row]] = place + 1
    return rows


@kernel(
    I64(
        reads(I64),
        I64,
        I64,
        I64,
        reads(U8, 2),
        reads(U8, 2),
        reads(U8),
        reads(I64),
        reads(I64),
        reads(U8),
        I64,
        writes(U8),
        writes(I64),
    ),
    counted=False,
)
def frame_records(
    order: Any,
    first: Any,
    last: Any,
    bytes_max: Any,
    keys: Any,
    ids: Any,
    data: Any,
    starts: Any,
    sizes: Any,
    headers: Any,
    at: Any,
    out: Any,
    end: Any,
) -> Any:
    """Write the rows `order[first:last]` as records from `out[at]` on, up to one batch.

    It writes at least one, and more while all together have at most `bytes_max` bytes. `keys` and
    `ids` are uint8[n, 16]; value i is `data[starts[i] : starts[i] + sizes[i]]`. `headers` uint8[]
    are the record's headers in wire format, without the id that ends the last one, plus
    `byte_strings.PADDING`. Returns the first row not written, as an index into `order`; `end[0]`
    is the end of the records.
    """
    headers_size = len(headers) - PADDING
    begun = at
    place = first
    while place < last:
        row = order[place]
        key_size = _key_size(keys, row)
        # Attributes and time delta; offset delta; key with its length of one byte; headers; id.
        size = 2 + _varint_size(place - first) + 1 + key_size + headers_size + ID_SIZE
        size += _varint_size(sizes[row]) + sizes[row]
        if place > first and at - begun + size + _varint_size(size) > bytes_max:
            break
        at = _put_varint(out, at, size)
        out[at] = 0  # attributes: none is in use
        out[at + 1] = 0  # time delta: all records of a batch have its time
        at = _put_varint(out, at + 2, place - first)
        if key_size > 0:
            at = _put_varint(out, at, key_size)
            copy16(out, at, keys, row * 16)  # with its NULs: the value overwrites them
            at += key_size
        else:
            out[at] = _NONE
            at += 1
        at = _put_varint(out, at, sizes[row])
        at = put(out, at, data, starts[row], sizes[row])
        at = put(out, at, headers, 0, headers_size)
        copy16(out, at, ids, row * 16)
        at += ID_SIZE
        place += 1
    end[0] = at
    return place
