"""The recognised form of a file, and the settings of its feed."""

import bz2
import gzip
import io
import json
import re
import tomllib
import zipfile

import pytest

from stream.feeds.detection.detect import detect
from stream.feeds.formats.rows import InputUnreadable
from tests.support.feed_samples import NOW_S, Case, cases

REGIONS = ("TH", "KH", "GB", "US")
SAMPLES = [*cases(rows=True), *cases(rows=False)]


@pytest.mark.parametrize("case", SAMPLES, ids=lambda case: case.name)
def test_each_sample_is_recognised(case: Case):
    """The first proposal for each golden sample is its format, and its rows are tried.

    The snippet can be read, names format and columns, and marks what is for the operator.
    """
    found = detect(case.path, REGIONS, NOW_S)
    assert found[0].kind == case.kind
    assert found[0].sureness > 50
    assert found[0].good * 3 >= found[0].rows
    for one in found:
        table = tomllib.loads(one.toml("inbox/x.csv"))
        assert table["format"] == one.kind
        assert table.get("columns", {}) == dict(one.options.columns)
        assert table["from"] == {"kind": "file", "path": "inbox/x.csv"}
        assert "# ->" in one.toml("x")


def test_a_spreadsheet_of_national_numbers(tmp_path):
    """Columns by what stands in them, the region that reads most, the words still to be mapped."""
    path = tmp_path / "x.csv"
    path.write_text(
        "ที่;เบอร์โทร;เรื่อง;เมื่อ\n"
        "1;089-000-0001;พัสดุ;2026-11-20\n"
        "2;0890000002;เงินกู้;2026-11-21\n"
        "3;0890000003;พัสดุ;2026-11-22\n"
    )
    (one,) = detect(path, ("GB", "TH"), NOW_S)
    assert (one.kind, one.region, one.good, one.rows) == ("csv", "TH", 3, 3)
    assert one.options.columns == {"number": "เบอร์โทร", "category": "เรื่อง", "reported_at": "เมื่อ"}
    assert one.unknown_words == ("พัสดุ", "เงินกู้")
    assert one.examples[0] == {
        "number": "089-000-0001",
        "category": "พัสดุ",
        "reported_at": "2026-11-20",
    }


def test_numbers_that_look_like_times_are_numbers(tmp_path):
    """Ten digits of the US are seconds since 1970 as well; where no name tells, a person does."""
    path = tmp_path / "x.csv"
    path.write_text("id,when,who\n1,2026-11-20,2025550123\n2,2026-11-21,2025550124\n")
    (one,) = detect(path, ("US",), NOW_S)
    assert one.question is not None
    assert [choice.answer for choice in one.question.choices] == ["who"]
    (one,) = detect(path, ("US",), NOW_S, "who")
    assert (one.question, one.good) == (None, 2)
    assert one.options.columns == {"number": "who", "reported_at": "when"}


@pytest.mark.parametrize("end", ["31-Dec-2026", "20261231", "46387"])
def test_ends_that_cannot_be_read_are_asked_about(tmp_path, end):
    """Left out, a block would outlast its end; that the numbers are national is no fault."""
    path = tmp_path / "x.csv"
    path.write_text("phone,valid until\n" + "".join(f"08900{n}0{n},{end}\n" for n in range(10, 30)))
    (one,) = detect(path, ("TH",), NOW_S)
    assert one.question is not None
    assert f"column 'valid until': ends like '{end}' cannot be read" in one.question.text
    path.write_text("phone,expires\n0890001001,permanent\n0890003002,never\n")
    (one,) = detect(path, ("TH",), NOW_S)
    assert (one.question, one.good) == (None, 2)


def test_days_that_begin_with_the_year_are_read(tmp_path):
    """2026/12/5, as spreadsheets of East Asia write days, is one day in every order."""
    path = tmp_path / "x.csv"
    path.write_text(
        "phone,expires\n" + "".join(f"08900{n}0{n},2026/12/{n}\n" for n in range(10, 30))
    )
    (one,) = detect(path, ("TH",), NOW_S)
    assert (one.question, one.good, one.dates.order) == (None, 20, "iso")
    assert one.options.columns == {"number": "phone", "expires_at": "expires"}


