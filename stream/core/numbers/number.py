"""Numbers: E.164 in one place, the only one where digits are cleaned.

A switch writes a number in many ways (`+66 81-234-5678`, `0066812345678`, `0812345678`,
`sip:+66812345678@host;user=phone`, `Anonymous`). `parse` reads one such text, `parse_many` a batch.
A number may be written:

1. `+` and digits: international. A trunk prefix after the country code goes (`+66 0 81...`).
2. `00` and digits: international, as most switches write it. Or as dialled in the region, if that
   is something else (`0011` in Australia, Thailand's carriers 001, 007, 009...). The reading that a
   plan assigns counts. If plans assign both, and to different numbers, the text is invalid. For
   example, 0091 and ten digits may be India, or a carrier's 009 and the United States. `00` and the
   region's own country code is a number of the region. A known `prefix` removes the ambiguity.
3. Digits only: as dialled in the region of the trunk, if its plan assigns such numbers. Else it is
   an international number without its `+` (`85523900123` on a Thai trunk), if a plan assigns it.
   If both are numbers of the region, the second counts for a fixed line or mobile where people dial
   a trunk prefix: `4917139200...` on a German trunk is a mobile, not an area that begins with 49.
   Else it is a short code, if it has at most six digits. Else a reading with a possible length
   counts, the national one first. A number that could be dialled within an area (seven digits in
   Canada) is never a foreign one. Nor is one that is too short for the region, unless a plan
   assigns it. Without a region nothing is guessed: more than six digits are invalid.

Between digits only ` -.()/` may stand. Digits, blanks and dashes of any script count as ASCII's
(`core.numbers.spelling`): the callee reads them so. Other readings of a text are in
`core.numbers.caller_readings`.
"""

import re
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache
from typing import Final

import numpy as np
import phonenumbers
from numpy.typing import NDArray

from stream.core.model.byte_strings import Texts
from stream.core.numbers.dialled import CACHE_SIZE, WITHHELD, is_assigned, possible, read_dialled
from stream.core.numbers.e164 import E164_DIGITS_MAX, canonical_words, is_canonical
from stream.core.numbers.parties import DIALLED_MAX, NO_HOST, main_region, party_of


class Kind(IntEnum):
    """Kinds of texts in a caller's or callee's field.

    DISGUISED is E164 to others than `parse`: see `core.numbers.caller_readings`. No `Numbers` hold
    it.
    """

    INVALID = 0
    E164 = 1
    SHORT_CODE = 2
    ALPHANUMERIC = 3
    ANONYMOUS = 4
    DISGUISED = 5


@dataclass(frozen=True, slots=True)
class Number:
    """Number or name that a text says.

    `text` is "+66812345678" for E164, the digits for a short code ("1155"), the name for
    ALPHANUMERIC ("KBank"). It is "anonymous" for ANONYMOUS, and the text's first 64 characters for
    INVALID.
    """

    kind: Kind
    text: str


@dataclass(frozen=True, slots=True)
class Numbers:
    """A batch of numbers, in columns of one length.

    `e164` S16: b"+66812345678", or b"" if the kind is not E164. `kinds` uint8: `Kind`.
    `other_texts` maps a row to `Number.text` if it is not E164. `marks` maps a row to an operator's
    mark of the number, see `operator_prefixes`. `disguised` rows are E164 in a text that `parse`
    refuses.
    """

    e164: NDArray[np.bytes_]
    kinds: NDArray[np.uint8]
    other_texts: Mapping[int, str] = field(default_factory=dict)
    marks: Mapping[int, str] = field(default_factory=dict)
    disguised: Collection[int] = frozenset()

    def __len__(self) -> int:
        return len(self.kinds)

    def followed_by(self, others: "Numbers") -> "Numbers":
        """Return columns of these and `others` behind them, without texts and marks."""
        return Numbers(
            np.concatenate([self.e164, others.e164]), np.concatenate([self.kinds, others.kinds])
        )

    def text(self, row: int) -> str:
        """`Number.text` of one row."""
        e164: bytes = self.e164[row]
        return e164.decode("ascii") if e164 else self.other_texts.get(row, "")


