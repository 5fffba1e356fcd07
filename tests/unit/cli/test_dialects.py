"""Promises of `ringfence dialects`: what is read, proposed and refused is said in plain words."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from stream.calls.detection.detect_dialect import likely
from stream.calls.dialects import KNOWN
from stream.calls.submitted_records import records_in
from stream.cli.main import app

GOLDEN = Path(__file__).parents[2] / "golden" / "cdr"
SAMPLES = [
    path
    for path in sorted(GOLDEN.glob("*/*/input.*"))
    if path.parts[-3] in KNOWN and (path.parent / "expected.json").exists()
]


@pytest.fixture
def dialects(monkeypatch):
    """Run `ringfence dialects ...`: exit code and output."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words: object) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["dialects", *map(str, words)])
        return result.exit_code, result.output

    return run


def test_ls_says_how_each_is_decoded(dialects):
    """An operator sees which dialects ride the scan, and which need a time zone."""
    code, output = dialects("ls", "--json")
    rows = {row["dialect"]: row for row in json.loads(output)}
    assert code == 0
    assert rows.keys() == KNOWN.keys()
    assert {name for name, row in rows.items() if row["decoded"] == "record"} == {
        "freeswitch-xml", "asterisk-ami-text", "asterisk-cel", "freepbx", "radius", "kazoo",
        "3gpp-ber", "cucm", "broadworks", "avaya-ipo", "sansay", "ribbon",
    }  # fmt: skip
    assert rows["ringfence"]["topics"] == ["calls"]
    assert rows["asterisk-csv"]["needs"] == "time_zone"
    assert "FreeSWITCH mod_event_kafka" in dialects("ls")[1]


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: f"{path.parts[-3]}/{path.parts[-2]}")
def test_each_switchs_records_are_recognised(path):
    """Every documented record is proposed as its own switch's before any other."""
    assert likely(records_in(path.read_bytes()), "TH") == path.parts[-3]


