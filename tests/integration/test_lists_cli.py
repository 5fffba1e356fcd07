"""`ringfence lists` and `ringfence allow`, as an operator types them."""

import asyncio
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from pybloom_live.pybloom import BloomFilter

from stream.core.model.allowlist import AllowEntry
from stream.feeds.open import read_rows
from stream.lists.store.heads import By
from stream.lists.store.list_store import ListStore
from stream.lists.store.settings import ListStoreSettings
from tests.support.commands import Operator

NAME = "TH/national"
SHEET = (
    "sep=;\r\nPhone Number;Category;Reported\r\n"
    "0812345671;Call Centre;2026-01-31\r\n"
    "081-234-5672;parcel;\r\n"
    "6.68E+10;spam;\r\n"
    "0812345673;spam;31/01/2026\r\n"
    "0812345674;nonsense;\r\n"
)


AGREEMENT = f"""
title = "Memorandum (invented)"
kind = "memorandum"
valid_from = 2020-01-01
parties.TH = {{ roles = ["owner"], contact = "noc@th.example" }}
parties.KH = {{ roles = ["enforcer"], contact = "noc@kh.example" }}
[lists."{NAME}"]
action = "flag"
"""


@pytest.fixture
def operator(redis_url: str, tmp_path: Path) -> Operator:
    """An operator with an empty register."""
    return Operator.at(tmp_path, redis_url)


@pytest.fixture
def sheet(tmp_path: Path) -> Path:
    path = tmp_path / "sheet.csv"
    path.write_text(SHEET, encoding="utf-16")
    return path


def test_imports_and_rebuilds_give_way(operator, sheet, priorities):
    """Calls that are decided on the same machine go before work that may wait."""
    operator.types("lists", "create", NAME)
    operator.types("lists", "import", NAME, str(sheet), "--region", "TH")
    operator.types("lists", "rebuild", NAME)
    assert len(priorities) == 2
    assert min(priorities) >= 10


def test_what_looks_like_ids_is_imported_by_nobodys_mistake(operator, tmp_path):
    """A column of ids under the name `number` lists nobody, unless a person says that they are."""
    operator.types("lists", "create", NAME)
    sheet = tmp_path / "tickets.csv"
    rows = "".join(f"{812_345_670 + at * 3},open\n" for at in range(40))
    sheet.write_text(f"number,status\n{rows}")
    words = ("lists", "import", NAME, str(sheet), "--region", "TH")
    said = operator.types(*words, code=2)
    assert "nothing was imported: what is read as numbers looks like ids" in said
    assert operator.asks("lists", "show", NAME)["count"] == 0
    assert "40 added" in operator.types(*words, "--are-numbers")


def test_call_records_are_no_list(operator, tmp_path):
    """Every caller of a switch would be listed: its records are refused as a list."""
    operator.types("lists", "create", NAME)
    words = ("lists", "import", NAME, "--region", "TH")
    for name, text in (
        ("calls.csv", "caller,called,started_at,duration\n0812345671,0898765432,2026-11-20,3\n"),
        ("calls.jsonl", '{"number":"0812345671","dst":"191","answered":1,"duration":3}\n'),
    ):
        sheet = tmp_path / name
        sheet.write_text(text)
        said = operator.types(*words, str(sheet), code=2)
        assert "nothing was imported: its columns are those of call records" in said
        assert operator.asks("lists", "show", NAME)["count"] == 0
    assert "1 added" in operator.types(*words, str(sheet), "--are-numbers")


def test_a_spreadsheet_becomes_a_list(operator, sheet):
    """A CSV with national Thai numbers loads its good rows and keeps the bad ones with reasons."""
    operator.types("lists", "create", NAME)
    said = operator.types("lists", "import", NAME, str(sheet), "--region", "TH")
    assert "2 added" in said
    assert "format the column as text" in said
    rejects = sheet.with_name("sheet.csv.rejects.csv").read_text()
    assert [line.split(",")[:2] for line in rejects.splitlines()[1:]] == [
        ["5", "scientific"],
        ["6", "bad_date"],
        ["7", "bad_category"],
    ]
    shown = operator.asks("lists", "show", NAME)
    assert (shown["count"], shown["circle"]) == (2, "plain")
    exported = operator.types("lists", "export", NAME, "--format", "text")
    assert sorted(exported.split()) == ["+66812345671", "+66812345672"]


