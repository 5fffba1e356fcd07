"""All numbers that a caller's text may be read as: no spelling hides a listed caller. Pure.

`number.parse` reads a text once and carefully, as a row of a list must be read. A caller chooses
the text, and the switches, proxies and phones after us read more than that. libphonenumber takes
`abc0812345678`, `+66812345678 ext 9` and `+6681*2345678` for numbers. One proxy takes the URI
before a `;`, the next one that in `<>`. So a caller who is no number by `parse` is looked up as
what libphonenumber makes of it (`read_caller`). Where several questions can be asked, by SIP and by
HTTP, all readings are asked, and the strictest verdict counts (`readings_of`).

Called numbers are not read so: what is dialled has prefixes and feature codes (`*21*081...#`).
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from stream.core.numbers.dialled import is_assigned, read_freely
from stream.core.numbers.number import RAW_MAX, Kind, Number, parse
from stream.core.numbers.operator_prefixes import hides_mark
from stream.core.numbers.parties import TEXT_MAX, CallParty, is_dotted_quad, party_of, uris_in
from stream.core.numbers.spelling import folded

ODD_LENGTH_MAX: Final = 64  # texts come from callers: readings are bounded
ODD_DIGITS_MAX: Final = 30
"""Limits of texts for phonenumbers: its expressions take the square of the length, 0.3 ms here."""
DIGITS_MIN: Final = 3
"""With fewer, phonenumbers finds no number, though it takes letters for digits (`800FLOWERS`)."""
_SEPARATORS: Final = re.compile(r"[ \-.()/]++")
_PLAIN: Final = re.compile(
    r"(?>(?:(?:sips?|tel):)?)(\+?+[0-9]++)(?>(?:@[A-Za-z0-9.:-]++)?)(?>(?:;user=phone)?)"
)
"""Nearly all callers, of whom there is nothing more to read."""
_CONTEXT: Final = "phone-context"
_OTHERS: Final = re.compile(r"[^0-9]++")


@dataclass(frozen=True, slots=True)
class Readings:
    """The reading of `parse`, and all `numbers` in E.164 that others may read, likeliest first.

    `guesses` are digits dug out of a name that no plan gives out, or with those around them. Lists
    are matched with them, but `user12345678` is no Thai number that calls from abroad. `whole`:
    these are all. It is false if the text is too long to read, or holds a character at which some
    programs stop.
    """

    first: Number
    numbers: tuple[str, ...]
    guesses: tuple[str, ...] = ()
    whole: bool = True

    @property
    def others(self) -> tuple[str, ...]:
        """Those of `numbers` that `read_caller` does not take the text for."""
        is_one = self.first.kind in (Kind.E164, Kind.INVALID)
        return self.numbers[1:] if is_one else self.numbers


def readings_of(text: str, region: str | None, prefix: str = "") -> Readings:
    """Return all readings of a caller's text on a trunk of `region` and `prefix` (see `parse`)."""
    first = parse(text, region, prefix)
    is_number = first.kind is Kind.E164
    plain = _PLAIN.fullmatch(text) if is_number else None
    if plain is not None and _is_sole(plain[1], first.text, region, prefix):
        # Nearly every call ends here: the rest takes ten times as long.
        return Readings(first, (first.text,))
    uris, whole = uris_in(text)
    parties = [party_of(uri) for uri in uris]
    numbers = {first.text: None} if is_number else {}
    guesses: dict[str, None] = {}
    for party in parties:
        if party is not None:
            dialled = list(_dialled(party, region, prefix))
            numbers.update(dict.fromkeys(dialled))
            if not (dialled and _is_plain(party, dialled[0], region, prefix)):
                for number, is_guess in _dug_out(party, region):
                    # Another reading of digits that say a number by themselves is a guess too.
                    (guesses if is_guess or dialled else numbers).setdefault(number)
    whole = whole and all(
        _is_sound(party) if party is not None else len(uri) <= TEXT_MAX
        for uri, party in zip(uris, parties, strict=True)
    )
    guessed = tuple(number for number in guesses if number not in numbers)
    return Readings(first, tuple(numbers), guessed, whole)


