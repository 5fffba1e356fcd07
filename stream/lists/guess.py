"""What the columns of a table may mean, from their names and what stands in them. Pure."""

import re
from collections.abc import Callable, Mapping, Sequence

from stream.lists.formats.csv import NAMES
from stream.lists.formats.rows import Wrong
from stream.lists.meanings import read_confidence, read_time

_NUMBER = re.compile(r"[\s'=\"]*+\+?[\d\s\-.()/]{7,20}+[*#]*+\"?\s*+\Z")
_WORDS_MAX = 40
"""Longer texts are remarks, not categories."""

Column = Sequence[str]


def folded(name: str) -> str:
    """A column's name as `NAMES` has it."""
    return "_".join(name.strip().lower().replace("-", " ").split())


def fields_in(names: Sequence[str], columns: Sequence[Column]) -> dict[str, int]:
    """The column of each field that could be found; without `number` there is no list.

    A name that says what its column is goes first; of the others, numbers are told by their looks,
    times by being such, and a category by few short words that come again.
    """
    found: dict[str, int] = {}
    for at, name in enumerate(names):
        field = NAMES.get(folded(name))
        if field is not None and field not in found and _fits(field, columns[at]):
            found[field] = at
    if "number" not in found and columns:
        shares = [_share(column, looks_like_number) for column in columns]
        best = max(range(len(columns)), key=lambda at: (at not in found.values(), shares[at]))
        if shares[best] >= 0.5:
            found["number"] = best
    for at, column in enumerate(columns):
        if at in found.values():
            continue
        if "reported_at" not in found and _share(column, _is_date) >= 0.8:
            found["reported_at"] = at
        elif "category" not in found and _are_categories(column):
            found["category"] = at
    return found


def looks_like_number(text: str) -> bool:
    """Whether a text could be a telephone number, and is no date."""
    digits = sum(c.isdigit() for c in text)
    return 7 <= digits <= 16 and _NUMBER.match(text) is not None and not _is_date(text)


def _fits(field: str, column: Column) -> bool:
    """Whether what stands in a column agrees with its name, mostly."""
    tests: Mapping[str, float] = {
        "number": _share(column, lambda text: sum(c.isdigit() for c in text) >= 3),
        "reported_at": _share(column, _is_time),
        "expires_at": _share(column, _is_time),
        "confidence": _share(column, lambda text: not isinstance(read_confidence(text), Wrong)),
    }
    return tests.get(field, 1.0) >= 0.5


def _share(column: Column, test: Callable[[str], bool]) -> float:
    texts = [text.strip() for text in column if text.strip()]
    return sum(map(test, texts)) / len(texts) if texts else 0.0


def _is_time(text: str) -> bool:
    return not isinstance(read_time(text), Wrong)


def _is_date(text: str) -> bool:
    return _is_time(text) and not text.isdigit()


def _are_categories(column: Column) -> bool:
    texts = [text.strip() for text in column if text.strip()]
    distinct = set(texts)
    return (
        len(texts) >= 3
        and len(distinct) <= max(2, len(texts) * 2 // 3)
        and all(len(text) <= _WORDS_MAX and not text.isdigit() for text in distinct)
        and any(text.upper() != text.lower() or not text.isascii() for text in distinct)
        and _share(column, _is_time) == 0.0
    )
