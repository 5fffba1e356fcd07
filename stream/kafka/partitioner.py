"""Which partition a record key belongs to: Kafka's default (murmur2), for many keys at once.

Readers in other languages find all decisions about a number in one partition, as they would had
the Java producer written them. Bit for bit `org.apache.kafka.common.utils.Utils.murmur2`.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_SEED = np.uint32(0x9747B28C)
_M = np.uint32(0x5BD1E995)
_KEEP = np.array([0, 0xFF, 0xFFFF, 0xFFFFFF], np.uint32)


def partitions_of(keys: Sequence[bytes], count: int) -> NDArray[np.int64]:
    """The partition, 0 to `count` - 1, of each of `keys`; int64, one per key."""
    if not keys:
        return np.empty(0, np.int64)
    return (murmur2(keys) & np.uint32(0x7FFFFFFF)).astype(np.int64) % count


def murmur2(keys: Sequence[bytes]) -> NDArray[np.uint32]:
    """Kafka's 32-bit murmur2 of each of `keys`; uint32, one per key."""
    lengths = np.fromiter(map(len, keys), np.int64, len(keys))
    width = (int(lengths.max()) // 4 + 1) * 4  # one word more than is full, so a tail always exists
    words = np.array(keys, f"S{width}").view("<u4").reshape(len(keys), width // 4)
    full, rest = lengths // 4, lengths % 4
    state = _SEED ^ lengths.astype(np.uint32)
    for column in range(width // 4 - 1):
        mixed = words[:, column] * _M
        mixed = (mixed ^ (mixed >> np.uint32(24))) * _M
        state = np.where(column < full, (state * _M) ^ mixed, state)
    tail = words[np.arange(len(keys)), full] & _KEEP[rest]
    state = np.where(rest > 0, (state ^ tail) * _M, state)
    state = (state ^ (state >> np.uint32(13))) * _M
    return state ^ (state >> np.uint32(15))