def test_import_reports_as_json(operator, sheet):
    """-o json has what was loaded and where the rejects are; --strict makes them a failure."""
    operator.types("lists", "create", NAME)
    words = ("lists", "import", NAME, str(sheet), "--region", "TH", "--replace", "--json")
    done = operator.invokes(*words)
    report = done.json
    assert (report["added"], report["count"], done.code) == (2, 2, 0)
    assert report["rejected"] == {"scientific": 1, "bad_date": 1, "bad_category": 1}
    assert Path(report["rejects_file"]).exists()
    assert "warning: 3 rows were rejected" in done.err
    operator.types(*words, "--strict", code=1)


def test_a_file_comes_by_a_pipe(operator, tmp_path, monkeypatch):
    """`lists import -` and `feeds check -` read stdin; rejects stay where the command runs."""
    monkeypatch.chdir(tmp_path)
    operator.types("lists", "create", NAME)
    piped = "+66812345671\nhello\n"
    assert "1 added" in operator.types("lists", "import", NAME, "-", piped=piped)
    assert "hello" in (tmp_path / "stdin.rejects.csv").read_text()
    assert "1 good rows, 1 rejected" in operator.types("feeds", "check", "-", piped=piped)
    rows = operator.types("lists", "list", "-o", "csv").splitlines()
    assert rows[0].startswith("list,circle,count,generation")
    assert rows[1].startswith(f"{NAME},plain,1,")


def test_a_file_whose_name_is_no_utf_8_is_imported(operator, tmp_path):
    """An old share's name, in Latin-1: the error was about a --reason that nobody gave."""
    operator.types("lists", "create", NAME)
    file = tmp_path / os.fsdecode(b"caf\xe9.txt")
    file.write_text("+66812345671\n")
    operator.types("lists", "import", NAME, str(file))
    (entry,) = operator.asks("audit", "--limit", "1")
    assert entry["reason"] == "import of caf\ufffd.txt"


def test_add_and_remove(operator):
    """Numbers are put on and taken off by hand; what was not done is said, and is the exit code."""
    operator.types("lists", "create", NAME)
    add = ("lists", "add", NAME, "+66812345671", "0812345672", "--region", "TH")
    assert "2 added" in operator.types(*add, "--category", "parcel", "--expires-in", "10d")
    assert "1 updated" in operator.types("lists", "add", NAME, "+66812345671")
    assert "not a number" in operator.types("lists", "add", NAME, "081", code=2)
    assert "1 removed" in operator.types("lists", "remove", NAME, "+66812345671")
    said = operator.types("lists", "remove", NAME, "+66812345671", code=1)
    assert "+66812345671 is not on TH/national" in said


def test_each_source_of_a_number_is_told_and_taken_back(operator):
    """`why` names every source and what it counts for now; one takes back what it alone said."""
    operator.types("lists", "create", NAME)
    number = "+66812345671"
    for source, more in {
        "police": ("--category", "parcel", "--confidence", "60"),
        "bank": ("--category", "loan", "--confidence", "40", "--expires-in", "10d"),
        "user": ("--category", "legitimate", "--confidence", "50"),
    }.items():
        operator.types("lists", "add", NAME, number, "--source", source, *more)
    assert operator.asks("lists", "show", NAME)["count"] == 1
    (held,) = operator.asks("why", number)["lists"]
    assert [report["source"] for report in held["reports"]] == ["bank", "police", "user"]
    assert (held["category"], held["expires_at"]) == ("parcel", None)
    # 100 (1 - 0.4 * 0.6) 0.5 = 38; what fades within the seconds of this test is allowed for.
    assert 36 <= held["confidence"] <= 40
    told = operator.types("why", number)
    assert "(of TH, generation 4): listed; parcel, confidence now" in told
    assert "user: legitimate, confidence 50, now" in told
    rows = operator.types("lists", "export", NAME, "--format", "jsonl").splitlines()
    assert len(rows) == 3
    assert operator.types("lists", "export", NAME, "--format", "text") == f"{number}\n"
    said = operator.types("lists", "remove", NAME, number, "--source", "police")
    assert "0 removed, 1 still reported by others" in said
    said = operator.types("lists", "remove", NAME, number, "--source", "police", code=1)
    assert f"{number} is not on {NAME} by police" in said
    assert "1 still" in operator.types("lists", "remove", NAME, number, "--source", "bank")
    (held,) = json.loads(operator.types("why", number, "--json", code=1))["lists"]
    assert (held["state"], held["confidence"]) == ("legitimate", None)
    assert "1 removed, 0 still" in operator.types(
        "lists", "remove", NAME, number, "--source", "user"
    )
    assert operator.asks("lists", "show", NAME)["count"] == 0


