"""Records that are one CSV line each, quoted as RFC 4180 says."""

import csv

from stream.calls.dialects.dialect import NoCall, Value
from stream.core.call import RejectReason


def cells_of(value: Value, delimiter: str) -> list[str]:
    """The cells of one line. Raises NoCall or UnicodeDecodeError."""
    line = str(value, "utf-8")
    try:
        rows = list(csv.reader([line], delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise NoCall(RejectReason.NOT_CSV, str(error)) from error
    if len(rows) != 1:
        raise NoCall(RejectReason.NOT_CSV, f"{len(rows)} lines where one is a record")
    return rows[0]
