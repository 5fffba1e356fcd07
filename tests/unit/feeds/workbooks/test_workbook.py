"""Sheets of workbooks: every cell is read as it was meant, or its row says what was lost."""

import resource
import zipfile
from datetime import date, datetime
from pathlib import Path

import pytest

from stream.feeds.formats.csv import letters_of
from stream.feeds.formats.rows import InputUnreadable, ReadOptions, Wrong
from stream.feeds.open import format_of, read_rows
from stream.feeds.parse import Defaults, Parsed, Parser
from stream.feeds.version_files import Rejects
from stream.feeds.workbooks import sheet_text, workbook
from tests.support.workbooks import Raw, Sheet, column, write_ods, write_xlsx

NOW_S = 1_795_564_800  # 2026-11-25T00:00:00Z


def parsed(path: Path, sheet: str = "", region: str = "TH") -> Parsed:
    (rows,) = read_rows(path, "workbook", options=ReadOptions(sheet=sheet))
    return Parser(Defaults("file", NOW_S, region)).parse(rows)


def table(tmp_path: Path, rows: Sheet) -> Path:
    return write_xlsx(tmp_path / "list.xlsx", {"Sheet1": rows})


@pytest.mark.parametrize("write", [write_xlsx, write_ods])
def test_texts_numbers_and_days_of_both_kinds(tmp_path, write):
    """Excel's and LibreOffice's cells give the same numbers and times."""
    path = write(
        tmp_path / "list.xls",  # names lie
        {
            "S": [
                ["number", "reported_at"],
                ["0812345678", date(2026, 11, 20)],
                [812345679, datetime(2026, 11, 20, 14, 30)],  # noqa: DTZ001
                ["+66812345670", None],
            ]
        },
    )
    found = parsed(path)
    assert found.numbers.tolist() == [b"+66812345678", b"+66812345679", b"+66812345670"]
    days = [NOW_S - 5 * 86_400, NOW_S - 5 * 86_400 + 52_200, NOW_S]
    assert found.reported_at.tolist() == days
    assert found.cleaned.labels == {"lost_zero": 1}


@pytest.mark.parametrize(
    ("cell", "wrong"),
    [
        (6681234567890123.0, Wrong.SCIENTIFIC),
        (1e22, Wrong.SCIENTIFIC),
        (812345678.5, Wrong.DECIMAL),
        (812345678.123456, Wrong.DECIMAL),
        (date(2026, 11, 20), Wrong.DATE),
        (True, Wrong.NOT_E164),
        ("0812345678\n0812345679", Wrong.SEVERAL_NUMBERS),
        (Raw('<c r="{at}" t="e"><v>#N/A</v></c>'), Wrong.NO_NUMBER),
        ("6.68E+10", Wrong.SCIENTIFIC),
    ],
)
def test_what_a_spreadsheet_lost_is_named_with_its_cell(tmp_path, cell, wrong):
    """A row whose number lost digits is rejected, with the reason and the cell to look at."""
    found = parsed(table(tmp_path, [["note", "number"], ["", "0812345678"], ["x", cell]]))
    assert found.numbers.tolist() == [b"+66812345678"]
    (row,) = found.rejected
    assert (row.line, row.wrong, row.cell) == (3, wrong, "B3")


def test_the_rejects_file_names_the_cell(tmp_path):
    """The message names the cell, so that nobody counts rows."""
    found = parsed(table(tmp_path, [["number"], ["0812345678"], ["12"]]))
    with Rejects(tmp_path / "rejects.csv").open() as rejects:
        rejects.add(found.rejected)
    assert (tmp_path / "rejects.csv").read_text().endswith(",A3\n")


def test_blank_rows_and_columns_are_counted_but_are_no_rows(tmp_path):
    """Lines are the sheet's rows and letters its columns, wherever the table begins."""
    rows = [[], [], [None, None, "number", "source"], [], [None, None, "0812345678", 'a "b"']]
    path = table(tmp_path, [*rows, [None, None, "x", None]])
    found = parsed(path)
    assert found.numbers.tolist() == [b"+66812345678"]
    assert [(row.line, row.cell) for row in found.rejected] == [(6, "C6")]
    (chunk,) = read_rows(path, "workbook")
    assert list(chunk.source or ()) == ['a "b"', ""]


def test_a_sheet_is_named_or_counted(tmp_path):
    """Of several sheets one is named by its name or its place; hidden ones are not proposed."""
    sheets = {"2026": [["number"], ["0812345678"]], "B & <C>": [["number"], ["0812345679"]]}
    path = write_xlsx(tmp_path / "x.xlsx", {**sheets, "h": [["x"]]}, hidden=["h"])
    assert workbook.sheets_of(path) == ("2026", "B & <C>")
    for name, number in (("2026", "8"), ("1", "8"), ("B & <C>", "9"), ("2", "9")):
        assert parsed(path, name).numbers.tolist() == [f"+6681234567{number}".encode()]
    with pytest.raises(
        InputUnreadable, match="no sheet is named: its sheets are '2026', 'B & <C>'"
    ):
        parsed(path)
    with pytest.raises(InputUnreadable, match="it has no sheet '4'"):
        parsed(path, "4")
    alone = write_xlsx(tmp_path / "y.xlsx", {"h": [["x"]], **dict([*sheets.items()][:1])}, ["h"])
    assert parsed(alone).numbers.tolist() == [b"+66812345678"]


