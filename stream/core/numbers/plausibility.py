"""Faults of a caller's number that the number alone shows. Pure.

The rules of `core.policy.rules.RuleSettings` decide whether that means anything. Carriers abroad
may well send numbers that a stale plan here does not know.
"""

from enum import Enum, auto
from functools import cache, lru_cache
from typing import Final

import numpy as np
import phonenumbers
from numpy.typing import NDArray
from phonenumbers import NumberParseException, ValidationResult

from stream.core.numbers.dialled import CACHE_SIZE, is_ambiguous
from stream.core.numbers.e164 import HEAD_DIGITS, cells_of, heads_of
from stream.core.numbers.number import Kind, Numbers
from stream.core.numbers.numbering import tables
from stream.core.numbers.parties import party_of

SHORT_DIGITS: Final = (3, 4)
"""Digits of national numbers that never come from abroad (NBTC): emergency and service numbers."""


class Oddity(Enum):
    """Reason for which a text of digits is no number."""

    UNASSIGNED_COUNTRY_CODE = auto()
    IMPOSSIBLE_LENGTH = auto()


@lru_cache(CACHE_SIZE)
def oddity_of(text: str, region: str) -> Oddity | None:
    """Return why `text`, which `number.parse` holds to be INVALID on a trunk of `region`, is no
    number.

    None: something else is wrong with it; it is no text of digits, or begins with a prefix that
    does not belong there.
    """
    party = party_of(text)
    digits = party.dialled if party else None
    if digits is None:
        return None
    written = f"+{digits[2:]}" if digits.startswith("00") else digits
    try:
        reading = phonenumbers.parse(written, region)
    except NumberParseException as error:
        if error.error_type == NumberParseException.INVALID_COUNTRY_CODE:
            return Oddity.UNASSIGNED_COUNTRY_CODE
        is_number = error.error_type != NumberParseException.NOT_A_NUMBER
        return Oddity.IMPOSSIBLE_LENGTH if is_number else None
    reason = phonenumbers.is_possible_number_with_reason(reading)
    return None if reason == ValidationResult.IS_POSSIBLE else Oddity.IMPOSSIBLE_LENGTH


def may_be_two_numbers(text: str, region: str) -> bool:
    """Return whether `text`, which `number.parse` holds to be INVALID, is a number read in two
    ways.

    Nothing is wrong with it: see there, digits after 00.
    """
    party = party_of(text) if "00" in text else None
    digits = party.dialled if party else None
    return digits is not None and is_ambiguous(digits, region)


@cache
def _assigned_table() -> NDArray[np.uint16]:
    """Return by the first six digits: bit n is set where n digits are given out; uint16[10^6].

    All bits are set where nothing is known of the country. Made when first asked for: it takes 2 MB
    and 2 ms.
    """
    table = np.full(10**HEAD_DIGITS, 0xFFFF, np.uint16)
    blocks = tables().blocks
    for code in {one.code for one in blocks}:
        table[cells_of(str(code))] = 0
    for one in blocks:
        for begin in one.begins:
            first, _, last = begin.partition("-")
            start = cells_of(f"{one.code}{first}").start
            stop = cells_of(f"{one.code}{last or first}").stop
            table[start:stop] |= 1 << one.digits
    return table


_IN_DIGITS: Final = np.uint64(0x1010101010101010)
"""A bit that every digit has, and neither `+` nor what fills a text up."""


def in_unassigned_block(numbers: Numbers) -> NDArray[np.bool_]:
    """Return which numbers are in a block of which their plan has given out no number of that
    length.
    """
    is_number: NDArray[np.bool_] = numbers.kinds == Kind.E164
    # What is no number is looked at as +000000, of which nothing is known.
    e164 = numbers.e164 if is_number.all() else np.where(is_number, numbers.e164, b"+000000")
    words = np.ascontiguousarray(e164, "S16").view("<u8").reshape(-1, 2)
    digits = np.bitwise_count(words & _IN_DIGITS)
    lengths = _assigned_table()[heads_of(e164)]
    found: NDArray[np.bool_] = lengths >> (digits[:, 0] + digits[:, 1]) & 1 == 0
    return found


def same_numbers(callers: Numbers, callees: Numbers) -> NDArray[np.bool_]:
    """Return which calls have one number as caller and as callee."""
    found: NDArray[np.bool_] = callers.kinds == Kind.E164
    found &= callers.e164 == callees.e164
    return found


def short_numbers(numbers: Numbers) -> list[int]:
    """Return the rows with a national number of three or four digits."""
    rows = np.flatnonzero(numbers.kinds == Kind.SHORT_CODE).tolist()
    return [row for row in rows if len(numbers.text(row)) in SHORT_DIGITS]
