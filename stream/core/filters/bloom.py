"""Pybloom-live 4.0 filters: read, written and probed bit for bit, in batches.

A list is shared as a `BloomFilter.tofile` file, so that a partner needs no code of ours. Such a
file has no magic, version or checksum. This module checks what its bytes can show. Probe numbers
(`check_probes`) and known members (`check_members`) show the rest.

File: `<dQQQQ` error_rate, slices k, bits_per_slice m, capacity, count; then k * m bits, bit `p` in
bit `p & 7` of byte `p >> 3`. Element: the circle's key in hex, then the number ("+66812345678").
Position in slice j: chunk j of `H(salt || element)`, modulo m, plus j * m (`make_hashfuncs`).
"""

import math
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stream.core import kernels
from stream.core.filters.digests import Digests, HashPlan, elements, hash_plan
from stream.core.kernels import reference
from stream.core.model.errors import FilterTooCoarse, FilterUnreadable

HEADER = struct.Struct("<dQQQQ")
STANDARD_RATE = 1e-4
"""False positives of one list that carries its exact entries: k = 14, one SHA-512. The digest's
last 8 bytes stay free for the fingerprint."""
BARE_RATE = 1e-6
"""False positives of a list shared without its entries: nothing can confirm its matches."""
CAPACITY_CLASSES = tuple(1 << power for power in (15, 18, 21, 24, 27))
"""Lists of one class share (k, m) and are probed together. Below 2^15 pybloom-live would cut the
digests into 16-bit chunks and leave no room for the fingerprint."""
RATE_MIN = 1e-15
"""Lower rates are refused: nobody needs 50 slices, and pybloom-live's logarithms overflow."""
RATE_MAX = 0.01
"""The largest share of innocent numbers that a filter may match, by its header and by its bits.

Nothing confirms the hits of a filter without entries. So this limits the harm that a partner can
do to callers that it never listed. A setting may lower it; none may raise it. The price: a partner
that builds at 2 % has to build again, with twice the bits.
"""

# The ITU reserves +999 and never assigns it: nobody calls from these, so nobody is blocked.
PROBES: tuple[str, ...] = tuple(f"+99900000{i:04d}" for i in range(16))
COUNT_MAX = CAPACITY_CLASSES[-1] - len(PROBES)


@dataclass(frozen=True, slots=True)
class FilterShape:
    """Measures of a filter. `capacity` members give at most `error_rate` false positives."""

    error_rate: float
    slices: int
    bits_per_slice: int
    capacity: int

    @property
    def num_bits(self) -> int:
        """Bits of all slices together."""
        return self.slices * self.bits_per_slice

    @property
    def file_size(self) -> int:
        """Bytes of the file, header and padding included."""
        return HEADER.size + (self.num_bits + 7) // 8


def pybloom_shape(capacity: int, error_rate: float) -> FilterShape:
    """Return the shape of `BloomFilter(capacity, error_rate)`, by pybloom-live's own arithmetic.

    Every operation has pybloom-live's order: another order could round to another m.
    """
    slices = math.ceil(math.log(1.0 / error_rate, 2))  # noqa: FURB163  log2() can round otherwise
    bits = (capacity * abs(math.log(error_rate))) / (slices * (math.log(2) ** 2))
    return FilterShape(error_rate, slices, math.ceil(bits), capacity)


def shape_for(count: int, error_rate: float = STANDARD_RATE) -> FilterShape:
    """Return the shape of our filter for `count` members and the probes; at most `COUNT_MAX`."""
    assert 0 <= count <= COUNT_MAX, f"a list holds at most {COUNT_MAX} numbers, not {count}"
    capacity = next(c for c in CAPACITY_CLASSES if c >= count + len(PROBES))
    return pybloom_shape(capacity, error_rate)


