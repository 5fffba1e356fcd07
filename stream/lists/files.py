"""Opening what an operator gives: its encoding, its format, its lines, and where rejects go."""

import codecs
import csv
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import Literal

from stream.lists.formats import csv as csv_format
from stream.lists.formats import jsonl, text
from stream.lists.formats.rows import InputUnreadable, RejectedRow, Rows, Wrong, line_chunks

Format = Literal["text", "csv", "jsonl"]
CHUNK_CHARS = 2 << 20
"""Characters read at a time: some 50,000 rows, whose Python objects take about 40 MB."""
_SUFFIXES: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".txt": "text",
    ".list": "text",
}
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def format_of(path: Path) -> Format:
    """The format that a file's name says; text where it says none."""
    return _SUFFIXES.get(path.suffix.lower(), "text")


def read_rows(
    path: Path, kind: Format, names: Sequence[str] | None, progress: Callable[[int, int], None]
) -> Iterator[Rows]:
    """The rows of a file, chunk by chunk; `names` of its columns where a CSV has no header.

    `progress` is told the bytes read. Raises InputUnreadable if the file can not be read at all.
    """
    chunks = line_chunks(_texts(path, progress))
    if kind == "csv":
        yield from csv_format.read(chunks, names)
    elif kind == "jsonl":
        yield from jsonl.read(chunks)
    else:
        yield from text.read(chunks)


def _texts(path: Path, progress: Callable[[int, int], None]) -> Iterator[str]:
    """The file's text, all line ends made one. A byte that is no text stands for itself."""
    try:
        size = path.stat().st_size
        with path.open("rb") as raw:
            head = raw.read(4096)
        encoding = next((name for mark, name in _MARKS if head.startswith(mark)), "utf-8")
        if encoding != "utf-16" and b"\0" in head:
            raise InputUnreadable(
                f"{path}: not a text file (or UTF-16 without its mark): save it as UTF-8"
            )
        # A lone wrong byte costs its row at most, and the rejects file gets it back as it was.
        errors = "replace" if encoding == "utf-16" else "surrogateescape"
        with path.open("rb") as raw:
            file = TextIOWrapper(raw, encoding, errors, newline=None)
            while piece := file.read(CHUNK_CHARS):
                progress(min(raw.tell(), size), size)
                yield piece
    except OSError as error:
        raise InputUnreadable(f"{path}: {error.strerror}") from error
    except UnicodeError as error:  # UTF-16 that is cut short
        raise InputUnreadable(f"{path}: {error}") from error


class Rejects:
    """Counts rejected rows by reason, and writes them to a file that is made for the first one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.counts: Counter[Wrong] = Counter()
        self._write: Callable[[Sequence[object]], object] | None = None

    def add(self, rows: Sequence[RejectedRow]) -> None:
        """More rejected rows."""
        for row in rows:
            self.counts[row.wrong] += 1
            if self._write is not None:
                self._write((row.line, row.wrong.label, row.detail, row.wrong.value, row.original))

    @contextmanager
    def open(self) -> Iterator["Rejects"]:
        """Keep the rows added inside in the file; a file of an earlier run does not stay."""
        try:
            with self.path.open(
                "w", encoding="utf-8", errors="surrogateescape", newline=""
            ) as file:
                writer = csv.writer(file)
                writer.writerow(("line", "reason", "value", "what_to_do", "row"))
                self._write = writer.writerow
                yield self
        except OSError as error:
            raise InputUnreadable(f"{self.path}: {error.strerror}") from error
        finally:
            self._write = None
        if not self.counts:
            self.path.unlink()
