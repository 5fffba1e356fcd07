"""Guess the column of the numbers to block, and the meaning of the others. Pure.

A wrong answer lists innocent numbers, so a person is asked in unclear cases. A column is the number
only if its name or its looks say so, and no other column is as likely.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from stream.core.numbers.spelling import folded
from stream.feeds.cleaning import bare_number
from stream.feeds.detection.column_names import (
    NEVER,
    Says,
    names_call_records,
    names_category,
    names_culprit,
    says,
)
from stream.feeds.detection.lookalikes import ColumnTally, Looks, is_like_date, looks_like_number
from stream.feeds.formats.csv import NAMES, folded_name
from stream.feeds.formats.rows import Wrong
from stream.feeds.value_parsers import damage_of, read_confidence, read_time

Column = Sequence[str]
Assigned = Callable[[Column], float]
"""The share of texts that a numbering plan assigns as numbers, in the best region."""

_FULL = re.compile(r"\+|00[1-9]|tel:|sips?:")
_TRUNK = re.compile(r"\(?0[1-9]")
"""A trunk prefix, which ids do not have."""
_WORDS_MAX = 40
"""Longer texts are remarks, not categories."""
EXAMPLES = 3
_MANY: Final = 10  # fewer numbers prove nothing about their variety
_HALF: Final = 0.5
_MOST: Final = 0.6
_NEARLY_ALL: Final = 0.9


@dataclass(frozen=True, slots=True)
class ColumnCandidate:
    """One column that may have the numbers. `why_not` says why it is no number, "": it may be one.

    `looks` is the kind of its texts if they are no numbers. `share` of its texts look like numbers;
    a spreadsheet damaged the share `damaged`.
    """

    at: int
    name: str
    says: Says
    why_not: str
    looks: Looks | None
    share: float
    damaged: float
    examples: tuple[str, ...]
    texts: Column = field(repr=False, default=())

    @property
    def label(self) -> str:
        """Return the column's name for people, else its place from 1."""
        return repr(self.name.strip()) if self.name.strip() else f"column {self.at + 1}"

    @property
    def is_likely(self) -> bool:
        """True if it may be the number nevertheless: a block of SIM cards looks like ids."""
        is_block = self.says is Says.NUMBER and self.looks is Looks.IDS
        return not self.why_not or is_block

    @property
    def is_marked(self) -> bool:
        """True if most of its numbers have a `+` or a trunk prefix, as no id has."""
        numbers = [bare_number(text) for text in self.texts if looks_like_number(text)]
        marked = [text for text in numbers if _FULL.match(text) or _TRUNK.match(text)]
        return len(marked) >= _HALF * max(1, len(numbers))

    @property
    def shown(self) -> str:
        """The column with its first texts."""
        return f"{self.label} ({', '.join(self.examples)})"


_Asked = tuple[ColumnCandidate, ...]
_Chosen = tuple[ColumnCandidate | None, _Asked, str]


@dataclass(frozen=True, slots=True)
class ColumnGuess:
    """`fields` are the columns of the fields that were found. Without `number` there is no list.

    `asked` are columns about which a person is asked: which is the number, or is it one; `why` is
    the reason. `passed` are columns of digits that are no numbers.
    """

    fields: dict[str, int]
    asked: tuple[ColumnCandidate, ...] = ()
    why: str = ""
    passed: tuple[ColumnCandidate, ...] = ()