def test_an_empty_sheet_has_no_rows(tmp_path):
    """A sheet without a cell is no fault; an import of it finds nothing good."""
    assert list(read_rows(table(tmp_path, []), "workbook")) == []


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\x03\x04",
        b"PK\x05\x06" + bytes(18),
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600),
        b"number\n+66812345678\n",
    ],
)
def test_what_is_no_workbook_is_refused(tmp_path, data):
    """Damaged and other files end in a refusal that names the file."""
    path = tmp_path / "x.xlsx"
    path.write_bytes(data)
    with pytest.raises(InputUnreadable, match=r"x\.xlsx"):
        list(read_rows(path, "workbook"))


def test_a_missing_file_is_refused(tmp_path):
    """A file that went away is named."""
    with pytest.raises(InputUnreadable, match=r"gone\.xlsx"):
        list(read_rows(tmp_path / "gone.xlsx", "workbook"))
    with pytest.raises(InputUnreadable, match=r"gone\.xlsx"):
        workbook.first_lines(tmp_path / "gone.xlsx", "", 10)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The program with less memory and CPU, so that bombs meet their limit at once."""
    text = Path(sheet_text.__file__).read_text()
    text = text.replace("MEMORY_MAX = 3 << 30", "MEMORY_MAX = 1 << 28")
    program = tmp_path / "program.py"
    program.write_text(text.replace("_CPU_S = 10", "_CPU_S = 2").replace("_MAX = 240", "_MAX = 5"))
    monkeypatch.setattr(sheet_text, "__file__", str(program))


FAR = Raw('<c r="XFD1048576"><v>1</v></c>')
MANY = Raw(
    '<table:table-cell table:number-columns-repeated="16000" office:value-type="string">'
    "<text:p>0812345678</text:p></table:table-cell></table:table-row>"
    '<table:table-row table:number-rows-repeated="1000000"><table:table-cell '
    'table:number-columns-repeated="16000" office:value-type="float" office:value="1"/>'
)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("kind", ["far cell", "repeated cells", "long texts", "packed"])
def test_a_bomb_meets_its_limit(tmp_path, kind):
    """A workbook that unpacks without end costs its own process, and is refused."""
    path = tmp_path / "bomb.xlsx"
    if kind == "far cell":
        write_xlsx(path, {"S": [["number"], ["0812345678", FAR]]})
    elif kind == "repeated cells":
        write_ods(path, {"S": [["number"], [MANY]]})
    else:
        write_xlsx(path, {"S": [["number"], ["0812345678"]]})
        body = b"<row><c t='inlineStr'><is><t>" + b"0" * 30_000 + b"</t></is></c></row>"
        with zipfile.ZipFile(path) as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for name, data in parts.items():
                with archive.open(name, "w") as file:
                    if "sheet1" not in name:
                        file.write(data)
                        continue
                    file.write(data[: data.index(b"<sheetData>") + 11])
                    if kind == "packed":
                        for _ in range(300):
                            file.write(b" " * (1 << 20))
                    for _ in range(0 if kind == "packed" else 20_000):
                        file.write(body)
                    file.write(b"</sheetData></worksheet>")
    with pytest.raises(InputUnreadable, match=r"more memory or time|cannot be read"):
        for _ in read_rows(path, "workbook"):
            pass


def test_too_much_text_is_refused(tmp_path, monkeypatch):
    """A sheet whose text is longer than any list of numbers is not read to its end."""
    monkeypatch.setattr(workbook, "TEXT_BYTES_MAX", 1000)
    rows = [["number"], *([["0812345678"]] * 1000)]
    with pytest.raises(InputUnreadable, match="its text is more than"):
        list(read_rows(table(tmp_path, rows), "workbook"))


def test_a_directory_that_says_it_is_large_is_refused(tmp_path, monkeypatch):
    """The sizes that an archive itself gives are looked at before anything is unpacked."""
    monkeypatch.setattr(sheet_text, "UNPACKED_MAX", 100)
    with pytest.raises(sheet_text._Refused, match="unpacks to"):
        sheet_text._size(str(table(tmp_path, [["number"]])))


@pytest.mark.usefixtures("small")
def test_a_damaged_sheet_that_calamine_reads_for_ever_is_refused(tmp_path):
    """A small file takes seconds of CPU at most: this one kept a core for four minutes."""
    path = write_ods(tmp_path / "list.ods", {"S": [["number"], ["0812345678"]]})
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts["content.xml"] = parts["content.xml"].replace(b"</table:table>", b"</x:table>")
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    with pytest.raises(InputUnreadable, match="more memory or time"):
        list(read_rows(path, "workbook"))


def test_cpu_for_a_workbook_grows_with_its_bytes(monkeypatch):
    """A large honest workbook has minutes, a small one seconds."""
    limits: list[int] = []

    def noted(kind: int, pair: tuple[int, int]) -> None:
        if kind == resource.RLIMIT_CPU:
            limits.append(pair[0])

    monkeypatch.setattr(resource, "setrlimit", noted)
    for size in (2_000, 100 << 20, 1 << 32):
        sheet_text._limit(size)
    assert limits == [10, 60, 240]


LETTERS = ("A", "Z", "AA", "ZZ", "AAA", "XFD")


def test_letters():
    """Columns are named as spreadsheets name them."""
    assert [letters_of(at) for at in (0, 25, 26, 701, 702, 16_383)] == list(LETTERS)
    assert all(letters_of(at) == column(at) for at in range(2000))


def test_formats_by_name():
    """The name's end says that a file is a workbook."""
    names = ("a.xlsx", "b.XLS", "c.ods", "d.xlsm", "e.xlsb")
    assert {format_of(Path(name)) for name in names} == {"workbook"}
