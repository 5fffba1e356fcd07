"""Prefixes and ranges: entries that cover every number that begins like them.

A prefix is written `+8552390*`, in files, in the list store and, as an element, in
filters: its fingerprint is that text's. A range of numbers of one length is cut into prefixes when
it is read, so nothing else needs to know of ranges. What such an entry may cover is bounded:
`PrefixRules` say how short a prefix may be.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cache, lru_cache
from typing import Final

import numpy as np
import phonenumbers

from stream.core.numbers.e164 import E164_DIGITS_MAX, HEAD_DIGITS, cells_of, plan_table
from stream.core.numbers.number import Kind, parse, region_of
from stream.core.numbers.numbering import tables
from stream.core.numbers.parties import CallParty
from stream.core.numbers.spelling import folded

PREFIX_DIGITS_MAX: Final = 14
"""`+`, so many digits and `*` are the 16 bytes that an element has at most."""
PIECES_MAX: Final = 100
"""Entries that one range may become: one in the middle of nowhere, 10^5 long, needs at most 90."""
PREFIX_DIGITS_MIN: Final = 9
"""Where nothing else is said: 10,000 numbers at most, even where they have 13 digits."""

_PATTERN = re.compile(r"(.*\d[ \-.()/]*)(\*|[#xX]+)\Z", re.DOTALL)
_WORDS: Final = (
    *(" to ", " until ", " through ", " bis ", " a ", " \u00e0 ", " au ", " al ", "~", ".."),
    *("\u0e16\u0e36\u0e07", " \u0111\u1ebfn ", " sampai ", " hingga ", " s/d "),
)
"""Words between the ends of a range, of offices of the region and of numbering plans."""
_FILL = "5"
"""The digit that fills a prefix up, to see how a whole number of it would be read."""


class PrefixFault(Enum):
    """Reason for which a prefix or range cannot be listed, and what to do."""

    PREFIX_TOO_SHORT = (
        "the prefix stands for too many numbers: list longer ones, or set how many digits it must "
        "have with [lists.prefix_digits_min]"
    )
    RANGE_TOO_WIDE = (
        "the range holds too many numbers, or needs more than 100 prefixes: list smaller ranges, "
        "or lower [lists.prefix_digits_min]"
    )
    BAD_PREFIX = (
        "no prefix or range: write +8552390* or +85523900000-+85523900999, both ends of one length "
        "and country, the smaller one first"
    )
    NO_COUNTRY = "a national prefix or range: say whose with --region TH, or write +"


@dataclass(frozen=True, slots=True)
class PrefixRules:
    """The fewest digits of a prefix, country code included: by country (ISO 3166), else `default`.

    Whatever is set, a prefix is longer than its country code: no list holds a whole country.
    """

    default: int = PREFIX_DIGITS_MIN
    countries: Mapping[str, int] = field(default_factory=dict)

    def least(self, prefix: str) -> int:
        """Return the fewest digits that `prefix` ("+8552390*") needs where it lies."""
        country = country_of(prefix)
        least = self.countries.get(country or "", self.default)
        return max(least, len(_code_of(prefix)) + 1)

    def too_short(self, prefix: str) -> bool:
        """Return whether `prefix` ("+8552390*") covers more numbers than one entry may."""
        return len(prefix) - 2 < self.least(prefix)


STRICT: Final = PrefixRules()
"""Every country's prefixes have `PREFIX_DIGITS_MIN` digits."""


def is_prefix(text: str) -> bool:
    """Return whether an entry's text is a prefix's, and no number's."""
    return text.endswith("*")


def country_of(prefix: str) -> str | None:
    """Return the country (ISO 3166) of the numbers of `prefix` ("+8552390*"); None: none.

    Where countries share a code (+1, +7), that of a number which begins so, else the largest.
    """
    return _country_of(prefix[1:].removesuffix("*"))


@lru_cache(maxsize=1 << 14)  # a file of prefixes asks for the same few areas again and again
def _country_of(digits: str) -> str | None:
    main = region_of(f"+{digits}")
    if main is None or len(phonenumbers.region_codes_for_country_code(_calling_code(main))) == 1:
        return main
    for length in _lengths(digits):
        for fill in "25":
            found = region_of(f"+{digits.ljust(length, fill)}")
            if found not in {None, main}:
                return found
    return main


def cut(first: str, last: str) -> list[str]:
    """Return the fewest prefixes, and numbers, that hold just what lies from `first` to `last`.

    Both are E.164 ("+85523900000") of one length, both belong to the range. Longer numbers that
    begin like one of it are not told apart: they are its holder's extensions.
    """
    assert len(first) == len(last), "a range of numbers of two lengths"
    at, end, digits = int(first[1:]), int(last[1:]), len(first) - 1
    pieces = []
    while at <= end:
        step, kept = 1, digits
        while kept > 1 and at % (step * 10) == 0 and at + step * 10 - 1 <= end:
            step, kept = step * 10, kept - 1
        pieces.append(f"+{at}" if step == 1 else f"+{str(at)[:kept]}*")
        at += step
    return pieces