RAW_MAX: Final = 64
"""Characters kept of an invalid text: they go into decisions and logs, and a text has no end."""
NAME_MAX: Final = 32
"""Characters of a sender's name. SMS allows 11 (3GPP TS 23.040); SIP has no limit."""
NAME_DIGITS_MAX: Final = 6
"""A name with more digits than this is a disguised number, not a sender's name."""
_NAME_MARKS: Final = frozenset(" .-_&+'/!")
_WITHHELD: Final = frozenset(
    """
    |anonymous|anon|unavailable|not available|unavail|restricted|withheld|private|privacy
    |unknown|blocked|none|null|(null)|nil|n a|n/a|undefined|p|o|coverage unavailable
    |id unavailable|id withheld|id restricted|id blocked|number unavailable|number withheld
    |number restricted|number private|number unknown|caller id unavailable|caller id withheld
    |caller id restricted|caller id blocked|callerid blocked|no caller id|no number|no id
    |private number|private caller|private call|unknown number|unknown caller|unknown name
    |restricted number|restricted caller|withheld number|anonymous caller|anonymous number
    |blocked number|hidden|hidden number|presentation restricted|address restricted
    |interaction with other service|payphone|out of area
    """.replace("\n    ", "").split("|")
)
"""Words of switches for no number to show. `p` and `o` are Bellcore's codes for private
and out of area; FreeSWITCH writes ten zeros (seen to in `dialled`), Asterisk `<unknown>`."""


_USUAL_URI: Final = re.compile(r"(?:sips?|tel):\+([0-9]{1,15})(?:[@;]|$)")
_WITHHELD_NUMBER: Final = Number(Kind.ANONYMOUS, "anonymous")


def parse(text: str | None, region: str | None, prefix: str = "") -> Number:
    """Read `text` on a trunk of `region` (ISO 3166 alpha-2, None: not known); never raises.

    `prefix` is what the trunk's switch writes before international numbers, "" if that is not
    known. An E164 result read again gives itself. None, the field being absent, is ANONYMOUS.
    """
    if text is None:
        return _WITHHELD_NUMBER
    if text.startswith("+") and is_canonical(text[1 : E164_DIGITS_MAX + 2]) and len(text) <= 16:
        return Number(Kind.E164, text)
    return _read(text, region, prefix) or Number(Kind.INVALID, text[:RAW_MAX])


ReadNumber = Callable[[str | None, str | None, str], Number]
"""`parse`, or what reads a text as it does and more."""


def _read(text: str, region: str | None, prefix: str) -> Number | None:
    """`parse` of a text that is not plain E.164; None: it has no number."""
    if text.isdigit() and text.isascii() and len(text) <= DIALLED_MAX:
        return _from_digits(text, region, prefix)
    # The usual URI of an IMS network is read by one expression, in a third of the time.
    usual = _USUAL_URI.match(text)
    if usual and is_canonical(usual[1]) and "<" not in text:
        return Number(Kind.E164, f"+{usual[1]}")
    party = party_of(text)
    if party is None:
        return None
    digits = party.dialled
    if digits is None:
        return _named(party.user)
    if party.context is None or digits.startswith("+"):
        return _from_digits(digits, region, prefix)
    # A context that makes no number of the digits is there to hide the trunk's own.
    found = [
        _from_digits(f"{party.context}{digits}", None, ""),
        _from_digits(digits, party.region, ""),
        _from_digits(digits, region, prefix),
    ]
    read = [one for one in found if one is not None]
    return next(filter(_is_assigned, read), read[0] if read else None)


def _from_digits(digits: str, region: str | None, prefix: str) -> Number | None:
    number = read_dialled(digits, region, prefix)
    if number is None:
        return None
    if number == WITHHELD:
        return _WITHHELD_NUMBER
    return Number(Kind.E164 if number.startswith("+") else Kind.SHORT_CODE, number)


