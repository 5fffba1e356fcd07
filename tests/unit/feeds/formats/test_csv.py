"""CSV as spreadsheets and databases write it."""

import pytest

from stream.feeds.formats import csv
from stream.feeds.formats.rows import InputUnreadable, Rows
from tests.support.feed_lines import line_chunks


def read(text: str, names=None, piece: int = 1 << 20) -> list[Rows]:
    pieces = [text[at : at + piece] for at in range(0, len(text), piece)]
    return list(csv.read(line_chunks(pieces), names))


def numbers(chunks: list[Rows]) -> list[str | None]:
    return [number for rows in chunks for number in rows.number]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiter_is_found(delimiter):
    """Comma, semicolon, tab and bar files read the same without being told which they are."""
    text = "number,category\n+66812345678,spam\n".replace(",", delimiter)
    (rows,) = read(text)
    assert (list(rows.number), list(rows.category or ())) == (["+66812345678"], ["spam"])


@pytest.mark.parametrize("name", ["Phone Number", "MSISDN", "phone-number", " number ", "Caller"])
def test_usual_names_of_the_column_are_understood(name):
    """A header by the names that such files use needs no option."""
    assert numbers(read(f"id,{name}\n1,+66812345678\n")) == ["+66812345678"]


def test_excel_says_its_delimiter():
    """The line `sep=;` that Excel writes is no row, and is believed."""
    assert numbers(read("sep=;\nnumber;x\n+66812345678;a,b\n")) == ["+66812345678"]


def test_without_header_the_column_of_numbers_is_found():
    """A file that begins with data keeps its first row."""
    assert numbers(read("1,+66812345678\n2,+66812345679\n")) == ["+66812345678", "+66812345679"]


@pytest.mark.parametrize(
    "name", ["victim phone", "ผู้เสียหาย", "ผู้แจ้ง", "Ticket ID", "contact", "วันที่", "Số tài khoản"]
)
def test_a_column_that_its_name_excludes_is_not_taken_for_the_numbers(name):
    """Victims' telephones look like any others: their column's name says that they are theirs."""
    with pytest.raises(InputUnreadable, match=f"'{name}' has digits like those, but is named as"):
        read(f"{name},notes\n0812345671,a\n0898765432,b\n0870001234,c\n")


def test_a_column_in_another_language_is_no_row():
    """The header above the numbers is none of them, whether its words are known or not."""
    for name in ("หมายเลข", "เบอร์คนร้าย", "xyz"):
        (rows,) = read(f"{name};ประเภท\n0812345671;a\n0898765432;b\n")
        assert list(rows.number) == ["0812345671", "0898765432"]
        assert list(rows.lines)[:1] == [2]


def test_names_can_be_given():
    """Given names lay out a file without header; a header that is there is no row."""
    given = ["", "number", "category"]
    (rows,) = read("7,0812345678,spam\n", given)
    assert (list(rows.number), list(rows.category or ())) == (["0812345678"], ["spam"])
    assert numbers(read("id,number,category\n7,0812345678,spam\n", given)) == ["0812345678"]


def test_a_header_below_titles_is_no_row():
    """Of columns by their places; a row without a number is a row, wherever it stands."""
    titles = "Reports of November,,\n,,\nday,เบอร์โทรศัพท์,kind\n"
    rows = "1/11,unknown,loan\n2/11,0812345678,loan\n3/11,phone,loan\n"
    for text, expected in (
        (titles + rows, ["unknown", "0812345678", "phone"]),
        (rows, ["0812345678", "phone"]),
    ):
        assert numbers([*csv.read([text.splitlines()], None, {"number": 2})]) == expected


@pytest.mark.parametrize("text", ["name,city\nSomchai,Bangkok\n", "a,b\n", "category\nspam\n"])
def test_a_file_without_numbers_is_refused(text):
    """A file in which no column can be the numbers is refused as a whole, with what to do."""
    with pytest.raises(InputUnreadable, match="call the column of the numbers `number`"):
        read(text)


def test_quoted_fields_hold_delimiters_and_line_ends():
    """A quoted field may hold commas, doubled quotes and line ends; lines are counted through."""
    chunks = read('number,source\n+66812345678,"a, ""b""\nc"\n+66812345679,d\n')
    assert numbers(chunks) == ["+66812345678", "+66812345679"]
    assert list(chunks[0].source or ()) == ['a, "b"\nc', "d"]
    assert list(chunks[0].lines) == [2, 4]


def test_a_quoted_field_over_the_end_of_a_piece():
    """Where the file is cut for reading makes no difference."""
    text = 'number,source\n+66812345678,"a\nb"\n+66812345679,"c"\n'
    for piece in range(1, len(text)):
        assert numbers(read(text, piece=piece)) == ["+66812345678", "+66812345679"]


def test_an_unclosed_quote_costs_its_own_row():
    """A quote that is opened and never closed does not swallow the rest of the file."""
    good = [f"+6681234{i:04d}" for i in range(100)]
    text = "number,source\n" + '"+66812345678,x\n' + "".join(f"{n},y\n" for n in good)
    chunks = read(text)
    assert numbers(chunks) == good
    assert [row.line for rows in chunks for row in rows.unreadable] == [2]


def test_short_rows_and_blank_lines():
    """Missing fields are empty, blank lines are no rows."""
    (rows,) = read("number,category,source\n+66812345678\n\n+66812345679,spam,a,b,c\n")
    assert list(rows.number) == ["+66812345678", "+66812345679"]
    assert list(rows.category or ()) == ["", "spam"]
    assert list(rows.lines) == [2, 4]