def guess(
    names: Sequence[str],
    columns: Sequence[Column],
    assigned: Assigned,
    number: int | None = None,
    said: Callable[[str], Says] = says,
    item: str = "",
) -> ColumnGuess:
    """Return the meaning of a table's columns; `number` is the numbers' column if a person said so.

    `said` reads a name; for JSON that is a path (`column_names.says_at`), as is `item`, the rows'.
    """
    candidates = [
        _candidate(at, names[at], said(names[at]), column) for at, column in enumerate(columns)
    ]
    passed = tuple(one for one in candidates if one.why_not and _is_numeric(one))
    pair = _range_pair(candidates, columns)
    are_calls = names_call_records(names)
    words = set(folded_name(names[pair["number"]]).split("_")) if pair else set()
    is_caller = words & _FROM and not words & _OF_RANGES and said(item) is not Says.NUMBER
    if number is not None:
        # Where it may be a caller, a range would block everybody up to the number called.
        is_pair = not (are_calls or is_caller) and pair.get("number") == number
        found = pair if is_pair else {"number": number}
        return ColumnGuess({**found, **_others(candidates, *found.values())}, passed=passed)
    if pair and not are_calls:
        return _ranges(candidates, pair, passed, are_sure=not is_caller)
    chosen, asked, why = _choose(candidates, assigned)
    caller = candidates[pair["number"]] if pair else chosen
    if caller is not None and are_calls:
        asked = (replace(caller, why_not="everybody who calls is in it"),)
        chosen, why = None, "call records, and no list: `ringfence dialects detect` reads them"
    fields = {} if chosen is None else {"number": chosen.at}
    return ColumnGuess({**fields, **_others(candidates, *fields.values())}, asked, why, passed)


_BEGINS: Final = {
    **dict.fromkeys(("start", "begin", "beginning", "debut"), ("end", "fin", "stop")),
    **dict.fromkeys(("from", "du", "de"), ("to", "au", "a")),
    "first": ("last",),
    "low": ("high",),
    "lower": ("upper",),
    "min": ("max",),
    "เริ่มต้น": ("สิ้นสุด",),
    "từ": ("đến",),
    "tu": ("den",),
    "dari": ("sampai", "ke"),
}
"""Words that name the first number of a range, and those of the last one."""
# Those that name a caller as well, and words that no name of a caller has.
_FROM: Final = frozenset(("from", "du", "de", "từ", "tu", "dari"))
_OF_RANGES: Final = frozenset(("range", "block", "prefix", "series", "tranche", "plage", "dải"))


def _range_pair(candidates: Sequence[ColumnCandidate], columns: Sequence[Column]) -> dict[str, int]:
    """Return the columns of the first and last numbers of ranges; {}: there are none."""
    # Calls in seconds since 1970 have a start and an end too. `to number` may be who was called,
    # or the end of a range: it is asked.
    may_end = [one for one in candidates if one.looks is not Looks.DATES]
    names = {one.at: tuple(folded_name(one.name).split("_")) for one in candidates}
    for one in [one for one in may_end if one.says not in NEVER]:
        for at, word in enumerate(names[one.at]):
            for end in _BEGINS.get(word, ()):
                wanted = (*names[one.at][:at], end, *names[one.at][at + 1 :])
                for other in may_end:
                    rows = zip(columns[one.at], columns[other.at], strict=True)
                    if names[other.at] == wanted and _are_ranges(rows):
                        return {"number": one.at, "number_to": other.at}
    return {}


def _are_ranges(rows: Iterable[tuple[str, str]]) -> bool:
    """Return whether two columns have the ends of ranges: as many digits, the smaller one first."""
    both = [(first, last) for first, last in rows if first.strip() and last.strip()]
    pairs = [
        ("".join(c for c in first if c.isdigit()), "".join(c for c in last if c.isdigit()))
        for first, last in both
        if looks_like_number(first) and looks_like_number(last)
    ]
    right = sum(len(first) == len(last) and first <= last for first, last in pairs)
    wide = sum(first < last for first, last in pairs)
    return wide > 0 and right >= _MOST * len(both)