def _is_assigned(number: Number) -> bool:
    """Return whether a numbering plan gives out such numbers; more than that their length is
    possible.
    """
    if number.kind is not Kind.E164:
        return number.kind is Kind.SHORT_CODE
    return is_assigned(number.text)


def _named(user: str) -> Number | None:
    """Return a withheld number or a sender's name; None: neither."""
    words = " ".join(user.casefold().replace("-", " ").replace("_", " ").split())
    if words in _WITHHELD or user == "-" or user.endswith(NO_HOST):
        return _WITHHELD_NUMBER
    if len(user) > NAME_MAX or not user[0].isalnum():
        return None
    if sum(map(str.isnumeric, user)) > NAME_DIGITS_MAX or not any(map(str.isalpha, user)):
        return None
    if all(
        c.isalnum() or c in _NAME_MARKS or unicodedata.category(c) in ("Mn", "Mc") for c in user
    ):
        return Number(Kind.ALPHANUMERIC, user)
    return None


def parse_many(
    texts: Sequence[str | None],
    region_of: Callable[[int], str | None],
    prefix_of: Callable[[int], str] | None = None,
    read: ReadNumber = parse,
) -> Numbers:
    """`parse` for a batch: texts already in E.164 are read by NumPy, the others one by one.

    `region_of` gives the region of a row's trunk, `prefix_of` its prefix (None: no trunk has one).
    They are called only for texts read one by one, by `read`.
    """
    e164 = canonical_words(texts)
    e164_text = e164.view("S16").ravel()
    kinds = (e164[:, 0] != 0).astype(np.uint8)
    other_texts: dict[int, str] = {}
    disguised: set[int] = set()
    for row in np.flatnonzero(kinds == 0).tolist():
        number = read(texts[row], region_of(row), prefix_of(row) if prefix_of else "")
        kind = number.kind
        if kind is Kind.DISGUISED:
            disguised.add(row)
            kind = Kind.E164
        kinds[row] = kind
        if kind is Kind.E164:
            e164_text[row] = number.text
        else:
            other_texts[row] = number.text
    return Numbers(e164_text, kinds, other_texts, disguised=disguised)


def region_of(e164: str) -> str | None:
    """Return the region (ISO 3166 alpha-2) of a number; None: of no region, or no number."""
    if not e164.startswith("+"):
        return None
    return _region_of_digits(e164[1 : E164_DIGITS_MAX + 1])


@lru_cache(CACHE_SIZE)
def _region_of_digits(digits: str) -> str | None:
    """`region_of`: by the country code, or by the number where regions share the code (+1, +7)."""
    main = main_region(digits)
    if main is None:
        return None
    code = phonenumbers.country_code_for_region(main)
    if len(phonenumbers.region_codes_for_country_code(code)) == 1:
        return main
    reading = possible(f"+{digits}", None)
    return (reading and phonenumbers.region_code_for_number(reading)) or main


_DIGIT_RUN: Final = re.compile(r"\+?\d(?:[ \t\-.()/]*\d)*")


def masked(text: str) -> str:
    """`text` for logs: of each number in it only the ends, "+6681***5678"; never fails.

    Whatever could be a number is masked, in any script; of a short one ("191") the first digit
    stays. The result is one printable line, made from the first 64 characters.
    """
    cut = "".join(c if c.isprintable() else "?" for c in text[:RAW_MAX])
    return _DIGIT_RUN.sub(_masked_run, cut)


def _masked_run(found: re.Match[str]) -> str:
    """One run of digits and separators, masked: at least three digits are gone, or all."""
    run = found.group()
    count = sum(map(str.isdecimal, run))
    if count < 3:
        return "***"
    head, tail = (4, 4) if count > 10 else (2, 2) if count > 6 else (1, 0)
    places = [place for place, c in enumerate(run) if c.isdecimal()]
    return run[: places[head - 1] + 1] + "***" + (run[places[-tail] :] if tail else "")