def test_exports(operator, tmp_path):
    """A list is written as text, CSV, JSON lines, and as a filter that pybloom-live reads."""
    operator.types("lists", "create", NAME)
    operator.types("lists", "add", NAME, "+66812345671", "--confidence", "70", "--source", "desk")
    assert operator.types("lists", "export", NAME, "--format", "text") == "+66812345671\n"
    line = json.loads(operator.types("lists", "export", NAME, "--format", "jsonl"))
    assert (line["number"], line["confidence"], line["source"]) == ("+66812345671", 70, "desk")
    head, row = operator.types("lists", "export", NAME).splitlines()
    assert head.startswith("number,category,source")
    assert row.startswith("+66812345671,other,desk,")
    path = tmp_path / "national.bloom"
    operator.types("lists", "export", NAME, "--format", "pybloom", "-o", str(path))
    with path.open("rb") as file:
        held = BloomFilter.fromfile(file)
    assert "+66812345671" in held
    assert "+66812345672" not in held


def test_change_files(operator, tmp_path):
    """A list, and what changed since a generation, is written for another Ringfence's feed."""
    operator.types("lists", "create", NAME)
    operator.types("lists", "add", NAME, "+66812345671", "--source", "desk")
    operator.types("lists", "add", NAME, "+66812345672", "--source", "desk")
    operator.types("lists", "remove", NAME, "+66812345671", "--reason", "gone")

    def numbers(*words: str) -> list[tuple[str | None, bool]]:
        path = tmp_path / "changes.jsonl"
        operator.types("lists", *words, "--format", "changes", "-o", str(path))
        chunks = read_rows(path, "ringfence")
        return [
            pair for rows in chunks for pair in zip(rows.number, rows.removed or (), strict=True)
        ]

    assert numbers("export", NAME) == [("+66812345672", False)]
    first = json.loads(operator.types("lists", "show", NAME, "--json"))["generation"] - 2
    assert numbers("diff", NAME, str(first)) == [("+66812345672", False), ("+66812345671", True)]


def test_the_allowlist(operator):
    """Allow entries are made with who, why and how long; a prefix of a whole country is refused."""
    words = ("allow", "add", "+6621234567", "+662123*", "--reason", "hospital")
    operator.types(*words, "--actor", "somchai", "--expires-in", "7d")
    shown = operator.asks("allow", "show")
    assert [(e["text"], e["actor"], e["reason"], e["live"]) for e in shown] == [
        ("+6621234567", "somchai", "hospital", True),
        ("+662123*", "somchai", "hospital", True),
    ]
    assert "whole country" in operator.types("allow", "add", "+66*", code=2)
    assert "removed: 1" in operator.types("allow", "remove", "+662123*")
    assert "not on the allowlist" in operator.types("allow", "remove", "+662123*", code=1)
    assert "+6621234567" in operator.types("allow", "show")
    assert operator.asks("allow", "repair")["missing"] == []
    assert "generation 0; in the list store generation 3" in operator.types("allow", "repair")
    assert "it lost nothing" in operator.types("allow", "repair", "--from-state", code=1)
    for repair in (("allow", "repair"), ("lists", "repair", NAME)):
        assert "beside --from-state" in operator.types(*repair, "--same-store", code=2)


def test_an_allow_entry_goes_on_to_answer_its_appeal(operator, redis_url):
    """Allowed once more, a redressed number still comes back to our lists by no feed."""

    async def redressed() -> None:
        async with await ListStore.connect(ListStoreSettings(redis_url)) as store:
            entry = AllowEntry("+6621234567", "a clinic", "malee", 1, appeal="A-1")
            await store.allow_add([entry], By("malee"))

    asyncio.run(redressed())
    operator.types("allow", "add", "+6621234567", "+6621234568", "--reason", "hospital")
    assert [(e["appeal"], e["reason"]) for e in operator.asks("allow", "show")] == [
        ("A-1", "hospital"),
        (None, "hospital"),
    ]


def test_what_can_not_be_is_said(operator, tmp_path):
    """Wrong names, formats, categories and regions end with 2 and say what would be right."""
    assert "owner" in operator.types("lists", "create", "national", code=2)
    assert "circles.asean" in operator.types("lists", "create", NAME, "--circle", "asean", code=2)
    operator.types("lists", "create", NAME)
    assert "there already" in operator.types("lists", "create", NAME, code=1)
    assert "lists create" in operator.types("lists", "show", "XX/none", code=2)
    for words in (("--category", "nope"), ("--expires-in", "soon"), ("--region", "Thailand")):
        operator.types("lists", "add", NAME, "+66812345671", *words, code=2)
    listing = ("lists", "add", NAME, "+66812345671", "--category", "parcel")
    for span in ("36500d", "999999w"):
        assert "2106" in operator.types(*listing, "--expires-in", span, code=2)
    junk = tmp_path / "junk.csv"
    junk.write_bytes(b"PK\x03\x04\0\0")
    assert "UTF-8" in operator.types("lists", "import", NAME, str(junk), code=2)
    junk.write_text("no numbers here\n")
    assert "--columns" in operator.types("lists", "import", NAME, str(junk), code=2)
    assert operator.asks("lists", "show", NAME)["count"] == 0


