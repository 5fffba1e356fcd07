"""Digits as they are dialled or written by a switch, read as numbers; `number` says how."""

from functools import lru_cache
from typing import Final

import phonenumbers

from stream.core.numbers.e164 import E164_DIGITS_MAX, is_canonical

WITHHELD: Final = ""
"""Answer for digits that are no number."""
SHORT_CODE_MAX: Final = 6
"""Digits of the longest short codes that are known: 116 111 in Europe."""
CACHE_SIZE: Final = 1 << 15
"""Numbers read by phonenumbers that are remembered: about 8 MB."""


def read_dialled(digits: str, region: str | None, prefix: str) -> str | None:
    """Read digits, with or without `+`, as `number` says.

    E.164 with `+`, the digits of a short code, WITHHELD, or None: no number. `prefix` is what the
    switch writes before international numbers, "" if that is not known.
    """
    if prefix and digits.startswith(prefix):
        number = _dialled(f"+{digits.removeprefix(prefix)}", None)
        if number is not None:
            return number
    return _dialled(digits, region)


@lru_cache(CACHE_SIZE)
def _dialled(digits: str, region: str | None) -> str | None:
    """`read_dialled`, without a prefix."""
    if digits.startswith("+"):
        return _international(digits[1:])
    if digits == "":
        return WITHHELD
    if not digits.strip("0") and (len(digits) == 1 or len(digits) > SHORT_CODE_MAX):
        return WITHHELD
    if digits.startswith("00") and len(digits) > _SERVICE_DIGITS:
        return _from_double_zero(digits, region.upper() if region else None)
    national, why = _looked_at(digits, region.upper()) if region else (None, None)
    foreign = None
    # No country code begins with 0; and what may be dialled within an area is no foreign number.
    if region and len(digits) > SHORT_CODE_MAX and not digits.startswith("0") and why != _LOCAL:
        foreign = possible(f"+{digits}", None)
    readings = (national, foreign)
    if foreign is not None and region is not None and _is_own(foreign, region.upper()):
        readings = (foreign, national)
    for reading in readings:
        if reading and phonenumbers.is_valid_number(reading):
            return _e164(reading)
    if 2 <= len(digits) <= SHORT_CODE_MAX and (len(digits) == 3 or not digits.startswith("0")):
        return digits
    if national is None and why == _SHORT:
        return None
    for reading in (national, foreign):
        if reading:
            return _e164(reading)
    return None


def _is_own(reading: phonenumbers.PhoneNumber, region: str) -> bool:
    """Return whether a number is a subscriber's of `region`, where people dial a trunk prefix.

    Digits without that prefix, which begin with the region's own code, are rarely a national
    number. Germany's plan assigns some areas that begin with 49, but all its mobiles have 49.
    """
    has_prefix = phonenumbers.ndd_prefix_for_region(region, True) is not None
    is_home = reading.country_code == phonenumbers.country_code_for_region(region)
    return has_prefix and is_home and phonenumbers.number_type(reading) in _SUBSCRIBERS


_SUBSCRIBERS: Final = frozenset({
    phonenumbers.PhoneNumberType.FIXED_LINE, phonenumbers.PhoneNumberType.MOBILE,
    phonenumbers.PhoneNumberType.FIXED_LINE_OR_MOBILE,
})  # fmt: skip
_SERVICE_DIGITS: Final = 3
"""Of short codes that begin with 0: Australia's 000."""
_MEXICO: Final = 52
_OLD: Final = range(12 * 10**9, 20 * 10**9)
"""A 1 and ten digits of Mexico, of which the first is never 0 or 1."""
_LOCAL: Final = phonenumbers.ValidationResult.IS_POSSIBLE_LOCAL_ONLY
_SHORT: Final = phonenumbers.ValidationResult.TOO_SHORT


def _from_double_zero(digits: str, region: str | None) -> str | None:
    """Reads digits after 00; None: no number, or two, and it is unclear which is meant."""
    usual = _international(digits[2:])
    dialled = None if region is None else possible(digits, region)
    if region is None or dialled is None:
        return usual
    own = _e164(dialled)
    if usual is None or own == usual:
        return own
    home = f"{phonenumbers.country_code_for_region(region)}"
    if digits[2:].startswith(home) and is_assigned(usual):
        return usual
    # After a prefix of the region's own, what is left may look like a trunk prefix: 0011 and 1.
    is_usual = is_assigned(usual) and is_canonical(digits[2:])
    is_own = phonenumbers.is_valid_number(dialled)
    if is_usual == is_own:
        return None
    return own if is_own else usual


def is_ambiguous(digits: str, region: str) -> bool:
    """Return whether digits after 00 are two numbers, and it is unclear which is meant."""
    if not digits.startswith("00") or _dialled(digits, region) is not None:
        return False
    return _international(digits[2:]) is not None and possible(digits, region.upper()) is not None


@lru_cache(CACHE_SIZE)
def is_assigned(number: str) -> bool:
    """Return whether its plan assigns an E.164 number."""
    return bool(phonenumbers.is_valid_number(phonenumbers.parse(number, None)))


def _international(digits: str) -> str | None:
    """Reads digits that begin with a country code."""
    if is_canonical(digits):
        return f"+{digits}"
    reading = possible(f"+{digits}", None)
    return _e164(reading) if reading else None


def possible(digits: str, region: str | None) -> phonenumbers.PhoneNumber | None:
    """Return the reading of phonenumbers, if its length is possible with the area code."""
    return _looked_at(digits, region)[0]


def _looked_at(
    digits: str, region: str | None
) -> tuple[phonenumbers.PhoneNumber | None, int | None]:
    """`possible`, and what phonenumbers says of the length; None: it reads no number at all."""
    try:
        reading = phonenumbers.parse(digits, region)
    except phonenumbers.NumberParseException:
        return None, None
    # Until 2019 callers from abroad wrote a 1 before Mexican mobiles, and many switches still do.
    national = reading.national_number or 0
    if digits.startswith("+") and reading.country_code == _MEXICO and national in _OLD:
        reading.national_number = national - 10**10
    reason = phonenumbers.is_possible_number_with_reason(reading)
    is_possible = reason == phonenumbers.ValidationResult.IS_POSSIBLE
    return reading if is_possible else None, reason


@lru_cache(CACHE_SIZE)
def read_freely(text: str, region: str | None) -> str | None:
    """Return the reading of phonenumbers in any text, as E.164; None: no possible number."""
    reading = possible(text, region and region.upper())
    return _e164(reading) if reading else None


def _e164(reading: phonenumbers.PhoneNumber) -> str | None:
    """Return the number if it has at most 15 digits and reads as itself: no second prefix."""
    text: str = phonenumbers.format_number(reading, phonenumbers.PhoneNumberFormat.E164)
    if len(text) > E164_DIGITS_MAX + 1:
        return None
    if not is_canonical(text[1:]):
        again = possible(text, None)
        if again is None or text != phonenumbers.format_number(
            again, phonenumbers.PhoneNumberFormat.E164
        ):
            return None
    return text
