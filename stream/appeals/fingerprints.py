"""Find the number that has a fingerprint, as a list's owner can, who has the circle's key.

A partner that was blocked by a prefix reports the fingerprint of its number, which no list holds. A
partner that has not moved to the circle's next key reports a fingerprint by the former key. So the
numbers that the list holds, and those that its prefixes cover, are hashed.
"""

from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np
import phonenumbers
from numpy.typing import NDArray
from phonenumbers import PhoneMetadata

from stream.core.filters.digests import fingerprints_in
from stream.core.model.entry import PREFIX_MARK, Columns, text_of
from stream.core.numbers.codes import texts_of

HASHED_MAX: Final = 5_000_000
"""Numbers that are tried for one answer: a few seconds. Prefixes beyond that are not looked at."""
_CHUNK: Final = 100_000
"""Numbers hashed at once: 25 MB of digests."""


def number_in(columns: Columns, fingerprint: int, key: bytes) -> str | None:
    """Return the number with that fingerprint that a list holds or one of its prefixes covers."""
    codes = np.unique(columns.number)
    marked = codes >= np.uint64(PREFIX_MARK)
    numbers = codes[(codes != 0) & ~marked]
    for start in range(0, len(numbers), _CHUNK):
        texts = texts_of(numbers[start : start + _CHUNK])
        places = _places(texts, fingerprint, key)
        if len(places):
            found: bytes = texts[int(places[0])]
            return found.decode("ascii")
    prefixes = [text for text in map(text_of, codes[marked].tolist()) if text is not None]
    return number_under(prefixes, fingerprint, key)


def number_under(prefixes: Iterable[str], fingerprint: int, key: bytes) -> str | None:
    """Return the number with the fingerprint that one of `prefixes` ("+8552390*") covers.

    None: none that was tried. Blocks for up to a few seconds; longer prefixes are tried first.
    """
    tried = 0
    for prefix in sorted(prefixes, key=lambda text: (-len(text), text)):
        for chunk in _numbers(prefix.removesuffix("*")):
            tried += len(chunk)
            if tried > HASHED_MAX:
                return None
            places = _places(np.array(chunk, "S16"), fingerprint, key)
            if len(places):
                return chunk[int(places[0])]
    return None


def _places(texts: NDArray[np.bytes_], fingerprint: int, key: bytes) -> NDArray[np.int64]:
    return np.flatnonzero(fingerprints_in(texts, key) == np.uint64(fingerprint))


def _numbers(start: str) -> Iterator[list[str]]:
    """Yield the numbers that begin with `start`, of the lengths that its country has, in pieces."""
    for length in sorted(_lengths(start)):
        digits = length - len(start) + 1
        if digits < 0 or 10**digits > HASHED_MAX:  # one such prefix would use up the whole budget
            continue
        if not digits:
            yield [start]
            continue
        for first in range(0, 10**digits, _CHUNK):
            last = min(first + _CHUNK, 10**digits)
            yield [f"{start}{n:0{digits}d}" for n in range(first, last)]


def _lengths(start: str) -> set[int]:
    """Return the lengths in digits of the country's numbers, its code included."""
    for code_digits in (1, 2, 3):
        code = int(start[1 : 1 + code_digits] or 0)
        regions = phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(code, ())
        if not regions:
            continue
        found: set[int] = set()
        for region in regions:
            held = PhoneMetadata.metadata_for_region(region, None)
            if held is not None and held.general_desc is not None:
                found |= {code_digits + n for n in held.general_desc.possible_length if n > 0}
        return found
    return set()