@pytest.mark.parametrize(
    ("kind", "case", "end"),
    [
        ("asterisk-csv", "newcdrcolumns", b"\n"),
        ("kamailio", "transaction", b"\n"),
        ("radius", "cisco-stop", b"\n\n"),
        ("freeswitch-xml", "a-leg", b"\n"),
        ("3gpp-ber", "mo", b""),
    ],
)
def test_a_large_file_is_judged_by_some_records(dialects, tmp_path, kind, case, end):
    """Of a file of any size at most 200 records are looked at, and it says so."""
    (path,) = (GOLDEN / kind / case).glob("input.*")
    record = path.read_bytes().rstrip(b"\n")
    large = tmp_path / f"large{path.suffix}"
    large.write_bytes((record + end) * (4_000_000 // len(record)))
    code, output = dialects("detect", large)
    assert code == 0
    assert f"{kind} (" in output
    assert "200 records of its start, middle and end were looked at" in " ".join(output.split())
    told = json.loads(dialects("detect", large, "--json")[1])
    assert (told["records_looked_at"], told["whole_file"]) == (200, False)
    assert (told["proposals"][0]["calls"], told["proposals"][0]["records"]) == (200, 200)


def test_the_middle_and_the_end_of_a_file_count(dialects, tmp_path):
    """A file whose later records are of another kind is no file of calls alone."""
    call = (GOLDEN / "kamailio" / "transaction" / "input.json").read_bytes().rstrip(b"\n")
    other = call.replace(b'"method":"INVITE"', b'"method":"BYE"')
    assert other != call
    large = tmp_path / "acc.json"
    large.write_bytes((call + b"\n") * 7_000 + (other + b"\n") * 14_000)
    proposal = json.loads(dialects("detect", large, "--json")[1])["proposals"][0]
    assert (proposal["calls"], proposal["records"]) == (100, 200)


def test_detect_gives_reasons_and_what_to_configure(dialects):
    """The printed table can be kept as configuration; it asks for a local time's zone."""
    code, output = dialects("detect", GOLDEN / "asterisk-csv" / "uniqueid" / "input.csv")
    assert code == 0
    assert "1 of 1 records are calls: call_id at column 16, caller at column 1" in output
    assert '"calls.asterisk-csv" = "asterisk-csv:NAME"' in output
    assert "time_zone = " in output


def test_detect_proposes_a_mapping_for_what_is_unknown(dialects, tmp_path):
    """JSON of no known switch gets a table to begin with; other bytes an honest no."""
    file = tmp_path / "x.json"
    record = {"call": {"id": "1", "a_number": "+447700900125", "called": "+447700900126"}}
    file.write_text(json.dumps(record))
    code, output = dialects("detect", file)
    assert code == 1
    assert "none of the dialects" in output
    assert 'caller = "call.a_number"' in output
    assert 'callee = "call.called"' in output
    assert '"calls.NAME" = "mapping:NAME"' in output
    file.write_bytes(b"\xff\xfe nonsense")
    code, output = dialects("detect", file)
    assert (code, "none of the dialects" in output) == (1, True)
    assert "No field of them looks like the numbers" in output


def test_detect_says_what_a_known_switch_misses(dialects):
    """OpenSIPS without numbers is OpenSIPS: the line to add is shown, no SIP tag is a caller."""
    file = GOLDEN.parent / "detect" / "calls" / "opensips-without-numbers" / "input.json"
    code, output = dialects("detect", file)
    assert code == 1
    assert "nearly opensips (OpenSIPS E_ACC_* by event_kafka): 0 of 8 records are calls" in output
    assert (
        '8 x missing_field: params.src_user missing: add to opensips.cfg: modparam("acc"' in output
    )
    assert '"calls.opensips" = "opensips"' in output
    assert "from_tag" not in output
    code, output = dialects("detect", file, "--json")
    told = json.loads(output)
    assert (code, told["proposals"], told["mapping"]) == (1, [], None)
    assert told["near"][0]["dialect"] == "opensips"
    assert told["near"][0]["reasons"][0]["records"] == 8


def test_detect_refuses_a_spreadsheets_own_file(dialects):
    """It says what the file is and what to do; exit code 2."""
    file = GOLDEN.parent / "detect" / "calls" / "excel-workbook" / "input.xlsx"
    code, output = dialects("detect", file)
    assert (code, "an Excel workbook (.xlsx): open it and export" in output) == (2, True)


RECORDS = b"""
{"time":4999999999,"method":"INVITE","callid":"x1","sip_code":"200"}
{"time":1795593723,"method":"BYE","callid":"x1","src_user":"1","dst_user":"2"}
{"time":4999999999,"method":"INVITE","callid":"x2","src_user":"+447700900125","dst_user":"0812345678"}
{"time":"2026-11-25 15:02:03","method":"INVITE","callid":"x3","src_user":"KBank","dst_user":"a;b"}
{"time":1195593723,"method":"INVITE","callid":"x4","src_user":"","dst_user":"0812345678"}
"""


def test_test_says_what_was_understood_and_what_was_not(dialects, tmp_path):
    """Field by field, with the reason and what to do; a record without numbers names the line."""
    file = tmp_path / "kamailio.json"
    file.write_bytes(RECORDS)
    code, output = dialects("test", "kamailio", file)
    assert code == 1
    assert "5 records, 3 calls" in output
    assert 'modparam("acc_json", "acc_extra", "src_user=$fU;' in output
    assert "other_event: method is not INVITE" in output
    assert "say its time_zone in [switches.NAME]" in output
    code, output = dialects("test", "kamailio", file, "--json")
    told = json.loads(output)
    assert told["fields"]["started_at"]["remarks"] == {
        "not between 2000 and 2100: look at the switch's clock": 1,
        "a local time: say its time_zone in [switches.NAME], and name the switch": 1,
        "more than a year ago: look at the switch's clock": 1,
    }
    assert told["fields"]["callee"]["example"] == {
        "record": "0812345678",
        "read_as": "+66812345678",
    }
    assert [one["first"] for one in told["rejected"]] == [1, 2]


def test_a_missing_zone_or_dialect_is_an_error(dialects):
    """Nothing is guessed: exit code 2 and what to write."""
    sample = GOLDEN / "asterisk-csv" / "uniqueid" / "input.csv"
    code, output = dialects("test", "asterisk-csv", sample)
    assert (code, "has local times without a zone" in output) == (2, True)
    code, output = dialects("test", "cisco", sample)
    assert (code, "there are ringfence, freeswitch" in output) == (2, True)
    assert dialects("test", "asterisk-csv", sample, "--time-zone", "Asia/Bangkok")[0] == 0


def test_a_switch_of_the_configuration_is_used(dialects, tmp_path):
    """A dialect named with its switch has the switch's zone and trunk."""
    config = tmp_path / "carrier.toml"
    config.write_text(
        '[calls.topics]\n"calls.pbx" = "asterisk-csv:bkk"\n[trunks.pbx-1]\ncountry = "TH"\n'
        '[switches.bkk]\ntime_zone = "+07:00"\ntrunk = "pbx-1"\n'
    )
    sample = GOLDEN / "asterisk-csv" / "uniqueid" / "input.csv"
    code, output = dialects("test", "asterisk-csv:bkk", sample, "--config", config, "--json")
    told = json.loads(output)["fields"]
    assert code == 0
    assert told["started_at"]["example"]["read_as"] == "2026-11-25T08:02:03Z"
    assert told["trunk"]["example"]["read_as"] == "pbx-1"


FORMS = {
    "lines": b'{"a":1}\n\n{"a":2}\r\n',
    "an array": b'[{"a":1}, {"a":2}]',
    "objects over lines": b'{\n"a":1\n}\n{\n"a":2}',
    "a mark of the byte order": b'\xef\xbb\xbf{"a":1}\n{"a":2}',
}


@pytest.mark.parametrize("data", FORMS.values(), ids=FORMS)
def test_records_are_found_in_any_form(data):
    """Lines, an array, or objects that were printed for people."""
    assert [json.loads(record) for record in records_in(data)] == [{"a": 1}, {"a": 2}]


def test_what_is_no_json_is_a_record_a_line():
    """CSV lines, and bytes that only begin like JSON, lose nothing."""
    assert records_in(b"a,b\n\nc,d\n") == [b"a,b", b"c,d"]
    assert records_in(b"[1,\n2") == [b"[1,", b"2"]
    assert records_in(b"{\xff\n}") == [b"{\xff", b"}"]
    assert records_in(b" \n ") == []