def _ranges(
    candidates: Sequence[ColumnCandidate], pair: dict[str, int], passed: _Asked, *, are_sure: bool
) -> ColumnGuess:
    """Return the guess for a table of ranges. A column of single numbers beside them is asked."""
    # So are ranges that may be calls: they are not sure, and the answer is their callers.
    taken = set(pair.values())
    able = [one for one in candidates if one.share >= _HALF and not one.why_not]
    telephones = {Says.NUMBER, Says.UNSURE, Says.GENERIC}
    others = [one for one in able if one.says in telephones and one.at not in taken]
    passed = tuple(one for one in passed if one.at not in taken)
    if are_sure and not others:
        return ColumnGuess({**pair, **_others(candidates, *taken)}, passed=passed)
    asked = tuple(replace(one, why_not="") for one in candidates if one.at == pair["number"])
    why = "ranges, and a column of single numbers: one of them is to block"
    if not are_sure:
        why = "calls from one number to another, or ranges: for ranges, name number_to in [columns]"
    return ColumnGuess(_others(candidates, *taken), (*asked, *others), why, passed)


def _candidate(at: int, name: str, said: Says, column: Column) -> ColumnCandidate:
    given = [text.strip() for text in column if text.strip()]
    texts = [text for one in given if (text := folded(one).strip())]
    tally = ColumnTally()
    tally.add(texts)
    why_not, looks = "", tally.looks()
    if said in NEVER:
        why_not = f"its name says {said.value}"
    elif looks is not None:
        why_not = f"its texts look like {looks[0].value}: {looks[1]}"
    damaged = _share(texts, lambda text: damage_of(bare_number(text)) is Wrong.SCIENTIFIC)
    share = _share(
        [bare for text in texts if damage_of(bare := bare_number(text)) is not Wrong.SCIENTIFIC],
        looks_like_number,
    )
    examples = tuple(dict.fromkeys(given))[:EXAMPLES]
    kind = None if looks is None else looks[0]
    return ColumnCandidate(at, name, said, why_not, kind, share, damaged, examples, texts)


def _is_numeric(one: ColumnCandidate) -> bool:
    """Return whether a reader may take a column for numbers."""
    return one.share >= _HALF or _share(one.texts, lambda text: _digits(text) >= 7) >= _HALF


def _choose(candidates: Sequence[ColumnCandidate], assigned: Assigned) -> _Chosen:
    """Return the column of the numbers, or the columns to ask about and why."""
    named = [one for one in candidates if one.says is Says.NUMBER and one.texts]
    for one in named:
        if one.damaged >= _HALF:
            why = "a spreadsheet wrote its numbers in scientific notation and lost digits: format "
            return None, (one,), f"{why}the column as text there and export it again"
    able = [one for one in candidates if not one.why_not and one.share >= _HALF]
    strong = [one for one in able if one.says is Says.NUMBER]
    if not able:
        return None, tuple(named), "what stands there looks like no telephone numbers" * bool(named)
    suspects = [one for one in able if names_culprit(one.name)]
    if len(suspects) == 1 and (
        suspects[0].says in {Says.NUMBER, Says.GENERIC} or _is_evident(suspects[0], assigned)
    ):
        # A word such as fraud may be in a victim's name too: a plain telephone beside it is asked.
        rivals = [one for one in strong if one is not suspects[0]]
        if not rivals:
            return suspects[0], (), ""
        return None, (suspects[0], *rivals), "more than one column may be the number to block"
    if len(strong) == 1:
        close = [one for one in able if _is_close(one, strong[0], assigned)]
        if not close:
            return strong[0], (), ""
        return None, (strong[0], *close), "more than one column may be the number to block"
    if len(strong) > 1:
        return None, tuple(strong), "more than one column may be the number to block"
    if named:
        why = "the column that is named so holds something else"
        return None, (*named, *able), why
    return _unnamed(able, assigned)


def _unnamed(able: Sequence[ColumnCandidate], assigned: Assigned) -> _Chosen:
    """Choose where no name means telephone numbers."""
    evident = [one for one in able if _is_evident(one, assigned)]
    if len(evident) == 1:
        (best,) = evident
        close = [one for one in able if _is_close(one, best, assigned)]
        if not close:
            return best, (), ""
    if len(able) == 1:
        return None, tuple(able), "nothing says that these are telephone numbers"
    return None, tuple(able), "more than one column may be the number to block"


