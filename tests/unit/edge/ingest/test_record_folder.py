"""A folder of files that are written once."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stream.calls.submitted_records import Framing
from stream.edge.ingest import record_folder as folders
from stream.edge.ingest.file_lines import DoneFile, FileEvent
from stream.edge.ingest.record_folder import RecordFolder, is_document


def reader(path: Path, done: dict[str, int] | None = None, now_s: float = 1e12) -> RecordFolder:
    return RecordFolder(path, dict(done or {}), 100, 2.0, lambda _: None, lambda: now_s)


def values(folder: RecordFolder) -> list[bytes]:
    found = []
    while (batch := folder.next()) is not None:
        found += [line.value for line in batch.lines]
    return found


def test_each_finished_file_is_read_once(tmp_path: Path) -> None:
    """JSON without a newline, arrays, objects over lines, CSV lines; subfolders too. Not: hidden,
    compressed and empty files, and those that are still being written.
    """
    (tmp_path / "a.cdr.json").write_text('{"n":1}')
    (tmp_path / "b.json").write_text('[{"n":2},\n {"n":3}]')
    (tmp_path / "c.json").write_text(
        json.dumps({"n": 4}, indent=1) + json.dumps({"n": 5}, indent=1)
    )
    (tmp_path / "2026-11-25").mkdir()
    (tmp_path / "2026-11-25" / "d.csv").write_text("6,x\r\n\n7,y")
    for name in (".e.json", "f.json.gz", "g.json.tmp"):
        (tmp_path / name).write_text("{}")
    (tmp_path / "h.json").touch()
    folder = reader(tmp_path)
    found = [b"".join(value.split()) for value in values(folder)]
    assert sorted(found) == [b"6,x", b"7,y", *(b'{"n":%d}' % n for n in (1, 2, 3, 4, 5))]
    assert values(folder) == []
    assert folder.behind() == 0
    (tmp_path / "h.json").write_text('{"n":8}')
    assert values(folder) == [b'{"n":8}']
    fresh = reader(tmp_path, now_s=time.time())
    assert (fresh.next(), fresh.finished) == (None, False)


def test_what_was_read_is_known_by_name_and_inode(tmp_path: Path) -> None:
    """A restart reads nothing twice, another file of the same name is read, and names that are gone
    are forgotten.
    """
    path = tmp_path / "a.json"
    path.write_text('{"n":1}')
    batch = reader(tmp_path).next()
    assert batch is not None
    assert batch.done == [DoneFile("a.json", path.stat().st_ino)]
    done = dict(batch.done)
    assert reader(tmp_path, done).next() is None
    other = tmp_path / "b.json"
    other.write_text('{"n":2}')
    other.replace(path)
    assert values(reader(tmp_path, done)) == [b'{"n":2}']
    path.unlink()
    gone = reader(tmp_path, done).next()
    assert gone is not None
    assert (gone.lines, gone.gone) == ([], ["a.json"])


def test_another_file_in_the_place_of_one_that_was_read_is_read(tmp_path: Path) -> None:
    """A switch's file of each hour has one name, and often the inode of the one before."""
    path = tmp_path / "hour.csv"
    folder = reader(tmp_path)
    for at_ns, text in enumerate(("1,a\n2,b\n", "3,c\n", "4,d\n", "5,e\n6,f\n"), 1):
        inode = path.stat().st_ino if path.exists() else None
        path.write_text(text)
        os.utime(path, ns=(at_ns, at_ns))
        assert inode in (None, path.stat().st_ino)
        assert values(folder) == text.encode().split()
        os.utime(path, ns=(at_ns + 100, at_ns + 100))
        assert values(folder) == [], "touched, not written"


