"""The typed report on a file, as the CLI's JSON, the HTTP API and the page have it."""

import json

import msgspec
from typer.testing import CliRunner

from stream.cli.main import app
from stream.feeds.detection.detect import detect
from stream.feeds.file_report import FileReport, cleaned_lines, file_report

NOW_S = 1_795_564_800  # 2026-11-25T00:00:00Z
FILE = (
    "เบอร์โทร,ประเภท,เลขบัญชี\n"
    "๐๘๑-๒๓๔-๕๖๗๘,หลอกลวง,1234567890\n"
    "'0812345679,หลอกลวง,1234567891\n"
    "0812345670 ต่อ 5,กู้เงิน,1234567892\n"
    "812345671,กู้เงิน,1234567893\n"
)


def plain(value: object) -> object:
    return json.loads(msgspec.json.encode(value))


def report(tmp_path) -> FileReport:
    path = tmp_path / "list.csv"
    path.write_text(FILE)
    (one,) = detect(path, ("TH",), NOW_S)
    return file_report(one, str(path))


def test_every_column_is_shown_with_its_meaning_and_examples(tmp_path):
    """A person sees which column is read as what, and why another is not the number."""
    number, category, account = report(tmp_path).table
    assert (number.place, number.field) == ("เบอร์โทร", "number")
    assert number.examples[0] == "๐๘๑-๒๓๔-๕๖๗๘"
    assert category.field == "category"
    assert account.field == ""
    assert "account" in account.why_not


def test_cleaned_and_rejected_rows_have_their_place(tmp_path):
    """Each kind of cleaning and each rejected row names its line, its text, and what to do."""
    found = report(tmp_path)
    assert (found.rows, found.good) == (4, 3)
    kinds = {one.kind: one for one in found.cleaned}
    assert kinds.keys() == {"digits", "apostrophe", "lost_zero"}
    (example,) = kinds["lost_zero"].examples
    assert (example.line, example.before, example.after) == (5, "812345671", "+66812345671")
    (row,) = found.rejected_rows
    assert (row.line, row.cell, row.reason) == (4, "", "not_a_number")
    assert row.value == "0812345670 ต่อ 5"
    assert row.row == "0812345670 ต่อ 5,กู้เงิน,1234567892"
    assert any("'812345671' is +66812345671" in line for line in cleaned_lines(found.cleaned))


def test_the_report_is_the_commands_json(tmp_path):
    """`feeds detect -o json` prints the same report, and `feeds check` the same rows."""
    found = report(tmp_path)
    path = str(tmp_path / "list.csv")
    said = CliRunner().invoke(app, ["feeds", "detect", path, "--json"])
    assert json.loads(said.stdout) == [plain(found)]
    checked = json.loads(CliRunner().invoke(app, ["feeds", "check", path, "--json"]).stdout)
    assert checked["rejected"] == plain(found.rejected_rows)
    assert checked["cleaned"] == plain(found.cleaned)
