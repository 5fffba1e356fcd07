"""Files of records: cut anywhere, rotated anyhow, and a reader that may die at any moment."""

import os
from itertools import count, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.calls.submitted_records import Framing, RecordSplitter
from stream.edge.ingest import record_file
from stream.edge.ingest.file_lines import FileEvent, FilePosition, LineSplitter
from stream.edge.ingest.tail import Tail
from tests.support.examples import examples

MOST = 12


@given(
    data=st.lists(
        st.sampled_from([b"a", b"bc", b"\n", b"\r\n", b" ", b"x" * 9, b"\xff", b"\xef\xbb\xbf"]),
        max_size=30,
    ).map(b"".join),
    cuts=st.lists(st.integers(0, 80), max_size=8),
)
def test_pieces_may_be_cut_anywhere(data: bytes, cuts: list[int]) -> None:
    """The same lines, with the same places, as when the file is read in one piece."""
    borders = sorted({0, len(data), *(min(cut, len(data)) for cut in cuts)})
    pieces = LineSplitter("f", 0, 1, MOST)
    found = []
    for start, stop in pairwise(borders):
        found += pieces.lines(data[start:stop])
        assert pieces.read_to == stop
    lines = [*found, *pieces.last_lines()]
    at = 0
    expected = []
    for number, raw in enumerate(data.split(b"\n"), 1):
        value = raw.removesuffix(b"\r") if len(raw) <= MOST else raw[:MOST]
        if at == 0 and len(raw) <= MOST:
            value = value.removeprefix(b"\xef\xbb\xbf").removesuffix(b"\r")
        if value.strip():
            expected.append((at, number, value, len(raw) > MOST))
        at += len(raw) + 1
    told = [(line.at, line.number, line.value, line.too_long) for line in lines]
    assert [one for one in told if one[2].strip()] == expected
    assert all(line.size > MOST for line in lines if line.too_long)


@given(
    data=st.lists(
        st.sampled_from(
            [b"a = 1\n", b"\t", b"\n", b"\r\n", b"  \n", b"{}\n", b"</cdr>", b"<cdr>", b"x" * 70]
        ),
        max_size=30,
    ).map(b"".join),
    cuts=st.lists(st.integers(0, 200), max_size=8),
    framing=st.sampled_from(Framing),
    most=st.sampled_from([12, 1000]),
)
def test_records_of_several_lines_are_cut_the_same_in_any_pieces(
    data: bytes, cuts: list[int], framing: Framing, most: int
) -> None:
    """Each record begins where the last one ended but for empty lines; its place is its first line;
    a reader that starts at any record's place finds the same records from there on.
    """
    whole = RecordSplitter(0, 1, most, framing)
    expected = whole.feed(data)
    borders = sorted({0, len(data), *(min(cut, len(data)) for cut in cuts)})
    pieces = RecordSplitter(0, 1, most, framing)
    found = []
    for start, stop in pairwise(borders):
        found += pieces.feed(data[start:stop])
        assert pieces.read_to == stop
    assert found == expected
    assert (pieces.at, pieces.number) == (whole.at, whole.number)
    for index, record in enumerate(expected):
        assert record.number == data[: record.at].count(b"\n") + 1
        if index:  # at the beginning of a file a byte order mark would be looked for
            again = RecordSplitter(record.at, record.number, most, framing)
            assert again.feed(data[record.at :]) == expected[index:]
    assert whole.number == data[: whole.at].count(b"\n") + 1
    records = [*expected, *whole.rest()]
    values = [record.value for record in records]
    # Records in BER lie in batches, whose heads are of no record: an `a` begins one of TAP3.
    is_text = framing is not Framing.BER
    if is_text and all(record.size <= most for record in records):
        assert b"".join(b"".join(values).split()) == b"".join(data.split())


