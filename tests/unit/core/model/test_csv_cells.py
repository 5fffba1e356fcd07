"""No cell of a CSV file that we write becomes a formula, and what was marked is read back."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.model import csv_cells

FORMULAS = [
    "=cmd|' /C calc'!A0",
    '=HYPERLINK("https://example.org","x")',
    "+1+1",
    "-1+1",
    "@SUM(1)",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    "＝1+1",
]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_is_marked(text: str) -> None:
    """A cell that a spreadsheet would run stands behind a mark, also in a list's own columns."""
    assert csv_cells.cell(text) == f"'{text}"
    assert csv_cells.cell_of_list(text) == f"'{text}"


@pytest.mark.parametrize("value", ["a", "", "'a", "it's", "a=b", 7, -7, None])
def test_other_cells_stay(value: object) -> None:
    """A cell that no spreadsheet runs is written as it is."""
    assert csv_cells.cell(value) == value


@pytest.mark.parametrize("number", ["+447700900123", "+4477009*"])
def test_numbers_of_a_list_stay_plain(number: str) -> None:
    """A list's numbers are what programs read of it; elsewhere they are marked as all texts."""
    assert csv_cells.cell_of_list(number) == number
    assert csv_cells.cell(number) == f"'{number}"


@given(st.text(st.sampled_from("=+-@'ab ＝\t\n\r*1")) | st.text())
def test_any_text_is_read_back(text: str) -> None:
    """A cell is never a formula, and `plain` gives the text that it was made of."""
    for written in (csv_cells.cell(text), csv_cells.cell_of_list(text)):
        assert isinstance(written, str)
        assert written[:1] not in set("=-@\t\r\n")
        assert not written.startswith("+") or written[1:].removesuffix("*").isdigit()
        assert csv_cells.plain(written) == text


@given(st.lists(st.lists(st.text(st.characters(exclude_characters="\r\n\0")), min_size=1)))
def test_lines_are_csv(rows: list[list[str]]) -> None:
    """Any CSV reader gets the cells back."""
    cells = [[str(csv_cells.cell(text)) for text in row] for row in rows]
    read = list(csv.reader(io.StringIO(csv_cells.lines(cells))))
    assert [[csv_cells.plain(text) for text in row] for row in read] == rows
