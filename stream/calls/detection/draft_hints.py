"""Signs in the columns of unknown records: times, directions, kinds of records, headers. Pure.

A sign counts only where all values that are looked at agree; else it is a question.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC
from typing import Any, Final, NamedTuple

from stream.calls.dialects import fields
from stream.calls.dialects.columns import cut_by
from stream.calls.dialects.dialect import NoCall

_WRITTEN: Final = (
    *("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S.%f"),
    *("%Y/%m/%d %H:%M:%S", "%d.%m.%Y %H:%M:%S", "%d/%m/%Y %H:%M:%S", "%m/%d/%Y %H:%M:%S"),
    *("%d-%m-%Y %H:%M:%S", "%m-%d-%Y %H:%M:%S", "%d-%b-%Y %H:%M:%S", "%d/%m/%Y %H:%M"),
    *("%m/%d/%Y %H:%M", "%Y-%m-%d %H:%M", "%Y%m%d%H%M%S", "%Y%m%d%H%M%S.%f"),
    *("%a %b %d %H:%M:%S %Y", "%a, %d %b %Y %H:%M:%S %z"),
)
_UNITS: Final = {10: "s", 13: "ms", 16: "us"}
"""By the digits of an epoch of these decades."""
_IN: Final = frozenset({"i", "in", "inbound", "incoming", "mtc", "mt", "terminating", "term"})
_OUT: Final = frozenset({"o", "out", "outbound", "outgoing", "moc", "mo", "originating", "orig"})
_CALLS: Final = frozenset(
    {"call", "calls", "voice", "tel", "speech", "moc", "mtc", "mo", "mt", "invite", "normal"}
)
_NO_CALLS: Final = frozenset(
    {"sms", "mms", "data", "gprs", "message", "bye", "options", "start", "end"}
)
_KINDS_MAX: Final = 8
"""Different values of a column that says what a record is; one with more is something else."""
_DELIMITERS: Final = ("||", ";;", "::", "|~|", ",", ";", "\t", "|", "^", "~")
_COLUMNS_MIN: Final = 3  # fewer columns cannot hold two numbers and a time
# More kinds of lines to skip are not a heading: the file is of another form.
_SKIPPED_MAX: Final = 4


class Written(NamedTuple):
    """The forms in which all times of a column are written; `local`: without a zone."""

    forms: tuple[str, ...]
    local: bool


def written(values: Sequence[Any]) -> Written | None:
    """Return how the times in a column are written; None: they are none. ("",): found out."""
    if not values:
        return None
    texts = [str(value) for value in values]
    if any(isinstance(value, bool) for value in values):
        return None
    if all(text.isdecimal() for text in texts):
        unit = _UNITS.get(len(texts[0])) if len({*map(len, texts)}) == 1 else None
        if unit and all(fields.moment_s(text, UTC) is not None for text in texts):
            return Written((unit,), local=False)
    if all(fields.moment_s(value, None) is not None for value in values):
        return Written(("",), local=False)
    forms = tuple(
        form
        for form in _WRITTEN
        if all(fields.strictly_written_s(text, form, UTC) is not None for text in texts)
    )
    return Written(forms, local="%z" not in forms[0]) if forms else None


def is_mostly_written(values: Sequence[Any]) -> bool:
    """Return whether a column may have times: all, or half in a form that needs no setting."""
    if written(values) is not None:
        return True
    return 2 * sum(fields.moment_s(value, UTC) is not None for value in values) >= len(values) > 0


def directions(values: Sequence[Any]) -> dict[str, bool]:
    """Return the values of a column of directions, True for inbound; {}: it is none."""
    said = Counter(str(value) for value in values if isinstance(value, str))
    if not said or said.total() < len(values) or len(said) > _KINDS_MAX:
        return {}
    words = {text: text.strip().lower() for text in said}
    if not all(word in _IN | _OUT for word in words.values()):
        return {}
    # One side alone may be a letter of anything.
    is_pair = {word in _IN for word in words.values()} == {True, False}
    return {text: word in _IN for text, word in words.items()} if is_pair else {}


class Kinds(NamedTuple):
    """Values of a column that says what records are: of calls, of others, and not known."""

    calls: tuple[str, ...]
    others: tuple[str, ...]
    unknown: tuple[str, ...]


def kinds(values: Sequence[Any]) -> Kinds | None:
    """Return what a column says that records are; None: nothing but calls, or no such column."""
    said = dict.fromkeys(str(value) for value in values)
    if not 1 < len(said) <= _KINDS_MAX or not all(isinstance(value, str) for value in values):
        return None
    words = {text: text.strip().lower() for text in said}
    found = Kinds(
        tuple(text for text, word in words.items() if word in _CALLS),
        tuple(text for text, word in words.items() if word in _NO_CALLS),
        tuple(text for text, word in words.items() if word not in _CALLS | _NO_CALLS),
    )
    return found if found.others else None


class Lines(NamedTuple):
    """Lines of CSV: the delimiter, names of columns (if any), rows, and what is to be skipped.

    `odd` counts the other lines that have other columns, of which nothing is proposed.
    """

    delimiter: str
    names: tuple[str, ...]
    rows: list[list[str]]
    skip: tuple[str, ...]
    odd: int


def lines_of(records: Sequence[bytes]) -> Lines | None:
    """Return how lines are cut into columns, by the first delimiter that fits half of them."""
    for delimiter in _DELIMITERS:
        cut = cut_by(delimiter)
        rows = []
        for value in records:
            try:
                rows.append((value.decode(), cut(value)))
            except (NoCall, UnicodeDecodeError):
                continue
        usual = Counter(len(cells) for _, cells in rows if len(cells) >= _COLUMNS_MIN)
        if not usual:
            continue
        ((width, count),) = usual.most_common(1)
        body = [(line, cells) for line, cells in rows if len(cells) == width]
        in_two = len(delimiter) > 1 and any(
            set(delimiter) & set(cell) for _, cells in body for cell in cells
        )
        if 2 * count >= len(records) and not in_two:
            others = [line for line, cells in rows if len(cells) != width]
            return _told(delimiter, body, others)
    return None


def _told(delimiter: str, body: list[tuple[str, list[str]]], others: Sequence[str]) -> Lines:
    """Tell names, other lines at the beginning, and lines of other columns from the rows."""
    heads: list[tuple[str, list[str]]] = []
    while len(body) > 1 and len(heads) < _COLUMNS_MIN and not any(map(_is_data, body[0][1])):
        heads.append(body.pop(0))
    names: tuple[str, ...] = ()
    if heads and all(map(str.strip, heads[0][1])) and len({*heads[0][1]}) == len(heads[0][1]):
        names = tuple(heads.pop(0)[1])
    skip: dict[str, None] = {}
    odd = 0
    for line in [*(line for line, _ in heads), *others]:
        beginning = line.partition(delimiter)[0] + (delimiter if delimiter in line else "")
        letters = any(char.isalpha() or char == "#" for char in beginning)
        if letters and not any(other.startswith(beginning) for other, _ in body):
            skip[beginning] = None
        else:
            odd += 1
    if len(skip) > _SKIPPED_MAX:
        odd, skip = odd + len(skip), {}
    return Lines(delimiter, names, [cells for _, cells in body], tuple(skip), odd)


def _is_data(cell: str) -> bool:
    return sum(char.isdigit() for char in cell) >= 5


def by_place(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Collect the values of each path, or column, in all rows that have one there."""
    columns: dict[str, list[Any]] = {}
    for row in rows:
        for path, value in row.items():
            if value not in (None, ""):
                columns.setdefault(path, []).append(value)
    return columns