@dataclass(frozen=True, slots=True, eq=False)
class Filter:
    """One filter. `bits` is uint8[(num_bits + 7) // 8], perhaps a read-only map of a file."""

    shape: FilterShape
    count: int
    bits: NDArray[np.uint8]

    @property
    def plan(self) -> HashPlan:
        """The recipe that cuts its positions from digests."""
        return hash_plan(self.shape.slices, self.shape.bits_per_slice)

    @property
    def match_rate(self) -> float:
        """The share of random numbers that the bits match: the product of the slices' fills.

        A number's positions, one in each slice, are independent of each other. So the share is
        exact for numbers that are not members, without a sample. It reads all bits (5 GB/s here).
        """
        m = self.shape.bits_per_slice
        counts = reference.count_slices(self.bits, self.shape.slices, m)
        return math.prod(count / m for count in counts)

    def may_hold(self, digests: Digests) -> NDArray[np.bool_]:
        """Return pybloom-live's `in` for each element; bool[n]."""
        words, m = digests.words(self.plan), self.shape.bits_per_slice
        if kernels.compiled():
            from stream.core.kernels.filter_bits import held_bits

            # A plain array over the map: the type that the kernel is compiled for.
            bits, held = np.asarray(self.bits), np.empty(len(words), np.uint8)
            held_bits(bits, bits.ctypes.data, words, m, held)
            return held.view(np.bool_)
        return reference.probe_filter(self.bits, words, m)


