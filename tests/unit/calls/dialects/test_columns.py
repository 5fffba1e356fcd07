"""Promises of cutting lines: by delimiters of any length, with quotes or escapes, or by widths."""

import pytest

from stream.calls.dialects.columns import columns_cut
from stream.calls.dialects.dialect import NoCall
from stream.calls.dialects.mapping_settings import MappingSettings

PLACES = {"call_id": "0", "caller": "1", "callee": "2"}
LINES = {
    "quotes": ({}, 'a,"b,""c""",d', ["a", 'b,"c"', "d"]),
    "two characters": ({"delimiter": "||"}, 'a||"b ""c"""||d|e', ["a", 'b "c"', "d|e"]),
    "tabs and a bar": ({"delimiter": "\t|"}, "a\t|\t|d", ["a", "", "d"]),
    "escapes": ({"escape": "\\"}, 'a\\,b,"c,d', ["a,b", '"c', "d"]),
    "widths": ({"format": "fixed", "widths": (3, 2)}, "ab cde", ["ab", "cd"]),
}


@pytest.mark.parametrize(("change", "line", "cells"), LINES.values(), ids=LINES)
def test_a_line_is_cut_as_the_mapping_says(change, line, cells):
    """The cells are what was written, without quotes, escapes or padding."""
    cut = columns_cut(MappingSettings(**{"format": "csv", "fields": PLACES, **change}))
    assert cut(line.encode()) == cells
    assert cut(memoryview(line.encode() + b"\r\n")) == cells


@pytest.mark.parametrize("line", ['a||"b||c', 'a||"b||c"', 'a||"', 'a||"b"c"'])
def test_a_delimiter_within_quotes_is_never_misread(line):
    """A long delimiter in a quoted text would move all columns behind it: the line is rejected."""
    cut = columns_cut(MappingSettings("csv", PLACES, delimiter="||"))
    with pytest.raises(NoCall, match="quotation mark"):
        cut(line.encode())
