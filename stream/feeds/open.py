"""Open a file: find its encoding and format, and yield its rows."""

import codecs
from collections.abc import Iterator, Sequence
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import get_args

from stream.feeds.detection.text_encodings import declared_encoding, encoding_of
from stream.feeds.formats import (
    change_file,
    ftc,
    json_array,
    line_formats,
    misp,
    phoneblock,
    stix,
    xml_elements,
)
from stream.feeds.formats import csv as csv_format
from stream.feeds.formats.byte_columns import line_bytes
from stream.feeds.formats.rows import Format, InputUnreadable, Lines, ReadOptions, Rows
from stream.feeds.transports.misp_folder import is_folder, read_folder
from stream.feeds.workbooks import workbook
from stream.lists.store.heads import Progress, no_progress

FORMATS: tuple[Format, ...] = tuple(kind for kind in get_args(Format) if kind != "snapshot")
"""Formats that people and programs write as files; a snapshot comes from a repository alone."""
PIECE = 2 << 20
"""Bytes read at a time: some 50,000 rows, which take about 40 MB as Python objects."""
_SUFFIXES: dict[str, Format] = {
    ".csv": "csv",
    **dict.fromkeys((".xlsx", ".xlsm", ".xlsb", ".xls", ".ods"), "workbook"),
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".xml": "xml",
    ".txt": "text",
    ".list": "text",
}


def format_of(path: Path) -> Format:
    """Return the format by the ending of a file's name; text for unknown endings."""
    return _SUFFIXES.get(path.suffix.lower(), "text")


def has_rows(kind: Format) -> bool:
    """Return whether a file of this format has rows.

    A bare filter has none: `read_bare` reads it, `build.bare_snapshot` builds its list, and its
    matches stay unconfirmed. `read.py` reads a published list.
    """
    return kind not in {"pybloom", "snapshot"}


def read_rows(
    path: Path,
    kind: Format,
    names: Sequence[str] | None = None,
    progress: Progress = no_progress,
    options: ReadOptions | None = None,
) -> Iterator[Rows]:
    """Yield the rows of a file, chunk by chunk; `names` are its columns if a CSV has no header.

    `progress` receives the bytes read. Raises InputUnreadable if the file cannot be read, or if it
    turns out later to be cut or damaged. Then nothing of it may be used.
    """
    assert has_rows(kind), "a bare filter has no rows: ask has_rows first"
    options = options or ReadOptions()
    try:
        yield from _rows(path, kind, names, progress, options)
    except InputUnreadable as error:
        if str(path) in str(error):
            raise  # not from itself: code that follows causes would never end
        # Formats do not know where their bytes come from.
        raise type(error)(f"{path}: {error}") from error


def _rows(
    path: Path, kind: Format, names: Sequence[str] | None, progress: Progress, options: ReadOptions
) -> Iterator[Rows]:
    # Functions: some formats read the file twice, and each reading begins at the start.
    def text_lines() -> Iterator[Lines]:
        return line_bytes(_pieces(path, options.encoding, progress))

    def raw() -> Iterator[bytes]:
        return _raw(path, progress)

    if kind == "csv":
        yield from csv_format.read(text_lines(), names, options.columns)
    elif kind == "workbook":
        yield from workbook.read(path, options.sheet, names, options.columns)
    elif kind == "jsonl":
        yield from line_formats.read_jsonl(text_lines(), options.columns)
    elif kind == "json":
        pieces = _pieces(path, options.encoding, progress)
        yield from json_array.read(pieces, options.items, options.columns)
    elif kind == "xml":
        pieces = _pieces(path, options.encoding or _declared(path), progress)
        yield from xml_elements.read(pieces, options.items, options.columns)
    elif kind == "text":
        yield from line_formats.read_text(text_lines())
    elif kind == "ftc":
        yield from ftc.read(text_lines())
    elif kind == "ringfence":
        yield from change_file.read(text_lines)
    elif kind == "stix":
        yield from stix.read(raw)
    elif kind == "phoneblock":
        yield from phoneblock.read(raw())
    else:
        packed = kind == "misp-feed" and is_folder(path)
        documents = read_folder(path) if packed else iter([raw()])
        yield from misp.read(documents, unconfirmed=options.unconfirmed)


def _declared(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return declared_encoding(file.read(200))
    except OSError as error:
        raise InputUnreadable(f"{path}: {error.strerror}") from error


def read_header(path: Path) -> change_file.Header:
    """Decode the first line of a change file. Raises InputUnreadable."""
    first = next(lines_of(path), [""])
    return change_file.read_header(first[0])


def lines_of(path: Path, encoding: str | None = None) -> Iterator[Lines]:
    """Yield the lines of a text file, chunk by chunk. Raises InputUnreadable."""
    return line_bytes(_pieces(path, encoding, no_progress))


def _raw(path: Path, progress: Progress) -> Iterator[bytes]:
    """Yield the file's bytes as they are, piece by piece."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            for piece in iter(partial(file.read, PIECE), b""):
                progress(min(file.tell(), size), size)
                yield piece
    except OSError as error:
        raise InputUnreadable(f"{path}: {error.strerror}") from error


def _pieces(path: Path, encoding: str | None, progress: Progress) -> Iterator[bytes]:
    """Yield the file in UTF-8, piece by piece. A byte that is no text stays as it is."""
    try:
        size = path.stat().st_size
        with path.open("rb") as raw:
            head = raw.read(4096)
            encoding = encoding or encoding_of(head, path)
            pieces: Iterator[bytes]
            if encoding.startswith("utf-8"):
                # A lone wrong byte costs its row at most, and the rejects file gets it back.
                raw.seek(len(codecs.BOM_UTF8) if head.startswith(codecs.BOM_UTF8) else 0)
                pieces = iter(partial(raw.read, PIECE), b"")
            else:
                raw.seek(0)
                # newline="": an end of line is the formats' to find, also a lone carriage return.
                other = TextIOWrapper(raw, encoding, "replace", newline="")
                pieces = map(str.encode, iter(partial(other.read, PIECE), ""))
            for piece in pieces:
                progress(min(raw.tell(), size), size)
                yield piece
    except OSError as error:
        raise InputUnreadable(f"{path}: {error.strerror}") from error
    except (UnicodeError, LookupError) as error:  # UTF-16 cut short; an unknown encoding
        raise InputUnreadable(f"{path}: {error}") from error
