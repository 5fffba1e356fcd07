"""Recognise files that are no list in any format of ours, and say what to do. Pure."""

import re
from typing import Final

_EXPORT: Final = "open it and export the sheet of numbers as CSV (UTF-8)"
_OFFICE: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ZIP: Final = b"PK\x03\x04"
_WORKBOOK: Final = "W\0o\0r\0k\0b\0o\0o\0k\0".encode("latin-1")
_UNPACK: Final = "unpack it first; a feed unpacks gzip, zstd, bzip2 and xz by itself"
_MARKS: Final = (
    (b"%PDF", "a PDF document: ask for the list as CSV; what is copied out of a PDF loses digits"),
    (b"{\\rtf", "an RTF document: save its numbers as a text file, one a line"),
    (b"\x89PNG", "a picture: ask for the list as CSV"),
    (b"\xff\xd8\xff", "a picture: ask for the list as CSV"),
    (b"GIF8", "a picture: ask for the list as CSV"),
    (b"SQLite format 3\0", "an SQLite database: export the table of numbers as CSV"),
    (b"PAR1", "a Parquet file: export the column of numbers as CSV"),
    (b"\x1f\x8b", f"a gzip file: {_UNPACK}"),
    (b"\x28\xb5\x2f\xfd", f"a zstd file: {_UNPACK}"),
    (b"BZh", f"a bzip2 file: {_UNPACK}"),
    (b"\xfd7zXZ\0", f"an xz file: {_UNPACK}"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive: unpack it first"),
    (b"Rar!", "a RAR archive: unpack it first"),
    (b"BEGIN:VCARD", "contact cards: export the numbers as CSV"),
)  # fmt: skip
_PAGE = re.compile(rb"<(?:!doctype html|html|head|body|table|meta)\b", re.IGNORECASE)
_FEED_FILE = (re.compile(rb"^\[from\]", re.MULTILINE), re.compile(rb"^\[owner\]", re.MULTILINE))
_XML_SHEET = re.compile(rb"<\?xml.{0,400}(?:Excel\.Sheet|<Workbook)", re.DOTALL)


def what_it_is(head: bytes) -> str:
    """Return the kind of a file that begins with `head`, and what to do; "": unknown.

    A spreadsheet's own file is no feed: only its program knows which cells are text.
    """
    if head.startswith(_ZIP):
        return _in_zip(head)
    if head.startswith(_OFFICE):
        if _WORKBOOK in head:
            return f"an Excel workbook (.xls): {_EXPORT}"
        return f"a file of an old Office program (.xls, .doc): if it is a spreadsheet, {_EXPORT}"
    for mark, what in _MARKS:
        if head.startswith(mark):
            return what
    text = head[:4096].removeprefix(b"\xef\xbb\xbf").lstrip()
    if all(table.search(text) for table in _FEED_FILE):
        return (
            "a feed's own file: give the file that the partner sends, and the feed's name: "
            "`ringfence feeds check FILE --feed NAME`"
        )
    if _XML_SHEET.match(text):
        return f"an Excel workbook in XML: {_EXPORT}"
    if _PAGE.match(text):
        return (
            "a web page: a login page, or a table that only calls itself .xls; "
            f"log in, or {_EXPORT}"
        )
    return ""


def may_be_workbook(head: bytes) -> bool:
    """Return whether a file that begins with `head` may be a workbook that we read."""
    if head.startswith(_OFFICE):
        return True
    marks = (b"xl/", b"[Content_Types].xml", b"docProps/", b"opendocument.spreadsheet")
    is_other = b"word/" in head or b"ppt/" in head
    return head.startswith(_ZIP) and not is_other and any(mark in head for mark in marks)


def _in_zip(head: bytes) -> str:
    if b"application/vnd.oasis.opendocument.spreadsheet" in head[:200]:
        return f"an OpenDocument spreadsheet (.ods): {_EXPORT}"
    if b"application/vnd.oasis.opendocument" in head[:200]:
        return "an OpenDocument file: save its numbers as a text file, one a line"
    if b"xl/" in head:
        return f"an Excel workbook (.xlsx): {_EXPORT}"
    if b"word/" in head or b"ppt/" in head:
        return "an Office document: save its numbers as a text file, one a line"
    if b"[Content_Types].xml" in head or b"docProps/" in head:
        return f"an Office file (.xlsx, .docx): if it is a spreadsheet, {_EXPORT}"
    return ""