def read_caller(text: str | None, region: str | None, prefix: str = "") -> Number:
    """`parse`, and where that finds nothing, the likeliest number that others do, as DISGUISED.

    Digits alone disguise nothing: if two plans assign them, it is unclear which is meant. A text
    with an operator's mark stays INVALID: `operator_prefixes.without_marks` reads it.
    """
    number = parse(text, region, prefix)
    if number.kind is Kind.E164 and region and text and hides_mark(text, number.text, region):
        return Number(Kind.INVALID, text[:RAW_MAX])
    if number.kind is not Kind.INVALID or text is None or text[1:].isdecimal():
        return number
    party = party_of(text)
    if party is not None and party.dialled is not None:
        return number
    numbers = readings_of(text, region, prefix).numbers
    return Number(Kind.DISGUISED, numbers[0]) if numbers else number


def _dialled(party: CallParty, region: str | None, prefix: str) -> Iterator[str]:
    """Yield the readings of digits: in their context and without it."""
    digits = party.dialled
    if digits is None:
        return
    if party.context is not None:
        yield from _numbers(parse(f"{party.context}{digits}", None), parse(digits, party.region))
    yield from _numbers(parse(digits, region, prefix))


def _is_plain(party: CallParty, number: str, region: str | None, prefix: str) -> bool:
    """Return whether a party is nothing but digits that everybody reads as `number`."""
    if party.context is not None or party.dialled is None:
        return False
    if party.dialled.startswith("+"):
        return True
    # A context that `party_of` does not take is one for phonenumbers.
    has_context = _CONTEXT in party.parameters.lower()
    return not has_context and _is_sole(party.dialled, number, region, prefix)


def _is_sole(digits: str, number: str, region: str | None, prefix: str) -> bool:
    """Return whether everybody reads digits as the `number` that `parse` reads in them.

    National digits have a second reading if they are possible in the trunk's plan and assigned in
    another (`12016161015` in China). Digits after 00 have one if two plans assign them.
    """
    if digits.startswith(("+", prefix) if prefix else "+"):
        return True
    others = [read_freely(digits, region)]
    if digits.startswith("00"):
        others.append(read_freely(f"+{digits[2:]}", region))
    return all(other in (number, None) for other in others)


def _dug_out(party: CallParty, region: str | None) -> Iterator[tuple[str, bool]]:
    """Yield the readings of those who read more than digits, and whether they are guesses."""
    user, parameters = folded(party.user), folded(party.parameters)
    is_sure = "+" in user
    if parameters and _digits(user) < DIGITS_MIN:
        # Some stacks hand on the user part with its parameters: `tel:;+66812345678`.
        user = f"{user};{parameters}"
    if is_dotted_quad(user) or _digits(user) < DIGITS_MIN or not _is_readable(user):
        return
    # Signs between digits say nothing to phonenumbers, and cost it most.
    texts = [_SEPARATORS.sub(" ", user).strip()]
    if _CONTEXT in parameters.lower() and _is_readable(parameters):
        texts.append(f"{texts[0]};{parameters}")
    dialled = party.dialled or ""
    if dialled.startswith("00"):
        # Two plans may assign it, each to another: it is unclear which is meant, so both are asked.
        texts.append(f"+{dialled[2:]}")
    regions = dict.fromkeys((party.region or region, region))
    read = (read_freely(text, one) for text in texts for one in regions)
    found = [number for number in read if number is not None]
    # A reader that drops all but digits reads `0812~345~678`, and an extension as part of it.
    bare = ("+" if "+" in user else "") + _OTHERS.sub("", user)
    bares = list(_numbers(*(parse(bare, one) for one in regions)))
    for number in found or bares:
        # Digits alone disguise nothing: where `parse` reads none, each is a guess.
        yield number, party.dialled is not None or not (is_sure or is_assigned(number))
    if found:
        yield from ((number, True) for number in bares)


def _numbers(*found: Number) -> Iterator[str]:
    return (one.text for one in found if one.kind is Kind.E164)


def _digits(text: str) -> int:
    return sum(map(str.isdecimal, text))


def _is_readable(text: str) -> bool:
    """Return whether a text is short enough for phonenumbers."""
    return len(_SEPARATORS.sub(" ", text)) <= ODD_LENGTH_MAX and _digits(text) <= ODD_DIGITS_MAX


def _is_sound(party: CallParty) -> bool:
    """Return whether a party that is not read here cannot hold a number for any reader."""
    user = folded(party.user)
    if any(unicodedata.category(sign) == "Cc" for sign in user):
        return False
    if _SEPARATORS.sub("", user).removeprefix("+").isdecimal():
        return True  # of more digits than any number has, if `dialled` does not read it
    return _digits(user) < DIGITS_MIN or _is_readable(user)