def parse_texts(
    texts: Texts,
    odd: Mapping[int, str | None],
    region_of: Callable[[int], str | None],
    prefix_of: Callable[[int], str] | None = None,
    read: ReadNumber = parse,
) -> Numbers:
    """`parse` for a column of ASCII: a kernel reads E.164 and usual URIs, others one by one.

    It needs compiled kernels: there is no other way to do this. `odd` has the texts of rows that
    have none in the column. `region_of` gives the region of a row's trunk, `prefix_of` its prefix
    (None: no trunk has one). They are called only for texts read one by one, by `read`.
    """
    from stream.core.kernels.e164_text import read_e164

    e164, kinds = read_e164(texts)
    if np.all(kinds):
        return Numbers(e164, kinds)
    none = np.flatnonzero(texts.sizes < 0)
    kinds[none] = Kind.ANONYMOUS
    other_texts = dict.fromkeys(none.tolist(), parse(None, None).text)
    left = np.flatnonzero(kinds == Kind.INVALID)
    asked = _asked(texts, left, region_of, prefix_of)
    known = _KNOWN.setdefault(read, {})
    remembered = np.array([known.get(one, b"") for one in asked], "S16")
    is_known = remembered != b""
    e164[left], kinds[left] = remembered, is_known
    unknown = np.flatnonzero(~is_known)
    left = left[unknown]
    data: memoryview = texts.data.data
    others: dict[int, str | None] = {
        row: str(data[start : start + size], "ascii")
        for row, start, size in zip(
            left.tolist(), texts.starts[left].tolist(), texts.sizes[left].tolist(), strict=True
        )
    }
    others.update(odd)
    rows = np.fromiter(others, np.int64, len(others))
    found = parse_many(
        list(others.values()),
        lambda index: region_of(rows.item(index)),
        (lambda index: prefix_of(rows.item(index))) if prefix_of else None,
        read,
    )
    e164[rows], kinds[rows] = found.e164, found.kinds
    _remember(known, [asked[place] for place in unknown.tolist()], found)
    # The column has no text in these rows, so above they were taken for withheld numbers.
    for row in odd:
        other_texts.pop(row, None)
    other_texts.update((rows.item(index), text) for index, text in found.other_texts.items())
    disguised = {rows.item(index) for index in found.disguised}
    return Numbers(e164, kinds, other_texts, disguised=disguised)


_Asked = tuple[bytes, str | None, str]
"""A text of at most 16 bytes, b"" for a longer one; its region and its prefix."""
_KNOWN: Final[dict[ReadNumber, dict[_Asked, bytes]]] = {}
"""Texts that were read as E.164: many switches write all their numbers without `+`."""
_TEXT_BYTES: Final = 16  # "+" and 15 digits


def _asked(
    texts: Texts,
    rows: NDArray[np.int64],
    region_of: Callable[[int], str | None],
    prefix_of: Callable[[int], str] | None,
) -> list[_Asked]:
    sizes = texts.sizes[rows]
    kept = np.where(sizes <= _TEXT_BYTES, sizes, 0)
    windows = np.lib.stride_tricks.sliding_window_view(texts.data, _TEXT_BYTES)[texts.starts[rows]]
    windows[np.arange(_TEXT_BYTES) >= kept[:, None]] = 0
    said = windows.view(f"S{_TEXT_BYTES}").ravel().tolist()
    return [
        (text, region_of(row), prefix_of(row) if prefix_of else "")
        for text, row in zip(said, rows.tolist(), strict=True)
    ]


def _remember(known: dict[_Asked, bytes], asked: Sequence[_Asked], found: Numbers) -> None:
    """Keep what was read as E.164 and hides nothing; `found` may have more rows than `asked`."""
    if len(known) + len(asked) > CACHE_SIZE:
        known.clear()
    for place, (one, e164) in enumerate(zip(asked, found.e164.tolist(), strict=False)):
        if e164 and one[0] and place not in found.disguised:
            known[one] = e164
