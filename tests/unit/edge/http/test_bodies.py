"""A body becomes its records, byte for byte, or an answer that says where it is wrong."""

import base64
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from stream.calls.dialects import dialect_named
from stream.edge.http.bodies import FORM, FORM_BASE64, FORM_PLAIN, JSON, RECORDS_MAX, records_in
from stream.edge.http.problems import ProblemError

ONE = b'{"call_id":"c-1",  "caller":"+447700900101", "x":[1,{"y":"\\u00e9"}]}'
TWO = '{"call_id":"c-2","caller":"é"}'.encode()
LINES = "application/x-ndjson"
GOLDEN = Path(__file__).parents[3] / "golden" / "cdr"


def read(body: bytes, kind: str = JSON, most: int = 1000) -> list[bytes]:
    return records_in(body, kind, most)


def refused(body: bytes, kind: str = JSON, most: int = 1000) -> ProblemError:
    with pytest.raises(ProblemError) as caught:
        read(body, kind, most)
    return caught.value


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"[" + ONE + b" ,\n" + TWO + b"]\n", JSON),
        (ONE + b"\n" + TWO, JSON),
        (ONE + b"\r\n\r\n" + TWO + b"\n", LINES),
        (ONE + b"\n" + TWO + b"\n", "application/jsonl; charset=utf-8"),
    ],
)
def test_several_records(body: bytes, kind: str) -> None:
    """An array and lines give each record as it was written."""
    assert read(body, kind) == [ONE, TWO]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (ONE, JSON),
        (b" " + ONE + b"\n", "Application/JSON; charset=utf-8"),
        (b"cdr=" + quote(ONE).encode(), FORM),
        (b"uuid=a_1&cdr=" + quote(ONE).encode() + b"&x", FORM),
        (b"cdr=" + base64.b64encode(ONE), FORM_BASE64),
        (b"cdr=" + base64.encodebytes(ONE), FORM_BASE64),
        (b"cdr=" + quote(base64.b64encode(ONE)).encode(), FORM_BASE64),
        (b"cdr=" + ONE, FORM_PLAIN),
    ],
)
def test_one_record(body: bytes, kind: str) -> None:
    """One object, and the forms in which FreeSWITCH sends it."""
    assert read(body, kind) == [ONE]


XML = (GOLDEN / "freeswitch-xml" / "a-leg" / "input.xml").read_bytes().strip()
DETAIL = (GOLDEN / "radius" / "cisco-start" / "input.txt").read_bytes().strip()


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"cdr=" + quote(XML, safe="").encode(), FORM),
        (b"uuid=a_1&cdr=" + quote(XML, safe="").encode(), FORM),
        (b"cdr=" + base64.b64encode(XML), FORM_BASE64),
        (b"cdr=" + XML, FORM_PLAIN),
        (XML, "text/xml"),
        (b"\n" + XML + b"\n", "application/xml; charset=utf-8"),
    ],
)
def test_the_forms_in_which_mod_xml_cdr_posts(body: bytes, kind: str) -> None:
    """The document comes out byte for byte, whatever `encode` is, with `%` and `&` in it."""
    assert b"%2B" in XML
    assert b"&amp;" in XML
    assert read(body, kind, most=20_000) == [XML]


def test_text_is_cut_into_records_of_several_lines() -> None:
    """RADIUS detail records and lines, as a file of them is."""
    assert read(DETAIL + b"\n\n" + DETAIL, "text/plain", most=20_000) == [DETAIL, DETAIL]
    assert read(b"a,b\nc,d\n", "text/plain") == [b"a,b", b"c,d"]


def test_lines_of_another_form_are_left_to_the_dialect() -> None:
    """CSV is cut into lines and not looked at."""
    assert read(b'"a","b"\r\n\r\nx,y\n', "text/csv") == [b'"a","b"', b"x,y"]


def test_json_of_a_client_that_names_no_type_is_told_what_to_name() -> None:
    """`curl -d` sends JSON as a form: the answer says so, not only that a form lacks its field."""
    (error,) = refused(ONE, FORM).errors
    assert "Content-Type: application/json" in error["reason"]


@pytest.mark.parametrize(
    ("body", "kind", "place"),
    [
        (b"[" + ONE + b", 7, " + TWO + b"]", JSON, [{"index": 1}]),
        (b"[" + ONE + b", {]", JSON, [{"byte": len(ONE) + 4}]),
        (ONE + b"\n{\n3\n" + TWO, LINES, [{"line": 2}, {"line": 3}]),
        (ONE[:-3], JSON, [{}]),
        (b"\xff", JSON, [{"byte": 0}]),
        (b"[" * 5000, JSON, [{}]),
        (b"7", JSON, [{}]),
        (b"a=1", FORM, [{"field": "cdr"}]),
        (ONE, "text/xml", [{}]),
        (b"cdr=!!!", FORM_BASE64, [{"field": "cdr"}]),
    ],
)
def test_faults_have_a_place(body: bytes, kind: str, place: list[dict[str, Any]]) -> None:
    """An unreadable body is 400, with index, line or byte, and quotes nothing."""
    problem = refused(body, kind)
    assert problem.status == 400
    found = [{k: v for k, v in one.items() if k != "reason"} for one in problem.errors]
    assert found == place
    assert "447700" not in problem.body("").decode()


@pytest.mark.parametrize("kind", ["", "image/png", "multipart/form-data"])
def test_other_types_are_415(kind: str) -> None:
    """A type that nothing reads is answered with those that are."""
    problem = refused(ONE, kind)
    assert problem.status == 415
    assert JSON in problem.headers["Accept-Post"]


def test_what_is_too_large_is_413() -> None:
    """A record beyond the limit is named; so are more records than one body may hold."""
    problem = refused(b"[{}," + ONE + b"]", most=20)
    assert (problem.status, problem.errors[0]["index"]) == (413, 1)
    assert refused(b"x\n" * (RECORDS_MAX + 1), "text/csv").status == 413


@pytest.mark.parametrize(("body", "kind"), [(b"", JSON), (b"[]", JSON), (b"\n\n", LINES)])
def test_nothing_is_no_record(body: bytes, kind: str) -> None:
    """An empty body is the sender's mistake, not an acceptance of nothing."""
    assert refused(body, kind).status == 400


@pytest.mark.parametrize(
    ("name", "kind"), [("form-urlencoded", FORM), ("form-base64", FORM_BASE64)]
)
def test_freeswitchs_forms_are_records_of_its_dialect(name: str, kind: str) -> None:
    """The samples that mod_json_cdr's dialect is tested with, by HTTP: the same call."""
    samples = Path(__file__).parents[3] / "golden" / "cdr" / "freeswitch"
    (record,) = read((samples / name / "input.txt").read_bytes().strip(), kind, 100_000)
    plain = (samples / "a-leg" / "input.json").read_bytes()
    dialect = dialect_named("freeswitch", {})
    assert dialect.key_fields(record) == dialect.key_fields(plain)