def build_filter(chunks: Iterable[Digests], shape: FilterShape, count: int) -> Filter:
    """Return a filter with all elements of `chunks` and `count` in its header.

    Probes are ordinary elements: a caller that wants them adds them and counts them.
    """
    plan = hash_plan(shape.slices, shape.bits_per_slice)
    bits = np.zeros((shape.num_bits + 7) // 8, np.uint8)
    for digests in chunks:
        words, m = digests.words(plan), shape.bits_per_slice
        if kernels.compiled():
            from stream.core.kernels.filter_bits import set_bits

            set_bits(bits, bits.ctypes.data, words, m)
        else:
            reference.set_bits(bits, words, m)
    return Filter(shape, count, bits)


def write_filter(f: Filter) -> bytes:
    """Return the bytes that pybloom-live's `BloomFilter.tofile` writes for the same members."""
    shape = f.shape
    header = HEADER.pack(
        shape.error_rate, shape.slices, shape.bits_per_slice, shape.capacity, f.count
    )
    return header + f.bits.tobytes()


def read_filter(data: bytes | Path) -> Filter:
    """Read a pybloom-live 4 file, from memory or as a read-only map; check what its bytes can show.

    Raises `FilterUnreadable` with the place and the fault. The bytes do not show another hash (a
    file of pybloom-live 3, bytes as keys, another circle). For that, `check_probes` checks our
    filters and `check_members` a partner's.
    """
    f = map_filter(data)
    where = str(data) if isinstance(data, Path) else "filter"
    _check_bits(f, where)
    check_rate(f, where)
    return f


def check_rate(f: Filter, where: str = "filter") -> None:
    """Refuse bits that match more than `RATE_MAX` of all numbers, whatever the header says.

    Raises FilterTooCoarse.
    """
    rate = f.match_rate
    if rate > RATE_MAX:
        raise FilterTooCoarse(
            f"{where}: its bits match {rate:.3g} of all numbers, at most {RATE_MAX:g} is allowed: "
            f"build it with a smaller error_rate, for example {STANDARD_RATE:g}"
        )


def map_filter(data: bytes | Path) -> Filter:
    """Run `read_filter` without its check of every bit: a checksum has just been compared."""
    if isinstance(data, Path):
        where = str(data)
        try:
            with data.open("rb") as file:
                head = file.read(HEADER.size)
            size = data.stat().st_size
            shape, count = _read_header(head, size, where)
            bits: NDArray[np.uint8] = np.memmap(where, np.uint8, "r", HEADER.size)
        except OSError as error:
            raise FilterUnreadable(f"{where}: {error.strerror}") from error
    else:
        where = "filter"
        shape, count = _read_header(data[: HEADER.size], len(data), where)
        bits = np.frombuffer(data, np.uint8, offset=HEADER.size)
    if len(bits) != shape.file_size - HEADER.size:
        raise FilterUnreadable(f"{where}: its length changed while it was read")
    # pybloom-live leaves them 0. If they are set, another program wrote the file.
    used = shape.num_bits % 8
    if used and int(bits[-1]) >> used:
        raise FilterUnreadable(f"{where}: bits are set in the padding of the last byte")
    return Filter(shape, count, bits)


def check_probes(f: Filter, key: bytes, where: str = "filter") -> None:
    """Refuse a filter of ours that does not hold the probe numbers of the circle with `key`."""
    numbers = np.array(PROBES, "S16")
    absent = len(PROBES) - int(f.may_hold(Digests(elements(numbers, key))).sum())
    if absent:
        raise FilterUnreadable(
            f"{where}: another hash: {absent} of {len(PROBES)} probe numbers absent "
            "(another circle's key, or a file of pybloom-live 3?)"
        )


def check_members(f: Filter, key: bytes, samples: NDArray[np.bytes_]) -> None:
    """Refuse a partner's filter that does not hold `samples` (S16), numbers known to be listed.

    A bare file without probes does not show its hash. The file of pybloom-live 3, which used md5
    where 4 uses xxh128 or sha1, misses its members without an error. A few known members show it.
    """
    absent = len(samples) - int(f.may_hold(Digests(elements(samples, key))).sum())
    if absent:
        raise FilterUnreadable(
            f"filter: {absent} of {len(samples)} known members absent: written by pybloom-live 3, "
            "with another circle's key, or with numbers written otherwise than +66812345678"
        )


def _read_header(head: bytes, size: int, where: str) -> tuple[FilterShape, int]:
    """Return shape and count, after checking the header's fields against each other and `size`.

    No memory is allocated by the header's word, since `size` bytes are there already. The reader of
    pybloom-live accepts one byte too many where num_bits is a multiple of 8. Its writer never
    writes one, so here it counts as damage.
    """
    if _looks_scalable(head):
        raise FilterUnreadable(
            f"{where}: a ScalableBloomFilter; only BloomFilter files can be probed: write one"
        )
    if len(head) < HEADER.size:
        raise FilterUnreadable(f"{where}: {size} bytes, a header alone has {HEADER.size}")
    rate, slices, bits_per_slice, capacity, count = HEADER.unpack(head)
    if not RATE_MIN <= rate < 1:  # NaN and infinity too
        raise FilterUnreadable(f"{where}: the header's error rate is {rate!r}, not within 0 and 1")
    if rate > RATE_MAX:
        raise FilterTooCoarse(
            f"{where}: the header's error rate is {rate!r}, at most {RATE_MAX:g} is allowed: build "
            f"it with a smaller error_rate, for example {STANDARD_RATE:g}"
        )
    if capacity < 1:
        raise FilterUnreadable(f"{where}: the header's capacity is {capacity}")
    shape = pybloom_shape(capacity, rate)
    if (slices, bits_per_slice) != (shape.slices, shape.bits_per_slice):
        raise FilterUnreadable(
            f"{where}: the header says {slices} slices of {bits_per_slice} bits, but a capacity of "
            f"{capacity} at {rate!r} has {shape.slices} of {shape.bits_per_slice}"
        )
    if count > capacity + 1:  # pybloom-live's add() stops one too late
        raise FilterUnreadable(f"{where}: {count} members in a filter for {capacity}")
    if size != shape.file_size:
        raise FilterUnreadable(
            f"{where}: {size} bytes, its header says {shape.file_size}: "
            f"{'cut short' if size < shape.file_size else 'something was appended'}"
        )
    return shape, count


def _looks_scalable(head: bytes) -> bool:
    """Return whether this begins like `ScalableBloomFilter.tofile`: `<idQd`, then `<l` filters."""
    layout = struct.Struct("<idQdl")
    if len(head) < layout.size:
        return False
    scale, ratio, capacity, rate, filters = layout.unpack_from(head)
    return scale in (2, 4) and 0 < ratio <= 1 and capacity > 0 and 0 < rate < 1 and filters >= 0


def _check_bits(f: Filter, where: str) -> None:
    """Refuse bits that hold more members than the header counts.

    `union` and `intersection` of pybloom-live lose the count and let a filter overfill (measured:
    47 % false positives where 1 % was asked). The bits set in k slices of m bits show the number of
    members within a few per thousand: n = -m ln(1 - set / (k m)). This fails for tiny filters:
    pybloom-live does not count a member that was a false positive when it was added.
    """
    m, rate = f.shape.bits_per_slice, f.shape.error_rate
    fill = reference.count_bits(f.bits) / f.shape.num_bits
    members = -m * math.log1p(-fill) if fill < 1 else math.inf
    if f.count and m < _TELLING_BITS:
        return
    # Six standard deviations of the estimate (Whang et al., TODS 1990, bounded from above). By
    # the header's check the count is at most m, so that the exponential stays small.
    spread = 6 * math.sqrt(m * math.expm1(f.count / m) / f.shape.slices)
    if members > f.count / (1 - rate) + spread:
        raise FilterUnreadable(
            f"{where}: the header counts {f.count} members, the bits are those of about "
            f"{members:.0f} (a union loses the count): build it again from its numbers"
        )


_TELLING_BITS = 1024
"""From this slice size on, bits show the members; below it, false positives are not counted."""
