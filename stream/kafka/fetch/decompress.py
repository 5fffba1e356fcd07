"""Compressed record batches, unpacked into a buffer: never more than was agreed.

Kafka's codecs are gzip (1), snappy (2), lz4 (3) and zstd (4). A few bytes can stand for gigabytes,
so each is unpacked straight into a buffer of limited size.
"""

import struct
from collections.abc import Callable
from typing import Any

import cramjam
import numpy as np
from numpy.typing import NDArray

from stream.core.kernels import plain_records as plain
from stream.core.model.byte_strings import PADDING

Bytes = NDArray[np.uint8]
Into = Callable[[Any, Any], int]

_GROWTH_FIRST = 4  # call records are packed about so well
_BYTES_FIRST = 64 * 1024
"""Least space at the first try, so that small batches do not let the buffer grow again."""

# What the Java client writes before blocks of snappy: name, version, oldest compatible version.
_XERIAL = b"\x82SNAPPY\x00" + struct.pack(">ii", 1, 1)
_BLOCK = struct.Struct(">i")


class _NoSpace(Exception):
    """The space that was given is too small."""


class Room:
    """A buffer that grows as it must, to `bytes_max`; its reader keeps it from answer to answer.

    `bytes_wanted` is when it is full enough: what goes on being worked on is then still near.
    """

    # 2 MiB stay in a processor's cache until the next step looks at them.
    def __init__(
        self, bytes_max: int = 64 * 1024 * 1024, bytes_wanted: int = 2 * 1024 * 1024
    ) -> None:
        self.bytes_max = bytes_max
        self.bytes_wanted = min(bytes_max, bytes_wanted)
        self.data: Bytes = np.zeros(PADDING, np.uint8)
        self.used = 0

    @property
    def full(self) -> bool:
        """True if there is enough in it."""
        return self.used >= self.bytes_wanted

    def clear(self) -> None:
        """Empty it; the next records are written over the last."""
        self.used = 0

    def space(self, size: int) -> Bytes:
        """Return at least `size` unused bytes; fewer only where there may be no more."""
        end = min(self.used + size, self.bytes_max)
        if end > len(self.data) - PADDING:
            # Twice as large, so that a batch that needs several tries is copied few times.
            capacity = min(max(end, 2 * len(self.data)), self.bytes_max)
            grown = np.empty(capacity + PADDING, np.uint8)
            grown[: self.used] = self.data[: self.used]
            self.data = grown
        return self.data[self.used : len(self.data) - PADDING]

    def take(self, size: int) -> None:
        """Keep the first `size` bytes of the space."""
        self.used += size
        assert self.used <= len(self.data) - PADDING


def unpack(codec: int, packed: Bytes, room: Room) -> int:
    """Unpack a batch's records after what is in the room; return TAKE or a fault.

    The faults are CODEC (unknown), PACKED (damaged), LARGE (more than an empty room can have) and
    FULL (more than is left in it). With a fault nothing is taken. Codec 0 is copied.
    """
    into = _INTO.get(codec)
    if into is None:
        return plain.CODEC
    if not len(packed):  # compaction leaves such
        return plain.TAKE
    space = room.space(max(_GROWTH_FIRST * len(packed), _BYTES_FIRST))
    while True:
        try:
            room.take(into(packed, space))
        except _NoSpace:
            larger = room.space(2 * len(space))
            if len(larger) == len(space):
                return plain.FULL if room.used else plain.LARGE
            space = larger
        except cramjam.DecompressionError:
            return plain.PACKED
        else:
            return plain.TAKE


def _copy(packed: Bytes, space: Bytes) -> int:
    if len(packed) > len(space):
        raise _NoSpace
    space[: len(packed)] = packed
    return len(packed)


def _stream(decompress_into: Into) -> Into:
    def into(packed: Bytes, space: Bytes) -> int:
        try:
            return decompress_into(packed, space)
        except cramjam.DecompressionError as error:
            # cramjam has one exception for damage and for a full buffer; a test pins these words.
            if "failed to write whole buffer" in str(error):
                raise _NoSpace from error
            raise

    return into


def _snappy(packed: Bytes, space: Bytes) -> int:
    """Blocks as xerial's library for Java writes them, else one block."""
    if len(packed) <= len(_XERIAL) or packed[: len(_XERIAL)].tobytes() != _XERIAL:
        return _snappy_block(packed, space)
    at, size = len(_XERIAL), 0
    while at < len(packed):
        # A length that is cut off becomes negative, and is refused below.
        length = _BLOCK.unpack(packed[at : at + 4].tobytes().ljust(4, b"\xff"))[0]
        at += _BLOCK.size
        if not 0 <= length <= len(packed) - at:
            raise cramjam.DecompressionError("a block is cut short")
        size += _snappy_block(packed[at : at + length], space[size:])
        at += length
    return size


def _snappy_block(packed: Any, space: Any) -> int:
    # Raw snappy says its size first. Asked before, as it may claim 4 GiB.
    if cramjam.snappy.decompress_raw_len(packed) > len(space):
        raise _NoSpace
    return int(cramjam.snappy.decompress_raw_into(packed, space))


_INTO: dict[int, Into] = {
    0: _copy,
    1: _stream(cramjam.gzip.decompress_into),
    2: _snappy,
    3: _stream(cramjam.lz4.decompress_into),
    4: _stream(cramjam.zstd.decompress_into),
}