def read_entries(
    text: str, region: str | None, rules: PrefixRules
) -> tuple[str, ...] | PrefixFault | None:
    """Return the entries of a prefix or range; None: `text` is neither.

    A prefix ends with `*`, or with a `#` or `x` for each open digit. It is written internationally,
    or as dialled in `region`. A range is two numbers with a dash or a word such as `to` between
    them.
    """
    text = folded(text.strip())
    ends = range_ends(text)
    if ends is not None:
        return _range(*ends, region, rules)
    pattern = _PATTERN.match(text)
    digits = CallParty(pattern[1]).dialled if pattern else None
    if not pattern or digits is None:
        return PrefixFault.BAD_PREFIX if text in {"*", "+*"} else None
    open_digits = 0 if pattern[2] == "*" else len(pattern[2])
    prefix = _prefix(digits, open_digits, region)
    if isinstance(prefix, PrefixFault):
        return prefix
    if rules.too_short(prefix):
        return PrefixFault.PREFIX_TOO_SHORT
    if len(prefix) - 2 > PREFIX_DIGITS_MAX or not _lengths(prefix[1:-1]):
        return PrefixFault.BAD_PREFIX
    return (prefix,)


def range_ends(text: str) -> tuple[str, str] | None:
    """Return the two ends of a range, in one text folded to ASCII; None: it is none."""
    return _ends_by_word(text) or _ends(text)


def _ends_by_word(text: str) -> tuple[str, str] | None:
    """Return the two ends of a range with a word between them; None: there is none."""
    text = text.casefold()
    for word in _WORDS:
        first, found, last = text.partition(word)
        if found and any(map(str.isdigit, first)) and any(map(str.isdigit, last)):
            return first.strip(), last.strip()
    return None


def _ends(text: str) -> tuple[str, str] | None:
    """Return the two ends of a range; None: it is none."""
    first, dash, last = text.rpartition("-+")
    if dash:
        return first.strip(), f"+{last}"
    first, _, last = text.partition("-")
    digits = [sum(map(str.isdigit, part)) for part in (first, last)]
    # More digits than a number has, and no more groups: `0812345000-0812345999`.
    if "-" not in last and min(digits) >= HEAD_DIGITS and sum(digits) > E164_DIGITS_MAX:
        return first.strip(), last.strip()
    return None


def _range(
    first: str, last: str, region: str | None, rules: PrefixRules
) -> tuple[str, ...] | PrefixFault:
    ends = [parse(text, region) for text in (first, last)]
    if any(end.kind is not Kind.E164 for end in ends):
        known = region is not None or first.startswith("+")
        return PrefixFault.BAD_PREFIX if known else PrefixFault.NO_COUNTRY
    low, high = (end.text for end in ends)
    if len(low) != len(high) or low > high or _code_of(low) != _code_of(high):
        return PrefixFault.BAD_PREFIX
    pieces = cut(low, high)
    if len(pieces) > PIECES_MAX or any(is_prefix(p) and rules.too_short(p) for p in pieces):
        return PrefixFault.RANGE_TOO_WIDE
    return tuple(pieces)


def _prefix(digits: str, open_digits: int, region: str | None) -> str | PrefixFault:
    """Return the prefix that `digits` mean, as a person wrote them."""
    if not open_digits and digits.startswith("+") and _lengths(digits[1:]):
        return f"{digits}*"
    return _as_dialled(digits, open_digits, region.upper() if region else None)


@lru_cache(maxsize=1 << 14)
def _as_dialled(digits: str, open_digits: int, region: str | None) -> str | PrefixFault:
    """Return the prefix as which whole numbers that begin with `digits` are read, if it is one.

    `open_digits` 0: of any length. Of several readings the region's own is taken.
    """
    # What stands before the country code, 00, is no digit of the number.
    longest = E164_DIGITS_MAX + 2 - len(digits.removeprefix("+"))
    found: set[str] = set()
    for more in (open_digits,) if open_digits else range(1, longest + 1):
        number = parse(digits + _FILL * more, region)
        text = number.text[:-more]
        # A reading in which a trunk prefix is still there (+66 0 81) is none.
        if number.kind is Kind.E164 and text + _FILL * more == number.text and _lengths(text[1:]):
            found.add(text)
    if len(found) > 1 and region is not None:
        home = f"+{_calling_code(region)}"
        found = {text for text in found if text.startswith(home)}
    if len(found) == 1:
        return f"{found.pop()}*"
    known = region is not None or digits.startswith("+")
    return PrefixFault.BAD_PREFIX if known else PrefixFault.NO_COUNTRY


def _lengths(digits: str) -> list[int]:
    """Return the lengths that numbers with these first digits may have; none: there are no such."""
    lengths = _plan_of(digits[:HEAD_DIGITS])
    return [n for n in range(len(digits), E164_DIGITS_MAX + 1) if lengths >> n & 1]


@lru_cache(maxsize=1 << 14)
def _plan_of(head: str) -> int:
    """Return the bits of `plan_table` of all numbers that begin with `head`, six digits at most."""
    if head[:1] in {"", "0"}:
        return 0
    return int(np.bitwise_or.reduce(plan_table()[cells_of(head)]))


@cache
def _codes() -> frozenset[str]:
    return frozenset(str(plan.code) for plan in tables().plans)


def _code_of(text: str) -> str:
    """Return the country code that `+` and digits begin with; "" where no country has it."""
    return next((text[1:end] for end in (2, 3, 4) if text[1:end] in _codes()), "")


def _calling_code(region: str) -> int:
    return int(phonenumbers.country_code_for_region(region))
