"""Records that are one CSV line each, quoted as RFC 4180 says."""

import csv
from functools import cache
from typing import Any

from stream.calls.dialects.dialect import NoCall, Value
from stream.core.model.call import RejectReason


def cells_of(value: Value, delimiter: str) -> list[str]:
    """The cells of one line. Raises NoCall or UnicodeDecodeError."""
    line = str(value, "utf-8")
    try:
        rows = list(csv.reader((line,), _form(delimiter)))
    except csv.Error as error:
        raise NoCall(RejectReason.NOT_CSV, str(error)) from error
    if len(rows) != 1:
        raise NoCall(RejectReason.NOT_CSV, f"{len(rows)} lines where one is a record")
    return rows[0]


@cache
def _form(delimiter: str) -> Any:
    """A form that is made once: making it costs as much as reading a line."""
    return csv.reader((), delimiter=delimiter, strict=True).dialect
