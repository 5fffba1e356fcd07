"""Encodings are distinguished by what they decode to: a wrong one makes other words."""

from pathlib import Path

import pytest

from stream.feeds.detection.text_encodings import encoding_of, legacy_encoding
from stream.feeds.formats.rows import InputUnreadable

THAI = "เบอร์โทร,ประเภท\n0812345678,หลอกลวง\n0812345679,กู้เงินออนไลน์\n"
BODY = "0812345678,หลอกลวงให้โอนเงิน\n0812345679,ข่มขู่\n"
FRENCH = (
    "numéro;motif;département\n+33199001234;démarchage répété;Isère\n+33199001235;été;Hérault\n"
)


@pytest.mark.parametrize(
    ("text", "written", "told"),
    [
        (THAI, "utf-8", None),
        (THAI, "cp874", "cp874"),
        (BODY, "cp874", "cp874"),
        (BODY, "tis-620", "cp874"),
        (FRENCH, "utf-8", None),
        (FRENCH, "cp1252", "cp1252"),
        (FRENCH, "latin-1", "cp1252"),
        ("nom;numéro\nA;+33199001234\n" * 30, "cp1252", "cp1252"),
        ("number,name\n+447700900123,x\n", "ascii", None),
    ],
)
def test_old_encodings(text, written, told):
    """Thai letters stand in runs, accents alone; UTF-8 needs no guess."""
    assert legacy_encoding(text.encode(written)) == told


def test_damaged_utf_8_is_no_other_encoding():
    """One wrong byte in a file of Thai UTF-8 must not turn all of its words into others."""
    data = THAI.encode() + b"\xff0812345677,\xc3\n"
    assert legacy_encoding(data) is None


@pytest.mark.parametrize("order", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("text", [THAI, FRENCH, "号码,类别\n+8613800990001,一一一\n" * 5, "一,1\n"])
def test_utf_16_without_its_mark(text, order):
    """The order of bytes is the one that gives digits and line ends, in any language."""
    assert encoding_of(text.encode(order), Path("x.csv")) == order
    assert encoding_of(text.encode(order)[:-1], Path("x.csv")) == order


@pytest.mark.parametrize("data", [b"\0\1\2" * 100, bytes(200), b"number\0\0\0\0\xff\xfe\0\0"])
def test_what_is_no_text_is_refused(data):
    """Bytes that are text in no encoding end the reading of the whole file."""
    with pytest.raises(InputUnreadable, match="not a text file"):
        encoding_of(data, Path("x.csv"))
