"""Digests of numbers, from which pybloom-live 4.0 cuts the positions in its filters.

Element: the circle's key in hex, then the number ("+66812345678"). Its position in slice j of a
filter is chunk j of `H(salt || element)`, modulo m, plus j * m (`make_hashfuncs`).
"""

import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Protocol

import numpy as np
import xxhash
from numpy.typing import NDArray

from stream.core import kernels
from stream.core.kernels import reference
from stream.core.numbers.prefix_entries import PREFIX_DIGITS_MAX


@dataclass(frozen=True, slots=True)
class HashPlan:
    """Recipe that cuts positions from digests.

    It cuts `slices` chunks of `chunk` bytes from `salts` digests. Filters with equal plans share
    their digests, for any m.
    """

    algorithm: str
    salts: int
    chunk: int
    slices: int


@lru_cache(maxsize=1024)  # called for each batch; bounded, because shapes come from partners
def hash_plan(slices: int, bits_per_slice: int) -> HashPlan:
    """Return the plan that pybloom-live 4.0.0 takes for this shape (`make_hashfuncs`)."""
    # pybloom-live's own limits: others would find other positions in a partner's file.
    chunk = 8 if bits_per_slice >= 1 << 31 else 4 if bits_per_slice >= 1 << 15 else 2
    bits = 8 * slices * chunk
    algorithm = next((name for name, above in _ALGORITHMS if bits > above), "xxh128")
    per_digest = len(_hasher(algorithm)(b"").digest()) // chunk
    return HashPlan(algorithm, -(-slices // per_digest), chunk, slices)


_ALGORITHMS = (("sha512", 384), ("sha384", 256), ("sha256", 160), ("sha1", 128))


class _Hash(Protocol):
    def copy(self) -> "_Hash": ...
    def update(self, data: bytes, /) -> None: ...
    def digest(self) -> bytes: ...


# CPython's own hashes, 3.12+ and 3.11: for one short message OpenSSL 3's constructor alone costs
# more than the whole built-in hash (measured: SHA-512 of 76 bytes 0.86 against 0.61 us).
_BUILTIN_MODULES = {
    "sha512": ("_sha2", "_sha512"),
    "sha384": ("_sha2", "_sha512"),
    "sha256": ("_sha2", "_sha256"),
    "sha1": ("_sha1",),
}


@lru_cache(maxsize=8)
def _hasher(algorithm: str) -> Callable[[bytes], _Hash]:
    if algorithm == "xxh128":
        return xxhash.xxh128
    for module in _BUILTIN_MODULES[algorithm]:
        try:
            return getattr(import_module(module), algorithm)  # type: ignore[no-any-return]
        except ImportError:
            continue
    return getattr(hashlib, algorithm)  # type: ignore[no-any-return]


@lru_cache(maxsize=64)
def _salt(algorithm: str, index: int) -> bytes:
    # pybloom-live packs the salt's index in native order; its files are little-endian ones.
    return _hasher(algorithm)(struct.pack("<I", index)).digest()


@dataclass(frozen=True, slots=True)
class Elements:
    """Elements of filters: the circle's `prefix`, then each of `numbers` (S16, "+66812345678").

    Bytes are the UTF-8 of the str that pybloom-live receives; it takes bytes for another key.
    """

    prefix: bytes
    numbers: NDArray[np.bytes_]

    def __len__(self) -> int:
        return len(self.numbers)


def elements(e164: NDArray[np.bytes_], key: bytes) -> Elements:
    """Return the elements of `e164` (S16) in the circle with `key`; the plain circle has b"".

    An empty number gives an element that no list holds; the caller ignores such rows.
    """
    assert e164.dtype == "S16", f"numbers of the type {e164.dtype}"
    return Elements(key.hex().encode(), e164)


class Digests:
    """Digests of one batch in one circle; each (algorithm, salt) is hashed once, on demand.

    So one hash per number serves every list of the circle.
    """

    def __init__(self, elements: Elements) -> None:
        self._elements = elements
        self._digests: dict[tuple[str, int], NDArray[np.uint8]] = {}
        self._words: dict[HashPlan, reference.Words] = {}

    def __len__(self) -> int:
        return len(self._elements)

    def words(self, plan: HashPlan) -> reference.Words:
        """Return each element's chunks before the modulo: uint16, 32 or 64, [n, plan.slices]."""
        words = self._words.get(plan)
        if words is None:
            chunks = f"<u{plan.chunk}"
            parts = [self._digest(plan.algorithm, salt).view(chunks) for salt in range(plan.salts)]
            whole = parts[0] if plan.salts == 1 else np.concatenate(parts, axis=1)
            words = self._words[plan] = whole[:, : plan.slices]
        return words

    def fingerprints(self) -> NDArray[np.uint64]:
        """Return the numbers' fingerprints in the circle: the last 8 bytes of the first SHA-512.

        This is a view of the digests. A caller that keeps fingerprints copies them.
        """
        return self._digest("sha512", 0).view("<u8")[:, -1]

    def _digest(self, algorithm: str, salt_index: int) -> NDArray[np.uint8]:
        digests = self._digests.get((algorithm, salt_index))
        if digests is None:
            prefix = _salt(algorithm, salt_index) + self._elements.prefix
            if algorithm == "sha512" and kernels.compiled():
                digests = _sha512_in_lanes(prefix, self._elements.numbers)
            else:
                digests = _one_by_one(algorithm, prefix, self._elements.numbers)
            self._digests[algorithm, salt_index] = digests
        return digests


_AT_ONCE = 1 << 16
"""Numbers hashed together: their digests take eight times the memory of the fingerprints."""


def fingerprints_in(texts: NDArray[np.bytes_], key: bytes) -> NDArray[np.uint64]:
    """Return the fingerprints of numbers and prefix entries (S16) in the circle with `key`."""
    found = np.empty(len(texts), np.uint64)
    for at in range(0, len(texts), _AT_ONCE):
        digests = Digests(elements(texts[at : at + _AT_ONCE], key))
        found[at : at + _AT_ONCE] = digests.fingerprints()
    return found


def fingerprints_of(e164: str, key: bytes) -> list[int]:
    """Return the fingerprints of a number and of all its prefixes that may be listed, ascending.

    The last prefix has all digits of the number: it holds the number and all its extensions.
    """
    longest = min(len(e164) - 1, PREFIX_DIGITS_MAX)
    texts = [e164, *(f"{e164[: 1 + digits]}*" for digits in range(1, longest + 1))]
    found = Digests(elements(np.array(texts, "S16"), key)).fingerprints()
    return [int(fingerprint) for fingerprint in found]


def _sha512_in_lanes(prefix: bytes, numbers: NDArray[np.bytes_]) -> NDArray[np.uint8]:
    """Return the SHA-512 of `prefix` and each number: 50 to 60 ns a number (measured)."""
    from stream.core.kernels.hashing import START, sha512_numbers

    words = np.empty((len(numbers), 8), np.uint64)
    texts = np.ascontiguousarray(numbers).view(np.uint8)
    sha512_numbers(texts, np.frombuffer(prefix, np.uint8), START, words.reshape(-1))
    return words.view(np.uint8)


def _one_by_one(algorithm: str, prefix: bytes, numbers: NDArray[np.bytes_]) -> NDArray[np.uint8]:
    # The prefix is hashed once and its state copied: with a key of 32 bytes it fills SHA-512's
    # first block. A number then costs 0.5 us instead of 0.9 (measured).
    begin = _hasher(algorithm)(prefix).copy
    size = len(begin().digest())
    made = []
    for number in numbers.tolist():
        state = begin()
        state.update(number)
        made.append(state.digest())
    return np.frombuffer(b"".join(made), np.uint8).reshape(len(made), size)
