"""One growing file: what the property test does not show."""

import os
from errno import EBADF
from pathlib import Path

import pytest

from stream.edge.ingest.file_lines import FileEvent
from stream.edge.ingest.tail import Tail


class Read:
    """A tail, what it gave, and what happened."""

    def __init__(self, path: Path, place=None, **settings) -> None:
        self.happened: list[FileEvent] = []
        self.tail = Tail(path, place, 100, self.happened.append, **settings)
        self.place = place

    def all(self) -> list[bytes]:
        found = []
        while (batch := self.tail.next()) is not None:
            found += [line.value for line in batch.lines]
            self.place = batch.place
        return found


def test_a_half_line_waits_and_is_told(tmp_path: Path) -> None:
    """It is no record until its end comes, or until somebody says that it never will."""
    path = tmp_path / "Master.csv"
    path.write_bytes(b"a\nhal")
    read = Read(path)
    assert read.all() == [b"a"]
    assert read.tail.waiting is not None
    assert read.tail.waiting.place == "Master.csv line 2 (byte 2)"
    assert read.tail.behind() == 0
    again = Read(path, read.place, last_line=True)
    assert again.all() == [b"hal"]
    with path.open("ab") as file:
        file.write(b"f\n")
    assert read.all() == [b"half"]
    assert read.tail.waiting is None


def test_a_look_at_a_file_that_is_just_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread closes it in between: the error ended the process' gauges, in silence."""
    path = tmp_path / "cdr.csv"
    path.write_text("one\n")
    read = Read(path)
    assert read.all() == [b"one"]
    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", closed)
        behind = read.tail.behind()
    assert behind == 4


def closed(_: int) -> os.stat_result:
    """Answer as for a file that was closed meanwhile."""
    raise OSError(EBADF, os.strerror(EBADF))


def test_from_the_end_leaves_what_is_there(tmp_path: Path) -> None:
    """A new connection need not decide last year's calls; a half line is still to come."""
    path = tmp_path / "Master.csv"
    path.write_bytes(b"old\nolder\nne")
    read = Read(path, from_end=True)
    assert read.all() == []
    with path.open("ab") as file:
        file.write(b"w\n")
    assert read.all() == [b"new"]
    assert read.place.line == 4


@pytest.mark.expects_errors("is gone from the folder")
def test_a_file_that_is_gone_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A file compressed at once while no process ran cannot be read: the log has the fix."""
    path = tmp_path / "Master.csv"
    path.write_bytes(b"first\n")
    read = Read(path)
    assert read.all() == [b"first"]
    read.tail.close()
    with path.open("ab") as file:
        file.write(b"missed\n")
    path.rename(tmp_path / "Master.csv.1.gz")
    path.write_bytes(b"second\n")
    later = Read(path, read.place)
    assert later.all() == [b"second"]
    assert later.happened == [FileEvent.BEGUN, FileEvent.LOST]
    assert "logrotate's delaycompress" in caplog.text


def test_a_writer_that_keeps_the_old_file_is_followed_there(tmp_path: Path) -> None:
    """A new file, as logrotate's `create` makes it, comes before the switch knows of it: until
    that is written to, the old one still is.
    """
    path = tmp_path / "Master.csv"
    with path.open("ab", buffering=0) as writer:
        writer.write(b"one\n")
        read = Read(path)
        assert read.all() == [b"one"]
        path.rename(tmp_path / "Master.csv-20261125")
        path.touch()
        writer.write(b"two\n")
        assert read.all() == [b"two"]
    path.write_bytes(b"three\n")
    assert read.all() == [b"three"]
    assert read.happened.count(FileEvent.ROTATED) == 1


def test_a_copy_in_its_place_is_read_on(tmp_path: Path) -> None:
    """A restored or moved file, with another inode, is the same: only what is new comes."""
    path = tmp_path / "Master.csv"
    path.write_bytes(b"one\n")
    read = Read(path)
    assert read.all() == [b"one"]
    other = tmp_path / "other"
    other.write_bytes(b"one\ntwo\n")
    read.tail.close()
    other.replace(path)
    assert Read(path, read.place).all() == [b"two"]


def test_a_file_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    """And one that cannot be read is tried again, and counted."""
    path = tmp_path / "Master.csv"
    read = Read(path)
    assert read.all() == []
    path.mkdir()
    assert read.all() == []
    assert FileEvent.UNREADABLE in read.happened
    path.rmdir()
    path.write_bytes(b"one\n")
    os.utime(path)
    assert read.all() == [b"one"]
