"""Reading a column of texts into values, and what a report says of a row that was wrong. Pure."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.core.numbers.number import Kind
from stream.feeds.formats.byte_columns import ByteColumn
from stream.feeds.formats.rows import Rows, Texts, Wrong
from stream.feeds.times import times_in
from stream.feeds.values import read_time

_MEMO_MAX = 100_000
"""Distinct texts remembered for each column: most columns hold few, times may hold many."""
Read = Callable[[str], int | Wrong]
"""What one text means."""


class FieldReader:
    """One column's reading; each distinct text is read once."""

    def __init__(self, name: str, dtype: np.dtype[Any], read: Read, default: int) -> None:
        self.name = name
        self._dtype = dtype
        self._read = read
        self._default = default
        self._memo: dict[str | None, int] = {}
        self._wrong: dict[str | None, Wrong] = {}

    def values(self, texts: Texts | None, rows: int, wrong: dict[int, Wrong]) -> NDArray[Any]:
        """The values; a row whose text means nothing goes into `wrong` (the first reason stays)."""
        if texts is None:
            return np.full(rows, self._default, self._dtype)
        if len(self._memo) > _MEMO_MAX:
            self._memo.clear()
            self._wrong.clear()
        if isinstance(texts, ByteColumn):
            return self._values_in(texts, wrong)
        for text in set(texts) - self._memo.keys():
            bare = text.strip() if text else ""
            value = self._read(bare) if bare else self._default
            if isinstance(value, Wrong):
                self._wrong[text] = value
            self._memo[text] = 0 if isinstance(value, Wrong) else value
        if self._wrong:
            for row, text in enumerate(texts):
                if text in self._wrong:
                    wrong.setdefault(row, self._wrong[text])
        memo = self._memo
        return np.array([memo[text] for text in texts], self._dtype)

    def _values_in(self, column: ByteColumn, wrong: dict[int, Wrong]) -> NDArray[Any]:
        """`values`, for a column of bytes: each distinct text becomes one of Python."""
        values, left = np.zeros(len(column), self._dtype), np.arange(len(column))
        if self._read is read_time:
            seconds, plain = times_in(column.texts)
            values[:], left = seconds, np.flatnonzero(~plain)
        distinct, place = column.at(left).distinct()
        why: dict[int, Wrong] = {}
        values[left] = self.values(distinct, len(distinct), why)[place]
        for row in np.flatnonzero(np.isin(place, list(why))).tolist() if why else ():
            wrong.setdefault(int(left[row]), why[int(place[row])])
        return values


def why_no_number(text: str, kind: Kind, region: str | None) -> Wrong:
    """Why a text, read as `kind`, is no number to list."""
    if not text:
        return Wrong.NO_NUMBER
    if kind is Kind.INVALID:
        national = region is None and text[0] != "+" and sum(c.isdigit() for c in text) >= 7
        return Wrong.NO_COUNTRY if national else Wrong.NOT_A_NUMBER
    return Wrong.NOT_E164


_FIELD_OF = {
    Wrong.BAD_CATEGORY: "category",
    Wrong.BAD_SOURCE: "source",
    Wrong.BAD_CONFIDENCE: "confidence",
}


def detail_of(rows: Rows, row: int, why: Wrong, read_date: Read) -> str:
    """The text that was wrong, as the file has it; `read_date` is how its times are read."""
    if why in {Wrong.EXPIRED, Wrong.FUTURE}:
        said = [rows.reported_at] if why is Wrong.FUTURE else [rows.expires_at, rows.reported_at]
        return next((str(texts[row]) for texts in said if texts is not None and texts[row]), "")
    if why is Wrong.BAD_DATE:
        texts = [getattr(rows, name) for name in ("reported_at", "expires_at")]
        bad = [
            text[row]
            for text in texts
            if text is not None and text[row] and isinstance(read_date(text[row].strip()), Wrong)
        ]
        return str(bad[0]) if bad else ""
    texts = getattr(rows, _FIELD_OF.get(why, "number"))
    return str(texts[row] or "")


def original_of(rows: Rows, row: int) -> str:
    """The row as the file has it."""
    original = rows.originals[row]
    return original if isinstance(original, str) else ",".join(original)
