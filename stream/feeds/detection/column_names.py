"""Column names: the meaning of a column by the words of its header. Pure.

Partners name their columns in Thai, Vietnamese, Khmer, Lao, Burmese, Indonesian, Malay, Tagalog,
Chinese, Japanese, Korean and English. A wrong column lists innocent numbers, so words that exclude
a column outweigh words for telephones. "victim's phone" is no number to list, and "phone registered
on" is a date.
"""

import re
import tomllib
import unicodedata
from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Final

_ROWS_OF_HINT: Final = 20
_RECORD_NAMES_MIN: Final = 2


class Says(StrEnum):
    """The meaning of a column's name."""

    NUMBER = "a telephone number"
    """`phone`, `เบอร์โทร`, `số điện thoại`."""
    GENERIC = "a number of some kind"
    """`number`, `หมายเลข`, `nomor`: of a telephone, or of anything else."""
    UNSURE = "somebody's number"
    """`contact`: a telephone number, but perhaps not the one to block."""
    OTHER_PARTY = "the number of who reported or was called"
    DATE = "a date or time"
    ID = "an id, a case or a place in a list"
    ACCOUNT = "an account, a card or an identity document"
    AMOUNT = "an amount or a count"
    PLACE = "a place or an address"
    NOTHING = ""
    """No word is known."""


NEVER: Final = frozenset(
    {Says.OTHER_PARTY, Says.DATE, Says.ID, Says.ACCOUNT, Says.AMOUNT, Says.PLACE}
)
"""A column with such a name is never the number, whatever its texts."""


class _Words:
    """The words of one meaning, from `column_names.toml`."""

    def __init__(
        self, words: Sequence[str] = (), parts: Sequence[str] = (), whole: Sequence[str] = ()
    ) -> None:
        self._phrases = {tuple(phrase.split()) for phrase in words}
        self._longest = max(map(len, self._phrases), default=0)
        self._parts = tuple(map(_bare, parts))
        self._whole = {" ".join(_tokens(text)) for text in whole}

    def are_in(self, name: str, tokens: Sequence[str]) -> bool:
        """Return whether a folded name with the words `tokens` has one of them."""
        if name in self._whole or any(part in name for part in self._parts):
            return True
        return any(
            tuple(tokens[at : at + size]) in self._phrases
            for size in range(1, self._longest + 1)
            for at in range(len(tokens) - size + 1)
        )


def _bare(text: str) -> str:
    """Return a text in lower case, in one Unicode form, Latin letters without marks."""
    kept: list[str] = []
    base = ""
    for char in unicodedata.normalize("NFKD", text.casefold()):
        if unicodedata.combining(char) or unicodedata.category(char) == "Mn":
            if base.isascii():  # marks on Thai or Khmer letters are vowels and tones: they stay
                continue
        else:
            base = char
        kept.append("d" if char == "đ" else char)
    return unicodedata.normalize("NFC", "".join(kept))


_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_BETWEEN = re.compile(r"[\s_\-./:()\[\]{}'\"?*,;|+&#]+")


def _tokens(text: str) -> list[str]:
    """Return the folded words of a text: `callerId` and `Caller-ID` both are caller, id."""
    return [token for token in _BETWEEN.split(_bare(_CAMEL.sub(" ", text))) if token]


_TABLES: Final = tomllib.loads(Path(__file__).with_name("column_names.toml").read_text("utf-8"))
_PHONE_WORDS: Final = _Words(**_TABLES["phone"])
_CULPRIT_WORDS: Final = _Words(**_TABLES["culprit"])
_GENERIC_WORDS: Final = _Words(**_TABLES["generic"])
_CATEGORY_WORDS: Final = _Words(**_TABLES["category"])
_RECORD_WORDS: Final = _Words(**_TABLES["call_record"])
_JAPANESE: Final = _Words(**_TABLES["japanese"])
_SIMPLIFIED: Final = _Words(**_TABLES["simplified"])
_UNSURE_WORDS: Final = _Words(**_TABLES["unsure"])
_SAID: Final = frozenset(_TABLES["said"]["words"])
_NEVER_WORDS: Final[Mapping[Says, _Words]] = {
    meaning: _Words(**_TABLES[meaning.name.lower()])
    for meaning in (Says.ACCOUNT, Says.DATE, Says.OTHER_PARTY, Says.AMOUNT, Says.PLACE, Says.ID)
}


@lru_cache(maxsize=1024)
def _words_of(name: str) -> tuple[str, tuple[str, ...]]:
    """Return a name folded, and its words."""
    tokens = _tokens(name)
    return " ".join(tokens), tuple(tokens)