def _is_close(one: ColumnCandidate, best: ColumnCandidate, assigned: Assigned) -> bool:
    """Return whether another column is as likely as the best, so that a person must decide."""
    if one is best:
        return False
    if one.says in {Says.UNSURE, Says.GENERIC, Says.NUMBER}:
        return True
    if best.is_marked and not one.is_marked:
        return False  # bare digits under a name without a meaning
    return assigned(one.texts) >= _HALF


def _is_evident(one: ColumnCandidate, assigned: Assigned) -> bool:
    """Return whether texts are telephone numbers by themselves, or with a name like `number`."""
    if one.says is Says.UNSURE:
        return False
    numbers = [bare_number(text) for text in one.texts if looks_like_number(text)]
    if one.is_marked:
        dialled = [text for text in numbers if _TRUNK.match(text) is not None]
        return not dialled or assigned(dialled) >= _MOST
    if one.says is Says.NOTHING and not names_culprit(one.name):
        return False
    # Digits alone: ids have few beginnings, numbers of many people have many.
    heads = {"".join(c for c in text if c.isdigit())[:-4] for text in numbers}
    is_diverse = len(numbers) >= _MANY and len(heads) >= _HALF * len(numbers)
    return is_diverse and assigned(numbers) >= _NEARLY_ALL


def _others(candidates: Sequence[ColumnCandidate], *taken: int) -> dict[str, int]:
    """Return the columns of the other fields; `taken` have the numbers."""
    found: dict[str, int] = {}
    free = [one for one in candidates if one.at not in taken and one.texts]
    for one in free:
        name = NAMES.get(folded_name(one.name), "number")
        if name not in {"number", "number_to", *found} and _fits(name, one.texts):
            found[name] = one.at
    dated = [one for one in free if _is_dated(one) and one.at not in found.values()]
    dated.sort(key=lambda one: one.says is not Says.DATE)
    if "reported_at" not in found and dated:
        found["reported_at"] = dated[0].at
    kinds = [one for one in free if _are_categories(one)]
    kinds.sort(key=lambda one: not names_category(one.name))
    if "category" not in found and kinds and kinds[0].at not in found.values():
        found["category"] = kinds[0].at
    return found


def _is_dated(one: ColumnCandidate) -> bool:
    share = _share(one.texts, is_like_date)
    return share >= (_HALF if one.says is Says.DATE else _NEARLY_ALL) and not _is_birth(one)


def _is_birth(one: ColumnCandidate) -> bool:
    return "birth" in one.name.lower() or "เกิด" in one.name or "sinh" in one.name.lower()


def _fits(name: str, column: Column) -> bool:
    """Return whether most texts of a column agree with its name."""
    if name == "expires_at":  # ends that cannot be read are asked about
        return _share(column, lambda text: _digits(text) > 0) >= _HALF
    if name == "reported_at":
        times = [is_like_date(text) or not isinstance(read_time(text), Wrong) for text in column]
        return bool(column) and sum(times) >= _HALF * len(column)
    if name == "confidence":
        return _share(column, lambda text: not isinstance(read_confidence(text), Wrong)) >= _HALF
    return True


def _share(column: Column, test: Callable[[str], bool]) -> float:
    return sum(map(test, column)) / len(column) if column else 0.0


def _digits(text: str) -> int:
    return sum(c.isdigit() for c in text)


def _are_categories(one: ColumnCandidate) -> bool:
    distinct = set(one.texts)
    comes_again = len(one.texts) >= 3 and len(distinct) <= max(2, len(one.texts) * 2 // 3)
    return (
        one.says is Says.NOTHING
        and (comes_again or names_category(one.name))
        and all(len(text) <= _WORDS_MAX and not text.isdigit() for text in distinct)
        and any(text.upper() != text.lower() or not text.isascii() for text in distinct)
        and _share(one.texts, is_like_date) == 0.0
    )
