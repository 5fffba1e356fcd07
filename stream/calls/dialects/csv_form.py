"""CSV dialects by a table of columns. One line is one record."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache

from stream.calls.call_batch import KeyFields
from stream.calls.dialects import fields
from stream.calls.dialects.columns import cells_of
from stream.calls.dialects.dialect import (
    CellLayout,
    Details,
    NoCall,
    RecordField,
    SwitchSettings,
    Value,
)
from stream.core.model.call import RejectReason, Stage

_TIME = re.compile(r"\d{4}-\d\d-\d\d|\d{9,17}(?:\.\d*)?$")
"""A date, or an epoch: whether it makes sense is looked at where it is read."""


@lru_cache(maxsize=64)
def _is_date(text: str) -> bool:
    """Return whether ten characters are a date; most records of a day have the same."""
    return re.fullmatch(r"\d{4}-\d\d-\d\d", text) is not None


def _other_order(column: int, what: str) -> NoCall:
    text = (
        f"column {column} is no {what}: this is another order of columns; "
        "`ringfence dialects detect` says which"
    )
    return NoCall(RejectReason.WRONG_TYPE, text)


def _as_written(value: Value) -> Iterator[list[str]]:
    """Yield the cells of a line whose first text may hold anything, the latest end of it first.

    A caller chooses that text, the switch what is after it.
    """
    cells = str(value, "utf-8").removesuffix('"').rsplit('","', _UNESCAPED_MAX)
    for end in range(len(cells) - 1, 0, -1):
        yield ["", *cells[end:]]


_UNESCAPED_MAX = 64
"""Cells after the first text of such a line; a hostile one has thousands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvForm:
    """The columns of one kind of file, from 0; `columns_min` is the fewest that a record has.

    `call_id` finds the id's column in a record, or raises NoCall; `id_like` fits what this switch
    has for ids. `sure` has a column that, with the time in `started_at`, tells this order from
    others, what must be in it, and its name. `unescaped`: the first text may hold lone quotes.

    For the scan, which reads only usual forms: `words` are texts that `sure` fits. Ids of
    `id_bytes_min` and more with a digit are in the column `id_column`; from `linked_from` columns
    on, they are in the last but one.
    """

    columns_min: int
    caller: int
    callee: int
    started_at: int
    duration_s: int
    call_id: Callable[[Sequence[str]], int]
    sure: tuple[int, re.Pattern[str], str]
    id_like: re.Pattern[str]
    words: tuple[str, ...]
    id_column: int
    id_bytes_min: int
    linked_from: int = 0
    channel: int | None = None
    unescaped: bool = False


class CsvDialect:
    """A dialect that a `CsvForm` describes; its times are local."""

    json_keys = ()

    def __init__(self, name: str, form: CsvForm, switch: SwitchSettings) -> None:
        self.name = name
        self._form = form
        self._zone = switch.zone
        self._trunk = switch.trunk or None
        pattern = form.sure[1]
        self._is_sure = lru_cache(maxsize=256)(lambda text: pattern.match(text) is not None)
        columns = {"call_id": form.id_column, "caller": form.caller, "callee": form.callee}
        if form.channel is not None and not switch.trunk:
            columns["trunk"] = form.channel
        self.layout: CellLayout | None = CellLayout(
            tuple(columns.items()),
            form.columns_min,
            form.started_at,
            form.sure[0],
            form.words,
            form.id_bytes_min,
            form.linked_from,
            (("trunk", switch.trunk),) if switch.trunk else (),
            channels="trunk" in columns,
        )

    def key_fields(self, value: Value, /) -> KeyFields:
        """See `Dialect`."""
        return self._key_fields(self._cells(value))

    def _cells(self, value: Value) -> list[str]:
        try:
            return self._checked(cells_of(value, ","))
        except NoCall:
            for cells in _as_written(value) if self._form.unescaped else ():
                with suppress(NoCall):
                    return self._checked(cells)
            raise

    def _checked(self, cells: list[str]) -> list[str]:
        """Return the cells of a record in this order. Raises NoCall."""
        form = self._form
        if len(cells) < form.columns_min:
            text = f"{len(cells)} columns where at least {form.columns_min} are needed"
            raise NoCall(RejectReason.MISSING_FIELD, text)
        column, _, what = form.sure
        if not self._is_sure(cells[column]):
            raise _other_order(column, what)
        started = cells[form.started_at]
        if not _is_date(started[:10]) and _TIME.match(started) is None:
            raise _other_order(form.started_at, "time")
        return cells

    def _key_fields(self, cells: Sequence[str]) -> KeyFields:
        form = self._form
        column = form.call_id(cells)
        call_id = cells[column]
        if not call_id:
            raise NoCall(RejectReason.MISSING_FIELD, "the column of the call's id is empty")
        if form.id_like.match(call_id) is None:
            raise _other_order(column, "call id")
        trunk = self._trunk
        if trunk is None and form.channel is not None:
            trunk = fields.trunk_of(cells[form.channel])
        return KeyFields(call_id, cells[form.caller] or None, cells[form.callee] or None, trunk)

    def details(self, value: Value, /) -> Details:
        """See `Dialect`."""
        cells, form = self._cells(value), self._form
        return Details(
            started_at_s=fields.moment_s(cells[form.started_at], self._zone),
            stage=Stage.END,
            carrier=None,
            duration_s=fields.duration_s(cells[form.duration_s]),
        )

    def started_at_s(self, value: Value, /) -> float | None:
        """See `Dialect`."""
        return fields.moment_s(self._cells(value)[self._form.started_at], self._zone)

    def found(self, value: Value, /) -> Mapping[str, RecordField]:
        """See `Dialect`."""
        cells, form = self._cells(value), self._form
        places = {
            "call_id": form.call_id(cells),
            "caller": form.caller,
            "callee": form.callee,
            "started_at": form.started_at,
            "duration_s": form.duration_s,
        }
        if form.channel is not None and self._trunk is None:
            places["trunk"] = form.channel
        return {
            name: RecordField(f"column {place}", cells[place] or None)
            for name, place in places.items()
        }