@lru_cache(maxsize=1024)
def says(name: str) -> Says:
    """Return the meaning of a column's name."""
    folded, tokens = _words_of(name)
    if not folded:
        return Says.NOTHING
    if folded in _SAID:
        return Says.NUMBER
    is_phone = _PHONE_WORDS.are_in(folded, tokens)
    for meaning, words in _NEVER_WORDS.items():
        if words.are_in(folded, tokens):
            # "Phone ID" may be either; "victim's phone" is a person's for certain.
            may_be_either = meaning is Says.ID and (is_phone or names_culprit(name))
            return Says.UNSURE if may_be_either else meaning
    if _UNSURE_WORDS.are_in(folded, tokens):
        return Says.NUMBER if names_culprit(name) else Says.UNSURE
    if is_phone:
        return Says.NUMBER
    if _GENERIC_WORDS.are_in(folded, tokens):
        return Says.NUMBER if names_culprit(name) else Says.GENERIC
    return Says.NOTHING


def says_at(path: str) -> Says:
    """Return the meaning of a path of JSON keys: `victim.phone` is a victim's, `report.phone` no
    report.
    """
    *above, last = path.split(".")
    around = says(" ".join(above)) if above else Says.NOTHING
    if around in {Says.OTHER_PARTY, Says.ACCOUNT}:
        return around
    said = says(last)
    if said is Says.NUMBER and around is Says.UNSURE:
        return Says.UNSURE
    if said in {Says.NOTHING, Says.GENERIC} and around is Says.NUMBER:
        return Says.NUMBER
    return said


def names_culprit(name: str) -> bool:
    """Return whether a name means the number of a suspect."""
    return _CULPRIT_WORDS.are_in(*_words_of(name))


def names_category(name: str) -> bool:
    """Return whether a name means the category of a report."""
    return _CATEGORY_WORDS.are_in(*_words_of(name))


def names_call_records(names: Sequence[str]) -> bool:
    """Return whether a table has call records: caller, called number, and time or duration."""
    of_calls = sum(_RECORD_WORDS.are_in(*_words_of(name)) for name in names)
    return of_calls >= _RECORD_NAMES_MIN and any(says(name) is Says.OTHER_PARTY for name in names)


def words_known(names: Sequence[str]) -> int:
    """Count the names that have a known word: a row with many is a header."""
    return sum(
        says(name) is not Says.NOTHING or names_culprit(name) or names_category(name)
        for name in names
    )


_SCRIPTS: Final[Mapping[str, str]] = {
    "THAI": "TH",
    "KHMER": "KH",
    "LAO": "LA",
    "MYANMAR": "MM",
    "HANGUL": "KR",
    "HIRAGANA": "JP",
    "KATAKANA": "JP",
}
_VIETNAMESE: Final = frozenset("ăđơưạảấầẩẫậắằẳẵặẹẻẽếềểễệịỉĩọỏốồổỗộớờởỡợụủũứừửữựỳỵỷỹ")
_LATIN_HINTS: Final[Mapping[str, _Words]] = {
    region: _Words(words) for region, words in _TABLES["languages"].items()
}


def regions_hinted(names: Sequence[str], texts: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the countries of the language of a table's names, or else of its texts; (): unknown.

    English means no country, Chinese all countries that write in its script.
    """
    for said in (names, texts[: _ROWS_OF_HINT * 10]):
        counts: dict[tuple[str, ...], int] = {}
        for text in said:
            for regions in _regions_of(text):
                counts[regions] = counts.get(regions, 0) + 1
        best = sorted(counts.items(), key=lambda one: -one[1])[:2]
        if best and (len(best) == 1 or best[0][1] > best[1][1]):
            return best[0][0]
    return ()


def _regions_of(text: str) -> set[tuple[str, ...]]:
    found: set[tuple[str, ...]] = set()
    for char in text:
        if char.isascii():
            continue
        script = unicodedata.name(char, "").partition(" ")[0]
        if script in _SCRIPTS:
            found.add((_SCRIPTS[script],))
        elif script == "CJK":
            found.add(_of_han(text))
        elif unicodedata.normalize("NFC", char).casefold() in _VIETNAMESE:
            found.add(("VN",))
    if not found:
        folded, tokens = _words_of(text)
        found = {(land,) for land, words in _LATIN_HINTS.items() if words.are_in(folded, tokens)}
    return found


def _of_han(text: str) -> tuple[str, ...]:
    """Return the regions that use this form of Chinese characters."""
    folded, tokens = _words_of(text)
    if _JAPANESE.are_in(folded, tokens):
        return ("JP",)
    return ("CN", "SG", "MY") if _SIMPLIFIED.are_in(folded, tokens) else ("TW", "HK", "MO")