def test_many_records_come_in_batches_and_a_file_is_done_with_its_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill in the middle of a file reads that file again, and not those before it."""
    monkeypatch.setattr(folders, "RECORDS_MAX", 3)
    for place, name in enumerate(("a", "b")):
        (tmp_path / name).write_text("".join(f"{name}{n}\n" for n in range(4)))
        os.utime(tmp_path / name, (place, place))
    folder = reader(tmp_path)
    batches = []
    while (batch := folder.next()) is not None:
        batches.append(([line.value for line in batch.lines], [one.name for one in batch.done]))
    assert [len(lines) for lines, _ in batches] == [3, 3, 2]
    assert [len(done) for _, done in batches] == [0, 1, 1]


@pytest.mark.expects_errors("a JSON document")
def test_what_is_too_large_is_said_and_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A document beyond the limit is named and counted; one record in it is cut and marked."""
    happened: list[FileEvent] = []
    (tmp_path / "big.json").write_text('[{"n":"' + "x" * 200 + '"}]')
    folder = RecordFolder(tmp_path, {}, 100, 0.0, happened.append)
    (line,) = folder.next().lines  # type: ignore[union-attr]
    assert (line.too_long, len(line.value), line.size) == (True, 100, 208)
    monkeypatch.setattr(folders, "WHOLE_BYTES_MAX", 50)
    folder = RecordFolder(tmp_path, {}, 100, 0.0, happened.append)
    assert values(folder) == []
    assert FileEvent.TOO_LARGE in happened
    assert "big.json: a JSON document of 210 bytes, more than 50" in caplog.text


@pytest.mark.parametrize(
    ("start", "document"),
    [
        (b"[1]", True),
        (b'\xef\xbb\xbf {\n "a"', True),
        (b'{"a":1}\n{"a":2}', False),
        (b'{"a":1}', False),
        (b"a,b\n", False),
        (b"", False),
    ],
)
def test_documents_are_told_from_lines(start: bytes, document: bool) -> None:
    """An array or an object over many lines is one document; the rest is a record a line."""
    assert is_document(start) is document


def test_links_and_fifos_below_the_folder_are_left_alone(tmp_path: Path) -> None:
    """Write access there does not suffice to send another file to Kafka, or to delay the rest."""
    folder = tmp_path / "cdr"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(b"secret\n")
    (folder / "a.json").symlink_to(tmp_path / "secret")
    os.mkfifo(folder / "b.json")
    (folder / "c.json").write_bytes(b"{}\n")
    assert values(reader(folder)) == [b"{}"]


def test_a_file_that_becomes_a_fifo_is_unreadable(tmp_path: Path, monkeypatch) -> None:
    """Between being seen and being opened it may change: it is counted, and the others are read."""
    happened: list[FileEvent] = []
    (tmp_path / "a.json").write_bytes(b"{}\n")
    folder = RecordFolder(tmp_path, {}, 1000, 0, happened.append, lambda: 1e12)
    stated = folders._stated

    def swapped(path: Path, name: str, **named: bool) -> Iterator[Any]:
        yield from list(stated(path, name, **named))
        path.unlink()
        os.mkfifo(path)

    monkeypatch.setattr(folders, "_stated", swapped)
    folder.next()
    assert happened == [FileEvent.UNREADABLE]


@pytest.mark.expects_errors("it grew after it was read")
def test_a_file_that_grows_after_it_was_read_is_reported_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A RADIUS server's file of the day is no file that is written once: its rest would be lost."""
    happened: list[FileEvent] = []
    path = tmp_path / "detail-20261125"
    path.write_bytes(b"Wed\n\tA = 1\n\n")
    folder = RecordFolder(
        tmp_path, {}, 100, 2.0, happened.append, lambda: 1e12, framing=Framing.BLOCKS
    )
    assert values(folder) == [b"Wed\n\tA = 1"]
    assert values(folder) == []
    assert FileEvent.LOST not in happened
    with path.open("ab") as file:
        file.write(b"Wed\n\tA = 2\n\n")
    assert values(folder) == values(folder) == []
    assert happened.count(FileEvent.LOST) == 1
    assert "ringfence ingest FILE --follow" in caplog.text


def test_records_of_several_lines_are_read_whole(tmp_path: Path) -> None:
    """mod_xml_cdr's folder has a document a file; its last one may have no newline."""
    (tmp_path / "a_1.cdr.xml").write_bytes(b"<cdr>\n<a/>\n</cdr>")
    (tmp_path / "b_1.cdr.xml").write_bytes(b"<cdr>\n\n<b/>\n</cdr>\n<cdr></cdr>\n")
    folder = RecordFolder(tmp_path, {}, 100, 2.0, lambda _: None, lambda: 1e12, framing=Framing.XML)
    assert sorted(values(folder)) == [
        b"<cdr>\n\n<b/>\n</cdr>", b"<cdr>\n<a/>\n</cdr>", b"<cdr></cdr>",
    ]  # fmt: skip