def test_a_register_that_is_down_is_exit_code_3(tmp_path):
    """Without Redis a command ends with 3 and names the register, in the real program too."""
    config = tmp_path / "down.toml"
    config.write_text('[redis]\nurl = "redis://127.0.0.1:1/0"\n')
    done = subprocess.run(
        [sys.executable, "-m", "stream", "lists", "show", "--config", str(config)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 3
    assert "ListStoreDown" in done.stderr
    assert "Traceback" not in done.stderr


def test_numbers_are_read_from_a_pipe(operator):
    """`-` keeps them out of argv, which everybody reads, and out of the shell's history."""
    operator.types("lists", "create", NAME)
    numbers = "+66812345671\n\n +66812345672 \n"
    assert "3 added" in operator.types("lists", "add", NAME, "+66812345673", "-", piped=numbers)
    assert "1 removed" in operator.types("lists", "remove", NAME, "-", piped="+66812345671\n")
    operator.types("allow", "add", "-", "--reason", "hospital", piped="+6621234567\n")
    operator.types("allow", "remove", "-", piped="+6621234567\n")
    why = ("why", "-", "--decisions", "0")
    assert "+66812345672" in operator.types(*why, piped="+66812345672\n")
    assert "stdin has 2 lines" in operator.types(*why, code=2, piped="+1\n+2\n")
    assert "nothing came" in operator.types("lists", "add", NAME, "-", code=2, piped="")
    assert "stand there once" in operator.types("lists", "add", NAME, "-", "-", code=2, piped="")


def test_what_holds_numbers_is_private(operator, sheet, tmp_path):
    """Rejected rows and exports, whatever the umask; a file that is there keeps its mode."""
    operator.types("lists", "create", NAME)
    before = os.umask(0o022)
    try:
        operator.types("lists", "import", NAME, str(sheet), "--region", "TH")
        operator.types("lists", "export", NAME, "-o", str(tmp_path / "new"))
        (tmp_path / "shared").touch()
        operator.types("lists", "export", NAME, "-o", str(tmp_path / "shared"))
        modes = {
            path.name: stat.S_IMODE(path.stat().st_mode)
            for path in (sheet.with_name("sheet.csv.rejects.csv"), *tmp_path.glob("[ns]*w"))
        }
        shared = stat.S_IMODE((tmp_path / "shared").stat().st_mode)
    finally:
        os.umask(before)
    assert modes == {"sheet.csv.rejects.csv": 0o600, "new": 0o600}
    assert shared == 0o644


def test_a_list_is_deleted_on_somebody_s_word(operator, sheet):
    """It needs a reason, which the audit keeps; nothing of the list is left, and it can be made."""
    operator.types("lists", "create", NAME)
    operator.types("lists", "import", NAME, str(sheet), "--region", "TH")
    operator.types("lists", "delete", NAME, code=2)
    said = operator.types("lists", "delete", NAME, "--reason", "a trial", "--actor", "somchai")
    assert "is deleted: 2 numbers" in said
    assert operator.asks("lists", "show") == []
    assert "no list TH/national" in operator.types("lists", "delete", NAME, "--reason", "x", code=2)
    told = next(one for one in operator.asks("audit") if one["op"] == "delete")
    assert (told["list"], told["actor"], told["reason"]) == (NAME, "somchai", "a trial")
    operator.types("lists", "create", NAME)
    assert operator.asks("lists", "show")[0]["count"] == 0
    assert "delete" in operator.types("lists", "history", NAME)


def test_a_list_that_an_agreement_shares_is_not_deleted_by_mistake(operator, tmp_path):
    """Partners count on it: the agreement is named, and --force is needed."""
    (tmp_path / "agreements").mkdir()
    (tmp_path / "agreements" / "th-kh.toml").write_text(AGREEMENT)
    with operator.config.open("a") as file:
        file.write(f'[agreements]\ndir = "{tmp_path}/agreements"\n')
    operator.types("lists", "create", NAME)
    operator.types("lists", "add", NAME, "+66812345671")
    said = operator.types("lists", "delete", NAME, "--reason", "x", code=1)
    assert f"agreement th-kh shares {NAME}" in said
    assert operator.asks("lists", "show")[0]["count"] == 1
    operator.types("lists", "delete", NAME, "--reason", "x", "--force")
    assert operator.asks("lists", "show") == []