class Site:
    """A switch that writes, a logrotate, and a reader that keeps its place."""

    def __init__(self, folder: Path, framing: Framing) -> None:
        self._framing = framing
        self.path = folder / "Master.csv"
        self.path.touch()
        self.written: list[bytes] = []
        self.got: list[bytes] = []
        self.happened: list[FileEvent] = []
        self._numbers = count()
        self._clock = count(1_000_000_000, 1_000_000_000)
        self._half = b""
        self._place: FilePosition | None = None
        self._turn = count(1)
        self._touch()
        self.start()
        self.read()

    def start(self) -> None:
        """The reader starts; what it had not kept before is forgotten."""
        self.tail = Tail(self.path, self._place, 1000, self.happened.append, framing=self._framing)

    def die(self) -> None:
        self.tail.close()
        self.start()

    def read(self, kept: bool = True) -> bool:
        """One batch; whether there was one. One that is not kept is read and comes again."""
        batch = self.tail.next()
        if batch is None:
            return False
        if kept:
            self.got += [line.value for line in batch.lines]
            self._place = batch.place
        else:
            self.die()
        return True

    def _touch(self) -> None:
        at_ns = next(self._clock)
        os.utime(self.path, ns=(at_ns, at_ns))

    def write(self, half: bool) -> None:
        """A record; or half of one, whose rest comes next time."""
        whole = RECORDS[self._framing] % (next(self._numbers), b"z" * 40)
        # With its number in it: only the bytes read of a file tell it from the one that it was.
        cut = 20 if half else len(whole)
        with self.path.open("ab") as file:
            file.write(self._half + whole[:cut])
        self.written.append(whole.rstrip())
        self._half = whole[cut:]
        self._touch()

    def whole(self) -> None:
        """Write what is missing of a line: a rotation does not fall into one."""
        if self._half:
            with self.path.open("ab") as file:
                file.write(self._half)
            self._half = b""
            self._touch()

    def rename(self) -> None:
        self.whole()
        self._shift()
        self.path.rename(self.path.with_name("Master.csv.1"))
        self.path.touch()
        self._touch()

    def copytruncate(self) -> None:
        self.whole()
        if not self.path.stat().st_size:
            return
        self._shift()
        copy = self.path.with_name("Master.csv.1")
        copy.write_bytes(self.path.read_bytes())
        at_ns = next(self._clock)
        os.utime(copy, ns=(at_ns, at_ns))
        os.truncate(self.path, 0)
        self._touch()

    def by_date(self) -> None:
        """As FreeSWITCH does it by itself: another name, and a new file."""
        self.whole()
        number = next(self._turn)
        self.path.rename(self.path.with_name(f"Master.csv.2026-11-25-08-00-{number:02d}"))
        self.path.touch()
        self._touch()

    def _shift(self) -> None:
        for number in range(9, 0, -1):
            old = self.path.with_name(f"Master.csv.{number}")
            if old.exists():
                old.rename(self.path.with_name(f"Master.csv.{number + 1}"))


RECORDS = {
    Framing.LINES: b"%d,%s\n",
    Framing.BLOCKS: b"Wed Nov 25\r\n\tA = %d\r\n\tB = %s\r\n\r\n",
    Framing.XML: b"<?xml?>\n<cdr>\n\n%d %s\n</cdr>\n",
}
STEPS = st.sampled_from(
    ["write", "write", "half", "read", "read", "read", "lose", "die", "rename", "copytruncate",
     "by_date"]
)  # fmt: skip


@given(
    steps=st.lists(STEPS, max_size=40),
    piece=st.sampled_from([7, 64, 1 << 20]),
    framing=st.sampled_from([*RECORDS]),
)
@examples(66)
def test_no_record_is_missed_whatever_happens_to_the_file(
    steps: list[str], piece: int, framing: Framing
) -> None:
    """Each record, of one line or of several, once and in its order, over rotation of each kind, at
    any moment, and over deaths of the reader, which repeat nothing but what was not kept.
    """
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(record_file, "PIECE", piece)
        site = Site(Path(folder), framing)
        for step in steps:
            match step:
                case "write" | "half":
                    site.write(half=step == "half")
                case "read":
                    site.read()
                case "lose":
                    site.read(kept=False)
                case _:
                    getattr(site, step)()
        site.whole()
        site.write(half=False)
        while site.read():
            pass
        site.tail.close()
        assert site.got == site.written
        assert FileEvent.LOST not in site.happened