def test_an_old_thai_encoding_is_proposed(tmp_path):
    """Thai letters that are not UTF-8 are CP874; other such files are Western European."""
    path = tmp_path / "x.csv"
    path.write_bytes("เบอร์,หมายเหตุ\n+66890000001,สายด่วนธนาคาร\n".encode("cp874"))
    assert detect(path, (), NOW_S)[0].options.encoding == "cp874"
    path.write_bytes("number,remark\n+66890000001,Betrüger\n".encode("cp1252"))
    assert detect(path, (), NOW_S)[0].options.encoding == "cp1252"


def test_paths_of_json_lines(tmp_path):
    """Fields within objects are found, and proposed as paths."""
    path = tmp_path / "x.jsonl"
    record = {"id": 1, "call": {"caller": "+66890000001"}, "type": "spam", "score": 80}
    path.write_text(json.dumps(record) + "\n" + json.dumps(record | {"id": 2}) + "\n")
    (one,) = detect(path, (), NOW_S)
    assert one.options.columns == {
        "number": "call.caller",
        "category": "type",
        "confidence": "score",
    }


@pytest.mark.parametrize("data", [b"", b"hello\nworld\n", b"{}"])
def test_what_is_no_feed_has_no_proposal(tmp_path, data):
    """A letter, an empty file, an empty object are nothing."""
    path = tmp_path / "x"
    path.write_bytes(data)
    assert detect(path, REGIONS, NOW_S) == ()


def zipped(*names: str, mimetype: str = "") -> bytes:
    """An archive as office programs write them."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        if mimetype:
            archive.writestr("mimetype", mimetype)
        for name in names:
            archive.writestr(name, "<x/>" * 300)
    return made.getvalue()


ODS = "application/vnd.oasis.opendocument.spreadsheet"
FOREIGN = {
    "xlsx": (zipped("[Content_Types].xml", "xl/workbook.xml"), "Excel workbook (.xlsx): open it"),
    "ods": (zipped("content.xml", mimetype=ODS), "OpenDocument spreadsheet (.ods): open it"),
    "docx": (zipped("word/document.xml"), "an Office document"),
    "zip": (zipped("numbers.csv"), "manifest.json: not the folder of a feed"),
    "xls": (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600 + "Workbook".encode("utf-16-le"),
        "Excel workbook (.xls): open it and export",
    ),
    "doc": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, "old Office program"),
    "bytes": (b"\xd0\xcf\x11\xe0\0\1\0\0\0\2", "UTF-8"),
    "html as xls": (b"<html><table><tr><td>0812345678</td></tr></table></html>", "a web page"),
    "xml sheet": (
        b'<?xml version="1.0"?>\n<?mso-application progid="Excel.Sheet"?>\n<Workbook>',
        "Excel workbook in XML",
    ),
    "pdf": (b"%PDF-1.7\n1 0 obj\n0812345678\n", "a PDF document"),
    "gzip": (gzip.compress(b"number\n+66812345678\n"), "a gzip file: unpack it first"),
    "bzip2": (bz2.compress(b"number\n+66812345678\n"), "a bzip2 file"),
    "vcard": (b"BEGIN:VCARD\nTEL:0812345678\nEND:VCARD\n", "contact cards"),
}


@pytest.mark.parametrize(("data", "said"), FOREIGN.values(), ids=FOREIGN)
def test_files_that_are_no_feed_say_what_they_are(tmp_path, data, said):
    """A spreadsheet's own file, a PDF, a login page: what it is, and what to do about it."""
    path = tmp_path / "numbers.csv"
    path.write_bytes(data)
    with pytest.raises(InputUnreadable, match=re.escape(said)):
        detect(path, REGIONS, NOW_S)


def test_days_are_proposed_though_the_number_is_asked(tmp_path):
    """The page reads by a proposal whose number a person chose: its days go with it where they are
    clear, and are asked then where they are not.
    """
    path = tmp_path / "x.csv"
    head = "date,phone,contact phone\n"
    path.write_text(head + "20/11/2026,0812345678,0812345111\n21/11/2026,0812345679,0812345111\n")
    (one,) = detect(path, ("TH",), NOW_S)
    assert one.question is not None
    assert (one.question.option, one.dates.order) == ("--number", "day-month")
    path.write_text(head + "01/02/2026,0812345678,0812345111\n03/02/2026,0812345679,0812345111\n")
    (one,) = detect(path, ("TH",), NOW_S)
    assert one.question is not None
    assert (one.question.option, one.dates.order) == ("--number", "iso")
    (one,) = detect(path, ("TH",), NOW_S, "phone")
    assert one.question is not None
    assert one.question.option == "--dates"
