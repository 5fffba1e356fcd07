"""National numbers as most regions write them, read without phonenumbers' hundred steps. Pure.

`number.parse` takes 35 to 45 us for a national number, a spreadsheet of a million of them 40 s.
Some regions have a country code for themselves, and a national prefix that is only digits to drop.
There phonenumbers' work on a valid number is simple, and done here in 2 us. Every other text, and
every other region, is left to `number.parse`.
"""

import re
from collections.abc import Callable
from functools import lru_cache

import phonenumbers
from phonenumbers import PhoneMetadata, PhoneNumberDesc

from stream.core.numbers.e164 import is_canonical

LENGTH_MIN = 8
"""Shorter texts may be short codes or local numbers."""
LENGTH_MAX = 20
"""No number is longer, whatever prefix is before it: so no pattern of a region sees a long text."""
_TYPES = (
    *("fixed_line", "mobile", "toll_free", "premium_rate", "shared_cost"),
    *("voip", "personal_number", "pager", "uan", "voicemail"),
)
_Matches = Callable[[str], bool]


@lru_cache(64)
def national_reader(region: str) -> Callable[[str], str | None] | None:
    """Return a reader of digits on a trunk of `region`: E.164, or None for "ask `number.parse`".

    None where the region's numbers are not so simple.
    """
    held = PhoneMetadata.metadata_for_region(region.upper(), None)
    if held is None or held.general_desc is None or held.country_code is None:
        return None
    code, prefix = str(held.country_code), held.national_prefix
    alone = len(phonenumbers.region_codes_for_country_code(held.country_code)) == 1
    plain = prefix is not None and prefix == held.national_prefix_for_parsing and prefix.isdigit()
    if not (alone and plain) or held.national_prefix_transform_rule or held.leading_digits:
        return None
    assert prefix is not None
    general = _matcher(held.general_desc)
    like_national = re.compile(held.general_desc.national_number_pattern or "").fullmatch
    kinds = [_matcher(desc) for name in _TYPES if (desc := getattr(held, name)) is not None]
    abroad = re.compile(held.international_prefix or "(?!)").match
    local = frozenset(held.general_desc.possible_length_local_only)

    def valid(national: str) -> bool:
        return (
            len(national) not in local
            and not national.startswith(("0", prefix))
            and general(national)
            and any(kind(national) for kind in kinds)
            and is_canonical(code + national)
        )

    def read(text: str) -> str | None:
        if not (LENGTH_MIN <= len(text) <= LENGTH_MAX and text.isascii() and text.isdigit()):
            return None
        if text.startswith("00") or abroad(text):
            return None
        if text.startswith(prefix):
            national = text[len(prefix) :]
            return f"+{code}{national}" if valid(national) and text[0] != code[0] else None
        if text.startswith(code):
            # Else phonenumbers takes the code for the first digits of a national number.
            is_international = valid(text[len(code) :]) and not like_national(text)
            return f"+{text}" if is_international else None
        return None

    return read


def _matcher(desc: PhoneNumberDesc) -> _Matches:
    """Return a test that a national number has the length and digits of `desc`."""
    lengths = frozenset(desc.possible_length)
    pattern = re.compile(desc.national_number_pattern or "(?!)").fullmatch
    return lambda national: (
        (not lengths or len(national) in lengths) and pattern(national) is not None
    )
